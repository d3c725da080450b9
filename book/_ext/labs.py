"""What the pages on all labs show of the labs themselves: their samples, needs and minutes.

Everything is read from the executed notebooks in `solutions`. A page imports this from `_ext`.
"""

import ast
import base64
import io
import json
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import image
from torch import Tensor

from gmlib import plot

ROOT = Path(__file__).parents[2]
SIZE = 28
# Which labs come before which; those before these are not named again.
NEEDS: dict[str, list[str]] = {
    "11_density": [],
    "13_pixelcnn": ["11_density"],
    "21_autoencoder": [],
    "22_vae": ["11_density", "21_autoencoder"],
    "23_vqvae": ["13_pixelcnn", "22_vae"],
    "31_gan": ["11_density"],
    "32_scores": ["31_gan"],
    "33_dcgan": ["32_scores"],
    "35_wgan": ["32_scores"],
}
PARTS = ("likelihood you can compute", "likelihood you can bound", "no likelihood at all")
CARD = re.compile(r"\*\*Exercise \d+\*\* \((\d+) points?, (\d+) minutes")


class Sheet(NamedTuple):
    """Where a lab shows its samples: a figure of small images, named by how its text begins."""

    text: str
    rows: int
    columns: int
    chosen: list[tuple[int, int]]  # row and column of ten images


def _row(i: int) -> list[tuple[int, int]]:
    return [(i, j) for j in range(10)]


SHEETS = {
    "11_density": Sheet("Rows of test pictures and of pictures drawn", 5, 14, _row(2)),
    "13_pixelcnn": Sheet("Sixty samples, each column of another class", 6, 10, _row(0)),
    "21_autoencoder": Sheet("Five rows of images. From N(0, I) the autoencoder", 5, 14, _row(0)),
    "22_vae": Sheet("Sixty-four samples of the VAE", 4, 16, _row(0)),
    "23_vqvae": Sheet("Twelve samples of each class", 10, 12, [(i, 0) for i in range(10)]),
    "31_gan": Sheet("Sixty-four samples of the averaged generator", 4, 16, _row(0)),
    "33_dcgan": Sheet("Sixty-four samples of the DCGAN", 4, 16, _row(0)),
    "35_wgan": Sheet("Sixty-four samples of the WGAN-GP", 4, 16, _row(0)),
}


def all_labs() -> list[str]:
    """The ids of all labs, in reading order."""
    return sorted(path.parent.name for path in ROOT.glob("solutions/[0-9][0-9]_*/*.py"))


def notebook(lab: str) -> list[dict[str, Any]]:
    """The cells of the executed notebook; none where the lab has not been run yet."""
    path = ROOT / "solutions" / lab / f"{lab.partition('_')[2]}.ipynb"
    cells = json.loads(path.read_text())["cells"] if path.exists() else []
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def title(lab: str) -> str:
    """The lab's name, from the first line of its notebook; its id where there is none yet."""
    first = next((cell["source"] for cell in notebook(lab)), "")
    found = re.match(r"# Lab \d+ · (.*)", first)
    return found[1] if found else lab


def figure(lab: str, text: str) -> np.ndarray:
    """A figure of the executed notebook, (H, W, 3 or 4) floats, by how its text begins.

    Raises:
        ValueError: there is not exactly one.
    """
    outputs = [o.get("data", {}) for cell in notebook(lab) for o in cell.get("outputs", [])]
    shown = [o for o in outputs if "".join(o.get("text/plain", "")).startswith(text)]
    if len(shown) != 1:
        raise ValueError(f"{lab} has {len(shown)} figures whose text begins with {text!r}")
    png = re.search(r"base64,([^\"]+)\"", "".join(shown[0]["text/html"]))[1]
    return image.imread(io.BytesIO(base64.b64decode(png)))


