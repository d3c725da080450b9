"""Files that are no proper notebooks, or whose cells and metadata were changed."""

import copy
import json
from typing import Any

import nbformat

from . import HONEST, NOTHING, TESTS, Book, attack

UNREADABLE = r"(?i)notebook|read|JSON|file"


def marks(book: Book, grade_id: str) -> dict[str, Any]:
    return book.cell(grade_id).metadata.nbgrader


# Honest work that lost something on its way


@attack(answered=("kl_to_prior", "reparameterise", "log_likelihood", "elbo", "iwae"),
        earns={"reparameterise": 2.0, "elbo": 2.0})  # fmt: skip
def honest(book: Book) -> None:
    """Five right answers and nothing else."""


@attack(earns=NOTHING)
def untouched(book: Book) -> None:
    """The notebook as it was handed out."""
    for answer in HONEST:
        book.answer(answer, "raise NotImplementedError")


@attack()
def without_metadata(book: Book) -> None:
    """Honest: Colab or a plain editor took the cells' metadata and ids away."""
    for cell in book.cells:
        cell.metadata.clear()
        del cell["id"]
    book.notebook.metadata = {"colab": {"provenance": []}, "kernelspec": {"name": "python3"}}
    book.notebook.nbformat_minor = 0


@attack()
def cells_in_another_order(book: Book) -> None:
    """Honest: the answers stand in another order."""
    cells = book.cells
    i, j = book.at("kl_to_prior"), book.at("log_likelihood")
    cells[i], cells[j] = cells[j], cells[i]


@attack()
def old_format(book: Book) -> None:
    """Honest: saved as nbformat 3, as very old programs do."""
    sheet = []
    for cell in book.cells:
        new = {"cell_type": cell.cell_type, "metadata": dict(cell.metadata)}
        new |= {"input": cell.source, "language": "python", "outputs": [], "collapsed": False} \
            if cell.cell_type == "code" else {"source": cell.source}  # fmt: skip
        sheet.append(new)
    return dump({"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""},
                 "worksheets": [{"cells": sheet, "metadata": {}}]})  # fmt: skip


@attack()
def newer_format(book: Book) -> None:
    """Honest: a minor version of the format that is not known yet."""
    book.notebook.nbformat_minor = 99
    book.notebook["future"] = {"a": 1}
    for cell in book.cells:
        cell["future"] = True


@attack()
def much_newer_format(book: Book) -> None:
    """Honest: a major version that does not exist yet, with cells as they are today."""
    book.notebook.nbformat = 5


@attack()
def source_as_lines(book: Book) -> None:
    """Honest: sources as lists of lines, a byte order mark, Windows line ends."""
    for cell in book.cells:
        cell.source = cell.source.splitlines(keepends=True)
    return b"\xef\xbb\xbf" + json.dumps(book.notebook, indent=1).replace("\n", "\r\n").encode()


@attack()
def windows_lines(book: Book) -> None:
    """Honest: every line of every answer ends with a carriage return too, or a form feed."""
    for answer in HONEST:
        book.answer(answer, book.cell(answer).source.replace("\n", "\r\n") + "\f")


# Edits


@attack()
def edited_tests(book: Book) -> None:
    """Graded cells and checks that give points, raise nothing or leave the kernel."""
    for test in TESTS:
        book.cell(f"{test}_test").source = "2.0"
        book.cell(f"{test}_check").source = "import os"


@attack()
def deleted_tests(book: Book) -> None:
    """Every graded cell and every check is gone."""
    for test in TESTS:
        del book.cells[book.at(f"{test}_test")]
        del book.cells[book.at(f"{test}_check")]


@attack()
def duplicated_tests(book: Book) -> None:
    """Every graded cell stands there three times, first and last with full points."""
    for test in TESTS:
        i = book.at(f"{test}_test")
        for place in (i, i + 2):
            twin = copy.deepcopy(book.cells[i])
            twin.source = "100.0"
            twin.metadata.nbgrader.points = 1_000
            book.cells.insert(place, twin)


@attack()
def retyped_tests(book: Book) -> None:
    """Graded cells as Markdown, raw text and an unknown kind."""
    for test, kind in zip(TESTS, ("markdown", "raw", "heading", "evil") * 2, strict=True):
        cell = book.cell(f"{test}_test")
        cell.cell_type = kind
        cell.metadata.nbgrader.cell_type = kind


@attack(says="(?i)type")
def retyped_answer(book: Book) -> None:
    """Honest: a slip of the finger has turned an answer into Markdown."""
    cell = book.cell("log_likelihood")
    cell.cell_type = "markdown"


