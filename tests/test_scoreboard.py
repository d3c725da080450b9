"""The pages on all labs: what they read from records and notebooks, and that their words hold."""

import base64
import importlib.util
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
import yaml
from matplotlib import image
from torch import Tensor

from gmlib import plot

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / part) for part in ("solutions", "book/_ext", "tests/benchmarks")]

import batches  # noqa: E402
import labs  # noqa: E402
import make  # noqa: E402
import pairs  # noqa: E402
import scoreboard  # noqa: E402

TWINS = [lab for lab in labs.all_labs() if make.source(lab).with_suffix(".ipynb").exists()]


def write(root: Path, lab: str, seed: int, profile: str = "quick", **numbers: float) -> None:
    """A record as gmlib.records writes it."""
    record = {"lab": lab, "profile": profile, "seed": seed, "source": "", "numbers": numbers}
    path = root / lab / f"{profile}-seed{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record | {"hardware": f"machine {seed % 2}"}))


def columns(table: str) -> list[dict[str, str]]:
    """A table of a page, a dictionary for each row."""
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(header, row, strict=True)) for row in rows]


# --- The table -----------------------------------------------------------------------------------


def test_a_row_is_mean_and_spread_over_the_seeds(tmp_path):
    numbers = {"parameters": 1_234_567, "train_seconds": 30, "mnist_nll_nats": 90}
    write(tmp_path, "13_pixelcnn", 0, fid_course=10, bits_per_dim=0.5, **numbers)
    write(tmp_path, "13_pixelcnn", 1, fid_course=14, bits_per_dim=0.7, **numbers)
    write(tmp_path, "22_vae", 0, fid_course=3, bits_per_dim=1, milliseconds_per_sample_1=123.4)
    write(tmp_path, "32_scores", 0, largest_difference=1e-9)
    models = scoreboard.drawing(scoreboard.load(tmp_path))
    table = scoreboard.board(models)
    vae, pixelcnn = columns(table)
    assert pixelcnn["model"] == "{doc}`PixelCNN <13_pixelcnn>`"
    assert pixelcnn["Fréchet distance"] == "12.0 ± 2.8"
    assert pixelcnn["bits/dim"] == "0.600 ± 0.141"
    assert pixelcnn["nats (paper)"] == "90.00 ± 0.00 (81.30)"
    assert pixelcnn["weights, M"] == "1.23"
    assert pixelcnn["train, s"] == "30 ± 0"
    assert pixelcnn["profile, seeds"] == "quick, 0, 1"
    assert (vae["ran on"], pixelcnn["ran on"]) == ("A", "A, B")
    assert table.endswith("\n\nRan on A: machine 0; B: machine 1.")

    assert vae["Fréchet distance"] == "3.0", "one seed has no spread"
    assert vae["bits/dim"] == "≤ 1.000", "a bound is marked"
    assert vae["ms, of 1"] == "123"
    missing = ("IS", "weights, M", "train, s", "ms, of 256")
    assert [vae[name] for name in missing] == ["–"] * 4
    assert "PixelCNN" not in scoreboard.missing_seeds(models[:1])
    assert "VAE, PixelCNN" in scoreboard.missing_seeds(models)


def test_a_number_that_one_seed_lacks_is_a_dash(tmp_path):
    write(tmp_path, "22_vae", 0, fid_course=3, kid_course=1)
    write(tmp_path, "22_vae", 1, fid_course=4)
    (row,) = columns(scoreboard.board(scoreboard.load(tmp_path)))
    assert (row["Fréchet distance"], row["kernel"]) == ("3.5 ± 0.7", "–")


def test_three_seeds_are_enough(tmp_path):
    for seed in range(3):
        write(tmp_path, "22_vae", seed, fid_course=3)
    assert scoreboard.missing_seeds(scoreboard.load(tmp_path)) == ""


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "–"),
        ([0.00664], "0.0066"),
        ([0.044, 0.046], "0.045 ± 0.001"),
        ([8.24], "8.2"),
        ([199.3, 201.1], "200 ± 1"),
        ([1234.5], "1,234"),
    ],
)
def test_numbers_of_any_size(values, told):
    assert scoreboard.short(values) == told


