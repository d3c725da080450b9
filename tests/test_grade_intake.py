"""From untrusted files to notebooks that can be graded."""

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from gmlib.grade import intake

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "mistakes"))

import run as mistakes  # noqa: E402

making = mistakes.module(ROOT / "tests" / "example_class" / "make.py")
RELEASE = nbformat.read(ROOT / "notebooks" / making.LAB / f"{making.NAME}.ipynb", 4)
SOLUTION = nbformat.read(ROOT / "solutions" / making.LAB / f"{making.NAME}.ipynb", 4)
WORDS = "Because the average of many sharp images is blurred."


@pytest.fixture
def perfect() -> NotebookNode:
    notebook = making.answered(RELEASE, SOLUTION, 1.0)
    cell(notebook, "words").source = WORDS
    return notebook


def cell(notebook: NotebookNode, name: str) -> NotebookNode:
    return notebook.cells[at(notebook, name)]


def at(notebook: NotebookNode, name: str) -> int:
    names = [intake.grade_id(c) for c in notebook.cells]
    return names.index(name)


def repaired(notebook: Any, release: NotebookNode = RELEASE) -> intake.Repaired:
    data = json.dumps(notebook).encode()
    made = intake.repair(data, release)
    nbformat.validate(made.notebook)
    return made


def answers(notebook: NotebookNode) -> dict[str, str]:
    return {intake.grade_id(c): c.source for c in notebook.cells if intake.is_answer(c)}


def assert_whole(made: NotebookNode, perfect: NotebookNode) -> None:
    """All answers and tests stand where they should; all else is the release's."""
    assert answers(made) == answers(perfect)
    own = [c for c in made.cells if not c.id.startswith("own-")]
    assert [c.id for c in own] == [c.id for c in RELEASE.cells]
    for a, b in zip(own, RELEASE.cells, strict=True):
        assert (a.cell_type, a.metadata) == (b.cell_type, b.metadata)
        assert intake.is_answer(b) or a.source == b.source


def stripped(notebook: NotebookNode) -> NotebookNode:
    """As Colab saves it: no marks, other ids, an older minor."""
    notebook = copy.deepcopy(notebook)
    notebook.nbformat_minor = 0
    for i, c in enumerate(notebook.cells):
        c.pop("id")
        c.metadata = NotebookNode({"id": f"colab{i}"})
    return notebook


def test_untouched_file_comes_back_equal() -> None:
    made = repaired(RELEASE)
    assert made.notes == []
    assert made.notebook.cells == RELEASE.cells


def test_answers_are_taken(perfect: NotebookNode) -> None:
    made = repaired(perfect)
    assert made.notes == []
    assert_whole(made.notebook, perfect)


def test_lost_marks_are_put_back(perfect: NotebookNode) -> None:
    made = repaired(stripped(perfect))
    assert_whole(made.notebook, perfect)
    assert any("marks" in note for note in made.notes)


def test_lost_marks_and_edited_cells(perfect: NotebookNode) -> None:
    cell(perfect, "elbo_check").source += "\nprint(elbo)"
    perfect.cells[1].source = "import numpy as np\n" + perfect.cells[1].source
    perfect.cells[6].source += "\n\nI have read this."
    made = repaired(stripped(perfect)).notebook
    assert answers(made) == answers(perfect)
    assert made.cells[1].source.startswith("import numpy")
    assert cell(made, "elbo_check").source == cell(RELEASE, "elbo_check").source
    assert len(made.cells) == len(RELEASE.cells)


def test_ids_alone_are_enough(perfect: NotebookNode) -> None:
    before = copy.deepcopy(perfect)
    for c in perfect.cells:
        c.metadata = NotebookNode()
    assert_whole(repaired(perfect).notebook, before)


