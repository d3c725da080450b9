"""Submissions that attack the grader or are broken, and what each of them must earn.

Every attack starts from a notebook of lab 22 in which three exercises are answered rightly, worth
six points. So each shows two things: the attack earns nothing, and the honest work keeps its
points. The modules:

    answers      answers whose results lie, or harm whoever reads them
    environment  cells that change what judges them: assert, torch, IPython, files, signals
    harm         cells that end the kernel, fill memory, disk or the line, or stay behind
    snoop        cells that look for the tests, the solutions, the gradebook and other students
    notebook     files that are no proper notebooks, or whose cells and metadata were changed
    places       things that are not a notebook, and names that harm whoever prints them
    pages        content that would run in the browser of whoever reads the feedback
"""

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
LAB, FILE = "22_vae", "vae.ipynb"
HONEST = {"kl_to_prior": 2.0, "log_likelihood": 2.0, "iwae": 2.0}
NOTHING = dict.fromkeys(HONEST, 0.0)
TESTS = (
    "kl_to_prior", "reparameterise", "vae", "log_likelihood", "elbo", "linear_gaussian", "iwae",
    "pixel_decoder",
)  # fmt: skip

PORT = 47391  # where an attack calls and nobody should answer

# What stands in the hidden tests, the solutions, the gradebook, another student's notebook and
# the grader's environment, and must never come back. `SECRET` finds them all; the code of an
# attack may quote the expression, which does not match itself.
CANARY = "CANARY-{}-7f3a"
SECRET = r"CANARY-[A-Z]+-7f3a|# almost the p[r]ior"


@cache
def _notebook(folder: str) -> NotebookNode:
    return nbformat.read(ROOT / folder / LAB / FILE, 4)


class Book:
    """A submission in the making: the student notebook with the named answers from the solution."""

    def __init__(self, answered: tuple[str, ...] = tuple(HONEST)) -> None:
        self.notebook = copy.deepcopy(_notebook("notebooks"))
        images = next(cell for cell in self.cells if "data.load(" in cell.source)
        images.source = (
            "# The images are left out: no graded answer needs them, and they take long."
        )
        for grade_id in answered:
            self.answer(grade_id, solution(grade_id))

    @property
    def cells(self) -> list[NotebookNode]:
        return self.notebook.cells

    def at(self, grade_id: str) -> int:
        """The place of the first cell of this grade id."""
        marks = [cell.metadata.get("nbgrader", {}) for cell in self.cells]
        return [mark.get("grade_id") for mark in marks].index(grade_id)

    def cell(self, grade_id: str) -> NotebookNode:
        return self.cells[self.at(grade_id)]

    def answer(self, grade_id: str, source: str) -> None:
        """Write an answer in place of what stands there."""
        self.cell(grade_id).source = dedent(source).strip()

    def add(self, source: str, before: str = "elbo", kind: str = "code") -> NotebookNode:
        """Put a cell of the student's own before the cell of this grade id."""
        make = {
            "code": nbformat.v4.new_code_cell,
            "markdown": nbformat.v4.new_markdown_cell,
            "raw": nbformat.v4.new_raw_cell,
        }[kind]
        cell = make(dedent(source).strip(), id=f"own-{len(self.cells)}")
        self.cells.insert(self.at(before), cell)
        return cell

    def bytes(self) -> bytes:
        return json.dumps(self.notebook, ensure_ascii=False).encode("utf-8", "surrogatepass")


def solution(grade_id: str) -> str:
    """The course's own answer, without the marks around it."""
    marks = [(c, c.metadata.get("nbgrader", {})) for c in _notebook("solutions").cells]
    source = next(cell.source for cell, mark in marks if mark.get("grade_id") == grade_id)
    return "\n".join(line for line in source.splitlines() if "### " not in line[:14])


class Attack(NamedTuple):
    """One submission and what must become of it."""

    name: str  # the student's name too
    tries: str
    place: Callable[[Path], None]  # fills the folder submitted/NAME/22_vae
    earns: dict[str, float]  # points by exercise; none for those not named
    says: str  # a regular expression that the words about this submission match

    def points(self) -> dict[str, float]:
        return {f"{test}_test": self.earns.get(test, 0.0) for test in TESTS}


CORPUS: dict[str, Attack] = {}


def attack(
    earns: dict[str, float] | None = None,
    says: str = "",
    answered: tuple[str, ...] = tuple(HONEST),
    name: str = "",
) -> Callable[[Callable[[Book], Any]], Callable[[Book], Any]]:
    """Enter a function that changes a Book into the corpus; what it returns is the file instead.

    `earns` holds what differs from the three honest exercises.
    """

    def enter(build: Callable[[Book], bytes | None]) -> Callable[[Book], bytes | None]:
        def place(folder: Path) -> None:
            book = Book(answered)
            data = build(book)
            (folder / FILE).write_bytes(book.bytes() if data is None else data)

        return _enter(build, place, earns, says, name)

    return enter


def placed(
    earns: dict[str, float] | None = None, says: str = "", name: str = ""
) -> Callable[[Callable[[Book, Path], None]], Callable[[Book, Path], None]]:
    """Enter a function that fills the submission's folder itself."""

    def enter(build: Callable[[Book, Path], None]) -> Callable[[Book, Path], None]:
        return _enter(build, lambda folder: build(Book(), folder), earns, says, name)

    return enter


def _enter(build: Callable, place: Callable, earns: dict | None, says: str, name: str) -> Callable:
    student = name or build.__name__
    assert student not in CORPUS, f"two attacks are called {student!r}"
    tries = " ".join((build.__doc__ or "").split())
    CORPUS[student] = Attack(student, tries, place, {**HONEST, **(earns or {})}, says)
    return build


def corpus() -> dict[str, Attack]:
    """All attacks by name."""
    from . import answers, environment, harm, notebook, pages, places, snoop  # noqa: F401

    return CORPUS
