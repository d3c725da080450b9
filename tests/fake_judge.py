"""A judge that runs nothing: the points of a submission follow from its text alone.

As a script it grades a class: `python -m tests.fake_judge COURSE`.
"""

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_output

from gmlib.grade import classroom, intake, report
from gmlib.grade.lab import Lab

LAB = "22_vae"


def judged(data: bytes, lab: Lab, limits: Any, sandboxed: bool) -> dict[str, Any]:
    """As gmlib.grade.workers.judged; texts in the submission make it slow, or end its process."""
    if b"# end the worker" in data:
        os._exit(1)
    if b"# raise" in data:
        raise ValueError("an error of the grader")
    if b"# wait for ever" in data:
        Path("pid").write_text(str(os.getpid()))
        time.sleep(600)
    if b"# be slow" in data:
        time.sleep(0.05)
    try:
        made = intake.repair(data, nbformat.reads(lab.release, as_version=4))
    except intake.Unreadable as error:
        return {"problem": str(error)}
    points, words = {}, {}
    answers = {intake.grade_id(c): c.source for c in made.notebook.cells if intake.is_answer(c)}
    for cell in made.notebook.cells:
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("grade") and not marks.get("solution"):
            name, most = marks["grade_id"], float(marks["points"])
            answer = answers[name.removesuffix("_test")]
            share = int(hashlib.sha256(answer.encode()).hexdigest(), 16) % 3 / 2
            if "NotImplementedError" in answer:
                share = 0.0
            points[name] = share * most
            if share == 0:
                words[name] = "AssertionError: the value should be 1; found 2."
                cell.outputs = [new_output("error", ename="AssertionError", evalue=words[name])]
            elif share < 1:
                words[name] = "the gradient: 0 of 1 points"
                data = {"text/plain": repr(points[name])}
                cell.outputs = [new_output("execute_result", data, execution_count=1)]
    outcome = {
        "notebook": nbformat.writes(made.notebook),
        "points": points,
        "words": words,
        "flags": [],
        "seconds": 0.1,
        "cell_seconds": 0.1,
    }
    return {"outcome": outcome, "notes": made.notes}


def main() -> None:
    root, feedback = Path(sys.argv[1]), "--feedback" in sys.argv
    os.chdir(root)
    settings = classroom.Settings(workers=2, feedback=feedback)
    course = classroom.Course.around(root)
    rows = classroom.grade(course, Lab.read(LAB, root), settings, work=judged)
    print(report.table(rows))


if __name__ == "__main__":
    main()
