"""From an untrusted file to a notebook that can be graded.

Of what a student hands in, only text is taken: the sources of the cells. They are put into a
copy of the released notebook, from which come all tests, points, marks and the order of the cells.
So nothing in the file decides how it is graded, and what it lost on its way is put back.
"""

import ast
import copy
import json
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from rapidfuzz import fuzz

FILE_BYTES = 50_000_000  # of a notebook with its outputs
CELLS = 2_000
SOURCE_CHARACTERS = 300_000  # of one cell
ALL_CHARACTERS = 2_000_000  # of all cells
ALIKE = 70  # percent: from here on two texts are held to be the same cell, edited
COMPARED_CHARACTERS = 4_000  # of a cell, when texts are compared
EDITED_CELLS = 300  # more unknown cells than this are not compared one by one
PICTURE_BYTES = 5_000_000
PICTURES = ("image/png", "image/jpeg")
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Unreadable(Exception):
    """A file that can't be graded; says why, in words for the student."""


class Repaired(NamedTuple):
    """A notebook on the release's cells, and what had to be done, in words for the student."""

    notebook: NotebookNode
    notes: list[str]


class Cell(NamedTuple):
    """A student's cell: what is believed of it."""

    kind: str  # code, markdown or raw
    source: str
    grade_id: str | None
    id: str | None
    pictures: dict[str, dict[str, str]]  # attachments of a markdown cell


# Reading a file


def read(path: Path, root: Path) -> bytes:
    """The bytes of a regular file below `root`, reached over no link.

    Raises:
        Unreadable: a link, a pipe, a folder, no such file, an empty or too large one.
    """
    parts = path.relative_to(root).parts
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = _open(part, os.O_RDONLY | os.O_DIRECTORY, folder)
            os.close(folder)
            folder = inner
        file = _open(parts[-1], os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, folder)
    finally:
        os.close(folder)
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        os.close(file)
        kind = "a folder, not a notebook" if stat.S_ISDIR(mode) else "not an ordinary file"
        raise Unreadable(f"{parts[-1]} is {kind}")
    with open(file, "rb") as opened:
        data = opened.read(FILE_BYTES + 1)
    check_size(data)
    return data


def check_size(data: bytes) -> None:
    """Refuse what is no file to be parsed.

    Raises:
        Unreadable: it is empty or too large.
    """
    if not data.strip():
        raise Unreadable("the file is empty (was the upload cut off?)")
    if len(data) > FILE_BYTES:
        raise Unreadable(
            f"the file is larger than {FILE_BYTES // 1_000_000} MB: clear all outputs, save, "
            "and hand in again"
        )


