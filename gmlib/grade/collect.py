"""Who handed in what: nbgrader's tree, a folder of notebooks, or the zip of an LMS.

Nothing is unpacked and no name of a file or a folder is trusted to be a path: names say who
handed in, and no more.
"""

import hashlib
import os
import re
import stat
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from dateutil import parser as dates

from gmlib.grade import intake
from gmlib.grade.intake import Unreadable

ENTRIES = 200_000  # files looked at in a folder or a zip
DEPTH = 8  # folders inside each other
ID_BYTES = 100
IGNORED = ("__MACOSX", "__pycache__")

# Moodle: "Jane Doe_123_assignsubmission_file_/vae.ipynb", or all of it in the name of the file
MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(file|onlinetext)_?(?P<file>.*)")
# Canvas: "doejane_LATE_123_456_vae-1.ipynb": the student's number, then the file's
CANVAS = re.compile(r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<id>\d+)_(?P<number>\d+)_(?P<file>.+)")


class Person(NamedTuple):
    """A student as a file's name gives one. `number` is what the LMS counts them by."""

    name: str
    number: str | None = None


class Submission(NamedTuple):
    """What one student handed in."""

    person: Person
    read: Callable[[], bytes]  # raises Unreadable
    file: str
    late: bool
    time: str | None  # as nbgrader's timestamp.txt holds it
    notes: list[str]


class Entry(NamedTuple):
    """A file of a folder or a zip; also what only looks like one."""

    parts: tuple[str, ...]
    read: Callable[[], bytes]
    changed: float

    @property
    def is_notebook(self) -> bool:
        return self.parts[-1].lower().endswith(".ipynb")


class _Handed(NamedTuple):
    """An entry with what its name says."""

    person: Person
    entry: Entry
    file: str
    late: bool = False
    number: int = 0  # Canvas counts files upwards


# What is there


def submitted(folder: Path, lab: str) -> Iterator[Submission]:
    """Those of nbgrader's tree: folder/STUDENT/LAB/NAME.ipynb, in order of students."""
    for student in sorted(_listed(folder), key=lambda e: e.name):
        if not student.is_dir(follow_symlinks=False):
            if student.is_symlink() and os.path.isdir(os.path.join(student.path, lab)):
                yield _broken(student.name, f"the folder {student.name} is a link to another place")
            continue
        for inner in _listed(student.path):
            if inner.name.casefold() != lab.casefold():
                continue
            if inner.is_dir(follow_symlinks=False):
                yield _of_tree(folder, student.name, Path(inner.path), lab)
            else:
                yield _broken(student.name, f"{inner.name} is not a folder with a notebook in it")


def _of_tree(root: Path, student: str, folder: Path, lab: str) -> Submission:
    handed = [
        _Handed(Person(student), _file(root, Path(found.path)), found.name)
        for found in _listed(folder)
        if found.name != "timestamp.txt"
    ]
    return _chosen(Person(student), handed, lab, _time(root, folder / "timestamp.txt"))


def from_folder(folder: Path, lab: str) -> Iterator[Submission]:
    """Those of any folder: see `_handed` for the names that are understood."""
    return _grouped(list(_walk(folder, folder, DEPTH)), lab)


