"""Figures: what is drawn, what is refused, and how a picture and its text reach the reader."""

import base64
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import nbclient
import nbformat
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from gmlib import plot

pytestmark = pytest.mark.usefixtures("alone")

PICTURES = torch.linspace(0, 1, 5 * 3 * 4 * 6).view(5, 3, 4, 6)
CODES = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(200) % 3
DRAWN: dict[str, Callable[[str], None]] = {
    "images": lambda alt: plot.images({"a": PICTURES, "b": PICTURES[:2]}, alt),
    "grid": lambda alt: plot.grid(PICTURES, alt, columns=3),
    "curves": lambda alt: plot.curves({"a": [3, 2, 1], "b": [1, 2]}, alt, ylabel="nats", smooth=2),
    "apart": lambda alt: plot.curves({"a": [3, 2], "b": [1]}, alt, ylabel="nats", apart=True),
    "latent_map": lambda alt: plot.latent_map(CODES, LABELS, ("x", "y", "z"), alt),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where figures are written."""
    monkeypatch.setenv("GMLIB_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "figures"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that would have been shown."""
    figures: list[Figure] = []
    monkeypatch.setattr(plot, "show", lambda made, alt: figures.append(made))
    return figures


def sheet(made: Figure) -> np.ndarray:
    """The pixels of a figure of images."""
    return made.axes[0].images[0].get_array().filled()


# --- How it reaches the reader --------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_drawn_twice_is_the_same_file(name, folder, capsys):
    DRAWN[name]("The first; drawn once, σ = 1!")
    path = folder / "the-first-drawn-once-σ-1.png"
    assert capsys.readouterr().out == f"figure: {path}\n"
    first = path.read_bytes()
    path.unlink()
    DRAWN[name]("The first; drawn once, σ = 1!")
    assert [p.name for p in folder.iterdir()] == [path.name]
    assert path.read_bytes() == first
    with Image.open(path) as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert len(np.unique(colours, axis=0)) > 5, "the figure is empty"
        assert "Software" not in picture.info


@pytest.mark.parametrize("alt", ["", " ", "\n\t"])
@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_without_a_text_is_refused(name, alt, folder):
    with pytest.raises(ValueError, match="a figure needs a text that says what it shows"):
        DRAWN[name](alt)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("alt", "name"),
    [
        ("Loss: 3 of 4 lines fall.", "loss-3-of-4-lines-fall"),
        ("../up/../and_away", "up-and-away"),
        ("한국어 설명", "한국어-설명"),
        ("…", "figure"),
        ("a" * 300, "a" * 60),
        ("a" * 59 + " b", "a" * 59),
    ],
)
def test_a_file_is_named_after_the_text(alt, name, folder):
    plot.show(plot.figure()[0], alt)
    assert [p.name for p in folder.iterdir()] == [f"{name}.png"]


def test_without_a_folder_named_figures_lie_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("GMLIB_FIGURES")
    monkeypatch.chdir(tmp_path)
    plot.show(plot.figure()[0], "Axes")
    assert [p.as_posix() for p in Path().rglob("*.png")] == ["figures/axes.png"]


def test_a_notebook_holds_the_picture_and_its_text(tmp_path, monkeypatch):
    monkeypatch.delenv("GMLIB_FIGURES", raising=False)
    alt = 'Two lines "cross" & one < the other, σ² too.'
    code = f"from gmlib import plot\nplot.curves({{'a': [1, 2], 'b': [2, 1]}}, {alt!r}, ylabel='y')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, resources=resources).execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    assert output.data["text/plain"] == alt
    page = output.data.get("text/html", "")
    metadata = json.dumps(output.metadata, ensure_ascii=False)
    tag = re.search(r'alt="([^"]*)"', page)
    carried = html.unescape(tag[1]) if tag else json.loads(metadata)["image/png"]["alt"]
    assert carried == alt, "the text does not go with the picture"
    embedded = re.search(r"data:image/png;base64,([^\"]+)", page)
    png = base64.b64decode(embedded[1] if embedded else output.data["image/png"])
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG" and min(picture.size) > 100
    assert not list(tmp_path.iterdir()), "a figure was written beside the notebook"


# --- What is drawn --------------------------------------------------------------------------


def test_a_grid_is_in_reading_order(shown):
    plot.grid(PICTURES, "Five", columns=3)
    found = sheet(shown[0])
    assert found.shape == (2 * 5, 3 * 7, 3)
    for i, picture in enumerate(PICTURES):
        row, column = divmod(i, 3)
        part = found[5 * row : 5 * row + 4, 7 * column : 7 * column + 6]
        np.testing.assert_allclose(part, picture.permute(1, 2, 0), atol=1e-6)
    assert (found[5:, 14:] == 1).all(), "the place of the sixth is not paper"
    assert (found[4::5] == 1).all() and (found[:, 6::7] == 1).all(), "no paper between"


def test_images_are_in_rows_with_their_labels(shown):
    grey = (255 * PICTURES[:2, :1]).round().byte()
    plot.images({"real": PICTURES[:3], "": grey}, "Two rows")
    found = sheet(shown[0])
    assert found.shape == (2 * 5, 3 * 7, 3)
    np.testing.assert_allclose(found[:4, 14:20], PICTURES[2].permute(1, 2, 0), atol=1e-6)
    for channel in range(3):
        np.testing.assert_allclose(found[5:9, 7:13, channel], grey[1, 0] / 255, atol=1e-6)
    texts = [(text.get_text(), text.get_position()[1]) for text in shown[0].axes[0].texts]
    assert texts == [("real", 2.5), ("", 7.5)]


