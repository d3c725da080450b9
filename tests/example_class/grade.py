"""Grade the example class with nbgrader: `python tests/example_class/grade.py`.

Grades the submissions beside this file into `_build/class`: gradebook, graded notebooks and
feedback pages. Prints the table of grades. What was graded from unchanged files is not graded
again.
"""

import hashlib
import shutil
import sys
import warnings
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from sqlalchemy.exc import SAWarning

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "solutions"))

from make import nbgrader_settings  # noqa: E402

CLASS = ROOT / "_build" / "class"
SUBMITTED = Path(__file__).parent / "submitted"
LAB = "22_vae"


def fingerprint(submitted: Path) -> str:
    """Names everything that the grades depend on."""
    files = [ROOT / "nbgrader_config.py", Path(__file__), *sorted((ROOT / "gmlib").rglob("*.py"))]
    files += sorted((ROOT / "solutions").glob("*/*.ipynb")) + sorted(submitted.rglob("*.ipynb"))
    total = hashlib.sha256()
    for path in files:
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def grade(folder: Path, submitted: Path) -> None:
    """Grade every submission of the lab and write the feedback pages.

    Raises:
        SystemExit: nbgrader failed on a submission; says which, with its log.
    """
    warnings.simplefilter("ignore", SAWarning)  # nbgrader's own, of no consequence here
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = nbgrader_settings(folder)
    config.CourseDirectory.release_directory = "release"
    config.CourseDirectory.submitted_directory = str(submitted)
    api = NbGraderAPI(config=config)
    check(api.generate_assignment(LAB), "the lab")
    for student in sorted(path.name for path in submitted.iterdir()):
        print(f"grading {student}", flush=True)
        check(api.autograde(LAB, student), student)
        check(api.generate_feedback(LAB, student), f"the feedback of {student}")


def check(result: dict, what: str) -> None:
    if not result["success"]:
        raise SystemExit(f"nbgrader failed on {what}:\n{result.get('log')}\n{result.get('error')}")


def grades(folder: Path) -> dict[str, dict[str, float]]:
    """By student, the points of each graded cell; a cell that waits for a person is left out."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        return {
            submission.student.id: {
                grade.name: grade.score for grade in notebook.grades if not grade.needs_manual_grade
            }
            for submission in book.assignment_submissions(LAB)
            for notebook in submission.notebooks
        }


def table(folder: Path) -> str:
    """The grades as text: a row a student, a column an exercise."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        cells = [c for n in book.find_assignment(LAB).notebooks for c in n.grade_cells]
        most = {cell.name: cell.max_score for cell in cells}
    found = grades(folder)
    names = [name.removesuffix("_test") for name in most]
    header = ["student", *names, "total"]
    rows = []
    for student, points in sorted(found.items()):
        row = [f"{points[name]:g}" if name in points else "to read" for name in most]
        rows.append([student, *row, f"{sum(points.values()):g}"])
    rows.append(["of", *(f"{score:g}" for score in most.values()), f"{sum(most.values()):g}"])
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(value.rjust(width) for value, width in zip(line, widths, strict=True))
        for line in lines
    )


def main() -> None:
    stamp, key = CLASS / "stamp", fingerprint(SUBMITTED)
    if not (stamp.exists() and stamp.read_text() == key):
        grade(CLASS, SUBMITTED)
        stamp.write_text(key)
    print(f"\nLab {LAB}, graded by nbgrader\n\n{table(CLASS)}\n")
    print(f"gradebook  {(CLASS / 'gradebook.db').relative_to(ROOT)}")
    for page in sorted((CLASS / "feedback").rglob("*.html")):
        print(f"feedback   {page.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
