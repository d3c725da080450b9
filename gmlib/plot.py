"""Figures that read well on a light and on a dark page, each with a text for those who can't see.

In a notebook a figure goes into the page; elsewhere into a file in `figures/`.
"""

import base64
import html
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

PAPER = "#ffffff"
STYLE = {
    "figure.facecolor": PAPER, "figure.dpi": 144, "font.size": 9, "image.cmap": "gray",
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#e4e4e4",
}  # fmt: skip
# Okabe and Ito's colours, told apart by most colour-blind readers, and two more for ten classes.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9",
    "#d55e00", "#999933", "#882255", "#332288", "#555555",
)  # fmt: skip


def figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (3.2, 2.4)):
    """A figure and its axes, (rows, columns), in the course's style; `size` is one axes' inches."""
    with matplotlib.rc_context(STYLE):
        made = Figure((size[0] * columns, size[1] * rows), layout="constrained")
        axes = made.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_prop_cycle(color=COLOURS)
    return made, axes


def show(made: Figure, alt: str) -> None:
    """Put a figure into the page with its text, or into a file where there is no page.

    Args:
        alt: what a reader who can't see the figure should know: what is drawn, what it shows.
    """
    if not alt.strip():
        raise ValueError("a figure needs a text that says what it shows")
    png = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        made.savefig(png, format="png", metadata={"Software": None})
    if _in_notebook():
        from IPython.display import display

        # As HTML, since notebooks and their converters drop the text of an image output.
        picture = base64.b64encode(png.getvalue()).decode()
        width = round(made.get_size_inches()[0] * 96)
        style = "max-width: 100%; height: auto"
        tag = f'<img src="data:image/png;base64,{picture}" width="{width}" style="{style}"'
        shown = {"text/html": f'{tag} alt="{html.escape(alt)}">', "text/plain": alt}
        display(shown, raw=True)
        return
    folder = Path(os.environ.get("GMLIB_FIGURES") or "figures")
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[\W_]+", "-", alt.lower()).strip("-")[:60].strip("-") or "figure"
    (folder / f"{name}.png").write_bytes(png.getvalue())
    print(f"figure: {folder / name}.png")


def images(rows: Mapping[str, Tensor], alt: str, *, scale: float = 0.5) -> None:
    """One labelled row of images after another.

    Args:
        rows: by label, floats (N, C, H, W) in [0, 1] or uint8; C is 1 or 3. An empty label is
            not written.
        scale: the height of one image in inches.
    """
    pictures = [_to_array(x) for x in rows.values()]
    shapes = [tuple(x.shape) for x in rows.values()]
    if len({shape[2:] for shape in shapes}) != 1:
        raise ValueError(f"expected images of one height and width; got {shapes}")
    columns = max(map(len, rows.values()))
    _sheet([_strip(x, columns) for x in pictures], list(rows), columns, scale, alt)


def grid(x: Tensor, alt: str, *, columns: int = 16, scale: float = 0.45) -> None:
    """Images (N, C, H, W), floats in [0, 1] or uint8, row by row in reading order."""
    pictures = _to_array(x)
    strips = [_strip(pictures[i : i + columns], columns) for i in range(0, len(x), columns)]
    _sheet(strips, [""] * len(strips), columns, scale, alt)


def _sheet(
    strips: Sequence[np.ndarray], labels: Sequence[str], columns: int, scale: float, alt: str
) -> None:
    """Show strips of images below one another, each with its label to the left."""
    margin, pixels = 0.12 * max(map(len, labels)), np.concatenate(strips)
    made, axes = figure(size=(columns * scale + margin, len(strips) * scale))
    ax = axes[0, 0]
    ax.imshow(pixels, interpolation="nearest", vmin=0, vmax=1)
    for i, label in enumerate(labels):
        ax.text(-3, (i + 0.5) * len(pixels) / len(strips), label, ha="right", va="center")
    ax.axis("off")
    show(made, alt)


def curves(
    values: Mapping[str, Sequence[float]], alt: str, *, ylabel: str, xlabel: str = "step",
    smooth: int = 1, apart: bool = False,
) -> None:  # fmt: skip
    """Lines over the steps, each the mean over a window of `smooth` values.

    With `apart`, each line has axes of its own: for quantities of unlike size.
    """
    if not values or not all(map(len, values.values())):
        raise ValueError(f"expected values to draw; got {dict(values)}")
    made, axes = figure(1, len(values) if apart else 1, (3.2, 2.4) if apart else (5.2, 2.8))
    for i, (name, ys) in enumerate(values.items()):
        ax = axes[0, i if apart else 0]
        window = max(1, min(smooth, len(ys)))
        line = np.convolve(ys, np.ones(window) / window, mode="valid")
        ax.plot(np.arange(window - 1, len(ys)), line, label=name, color=COLOURS[i % len(COLOURS)])
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        ax.legend(frameon=False)
    show(made, alt)


def latent_map(points: Tensor, labels: Tensor, classes: Sequence[str], alt: str) -> None:
    """Codes (N, 2) in the plane, coloured by class, each class named near its median."""
    if len(points) == 0 or points.shape != (len(points), 2) or labels.shape != points.shape[:1]:
        shapes = [tuple(points.shape), tuple(labels.shape)]
        raise ValueError(f"expected codes (N, 2) and labels (N,); got {shapes}")
    points, labels = points.detach().cpu().numpy(), labels.cpu().numpy()
    low, high = np.quantile(points, [0.002, 0.998], axis=0)
    made, axes = figure(size=(5.6, 4.6))
    ax = axes[0, 0]
    present = [c for c in range(len(classes)) if (labels == c).any()]
    medians = {c: np.median(points[labels == c], axis=0) for c in present}
    lowest = low[1]
    for c in sorted(present, key=lambda c: medians[c][1]):
        colour = COLOURS[c % len(COLOURS)]
        ax.scatter(*points[labels == c].T, s=4, alpha=0.6, color=colour, linewidths=0)
        x, y = medians[c][0], max(medians[c][1], lowest)  # no name on top of another
        lowest = y + 0.055 * (high[1] - low[1])
        box = {"boxstyle": "round,pad=0.1", "facecolor": PAPER, "alpha": 0.85, "linewidth": 0}
        ax.text(x, y, classes[c], color=colour, weight="bold", ha="center", va="center", bbox=box)
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    show(made, alt)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def _to_array(x: Tensor) -> np.ndarray:
    """(N, C, H, W) as floats (N, H, W, 3) in [0, 1].

    Raises:
        ValueError: another shape, no image, NaN, or values outside [0, 1] by more than 0.01.
    """
    if x.dim() != 4 or x.shape[1] not in (1, 3) or len(x) == 0:
        raise ValueError(f"expected images (N, 1 or 3, H, W); got shape {tuple(x.shape)}")
    x = x.detach().cpu()
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    if not (x.isfinite().all() and x.min() >= -0.01 and x.max() <= 1.01):
        raise ValueError(f"expected values in [0, 1]; got {x.min():.3g} to {x.max():.3g}")
    return x.clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def _strip(x: np.ndarray, columns: int) -> np.ndarray:
    """Images (N, H, W, 3) side by side, a pixel of paper between them, filled up to `columns`."""
    n, h, w, _ = x.shape
    paper = np.ones((h + 1, columns * (w + 1), 3), np.float32)
    for i, image in enumerate(x):
        paper[:h, i * (w + 1) : i * (w + 1) + w] = image
    return paper
