"""What a class run leaves behind: progress, table, page of figures, spreadsheets, feedback pages.

Every text that a student can have written is escaped or cleaned where it enters a page, and a
page allows no script at all.
"""

import base64
import csv
import html
import io
import itertools
import keyword
import re
import statistics
import sys
import time
import tokenize
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import bleach
import nbformat
import numpy as np
from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from gmlib.grade import intake

LISTED = 60  # rows of the table on a terminal; a larger class shows only what needs a look
GRAM = 6  # tokens in a row that are compared between submissions
TYPICAL = 0.05  # of the class: what more students wrote is held to be the usual way
GRAMS = 12  # own rows of tokens that a submission needs before it is compared
NEAR = 0.8  # of the smaller submission's own tokens found in the other's
PAIRS = 50
MARKDOWN_CHARACTERS = 20_000  # longer texts are shown as they are
PAGE_SECONDS = 10.0  # of cleaning for one page; what is left then is shown as it is
POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'; "
    "base-uri 'none'\">"
)


class Score(NamedTuple):
    """A graded cell of one student. `points` is None until somebody has graded it."""

    points: float | None
    of: float
    waits: bool


class Row(NamedTuple):
    """One student of the table."""

    student: str
    name: str
    email: str
    number: str
    scores: dict[str, Score]
    late: bool
    seconds: float | None
    problem: str | None
    again: bool  # the problem is the grader's own, and the next run tries again
    flags: list[str]
    notes: list[str]
    words: dict[str, str]
    prints: dict[str, str]

    @classmethod
    def make(
        cls,
        student: str,
        person: Mapping[str, str],
        scores: dict[str, Score] | None,
        record: Mapping[str, Any],
    ) -> "Row":
        return cls(
            student,
            person.get("name") or student,
            person.get("email", ""),
            person.get("number", ""),
            scores or {},
            bool(record.get("late")),
            record.get("seconds"),
            record.get("problem"),
            bool(record.get("again")),
            list(record.get("flags", [])),
            list(record.get("notes", [])),
            dict(record.get("words", {})),
            dict(record.get("prints", {})),
        )

    @property
    def so_far(self) -> float | None:
        """The points given until now; None where there are none."""
        given = [s.points for s in self.scores.values() if s.points is not None]
        return sum(given) if given else None

    @property
    def total(self) -> float | None:
        """All points; None while a part of them has yet to be given."""
        if not self.scores or any(s.points is None for s in self.scores.values()):
            return None
        return self.so_far

    @property
    def of(self) -> float:
        return sum(s.of for s in self.scores.values())

    def remarks(self) -> list[str]:
        late = ["late"] if self.late else []
        problem = [f"not graded: {self.problem}"] if self.problem else []
        return problem + late + self.flags + self.notes


# While it runs


