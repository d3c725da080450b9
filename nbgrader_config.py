"""How nbgrader reads this course. Run nbgrader from this folder."""

import os

from nbgrader.preprocessors import ClearHiddenTests, NbGraderPreprocessor
from nbgrader.utils import is_grade

from gmlib.grade.report import set_feedback


class KeepMessages(NbGraderPreprocessor):
    """Of a failed hidden test, keep what it says and drop the traceback, which quotes it."""

    def preprocess(self, nb, resources):
        for cell in nb.cells:
            for output in cell.get("outputs", []) if is_grade(cell) else []:
                if output.output_type == "error":
                    output.traceback = [f"{output.ename}: {output.evalue}"]
        return nb, resources


c = get_config()  # noqa: F821 (given by traitlets)

c.CourseDirectory.course_id = "generative-models"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"
# Everything else beside a lab's notebook would be copied to the students: the lab's source first.
c.CourseDirectory.ignore = [
    "*.py", "*.pyc", "__pycache__", ".*", "figures", "results", "*.pt",
]  # fmt: skip

c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError"}
c.ClearSolutions.text_stub = "*Write your answer here.*"

# A lab's tests need a handful of steps only; cells tagged skip-execution are not run at all.
os.environ.setdefault("GMLIB_PROFILE", "test")
os.environ.setdefault("TQDM_DISABLE", "1")  # a graded cell that writes to stderr gets no points
c.Execute.timeout = 120
c.Execute.kernel_name = "python3"

# What a student gets back shows no hidden test.
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    ClearHiddenTests,
    KeepMessages,
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
set_feedback(c)  # and runs nothing of what others wrote