def test_reordered_and_deleted_cells(perfect: NotebookNode) -> None:
    before = copy.deepcopy(perfect)
    perfect.cells.reverse()
    made = repaired(perfect)
    assert_whole(made.notebook, before)
    assert any("order" in note for note in made.notes)
    perfect.cells = [c for c in perfect.cells if intake.is_answer(c)]
    made = repaired(stripped(perfect))
    assert answers(made.notebook) == answers(before) | {"words": answers(made.notebook)["words"]}
    assert_whole(repaired(perfect).notebook, before)


def test_edited_tests_points_and_marks_are_the_release_s(perfect: NotebookNode) -> None:
    before = copy.deepcopy(perfect)
    test = cell(perfect, "elbo_test")
    test.source, test.metadata["tags"] = "2", ["skip-execution"]
    test.metadata.nbgrader.points = 100
    cell(perfect, "elbo").metadata.nbgrader.update(grade=True, points=50, schema_version=99)
    cell(perfect, "vae_test").metadata.nbgrader.solution = True
    made = repaired(perfect)
    assert_whole(made.notebook, before)
    assert "the check elbo_test had been changed; it was put back" in made.notes


def test_retyped_cells(perfect: NotebookNode) -> None:
    before = copy.deepcopy(perfect)
    for name, kind in (("elbo", "markdown"), ("vae", "raw"), ("elbo_test", "raw")):
        cell(perfect, name).cell_type = kind
    cell(perfect, "words").cell_type = "code"
    made = repaired(perfect)
    assert_whole(made.notebook, before)
    assert sum("another type" in note for note in made.notes) == 3


@pytest.mark.parametrize("lost", [False, True])
def test_copy_of_an_answer(perfect: NotebookNode, lost: bool) -> None:
    before = copy.deepcopy(perfect)
    here = at(perfect, "elbo")
    stub, older = copy.deepcopy(RELEASE.cells[here]), copy.deepcopy(perfect.cells[here])
    older.source += "\n# an older attempt"
    perfect.cells.insert(here, older)
    perfect.cells.insert(here + 2, stub)
    made = repaired(stripped(perfect) if lost else perfect).notebook
    assert answers(made) == answers(before)
    own = [c.source for c in made.cells if c.id.startswith("own-")]
    assert own == [older.source]


@pytest.mark.parametrize("lost", [False, True])
def test_split_answer(perfect: NotebookNode, lost: bool) -> None:
    before = copy.deepcopy(perfect)
    here = at(perfect, "linear_gaussian")
    first, second = copy.deepcopy(perfect.cells[here]), copy.deepcopy(perfect.cells[here])
    head, mark, tail = first.source.rpartition("\ndef ")
    first.source, second.source, second.id = head, mark + tail, "new"
    perfect.cells[here : here + 1] = [first, second]
    made = repaired(stripped(perfect) if lost else perfect).notebook
    namespace_source = "\n\n".join(c.source for c in made.cells if c.cell_type == "code")
    for name in intake.defines(before.cells[here].source):
        last = namespace_source.rindex(f"def {name}")
        assert "NotImplementedError" not in namespace_source[last : last + 1200].split("\ndef ")[0]


def test_class_cut_in_the_middle_by_the_editor(perfect: NotebookNode) -> None:
    before = copy.deepcopy(perfect)
    here = at(perfect, "vae")
    first, second = copy.deepcopy(perfect.cells[here]), copy.deepcopy(perfect.cells[here])
    lines = first.source.splitlines()
    first.source, second.source = "\n".join(lines[:12]), "\n".join(lines[12:])
    perfect.cells[here : here + 1] = [first, second]
    made = repaired(perfect)
    compile(answers(made.notebook)["vae"], "<vae>", "exec")
    assert answers(made.notebook)["vae"].split() == answers(before)["vae"].split()


