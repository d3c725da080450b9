"""Grade a class: collect, judge in parallel, write to nbgrader's gradebook in one place.

Below the course's folder, `.grading/LAB/` holds what makes a run go on after a kill:

    outcomes/KEY.json.gz   what judging found, named by submission, lab, limits and grader
    records/STUDENT.json   what stands in the gradebook, written after it
    reviews/STUDENT.json   which answers a person had read, while they are written anew

A result is stored first, then written to the gradebook by nbgrader's own autograde, then recorded.
Killed anywhere, the next run finds the outcome and writes it again, which changes nothing.
"""

import copy
import fcntl
import gzip
import hashlib
import json
import logging
import os
import shutil
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode

import gmlib
from gmlib.grade import collect, intake, report, workers
from gmlib.grade.lab import Lab
from gmlib.grade.sandbox import Limits
from gmlib.grade.workers import Task

STORE = ".grading"


class Refused(Exception):
    """The run can't start; says why in one line."""


class Course(NamedTuple):
    """Where a course lies, and how nbgrader is set there."""

    root: Path
    config: Any  # traitlets.config.Config

    @classmethod
    def read(cls, root: Path, db_url: str | None = None) -> "Course":
        """The course whose nbgrader_config.py lies in `root`.

        nbgrader calls alembic by name, which stands beside this Python.
        """
        from traitlets.config import PyFileConfigLoader

        beside = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
        config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
        config.CourseDirectory.root = str(root)
        if db_url:
            config.CourseDirectory.db_url = db_url
        return cls(root, config)

    @classmethod
    def around(cls, folder: Path, db_url: str | None = None) -> "Course":
        """The course in whose folder, or in a folder below it, we are.

        Raises:
            Refused: there is none.
        """
        for root in (folder, *folder.parents):
            if (root / "nbgrader_config.py").is_file():
                return cls.read(root, db_url)
        raise Refused(f"no nbgrader_config.py in {folder} or above it: run this in the course")

    @property
    def store(self) -> Path:
        return self.root / STORE

    def folder(self, kind: str) -> Path:
        """The folder that nbgrader calls "submitted", "feedback" and so on."""
        return self.root / str(self.config.CourseDirectory.get(f"{kind}_directory", kind))


class Settings(NamedTuple):
    """How a class is graded."""

    source: Path | None = None  # a folder or a zip; else nbgrader's submitted/
    workers: int = 0  # 0: one a core
    scheduler: str | None = None
    sandboxed: bool = True
    force: bool = False
    feedback: bool = True
    limits: Limits = Limits()


