"""The instructor's guide: its commands, run as they are written."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "book" / "instructor.md").read_text()
LAB = "22_vae"
CLASS = {"perfect", "halfway", "untouched", "broken"}

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")


def commands(text: str) -> str:
    """The bash blocks of a part of the guide."""
    return "\n".join(re.findall(r"^```bash\n(.*?)^```", text, flags=re.M | re.S))


def run(course: Path, script: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=course, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the guide's commands use, in which they have been run."""
    root = tmp_path_factory.mktemp("guide")
    shutil.copy(ROOT / "nbgrader_config.py", root)
    for folder in (f"solutions/{LAB}", f"notebooks/{LAB}", "tests/example_class"):
        shutil.copytree(ROOT / folder, root / folder)
    (root / ".venv").symlink_to(sys.prefix)
    first, last = GUIDE.split("## 5 ·")
    activate, *_ = commands(GUIDE).splitlines()
    (root / "first.txt").write_text(run(root, commands(first)))
    shutil.copy(root / "reports" / LAB / "canvas.csv", root / "before_reading.csv")
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}", "generative-models") as book:
        grade = book.find_grade("words", "vae", LAB, "perfect")
        grade.manual_score, grade.needs_manual_grade = 1.5, False
        book.db.commit()
    (root / "last.txt").write_text(run(root, f"{activate}\n{commands(last)}"))
    return root


def table(path: Path) -> dict[str, dict[str, str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    return {row[next(iter(row))]: row for row in rows}


def test_guide_grades_the_class(course: Path) -> None:
    said = (course / "first.txt").read_text()
    assert set(re.findall(r"^(\w+) ", said, flags=re.M)) >= CLASS, said
    rows = table(course / "reports" / LAB / "grades.csv")
    assert {s: float(row["points so far"]) for s, row in rows.items()} == {
        "perfect": 19.5, "halfway": 9, "untouched": 0, "broken": 0,
    }  # fmt: skip


def test_what_a_person_has_read_reaches_the_spreadsheets(course: Path) -> None:
    totals = {"Jiwoo Lee": "9", "Seoyeon Park": "0", "Eun Choi": "0"}
    for file, given in (("before_reading.csv", ""), (f"reports/{LAB}/canvas.csv", "19.5")):
        rows = table(course / file).items()
        found = {name: row[LAB] for name, row in rows if "Points" not in name}
        assert found == {**totals, "Minjun Kim": given}
    exported = (course / "grades.csv").read_text()
    assert all(student in exported for student in CLASS)


def test_guide_leaves_a_page_for_each_student(course: Path) -> None:
    pages = {path.parent.parent.name for path in course.glob("feedback/*/*/vae.html")}
    assert pages == CLASS
    assert (course / "feedback.zip").stat().st_size > 10_000
    assert "<svg" in (course / "reports" / LAB / "report.html").read_text()


def test_guide_names_what_there_is() -> None:
    """Options and files that the pages for people name are those of the program."""
    pages = [(ROOT / "book" / f"{page}.md").read_text() for page in ("instructor", "scaling")]
    named = set(re.findall(r"gmlib grade [^`\n]*?(--[a-z-]+)", "\n".join(pages)))
    help_text = subprocess.run(
        [sys.executable, "-m", "gmlib.grade.cli", "grade", "--help"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert named and all(option in help_text for option in named), named
