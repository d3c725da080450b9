"""Make every lab's notebooks from its source: `python solutions/make.py [LAB …]`.

    solutions/NN_lab/lab.py     written by an author: jupytext's percent format
    solutions/NN_lab/lab.ipynb  made: the same cells, executed, with their outputs
    notebooks/NN_lab/lab.ipynb  made: the student's notebook, by nbgrader

Only what is stale is made. A change of prose keeps the outputs; a change of code runs the lab
again, in the profile of this machine, and writes its record into book/results.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config, PyFileConfigLoader

ROOT = Path(__file__).resolve().parents[1]
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CORES_PER_LAB = 2


def labs() -> list[str]:
    """The ids of all labs, in reading order."""
    return sorted(path.parent.name for path in ROOT.glob("solutions/[0-9][0-9]_*/*.py"))


def source(lab: str) -> Path:
    """solutions/22_vae/vae.py for "22_vae".

    Raises:
        SystemExit: there is no such lab.
    """
    path = ROOT / "solutions" / lab / f"{lab.partition('_')[2]}.py"
    if not path.exists():
        raise SystemExit(f"there is no lab {lab!r}: {path} is missing; labs: {', '.join(labs())}")
    return path


def read(lab: str) -> NotebookNode:
    """The lab's cells, unexecuted, with ids that depend on their place or grade id alone."""
    parsed = jupytext.read(source(lab))
    for i, cell in enumerate(parsed.cells):
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.id = grade_id.replace("_", "-") if grade_id else f"cell-{i:03d}"
    metadata = {
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
        "gmlib": {
            "code": _hash([c.source for c in parsed.cells if c.cell_type == "code"]),
            "cells": _hash([[c.id, c.cell_type, c.metadata, c.source] for c in parsed.cells]),
        },
    }
    return nbformat.v4.new_notebook(cells=parsed.cells, metadata=metadata)


def source_hash(lab: str) -> str:
    """Names a lab's source, so that a record made by older code can be told."""
    return hashlib.sha256(source(lab).read_bytes()).hexdigest()[:16]


def execute(lab: str, notebook: NotebookNode, results: Path) -> None:
    """Run all cells in a kernel of their own and keep what does not change from run to run.

    The lab's record is written below `results`.
    """
    environment = {
        **os.environ,
        "GMLIB_RESULTS": str(results),
        "GMLIB_SOURCE": source_hash(lab),
        "OMP_NUM_THREADS": str(CORES_PER_LAB),
        "TQDM_DISABLE": "1",
    }
    client = NotebookClient(
        notebook,
        timeout=None,
        coalesce_streams=True,
        skip_cells_with_tag="run-me-anyway",  # its default is our mark of heavy cells
        record_timing=False,
        resources={"metadata": {"path": str(source(lab).parent)}},
        config=private_kernels(),
    )
    client.execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    notebook.metadata.language_info = {"name": "python"}


def private_kernels() -> Config:
    """Kernels that talk through files of this user, and not through ports of this machine."""
    sockets = Path(tempfile.mkdtemp(prefix="kernel-")) / "k"
    return Config(KernelManager={"transport": "ipc", "ip": str(sockets)})


def carry_over(old: NotebookNode, new: NotebookNode) -> None:
    """Give the cells of `new` the outputs of `old`, whose code is the same."""
    before = [cell for cell in old.cells if cell.cell_type == "code"]
    after = [cell for cell in new.cells if cell.cell_type == "code"]
    for a, b in zip(before, after, strict=True):
        b.outputs, b.execution_count = a.outputs, a.execution_count


def make_twin(lab: str, force: bool) -> str:
    """Make solutions/NN_lab/lab.ipynb where it is stale; says what was done."""
    made = source(lab).with_suffix(".ipynb")
    old, new = _existing(made), read(lab)
    stamp = old.metadata.get("gmlib", {}) if old else {}
    if stamp == new.metadata.gmlib and not force:
        return "fresh"
    if stamp.get("code") == new.metadata.gmlib.code and not force:
        carry_over(old, new)
        done = "text changed"
    else:
        execute(lab, new, ROOT / "book" / "results")
        done = "executed"
    write(new, made)
    return done


def nbgrader_settings(root: Path) -> Config:
    """The course's own configuration of nbgrader, with its results below `root`.

    nbgrader calls alembic by name, which stands beside this Python.
    """
    beside = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
    config.merge(private_kernels())
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.db_url = f"sqlite:///{root / 'gradebook.db'}"
    config.CourseDirectory.source_directory = str(ROOT / "solutions")
    return config


def make_student(lab: str, release: Path = ROOT / "notebooks") -> None:
    """Make notebooks/NN_lab/lab.ipynb from the twin, through nbgrader's own API."""
    from nbgrader.apps import NbGraderAPI

    with tempfile.TemporaryDirectory() as root:
        config = nbgrader_settings(Path(root))
        config.CourseDirectory.release_directory = str(release)
        result = NbGraderAPI(config=config).generate_assignment(lab, force=True, create=True)
    if not result["success"]:
        raise SystemExit(f"nbgrader could not make the student notebook of {lab}:\n{result['log']}")


def write(notebook: NotebookNode, path: Path) -> None:
    """Write under a temporary name, then rename."""
    partial = path.with_suffix(".partial")
    nbformat.write(notebook, partial)
    os.replace(partial, path)


def _existing(path: Path) -> NotebookNode | None:
    return nbformat.read(path, 4) if path.exists() else None


def _hash(parts: list) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labs", nargs="*", default=labs(), metavar="LAB", help="such as 22_vae")
    parser.add_argument("--force", action="store_true", help="run also what is fresh")
    arguments = parser.parse_args()
    workers = max(1, (os.cpu_count() or 1) // CORES_PER_LAB)
    with ThreadPoolExecutor(workers) as pool:
        # All of them before the first student notebook: nbgrader_config.py, which that reads,
        # sets the profile of grading for this process.
        twins = list(pool.map(lambda lab: make_twin(lab, arguments.force), arguments.labs))
    for lab, done in zip(arguments.labs, twins, strict=True):
        student = _existing(ROOT / "notebooks" / lab / source(lab).with_suffix(".ipynb").name)
        twin = _existing(source(lab).with_suffix(".ipynb"))
        if student is None or student.metadata.get("gmlib") != twin.metadata.gmlib:
            make_student(lab)
            done += ", student notebook made"
        print(f"{lab}: {done}", flush=True)


if __name__ == "__main__":
    main()