def test_profiles_are_never_mixed(tmp_path):
    write(tmp_path, "13_pixelcnn", 0, "full", fid_course=1)
    write(tmp_path, "13_pixelcnn", 0, "quick", fid_course=2)
    write(tmp_path, "22_vae", 0, "quick", fid_course=3)
    found = scoreboard.load(tmp_path)
    assert {r["profile"] for model in found for r in model.records} == {"quick"}
    assert [model.mean("fid_course") for model in found] == [2, 3]

    write(tmp_path, "22_vae", 1, "full", fid_course=4)
    found = scoreboard.load(tmp_path)
    assert {r["profile"] for model in found for r in model.records} == {"full"}
    assert [model.mean("fid_course") for model in found] == [1, 4]

    write(tmp_path, "31_gan", 0, "test", fid_course=5)
    with pytest.raises(ValueError, match="no profile has a record of every lab.*31_gan"):
        scoreboard.load(tmp_path)


def test_other_models_of_a_record_have_their_own_numbers(tmp_path):
    write(tmp_path, "11_density", 0, fid_course=9, class_gaussian_fid_course=5)
    models = scoreboard.load(tmp_path)
    others = {model.name: model.values("fid_course") for model in scoreboard.others(models)}
    assert others["Gaussian a class"] == [5.0]
    assert others["pixel histograms"] == []


