"""A class in which nearly everybody attacks the grader: nothing is earned, leaked or harmed."""

import hashlib
import html
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import psutil
import pytest

from gmlib.grade import collect, report, sandbox
from gmlib.grade.classroom import Course, Settings, grade
from gmlib.grade.lab import Lab
from gmlib.grade.verdict import Limits
from tests import attacks
from tests.attacks import snoop, zips
from tests.attacks.page import acts

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")

ROOT = Path(__file__).resolve().parents[1]
LAB = attacks.LAB
CORPUS = attacks.corpus()
SECRET = re.compile(attacks.SECRET)
LIMITS = Limits(cell_seconds=6, total_seconds=60, memory=3 << 30, disk=64 << 20)
# What an attack may leave where it should not: files, and processes by a word of their command.
LEFT = ("PWNED", "98765", "98766")


class Class(NamedTuple):
    """What a run over the class left behind."""

    root: Path
    rows: dict[str, report.Row]
    said: str
    before: dict[str, str]
    called: list[bytes]  # what reached the sockets that nobody should reach


def make_course(root: Path) -> None:
    """A course of one lab, with canaries in all that no student may see."""
    shutil.copy(ROOT / "nbgrader_config.py", root)
    shutil.copytree(ROOT / "notebooks" / LAB, root / "notebooks" / LAB)
    secret = nbformat.read(ROOT / "solutions" / LAB / attacks.FILE, 4)
    for cell in secret.cells:
        for mark, kind in (("BEGIN SOLUTION", "SOLUTION"), ("BEGIN HIDDEN TESTS", "TESTS")):
            canary = rf"\1\2\n\1# {attacks.CANARY.format(kind)}"
            cell.source = re.sub(rf"(?m)^( *)(### {mark})$", canary, cell.source)
    (root / "solutions" / LAB).mkdir(parents=True)
    nbformat.write(secret, root / "solutions" / LAB / attacks.FILE)


def hand_in(root: Path, corpus: dict[str, attacks.Attack]) -> None:
    for name, one in corpus.items():
        folder = root / "submitted" / name / LAB
        folder.mkdir(parents=True)
        one.place(folder)
    other = attacks.Book(("kl_to_prior",))
    other.add(f"# {attacks.CANARY.format('OTHER')}")
    folder = root / "submitted" / "zz_other" / LAB
    folder.mkdir(parents=True)
    (folder / attacks.FILE).write_bytes(other.bytes())


def fingerprint(root: Path) -> dict[str, str]:
    """All files of the course that grading has no business to change."""
    found = {}
    for folder in ("solutions", "notebooks", "submitted"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 30:
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted((ROOT / "gmlib").rglob("*.py")):
        found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def called() -> Iterator[list[bytes]]:
    """Listens where an attack calls home; what was heard."""
    heard: list[bytes] = []
    lines = [socket.socket(), socket.socket(socket.AF_UNIX)]
    for line, address in zip(lines, (("127.0.0.1", attacks.PORT), "\0gmlib-attack"), strict=True):
        line.bind(address)
        line.listen()

        def listen(line: socket.socket = line) -> None:
            while True:
                try:
                    heard.append(line.accept()[0].recv(100))
                except OSError:
                    return

        threading.Thread(target=listen, daemon=True).start()
    yield heard
    for line in lines:
        line.close()


@pytest.fixture(scope="module")
def graded(called: list[bytes]) -> Iterator[Class]:
    # Not pytest's folder: only the owner may read that, which would hide a hole.
    root = Path(tempfile.mkdtemp(prefix="course-", dir="/var/tmp"))
    root.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GMLIB_CANARY", attacks.CANARY.format("ENVIRONMENT"))
        make_course(root)
        hand_in(root, CORPUS)
        course, said, before = Course.read(root), [], fingerprint(root)
        course.config.CourseDirectory.course_id = attacks.CANARY.format("BOOK")
        rows = grade(course, Lab.read(LAB, root), Settings(workers=2, limits=LIMITS), said.append)
        report.write(rows, Lab.read(LAB, root), root / "report")
        said.append(report.table(rows))
        yield Class(root, {row.student: row for row in rows}, "\n".join(said), before, called)
    shutil.rmtree(root, ignore_errors=True)


def row_of(graded: Class, name: str) -> report.Row:
    return graded.rows[collect.plain_id(name)]


def words_about(row: report.Row) -> str:
    return "\n".join([*row.remarks(), *row.words.values()])


def pages(graded: Class) -> dict[str, str]:
    """By student, the feedback page; and the report."""
    found = {p.parent.parent.name: p.read_text() for p in graded.root.glob("feedback/*/*/*.html")}
    return found | {"the report": (graded.root / "report" / "report.html").read_text()}


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page))


