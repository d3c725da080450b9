"""A whole class: collected, judged (by a judge that runs nothing), written down, reported."""

import csv
import html
import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.api import Gradebook

from gmlib.grade import classroom, cli, collect, intake, report, workers
from gmlib.grade.lab import Lab
from tests import fake_judge
from tests.test_grade_intake import RELEASE, cell, making

ROOT = Path(__file__).resolve().parents[1]
LAB = making.LAB
SOLUTION = nbformat.read(ROOT / "solutions" / LAB / "vae.ipynb", 4)
KILLS = int(os.environ.get("GMLIB_TEST_KILLS", "5"))


def answered(share: float = 1.0, **sources: str) -> bytes:
    """A submission with the first `share` of the solution's answers, and these in particular."""
    notebook = making.answered(RELEASE, SOLUTION, share)
    for name, source in sources.items():
        cell(notebook, name).source = source
    return nbformat.writes(notebook).encode()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course whose gradebook knows the lab."""
    folder = tmp_path_factory.mktemp("made") / "course"
    for kind in ("solutions", "notebooks"):
        (folder / kind / LAB).mkdir(parents=True)
        shutil.copy(ROOT / kind / LAB / "vae.ipynb", folder / kind / LAB)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    book_of(folder).prepare()
    return folder


def book_of(course: Path) -> classroom.Book:
    lab = Lab.read(LAB, course)
    return classroom.Book(classroom.Course.around(course), lab, course / ".grading" / LAB)


def course_in(folder: Path, made: Path) -> Path:
    """A copy of it."""
    shutil.copytree(made, folder)
    book = book_of(folder)
    (folder / ".grading" / LAB / "assignment").write_text(f"{book.name} {book.lab.hash}")
    return folder


@pytest.fixture
def course(tmp_path: Path, made: Path) -> Path:
    return course_in(tmp_path / "course", made)


def hand_in(course: Path, student: str, data: bytes, name: str = "vae.ipynb") -> Path:
    path = course / "submitted" / student / LAB / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def grade(course: Path, work: Callable = fake_judge.judged, **settings: Any) -> dict[str, Any]:
    """Grade the lab; the rows by student. What was said is in `said`."""
    settings = {"workers": 2, "feedback": False} | settings
    said.clear()
    rows = classroom.grade(
        classroom.Course.around(course, settings.pop("db_url", None)),
        Lab.read(LAB, course),
        classroom.Settings(**settings),
        said.append,
        work,
    )
    return {row.student: row for row in rows}


said: list[str] = []


def never(*_: Any) -> dict[str, Any]:
    raise AssertionError("judged though nothing has changed")


def dump(course: Path, url: str | None = None) -> list[Any]:
    """All that a gradebook says, without its random keys."""
    with Gradebook(url or f"sqlite:///{course / 'gradebook.db'}") as book:
        students = [(s.id, s.last_name, s.lms_user_id) for s in book.students]
        grades = [
            (s.student.id, str(s.timestamp), g.name, g.auto_score, g.manual_score, g.extra_credit)
            + (g.needs_manual_grade, g.max_score)
            for s in book.assignment_submissions(LAB)
            for n in s.notebooks
            for g in n.grades
        ]
        comments = [
            (s.student.id, c.name, c.auto_comment, c.manual_comment)
            for s in book.assignment_submissions(LAB)
            for n in s.notebooks
            for c in n.comments
        ]
    return [sorted(map(str, part)) for part in (students, grades, comments)]


# The tree of nbgrader


def test_class_is_graded_once(course: Path) -> None:
    making.make(course / "submitted")
    rows = grade(course)
    assert set(rows) == set(making.STUDENTS)
    expected = fake_judge.judged(answered(), Lab.read(LAB, course), None, True)["outcome"]["points"]
    found = {n: s.points for n, s in rows["perfect"].scores.items() if n != "words"}
    assert found == expected
    assert rows["perfect"].scores["words"].points is None
    assert rows["perfect"].total is None
    assert rows["untouched"].total == 0
    before = dump(course)
    assert grade(course, never)["perfect"] == rows["perfect"]
    assert dump(course) == before


def test_what_changes_is_graded_again(course: Path) -> None:
    making.make(course / "submitted")
    grade(course)
    hand_in(course, "untouched", answered())
    rows = grade(course)
    assert rows["untouched"].so_far == rows["perfect"].so_far > 0
    assert grade(course, never, force=True)["perfect"].problem.startswith("the grader failed")


def test_a_failure_of_the_grader_is_tried_again(
    course: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    hand_in(course, "a", answered())
    hand_in(course, "b", b"no notebook")
    monkeypatch.chdir(course)
    whole = classroom.grade
    for work, code, words in (
        (never, 1, "the grader itself failed on 2"),
        (fake_judge.judged, 0, "1 graded, 1 not gradable"),
    ):
        monkeypatch.setattr(classroom, "grade", partial(whole, say=said.append, work=work))
        assert cli._grade(cli.parser().parse_args(["grade", LAB, "--unsafe"])) == code
        assert words in "".join(capsys.readouterr())


def test_bad_files_are_rows(course: Path) -> None:
    making.make(course / "submitted")
    link = hand_in(course, "link", b"")
    link.unlink()
    link.symlink_to(course / "solutions" / LAB / "vae.ipynb")
    pipe = hand_in(course, "pipe", b"")
    pipe.unlink()
    os.mkfifo(pipe)
    (course / "submitted" / "folder" / LAB / "vae.ipynb").mkdir(parents=True)
    (course / "submitted" / "nothing" / LAB).mkdir(parents=True)
    (course / "submitted" / "linked").symlink_to(course / "submitted" / "perfect")
    (course / "submitted" / "linked lab").mkdir()
    (course / "submitted" / "linked lab" / LAB).symlink_to(course / "submitted" / "perfect" / LAB)
    hand_in(course, "script", b"print(1)", "vae.py")
    hand_in(course, "json", b'{"cells": [')
    hand_in(course, "empty", b"")
    hand_in(course, "dies", answered(words="# end the worker"))
    hand_in(course, "raises", answered(words="# raise"))
    rows = grade(course, feedback=True)
    words = {
        "link": "link", "pipe": "not an ordinary", "folder": "folder", "nothing": "no notebook",
        "linked": "link", "linked lab": "not a folder", "script": "only vae.py",
        "json": "cut off", "empty": "empty", "dies": "process ended", "raises": "grader failed",
    }  # fmt: skip
    assert set(rows) == set(words) | set(making.STUDENTS)
    for student, word in words.items():
        assert word in rows[student].problem, student
        assert rows[student].so_far is None
        page = course / "feedback" / student / LAB / "vae.html"
        assert html.escape(rows[student].problem) in page.read_text()
    assert rows["perfect"].so_far > 0
    assert "\n" not in rows["raises"].problem


@pytest.mark.parametrize(
    "name",
    ["VAE.ipynb", "vae (1).ipynb", "vae-1.IPYNB", "22_vae.ipynb", "Copy of vae.ipynb", "x.ipynb"],
)
def test_names_of_files(course: Path, name: str) -> None:
    hand_in(course, "a", answered(), name)
    row = grade(course)["a"]
    assert row.so_far > 0
    assert name in row.notes[0]


def test_the_lab_s_own_name_counts_among_several(course: Path) -> None:
    hand_in(course, "a", answered(0), "vae (1).ipynb")
    hand_in(course, "a", answered(1), "vae.ipynb")
    hand_in(course, "a", answered(0), "notes.ipynb")
    row = grade(course)["a"]
    assert row.so_far > 0
    assert "3 notebooks" in row.notes[0]


def test_time_stamps(course: Path) -> None:
    for student, text in {
        "good": "2026-03-01 10:00:00.000000 UTC", "words": "soon", "late": "9999-01-01 00:00:00",
        "bytes": "\xff\xfe", "zone": "2026-03-01 10:00:00 +0900", "empty": "",
    }.items():  # fmt: skip
        path = hand_in(course, student, answered())
        path.with_name("timestamp.txt").write_bytes(text.encode("latin-1"))
    rows = grade(course)
    assert not any(row.problem for row in rows.values())
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        times = {s.student.id: s.timestamp for s in book.assignment_submissions(LAB)}
    assert str(times["good"]) == "2026-03-01 10:00:00"
    assert str(times["zone"]) == "2026-03-01 01:00:00"
    assert {s for s, t in times.items() if t is None} == {"words", "late", "bytes", "empty"}
    assert "time of handing in" in rows["words"].notes[0]


def test_names_of_students(course: Path) -> None:
    names = ["Kim 지우", "o'brien", "a[1]*", "x" * 200, "-rf", "=1+1", "é" * 90, "Alice", "alice"]
    for name in names:
        hand_in(course, name, answered())
    rows = grade(course, feedback=True)
    assert len(rows) == len(names)
    assert all(row.problem is None for row in rows.values())
    assert {"Kim 지우", "o'brien", "Alice", "alice"} <= set(rows)
    assert grade(course, never).keys() == rows.keys()


# A person's grades


def test_manual_grades_survive(course: Path) -> None:
    hand_in(course, "a", answered(words="An average is blurred."))
    hand_in(course, "b", answered(words="Nothing."))
    assert grade(course)["a"].total is None
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        for student, points in (("a", 1.5), ("b", 0.5)):
            given = book.find_grade("words", "vae", LAB, student)
            given.manual_score, given.needs_manual_grade = points, False
        book.find_comment("words", "vae", LAB, "a").manual_comment = "Well <b>said</b>"
        book.db.commit()
    rows = grade(course, never, feedback=True)
    assert rows["a"].scores["words"] == report.Score(1.5, 2.0, False)
    assert rows["a"].total == rows["a"].so_far
    assert "Well" in (course / "feedback" / "a" / LAB / "vae.html").read_text()
    before = dump(course)
    rows = grade(course, force=True)
    assert dump(course) == before
    hand_in(course, "a", answered(words="An average is blurred. And more."))
    rows = grade(course)
    assert rows["a"].scores["words"] == report.Score(1.5, 2.0, True)  # to be looked at again
    assert rows["b"].scores["words"] == report.Score(0.5, 2.0, False)


# Kills, and two at once


def test_killed_runs_end_as_an_undisturbed_one(tmp_path: Path, made: Path) -> None:
    """SIGKILL at random moments; GMLIB_TEST_KILLS says how many."""
    calm, killed = course_in(tmp_path / "calm", made), course_in(tmp_path / "killed", made)
    for course in (calm, killed):
        for i in range(8):
            hand_in(course, f"s{i}", answered(i / 8, words=f"# be slow {i}"))
        hand_in(course, "bad", b"{")
    start = time.monotonic()
    assert os.waitpid(grade_in_child(calm), 0)[1] == 0
    whole = time.monotonic() - start
    delays, hit = random.Random(0), 0
    for _ in range(KILLS):
        pid = grade_in_child(killed)
        time.sleep(delays.uniform(0, whole / 3))
        os.kill(pid, signal.SIGKILL)
        hit += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        if hit % 5 == 4:  # start over from what the kills have left
            shutil.rmtree(killed / ".grading" / LAB / "records", ignore_errors=True)
        if hit % 7 == 6:
            shutil.rmtree(killed / ".grading" / LAB / "outcomes", ignore_errors=True)
    rows = grade(killed, feedback=True)
    assert hit >= KILLS / 3, "most runs had ended before they were killed"
    assert dump(killed) == dump(calm)
    assert files(killed) == files(calm)
    assert [student for student, row in rows.items() if row.problem] == ["bad"]


def grade_in_child(course: Path) -> int:
    """Grade in a forked process, whose workers can't come from this process's fork server."""
    if pid := os.fork():
        return pid
    workers.START = "fork"
    status = 1
    try:
        grade(course, feedback=True)
        status = 0
    finally:
        os._exit(status)


def files(course: Path) -> dict[Path, bytes]:
    """What nbgrader has written for instructor and students."""
    return {
        path.relative_to(course): path.read_bytes()
        for kind in ("autograded", "feedback")
        for path in (course / kind).rglob("*")
        if path.is_file()
    }


def test_a_kill_amid_a_regrade_keeps_what_a_person_read(course: Path, monkeypatch: Any) -> None:
    hand_in(course, "a", answered(words="An average is blurred."))
    grade(course)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        given = book.find_grade("words", "vae", LAB, "a")
        given.manual_score, given.needs_manual_grade = 1.5, False
        book.db.commit()
    before = dump(course)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(classroom.Book, "keep_reviews", killed)
        with pytest.raises(KeyboardInterrupt):
            grade(course, force=True)
    assert dump(course) != before
    grade(course, force=True)
    assert dump(course) == before


def test_two_at_once_refuse(course: Path) -> None:
    hand_in(course, "a", answered())
    script = f"""