def test_a_figure_says_what_it_shows(tmp_path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(plot, "show", lambda made, alt: told.append(alt))
    write(tmp_path, "13_pixelcnn", 0, fid_course=10, bits_per_dim=0.5)
    write(tmp_path, "13_pixelcnn", 1, fid_course=14, bits_per_dim=0.7)
    write(tmp_path, "31_gan", 0, fid_course=20)
    models = scoreboard.drawing(scoreboard.load(tmp_path))
    scoreboard.against(models, {"bits_per_dim": " bits"}, "bits", xscale="log")
    assert told == ["Fréchet distance of samples over bits: PixelCNN 12.0 at 0.6 bits."]


# --- The records ---------------------------------------------------------------------------------


def records(lab: str = "*") -> list[dict[str, Any]]:
    paths = sorted((ROOT / "book" / "results").glob(f"{lab}/*-seed*.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_no_record_is_stale() -> None:
    assert records()
    stale = make.stale(records())
    assert stale == [], "\n".join(stale)


def test_a_stale_record_is_named_with_the_command_that_makes_it_again() -> None:
    record = {"lab": "22_vae", "profile": "quick", "seed": 2, "source": make.source_hash("22_vae")}
    assert make.stale([record]) == []
    (told,) = make.stale([record, record | {"source": "0123456789abcdef"}])
    assert told.startswith("book/results/22_vae/quick-seed2.json was made by older code than lab")
    assert "run `GMLIB_PROFILE=quick python solutions/make.py --seeds 3 22_vae`" in told


def test_every_lab_that_draws_is_on_the_page() -> None:
    drawing = {r["lab"] for r in records() if "fid_course" in r["numbers"]}
    assert drawing == set(scoreboard.MODELS) == set(labs.SHEETS)


# --- What notebooks show -------------------------------------------------------------------------


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GMLIB_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "figures"


def known(rows: int, n: int) -> Tensor:
    """Images of whole grey levels on black ground, (rows, n, 1, 28, 28) in [0, 1]."""
    torch.manual_seed(rows * n)
    x = torch.randint(0, 256, (rows, n, 1, 28, 28)).float() / 255
    x[..., 0, :] = x[..., -1, :] = x[..., 0] = x[..., -1] = 0
    return x


@pytest.mark.parametrize(
    ("rows", "n", "scale"), [(4, 16, 0.45), (6, 10, 0.6), (10, 12, 0.5), (1, 3, 0.5)]
)
def test_a_grid_is_read_back(figures, rows, n, scale):
    x = known(rows, n)
    plot.grid(x.flatten(0, 1), "known", columns=n, scale=scale)
    read = labs.cells(image.imread(figures / "known.png"), rows, n)
    torch.testing.assert_close(read, x[:, :, 0], atol=1e-6, rtol=0)


def test_labelled_rows_are_read_back(figures):
    x = known(3, 14)
    plot.images(dict(zip(("a", "a longer name", ""), x, strict=True)), "known")
    picture = image.imread(figures / "known.png")
    torch.testing.assert_close(labs.cells(picture, 3, 14), x[:, :, 0], atol=1e-6, rtol=0)
    for rows, columns in ((4, 14), (3, 13), (3, 15), (2, 14), (14, 3)):
        with pytest.raises((ValueError, IndexError)):
            labs.cells(picture, rows, columns)


def test_a_figure_is_found_by_its_text(figures, tmp_path, monkeypatch):
    plot.grid(known(1, 2)[0], "two of them", columns=2)
    png = (figures / "two-of-them.png").read_bytes()
    tag = f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="x">'
    shown = {"text/html": tag, "text/plain": "two of them"}
    output = nbformat.v4.new_output("display_data", shown)
    cells = [nbformat.v4.new_code_cell("", outputs=[output]), nbformat.v4.new_markdown_cell("x")]
    path = tmp_path / "solutions" / "99_new" / "new.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    monkeypatch.setattr(labs, "ROOT", tmp_path)
    read = labs.cells(labs.figure("99_new", "two of"), 1, 2)
    torch.testing.assert_close(read, known(1, 2)[:, :, 0], atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="99_new has 0 figures whose text begins with 'three'"):
        labs.figure("99_new", "three")


@pytest.mark.parametrize("lab", [lab for lab in TWINS if lab in scoreboard.MODELS])
def test_ten_samples_of_each_model(lab: str) -> None:
    x = labs.samples(lab)
    assert x.shape == (10, 1, 28, 28)
    assert x.min() >= 0 and x.max() <= 1
    assert x.flatten(1).std(1).min() > 0.02, "an image of one grey"
    assert torch.pdist(x.flatten(1)).min() > 0.1, "two that are the same"


@pytest.mark.parametrize("lab", TWINS)
def test_the_cards_hold_all_points_and_minutes(lab: str) -> None:
    assert labs.title(lab) != lab
    cards = labs.exercises(lab)
    assert sum(points for points, _ in cards) == 20
    assert labs.minutes(lab) == sum(minutes for _, minutes in cards)
    assert all(0 < minutes <= 60 for _, minutes in cards)


def test_the_map_holds_every_lab_below_what_it_needs(monkeypatch):
    assert list(labs.NEEDS) == labs.all_labs()
    at = labs.places()
    assert len(set(at.values())) == len(at)
    for lab, others in labs.NEEDS.items():
        assert all(other < lab for other in others)
        assert all(at[other][1] > at[lab][1] for other in others if other[0] == lab[0])
    told: list[str] = []
    monkeypatch.setattr(plot, "show", lambda made, alt: told.append(alt))
    labs.draw_map()
    assert all(lab[:2] in told[0] for lab in at)


# --- What the pages claim ------------------------------------------------------------------------


Models = dict[str, scoreboard.Model]
FAMILIES = ("VAE", "PixelCNN", "GAN", "DCGAN", "WGAN-GP")
ONE, MANY = "milliseconds_per_sample_1", "milliseconds_per_sample_256"


@pytest.fixture(scope="module")
def models() -> Models:
    """What the pages show, by name."""
    found = scoreboard.load()
    return {model.name: model for model in [*found, *scoreboard.others(found)]}


def best(models: Models, names: Iterable[str], number: str) -> list[str]:
    """The names that have the number, the least first."""
    return sorted(
        (n for n in names if models[n].values(number)), key=lambda n: models[n].mean(number)
    )


def less(models: Models, number: str, a: str, b: str) -> bool:
    return models[a].mean(number) < models[b].mean(number)


# A page, a sentence of it, and whether the records say so.
CLAIMS: list[tuple[str, str, Callable[[Models], bool]]] = [
    (
        "scoreboard",
        "One histogram a pixel and class needs fewer bits than one Gaussian a class, and its "
        "pictures are worse.",
        lambda m: (
            less(m, "bits_per_dim", "pixel histograms a class", "Gaussian a class")
            and less(m, "fid_course", "Gaussian a class", "pixel histograms a class")
        ),
    ),
    (
        "scoreboard",
        "The VQ-VAE's bound is no better than the VAE's, and its samples are far better.",
        lambda m: (
            m["VQ-VAE"].mean("bits_per_dim") > 0.97 * m["VAE"].mean("bits_per_dim")
            and m["VQ-VAE"].mean("fid_course") < 0.6 * m["VAE"].mean("fid_course")
        ),
    ),
    (
        "scoreboard",
        "A model that draws one part of the picture after another takes longest.",
        lambda m: all(
            set(best(m, scoreboard.MODELS.values(), n)[-2:]) == {"PixelCNN", "VQ-VAE"}
            for n in (ONE, MANY)
        ),
    ),
    (
        "scoreboard",
        "Asked for many pictures at once, every model takes less time for each",
        lambda m: all(m[n].mean(MANY) < m[n].mean(ONE) for n in scoreboard.MODELS.values()),
    ),
    (
        "comparison",
        "One picture of the PixelCNN takes hundreds of times as long as one of the VAE",
        lambda m: m["PixelCNN"].mean(ONE) > 150 * m["VAE"].mean(ONE),
    ),
    (
        "comparison",
        "a picture takes less time in every family, and the PixelCNN's still takes by far the "
        "longest.",
        lambda m: all(
            m[n].mean(MANY) < m[n].mean(ONE)
            and (n == "PixelCNN" or m["PixelCNN"].mean(MANY) > 10 * m[n].mean(MANY))
            for n in FAMILIES
        ),
    ),
    (
        "comparison",
        "In these records the PixelCNN's samples lie nearest to real pictures, by the Fréchet "
        "distance, and the VAE's lie furthest.",
        lambda m: [best(m, FAMILIES, "fid_course")[i] for i in (0, -1)] == ["PixelCNN", "VAE"],
    ),
    (
        "comparison",
        "With the critic of lab 35 there is a number again that follows the quality.",
        lambda m: m["WGAN-GP"].mean("wgan_gp_rank_correlation") > 0.6,
    ),
    (
        "comparison",
        "and its samples are the best on the {doc}`scoreboard`.",
        lambda m: best(m, scoreboard.MODELS.values(), "fid_course")[0] == "VQ-VAE",
    ),
    (
        "index",
        "A lab takes two to four hours",
        lambda m: all(120 <= labs.minutes(lab) <= 240 for lab in TWINS),
    ),
    (
        "index",
        "These are the models of two processor cores and at most about a minute of training for "
        "each lab.",
        lambda m: all(
            r["profile"] == "quick" and r["numbers"]["train_seconds"] < 75
            for model in m.values()
            for r in model.records
            if model.lab in labs.SHEETS
        ),
    ),
]


@pytest.mark.parametrize(
    ("page", "sentence", "holds"), CLAIMS, ids=[f"{page}: {text[:30]}" for page, text, _ in CLAIMS]
)
def test_what_a_page_says_is_what_the_records_say(models, page, sentence, holds):
    text = (ROOT / "book" / f"{page}.md").read_text()
    assert sentence in text, "the page says something else now"
    assert holds(models), f"the records do not say so: mend the words of book/{page}.md"


def test_the_pages_name_the_address_that_the_book_is_built_with():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert f"git+{config['repository']['url']}\n" in (ROOT / "book" / "no_gpu.md").read_text()


def test_the_sizes_are_those_of_the_lab():
    found = labs.sizes("13_pixelcnn")
    assert found["FASHION"] == ("fashion_small", "fashion")
    assert "TRAIN_IMAGES" not in found, "it is the same in both"
    assert all(quick != full for quick, full in found.values())


# --- The benchmarks ------------------------------------------------------------------------------


def test_a_ratio_is_that_of_pairs():
    """The other side is busy in one repeat, both are in another."""
    found = pairs.row("a thing", "a peer 1.0", "ms", [1, 4, 1], [2, 8, 9])
    assert (found.ours, found.theirs, found.ratio, found.spread) == (1, 8, 2, (2, 9))
    assert pairs.row("a thing", "a peer", "s", [2], [3]).spread is None
    with pytest.raises(ValueError):
        pairs.row("a thing", "a peer", "s", [1, 2], [3])


def test_both_sides_run_in_turns(monkeypatch):
    ran: list[str] = []
    ticks = iter(range(100))
    monkeypatch.setattr(pairs.time, "perf_counter", lambda: next(ticks))
    found = pairs.in_turns(lambda: ran.append("a"), lambda: ran.append("b"), 3)
    assert ran == ["a", "b"] * 4, "one of each before the clock runs"
    assert found == ([1, 1, 1], [1, 1, 1])


def test_a_missing_peer_is_left_out_with_the_command_that_brings_it():
    def needs() -> pairs.Row:
        import no_such_package  # noqa: F401

    missing = pairs.peer("step of the VAE", "pythae", needs)
    assert missing == pairs.Missing("step of the VAE", "pip install pythae")
    assert "left out" in pairs.text([missing]) and "pip install pythae" in pairs.text([missing])


def test_the_table_of_the_benchmarks():
    row = pairs.row("a batch", "torch 2", "ms", [0.25, 0.26], [40, 42])
    once = pairs.row("grading", "nbgrader 0.9.6", "s", [100], [80])
    part = {"hardware": "a machine, 2 threads", "missing": []}
    found = {
        "batches": part | {"rows": [row._asdict()]},
        "training_step": part
        | {"rows": [], "missing": [{"name": "x", "install": "pip install y"}]},
        "grading": part | {"rows": [once._asdict()], "hardware": "another"},
    }
    table = scoreboard.bench(json.loads(json.dumps(found)))
    first, second = columns(table)
    assert first["here"] == "0.26 ms" and first["there"] == "41 ms"
    assert (first["ratio"], first["spread"], first["machine"]) == ("161", "160 to 162", "A")
    assert (second["ratio"], second["spread"], second["machine"]) == ("0.80", "–", "B")
    assert "Machine A: a machine, 2 threads; B: another." in table
    assert "- Left out: x; `pip install y`" in table
    assert "- Not run: Fréchet distance." in table
    assert "- Not run: batches of images." not in table
    assert "|" not in scoreboard.bench({}) and scoreboard.bench({}).count("Not run") == 5


def test_a_run_keeps_what_it_does_not_measure_again(tmp_path, monkeypatch, capsys):
    path = ROOT / "tests" / "benchmarks" / "run.py"
    spec = importlib.util.spec_from_file_location("bench_run", path)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    monkeypatch.setenv("GMLIB_PROFILE", "test")
    monkeypatch.setattr(scoreboard, "RESULTS", tmp_path)
    old = {"grading": {"hardware": "x", "rows": [], "missing": [], "date": "", "seconds": 1}}
    (tmp_path / "bench.json").write_text(json.dumps(old))
    row = pairs.row("a batch", "torch 2", "ms", [1, 1], [2, 2])
    monkeypatch.setattr(
        batches, "compare", lambda quick: [row, pairs.Missing("y", "pip install z")]
    )

    monkeypatch.setattr(sys, "argv", ["run.py", "--quick", "batches"])
    bench.main()
    assert (
        "| a batch | 1.0 ms | torch 2 | 2.0 ms | 2.0 | 2.0 to 2.0 | A |" in capsys.readouterr().out
    )
    assert json.loads((tmp_path / "bench.json").read_text()) == old, "a quick run writes nothing"

    monkeypatch.setattr(sys, "argv", ["run.py", "batches"])
    bench.main()
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["grading"] == old["grading"]
    assert found["batches"]["rows"] == [json.loads(json.dumps(row._asdict()))]
    assert found["batches"]["missing"] == [{"name": "y", "install": "pip install z"}]
    assert [p.name for p in tmp_path.iterdir()] == ["bench.json"]

    monkeypatch.setattr(sys, "argv", ["run.py", "speed"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "there is no benchmark 'speed'" in capsys.readouterr().err


def test_every_benchmark_has_a_file():
    there = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py")}
    assert there - {"pairs", "run"} == set(scoreboard.BENCHMARKS)


def test_batches_and_their_peers_hold_the_same_images(monkeypatch):
    monkeypatch.setenv("GMLIB_PROFILE", "test")
    rows = batches.compare(quick=True)
    assert len(rows) == 3
    assert all(row.ours > 0 and row.ratio > 0 for row in rows)

    monkeypatch.setattr(batches.data, "to_float", lambda pixels, low, high: pixels / 200)
    with pytest.raises(SystemExit, match="draws other images"):
        batches.compare(quick=True)