def grade(
    course: Course,
    lab: Lab,
    settings: Settings,
    say: Callable[[str], None] = print,
    work: workers.Work = workers.judged,
) -> list[report.Row]:
    """Grade all that is not graded yet; returns a row for every submission of the lab.

    Raises:
        Refused: another run is going on, there is nothing to grade, or no gradebook.
    """
    with locked(course.store):
        return _Run(course, lab, settings, say, work).run()


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Only one run a course at a time. The lock goes with the process that holds it.

    Raises:
        Refused: another process holds it.
    """
    store.mkdir(parents=True, exist_ok=True)
    with open(store / "lock", "a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise Refused(f"another `gmlib grade` runs in this course (process {holder})") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


class _Run:
    """One run over one lab. Feeding threads read submissions; this thread alone writes."""

    def __init__(
        self,
        course: Course,
        lab: Lab,
        settings: Settings,
        say: Callable[[str], None],
        work: workers.Work,
    ) -> None:
        self.lab, self.settings, self.say, self.work = lab, settings, say, work
        self.course, self.store = course, course.store / lab.id
        for name in ("outcomes", "records", "reviews"):
            (self.store / name).mkdir(parents=True, exist_ok=True)
        self.grader = grader_hash()
        self.found: dict[str, collect.Submission] = {}
        self.ready: deque[tuple[str, str, dict[str, Any]]] = deque()  # known without judging

    def run(self) -> list[report.Row]:
        handed_in = list(self.collect())
        records = list(map(_read, sorted((self.store / "records").glob("*.json"))))
        if not handed_in and not records:
            where = self.settings.source or self.course.folder("submitted")
            raise Refused(f"nothing to grade: no submission of {self.lab.id} in {where}")
        self.records = {record["student"]: record for record in records}
        pool = self.pool(len(handed_in))
        try:
            self.open_book(handed_in)
            for task, result in pool.results(self.tasks()):
                self.take(task.student, task.key, result)
                self.take_ready()
        finally:
            pool.end()
        self.take_ready()
        if self.settings.feedback:
            for student in self.book.submissions():
                self.give_feedback(student)
        self.progress.end()
        self.forget_outcomes()
        return self.rows()

    def open_book(self, handed_in: list[collect.Submission]) -> None:
        """See that the gradebook knows the lab and everybody who handed in."""
        self.book = Book(self.course, self.lab, self.store)
        self.book.prepare()
        known = self.book.students()
        ids = collect.ids((s.person for s in handed_in), known)
        self.book.enrol({ids[s.person]: s.person for s in handed_in if ids[s.person] not in known})
        self.found = {ids[s.person]: s for s in handed_in}
        self.written = self.book.submissions()
        self.progress = report.Progress(len(self.found), self.say)

    def collect(self) -> Iterable[collect.Submission]:
        """What was handed in.

        Raises:
            Refused: there is no such folder or zip.
        """
        source, lab = self.settings.source, self.lab.id
        if source is None:
            return collect.submitted(self.course.folder("submitted"), lab)
        if source.is_dir():
            return collect.from_folder(source.resolve(), lab)
        try:
            return collect.from_zip(source.resolve(), lab)
        except intake.Unreadable as error:
            raise Refused(str(error)) from error

    def pool(self, submissions: int) -> Any:
        """Who judges. Where all may be known, workers start when one is needed.

        Raises:
            Refused: no cluster answers.
        """
        settings = self.settings
        arguments = (self.work, self.lab, settings.limits, settings.sandboxed)
        if settings.scheduler:
            try:
                return workers.Cluster(settings.scheduler, *arguments)
            except ConnectionError as error:
                raise Refused(str(error)) from error
        count = settings.workers or len(os.sched_getaffinity(0))
        pool = workers.Local(max(1, min(count, submissions)), *arguments)
        if settings.force or len(self.records) < submissions:
            pool.begin()
        return pool

    # In the feeding threads

    def tasks(self) -> Iterator[Task]:
        """What has to be judged; what need not be goes to `ready`."""
        for student, submission in sorted(self.found.items()):
            try:
                data = submission.read()
            except intake.Unreadable as error:
                self.ready.append((student, "", {"problem": str(error)}))
                continue
            key = self.key(data)
            if self.settings.force:
                yield Task(student, key, data)
            elif self.is_done(student, key):
                self.ready.append((student, key, {}))
            elif self.outcome_file(key).exists():
                self.ready.append((student, key, {"stored": True}))
            else:
                yield Task(student, key, data)

    def key(self, data: bytes) -> str:
        """Names all that a verdict depends on."""
        parts = [hashlib.sha256(data).hexdigest(), self.lab.hash, self.grader]
        parts += [repr(self.settings.limits), str(self.settings.sandboxed)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def is_done(self, student: str, key: str) -> bool:
        """Whether the gradebook holds this submission as it is."""
        record, submission = self.records.get(student, {}), self.found[student]
        if record.get("key") != key or record.get("time") != submission.time:
            return False
        if record.get("problem"):
            return not record.get("again")
        return record.get("book") == self.book.name and student in self.written

    def outcome_file(self, key: str) -> Path:
        return self.store / "outcomes" / f"{key}.json.gz"

    # In the writing thread

    def take_ready(self) -> None:
        while self.ready:
            self.take(*self.ready.popleft())

    def take(self, student: str, key: str, result: dict[str, Any]) -> None:
        """Write down what was found of one student's submission."""
        if result.get("stored"):
            result = self.stored(key)
        elif "outcome" in result:
            _write(self.outcome_file(key), gzip.compress(json.dumps(result).encode(), 5))
        if not result:
            return self.progress.step(student, self.records[student])
        submission = self.found[student]
        record = {
            "student": student, "key": key, "file": submission.file, "late": submission.late,
            "time": submission.time, "notes": submission.notes + result.get("notes", []),
        }  # fmt: skip
        if "outcome" in result:
            record |= self.written_down(student, result["outcome"])
        else:
            record |= {name: result[name] for name in ("problem", "again") if name in result}
            if result.get("details"):
                record["details"] = result["details"]
            if self.settings.feedback:
                report.write_refusal(self.book.page(student), self.lab.id, record)
        self.records[student] = record
        _write(self.store / "records" / f"{student}.json", _json(record))
        with suppress(FileNotFoundError):
            (self.store / "reviews" / f"{student}.json").unlink()
        if self.settings.feedback:
            self.give_feedback(student)
        self.progress.step(student, record)

    def stored(self, key: str) -> dict[str, Any]:
        """An outcome of an earlier run; a damaged one is judged again by the next."""
        try:
            return json.loads(gzip.decompress(self.outcome_file(key).read_bytes()))
        except (OSError, EOFError, ValueError) as error:
            self.outcome_file(key).unlink(missing_ok=True)
            return workers.failed(f"its stored outcome is damaged, run again: {error}")

    def written_down(self, student: str, outcome: dict[str, Any]) -> dict[str, Any]:
        """Let nbgrader write to the gradebook; returns what the record holds of it."""
        notebook = nbformat.reads(outcome["notebook"], as_version=4)
        problem = self.book.write(student, notebook, self.found[student].time)
        if problem:
            return {"problem": f"nbgrader could not write it down: {problem}", "again": True}
        self.written.add(student)
        flags = list(outcome["flags"])
        if self.book.automatic_points(student) != outcome["points"]:
            flags.append("the gradebook disagrees with the verdict: look at this one")
        return {
            "book": self.book.name, "points": outcome["points"], "words": outcome["words"],
            "flags": flags, "seconds": outcome["seconds"],
            "cell_seconds": outcome["cell_seconds"], "prints": report.prints(notebook),
        }  # fmt: skip

    def give_feedback(self, student: str) -> None:
        """Make the student's page where grades or comments have changed since it was made."""
        record = self.records.get(student, {})
        if student not in self.written or record.get("problem"):
            return
        digest, page = self.book.digest(student), self.book.page(student)
        if record.get("feedback") == digest and page.exists():
            return
        if problem := self.book.feedback(student):
            return self.say(f"{student}: no feedback page: {problem}")
        record["feedback"] = digest
        if "student" in record:
            _write(self.store / "records" / f"{student}.json", _json(record))

    def forget_outcomes(self) -> None:
        """Delete outcomes that nothing refers to any more."""
        used = {record.get("key") for record in self.records.values()}
        for path in (self.store / "outcomes").iterdir():
            if path.name.partition(".")[0] not in used:
                path.unlink()

    def rows(self) -> list[report.Row]:
        """One row for every student with a submission, or a file that could not be graded."""
        scores, people = self.book.scores(), self.book.people()
        return [
            report.Row.make(student, people.get(student, {}), scores.get(student), record)
            for student, record in sorted(
                ({s: {} for s in scores} | self.records).items(), key=lambda item: item[0]
            )
        ]


