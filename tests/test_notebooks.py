"""The made notebooks: fresh, without a trace of the solution, identical when made again."""

import ast
import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "solutions"))

import make  # noqa: E402

LABS = make.labs()


def twin_path(lab: str) -> Path:
    return make.source(lab).with_suffix(".ipynb")


def student_path(lab: str) -> Path:
    return ROOT / "notebooks" / lab / twin_path(lab).name


def hidden_lines(lab: str) -> set[str]:
    """Lines of the source that a student must not see, long enough to be told apart."""
    found, inside = set(), False
    for line in make.source(lab).read_text().splitlines():
        if "### END" in line:
            inside = False
        if inside and len(line.strip()) > 25:
            found.add(line.strip().removeprefix("# "))
        if "### BEGIN" in line:
            inside = True
    return found


@pytest.mark.parametrize("lab", LABS)
def test_twin_is_fresh_and_executed(lab: str) -> None:
    made, again = nbformat.read(twin_path(lab), 4), make.read(lab)
    assert made.metadata == again.metadata, f"{lab} is stale: run `make notebooks`"
    kept = [(c.id, c.cell_type, c.source, c.metadata) for c in made.cells]
    assert kept == [(c.id, c.cell_type, c.source, c.metadata) for c in again.cells]
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    pictures = [o for o in outputs if "<img " in o.get("data", {}).get("text/html", "")]
    assert len(pictures) >= 2
    assert all(len(o.data["text/plain"]) > 20 for o in pictures), "a figure has no text"
    assert not [o for o in outputs if "image/png" in o.get("data", {})], "use gmlib.plot.show"


@pytest.mark.parametrize("lab", LABS)
def test_student_notebook_is_fresh(lab: str, tmp_path: Path) -> None:
    """nbgrader makes the same bytes again, and nothing but the notebook."""
    make.make_student(lab, tmp_path)
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert list(made) == [student_path(lab).relative_to(ROOT / "notebooks")]
    assert list(made.values()) == [student_path(lab).read_bytes()]


@pytest.mark.parametrize("lab", LABS)
def test_student_notebook_holds_no_solution(lab: str) -> None:
    text = student_path(lab).read_text()
    notebook = nbformat.read(student_path(lab), 4)
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert "BEGIN SOLUTION" not in text
    assert "HIDDEN TESTS" not in text
    shown = {line.strip().removeprefix("# ") for line in sources.splitlines()}
    public = {line.strip().removeprefix("# ") for line in visible_source(lab).splitlines()}
    assert not (hidden_lines(lab) - public) & shown
    assert not [cell for cell in notebook.cells if cell.get("outputs")]


def visible_source(lab: str) -> str:
    """The source without its solutions and hidden tests."""
    lines, inside = [], False
    for line in make.source(lab).read_text().splitlines():
        inside = (inside or "### BEGIN" in line) and "### END" not in line
        if not inside:
            lines.append(line)
    return "\n".join(lines)