class Progress:
    """A line that is written over on a terminal, and a line a submission elsewhere."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self.total, self.say, self.done, self.bad = total, say, 0, 0
        self.start, self.live = time.monotonic(), sys.stderr.isatty()

    def step(self, student: str, record: Mapping[str, Any]) -> None:
        self.done += 1
        self.bad += bool(record.get("problem"))
        if self.live:
            print(f"\r\x1b[K{self.line()}", end="", file=sys.stderr, flush=True)
        else:
            found = record.get("problem") or f"{sum(record.get('points', {}).values()):g} points"
            self.say(printable(f"{self.done} of {self.total}  {student}: {found}"))

    def line(self) -> str:
        """Counts, and the time that is left at the speed so far."""
        passed = time.monotonic() - self.start
        left = passed / max(self.done, 1) * (self.total - self.done)
        minutes, seconds = divmod(round(left), 60)
        bad = f", {self.bad} not gradable" if self.bad else ""
        return f"{self.done} of {self.total} done{bad}, about {minutes}:{seconds:02d} left"

    def end(self) -> None:
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Text that does nothing to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


# The table


def exercises(rows: Sequence[Row]) -> dict[str, float]:
    """The graded cells and what they are worth."""
    return {name: s.of for row in rows for name, s in row.scores.items()}


def table(rows: Sequence[Row]) -> str:
    """The class as text: a row a student, a column an exercise."""
    shown = list(rows)
    if len(rows) > LISTED:
        shown = [row for row in rows if row.problem or row.flags][:LISTED]
    names = exercises(rows)
    lines = [["student", *(n.removesuffix("_test") for n in names), "total", "s", ""]]
    for row in shown:
        points = [_number(row.scores[n].points if n in row.scores else None) for n in names]
        points = [p or ("to read" if row.scores else "-") for p in points]
        seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
        remarks = printable("; ".join(row.remarks()))
        lines.append([printable(row.student), *points, _number(row.so_far), seconds, remarks])
    lines.append(["of", *map(_number, names.values()), _number(sum(names.values())), "", ""])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join([first.ljust(widths[0]), *map(str.rjust, middle, widths[1:-1]), last]).rstrip()
        for first, *middle, last in lines
    )
    hidden = len(rows) - len(shown)
    return text + (f"\n… and {hidden} more, in grades.csv" if hidden else "")


def summary(rows: Sequence[Row]) -> str:
    """Counts, in one line."""
    parts = [f"{sum(bool(r.scores) and not r.problem for r in rows)} graded"]
    for count, words in (
        (sum(bool(r.problem) for r in rows), "not gradable"),
        (sum(any(s.points is None for s in r.scores.values()) for r in rows), "wait for a person"),
        (sum(bool(r.flags) for r in rows), "with something to look at"),
    ):
        parts += [f"{count} {words}"] if count else []
    return ", ".join(parts)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


# Spreadsheets


def spreadsheets(rows: Sequence[Row], lab: str, folder: Path) -> list[Path]:
    """grades.csv, canvas.csv and moodle.csv. What is not graded is empty, never 0."""
    names = exercises(rows)
    most = sum(names.values())
    grades = [
        {
            "student": row.student, "name": row.name, "email": row.email,
            **{n: _number(row.scores[n].points if n in row.scores else None) for n in names},
            "points so far": _number(row.so_far), "total": _number(row.total),
            "late": "late" if row.late else "", "remarks": "; ".join(row.remarks()),
        }
        for row in rows
    ]  # fmt: skip
    canvas = [
        {
            "Student": row.name, "ID": row.number, "SIS User ID": "",
            "SIS Login ID": row.email or row.student, "Section": "", lab: _number(row.total),
        }
        for row in rows
    ]  # fmt: skip
    points = dict.fromkeys(canvas[0] if canvas else (), "") | {
        "Student": "    Points Possible", lab: _number(most),
    }  # fmt: skip
    moodle = [
        {
            "Identifier": f"Participant {row.number}" if row.number else "",
            "Full name": row.name, "Email address": row.email,
            "Status": "Submitted for grading" + (" - late" if row.late else ""),
            "Grade": _number(row.total), "Maximum Grade": _number(most),
            "Feedback comments": "; ".join(row.remarks()),
        }
        for row in rows
    ]  # fmt: skip
    made = []
    for name, lines in {"grades": grades, "canvas": [points, *canvas], "moodle": moodle}.items():
        if rows:
            made.append(folder / f"{name}.csv")
            with open(made[-1], "w", newline="", encoding="utf-8-sig") as file:
                sheet = csv.DictWriter(file, lines[0], quoting=csv.QUOTE_ALL)
                sheet.writerow({column: column for column in lines[0]})
                sheet.writerows({c: guarded(v) for c, v in line.items()} for line in lines)
    return made


def guarded(value: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    value = "".join(c if c.isprintable() else " " for c in value)
    return f"'{value}" if value.lstrip()[:1] in tuple("=+-@|%") and value.lstrip() else value


# What students have in common


def mistakes(rows: Iterable[Row], most: int = 5) -> dict[str, list[tuple[str, int]]]:
    """By exercise, the messages that came most often, their numbers left out."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        for name, words in row.words.items():
            said = {re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "#", s) for s in words.splitlines()[:5]}
            counts[name].update(line.strip()[:200] for line in said if line.strip())
    return {name: found.most_common(most) for name, found in counts.items()}


def prints(notebook: NotebookNode) -> dict[str, str]:
    """By answer, hashes of its rows of tokens, names of variables left out; as base64."""
    return {
        intake.grade_id(cell): base64.b64encode(_grams(cell.source).tobytes()).decode()
        for cell in notebook.cells
        if intake.is_answer(cell) and cell.cell_type == "code"
    }