class Book:
    """The gradebook, of which this process is the only writer."""

    def __init__(self, course: Course, lab: Lab, store: Path) -> None:
        from nbgrader.apps import NbGraderAPI
        from sqlalchemy.exc import SAWarning

        warnings.simplefilter("ignore", SAWarning)  # nbgrader's own, of no consequence here
        logging.getLogger("traitlets").addHandler(logging.NullHandler())
        self.course, self.lab, self.store = course, lab, store
        self.notebook = lab.id.partition("_")[2]
        self.staging = store / "staging"
        config = copy.deepcopy(course.config)
        report.set_feedback(config)
        # What is written down was judged already: nothing is executed here.
        config.CourseDirectory.submitted_directory = str(self.staging)
        config.Autograde.sanitize_preprocessors = [
            "nbgrader.preprocessors.OverwriteCells",
        ]
        config.Autograde.autograde_preprocessors = [
            "nbgrader.preprocessors.SaveAutoGrades",
            "nbgrader.preprocessors.AssignLatePenalties",
        ]
        self.api = NbGraderAPI(config=config)
        self.url = self.api.coursedir.db_url
        self.name = hashlib.sha256(self.url.encode()).hexdigest()[:12]  # holds no password
        self.release = nbformat.reads(lab.release, as_version=4)

    @contextmanager
    def open(self) -> Iterator[Any]:
        """The gradebook through nbgrader.

        Raises:
            Refused: the database does not answer.
        """
        from nbgrader.api import Gradebook
        from sqlalchemy.exc import SQLAlchemyError

        try:
            gradebook = Gradebook(self.url, self.api.coursedir.course_id)
        except (SQLAlchemyError, ImportError) as error:
            why = str(error).strip().splitlines()[0]
            raise Refused(f"the gradebook does not open: {why}") from error
        with gradebook:
            yield gradebook

    def prepare(self) -> None:
        """Let the gradebook know the lab, as `nbgrader generate_assignment` does.

        Raises:
            Refused: nbgrader could not read the lab.
        """
        from nbgrader.api import MissingEntry

        stamp = self.store / "assignment"
        with self.open() as book:
            try:
                known = bool(book.find_assignment(self.lab.id).notebooks)
            except MissingEntry:
                known = False
        expected = f"{self.name} {self.lab.hash}"
        if known and stamp.exists() and stamp.read_text() == expected:
            return
        coursedir = self.api.coursedir
        release, coursedir.release_directory = coursedir.release_directory, str(self.store / "made")
        try:
            made = self.api.generate_assignment(self.lab.id, force=True, create=True)
        finally:
            coursedir.release_directory = release
        if not made["success"]:
            raise Refused(f"nbgrader could not read {self.lab.id}:\n{made.get('log', '')}")
        shutil.rmtree(self.store / "made", ignore_errors=True)
        _write(stamp, expected.encode())

    def students(self) -> dict[str, str | None]:
        """All students, with the number that the LMS gives them where it is known."""
        with self.open() as book:
            return {student.id: student.lms_user_id for student in book.students}

    def people(self) -> dict[str, dict[str, str]]:
        """What is known of each student: name, e-mail address, number in the LMS."""
        with self.open() as book:
            return {
                s.id: {
                    "name": " ".join(n for n in (s.first_name, s.last_name) if n) or s.id,
                    "email": s.email or "",
                    "number": s.lms_user_id or "",
                }
                for s in book.students
            }

    def enrol(self, new: dict[str, collect.Person]) -> None:
        """Add students before anything of theirs is graded."""
        if not new:
            return
        with self.open() as book:
            for student, person in sorted(new.items()):
                fields = {"lms_user_id": person.number} if person.number else {}
                if person.name != student:
                    fields["last_name"] = intake.clean(person.name)[:128]
                book.update_or_create_student(student, **fields)

    def submissions(self) -> set[str]:
        """The students of whom the gradebook holds a submission of the lab."""
        with self.open() as book:
            return {s.student_id for s in book.assignment_submissions(self.lab.id)}

    def write(self, student: str, notebook: NotebookNode, time: str | None) -> str | None:
        """Let nbgrader write one judged notebook down; returns what went wrong, if anything.

        Twice is as good as once.
        """
        reviewed = self.reviewed(student)
        notebook.metadata = copy.deepcopy(self.release.metadata)
        folder = self.staging / student / self.lab.id
        shutil.rmtree(self.staging, ignore_errors=True)
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{self.notebook}.ipynb")
        if time:
            (folder / "timestamp.txt").write_text(time)
        try:
            done = self.api.autograde(self.lab.id, student, force=True, create=True)
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)
        if not done["success"]:
            return str(done.get("error") or done.get("log") or "").strip().splitlines()[-1]
        self.keep_reviews(student, notebook, reviewed)
        return None

    def reviewed(self, student: str) -> dict[str, str]:
        """Which answers a person has read, with a hash of what was read.

        Kept in a file, so that a kill while they are written anew does not lose it.
        """
        path = self.store / "reviews" / f"{student}.json"
        if path.exists():
            return _read(path)
        with self.grades(student) as grades:
            names = {g.name for g in grades if g.manual_score is not None}
            names -= {g.name for g in grades if g.needs_manual_grade}
        found = {}
        if names:
            with suppress(OSError, ValueError):
                found = _answers(nbformat.read(self.autograded(student), 4), names)
        _write(path, _json(found))
        return found

    def keep_reviews(self, student: str, notebook: NotebookNode, reviewed: dict[str, str]) -> None:
        """nbgrader asks for a second look at every answer with a manual grade; not where it is
        the answer that was read."""
        same = {n for n, h in _answers(notebook, set(reviewed)).items() if reviewed[n] == h}
        if same:
            with self.grades(student) as grades:
                for grade in grades:
                    if grade.name in same:
                        grade.needs_manual_grade = False

    @contextmanager
    def grades(self, student: str) -> Iterator[list[Any]]:
        """The student's grades in the lab; what is changed in them is written."""
        from nbgrader.api import MissingEntry

        with self.open() as book:
            try:
                found = book.find_submission_notebook(self.notebook, self.lab.id, student).grades
            except MissingEntry:
                found = []
            yield list(found)
            book.db.commit()

    def automatic_points(self, student: str) -> dict[str, float]:
        """What the gradebook holds of the cells that tests grade."""
        tests = {
            intake.grade_id(cell)
            for cell in self.release.cells
            if cell.metadata.get("nbgrader", {}).get("grade") and not intake.is_answer(cell)
        }
        with self.grades(student) as grades:
            return {g.name: g.auto_score for g in grades if g.name in tests}

    def digest(self, student: str) -> str:
        """Names all that a feedback page shows of the gradebook."""
        from nbgrader.api import MissingEntry

        with self.open() as book:
            try:
                notebook = book.find_submission_notebook(self.notebook, self.lab.id, student)
            except MissingEntry:
                return ""
            shown = [
                [g.name, g.auto_score, g.manual_score, g.extra_credit] for g in notebook.grades
            ]
            shown += [[c.name, c.auto_comment, c.manual_comment] for c in notebook.comments]
            shown += [[notebook.late_submission_penalty]]
        return hashlib.sha256(json.dumps(sorted(shown, key=str)).encode()).hexdigest()[:16]

    def feedback(self, student: str) -> str | None:
        """Make one feedback page; returns what went wrong, if anything."""
        report.start_page()
        done = self.api.generate_feedback(self.lab.id, student, force=True)
        if not done["success"]:
            return str(done.get("error") or done.get("log") or "").strip().splitlines()[-1]
        page = self.page(student)
        _write(page, report.closed(page.read_text()).encode())
        return None

    def page(self, student: str) -> Path:
        """The student's feedback page."""
        folder = self.course.folder("feedback") / student / self.lab.id
        return folder / f"{self.notebook}.html"

    def autograded(self, student: str) -> Path:
        folder = self.course.folder("autograded") / student / self.lab.id
        return folder / f"{self.notebook}.ipynb"

    def scores(self) -> dict[str, dict[str, report.Score]]:
        """By student and graded cell, the points; None where a person has yet to read."""
        found: dict[str, dict[str, report.Score]] = {}
        with self.open() as book:
            for submission in book.assignment_submissions(self.lab.id):
                found[submission.student_id] = {
                    grade.name: report.Score(
                        None
                        if grade.auto_score is None and grade.manual_score is None
                        else float(grade.score),
                        float(grade.max_score),
                        bool(grade.needs_manual_grade),
                    )
                    for notebook in submission.notebooks
                    for grade in notebook.grades
                }
        return found


def grader_hash() -> str:
    """Names the code that judges: a change of it lets everything be judged again."""
    folder, total = Path(gmlib.__file__).parent, hashlib.sha256()
    for path in [folder / "check.py", *sorted((folder / "grade").rglob("*.py"))]:
        if path.name not in ("report.py", "classroom.py", "cli.py", "collect.py", "workers.py"):
            total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]


def _answers(notebook: NotebookNode, names: set[str]) -> dict[str, str]:
    """A hash of each of these answers."""
    return {
        name: hashlib.sha256(cell.source.encode()).hexdigest()[:16]
        for cell in notebook.cells
        if (name := intake.grade_id(cell)) in names
    }


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, also when the machine loses power."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