@pytest.mark.parametrize("lab", LABS)
def test_student_notebook_runs_up_to_the_first_answer(lab: str) -> None:
    notebook = nbformat.read(student_path(lab), 4)
    first = next(
        i for i, c in enumerate(notebook.cells) if c.metadata.get("nbgrader", {}).get("locked")
    )
    notebook.cells = notebook.cells[: first + 1]
    client = NotebookClient(notebook, timeout=300, allow_errors=True)
    client.execute(cwd=str(student_path(lab).parent))
    errors = [
        (i, output)
        for i, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    # A function raises when the check calls it, a class when it is defined.
    as_function = [(first, "NotImplementedError")]
    as_class = [(first - 1, "NotImplementedError"), (first, "NameError")]
    assert [(i, output.ename) for i, output in errors] in (as_function, as_class)
    answer = notebook.cells[first - 1]
    assert "raise NotImplementedError" in answer.source
    assert "YOUR CODE HERE" in "\n".join(errors[0][1].traceback)


def test_pipeline_twice_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two executions of the whole pipeline, in the test profile, are equal to the byte."""
    monkeypatch.setenv("GMLIB_PROFILE", "test")
    lab, written = LABS[-1], []
    for i in range(2):
        notebook = make.read(lab)
        make.execute(lab, notebook, tmp_path / str(i))
        make.write(notebook, tmp_path / f"{i}.ipynb")
        written.append((tmp_path / f"{i}.ipynb").read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("lab", LABS)
def test_one_line_sets_the_seed_of_the_whole_lab(lab: str) -> None:
    """`make.execute` changes that line, and all that is drawn outside the checks follows."""
    cells = [cell for cell in make.read(lab).cells if cell.cell_type == "code"]
    lines = [line for cell in cells for line in re.findall(r"^SEED\b.*=.*", cell.source, re.M)]
    assert lines == ["SEED = 0"]
    assert sum(len(make.SEED_LINE.findall(cell.source)) for cell in cells) == 1
    checks = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("locked")]
    fixed = [
        ast.unparse(node)
        for cell in cells
        if cell not in checks
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("manual_seed")
        if isinstance(node.args[0], ast.Constant)
    ]
    assert fixed == []


def test_a_record_of_another_seed_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds other numbers, no notebook is touched, and a second run finds it."""
    monkeypatch.setenv("GMLIB_PROFILE", "test")
    lab = LABS[-1]
    kept = twin_path(lab).read_bytes()
    assert make.make_record(lab, 7, tmp_path) == "executed"
    assert make.make_record(lab, 7, tmp_path) == "fresh"
    (path,) = (p for p in tmp_path.rglob("*") if p.is_file())
    assert path == make.record_path(lab, 7, tmp_path) == tmp_path / lab / "test-seed7.json"
    record = json.loads(path.read_text())
    assert (record["seed"], record["source"]) == (7, make.source_hash(lab))
    assert twin_path(lab).read_bytes() == kept

    path.write_text(json.dumps(record | {"source": "older"}))
    assert not make.recorded(lab, 7, tmp_path)
    assert not make.recorded(lab, 8, tmp_path)


def test_a_stopped_run_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds that have a record are not run again; a half-done one is, from its start."""
    monkeypatch.setenv("GMLIB_PROFILE", "test")
    ran: list[tuple[str, int]] = []

    def run(lab: str, notebook: NotebookNode, results: Path, seed: int = 0) -> None:
        ran.append((lab, seed))
        if len(ran) == 2:
            raise KeyboardInterrupt
        record = {"lab": lab, "profile": "test", "seed": seed, "source": make.source_hash(lab)}
        made = make.record_path(lab, seed, results)
        made.parent.mkdir(parents=True)
        made.write_text(json.dumps(record))

    monkeypatch.setattr(make, "execute", run)
    lab = LABS[0]
    assert make.make_record(lab, 1, tmp_path) == "executed"
    with pytest.raises(KeyboardInterrupt):
        make.make_record(lab, 2, tmp_path)
    done = [make.make_record(lab, seed, tmp_path) for seed in (1, 2)]
    assert done == ["fresh", "executed"]
    assert ran == [(lab, 1), (lab, 2), (lab, 2)]
    assert not list(tmp_path.rglob("*.partial"))


def test_a_record_goes_stale_with_code_and_not_with_prose_or_hidden_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = LABS[0]
    text, before = make.source(lab).read_text(), make.source_hash(lab)
    changed = tmp_path / "lab.py"
    monkeypatch.setattr(make, "source", lambda _: changed)

    def after(old: str, new: str) -> str:
        assert old in text
        changed.write_text(text.replace(old, new, 1))
        return make.source_hash(lab)

    assert after("# # Lab", "# # The lab") == before
    assert after("### BEGIN HIDDEN TESTS", "### BEGIN HIDDEN TESTS\nassert True") == before
    assert after("SEED = 0", "SEED = 0\nmore = 1") != before
    assert after("### BEGIN SOLUTION", "### BEGIN SOLUTION\n    pass") != before


@pytest.mark.parametrize("lab", LABS)
def test_prose_keeps_outputs(lab: str) -> None:
    old, new = nbformat.read(twin_path(lab), 4), make.read(lab)
    make.carry_over(old, new)
    assert [c.get("outputs") for c in new.cells] == [c.get("outputs") for c in old.cells]


def nbval(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval-lax"]
    command += ["--nbval-current-env", "--nbval-cell-timeout", "300", "--rootdir", str(folder)]
    environment = {**os.environ, "GMLIB_PROFILE": "test"}
    return subprocess.run(
        [*command, str(folder)], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_nbval_sees_an_edited_output(tmp_path: Path) -> None:
    """The first compared cell, as it was stored and with one character changed."""
    notebook = nbformat.read(twin_path(LABS[-1]), 4)
    tagged = next(
        i
        for i, c in enumerate(notebook.cells)
        if "nbval-check-output" in c.metadata.get("tags", [])
    )
    notebook.cells = notebook.cells[: tagged + 1]
    stored, edited = tmp_path / "stored", tmp_path / "edited"
    save(notebook, stored)
    changed = copy.deepcopy(notebook)
    output = changed.cells[tagged].outputs[0]
    output.text = output.text.replace("holds", "fails", 1)
    assert output.text != notebook.cells[tagged].outputs[0].text
    save(changed, edited)
    assert nbval(stored).returncode == 0, nbval(stored).stdout
    red = nbval(edited)
    assert red.returncode == 1
    assert "1 failed" in red.stdout


def save(notebook: NotebookNode, folder: Path) -> None:
    folder.mkdir()
    make.write(notebook, folder / "lab.ipynb")