def test_black_is_black_and_white_is_white(folder):
    """Pictures are not stretched to the range of their values."""
    for name, value in (("low", 0.25), ("high", 0.75)):
        plot.grid(torch.full((1, 1, 4, 4), value), name, columns=1, scale=1)
        with Image.open(folder / f"{name}.png") as picture:
            middle = picture.convert("L").getpixel((picture.width // 2, picture.height // 2))
        assert abs(middle - 255 * value) <= 2


@pytest.mark.parametrize("value", [-0.009, 1.009])
def test_a_hair_out_of_range_is_clipped(value, shown, caplog):
    plot.grid(torch.full((1, 1, 2, 2), value, requires_grad=True), "One", columns=1)
    assert sheet(shown[0])[0, 0, 0] == round(value)
    assert not caplog.records, "matplotlib clips it, and complains where a grader listens"


def test_curves_are_the_means_of_a_window(shown):
    ys = [4.0, 2.0, 6.0, 0.0, 8.0]
    plot.curves({"a": ys, "b": ys[:2]}, "Two", ylabel="nats", smooth=3, xlabel="epoch")
    (ax,) = shown[0].axes
    first, second = ax.lines
    assert first.get_xdata().tolist() == [2, 3, 4]
    assert first.get_ydata() == pytest.approx([4, 8 / 3, 14 / 3])
    assert second.get_xdata().tolist() == [1] and second.get_ydata() == pytest.approx([3])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "nats")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert first.get_color() != second.get_color()


def test_curves_apart_have_axes_of_their_own(shown):
    plot.curves({"a": [1, 2], "b": [100, 200]}, "Two", ylabel="nats", apart=True)
    drawn = [[line.get_ydata().tolist() for line in ax.lines] for ax in shown[0].axes]
    assert drawn == [[[1, 2]], [[100, 200]]]


def test_a_map_shows_each_code_in_the_colour_of_its_class(shown):
    plot.latent_map(CODES.requires_grad_(), LABELS, ("x", "y", "none", "z"), "Codes")
    (ax,) = shown[0].axes
    assert sorted(text.get_text() for text in ax.texts) == ["none", "x", "y"]
    drawn = {
        matplotlib.colors.to_hex(c.get_facecolor()[0]): c.get_offsets() for c in ax.collections
    }
    for c in range(3):
        expected = CODES[c == LABELS].detach().numpy()
        np.testing.assert_allclose(drawn[plot.COLOURS[c]], expected, atol=1e-6)
    heights = sorted(text.get_position()[1] for text in ax.texts)
    assert min(np.diff(heights)) > 0.03 * np.ptp(ax.get_ylim()), "a name lies on another"


def test_each_line_of_a_figure_has_a_colour_that_can_be_told_apart():
    made, axes = plot.figure(2, 3, (2, 1))
    assert axes.shape == (2, 3) and made.get_size_inches().tolist() == [6, 2]
    lines = [axes[1, 2].plot([0, 1])[0] for _ in range(10)]
    assert [line.get_color() for line in lines] == list(plot.COLOURS)
    assert len(set(plot.COLOURS)) == 10


# --- What is refused ------------------------------------------------------------------------

WRONG: list[tuple[Tensor, str]] = [
    (PICTURES[0], r"images \(N, 1 or 3, H, W\); got shape \(3, 4, 6\)"),
    (PICTURES[:, :2], r"got shape \(5, 2, 4, 6\)"),
    (PICTURES[:0], r"got shape \(0, 3, 4, 6\)"),
    (torch.tensor(1.0), r"got shape \(\)"),
    (PICTURES * float("nan"), r"expected values in \[0, 1\]; got nan to nan"),
    (PICTURES * 2 - 1, r"expected values in \[0, 1\]; got -1 to 1"),
    (PICTURES * 1.02, r"expected values in \[0, 1\]; got 0 to 1.02"),
    (torch.full((1, 1, 2, 2), 7), r"expected values in \[0, 1\]; got 7 to 7"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_what_is_no_image_is_refused(wrong, message, folder):
    with pytest.raises(ValueError, match=message):
        plot.grid(wrong, "Pictures")
    with pytest.raises(ValueError, match=message):
        plot.images({"fine": PICTURES, "wrong": wrong}, "Pictures")
    assert not folder.exists()


@pytest.mark.parametrize("rows", [{}, {"a": PICTURES, "b": PICTURES[..., :5]}])
def test_rows_of_unlike_images_are_refused(rows):
    shapes = re.escape(str([tuple(x.shape) for x in rows.values()]))
    with pytest.raises(ValueError, match=f"one height and width; got {shapes}"):
        plot.images(rows, "Pictures")


@pytest.mark.parametrize("values", [{}, {"a": []}, {"a": [1.0], "b": []}])
@pytest.mark.parametrize("apart", [False, True])
def test_curves_of_nothing_are_refused(values, apart):
    with pytest.raises(ValueError, match=f"expected values to draw; got {re.escape(str(values))}"):
        plot.curves(values, "Lines", ylabel="nats", apart=apart)


@pytest.mark.parametrize(
    ("codes", "labels"),
    [
        (torch.zeros(4, 3), torch.zeros(4)),
        (torch.zeros(4), torch.zeros(4)),
        (torch.zeros(4, 2), torch.zeros(3)),
        (torch.zeros(4, 2), torch.zeros(4, 1)),
        (torch.zeros(0, 2), torch.zeros(0)),
    ],
)
def test_codes_that_do_not_lie_in_a_plane_are_refused(codes, labels):
    shapes = re.escape(str([tuple(codes.shape), tuple(labels.shape)]))
    expected = rf"expected codes \(N, 2\) and labels \(N,\); got {shapes}"
    with pytest.raises(ValueError, match=expected):
        plot.latent_map(codes, labels, ("a",), "Codes")
