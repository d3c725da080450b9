"""What the pages on all labs show: the records side by side. Everything here is read from records.

A page imports this from `_ext`; its working folder is `book`.
"""

import json
import statistics
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.ticker import LogLocator, NullLocator

from gmlib import plot, records

RESULTS = Path(__file__).parents[1] / "results"
PROFILES = ("full", "quick", "test")
# The model that a lab's record speaks of, in the labs that draw samples.
MODELS = {
    "11_density": "Gaussian",
    "13_pixelcnn": "PixelCNN",
    "21_autoencoder": "Autoencoder",
    "22_vae": "VAE",
    "23_vqvae": "VQ-VAE",
    "31_gan": "GAN",
    "33_dcgan": "DCGAN",
    "35_wgan": "WGAN-GP",
}
# Other models of a record, whose numbers' names begin so.
OTHERS = {
    "11_density": {
        "class_gaussian_": "Gaussian a class",
        "all_pixel_histograms_": "pixel histograms",
        "class_pixel_histograms_": "pixel histograms a class",
    }
}
BOUNDS = ("22_vae", "23_vqvae")  # their bits per dimension are an upper bound
SAMPLES = {"full": 10_000, "quick": 2_000, "test": 256}  # drawn and compared with as many images
PUBLISHED = {"13_pixelcnn": 81.30, "22_vae": 86.76}  # nats on binarised MNIST; sources on the page
LEAST_SEEDS = 3
MARKERS = "osD^vP*X"
# The files in tests/benchmarks, and what each is about.
BENCHMARKS = {
    "batches": "batches of images",
    "training_step": "steps of training",
    "pixelcnn_sampling": "sampling from the PixelCNN",
    "frechet": "Fréchet distance",
    "grading": "grading a class",
}


class Model(NamedTuple):
    """A lab's records of one profile, by seed, and which of their numbers are meant."""

    lab: str
    records: list[dict[str, Any]]
    name: str
    prefix: str = ""

    @property
    def profile(self) -> str:
        return self.records[0]["profile"]

    def values(self, name: str) -> list[float]:
        """The number in every record, none if a record lacks it."""
        name = self.prefix + name
        found = [r["numbers"][name] for r in self.records if name in r["numbers"]]
        return found if len(found) == len(self.records) else []

    def mean(self, name: str) -> float:
        return statistics.fmean(self.values(name))

    def spread(self, name: str) -> float:
        """The standard deviation over the seeds, 0 where there is one."""
        values = self.values(name)
        return statistics.stdev(values) if len(values) > 1 else 0.0


def labs(root: Path = RESULTS) -> list[str]:
    """The labs that have a record, in reading order."""
    return sorted({path.parent.name for path in root.glob("*/*-seed*.json")})


def common_profile(root: Path = RESULTS) -> str:
    """The best profile in which every lab has a record: numbers of two are not comparable.

    Raises:
        ValueError: there is none.
    """
    held = {lab: {r["profile"] for r in records.read(lab, root)} for lab in labs(root)}
    for name in PROFILES:
        if held and all(name in profiles for profiles in held.values()):
            return name
    raise ValueError(f"no profile has a record of every lab: {held}")


def load(root: Path = RESULTS) -> list[Model]:
    """All labs in their common profile."""
    profile = common_profile(root)
    found = ((lab, records.read(lab, root)) for lab in labs(root))
    return [
        Model(lab, [r for r in read if r["profile"] == profile], MODELS.get(lab, lab))
        for lab, read in found
    ]


def others(models: Iterable[Model]) -> list[Model]:
    """What the same records say of other models, in the labs that try several."""
    return [
        Model(model.lab, model.records, name, prefix)
        for model in models
        for prefix, name in OTHERS.get(model.lab, {}).items()
    ]


def drawing(models: Iterable[Model]) -> list[Model]:
    """Those that draw samples, the best first."""
    found = [model for model in models if model.values("fid_course")]
    return sorted(found, key=lambda model: model.mean("fid_course"))


def number(values: Sequence[float], digits: int = 0) -> str:
    """Mean and standard deviation, with so many decimals; a dash where there are no values."""
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):,.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):,.{digits}f}" if len(values) > 1 else mean


def short(values: Sequence[float]) -> str:
    """The same for numbers of any size: two significant digits at least, and no spread below."""
    if not values:
        return "–"
    mean = statistics.fmean(values)
    digits = next((d for d in range(5) if abs(mean) * 10**d >= 10), 5)
    return number(values, digits)


def seeds(model: Model) -> str:
    """The profile and the seeds."""
    return f"{model.profile}, {', '.join(str(r['seed']) for r in model.records)}"


def hardware(models: Iterable[Model]) -> dict[str, str]:
    """A letter for each thing that the runs ran on."""
    names = dict.fromkeys(r["hardware"] for model in models for r in model.records)
    return dict(zip(names, string.ascii_uppercase, strict=False))


def nats(model: Model) -> str:
    """Nats on binarised MNIST, with the published figure in brackets."""
    found = number(model.values("mnist_nll_nats"), 2)
    return f"{found} ({PUBLISHED[model.lab]:.2f})" if model.lab in PUBLISHED else found


def bits(model: Model) -> str:
    """Bits per dimension, marked where they are a bound."""
    found = number(model.values("bits_per_dim"), 3)
    return f"≤ {found}" if model.lab in BOUNDS else found