def _grams(source: str) -> np.ndarray:
    tokens = list(itertools.islice(_tokens(source[:20_000]), 5_000))
    rows = zip(*(tokens[i:] for i in range(GRAM)), strict=False)
    return np.unique(np.array([zlib.crc32("\0".join(r).encode()) for r in rows], np.uint32))


def _tokens(source: str) -> Iterable[str]:
    """Tokens without comments, layout and strings; a variable is v, whatever its name."""
    before = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME:
                known = keyword.iskeyword(token.string) or before == "."
                yield token.string if known else "v"
            elif token.type in (tokenize.OP, tokenize.NUMBER):
                yield token.string
            before = token.string
    except (tokenize.TokenError, SyntaxError):
        return


class Pair(NamedTuple):
    """Two submissions that are worth a look beside each other."""

    first: str
    second: str
    share: float
    answers: list[str]


def near_identical(rows: Sequence[Row], given: Sequence[Mapping[str, str]]) -> list[Pair]:
    """Pairs that share most of what is neither given, nor the solution's, nor common in class.

    Args:
        given: `prints` of the release and of the solution.
    """
    usual = [_loaded(text) for known in given for text in known.values()]
    names = sorted({name for row in rows for name in row.prints})
    kept = []  # (rows of tokens, whose, in which answer), as three long columns
    for i, row in enumerate(rows):
        for name, text in row.prints.items():
            grams = np.setdiff1d(_loaded(text), np.concatenate(usual or [_loaded("")]))
            kept.append([grams, np.full(len(grams), i), np.full(len(grams), names.index(name))])
    if not kept:
        return []
    grams, who, answer = (np.concatenate(column) for column in zip(*kept, strict=True))
    order = np.argsort(grams, kind="stable")
    starts = np.flatnonzero(np.diff(grams[order].astype(np.int64), prepend=-1))
    most = max(3, round(TYPICAL * len(rows)))
    own, shared, answers = Counter(), Counter(), defaultdict(set)
    for group in np.split(order, starts[1:]):
        people = sorted(set(who[group].tolist()))
        if 0 < len(people) <= most:
            own.update(people)
            for pair in itertools.combinations(people, 2):
                shared[pair] += 1
                answers[pair].add(names[answer[group[0]]])
    found = []
    for (i, j), count in shared.items():
        least = min(own[i], own[j])
        if least >= GRAMS and count >= NEAR * least:
            alike = sorted(answers[i, j])
            found.append(Pair(rows[i].student, rows[j].student, count / least, alike))
    return sorted(found, key=lambda p: (-p.share, p.first, p.second))[:PAIRS]


def _loaded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint32)


# The page of figures

STYLE = """
:root { color-scheme: light dark; --bar: #3b73b9; --line: #8886; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem }
.wide { overflow-x: auto } table { border-collapse: collapse }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
rect { fill: var(--bar) } text { fill: currentColor; font-size: 12px }
"""


def page(rows: Sequence[Row], lab: str, pairs: Sequence[Pair]) -> str:
    """The report: one file that needs nothing beside it and runs no script."""
    names = exercises(rows)
    parts = [
        f"<h1>{_e(lab)}</h1><p>{_e(summary(rows))}.</p>",
        "<h2>Totals</h2>", _histogram([r.so_far for r in rows], sum(names.values())),
        "<h2>Points per exercise</h2>", _exercise_table(rows, names),
        "<h2>Common mistakes</h2>", _mistake_table(rows),
        "<h2>Pairs worth a look</h2>", _pair_table(pairs),
        "<h2>All submissions</h2>", _row_table(rows, names),
    ]  # fmt: skip
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{POLICY}'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_e(lab)}: grades</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _histogram(totals: Iterable[float | None], most: float) -> str:
    """How many students have how many points, as bars."""
    given = [t for t in totals if t is not None]
    if not given or most <= 0:
        return "<p>No points yet.</p>"
    bins = max(1, min(20, round(most)))
    counts = Counter(min(bins - 1, int(t / most * bins)) for t in given)
    top, width = max(counts.values()), 760 / bins
    bars = []
    for i in range(bins):
        height = 150 * counts[i] / top
        left, span = 20 + i * width, f"{i * most / bins:g} to {(i + 1) * most / bins:g} points"
        bars.append(
            f'<rect x="{left:.1f}" y="{170 - height:.1f}" width="{width - 2:.1f}" '
            f'height="{height:.1f}"><title>{span}: {counts[i]}</title></rect>'
            f'<text x="{left:.1f}" y="188">{i * most / bins:g}</text>'
            + (
                f'<text x="{left:.1f}" y="{165 - height:.1f}">{counts[i]}</text>'
                if counts[i]
                else ""
            )
        )
    words = f"median {statistics.median(given):g}, mean {statistics.mean(given):.1f} of {most:g}"
    return (
        f'<svg viewBox="0 0 800 200" role="img" aria-label="histogram of totals: {words}">'
        f"{''.join(bars)}</svg><p>Points so far: {words}.</p>"
    )