@pytest.mark.parametrize("lost", [False, True])
def test_merged_answers(perfect: NotebookNode, lost: bool) -> None:
    first, last = at(perfect, "log_likelihood"), at(perfect, "elbo")
    both = perfect.cells[first].source + "\n\n" + perfect.cells[last].source
    perfect.cells[first].source = both
    del perfect.cells[last]
    made = repaired(stripped(perfect) if lost else perfect)
    assert answers(made.notebook)["log_likelihood"] == both
    assert "NotImplementedError" not in answers(made.notebook)["elbo"]
    assert any("elbo was found in another cell" in note for note in made.notes)


def test_answer_merged_into_its_check(perfect: NotebookNode) -> None:
    here = at(perfect, "elbo")
    perfect.cells[here + 1].source = perfect.cells[here].source + perfect.cells[here + 1].source
    del perfect.cells[here]
    made = repaired(perfect).notebook
    assert intake.defines(answers(made)["elbo"]) == {"elbo"}
    assert "NotImplementedError" not in answers(made)["elbo"]


@pytest.mark.parametrize("above", [False, True])
def test_answer_in_a_cell_of_the_student_s_own(perfect: NotebookNode, above: bool) -> None:
    here = at(perfect, "elbo")
    source, perfect.cells[here] = perfect.cells[here].source, copy.deepcopy(RELEASE.cells[here])
    perfect.cells.insert(here + (not above), new_code_cell(source))
    made = repaired(perfect).notebook
    assert answers(made)["elbo"] == source
    assert len(made.cells) == len(RELEASE.cells)


def test_words_in_cells_below(perfect: NotebookNode) -> None:
    here = at(perfect, "words")
    perfect.cells[here] = copy.deepcopy(RELEASE.cells[here])
    perfect.cells[here + 1 : here + 1] = [new_markdown_cell("(a) so"), new_markdown_cell("(b) so")]
    assert answers(repaired(perfect).notebook)["words"] == "(a) so\n\n(b) so"
    assert answers(repaired(stripped(perfect)).notebook)["words"] == "(a) so\n\n(b) so"


def test_picture_in_words_is_kept_and_a_script_is_not(perfect: NotebookNode) -> None:
    words = cell(perfect, "words")
    words.attachments = {"a.png": {"image/png": "QUJD"}, "b.svg": {"image/svg+xml": "<svg/>"}}
    assert cell(repaired(perfect).notebook, "words").attachments == {"a.png": {"image/png": "QUJD"}}


def test_own_cells_stay_in_place(perfect: NotebookNode) -> None:
    here = at(perfect, "elbo")
    helper = new_code_cell("def helper():\n    return 1")
    helper.metadata["tags"] = ["skip-execution"]
    perfect.cells.insert(here, helper)
    made = repaired(perfect).notebook
    assert made.cells[here].source == helper.source
    assert made.cells[here].metadata == {}
    assert intake.grade_id(made.cells[here + 1]) == "elbo"


def old_format(notebook: NotebookNode) -> dict[str, Any]:
    """As nbformat 3 keeps it."""
    cells = []
    for c in notebook.cells:
        if c.cell_type == "code":
            cells.append({"cell_type": "code", "input": c.source.splitlines(True), "outputs": []})
        elif c.source.startswith("## ") and "\n" not in c.source:
            cells.append({"cell_type": "heading", "level": 2, "source": c.source[3:]})
        else:
            cells.append({"cell_type": "markdown", "source": c.source})
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}


def test_old_and_new_formats(perfect: NotebookNode) -> None:
    made = repaired(old_format(perfect))
    assert_whole(made.notebook, perfect)
    assert any("old format" in note for note in made.notes)
    perfect.nbformat_minor = 99
    perfect["something_new"] = {"x": 1}
    for c in perfect.cells:
        c["future"] = [1]
    assert_whole(repaired(perfect).notebook, perfect)


def test_half_characters_and_nul(perfect: NotebookNode) -> None:
    cell(perfect, "words").source = "a\ud800b\0c"
    made = repaired(perfect).notebook
    assert answers(made)["words"] == "a?b\N{REPLACEMENT CHARACTER}c"
    nbformat.writes(made).encode()