@attack()
def changed_points(book: Book) -> None:
    """Points of a hundred, of minus one, NaN and text."""
    for test, points in zip(
        TESTS, (100, -1, float("nan"), "many", None, [2], 1e308, True), strict=True
    ):
        marks(book, f"{test}_test")["points"] = points


@attack()
def changed_marks(book: Book) -> None:
    """locked, grade, solution, schema_version and checksum are all changed."""
    for test in TESTS:
        marks(book, f"{test}_test").update(
            locked=False, grade=False, solution=True, schema_version=99, checksum="0", task=True
        )
        marks(book, test).update(grade=True, points=50, schema_version=-1, locked=True)


@attack()
def swapped_ids(book: Book) -> None:
    """The test of a right answer carries the grade id of an exercise that was not done."""
    right, wrong = marks(book, "kl_to_prior_test"), marks(book, "linear_gaussian_test")
    right["grade_id"], wrong["grade_id"] = wrong["grade_id"], right["grade_id"]


@attack()
def ids_of_other_cells(book: Book) -> None:
    """Cells that carry the ids of the lab's own, before and after them."""
    ids = [cell.id for cell in book.cells if cell.cell_type == "code"][:5]
    for i, name in enumerate(ids):
        book.add(f"own_{i} = 1", before="words").id = name


@attack()
def strange_marks(book: Book) -> None:
    """Metadata that are lists, numbers and text; grade ids that are paths and thousands long."""
    checks = [book.cell(f"{test}_check") for test in TESTS]
    strange = (
        [], 7, "text", None, {"grade_id": "../../x"}, {"grade_id": {}}, {"grade_id": "x" * 10_000},
        {"grade_id": "kl_to_prior_test"},
    )  # fmt: skip
    for cell, value in zip(checks, strange, strict=True):
        cell.metadata = {"nbgrader": value, "tags": "skip-execution"}
    book.cells[0].metadata = []


@attack()
def tags_that_skip(book: Book) -> None:
    """Tags on the tests that make nbclient and nbgrader skip them or forgive them."""
    for test in TESTS:
        tags = ["skip-execution", "raises-exception", "nbval-skip", "remove_cell"]
        book.cell(f"{test}_test").metadata.tags = tags
        book.cell(test).metadata.tags = tags if test == "elbo" else []


@attack()
def forged_outputs(book: Book) -> None:
    """Outputs and scores of a perfect run stand in the file already."""
    for test in TESTS:
        cell = book.cell(f"{test}_test")
        cell.outputs = [
            nbformat.v4.new_output("execute_result", {"text/plain": "1000.0"}, execution_count=1)
        ]
        cell.metadata.update(score=1_000, max_score=1_000)
        cell.metadata.nbgrader.update(score=1_000, auto_score=1_000, manual_score=500)
    book.notebook.metadata["nbgrader"] = {"score": 20, "autograded": True}


@attack()
def strange_kernel(book: Book) -> None:
    """Asks for a kernel of another language, a path and options for it."""
    book.notebook.metadata.kernelspec = {
        "name": "../../bash; touch /tmp/PWNED-kernel",
        "argv": ["sh"],
    }
    book.notebook.metadata.language_info = {"name": "bash", "file_extension": "/../.sh"}
    book.notebook.metadata.title = "<script>PWNED()</script>"


@attack()
def answers_in_wrong_cells(book: Book) -> None:
    """Honest: two answers written in one cell, the other cell left empty."""
    both = book.cell("kl_to_prior").source + "\n\n\n" + book.cell("log_likelihood").source
    book.answer("kl_to_prior", both)
    book.answer("log_likelihood", "")


# Too much


@attack()
def thousands_of_cells(book: Book) -> None:
    """Twenty thousand cells of the student's own."""
    own = [{"cell_type": "code", "metadata": {}, "source": "1 + 1", "outputs": [], "id": f"c{i}",
            "execution_count": None} for i in range(20_000)]  # fmt: skip
    book.cells[10:10] = own


@attack(earns=NOTHING, says=r"(?i)large|big|size|MB")
def huge_source(book: Book) -> None:
    """A cell of 50 MB."""
    book.add("x = '" + "x" * 50_000_000 + "'")


@attack()
def huge_outputs(book: Book) -> None:
    """Outputs of 20 MB, as a notebook with many figures has."""
    output = nbformat.v4.new_output("stream", name="stdout", text="x" * 20_000_000)
    book.cells[1].outputs = [output]