from pathlib import Path
from gmlib.grade import classroom
with classroom.locked(Path({str(course / ".grading")!r})):
    print("locked", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(classroom.Refused, match=f"another.*process {other.pid}"):
            grade(course)
        other.communicate(b"\n")
    assert grade(course)["a"].problem is None


def test_refusals(course: Path, tmp_path: Path) -> None:
    with pytest.raises(classroom.Refused, match="nothing to grade"):
        grade(course)
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(classroom.Refused, match="not a zip"):
        grade(course, source=tmp_path / "a.zip")
    with pytest.raises(classroom.Refused, match=r"nbgrader_config\.py"):
        classroom.Course.around(tmp_path)
    hand_in(course, "a", answered())
    with pytest.raises(classroom.Refused, match="gradebook does not open"):
        grade(course, db_url="sqlite:////nowhere/at/all.db")


# What an LMS hands out


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, (name, data) in enumerate(files.items()):
            archive.writestr(zipfile.ZipInfo(name, (2026, 3, 1, 10, i % 60, 0)), data)
    return path


def test_canvas(course: Path, tmp_path: Path) -> None:
    whole, half = answered(1.0), answered(0.5)
    source = zipped(
        tmp_path / "submissions.zip",
        {
            "doejane_101_9001_vae.ipynb": whole,
            "doejane_101_9000_vae-1.ipynb": half,
            "leekim_LATE_102_9002_vae.ipynb": whole,
            "parkmin_103_9003_VAE (1).ipynb": whole,
            "leekim_104_9004_vae.ipynb": whole,
            "fileonly_105_9005_report.pdf": b"%PDF",
        },
    )
    rows = grade(course, source=source)
    assert set(rows) == {"doejane", "leekim", "leekim_104", "parkmin", "fileonly"}
    expected = fake_judge.judged(half, Lab.read(LAB, course), None, True)["outcome"]["points"]
    assert rows["doejane"].so_far == sum(expected.values())
    assert "2 notebooks" in rows["doejane"].notes[0]
    assert [s for s, row in rows.items() if row.late] == ["leekim"]
    assert "only report.pdf" in rows["fileonly"].problem
    assert rows["doejane"].number == "101"
    assert grade(course, never, source=source).keys() == rows.keys()


def test_students_whom_the_gradebook_knows(course: Path, tmp_path: Path) -> None:
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        book.add_student("jd42", lms_user_id="101", first_name="Jane", last_name="Doe")
        book.add_student("LeeKim")
    files = {"doejane_101_9_vae.ipynb": answered(), "leekim_102_9_vae.ipynb": answered()}
    rows = grade(course, source=zipped(tmp_path / "s.zip", files))
    assert set(rows) == {"jd42", "LeeKim"}
    assert rows["jd42"].name == "Jane Doe"


def test_moodle(course: Path, tmp_path: Path) -> None:
    source = zipped(
        tmp_path / "Course-Lab-123.zip",
        {
            "Jane Doe_2001_assignsubmission_file_/vae.ipynb": answered(),
            "이 지우_2002_assignsubmission_file_/my vae.ipynb": answered(0.5),
            "Max_von_X_2003_assignsubmission_file_vae.ipynb": answered(),
            "No Body_2004_assignsubmission_file_/notes.txt": b"sorry",
            "__MACOSX/Jane Doe_2001_assignsubmission_file_/._vae.ipynb": b"\0",
        },
    )
    rows = grade(course, source=source)
    assert set(rows) == {"Jane Doe", "이 지우", "Max_von_X", "No Body"}
    assert rows["Jane Doe"].number == "2001"
    assert rows["이 지우"].problem is None
    assert "only notes.txt" in rows["No Body"].problem


def test_folders(course: Path, tmp_path: Path) -> None:
    files = {
        "alice.ipynb": "alice", "bob_vae.ipynb": "bob", "carol/vae.ipynb": "carol",
        "dave/22_vae/vae.ipynb": "dave", "22_vae/erin.ipynb": "erin",
        "all/frank/22_VAE/Vae.ipynb": "frank", ".ipynb_checkpoints/alice.ipynb": None,
        "roster.csv": None,
    }  # fmt: skip
    source = tmp_path / "handed in"
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(answered())
    (source / "link.ipynb").symlink_to(source / "alice.ipynb")
    rows = grade(course, source=source)
    assert set(rows) == {s for s in files.values() if s} | {"link"}
    assert "link" in rows["link"].problem


def test_hostile_zip(course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "FILE_BYTES", 2_000_000)
    path = zipped(
        tmp_path / "s.zip",
        {
            "bomb_1_1_vae.ipynb": b"[" + b" " * 50_000_000,
            "../../../etc/evil_2_1_vae.ipynb": answered(),
            "/abs/root_3_1_vae.ipynb": answered(),
            "..\\..\\win_4_1_vae.ipynb": answered(),
            "good_5_1_vae.ipynb": answered(),
        },
    )
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link_6_1_vae.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("damaged_7_1_vae.ipynb", answered())
    data = path.read_bytes()
    at = data.rindex(b"PK\x03\x04") + 200
    path.write_bytes(data[:at] + bytes(100) + data[at + 100 :])
    before = set(tmp_path.rglob("*"))
    rows = grade(course, source=path)
    assert set(rows) == {"bomb", "evil", "root", "win", "good", "link", "damaged"}
    assert {s for s, row in rows.items() if row.problem} == {"bomb", "link", "damaged"}
    assert "larger than" in rows["bomb"].problem
    assert "link" in rows["link"].problem
    assert all(course in p.parents for p in set(tmp_path.rglob("*")) - before)


# Workers


def test_results_are_taken_as_they_come_and_tasks_as_they_are_needed() -> None:
    given = []

    def tasks() -> Any:
        for i in range(20):
            given.append(i)
            yield workers.Task(f"s{i}", "", b"x" * i)

    pool = workers.Local(2, length, None, None, True)
    ahead = [len(given) - k for k, _ in enumerate(pool.results(tasks()))]
    assert len(ahead) == 20
    assert max(ahead) <= 8


def length(data: bytes, *_: Any) -> dict[str, Any]:
    return {"length": len(data)}


def test_no_worker_outlives_its_run(course: Path) -> None:
    hand_in(course, "a", answered(words="# wait for ever"))
    run = subprocess.Popen([sys.executable, "-m", "tests.fake_judge", str(course)], cwd=ROOT)
    pids = course / "pid"
    while not pids.exists() or not pids.read_text():
        assert run.poll() is None
        time.sleep(0.05)
    run.kill()
    run.wait()
    worker = int(pids.read_text())
    for _ in range(100):
        if not alive(worker):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker was still there ten seconds after its run was killed")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# A Dask cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Any:
    """A scheduler and two workers, each a process of its own: (address, the workers)."""
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    port = address.rpartition(":")[2]
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"], **quiet
    )
    command = [*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    command += ["--local-directory", str(tmp_path / "dask")]
    both = [subprocess.Popen(command, **quiet) for _ in range(2)]
    yield address, both
    for process in (*both, scheduler):
        process.kill()
        process.wait()


def test_dask_with_a_worker_killed_midway(course: Path, cluster: Any) -> None:
    address, both = cluster
    for i in range(30):
        hand_in(course, f"s{i:02d}", answered(words=f"# be slow {i}"))
    done = []

    def count(line: str) -> None:
        done.append(line)
        if len(done) == 3:
            both[0].kill()

    rows = classroom.grade(
        classroom.Course.around(course),
        Lab.read(LAB, course),
        classroom.Settings(scheduler=address, feedback=False),
        count,
        fake_judge.judged,
    )
    assert len(rows) == 30
    assert not any(row.problem for row in rows)
    found = dump(course)
    (course / "gradebook.db").unlink()
    shutil.rmtree(course / ".grading")
    grade(course)
    assert dump(course) == found


def test_no_scheduler_is_one_line(course: Path) -> None:
    pytest.importorskip("distributed")
    hand_in(course, "a", answered())
    with pytest.raises(classroom.Refused, match="no Dask scheduler"):
        grade(course, scheduler="tcp://127.0.0.1:9")


# PostgreSQL


@pytest.mark.skipif(
    "GMLIB_TEST_DB_URL" not in os.environ, reason="GMLIB_TEST_DB_URL names no empty database"
)
def test_postgresql(course: Path) -> None:
    url = os.environ["GMLIB_TEST_DB_URL"]
    (course / "gradebook.db").unlink()
    for name in ("a", "Kim 지우"):
        hand_in(course, name, answered(words="so \0 it is"))
    hand_in(course, "bad", b"{")
    rows = grade(course, db_url=url, feedback=True)
    assert rows["a"].so_far > 0
    assert not (course / "gradebook.db").exists()
    assert grade(course, never, db_url=url).keys() == rows.keys()
    grade(course)  # another gradebook has not seen them
    assert dump(course) == dump(course, url)


# Pages and sheets


def rows_of(course: Path, **submissions: bytes) -> list[report.Row]:
    for student, data in submissions.items():
        hand_in(course, student, data)
    return list(grade(course, feedback=True).values())


EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)><iframe src=//x></iframe>"