def _exercise_table(rows: Sequence[Row], names: Mapping[str, float]) -> str:
    lines = []
    for name, most in names.items():
        scores = [row.scores[name] for row in rows if name in row.scores]
        given = [s.points for s in scores if s.points is not None]
        mean = statistics.mean(given) if given else 0.0
        width = f"{160 * mean / (most or 1):.0f}"
        bar = f'<svg width="160" height="12"><rect width="{width}" height="12"/></svg>'
        shares = [sum(p >= most for p in given), sum(p <= 0 for p in given)]
        numbers = [f"{mean:.2f}", f"{most:g}", *shares, len(scores) - len(given)]
        lines.append([name.removesuffix("_test"), *numbers, bar])
    head = ["exercise", "mean", "of", "full points", "none", "to read", ""]
    return _table(head, lines, numbers=range(1, 6), raw=(6,))


def _mistake_table(rows: Sequence[Row]) -> str:
    lines = [
        [name.removesuffix("_test"), count, words]
        for name, found in sorted(mistakes(rows).items())
        for words, count in found
    ]
    return _table(["exercise", "students", "what the test said"], lines, numbers=(1,))


def _pair_table(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return "<p>None: no two submissions share much that is not usual.</p>"
    lines = [[p.first, p.second, f"{p.share:.0%}", ", ".join(p.answers)] for p in pairs]
    told = (
        "<p>Alike in what is neither given nor the usual way to write it. "
        "That is a reason to read both, not a proof.</p>"
    )
    return told + _table(["student", "student", "alike", "answers"], lines, numbers=(2,))


def _row_table(rows: Sequence[Row], names: Mapping[str, float]) -> str:
    head = ["student", *(n.removesuffix("_test") for n in names), "so far", "s", "remarks"]
    lines = [
        [
            row.student,
            *(_number(row.scores[n].points if n in row.scores else None) for n in names),
            _number(row.so_far),
            "" if row.seconds is None else f"{row.seconds:.1f}",
            "; ".join(row.remarks()),
        ]
        for row in rows
    ]
    return _table(head, lines, numbers=range(1, len(names) + 3))


def _table(
    head: Sequence[Any],
    lines: Sequence[Sequence[Any]],
    numbers: Iterable[int],
    raw: Sequence[int] = (),
) -> str:
    if not lines:
        return "<p>None.</p>"
    right = set(numbers)

    def cells(values: Sequence[Any], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if i in right else ''}>"
            f"{value if i in raw and tag == 'td' else _e(str(value))}</{tag}>"
            for i, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells(line, 'td')}</tr>\n" for line in lines)
    return f'<div class="wide"><table><tr>{cells(head, "th")}</tr>\n{body}</table></div>'


def _e(text: str) -> str:
    return html.escape(intake.clean(text))


# Feedback pages

TAGS = bleach.ALLOWED_TAGS | set(
    "p br hr h1 h2 h3 h4 h5 h6 pre div span table thead tbody tr th td img sup sub dl dt dd "
    "del s details summary caption".split()
)
PICTURE = re.compile(r"data:image/(png|jpeg|gif);base64,[A-Za-z0-9+/=\s]*")


def set_feedback(config: Any) -> None:
    """Have nbgrader's feedback pages made with nothing of a student's that could run."""
    from nbgrader.preprocessors import ClearHiddenTests

    given = list(config.GenerateFeedback.get("preprocessors", []))
    if Harmless in given:
        return
    names = [p if isinstance(p, str) else p.__name__ for p in given]
    if not any(name.endswith("GetGrades") for name in names):
        given.insert(0, "nbgrader.preprocessors.GetGrades")
    if not any(name.endswith("ClearHiddenTests") for name in names):
        given.insert(1, ClearHiddenTests)
    config.GenerateFeedback.preprocessors = [*given[:-1], Harmless, given[-1]]
    config.HTMLExporter.filters = {"markdown2html": harmless_markdown}