def from_zip(path: Path, lab: str) -> Iterator[Submission]:
    """Those of a zip, read where they lie.

    Raises:
        Unreadable: it is no zip.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise Unreadable(f"{path.name} is not a zip archive: {error}") from error
    entries = []
    for info in archive.infolist()[:ENTRIES]:
        parts = tuple(p for p in re.split(r"[/\\]", info.filename) if p not in ("", ".", ".."))
        if parts and not info.is_dir() and not _ignored(parts):
            when = datetime(1980, 1, 1)
            with suppress(ValueError):  # a month 0, as some programs write
                when = datetime(*info.date_time)
            entries.append(Entry(parts, _member(archive, info), when.timestamp()))
    return _grouped(entries, lab)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        name = Path(info.filename).name
        if stat.S_ISLNK(info.external_attr >> 16):
            raise Unreadable(f"{name} is a link to another place, not a file")
        if info.flag_bits & 1:
            raise Unreadable(f"{name} is locked with a password")
        try:
            with archive.open(info) as opened:
                data = opened.read(intake.FILE_BYTES + 1)
        except Exception as error:  # a damaged zip fails in many ways
            raise Unreadable(f"{name} is damaged in the zip: {error}") from error
        intake.check_size(data)
        return data

    return read


def _walk(root: Path, folder: Path, depth: int) -> Iterator[Entry]:
    for found in _listed(folder):
        path = Path(found.path)
        if found.is_dir(follow_symlinks=False) and not found.name.endswith(".ipynb"):
            if depth > 1:
                yield from _walk(root, path, depth - 1)
        else:
            yield _file(root, path)


def _listed(folder: Path | str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as found:
            named = [e for e, _ in zip(found, range(ENTRIES), strict=False)]
    except OSError:
        return []
    return sorted((e for e in named if not _ignored((e.name,))), key=lambda e: e.name)


def _file(root: Path, path: Path) -> Entry:
    def read() -> bytes:
        return intake.read(path, root)

    try:
        changed = path.lstat().st_mtime
    except OSError:
        changed = 0.0
    return Entry(path.relative_to(root).parts, read, changed)


def _ignored(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part in IGNORED for part in parts)


def _broken(student: str, why: str) -> Submission:
    return Submission(Person(student), _refusing(why), "", False, None, [])


def _refusing(why: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise Unreadable(why)

    return read


def _time(root: Path, stamp: Path) -> tuple[str | None, list[str]]:
    """When it was handed in, as nbgrader wrote it beside the notebook, and notes."""
    if not stamp.is_symlink() and not stamp.exists():
        return None, []
    try:
        text = intake.read(stamp, root)[:100].decode("ascii").strip()
        when = dates.parse(text, tzinfos={"UTC": UTC, "GMT": UTC})
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        if not datetime(2000, 1, 1, tzinfo=UTC) < when < datetime.now(UTC) + timedelta(days=1):
            raise ValueError
    except (Unreadable, ValueError, OverflowError, UnicodeDecodeError):
        return None, ["the time of handing in could not be read"]
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC", []


# Whose it is


def _grouped(entries: list[Entry], lab: str) -> Iterator[Submission]:
    people: dict[Person, list[_Handed]] = defaultdict(list)
    beside = Counter(entry.parts[:-1] for entry in entries if entry.is_notebook)
    for entry in entries:
        if handed := _handed(entry, lab, beside):
            people[handed.person].append(handed)
    for person in sorted(people, key=lambda p: (p.name, p.number or "")):
        yield _chosen(person, people[person], lab, (None, []))


def _handed(entry: Entry, lab: str, beside: Counter) -> _Handed | None:
    """What an entry's place and name say; None where it is of no student."""
    *folders, name = entry.parts
    for part in reversed(entry.parts):
        if found := MOODLE.fullmatch(part):
            file = found["file"] if part == name and found["file"] else name
            return _Handed(Person(_spaced(found["name"]), found["id"]), entry, file)
    if found := CANVAS.fullmatch(name):
        person = Person(found["name"], found["id"])
        number = int(found["number"][:18])
        return _Handed(person, entry, found["file"], bool(found["late"]), number)
    if not entry.is_notebook:
        return None
    below = [i for i, part in enumerate(folders) if i and part.casefold() == lab.casefold()]
    if below:
        return _Handed(Person(folders[below[0] - 1]), entry, name)
    stem = name[: -len(".ipynb")]
    if is_named(stem, lab) or (folders and beside[entry.parts[:-1]] == 1 and len(beside) > 1):
        named = [part for part in folders if not is_named(part, lab)]
        return _Handed(Person(named[-1] if named else stem), entry, name)
    return _Handed(Person(_without(stem, lab)), entry, name)