def evil() -> bytes:
    """Scripts wherever a submission holds text."""
    notebook = nbformat.reads(answered(words=EVIL + '<a href="javascript:x()">y</a>').decode(), 4)
    cell(notebook, "elbo").source = f"'''{EVIL}'''\n# </pre></script>{EVIL}"
    notebook.cells[0].source = f"# {EVIL}\n\n[link](javascript:alert(1)) ![p](http://x/p.png)"
    notebook.cells.insert(1, new_markdown_cell(f"<style>body {{ display: none }}</style>{EVIL}"))
    notebook.cells.insert(1, new_code_cell(EVIL))
    notebook.cells.insert(1, nbformat.v4.new_raw_cell(EVIL))
    return nbformat.writes(notebook).encode()


def with_evil_outputs(data: bytes, *arguments: Any) -> dict[str, Any]:
    """As the judge, of a notebook whose code wrote scripts into its outputs."""
    result = fake_judge.judged(data, *arguments)
    notebook = nbformat.reads(result["outcome"]["notebook"], 4)
    kinds = ["text/html", "application/javascript", "image/svg+xml", "text/markdown", "text/latex"]
    outputs = [
        new_output("display_data", {k: EVIL}, metadata={k: {"isolated": True}}) for k in kinds
    ]
    outputs += [
        new_output("display_data", {"image/png": f'"onerror="alert(1)">{EVIL}'}),
        new_output("stream", text=EVIL),
        new_output("stream", name="stderr", text=f"\x1b[31m{EVIL}"),
        new_output("error", ename=EVIL, evalue=EVIL, traceback=[EVIL, f"\x1b[31m{EVIL}"]),
    ]
    notebook.cells[2].outputs = outputs
    assert notebook.cells[2].cell_type == "code"
    result["outcome"]["notebook"] = nbformat.writes(notebook)
    result["outcome"]["flags"] = [EVIL]
    result["outcome"]["words"]["elbo_test"] = EVIL
    return result


