"""Time the grading of a class: `python tests/benchmarks/grading.py [--quick] [--simulate N]`.

The class is made from lab 22: its solution, other right answers, and the mistakes of
tests/mistakes, one or two in each submission. `gmlib grade` and stock `nbgrader autograde` grade
the same files one after the other, each as a command of its own, gmlib with one worker a core.
Each is timed with and without feedback pages, which nbgrader makes by a second command.

The overhead of a submission is what judging it takes over what its cells take, once warm.

With `--simulate N` the real judge is left out: N submissions go through collection, repair,
gradebook and report, and the memory of the grading process is printed as they do.
"""

import argparse
import copy
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
import pairs

ROOT = pairs.ROOT
sys.path.insert(0, str(ROOT))
LAB, NAME = "22_vae", "vae"
STUDENTS, QUICK = 30, 4


def course(folder: Path) -> Path:
    """A course with the lab and nobody in it."""
    for kind in ("solutions", "notebooks"):
        (folder / kind / LAB).mkdir(parents=True)
        shutil.copy(ROOT / kind / LAB / f"{NAME}.ipynb", folder / kind / LAB)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    return folder


def submissions(count: int) -> list[bytes]:
    """Notebooks as a class hands them in: most answers right, in several styles, a few wrong."""
    making = pairs.module(ROOT / "tests" / "example_class" / "make.py")
    mistakes = pairs.module(ROOT / "tests" / "mistakes" / "run.py")
    released, solved = (
        nbformat.read(ROOT / kind / LAB / f"{NAME}.ipynb", 4) for kind in ("notebooks", "solutions")
    )
    others = [c for c in mistakes.cases(LAB) if c[1] != "the solution"]
    made = []
    for i in range(count):
        notebook = copy.deepcopy(making.answered(released, solved, 1.0 if i % 5 else 0.7))
        cells = {c.metadata.get("nbgrader", {}).get("grade_id"): c for c in notebook.cells}
        for answer, _, source, _ in (others[(7 * i) % len(others)], others[(11 * i) % len(others)]):
            lines = [x for x in source.splitlines() if not x.strip().startswith("### ")]
            cells[answer].source = "\n".join(lines)
        cells["words"].source = f"Submission {i}: an average of sharp images is blurred."
        made.append(nbformat.writes(notebook).encode())
    return made


def hand_in(folder: Path, notebooks: list[bytes]) -> None:
    for i, data in enumerate(notebooks):
        path = folder / "submitted" / f"student{i:04d}" / LAB / f"{NAME}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)


def run(folder: Path, *command: str) -> float:
    """Seconds of a command in a course's folder.

    Raises:
        SystemExit: it failed.
    """
    beside = str(Path(sys.executable).parent)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment["PATH"] = os.pathsep.join([beside, os.environ["PATH"]])
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - start


def measure(quick: bool = False) -> dict[str, float]:
    """Both graders on the same class."""
    with tempfile.TemporaryDirectory() as scratch:
        names = ("stock", "ours", "ours with feedback")
        stock, ours, whole = (course(Path(scratch) / name) for name in names)
        notebooks = submissions(QUICK if quick else STUDENTS)
        for folder in (stock, ours, whole):
            hand_in(folder, notebooks)
            run(folder, "nbgrader", "generate_assignment", LAB, "--force")
        seconds = run(ours, "gmlib.grade.cli", "grade", LAB, "--no-feedback")
        stock_seconds = run(stock, "nbgrader", "autograde", LAB)
        whole_seconds = run(whole, "gmlib.grade.cli", "grade", LAB)
        stock_feedback = run(stock, "nbgrader", "generate_feedback", LAB)
        records = [
            json.loads(path.read_text())
            for path in sorted((ours / ".grading" / LAB / "records").glob("*.json"))
        ]
    cores = len(os.sched_getaffinity(0))
    warm = [
        r for r in records if r["seconds"] < 2 * statistics.median(x["seconds"] for x in records)
    ]
    return {
        "submissions": len(records),
        "cores": cores,
        "stock": stock_seconds,
        "gmlib": seconds,
        "stock_feedback": stock_seconds + stock_feedback,
        "gmlib_feedback": whole_seconds,
        "cells": statistics.median(r["cell_seconds"] for r in warm),
        "overhead": statistics.median(r["seconds"] / r["cell_seconds"] for r in warm),
    }


def compare(quick: bool = False) -> list[pairs.Row]:
    """Both graders for the table of all benchmarks, each run once."""
    found = measure(quick)
    students, nbgrader = int(found["submissions"]), f"nbgrader {version('nbgrader')}"
    ways = {
        f"grading {students} submissions": ("", "autograde"),
        "the same with feedback pages": ("_feedback", "autograde, generate_feedback"),
    }
    return [
        pairs.row(name, f"{nbgrader} {peer}", "s", [found[f"gmlib{end}"]], [found[f"stock{end}"]])
        for name, (end, peer) in ways.items()
    ]


def table(found: dict[str, float]) -> str:
    """What is printed."""
    return (
        f"{found['submissions']} submissions of lab {LAB} on {found['cores']} cores\n"
        f"nbgrader autograde                     {found['stock']:8.1f} s\n"
        f"gmlib grade --no-feedback              {found['gmlib']:8.1f} s   "
        f"{found['stock'] / found['gmlib']:.1f}×\n"
        f"nbgrader autograde, generate_feedback  {found['stock_feedback']:8.1f} s\n"
        f"gmlib grade                            {found['gmlib_feedback']:8.1f} s   "
        f"{found['stock_feedback'] / found['gmlib_feedback']:.1f}×\n"
        f"one submission, once warm: {found['overhead']:.2f}× the time of its cells, "
        f"{found['cells']:.1f} s (medians)"
    )


def simulate(count: int) -> None:
    """A course of `count` submissions with a judge that runs nothing; prints memory as it goes."""
    from gmlib.grade import classroom, report
    from gmlib.grade.lab import Lab
    from tests import fake_judge

    some = submissions(60)
    with tempfile.TemporaryDirectory() as scratch:
        folder = course(Path(scratch) / "course")
        hand_in(
            folder, [some[i % len(some)].replace(b"Submission", b"%d," % i) for i in range(count)]
        )
        start, done = time.perf_counter(), []

        def say(_: str) -> None:
            done.append(None)
            if len(done) % max(1, count // 20) == 0:
                passed = time.perf_counter() - start
                print(f"{len(done):6d} graded  {passed:7.0f} s  {resident():6.0f} MB", flush=True)

        lab, settings = Lab.read(LAB, folder), classroom.Settings(feedback=False)
        rows = classroom.grade(
            classroom.Course.around(folder), lab, settings, say, fake_judge.judged
        )
        print(f"{len(rows)} rows, {sum(r.problem is None for r in rows)} graded")
        start = time.perf_counter()
        report.write(rows, lab, folder / "reports")
        print(f"report {time.perf_counter() - start:.1f} s, {resident():.0f} MB")


def resident() -> float:
    """Megabytes that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} submissions")
    parser.add_argument("--simulate", type=int, metavar="N", help="how a large course goes through")
    given = parser.parse_args()
    os.environ["GMLIB_PROFILE"] = "test"
    if given.simulate:
        simulate(given.simulate)
    else:
        print(table(measure(given.quick)))


if __name__ == "__main__":
    main()
