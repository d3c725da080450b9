"""The example class, graded by nbgrader itself."""

import html
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "mistakes"))

import run as mistakes  # noqa: E402

grading = mistakes.module(ROOT / "tests" / "example_class" / "grade.py")
making = mistakes.module(ROOT / "tests" / "example_class" / "make.py")
POINTS = mistakes.Lab.read(grading.LAB).points


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("class") / "course"
    grading.grade(folder, grading.SUBMITTED)
    return folder


def test_submissions_are_fresh(tmp_path: Path) -> None:
    making.make(tmp_path)
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*.ipynb")}
    shipped = grading.SUBMITTED
    assert made == {p.relative_to(shipped): p.read_bytes() for p in shipped.rglob("*.ipynb")}


def test_solution_earns_everything(graded: Path) -> None:
    earned = {name: p for name, p in grading.grades(graded)["perfect"].items() if name != "words"}
    assert earned == {f"{answer}_test": points for answer, points in POINTS.items()}


def test_untouched_notebook_earns_nothing(graded: Path) -> None:
    assert sum(grading.grades(graded)["untouched"].values()) == 0


def test_halfway_earns_its_half(graded: Path) -> None:
    earned = grading.grades(graded)["halfway"]
    answers = list(POINTS)
    done = answers[: round((len(answers) + 1) / 2)]
    assert {a: earned[f"{a}_test"] for a in answers} == {
        a: POINTS[a] if a in done else 0 for a in answers
    }


def test_broken_answers_lose_and_an_edited_test_is_put_back(graded: Path) -> None:
    earned = grading.grades(graded)["broken"]
    assert sum(earned.values()) == 0


def test_words_wait_for_a_person(graded: Path) -> None:
    assert "words" not in grading.grades(graded)["perfect"]
    assert "to read" in grading.table(graded)


def test_feedback_shows_no_hidden_test(graded: Path) -> None:
    pages = list((graded / "feedback").rglob("*.html"))
    assert {page.parent.parent.name for page in pages} == set(making.STUDENTS)
    tests = mistakes.Lab.read(grading.LAB).tests.values()
    hidden = {line.strip() for test in tests for line in test.splitlines()[2:]}
    for page in pages:
        text = html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))
        assert "Lab 22" in text
        leaked = {line for line in hidden if len(line) > 30 and line in text}
        assert not leaked, f"{page.parent.parent.name} sees {leaked}"
    said = html.unescape(re.sub(r"<[^>]+>", "", pages_of(graded, "untouched")))
    assert "NotImplementedError" in said


def pages_of(graded: Path, student: str) -> str:
    return "".join(page.read_text() for page in (graded / "feedback" / student).rglob("*.html"))