def test_strange_cells_are_left_out(perfect: NotebookNode) -> None:
    before = copy.deepcopy(perfect)
    document = json.loads(json.dumps(perfect))
    strange = [None, 3, [], {"cell_type": "code", "source": 5}, {"metadata": [], "id": {}}]
    document["cells"][3:3] = strange
    document["cells"][0]["metadata"] = {"nbgrader": "x", "tags": 3}
    document["cells"][0]["outputs"] = "x"
    document["cells"][1]["metadata"]["nbgrader"] = {"grade_id": ["x"]}
    document["metadata"] = {"kernelspec": {"name": "evil"}, "language_info": {"name": "evil"}}
    made = repaired(document)
    assert_whole(made.notebook, before)
    assert made.notebook.metadata == RELEASE.metadata


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b'{"cells": [', "cut off"),
        (b"[" * 100_000, "nested"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not a notebook"),
        (b"[]", "not a notebook"),
        (b"{}", "holds no cells"),
        (b'{"cells": []}', "no cell"),
        (b'{"cells": {}}', "holds no cells"),
        (b"\x00\x01\x02\xff", "not a notebook"),
        (b"%PDF-1.7", "PDF"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"PK\x03\x04aaaa", "zip"),
        (b"import torch\n", "not a notebook"),
    ],
)
def test_no_notebook(data: bytes, words: str) -> None:
    with pytest.raises(intake.Unreadable, match=words):
        intake.repair(data, RELEASE)


def test_byte_order_marks(perfect: NotebookNode) -> None:
    text = nbformat.writes(perfect)
    for encoding in ("utf-8-sig", "utf-16"):
        assert_whole(intake.repair(text.encode(encoding), RELEASE).notebook, perfect)


def test_another_lab(perfect: NotebookNode) -> None:
    other = nbformat.v4.new_notebook(cells=[new_code_cell("x = 1")])
    made = repaired(other)
    assert answers(made.notebook) == answers(RELEASE)
    assert "another lab" in made.notes[0]


def test_huge_notebook_is_bounded(perfect: NotebookNode) -> None:
    before = copy.deepcopy(perfect)
    perfect.cells += [new_code_cell(f"x = {i}") for i in range(5_000)]
    made = repaired(stripped(perfect))
    assert len(made.notebook.cells) <= intake.CELLS
    assert answers(made.notebook) == answers(before)


def test_reading_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    good = tmp_path / "a" / "vae.ipynb"
    good.write_bytes(b"{}")
    assert intake.read(good, tmp_path) == b"{}"
    (tmp_path / "link.ipynb").symlink_to(good)
    (tmp_path / "folder").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "gone.ipynb").symlink_to(tmp_path / "nothing")
    with pytest.raises(intake.Unreadable, match="link"):
        intake.read(tmp_path / "link.ipynb", tmp_path)
    with pytest.raises(intake.Unreadable, match="link"):
        intake.read(tmp_path / "gone.ipynb", tmp_path)
    with pytest.raises(intake.Unreadable, match="link"):
        intake.read(tmp_path / "folder" / "vae.ipynb", tmp_path)
    with pytest.raises(intake.Unreadable, match="not an ordinary file"):
        intake.read(tmp_path / "pipe.ipynb", tmp_path)
    with pytest.raises(intake.Unreadable, match="folder"):
        intake.read(tmp_path / "a", tmp_path)
    with pytest.raises(intake.Unreadable, match="opened"):
        intake.read(tmp_path / "b.ipynb", tmp_path)


def test_too_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "FILE_BYTES", 1_000)
    (tmp_path / "a.ipynb").write_bytes(b"x" * 1_001)
    with pytest.raises(intake.Unreadable, match="larger"):
        intake.read(tmp_path / "a.ipynb", tmp_path)


def test_plain_words_do_nothing_to_a_terminal():
    assert intake.plain("a\x1b[2J\u202eb\x07\udc00\n\tüñ한") == "a�[2J�b�?\n\tüñ한"
