"""Build the book: `python book/make.py` makes both editions, `... student` or `... instructor` one.

An edition lies in `_build/<edition>/html`. What is made from unchanged files is left as it is.
"""

import argparse
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
CACHE = BUILD / ".jupyter_cache"
# Each edition, and the folders from which it takes every lab's notebook.
EDITIONS = {"student": ["notebooks"], "instructor": ["notebooks", "solutions"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("editions", nargs="*", metavar="edition", help=" or ".join(EDITIONS))
    chosen = parser.parse_args().editions or list(EDITIONS)
    for edition in chosen:
        if edition not in EDITIONS:
            parser.error(f"expected {' or '.join(EDITIONS)}; got {edition!r}")
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return make(chosen)


def make(editions: Iterable[str]) -> int:
    """Build what is stale, all editions at once; 1 if one of them failed, else 0."""
    start = time.perf_counter()
    builds = {}
    for edition in editions:
        key = fingerprint(edition)
        if key == built(edition):
            print(f"{edition}: nothing changed, {start_page(edition)}")
            continue
        prepare(edition, key)
        process = multiprocessing.get_context("spawn").Process(target=build, args=(edition,))
        process.start()
        builds[edition] = (key, process)
    failed = False
    for edition, (key, process) in builds.items():
        process.join()
        seconds = f"{time.perf_counter() - start:.0f} s"
        if process.exitcode == 0:
            stamp(edition).write_text(json.dumps(key))
            print(f"{edition}: built in {seconds}, {start_page(edition)}")
        else:
            failed = True
            print(f"{edition}: failed after {seconds}", file=sys.stderr)
            print((BUILD / edition / "warnings.txt").read_text(), file=sys.stderr)
    return int(failed)


def fingerprint(edition: str) -> dict[str, str]:
    """A hash for each kind of file that the edition is made from.

    `frame` shapes every page, `code` is what running pages use, `pages` is what Sphinx follows
    page by page.
    """
    book = set(files("book"))
    records = set(files("book/results")) | set((ROOT / "solutions").rglob("*.ipynb"))
    frame = {ROOT / "_config.yml", ROOT / "_toc.yml", ROOT / "requirements.txt", Path(__file__)}
    frame |= set(files("book/_ext")) | set(files("book/assets"))
    labs = [file for folder in EDITIONS[edition] for file in files(folder)]
    notebooks = {file for file in labs if file.suffix == ".ipynb"}
    return {
        "frame": digest(frame),
        "code": digest(records | set(files("gmlib")) | set(files("book/_ext"))),
        "pages": digest((book - records - frame) | notebooks),
    }


def files(folder: str) -> list[Path]:
    hidden = ("__pycache__", ".ipynb_checkpoints")
    found = (ROOT / folder).rglob("*")
    return [path for path in found if path.is_file() and path.parent.name not in hidden]


def digest(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file():
            total.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def stamp(edition: str) -> Path:
    return BUILD / edition / "stamp.json"


def start_page(edition: str) -> Path:
    return BUILD / edition / "html" / "index.html"


def built(edition: str) -> dict[str, str] | None:
    """The fingerprint that the edition was last built from, none if that build did not finish."""
    if not (stamp(edition).is_file() and start_page(edition).is_file()):
        return None
    return json.loads(stamp(edition).read_text())


def prepare(edition: str, key: dict[str, str]) -> None:
    """Throw away what can't be built upon.

    Sphinx tells a page's warnings only when it reads the page, so after a failed build it would
    read nothing and pass. And the cache of run pages knows their code, not the code they import.
    """
    before = built(edition)
    if before is None or any(before[kind] != key[kind] for kind in ("frame", "code")):
        shutil.rmtree(BUILD / edition, ignore_errors=True)
    (BUILD / edition).mkdir(exist_ok=True)
    stamp(edition).unlink(missing_ok=True)
    code = CACHE / "code.sha256"
    if not code.is_file() or code.read_text() != key["code"]:
        shutil.rmtree(CACHE, ignore_errors=True)
        CACHE.mkdir()
        code.write_text(key["code"])


def build(edition: str) -> None:
    """Run Jupyter Book, strictly, and leave the process with 0 if nothing was amiss."""
    from jupyter_book.sphinx import build_sphinx
    from sphinx.util.console import nocolor

    nocolor()
    folder = BUILD / edition
    for descriptor, name in ((1, "log.txt"), (2, "warnings.txt")):
        with open(folder / name, "w") as file:
            os.dup2(file.fileno(), descriptor)
    settings = {
        "course_folders": EDITIONS[edition],
        "external_toc_path": "_toc.yml",
        "latex_individualpages": False,
        "nb_execution_cache_path": str(CACHE),
    }
    status = build_sphinx(
        ROOT,
        folder / "html",
        noconfig=True,
        path_config=ROOT / "_config.yml",
        confoverrides=settings,
        doctreedir=folder / ".doctrees",
        warningiserror=True,
        keep_going=True,
    )
    sys.exit(0 if status == 0 else 1)


if __name__ == "__main__":
    sys.exit(main())
