"""Things in place of a notebook, things beside it, and names that harm whoever prints them."""

import os
import socket
from pathlib import Path

from . import FILE, NOTHING, Book, attack, placed

REFUSED = r"(?i)link|file|folder|pipe|socket|regular|found|notebook"


@placed(NOTHING, REFUSED)
def link_to_the_solution(book: Book, folder: Path) -> None:
    """A symbolic link to the course's own solution."""
    (folder / FILE).symlink_to("../../../solutions/22_vae/vae.ipynb")


@placed(NOTHING, REFUSED)
def link_to_another_student(book: Book, folder: Path) -> None:
    """A symbolic link to the notebook of somebody who did the work."""
    (folder / FILE).symlink_to(folder.parents[1] / "honest" / folder.name / FILE)


@placed(NOTHING, REFUSED)
def linked_folder(book: Book, folder: Path) -> None:
    """The student's folder for the lab is itself a link to another's."""
    folder.rmdir()
    folder.symlink_to("../honest/22_vae", target_is_directory=True)


@placed(NOTHING, REFUSED)
def link_to_nowhere(book: Book, folder: Path) -> None:
    """A link that leads to itself."""
    (folder / FILE).symlink_to(FILE)


@placed(NOTHING, REFUSED)
def pipe(book: Book, folder: Path) -> None:
    """A named pipe: whoever opens it waits for ever."""
    os.mkfifo(folder / FILE)


@placed(NOTHING, REFUSED)
def folder_for_notebook(book: Book, folder: Path) -> None:
    """A folder that is called like the notebook."""
    (folder / FILE / "x").mkdir(parents=True)


@placed(NOTHING, REFUSED)
def socket_for_notebook(book: Book, folder: Path) -> None:
    """A socket that is called like the notebook."""
    here = os.getcwd()
    os.chdir(folder)  # a socket's path has to be short
    try:
        socket.socket(socket.AF_UNIX).bind(FILE)
    finally:
        os.chdir(here)


@placed(NOTHING, REFUSED)
def nothing_handed_in(book: Book, folder: Path) -> None:
    """An empty folder."""


@placed(NOTHING, r"(?i)large|big|size|MB")
def hole_of_a_terabyte(book: Book, folder: Path) -> None:
    """A file that says it is a terabyte and takes no room."""
    with open(folder / FILE, "wb") as file:
        file.truncate(1 << 40)


@placed()
def wrong_name(book: Book, folder: Path) -> None:
    """Honest: the browser has added a number to the name."""
    (folder / "vae (1).ipynb").write_bytes(book.bytes())


@placed()
def wrong_case(book: Book, folder: Path) -> None:
    """Honest: the name in capitals."""
    (folder / "VAE.ipynb").write_bytes(book.bytes())


@placed()
def copies_beside(book: Book, folder: Path) -> None:
    """Honest: Jupyter's checkpoints and a copy lie beside the notebook."""
    (folder / FILE).write_bytes(book.bytes())
    other = Book(()).bytes()
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "vae-checkpoint.ipynb").write_bytes(other)
    (folder / "vae-Copy1.ipynb").write_bytes(other)


@placed()
def bad_timestamp(book: Book, folder: Path) -> None:
    """Honest: a time stamp that is no time."""
    (folder / FILE).write_bytes(book.bytes())
    (folder / "timestamp.txt").write_bytes(b"\xff yesterday; -1e309 \x00" * 1_000)


@placed()
def timestamp_that_waits(book: Book, folder: Path) -> None:
    """A named pipe as the time stamp, and links beside it that lead out of the folder."""
    (folder / FILE).write_bytes(book.bytes())
    os.mkfifo(folder / "timestamp.txt")
    (folder / "figures").symlink_to("/")
    (folder / "data.npz").symlink_to("../../../solutions/22_vae/vae.ipynb")
    os.mkfifo(folder / "results")


@placed()
def names_of_files(book: Book, folder: Path) -> None:
    """Files beside the notebook whose names are escapes, line breaks, options and no text."""
    (folder / FILE).write_bytes(book.bytes())
    for name in (
        b"\x1b[2J\x07",
        b"a\nb",
        b"-rf",
        b"\xff\xfe.ipynb",
        b"<script>PWNED()",
        b"x" * 250,
    ):
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(b"PWNED")


@placed()
def many_files_beside(book: Book, folder: Path) -> None:
    """Two thousand files and fifty folders within folders beside the notebook."""
    (folder / FILE).write_bytes(book.bytes())
    for i in range(2_000):
        (folder / f"{i}.txt").touch()
    (folder / "/".join(["deep"] * 50)).mkdir(parents=True)


# Students' names, which are the names of folders

NAMES = {
    "formula": "=cmd|' C calc'!A0",
    "page": "<img src=x onerror=PWNED()>",
    "option": "--force",
    "pattern": "a[b]c*?{d}",
    "escape": "\x1b[31mred\x07\x1b]0;PWNED\x07",
    "lines": 'one\ntwo,three\t"four"',
    "mirrored": "\u202eevil\u202c \u200b\u0301",
    "quote": "Robert'); DROP TABLE grade;--",
    "long": "x" * 200,
    "dots": "a..b.",
    "percent": "%(x)s{0}{student_id}%00",
    "korean": "김 민준",
}


for _kind, _name in NAMES.items():

    def _honest(book: Book) -> None:
        pass

    _honest.__doc__ = f"Honest work under a name that is a {_kind} to whoever prints it."
    attack(name=_name)(_honest)