@pytest.mark.parametrize("name", CORPUS)
def test_earns_what_its_honest_part_deserves(graded: Class, name: str) -> None:
    row = row_of(graded, name)
    earned = {test: score.points or 0.0 for test, score in row.scores.items() if test != "words"}
    expected = CORPUS[name].points()
    assert {**dict.fromkeys(expected, 0.0), **earned} == expected, words_about(row)
    assert re.search(CORPUS[name].says, words_about(row)), words_about(row)


def test_every_submission_has_a_row_and_a_page(graded: Class) -> None:
    students = {collect.plain_id(name) for name in (*CORPUS, "zz_other")}
    assert set(graded.rows) == students
    assert set(pages(graded)) == students | {"the report"}


def test_what_was_lost_is_said_in_words(graded: Class) -> None:
    for name in CORPUS:
        row = row_of(graded, name)
        for test, score in row.scores.items():
            if test != "words" and score.points is not None and score.points < score.of:
                assert row.words.get(test), f"{name} is not told why {test} has {score.points:g}"
        said = words_about(row)
        assert len(said) < 20_000 and said.isprintable() or "\n" in said
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", said), name


def test_nothing_leaks(graded: Class) -> None:
    files = [*graded.root.glob("feedback/**/*"), *graded.root.glob("report/*")]
    texts = {str(f): f.read_bytes().decode("utf-8", "replace") for f in files if f.is_file()}
    texts["the terminal"] = graded.said
    for row in graded.rows.values():
        texts[f"the words about {row.student}"] = json.dumps([row.remarks(), row.words])
    for name, text in texts.items():
        if "zz_other" in name:
            continue
        found = SECRET.search(text) or SECRET.search(text_of(text))
        assert not found, f"{name}: {text[max(0, found.start() - 300) : found.end() + 100]}"


def test_snoops_know_a_secret_when_they_see_one(capsys: pytest.CaptureFixture[str]) -> None:
    kit: dict[str, Any] = {}
    exec(snoop.SHOW, kit)
    for secret in (attacks.CANARY.format("TESTS"), "x = 1  # almost the " + "prior"):
        kit["show"](secret, "here")
        assert SECRET.search(capsys.readouterr().out)
    kit["show"](snoop.SHOW)
    assert not capsys.readouterr().out


def test_feedback_shows_no_line_of_a_hidden_test(graded: Class) -> None:
    tests = Lab.read(LAB, graded.root).tests().values()
    hidden = {line.strip() for test in tests for line in test.splitlines()[2:]}
    hidden = {line for line in hidden if len(line) > 40}
    for student, page in pages(graded).items():
        text = text_of(page)
        leaked = {line for line in hidden if line in text}
        assert not leaked, f"{student} sees {leaked}"


def test_pages_run_nothing_of_a_student(graded: Class) -> None:
    for student, page in pages(graded).items():
        assert not acts(page), f"the page of {student}: {acts(page)}"


def test_browser_runs_nothing_of_a_student(graded: Class, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    wanted: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: wanted.append(request.url))
        page.on("dialog", lambda dialog: dialog.dismiss())
        for file in [*graded.root.glob("feedback/*/*/*.html"), graded.root / "report/report.html"]:
            page.add_init_script("window.PWNED = () => { window.ran = true }")
            page.goto(file.as_uri())
            assert not page.evaluate("window.ran === true"), f"{file} ran a student's script"
        browser.close()
    assert not [url for url in wanted if "pwned" in url.lower() and "file:" not in url]


