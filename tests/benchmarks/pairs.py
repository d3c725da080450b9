"""What the benchmarks share: two ways of one thing, timed in turns, as a row of one table."""

import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Row(NamedTuple):
    """What took how long here and elsewhere."""

    name: str
    peer: str  # what it is held against, with its version
    unit: str
    ours: float
    theirs: float
    ratio: float  # theirs over ours
    spread: tuple[float, float] | None  # the least and the largest ratio; none of a single run


def row(name: str, peer: str, unit: str, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """A row from repeats made in turns: medians, and the ratio of each pair.

    Raises:
        ValueError: the numbers of repeats differ.
    """
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    spread = (min(ratios), max(ratios)) if len(ratios) > 1 else None
    middle = statistics.median
    return Row(name, peer, unit, middle(ours), middle(theirs), middle(ratios), spread)


class Missing(NamedTuple):
    """What could not be held against anything here."""

    name: str
    install: str  # the command that brings the peer


def peer(name: str, package: str, measure: Callable[[], Row]) -> Row | Missing:
    """The measured row, or what to install where the peer, or what it needs, is not there."""
    try:
        return measure()
    except ModuleNotFoundError:
        return Missing(name, f"pip install {package}")


def seconds(run: Callable[[], Any]) -> float:
    """The wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds of each in every repeat; each is called once before, which pays for loading."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def module(path: Path) -> Any:
    """A Python file as a module, whatever folder it is in."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def lab(name: str) -> dict[str, Any]:
    """The names that a lab defines, with nothing trained."""
    taken = module(ROOT / "tests" / "mistakes" / "run.py").Lab.read(name)
    return taken.namespace(taken.setup(), "", "")


def text(rows: Sequence[Row | Missing]) -> str:
    """The rows as a benchmark that runs alone prints them."""
    lines = []
    for r in rows:
        if isinstance(r, Missing):
            lines.append(f"{r.name}: left out, its peer is not installed: {r.install}")
            continue
        spread = f" ({r.spread[0]:.1f} to {r.spread[1]:.1f})" if r.spread else ""
        lines.append(
            f"{r.name}: {r.ours:.3g} {r.unit}, {r.peer} {r.theirs:.3g} {r.unit}, "
            f"{r.ratio:.1f}×{spread}"
        )
    return "\n".join(lines)
