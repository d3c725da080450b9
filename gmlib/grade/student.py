"""`gmlib check`: a student's own notebook, run from top to bottom with the checks that it shows.

It needs no hidden test and no gradebook. What the file lost on its way is put back first, from an
untouched copy of the notebook where there is one.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode

from gmlib.grade import intake
from gmlib.grade.lab import Lab

GOOD = ("holds", "written")
STUB = "*Write your answer here.*"  # nbgrader_config.py's


class Verdict(NamedTuple):
    """What the visible check of one exercise said. `why` is in words."""

    exercise: str
    state: str  # holds, fails, not written, or written: what a person has to read
    why: str


def find(lab: str, folder: Path) -> Path:
    """The student's notebook of a lab, from its own folder or from the course's.

    Raises:
        FileNotFoundError: it is in neither.
    """
    name = f"{lab.partition('_')[2]}.ipynb"
    places = [folder / name, folder / lab / name, folder / "notebooks" / lab / name]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"no {name} here, nor in {lab}/ or notebooks/{lab}/; say where it lies")


def released(notebook: Path, lab: str, given: Path | None) -> tuple[NotebookNode, bool]:
    """An untouched copy of the released notebook, and whether it is one.

    Looked for where `given` says, in notebooks/LAB above the student's file, and in the history
    of the course, where it came by git. Else the student's own file has to do.

    Raises:
        intake.Unreadable: the file is no notebook.
    """
    name = f"{lab.partition('_')[2]}.ipynb"
    for folder in [] if given else notebook.resolve().parents:
        place = folder / "notebooks" / lab / name
        if place.is_file() and not place.samefile(notebook):
            given = place
            break
    if given:
        return _parsed(given.read_bytes()), True
    if shutil.which("git"):
        show = ["git", "show", f"HEAD:./{notebook.name}"]
        kept = subprocess.run(show, cwd=notebook.resolve().parent, capture_output=True, check=False)
        if kept.returncode == 0:
            return _parsed(kept.stdout), True
    return _parsed(notebook.read_bytes()), False


def _parsed(data: bytes) -> NotebookNode:
    try:
        return nbformat.reads(data.decode(), as_version=4)
    except Exception as error:  # nbformat raises many kinds
        raise intake.Unreadable(f"the file is not a notebook: {error}") from error


def check(notebook: Path, lab: str, given: Path | None, sandboxed: bool, limits: Any) -> "Report":
    """Repair and run a student's notebook, and read what its visible checks said.

    Raises:
        intake.Unreadable: the file is no notebook.
    """
    from gmlib.grade.verdict import judge

    release, untouched = released(notebook, lab, given)
    data = intake.read(notebook.resolve(), notebook.resolve().parent)
    made = intake.repair(data, release)
    text = nbformat.writes(release)
    outcome = judge(made.notebook, Lab(lab, text, text), limits, sandboxed=sandboxed)
    ran = nbformat.reads(outcome.notebook, as_version=4)
    notes = list(made.notes)
    if not any(map(intake.is_answer, release.cells)):
        notes.append(
            "the marks of the answers are lost, and no untouched copy of the notebook was found "
            "to put them back from: say where one is with --release"
        )
    return Report(verdicts(ran, release if untouched else None), notes, outcome.flags)


class Report(NamedTuple):
    verdicts: list[Verdict]
    notes: list[str]
    flags: list[str]

    @property
    def holds(self) -> bool:
        return bool(self.verdicts) and all(v.state in GOOD for v in self.verdicts)

    def text(self) -> str:
        """What is printed."""
        width = max((len(v.exercise) for v in self.verdicts), default=0)
        lines = [
            f"{v.exercise.ljust(width)}  {v.state}" + (f": {v.why}" if v.why else "")
            for v in self.verdicts
        ]
        counts = sum(v.state in GOOD for v in self.verdicts)
        lines.append(
            f"\n{counts} of {len(self.verdicts)} exercises hold in all that their checks look at"
        )
        return "\n".join([*(f"note: {n}" for n in self.notes + self.flags), *lines])


def verdicts(ran: NotebookNode, release: NotebookNode | None) -> list[Verdict]:
    """By exercise, what its check said. The check is the locked cell that follows the answer."""
    given = {intake.grade_id(c): c.source for c in release.cells} if release else {}
    found: list[Verdict] = []
    answer = None
    for cell in ran.cells:
        name = intake.grade_id(cell)
        marks = cell.metadata.get("nbgrader", {})
        if intake.is_answer(cell):
            answer = cell if cell.cell_type == "code" else None
            if answer is None:
                stubs = ("", STUB, given.get(name, ""))
                written = not any(intake.same(cell.source, stub) for stub in stubs)
                found.append(_words(name, written))
        elif answer is not None and marks.get("locked") and not marks.get("grade"):
            found.append(_judged(answer, cell, given))
            answer = None
    return found


def _words(name: str, written: bool) -> Verdict:
    return Verdict(name, "written", "a person reads it") if written else unwritten(name)


def unwritten(name: str) -> Verdict:
    return Verdict(name, "not written", "")


def _judged(answer: NotebookNode, check: NotebookNode, given: dict[str, str]) -> Verdict:
    name = intake.grade_id(answer)
    error, from_answer = _error(check), _error(answer)
    untouched = name in given and intake.same(answer.source, given[name])
    if untouched or "NotImplementedError" in answer.source and error:
        return unwritten(name)
    if from_answer:
        return Verdict(name, "fails", f"your cell itself raises {from_answer}")
    if error:
        return Verdict(name, "fails", error.removeprefix("AssertionError: "))
    if not check.outputs:
        return Verdict(name, "fails", "its check was not run to the end")
    return Verdict(name, "holds", "")


def _error(cell: NotebookNode) -> str | None:
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            value = output.evalue.strip()
            return f"{output.ename}: {value}" if value else output.ename
    return None