def _open(name: str, flags: int, folder: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        said = f"the file {name} can't be opened: {error.strerror}"
        with suppress(OSError):
            os.readlink(name, dir_fd=folder)
            said = f"{name} is a link to another place, not a file"
        raise Unreadable(said) from error


# Taking cells out of it


def cells_of(data: bytes) -> tuple[list[Cell], list[str]]:
    """The cells of a notebook of any format, and notes.

    Raises:
        Unreadable: this is no notebook.
    """
    check_size(data)
    document, notes = _json(data), []
    raw = document.get("cells")
    if not isinstance(raw, list):  # nbformat 3 and older keep cells in worksheets
        sheets = document.get("worksheets")
        if not isinstance(sheets, list):
            raise Unreadable("the file is not a notebook: it holds no cells")
        raw = [c for sheet in sheets if isinstance(sheet, dict) for c in _list(sheet.get("cells"))]
        notes.append("the notebook was saved in an old format; it was read all the same")
    if not raw:
        raise Unreadable("the notebook is empty: it holds no cell")
    if len(raw) > CELLS:
        notes.append(f"the notebook has {len(raw)} cells; only {CELLS} and the lab's own were read")
        raw = [c for k, c in enumerate(raw) if k < CELLS or _has_grade_id(c)][: 2 * CELLS]
    cells, left = [], ALL_CHARACTERS
    for cell in map(_cell, raw):
        if cell and len(cell.source) <= left:
            cells.append(cell)
            left -= len(cell.source)
    if len(cells) < len(raw):
        notes.append(f"{len(raw) - len(cells)} cells could not be read and were left out")
    return cells, notes


def _has_grade_id(raw: Any) -> bool:
    cell = _cell(raw)
    return cell is not None and cell.grade_id is not None


def _json(data: bytes) -> dict[str, Any]:
    text = data.decode(
        "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace"
    )
    start = text.lstrip()[:200].lower()
    if start.startswith("%pdf"):
        raise Unreadable("the file is a PDF: hand in the notebook itself")
    if start.startswith(("<!doctype", "<html")):
        raise Unreadable("the file is a web page: hand in the notebook itself, not a page of it")
    if start.startswith("pk\x03\x04"):
        raise Unreadable("the file is a zip archive: hand in the notebook itself")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the file is not a notebook, or was cut off: {_short(error)}") from error
    if not isinstance(document, dict):
        raise Unreadable("the file is not a notebook")
    return document


def _short(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)[:100]


def _cell(raw: Any) -> Cell | None:
    """What is believed of a cell; None where it is none."""
    if not isinstance(raw, dict):
        return None
    kind = raw.get("cell_type")
    source = raw.get("source", raw.get("input", ""))  # nbformat 3 calls it input
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str):
        return None
    if kind == "heading":  # nbformat 3
        level = raw.get("level")
        kind, source = "markdown", "#" * (level if level in range(1, 7) else 1) + " " + source
    metadata = raw.get("metadata") if isinstance(raw.get("metadata"), dict) else {}
    marks = metadata.get("nbgrader") if isinstance(metadata.get("nbgrader"), dict) else {}
    return Cell(
        kind if kind in ("code", "markdown") else "raw",
        clean(source)[:SOURCE_CHARACTERS],
        _text(marks.get("grade_id")),
        _text(raw.get("id")),
        _pictures(raw.get("attachments")),
    )