def assert_harmless(page: str) -> None:
    """No element that runs or loads, and no attribute that does, stands in the page."""
    from bs4 import BeautifulSoup

    assert "Content-Security-Policy" in page.partition("<title>")[0]
    found = BeautifulSoup(page, "html.parser")
    for tag in ("script", "iframe", "object", "embed", "base", "form", "link", "svg"):
        assert not [t for t in found.find_all(tag) if tag != "svg" or t.find("script")], tag
    for element in found.find_all(True):
        for name, value in element.attrs.items():
            value = " ".join(value) if isinstance(value, list) else value
            assert not name.startswith("on"), element
            assert "javascript:" not in value.lower(), element
            assert name != "src" or value.startswith("data:image/"), element
    body = found.body
    assert not body.find_all("style")


def test_feedback_is_harmless(course: Path) -> None:
    hand_in(course, "evil", evil())
    grade(course, with_evil_outputs, feedback=True)
    page = (course / "feedback" / "evil" / LAB / "vae.html").read_text()
    assert_harmless(page)
    assert "alert(1)" in page  # as text


def test_feedback_shows_no_hidden_test(course: Path) -> None:
    hand_in(course, "a", answered(0.5))
    grade(course, feedback=True)
    page = (course / "feedback" / "a" / LAB / "vae.html").read_text()
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    tests = Lab.read(LAB, course).tests().values()
    hidden = {line.strip() for test in tests for line in test.splitlines()[2:]}
    assert not {line for line in hidden if len(line) > 30 and line in text}
    assert "the gradient: 0 of 1 points" in text or "the value should be 1" in text