def cells(picture: np.ndarray, rows: int, columns: int) -> Tensor:
    """The images of a sheet that gmlib.plot drew, (rows, columns, 28, 28) in [0, 1].

    The sheet lies at the right and lower edge of what is not paper; labels stand to its left. One
    pixel of paper is between two images. Each pixel is read where its middle was drawn.

    Raises:
        ValueError: there is no paper where it should be, so the sheet has other rows or columns.
    """
    grey = picture[..., :3].mean(-1)
    ys, xs = np.nonzero(grey < 0.99)
    top, bottom, right = ys.min(), ys.max() + 1, xs.max() + 1
    pitch = SIZE + 1
    height, width = rows * pitch - 1, columns * pitch - 1
    unit = (bottom - top) / height  # roughly that of the other direction
    left = xs[xs > right - (width + 2) * unit].min()
    y = top + (np.arange(height) + 0.5) * (bottom - top) / height
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    read = np.pad(grey[np.ix_(y.astype(int), x.astype(int))], ((0, 1), (0, 1)), constant_values=1)
    sheet = read.reshape(rows, pitch, columns, pitch).swapaxes(1, 2)
    if min(sheet[:, :, SIZE].min(), sheet[..., SIZE].min()) < 0.99:
        raise ValueError(f"the sheet has not {rows} rows and {columns} columns")
    return torch.from_numpy(sheet[..., :SIZE, :SIZE]).float()


def samples(lab: str) -> Tensor:
    """Ten images that the lab's model has drawn, (10, 1, 28, 28) in [0, 1]."""
    sheet = SHEETS[lab]
    found = cells(figure(lab, sheet.text), sheet.rows, sheet.columns)
    return torch.stack([found[place] for place in sheet.chosen])[:, None]


def exercises(lab: str) -> list[tuple[int, int]]:
    """Points and minutes of each exercise, from the cards."""
    texts = [cell["source"] for cell in notebook(lab) if cell["cell_type"] == "markdown"]
    return [(int(p), int(m)) for text in texts for p, m in CARD.findall(text)]


def minutes(lab: str) -> int:
    """How long a person may take for all answers, by the cards."""
    return sum(m for _, m in exercises(lab))


def sizes(lab: str) -> dict[str, tuple[Any, Any]]:
    """What the lab chooses by profile, by name: in `quick` and in `full`, where these differ."""
    found = {}
    for cell in notebook(lab):
        for line in ast.parse(cell["source"]).body if cell["cell_type"] == "code" else []:
            if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call):
                given = {word.arg: word.value for word in line.value.keywords}
                if ast.unparse(line.value.func) == "profile.choose":
                    pair = tuple(ast.literal_eval(given[name]) for name in ("quick", "full"))
                    found[ast.unparse(line.targets[0])] = pair
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}


def places() -> dict[str, tuple[float, float]]:
    """Where each lab stands on the map: a column for each part, below what it needs of its part."""
    levels: dict[str, int] = {}
    for lab in all_labs():
        before = [levels[other] for other in NEEDS[lab] if other[0] == lab[0]]
        levels[lab] = 1 + max(before, default=-1)
    found = {}
    for lab, level in levels.items():
        beside = [other for other in levels if other[0] == lab[0] and levels[other] == level]
        part, among = int(lab[0]) - 1, beside.index(lab) - (len(beside) - 1) / 2
        found[lab] = (2.2 * part + 1.1 * among, -level - 0.5 * (part % 2))
    return found


def draw_map() -> None:
    """The labs as boxes, a column for each part, and an arrow to each from those that it needs."""
    made, axes = plot.figure(size=(7.4, 3.7))
    ax, at = axes[0, 0], places()
    box = {"boxstyle": "round,pad=0.5", "facecolor": plot.COLOURS[0], "linewidth": 0}
    boxes = {
        lab: ax.text(
            *place, textwrap.fill(f"{lab[:2]} · {title(lab)}", 19), ha="center", va="center",
            color=plot.PAPER, fontsize=8, bbox=box,
        )
        for lab, place in at.items()
    }  # fmt: skip
    for lab in at:
        for other in NEEDS[lab]:
            ends = {"patchA": boxes[other].get_bbox_patch(), "patchB": boxes[lab].get_bbox_patch()}
            style = {"arrowstyle": "->", "color": "#555555", "shrinkA": 0, "shrinkB": 3}
            ax.annotate("", at[lab], at[other], arrowprops=style | ends)
    for part, name in enumerate(PARTS):
        ax.text(2.2 * part, 0.75, f"Part {part + 1}\n{name}", ha="center", va="center")
    ax.set(xlim=(-1, 6), ylim=(min(y for _, y in at.values()) - 0.4, 1))
    ax.axis("off")
    needs = [f"{a[:2]} needs {' and '.join(b[:2] for b in NEEDS[a])}" for a in at if NEEDS[a]]
    free = " and ".join(lab[:2] for lab in at if not NEEDS[lab])
    told = f"{free} need none before; {', '.join(needs)}"
    plot.show(made, f"The labs, a column for each part. {told}.")