def is_named(stem: str, lab: str) -> bool:
    """Whether a file or folder is named after the lab: vae, VAE, 22_vae, "vae (1)", vae-1."""
    plain = stem.casefold().strip()
    plain = re.sub(r"^(copy|kopie|사본) (of|von)?\s*|^사본\s*-?\s*", "", plain)
    plain = re.sub(r"([\s_-]*\(\d+\)|[\s_-]+(copy|kopie|사본)?\s*\d*)+$", "", plain)
    return plain in (lab.casefold(), lab.partition("_")[2].casefold())


def _without(stem: str, lab: str) -> str:
    """A student's name out of jane_vae, vae-jane, 22_vae_jane."""
    names = "|".join(re.escape(n) for n in (lab, lab.partition("_")[2]))
    plain = re.sub(rf"^({names})[\s_.-]+|[\s_.-]+({names})$", "", stem, flags=re.IGNORECASE)
    return plain or stem


def _spaced(name: str) -> str:
    return " ".join(name.split())


def _chosen(
    person: Person, handed: list[_Handed], lab: str, time: tuple[str | None, list[str]]
) -> Submission:
    """Of what one student handed in, what is graded."""
    name = lab.partition("_")[2]
    notebooks = [h for h in handed if h.entry.is_notebook]
    named = [h for h in notebooks if is_named(h.file[: -len(".ipynb")], lab)] or notebooks
    exact = [h for h in named if h.file == f"{name}.ipynb" and h.person.number is None]
    notes = list(time[1])
    if not notebooks:
        others = ", ".join(sorted(h.file for h in handed)[:3])
        why = "no notebook was handed in" + (f", only {others}" if others else "")
        return Submission(person, _refusing(why), "", False, time[0], notes)
    best = max(exact or named, key=_newest)
    if len(notebooks) > 1:
        notes.append(f"{len(notebooks)} notebooks were handed in; {best.file} is the one graded")
    elif best.file != f"{name}.ipynb" and best.person.number is None:
        notes.append(f"the file is called {best.file}; it was taken for {name}.ipynb")
    return Submission(person, best.entry.read, best.file, best.late, time[0], notes)


def _newest(handed: _Handed) -> tuple[int, float, int]:
    again = re.search(r"(?:-(\d{1,6})| \((\d{1,6})\))\.ipynb$", handed.file, re.IGNORECASE)
    attempt = int(again[1] or again[2]) if again else 0
    return attempt, handed.entry.changed, handed.number


# What nbgrader calls them


def plain_id(name: str) -> str:
    """A name that can be a folder's, a pattern's and a database's key: no slash, no star."""
    name = unicodedata.normalize("NFC", intake.clean(name))
    kept = "".join(c if c.isalnum() or c in " -_.@'" else "_" for c in name)
    kept = kept.strip(" ._").encode()[:ID_BYTES].decode("utf-8", "ignore").strip()
    return kept or f"student-{_mark(name)}"


def ids(people: Iterable[Person], known: Mapping[str, str | None]) -> dict[Person, str]:
    """The gradebook's id of each person: by the LMS's number, else by name, else a new one.

    Args:
        known: the gradebook's students, and the number that the LMS gives them where it is known.
    """
    people = set(people)
    numbers = {number: student for student, number in known.items() if number}
    folded = {student.casefold(): student for student in known}
    found = {p: numbers[p.number] for p in people if p.number in numbers}
    waiting = sorted(people - set(found), key=lambda p: (p.name, p.number or ""))
    taken = set(found.values())
    for person in sorted(waiting, key=lambda p: plain_id(p.name) not in known):  # these first
        plain = plain_id(person.name)
        student = plain if plain in known else folded.get(plain.casefold(), plain)
        number = known.get(student)
        if student in taken or (person.number and number not in (None, person.number)):
            student = f"{plain}_{person.number or _mark(person.name)}"
        found[person] = student
        taken.add(student)
    return found


def _mark(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