@pytest.mark.parametrize(
    "text",
    [
        "[" * 40_000, "> " * 20_000, "<div>" * 9_000, "*a" * 20_000, "`" * 40_000, "$" * 40_000,
        "- " * 20_000, "![" * 20_000, "<!--" * 10_000, "|a" * 20_000, "\\(" * 20_000, "x" * 400_000,
        "[a](" * 10_000, "<a " * 13_000, "_" * 40_000, "&" * 40_000, "<!" * 20_000, "1. " * 13_000,
    ],
)  # fmt: skip
def test_text_made_to_be_slow(text: str) -> None:
    start = time.process_time()
    made = report.harmless_markdown({}, text)
    assert time.process_time() - start < 20
    assert "<script" not in made


def test_report(course: Path, tmp_path: Path) -> None:
    hand_in(course, "evil", evil())
    making.make(course / "submitted")
    rows = list(grade(course, with_evil_outputs).values())
    made = report.write(rows, Lab.read(LAB, course), tmp_path / "out")
    assert [path.name for path in made] == ["report.html", "grades.csv", "canvas.csv", "moodle.csv"]
    page = made[0].read_text()
    assert_harmless(page)
    assert not re.search(r"@import|url\(", page)
    for words in ("Totals", "Points per exercise", "Common mistakes", "perfect", "untouched"):
        assert words in page
    assert "evil" in report.table(rows)


