"""Run the benchmarks and write their table: `python tests/benchmarks/run.py [--quick] [NAME …]`.

Every row is this course's way of a thing and a peer's, timed in turns in one process. The table is
printed, and book/results/bench.json holds it for the page. A run of some benchmarks leaves what is
written of the others; a quick run writes nothing.
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

import pairs

sys.path.insert(0, str(pairs.ROOT / "book" / "_ext"))

import scoreboard  # noqa: E402

from gmlib import records  # noqa: E402


def frechet(quick: bool = False) -> list[pairs.Row]:
    """Each peer against the lab's own Fréchet distance, where there are the most features.

    Its own table has more: fewer features, and the errors. That is printed beside.
    """
    benchmark = importlib.import_module("frechet")
    measured = benchmark.rows(quick)
    print(benchmark.table(measured), file=sys.stderr, flush=True)
    dims = max(r["dims"] for r in measured)
    own = {r["samples"]: r["seconds"] for r in measured if (r["dims"], r["way"]) == (dims, "own")}
    return [
        pairs.row(
            f"Fréchet distance, {r['samples']:,} samples of {dims:,} features",
            f"{r['way']} {version(r['way'])}", "s", [own[r["samples"]]], [r["seconds"]],
        )
        for r in measured
        if r["dims"] == dims and r["way"] != "own"
    ]  # fmt: skip


def run(name: str, quick: bool) -> dict[str, Any]:
    """What a benchmark found, and on what."""
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            compare = frechet if name == "frechet" else importlib.import_module(name).compare
            found = compare(quick)
    except ModuleNotFoundError as error:
        found = [pairs.Missing(scoreboard.BENCHMARKS[name], f"pip install {error.name}")]
    return {
        "hardware": records.hardware(),
        "date": time.strftime("%Y-%m-%d"),
        "seconds": time.perf_counter() - start,
        "rows": [r._asdict() for r in found if isinstance(r, pairs.Row)],
        "missing": [r._asdict() for r in found if isinstance(r, pairs.Missing)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = list(scoreboard.BENCHMARKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all runs")
    given = parser.parse_args()
    for name in given.names:
        if name not in names:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(names)}")
    os.environ["GMLIB_PROFILE"] = "test"  # the labs read few images, and stay on the processor
    path = scoreboard.RESULTS / "bench.json"
    found = {} if given.quick else scoreboard.read_bench(path)
    for name in given.names or names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = run(name, given.quick)
        if not given.quick:
            path.with_suffix(".partial").write_text(json.dumps(found, indent=1) + "\n")
            os.replace(path.with_suffix(".partial"), path)
    print(scoreboard.bench(found))


if __name__ == "__main__":
    main()