@attack(earns=NOTHING, says=UNREADABLE)
def deep_json(book: Book) -> None:
    """JSON nested two hundred thousand deep."""
    depth = 200_000
    text = book.bytes().decode().rstrip()
    return (text[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}").encode()


@attack(earns=NOTHING, says=UNREADABLE)
def huge_number(book: Book) -> None:
    """A whole number of a million digits."""
    return (
        b'{"nbformat": 4, "nbformat_minor": ' + b"9" * 1_000_000 + b', "cells": [], "metadata": {}}'
    )


# Not quite JSON


def dump(thing: Any) -> bytes:
    return json.dumps(thing).encode()


@attack()
def not_a_number_in_json(book: Book) -> None:
    """NaN and infinities where JSON knows none."""
    book.notebook.metadata["x"] = [float("nan"), float("inf"), -float("inf")]
    book.cells[1]["execution_count"] = float("nan")


@attack()
def keys_twice(book: Book) -> None:
    """Keys that stand there twice, the second time with nothing good."""
    text = book.bytes().decode()
    return text.replace('"cell_type": "code"', '"cell_type": "raw", "cell_type": "code"').encode()


@attack(earns={"log_likelihood": 0.0, "iwae": 1.0})
def surrogates(book: Book) -> None:
    """Half a character, which no file can hold, in an answer and in a comment of another."""
    book.answer("kl_to_prior", book.cell("kl_to_prior").source + "\n# \\udc80 \\ud800")
    text = book.bytes().decode()
    text = text.replace("\\\\udc80", "\\udc80").replace("\\\\ud800", "\\ud800")
    return text.replace("def log_likelihood", "def log_likelihood\\ud800").encode()


@attack(earns={"kl_to_prior": 0.0})
def nul_bytes(book: Book) -> None:
    """NUL and other control characters in an answer."""
    book.answer("kl_to_prior", book.cell("kl_to_prior").source.replace("return", "return\x00"))
    book.add("print('\x1b[2J\x07\x08')\n\x00")


@attack()
def not_utf8(book: Book) -> None:
    """Honest: a docstring holds bytes that are no UTF-8."""
    return book.bytes().replace(b"KL divergence", b"KL \xff\xfe divergence")


@attack(earns=NOTHING, says=UNREADABLE)
def truncated(book: Book) -> None:
    """The upload broke off in the middle."""
    return book.bytes()[: len(book.bytes()) // 2]


@attack(earns=NOTHING, says=r"(?i)empty|notebook|read")
def empty(book: Book) -> None:
    """A file of no bytes."""
    return b""


@attack(earns=NOTHING, says=UNREADABLE)
def web_page(book: Book) -> None:
    """A saved web page under the notebook's name."""
    return b"<!DOCTYPE html><html><body><script>PWNED()</script>GitHub</body></html>"


@attack(earns=NOTHING, says=UNREADABLE)
def something_else(book: Book) -> None:
    """JSON, but a list."""
    return dump([1, 2, {"cells": []}])


@attack(earns=NOTHING, says=UNREADABLE)
def random_bytes(book: Book) -> None:
    """A zip file under the notebook's name."""
    return b"PK\x03\x04" + bytes(range(256)) * 100


@attack(earns=NOTHING)
def no_cells(book: Book) -> None:
    """A notebook with no cells."""
    book.cells.clear()


@attack()
def missing_keys(book: Book) -> None:
    """Cells with no outputs, no source, no kind; cells that are no cells."""
    for cell in book.cells:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    book.cells[2:2] = [{}, {"cell_type": "code"}, {"source": ["a", 1, None]}, [], "cell", None, 7]
    return dump(book.notebook)


@attack(earns=NOTHING)
def cells_are_no_list(book: Book) -> None:
    """Cells as a dictionary."""
    book.notebook["cells"] = {str(i): cell for i, cell in enumerate(book.cells)}


@attack(earns={"kl_to_prior": 0.0})
def syntax_error(book: Book) -> None:
    """An answer that does not parse costs its own points."""
    book.answer("kl_to_prior", "def kl_to_prior(mu, logvar):\nreturn 0.5 * (mu**2")


@attack()
def fields_of_wrong_kinds(book: Book) -> None:
    """Outputs, counts, ids and attachments that are text, numbers, lists and far too long."""
    for i, cell in enumerate(book.cells):
        if cell.cell_type == "code":
            cell.outputs = ({}, "text", [None], [{"output_type": 7}], 3)[i % 5]
            cell.execution_count = ("one", -1, [], 1e300)[i % 4]
        else:
            cell["attachments"] = ([], "x", {"a": 7}, {"a": {"image/png": ["x"]}})[i % 4]
    for i, value in enumerate(("", "two words", "x" * 10_000, 7, None, ["a"], {})):
        book.cells[i]["id"] = value
    book.notebook.metadata = [1, 2]
    return dump(book.notebook)