def test_common_mistakes_leave_numbers_out() -> None:
    words = [{"x_test": f"mean should be {i}.5; found -{i}e-3."} for i in range(3)]
    rows = [report.Row.make(str(i), {}, None, {"words": w}) for i, w in enumerate(words)]
    assert report.mistakes(rows) == {"x_test": [("mean should be #; found #.", 3)]}


OWN = """
def elbo(x, logits, mu, logvar):
    total = 0
    for i in range(len(mu)):
        first = log_likelihood(x[i : i + 1], logits[i : i + 1])
        second = kl_to_prior(mu[i : i + 1], logvar[i : i + 1])
        total = total + {a}[0] - second[0]
        if i % 7 == 3 and total < -1_000_000:
            print("strange", i, total)
    return torch.stack([total / (i + 1)]) * {b}
"""


def test_near_identical_pairs(course: Path) -> None:
    one = OWN.format(a="first", b="len(mu)")
    renamed = re.sub(r"\b(total|first|second)\b", r"my_\1", one).replace(
        "    return", "    # x\n    return"
    )
    other = """
def elbo(x, logits, mu, logvar):
    parts = {"a": log_likelihood(x, logits), "b": kl_to_prior(mu, logvar)}
    weights = [1, -1]
    return sum(w * p for w, p in zip(weights, parts.values(), strict=True)).reshape(-1).clone()
"""
    rows = rows_of(
        course,
        first=answered(elbo=one),
        second=answered(elbo=renamed),
        third=answered(elbo=other),
        solved=answered(),
        solved_too=answered(),
        untouched=answered(0),
        untouched_too=answered(0),
    )
    lab = Lab.read(LAB, course)
    given = [report.prints(nbformat.reads(text, 4)) for text in (lab.release, lab.source)]
    pairs = report.near_identical(rows, given)
    assert [(p.first, p.second, p.answers) for p in pairs] == [("first", "second", ["elbo"])]