def clean(text: str) -> str:
    """Text that any file, database or page can hold: no half characters, no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def plain(text: str) -> str:
    """Text that a terminal may be given as well: nothing that moves, colours or turns it."""
    return UNSEEN.sub("\N{REPLACEMENT CHARACTER}", clean(text))


def _pictures(attachments: Any) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, kinds in attachments.items() if isinstance(attachments, dict) else ():
        for kind, content in kinds.items() if isinstance(kinds, dict) else ():
            plain = isinstance(content, str) and re.fullmatch(r"[A-Za-z0-9+/=\s]*", content)
            if kind in PICTURES and plain and len(content) < PICTURE_BYTES:
                found.setdefault(clean(name), {})[kind] = content
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []


# Putting them into the release


def repair(data: bytes, release: NotebookNode) -> Repaired:
    """The student's sources in a copy of the released notebook.

    A cell is found again by its grade id, else its cell id, else by what it defines, else by its
    text and its place. Cells that the release does not have are kept where they stand.

    Raises:
        Unreadable: the file is no notebook.
    """
    cells, notes = cells_of(data)
    return _Repair(cells, release.cells, notes).notebook(release)


class _Repair:
    """One student's cells on their way into the release's. `place` maps cells to the release's."""

    def __init__(self, cells: list[Cell], release: list[NotebookNode], notes: list[str]) -> None:
        self.cells, self.release, self.notes = cells, release, notes
        self.answers = [i for i, c in enumerate(release) if is_answer(c)]
        self.defined = {i: defines(release[i].source) for i in self.answers}
        self.place: dict[int, int] = {}
        self.sources: dict[int, str] = {}  # by place in the release, what the student wrote there
        self.pictures: dict[int, dict[str, dict[str, str]]] = {}
        self.dropped: set[int] = set()  # cells that are not kept as cells
        self.told: set[int] = set()  # places of the release of which a note speaks

    def notebook(self, release: NotebookNode) -> Repaired:
        self.match_marks()
        self.match_definitions()
        self.match_texts()
        self.match_likeness()
        for i in range(len(self.release)):
            self.take(i, [k for k, at in sorted(self.place.items()) if at == i])
        self.drop_stubs()
        for i in self.answers:
            if i not in self.sources or same(self.sources[i], self.release[i].source):
                self.find_words(i) if self.defined[i] == set() else self.find_elsewhere(i)
        self.say_what_was_lost()
        made = new_notebook(cells=self.assembled(), metadata=copy.deepcopy(release.metadata))
        made.nbformat_minor = 5
        return Repaired(made, self.notes)

    def note(self, i: int, words: str) -> None:
        """Tell the student of one cell of the release; {} in the words is its name."""
        self.notes.append(words.format(grade_id(self.release[i]) or f"cell {i + 1}"))
        self.told.add(i)

    # Which cell is which

    def match_marks(self) -> None:
        """By grade id, and by cell id where no other cell has that place."""
        marks = {grade_id(c): i for i, c in enumerate(self.release) if grade_id(c)}
        ids = {c.get("id"): i for i, c in enumerate(self.release) if c.get("id")}
        for k, cell in enumerate(self.cells):
            if cell.grade_id in marks:
                self.place[k] = marks[cell.grade_id]
        for k, cell in enumerate(self.cells):
            i = ids.get(cell.id) if cell.id else None
            if k in self.place or i is None:
                continue
            if i not in self.place.values() or same(cell.source, self.release[i].source):
                self.place[k] = i

    def match_texts(self) -> None:
        """By the very text of the release's cell."""
        texts: dict[str, list[int]] = {}
        for i in self.missing():
            texts.setdefault(squeezed(self.release[i].source), []).append(i)
        for k in self.unknown():
            if places := texts.get(squeezed(self.cells[k].source)):
                self.place[k] = places.pop(0) if len(places) > 1 else places[0]

    def match_definitions(self) -> None:
        """An answer by the functions and classes that it defines, fewest other answers first."""
        for i in self.missing():
            if names := self.defined.get(i):
                found = [k for k in self.unknown() if names <= defines(self.cells[k].source)]
                alone = [k for k in found if not self.other_answers(i, k)]
                for k in alone or found[:1]:
                    self.place[k] = i

    def other_answers(self, i: int, k: int) -> bool:
        """Whether cell `k` holds more than the answer `i`: several answers in one cell."""
        names = defines(self.cells[k].source)
        return any(own and own <= names for j, own in self.defined.items() if j != i)

    def match_likeness(self) -> None:
        """By text that is almost the release's, in its order: an edited cell."""
        missing, unknown = self.missing(), self.unknown()
        if not missing or not unknown or len(unknown) > EDITED_CELLS:
            return
        likeness = {
            (i, k): fuzz.ratio(a, b, score_cutoff=ALIKE)
            for i, a in ((i, self.release[i].source[:COMPARED_CHARACTERS]) for i in missing)
            for k, b in ((k, self.cells[k].source[:COMPARED_CHARACTERS]) for k in unknown)
        }
        for k, i in aligned(missing, unknown, likeness):
            self.place[k] = i

    def missing(self) -> list[int]:
        taken = set(self.place.values())
        return [i for i in range(len(self.release)) if i not in taken]

    def unknown(self) -> list[int]:
        return [k for k in range(len(self.cells)) if k not in self.place]

    # What is taken from it

    def take(self, i: int, copies: list[int]) -> None:
        """Of the student's cells at one place of the release, take the one that counts."""
        given = self.release[i]
        own = [k for k in copies if not same(self.cells[k].source, given.source)]
        if is_locked(given):  # the release's own text stands
            self.dropped.update(copies)
            if own:
                self.note(i, "the check {} had been changed; it was put back")
            return
        self.dropped.update(set(copies) - set(own))
        if not copies:
            return
        if not own:
            self.sources[i] = given.source
            return
        chosen = self.chosen(i, own)
        self.fill(i, [chosen])
        if self.cells[chosen].kind != given.cell_type and i in self.answers:
            self.note(i, "the cell of {} had another type; it was set back")
        if len(own) == 1 or i not in self.answers:
            pass
        elif given.cell_type == "markdown" or self.was_split(i, own):
            self.fill(i, own)
            self.dropped.update(set(own) - {chosen})
            self.note(i, f"the answer {{}} stood in {len(own)} cells; they were joined")
        else:
            self.note(i, f"the answer {{}} was there {len(own)} times; the last whole one counts")
        for k in set(own) - {chosen} - self.dropped:  # stay as cells of the student's own
            del self.place[k]

    def fill(self, i: int, cells: list[int]) -> None:
        """Let a place of the release hold the text of these cells."""
        self.sources[i] = "\n\n".join(self.cells[k].source for k in cells)
        self.pictures[i] = {n: p for k in cells for n, p in self.cells[k].pictures.items()}

    def chosen(self, i: int, own: list[int]) -> int:
        """The last copy that is a whole answer."""
        return ([k for k in own if self.is_whole(i, self.cells[k].source)] or own)[-1]

    def is_whole(self, i: int, source: str) -> bool:
        return self.defined[i] <= defines(source) and parses(source) if i in self.defined else True

    def was_split(self, i: int, own: list[int]) -> bool:
        """Whether an answer was cut into cells of which none holds all of it."""
        parts = [self.cells[k].source for k in own]
        joined = "\n\n".join(parts)
        return not any(self.is_whole(i, part) for part in parts) and self.is_whole(i, joined)

    def drop_stubs(self) -> None:
        """A stray copy of an untouched answer would undo what was written elsewhere."""
        stubs = {squeezed(self.release[i].source) for i in self.answers}
        self.dropped.update(k for k in self.unknown() if squeezed(self.cells[k].source) in stubs)

    def find_elsewhere(self, i: int) -> None:
        """An answer that is missing or untouched may stand in other cells."""
        names = self.defined[i]
        holders = [k for k, c in enumerate(self.cells) if names <= defines(c.source)]
        own = [k for k in holders if k not in self.place and k not in self.dropped]
        if own:
            self.fill(i, own[-1:])
            self.place[own[-1]] = i
            return self.note(i, "the answer {} stood in a cell of your own; it was moved")
        for k in holders:
            given = self.release[self.place[k]] if k in self.place else None
            if (
                given is not None
                and is_locked(given)
                and not same(given.source, self.cells[k].source)
            ):
                self.fill(i, [k])
                return self.note(i, "the answer {} stood in the cell of a check; it was moved")
        if names <= set().union(*map(defines, self.kept())):
            self.sources[i] = f"# {', '.join(sorted(names))}: defined in another cell"
            self.note(i, "the answer {} was found in another cell")

    def kept(self) -> list[str]:
        """The sources in which something of the student's own may stand."""
        own = [self.cells[k].source for k in self.unknown() if k not in self.dropped]
        filled = [s for i, s in self.sources.items() if not same(s, self.release[i].source)]
        return own + filled

    def find_words(self, i: int) -> None:
        """An answer in words may stand in cells below the place that was meant for it."""
        start = max((k for k, at in self.place.items() if at <= i), default=-1) + 1
        end = min((k for k, at in self.place.items() if at > i and k >= start), default=None)
        found = [
            k
            for k in range(start, len(self.cells) if end is None else end)
            if self.cells[k].kind != "code" and self.cells[k].source.strip()
            if k not in self.place and k not in self.dropped
        ]
        if found:
            self.fill(i, found)
            self.dropped.update(found)
            self.note(i, "the answer {} was found in cells of your own")

    # What is said and made

    def say_what_was_lost(self) -> None:
        """What was lost on the way and put back."""
        placed = set(self.place.values())
        if not placed & set(self.answers):
            self.notes.insert(
                0, "no answer of this lab was found: is it the notebook of another lab?"
            )
        elif not any(cell.grade_id for cell in self.cells):
            self.notes.insert(
                0, "the marks of graded cells were lost (by Colab?); they were put back"
            )
        gone = [i for i in range(len(self.release)) if i not in placed and i not in self.told]
        for i in gone:
            if i in self.answers and i not in self.sources:
                self.note(i, "the answer {} is not in the notebook")
            elif is_locked(self.release[i]):
                self.note(i, "the check {} was gone; it was put back")
        given = [i for i in gone if i not in self.told and self.release[i].cell_type == "code"]
        if given:
            self.notes.append(f"{len(given)} cells of the lab were gone; they were put back")
        order = [self.place[k] for k in sorted(self.place)]
        if any(a > b for a, b in zip(order, order[1:], strict=False)):
            self.notes.append("cells stood in another order; the lab's own order was used")

    def assembled(self) -> list[NotebookNode]:
        """The release's cells in their order, the student's own before those they stood before."""
        before: dict[int, list[Cell]] = {}
        own: list[Cell] = []
        for k, cell in enumerate(self.cells):
            if (at := self.place.get(k)) is not None:
                if at not in before:  # the first of several copies
                    before[at], own = own, []
            elif k not in self.dropped and cell.source.strip():
                own.append(cell)
        made: list[NotebookNode] = []
        for i, given in enumerate(self.release):
            made += map(extra, before.get(i, []))
            made.append(self.filled(i, given))
        made += map(extra, own)
        for count, cell in enumerate(c for c in made if c.id == "own-000"):
            cell.id = f"own-{count + 1:03d}"
        return made

    def filled(self, i: int, given: NotebookNode) -> NotebookNode:
        """A copy of the release's cell with what the student wrote in it."""
        cell = copy.deepcopy(given)
        if i in self.sources and not is_locked(given):
            cell.source = self.sources[i]
            if given.cell_type == "markdown" and self.pictures.get(i):
                cell.attachments = self.pictures[i]
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        return cell


