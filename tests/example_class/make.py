"""Make the four submissions of the example class: `python tests/example_class/make.py [FOLDER]`.

They are made from the first lab's student notebook and from its solution, so they never fall
behind it: submitted/<student>/<lab>/<lab>.ipynb.
"""

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
LAB = "22_vae"
NAME = LAB.partition("_")[2]


def answered(student: NotebookNode, solution: NotebookNode, share: float) -> NotebookNode:
    """The student notebook with the first `share` of its answers taken from the solution."""
    notebook = copy.deepcopy(student)
    sources = {cell.id: cell.source for cell in solution.cells}
    answers = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("solution")]
    for cell in answers[: round(share * len(answers))]:
        lines = sources[cell.id].splitlines()
        cell.source = "\n".join(line for line in lines if "### " not in line[:14])
    return notebook


def broken(student: NotebookNode, solution: NotebookNode) -> NotebookNode:
    """Answers that do not parse, that raise, that return nonsense; and a test that was edited."""
    notebook = copy.deepcopy(student)
    cells = {cell.id: cell for cell in notebook.cells}
    cells["kl-to-prior"].source = "def kl_to_prior(mu, logvar):\nreturn 0.5 * (mu**2"
    cells["reparameterise"].source = "def reparameterise(mu, logvar):\n    return undefined_name"
    cells["log-likelihood"].source = "def log_likelihood(x, logits):\n    return None"
    cells["elbo-test"].source = "2  # full points, please"
    return notebook


STUDENTS: dict[str, Callable[[NotebookNode, NotebookNode], NotebookNode]] = {
    "perfect": lambda student, solution: answered(student, solution, 1.0),
    "halfway": lambda student, solution: answered(student, solution, 0.5),
    "untouched": lambda student, solution: answered(student, solution, 0.0),
    "broken": broken,
}


def make(folder: Path) -> None:
    """Write the submissions below `folder`, leaving equal files alone."""
    student = nbformat.read(ROOT / "notebooks" / LAB / f"{NAME}.ipynb", 4)
    solution = nbformat.read(ROOT / "solutions" / LAB / f"{NAME}.ipynb", 4)
    for name, write in STUDENTS.items():
        path = folder / name / LAB / f"{NAME}.ipynb"
        text = nbformat.writes(write(student, solution)) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(text)
        os.replace(partial, path)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "submitted")