def test_sheets(course: Path, tmp_path: Path) -> None:
    source = zipped(
        tmp_path / "s.zip",
        {
            "doejane_101_9001_vae.ipynb": answered(),
            "leekim_LATE_102_9002_vae.ipynb": answered(0),
            "bad_103_9003_vae.ipynb": b"{",
            "=cmd|'x'_104_9004_vae.ipynb": answered(0),
        },
    )
    rows = list(grade(course, source=source).values())
    report.spreadsheets(rows, LAB, tmp_path)
    sheets = {
        name: list(csv.DictReader((tmp_path / f"{name}.csv").read_text("utf-8-sig").splitlines()))
        for name in ("grades", "canvas", "moodle")
    }
    assert list(sheets["canvas"][0]) == [
        "Student", "ID", "SIS User ID", "SIS Login ID", "Section", LAB,
    ]  # fmt: skip
    canvas = {row["Student"]: row for row in sheets["canvas"]}
    assert canvas["    Points Possible"][LAB] == "20"
    assert canvas["doejane"]["ID"] == "101"
    assert canvas["doejane"][LAB] == ""  # the words wait for a person
    assert canvas["leekim"][LAB] == "0"
    assert canvas["bad"][LAB] == ""
    moodle = {row["Full name"]: row for row in sheets["moodle"]}
    assert moodle["leekim"]["Identifier"] == "Participant 102"
    assert moodle["leekim"]["Status"].endswith("late")
    assert (moodle["bad"]["Grade"], moodle["leekim"]["Grade"]) == ("", "0")
    grades = {row["student"]: row for row in sheets["grades"]}
    assert grades["doejane"]["words"] == ""
    assert float(grades["doejane"]["points so far"]) > 0
    for sheet in sheets.values():
        assert not any(v[:1] in tuple("=+-@\t\r") for row in sheet for v in row.values() if v)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\n=1", " =1", "|x", "%x"]
)
def test_guard_against_formulas(text: str) -> None:
    assert report.guarded(text)[0] == "'"