class Harmless(NbGraderPreprocessor):
    """Of a student's outputs, keep text, pictures and plain HTML."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = harmless_outputs(cell.outputs)
        return nb, resources


def harmless_outputs(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """The outputs without scripts, widgets, drawings that could hold them, and hints to a page."""
    for output in outputs:
        if output.output_type in ("execute_result", "display_data"):
            output.metadata = NotebookNode()
            data = {k: "".join(v) for k, v in output.data.items() if isinstance(v, str | list)}
            kept = {k: data[k] for k in ("text/plain", "text/latex") if k in data}
            for kind in intake.PICTURES:
                if re.fullmatch(r"[A-Za-z0-9+/=\s]+", data.get(kind, "")):
                    kept[kind] = data[kind]
            for kind in ("text/html", "text/markdown"):
                if kind in data:
                    kept[kind] = cleaned(data[kind])
            output.data = NotebookNode(kept)
    return list(outputs)


_until = float("inf")


def start_page() -> None:
    """Begin the time that texts of one page may take."""
    global _until
    _until = time.process_time() + PAGE_SECONDS


def _is_too_much(text: str) -> bool:
    return len(text) > MARKDOWN_CHARACTERS or time.process_time() > _until


def cleaned(text: str) -> str:
    """HTML with nothing left that runs, loads or covers."""
    if _is_too_much(text):
        return f"<pre>{_e(text)}</pre>"
    return bleach.clean(
        text, tags=TAGS, attributes=_allowed, protocols=["http", "https", "mailto", "data"]
    )


def _allowed(tag: str, name: str, value: str) -> bool:
    if tag == "img" and name == "src":
        return bool(PICTURE.fullmatch(value))
    if tag == "a" and name == "href":
        return not value.strip().lower().startswith("data")
    if name == "class":
        return tag in ("span", "div", "pre", "code")
    return name in ("alt", "title", "colspan", "rowspan", "align", "width", "height")


@pass_context
def harmless_markdown(context: Any, source: str) -> str:
    """nbconvert's Markdown, cleaned."""
    if _is_too_much(source):
        return f"<pre>{_e(source)}</pre>"
    pictures = context.get("cell", {}).get("attachments") or {}
    if pictures:
        return _rendered.__wrapped__(source, pictures)
    return _rendered(source, None)


@lru_cache(maxsize=512)
def _rendered(source: str, pictures: Mapping[str, Mapping[str, str]] | None) -> str:
    renderer = IPythonRenderer(escape=False, attachments=pictures or {}, exclude_anchor_links=True)
    try:
        return cleaned(MarkdownWithMath(renderer=renderer).render(source))
    except Exception:  # a text that was made to break the parser
        return f"<pre>{_e(source)}</pre>"


def closed(page: str) -> str:
    """A feedback page that may run and load nothing: no script in its head, a strict policy."""
    head, mark, body = page.partition("<body")
    head = re.sub(r"<script\b.*?</script>", "", head, flags=re.DOTALL | re.IGNORECASE)
    return head.replace("<head>", f"<head>{POLICY}", 1) + mark + body


def write_refusal(path: Path, lab: str, record: Mapping[str, Any]) -> None:
    """The feedback page of a file that could not be graded: why, and what to do."""
    lines = [record["problem"], *record.get("notes", [])]
    items = "".join(f"<li>{_e(line)}</li>" for line in lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{POLICY}'
        f"<title>{_e(lab)}</title><style>{STYLE}</style></head><body><h1>{_e(lab)}</h1>"
        f"<p>What you handed in could not be graded, and has no points yet:</p><ul>{items}</ul>"
        "<p>Open your notebook in Jupyter, save it, and hand it in again.</p></body></html>\n"
    )


def write(rows: Sequence[Row], lab: Any, folder: Path) -> list[Path]:
    """The page of figures and the spreadsheets, into `folder`; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    given = [prints(nbformat.reads(text, as_version=4)) for text in (lab.release, lab.source)]
    path = folder / "report.html"
    path.write_text(page(rows, lab.id, near_identical(rows, given)))
    return [path, *spreadsheets(rows, lab.id, folder)]