COLUMNS: dict[str, Callable[[Model], str]] = {
    "model": lambda m: f"{{doc}}`{m.name} <{m.lab}>`",
    "Fréchet distance": lambda m: number(m.values("fid_course"), 1),
    "kernel": lambda m: number(m.values("kid_course"), 2),
    "IS": lambda m: number(m.values("is_course"), 2),
    "bits/dim": bits,
    "nats (paper)": nats,
    "weights, M": lambda m: number([n / 1e6 for n in m.values("parameters")[:1]], 2),
    "train, s": lambda m: number(m.values("train_seconds")),
    "ms, of 1": lambda m: short(m.values("milliseconds_per_sample_1")),
    "ms, of 256": lambda m: short(m.values("milliseconds_per_sample_256")),
    "profile, seeds": seeds,
}


def board(models: Iterable[Model]) -> str:
    """The scoreboard: a table in MyST, one line a model, and what ran on which hardware."""
    models = list(models)
    letters = hardware(models)
    rows = [
        [cell(m) for cell in COLUMNS.values()] + [", ".join(letters[n] for n in hardware([m]))]
        for m in models
    ]
    legend = "; ".join(f"{letter}: {name}" for name, letter in letters.items())
    return f"{records.markdown([*COLUMNS, 'ran on'], rows)}\n\nRan on {legend}."


def beside(
    models: Sequence[Model], columns: Iterable[str], rows: Mapping[str, Sequence[str]]
) -> str:
    """Models beside each other, a column each: the given rows, then columns of the scoreboard."""
    lines = [[name, *cells] for name, cells in rows.items()]
    lines += [[name, *(COLUMNS[name](model) for model in models)] for name in columns]
    return records.markdown(["", *(COLUMNS["model"](model) for model in models)], lines)


def missing_seeds(models: Iterable[Model]) -> str:
    """A sentence where labs have fewer records than a spread needs, else nothing."""
    few = [model.name for model in models if len(model.records) < LEAST_SEEDS]
    return (
        f"Fewer than {LEAST_SEEDS} seeds, so the spread says little or nothing: {', '.join(few)}."
        if few
        else ""
    )


def against(models: Sequence[Model], names: Mapping[str, str], xlabel: str, **axis: Any) -> None:
    """The Fréchet distance of every model over one of its other numbers, or two joined by a line.

    Bars show the standard deviation over the seeds.

    Args:
        names: the numbers, and what follows each in the figure's text. The first is drawn full,
            the second hollow. Models without them are left out.
        axis: settings of the axes, such as xscale.
    """
    made, axes = plot.figure(size=(6.4, 3.2))
    ax, told = axes[0, 0], []
    for i, model in enumerate(models):
        if not all(model.values(name) for name in names):
            continue
        y, colour = model.mean("fid_course"), plot.COLOURS[i % len(plot.COLOURS)]
        xs = [model.mean(name) for name in names]
        ax.plot(xs, [y] * len(xs), color=colour, linewidth=1)
        for k, (name, x) in enumerate(zip(names, xs, strict=True)):
            ax.errorbar(
                x, y, xerr=model.spread(name), yerr=model.spread("fid_course"),
                fmt=MARKERS[i % len(MARKERS)], color=colour, capsize=2, elinewidth=1,
                markerfacecolor=plot.PAPER if k else colour, label=None if k else model.name,
            )  # fmt: skip
        where = ", ".join(f"{x:.3g}{word}" for x, word in zip(xs, names.values(), strict=True))
        told.append(f"{model.name} {y:.1f} at {where}")
    ax.set(xlabel=xlabel, ylabel="Fréchet distance", yscale="log", **axis)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for side in (ax.xaxis, ax.yaxis):
        side.set_major_formatter("{x:g}")
        side.set_minor_locator(NullLocator())
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    plot.show(made, f"Fréchet distance of samples over {xlabel}: {'; '.join(told)}.")


def read_bench(path: Path = RESULTS / "bench.json") -> dict[str, Any]:
    """What the benchmarks have found, by their names; nothing where none was run."""
    return json.loads(path.read_text()) if path.exists() else {}


def bench(found: Mapping[str, Any]) -> str:
    """All benchmarks in one table, in MyST; what was not run or left out is said below it."""
    machines = dict.fromkeys(part["hardware"] for part in found.values())
    letters = dict(zip(machines, string.ascii_uppercase, strict=False))
    rows, notes = [], []
    for name, about in BENCHMARKS.items():
        if name not in found:
            notes.append(f"- Not run: {about}.")
            continue
        part = found[name]
        for r in part["rows"]:
            here, there = (f"{short([r[side]])} {r['unit']}" for side in ("ours", "theirs"))
            spread = " to ".join(short([x]) for x in r["spread"]) if r["spread"] else "–"
            row = [r["name"], here, r["peer"], there, short([r["ratio"]]), spread]
            rows.append([*row, letters[part["hardware"]]])
        for r in part["missing"]:
            notes.append(
                f"- Left out: {r['name']}; `{r['install']}` brings what it is held against."
            )
    header = ["what", "here", "held against", "there", "ratio", "spread", "machine"]
    legend = "; ".join(f"{letter}: {name}" for name, letter in letters.items())
    parts = [records.markdown(header, rows), f"Machine {legend}."] if rows else []
    return "\n\n".join([*parts, "\n".join(notes)]).strip()