def test_a_large_class_prints_what_needs_a_look() -> None:
    rows = [
        report.Row.make(f"s{i:03d}", {}, {"x": report.Score(1.0, 2.0, False)}, {})
        for i in range(100)
    ]
    rows[7] = rows[7]._replace(flags=["stopped after 300 s"])
    text = report.table(rows)
    assert "stopped after 300 s" in text
    assert "99 more" in text


def test_ids_do_not_depend_on_the_order_of_runs() -> None:
    people = [collect.Person("kim", "7"), collect.Person("kim", "3"), collect.Person("a/b", None)]
    found = collect.ids(people, {})
    assert found[people[1]] == "kim"
    assert found[people[0]] == "kim_7"
    known = {found[people[0]]: "7"}  # a run that was killed after the second of them
    assert collect.ids(people, known) == found
    assert "/" not in found[people[2]]


def test_record_holds_no_password(course: Path) -> None:
    hand_in(course, "a", answered())
    grade(course, db_url=f"sqlite:///{course}/gradebook.db?timeout=77")
    stored = b"".join(p.read_bytes() for p in (course / ".grading").rglob("*") if p.is_file())
    assert b"timeout=77" not in stored
    assert json.loads((course / ".grading" / LAB / "records" / "a.json").read_text())["points"]


# A student's own check


def checked(notebook: Path, monkeypatch: pytest.MonkeyPatch, fails: str = "", **given: Any) -> Any:
    """`gmlib check` with a judge that lets the check of one exercise fail."""
    from gmlib.grade import student, verdict

    def judge(repaired: Any, lab: Lab, limits: Any, *, sandboxed: bool) -> Any:
        for c in repaired.cells:
            if intake.grade_id(c) == f"{fails}_check":
                said = "KL of the prior should be 0; found 1. Is it log σ²?"
                c.outputs = [new_output("error", ename="AssertionError", evalue=said)]
            elif (intake.grade_id(c) or "").endswith("_check"):
                c.outputs = [new_output("stream", text="holds")]
        return verdict.Outcome(nbformat.writes(repaired), {}, {}, [], 1.0, 1.0)

    monkeypatch.setattr(verdict, "judge", judge)
    return student.check(notebook, LAB, given.get("release"), True, None)


def test_check_in_words(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = course / "mine" / "vae.ipynb"
    mine.parent.mkdir()
    mine.write_bytes(answered(0.5))
    found = checked(mine, monkeypatch, fails="kl_to_prior")
    states = {v.exercise: v.state for v in found.verdicts}
    assert states["kl_to_prior"] == "fails"
    assert states["vae"] == "holds"
    assert states["elbo"] == "not written"
    assert states["words"] == "not written"
    assert "KL of the prior should be 0; found 1" in found.text()
    assert not found.holds


def test_check_repairs_from_the_course_s_copy(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = making.answered(RELEASE, SOLUTION, 1.0)
    for c in notebook.cells:
        c.metadata = {}
        c.pop("id")
    notebook.nbformat_minor = 4
    mine = course / "mine.ipynb"
    mine.write_text(nbformat.writes(notebook))
    assert checked(mine, monkeypatch).holds


def test_check_with_no_other_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gmlib.grade import student

    mine = tmp_path / "notebooks" / LAB / "vae.ipynb"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(answered(1.0))
    assert student.find(LAB, tmp_path) == student.find(LAB, mine.parent) == mine
    assert checked(mine, monkeypatch).holds
    shutil.copy(ROOT / "notebooks" / LAB / "vae.ipynb", tmp_path / "clean.ipynb")
    mine.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[new_code_cell("x = 1")])))
    assert "no untouched copy" in checked(mine, monkeypatch).text()
    found = checked(mine, monkeypatch, release=tmp_path / "clean.ipynb")
    assert {v.state for v in found.verdicts} == {"not written"}