def test_nothing_is_harmed(graded: Class) -> None:
    assert fingerprint(graded.root) == graded.before
    assert not graded.called, "an attack reached a socket of this machine"
    for folder in ("/tmp", "/var/tmp", "/dev/shm", str(Path.home()), str(ROOT), sys.prefix):
        assert not [f for f in os.listdir(folder) if "PWNED" in f], folder
    inside = {p.name for p in graded.root.rglob("*PWNED*") if "submitted" not in p.parts}
    names = {name for row in graded.rows for name in (row, f"{row}.json")}
    assert inside <= names, "a file that is not called after a student"


def test_nothing_stays_behind(graded: Class) -> None:
    deadline = time.monotonic() + 10
    while left := still_running():
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def still_running() -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = " ".join(process.info["cmdline"] or [])
        if any(mark in words for mark in LEFT) and process.pid != os.getpid():
            found.append(words)
    return found


def test_gradebook_is_intact(graded: Class) -> None:
    import sqlite3

    with sqlite3.connect(f"file:{graded.root / 'gradebook.db'}?mode=ro", uri=True) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        students = {row for (row,) in base.execute("SELECT id FROM student")}
        manual = base.execute("SELECT count(*) FROM grade WHERE manual_score IS NOT NULL")
        assert manual.fetchone() == (0,)
        grades = base.execute("SELECT count(*), max(auto_score) FROM grade").fetchone()
    assert students == {collect.plain_id(name) for name in (*CORPUS, "zz_other")}
    graded_rows = [row for row in graded.rows.values() if row.scores]
    assert grades == (sum(len(row.scores) for row in graded_rows), 2.0)


def test_no_submission_takes_longer_than_its_limits(graded: Class) -> None:
    slow = {r.student: r.seconds for r in graded.rows.values() if r.seconds}
    assert max(slow.values()) < sandbox.PATIENCE * LIMITS.total_seconds + 15, slow


def test_spreadsheets_hold_no_formula(graded: Class) -> None:
    for file in graded.root.glob("report/*.csv"):
        text = file.read_text("utf-8-sig")
        assert not re.search(r'(?m)(^|[,"])[=+@-][A-Za-z(]', text), file.name
        assert "\x1b" not in text and "\x00" not in text


def test_a_second_run_judges_nothing_again(graded: Class) -> None:
    course = Course.read(graded.root)
    course.config.CourseDirectory.course_id = attacks.CANARY.format("BOOK")
    settings = Settings(workers=1, limits=LIMITS)
    rows = grade(course, Lab.read(LAB, graded.root), settings, lambda line: None, judged_again)
    assert {row.student: row.scores for row in rows} == {
        student: row.scores for student, row in graded.rows.items()
    }


def judged_again(*arguments: Any) -> dict[str, Any]:
    raise AssertionError("judged again")


# Archives


@pytest.mark.parametrize("write", (zips.canvas, zips.moodle), ids=("canvas", "moodle"))
def test_archive(write: Any, tmp_path: Path) -> None:
    make_course(tmp_path)
    expected = write(tmp_path / "handed_in.zip")
    settings = Settings(source=tmp_path / "handed_in.zip", workers=2, limits=LIMITS)
    rows = grade(Course.read(tmp_path), Lab.read(LAB, tmp_path), settings, lambda line: None)
    found = {row.name: row for row in rows}
    for name, earns in expected.items():
        scores = found[name].scores
        assert {t: scores[f"{t}_test"].points for t in earns} == earns, name
    got = {name for name, row in found.items() if any(s.points for s in row.scores.values())}
    assert got == {name for name, earns in expected.items() if any(earns.values())}
    names = {name for row in rows for name in (row.student, f"{row.student}.json")}
    assert {p.name for p in tmp_path.rglob("*PWNED*")} <= names
    assert not [f for f in os.listdir("/tmp") if "PWNED" in f]


def test_archive_that_lies(tmp_path: Path) -> None:
    make_course(tmp_path)
    zips.lies(tmp_path / "handed_in.zip")
    settings = Settings(source=tmp_path / "handed_in.zip", workers=1, limits=LIMITS)
    rows = grade(Course.read(tmp_path), Lab.read(LAB, tmp_path), settings, lambda line: None)
    assert [row.problem is not None for row in rows] == [True]
