"""A test must reject: every mistake loses points on every seed, right answers keep theirs.

The table of a lab says so for five seeds. Its stamp says that nothing has changed since; here all
answers are judged on two other seeds.
"""

import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "mistakes"))

import run as mistakes  # noqa: E402

LABS = sorted(path.stem for path in (ROOT / "tests" / "mistakes").glob("[0-9][0-9]_*.py"))
SEEDS = (5, 6)
EXERCISES = [(lab, answer) for lab in LABS for answer in mistakes.Lab.read(lab).tests]


@pytest.fixture(autouse=True)
def small_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMLIB_PROFILE", "test")


@pytest.mark.parametrize(("lab", "answer"), EXERCISES)
def test_mistakes_lose_and_right_answers_keep(lab: str, answer: str) -> None:
    rows = mistakes.run(lab, answer, SEEDS)
    bad = [
        f"{r['name']}: {r['points']} of {r['of']}. {r['said']}"
        for r in rows
        if not mistakes.held(r)
    ]
    assert not bad, f"answers of {answer} that got what they do not deserve:\n" + "\n".join(bad)
    assert sum(not row["right"] for row in rows) >= 4, f"{answer} has fewer than four mistakes"
    assert sum(row["right"] for row in rows) >= 2, f"{answer} has no right answer of another style"


@pytest.mark.parametrize("lab", LABS)
def test_table_of_the_book_is_of_this_code_and_holds(lab: str) -> None:
    table = json.loads((ROOT / "book" / "results" / lab / "mistakes.json").read_text())
    assert table["stamp"] == mistakes.stamp(lab), (
        f"the book's table is out of date: run `python tests/mistakes/run.py {lab}`"
    )
    assert all(len(row["points"]) == len(mistakes.SEEDS) for row in table["rows"])
    assert all(map(mistakes.held, table["rows"]))


@pytest.mark.parametrize("lab", LABS)
def test_points_add_up_to_20(lab: str) -> None:
    cells = mistakes.module(ROOT / "solutions" / "make.py").read(lab).cells
    marks = [cell.metadata.get("nbgrader", {}) for cell in cells]
    assert sum(mark.get("points", 0) for mark in marks) == 20


def test_seeds_are_used() -> None:
    """Two seeds give two draws, so five seeds are five tests."""
    from gmlib import check

    draws = []
    for seed in ("0", "1", "0"):
        os.environ["GMLIB_CHECK_SEED"] = seed
        draws.append(float(__import__("torch").rand(1, generator=check.generator())))
    del os.environ["GMLIB_CHECK_SEED"]
    assert draws[0] == draws[2] != draws[1]
