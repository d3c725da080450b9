"""The `gmlib` command: `gmlib check LAB` for a student, `gmlib grade LAB` for an instructor."""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

CLUSTER = "pip install 'dask[distributed]'"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="gmlib", description="Check a notebook, or grade a class.")
    commands = top.add_subparsers(dest="command", required=True)

    check = commands.add_parser("check", help="run your own notebook with its visible checks")
    check.add_argument("lab", help="such as 22_vae")
    check.add_argument("notebook", nargs="?", type=Path, help="your file, if it is not found")
    check.add_argument("--release", type=Path, help="an untouched copy of the lab's notebook")

    grade = commands.add_parser("grade", help="grade all submissions of a lab")
    grade.add_argument("lab", help="such as 22_vae")
    grade.add_argument(
        "--from", dest="source", type=Path, metavar="FOLDER|ZIP",
        help="where the notebooks are; a zip of Canvas or Moodle will do (default: submitted/)",
    )  # fmt: skip
    grade.add_argument("--workers", type=int, default=0, help="submissions at once (one a core)")
    grade.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to judge on")
    grade.add_argument("--db-url", metavar="URL", help="the gradebook, such as postgresql://…")
    grade.add_argument("--force", action="store_true", help="grade again what has not changed")
    grade.add_argument("--no-feedback", action="store_true", help="make no feedback pages")
    grade.add_argument(
        "--unsafe", action="store_true",
        help="grade with no sandbox: what students wrote runs with your rights",
    )  # fmt: skip
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    given = parser().parse_args(arguments)
    # The profile of grading, as nbgrader_config.py sets it; a worker inherits it.
    os.environ.setdefault("GMLIB_PROFILE", "test")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _check(given) if given.command == "check" else _grade(given)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


def _check(given: Any) -> int:
    from gmlib.grade import intake, student
    from gmlib.grade.sandbox import Limits, Unavailable

    sandboxed = missing_box() is None
    if not sandboxed:
        print(f"{missing_box()} (your own notebook runs all the same)", file=sys.stderr)
    try:
        notebook = given.notebook or student.find(given.lab, Path.cwd())
        report = student.check(notebook, given.lab, given.release, sandboxed, Limits())
    except (intake.Unreadable, Unavailable, OSError) as error:
        return refuse(error)
    print(report.text())
    return 0 if report.holds else 1


def _grade(given: Any) -> int:
    from gmlib.grade import workers

    if not given.unsafe and not given.scheduler and (why := missing_box()):
        return refuse(f"{why}; or grade with --unsafe only what people whom you trust have written")
    if not given.scheduler:
        workers.prepare()

    from gmlib.grade import classroom, report
    from gmlib.grade.lab import Lab

    settings = classroom.Settings(
        source=given.source, workers=given.workers, scheduler=given.scheduler,
        sandboxed=not given.unsafe, force=given.force, feedback=not given.no_feedback,
    )  # fmt: skip
    try:
        course = classroom.Course.around(Path.cwd(), given.db_url)
        lab = Lab.read(given.lab, course.root)
        rows = classroom.grade(course, lab, settings)
    except (classroom.Refused, OSError) as error:
        return refuse(error)
    except ModuleNotFoundError as error:
        if error.name not in ("distributed", "dask"):
            raise
        return refuse(f"--scheduler needs Dask: {CLUSTER}")
    made = report.write(rows, lab, course.root / "reports" / lab.id)
    print(f"\n{report.table(rows)}\n\n{report.summary(rows)}")
    for path in made:
        print(os.path.relpath(path))
    waiting = sum(row.so_far is not None and row.total is None for row in rows)
    if waiting:
        print(
            f"totals left empty in canvas.csv and moodle.csv: {waiting}, since a person has yet to "
            "read a part of them (in formgrader); then run this again"
        )
    if failed := sum(row.again for row in rows):
        print(f"gmlib: the grader itself failed on {failed}; run this again", file=sys.stderr)
    return 1 if failed else 0


def missing_box() -> str | None:
    """Why there is no sandbox on this machine, in one line; None where there is one."""
    from gmlib.grade import sandbox

    try:
        sandbox.check_available()
    except sandbox.Unavailable as error:
        return str(error)
    return None


def refuse(why: Any) -> int:
    print(f"gmlib: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