def extra(cell: Cell) -> NotebookNode:
    """A cell of the student's own, with nothing but its text."""
    make = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}[cell.kind]
    made = make(cell.source, id="own-000")
    if cell.pictures and cell.kind == "markdown":
        made.attachments = cell.pictures
    return made


def aligned(
    missing: list[int], unknown: list[int], likeness: dict[tuple[int, int], float]
) -> list[tuple[int, int]]:
    """Pairs (cell, place) in the same order in both, with the largest sum of likeness."""
    best = [[0.0] * (len(unknown) + 1) for _ in range(len(missing) + 1)]
    for a, i in reversed(list(enumerate(missing))):
        for b, k in reversed(list(enumerate(unknown))):
            pair = likeness[i, k] and likeness[i, k] + best[a + 1][b + 1]
            best[a][b] = max(best[a + 1][b], best[a][b + 1], pair)
    pairs, a, b = [], 0, 0
    while a < len(missing) and b < len(unknown):
        if best[a][b] == best[a + 1][b]:
            a += 1
        elif best[a][b] == best[a][b + 1]:
            b += 1
        else:
            pairs.append((unknown[b], missing[a]))
            a, b = a + 1, b + 1
    return pairs


# Cells


def grade_id(cell: NotebookNode) -> str | None:
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def is_answer(cell: NotebookNode) -> bool:
    """Whether this is a cell of the release in which a student answers."""
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def is_locked(cell: NotebookNode) -> bool:
    """Whether the release's own text stands whatever a student writes: a check or a test."""
    marks = cell.metadata.get("nbgrader", {})
    return not marks.get("solution") and bool(marks.get("locked") or marks.get("grade"))


def defines(source: str) -> set[str]:
    """The functions and classes that a source defines, read without running or parsing it."""
    return set(re.findall(r"^(?:async[ \t]+def|def|class)[ \t]+(\w+)", source, re.MULTILINE))


def parses(source: str) -> bool:
    """Whether this is Python, its lines of IPython left aside."""
    lines = ("" if line.lstrip()[:1] in ("%", "!") else line for line in source.splitlines())
    try:
        ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def squeezed(source: str) -> str:
    """A source without what saving may change: trailing blanks and empty lines at the ends."""
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def same(a: str, b: str) -> bool:
    return squeezed(a) == squeezed(b)
