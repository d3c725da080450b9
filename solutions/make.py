"""Make every lab's notebooks from its source: `python solutions/make.py [--seeds N] [LAB …]`.

    solutions/NN_lab/lab.py     written by an author: jupytext's percent format
    solutions/NN_lab/lab.ipynb  made: the same cells, executed, with their outputs
    notebooks/NN_lab/lab.ipynb  made: the student's notebook, by nbgrader
    book/results/NN_lab/*.json  made: the lab's record, one for each profile and seed

Only what is stale is made. A change of prose keeps the outputs; a change of code runs the lab
again, in the profile of this machine. With `--seeds N` there is a record for each of the seeds
0 to N − 1 in this profile; a notebook is kept of seed 0 alone. What was finished before a stop is
not run again.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
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
RESULTS = ROOT / "book" / "results"
SEED_LINE = re.compile(r"^SEED = 0$", re.M)


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
    """Names the code that a lab's numbers come from, so that a record of older code can be told.

    That is all code but the hidden tests, which judge and leave nothing behind; no prose.
    """
    cells = [cell for cell in read(lab).cells if cell.cell_type == "code"]
    return _hash([c.source for c in cells if not c.metadata.get("nbgrader", {}).get("grade")])


def record_path(lab: str, seed: int, results: Path = RESULTS) -> Path:
    """Where the lab's record of this machine's profile is."""
    from gmlib import profile

    return results / lab / f"{profile.name()}-seed{seed}.json"


def stale(records: Iterable[dict]) -> list[str]:
    """A sentence for each record that older code than the lab's present one has made."""
    found = []
    for record in records:
        lab, name, seed = record["lab"], record["profile"], record["seed"]
        if record["source"] != source_hash(lab):
            command = f"GMLIB_PROFILE={name} python solutions/make.py --seeds {seed + 1} {lab}"
            found.append(
                f"book/results/{lab}/{name}-seed{seed}.json was made by older code than lab {lab} "
                f"has now: run `{command}`"
            )
    return found


def recorded(lab: str, seed: int, results: Path = RESULTS) -> bool:
    """Whether the lab's present code has a record of this seed in this profile."""
    path = record_path(lab, seed, results)
    return path.exists() and not stale([json.loads(path.read_text())])


def execute(lab: str, notebook: NotebookNode, results: Path, seed: int = 0) -> None:
    """Run all cells in a kernel of their own and keep what does not change from run to run.

    The lab's record is written below `results`. With another seed the line `SEED = 0` is changed,
    and half-done trainings are kept apart, since two seeds may run at once.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = SEED_LINE.sub(f"SEED = {seed}", cell.source)
    cache = Path(os.environ.get("GMLIB_CACHE") or Path.home() / ".cache" / "gmlib")
    environment = {
        **os.environ,
        "GMLIB_CACHE": str(cache / f"seed{seed}" if seed else cache),
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
    """Make solutions/NN_lab/lab.ipynb and its record where they are stale; says what was done."""
    made = source(lab).with_suffix(".ipynb")
    old, new = _existing(made), read(lab)
    stamp = old.metadata.get("gmlib", {}) if old else {}
    if stamp == new.metadata.gmlib and not force:
        return "fresh"
    if stamp.get("code") == new.metadata.gmlib.code and not force:
        carry_over(old, new)
        done = "text changed"
    else:
        with tempfile.TemporaryDirectory() as scratch:
            execute(lab, new, Path(scratch))
            write(new, made)
            keep_records(Path(scratch))  # last, so that a record says that the notebook is there
        return "executed"
    write(new, made)
    return done


def make_record(lab: str, seed: int, results: Path = RESULTS) -> str:
    """Run the lab with another seed and keep its record alone; says what was done."""
    if recorded(lab, seed, results):
        return "fresh"
    with tempfile.TemporaryDirectory() as scratch:
        execute(lab, read(lab), Path(scratch), seed)
        keep_records(Path(scratch), results)
    return "executed"


def make_seed(lab: str, seed: int, force: bool) -> str:
    """Make the record of one seed, and with seed 0 the executed notebook; says what was done."""
    if seed == 0:
        return make_twin(lab, force or not recorded(lab, 0))
    if force:
        record_path(lab, seed).unlink(missing_ok=True)
    return make_record(lab, seed)


def keep_records(scratch: Path, results: Path = RESULTS) -> None:
    """Move the records that a run has written into the book, each at once and whole."""
    for made in scratch.rglob("*.json"):
        kept = results / made.relative_to(scratch)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, kept.with_suffix(".partial"))
        os.replace(kept.with_suffix(".partial"), kept)


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


def workers() -> int:
    """How many labs run at once: as many as have cores of their own, and one on a GPU."""
    import torch

    return 1 if torch.cuda.is_available() else max(1, (os.cpu_count() or 1) // CORES_PER_LAB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labs", nargs="*", default=labs(), metavar="LAB", help="such as 22_vae")
    parser.add_argument("--force", action="store_true", help="run also what is fresh")
    parser.add_argument("--seeds", type=int, metavar="N", help="have a record of each of N seeds")
    given = parser.parse_args()

    def run(job: tuple[int, str]) -> str:
        seed, lab = job
        if given.seeds is None:
            done = make_twin(lab, given.force)
        else:
            done = make_seed(lab, seed, given.force)
            print(f"{lab}, seed {seed}: {done}", flush=True)
        return done

    jobs = [(seed, lab) for seed in range(given.seeds or 1) for lab in given.labs]
    with ThreadPoolExecutor(workers()) as pool:
        # All of them before the first student notebook: nbgrader_config.py, which that reads,
        # sets the profile of grading for this process.
        twins = list(pool.map(run, jobs))[: len(given.labs)]
    for lab, done in zip(given.labs, twins, strict=True):
        student = _existing(ROOT / "notebooks" / lab / source(lab).with_suffix(".ipynb").name)
        twin = _existing(source(lab).with_suffix(".ipynb"))
        if student is None or student.metadata.get("gmlib") != twin.metadata.gmlib:
            make_student(lab)
            done += ", student notebook made"
        print(f"{lab}: {done}", flush=True)


if __name__ == "__main__":
    main()
