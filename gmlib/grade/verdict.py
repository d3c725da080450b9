"""One repaired notebook in, points and words out.

The student's cells run in a box, in order. Where a hidden test stands, the test runs here, outside,
in a namespace of the grader's own: Python's builtins, what the lab's own cells import, its sizes,
and handles of the answers that the test names. Its source never enters the box. What it finds
depends only on the numbers that the answers return.
"""

import ast
import builtins
import contextlib
import copy
import ctypes
import io
import json
import os
import resource
import symtable
import sys
import threading
import time
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output

from gmlib import check, data
from gmlib.grade import sandbox
from gmlib.grade.intake import plain
from gmlib.grade.kernel import Ended, Kernel
from gmlib.grade.lab import Lab
from gmlib.grade.sandbox import Limits
from gmlib.grade.wall import AnswerError, Check, Wall, seeds_cross

SERVE = "from gmlib.grade import agent as _agent; _agent.serve(get_ipython().user_ns)"
COLLECT = "import gc as _gc; _gc.collect()\n"  # where what a cell has left behind may act
LISTEN = 10.0  # seconds that a kernel which has nothing to do may take to answer
CHILDREN = 8  # processes that a cell may leave behind
RESTARTS = 16  # of a kernel that a submission has ended
OUTPUT_CELLS = 8  # a notebook may show as much as so many cells
TEST_MEMORY = 4 << 30  # bytes that a test may take beyond what this process has
SKIP = "skip-execution"


class Outcome(NamedTuple):
    """What became of one submission: plain data.

    Args:
        notebook: JSON of the repaired notebook with its outputs. A graded test cell has the output
            that nbgrader reads: an error (0 points), a last plain number (partial credit) or none.
        points: by grade id of the tests.
        words: by grade id, why points were lost, for the student.
        flags: what happened, for the instructor.
        seconds: of the whole.
        cell_seconds: of the student's cells and the hidden tests alone.
    """

    notebook: str
    points: dict[str, float]
    words: dict[str, str]
    flags: list[str]
    seconds: float
    cell_seconds: float


def judge(
    notebook: NotebookNode,
    lab: Lab,
    limits: Limits = Limits(),  # noqa: B008 (it can't be changed)
    *,
    sandboxed: bool = True,
) -> Outcome:
    """Run a repaired notebook in a box and the lab's hidden tests outside of it.

    One submission at a time in a process; the others wait. Never raises for anything that a
    submission does.

    Raises:
        sandbox.Unavailable: there is no box to be had on this machine.
    """
    with _one:
        return _Judge(notebook, lab, limits, sandboxed).outcome()


_one = threading.Lock()
_parents: dict[tuple[Any, ...], sandbox.Parent] = {}
_labs: dict[str, "_Tests"] = {}


def warm(lab: Lab, *, sandboxed: bool = True) -> sandbox.Parent:
    """The warm parent of this process, with what the lab imports. `judge` calls it by itself."""
    modules, assets = _imports(lab)
    key = (os.getpid(), modules, assets, sandboxed)
    if key not in _parents:
        for other in _parents.values():
            other.close()  # memory: one at a time
        _parents.clear()
        _parents[key] = sandbox.Parent(modules, assets, sandboxed=sandboxed)
    _tests(lab)  # while the parent imports
    _parents[key].ready()
    return _parents[key]


class _Judge:
    """The run of one submission."""

    def __init__(self, notebook: NotebookNode, lab: Lab, limits: Limits, sandboxed: bool) -> None:
        self.notebook, self.limits, self.sandboxed = copy.deepcopy(notebook), limits, sandboxed
        self.lab, self.tests = lab, _tests(lab)
        self.points = dict.fromkeys(self.tests.points, 0.0)
        self.words: dict[str, str] = {}
        self.flags: list[str] = []
        self.left_out: set[int] = set()
        self.restarts, self.careful = 0, False
        self.output_left = OUTPUT_CELLS * limits.output
        self.box: sandbox.Box | None = None
        self.kernel: Kernel | None = None
        self.cell_seconds, self.spent = 0.0, 0.0

    def outcome(self) -> Outcome:
        started = time.monotonic()
        try:
            self._cells()
        finally:
            self._stop()
        for grade_id in self.points:
            if self.points[grade_id] < self.tests.points[grade_id]:
                self.words.setdefault(grade_id, "this test could not be run")
        text = nbformat.writes(self.notebook)
        seconds = time.monotonic() - started
        return Outcome(text, self.points, self.words, self.flags, seconds, self.cell_seconds)

    def _cells(self) -> None:
        for i, cell in enumerate(self.notebook.cells):
            if cell.cell_type != "code":
                continue
            cell.outputs, cell.execution_count = [], None
            marks = cell.metadata.get("nbgrader", {})
            if marks.get("grade") and not marks.get("solution"):
                self._test(i, cell, marks["grade_id"])
            elif SKIP not in cell.metadata.get("tags", []):
                self._cell(i, cell)

    # The student's cells

    def _cell(self, i: int, cell: NotebookNode) -> None:
        if not cell.source.strip():
            return
        while True:
            problem = self._ready(i)
            if problem:
                cell.outputs = [_error("NotRun", problem)]
                return
            before = time.monotonic()
            try:
                room = min(self.limits.output, self.output_left)
                cell.outputs, stopped = self.kernel.run(cell.source, self._seconds(), room)
                self.output_left -= self.kernel.outputs.kept
            except Ended as ended:
                self._flag(f"cell {i + 1} ended the kernel: {ended}")
                outputs = self.kernel.outputs.cells()
                words = f"This cell ended the notebook's kernel ({ended}). It is left out."
                cell.outputs = [*outputs, _error("KernelEnded", words)]
                self.left_out.add(i)
                self.careful = True  # the cause may lie in a cell before it
                self._stop()
                return
            finally:
                self.cell_seconds += time.monotonic() - before
            if stopped:
                self._flag(f"cell {i + 1} was stopped: {stopped}")
                cell.outputs.append(_error("Stopped", f"This cell was stopped: {stopped}."))
                self.left_out.add(i)
            elif self.kernel.outputs.cut:
                self._flag(f"cell {i + 1} showed more output than is kept")
            return

    def _seconds(self) -> float:
        """How long the next cell may take."""
        used = self.spent + (self.box.time() if self.box is not None else 0.0)
        return max(0.0, min(self.limits.cell_seconds, self.limits.total_seconds - used))

    def _ready(self, upto: int) -> str:
        """See that a kernel runs in which all cells before this one have run; else say why not."""
        if not self._seconds():
            words = f"stopped after {self.limits.total_seconds:.0f} s"
            self._flag(words)
            self._stop()
            return f"The notebook was {words}."
        if self.kernel is not None and not self.box.ended():
            return ""
        while self.restarts <= RESTARTS:
            self._stop()
            self.restarts += 1
            if self._started() and self._again(upto):
                return ""
            if not self._seconds():
                return self._ready(upto)
        self._flag(f"the kernel was ended {self.restarts} times; the rest was not run")
        return "The notebook's kernel was ended too often; the rest was not run."

    def _started(self) -> bool:
        self.box = warm(self.lab, sandboxed=self.sandboxed).start(self.limits)
        try:
            self.kernel = Kernel(self.box)
        except Ended:
            return False
        self.wall = Wall(self.box.channel, self.kernel.look, self.box.interrupt, self.box.time)
        return True

    def _again(self, upto: int) -> bool:
        """In a new kernel: the cells so far, without those that ended or blocked the last one."""
        for i, cell in enumerate(self.notebook.cells[:upto]):
            marks = cell.metadata.get("nbgrader", {})
            test = marks.get("grade") and not marks.get("solution")
            skipped = SKIP in cell.metadata.get("tags", []) or i in self.left_out
            if cell.cell_type != "code" or test or skipped or not cell.source.strip():
                continue
            try:
                _, stopped = self.kernel.run(cell.source, self._seconds(), self.limits.output)
            except Ended as ended:
                self._flag(f"cell {i + 1} ended the kernel: {ended}")
                self.left_out.add(i)
                return False
            if stopped:
                self.left_out.add(i)
            if self.careful and not self._listens() or self.box.processes() > CHILDREN:
                self._flag(f"cell {i + 1} cut the kernel off")
                self.left_out = {j for j in self.left_out if j < i} | {i}  # those after it may hold
                return False
            if self.careful:
                self.wall.end()
        return True

    def _listens(self) -> bool:
        """Have the kernel listen for calls; False where a cell has seen to it that it does not."""
        self.wall.begin(LISTEN)
        try:
            self.kernel.start(COLLECT + SERVE if self.careful else SERVE)
            found = self.wall.ask("get", 1)  # anything at all, if the student's half lies
            return type(found) is int and found == 1
        except (AnswerError, Ended):
            return False

    def _stop(self) -> None:
        if self.kernel is not None:
            self.kernel.close()
        if self.box is not None:
            self.spent += self.box.time()
            self.box.kill()
        self.kernel = self.box = None

    def _flag(self, words: str) -> None:
        if words not in self.flags:
            self.flags.append(words)

    # The hidden tests

    def _test(self, i: int, cell: NotebookNode, grade_id: str) -> None:
        if grade_id not in self.tests.points:
            return  # no test of this lab: worth nothing
        problem = self._ready(i)
        if not problem and not self._listens():
            self.careful = True
            self._stop()
            problem = self._ready(i)
            if not problem and not self._listens():
                problem = "The notebook's kernel no longer answers."
        if problem:
            self._flag(f"{grade_id}: not run")
            self.words[grade_id] = problem
            cell.outputs = [_error("NotRun", problem)]
            return
        left, before = self._seconds(), time.monotonic()
        wall, most = self.wall, self.tests.points[grade_id]
        wall.begin(left)
        found = self.tests.run(grade_id, wall, left)
        wall.end()
        self.cell_seconds += time.monotonic() - before
        if wall.broken or wall.late:  # what was called may still be at work: a new kernel
            self._flag(f"{grade_id}: {wall.broken or wall.late}")
            self.careful = True
            self._stop()
        self.points[grade_id] = found.points
        if found.said:
            cell.outputs.append(new_output("stream", name="stdout", text=found.said))
        if found.error is not None:
            cell.outputs.append(_error(*found.error))
        elif found.partial:
            data = {"text/plain": repr(found.points)}
            cell.outputs.append(new_output("execute_result", data=data, execution_count=None))
        if found.points < most:
            error = ": ".join(t for t in found.error or () if t)
            self.words[grade_id] = "\n".join(t for t in (found.said.strip(), error) if t)


class _Found(NamedTuple):
    points: float
    said: str
    error: tuple[str, str] | None
    partial: bool


class _Tests:
    """A lab's hidden tests, ready to run."""

    def __init__(self, lab: Lab) -> None:
        self.sources, self.points = lab.tests(), lab.points()
        imports, sizes, given, begun = [], [], set(), False
        for is_answer, source, body in _own_cells(lab):
            mine = [s for s in body if isinstance(s, ast.Import | ast.ImportFrom)]
            imports += mine
            begun = begun or is_answer
            if not begun and all(map(_is_size, body)):
                sizes += [s for s in body if isinstance(s, ast.Assign)]
            else:
                given |= _bound(source) - {name for s in mine for name in _names(s)}
        self.given = given
        self.trusted: dict[str, Any] = {"__name__": "__test__"}
        with _profile(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            for part in (imports, sizes):
                code = compile(ast.Module(part, []), "<lab>", "exec")
                exec(code, self.trusted)
        self.codes = {name: _compiled(name, source) for name, source in self.sources.items()}
        self.names = {
            name: sorted((_free(source) & given) - set(self.trusted))
            for name, source in self.sources.items()
        }

    def run(self, grade_id: str, wall: Wall, seconds: float) -> _Found:
        """Run one test against what is behind the wall. Raises nothing."""
        said, most = io.StringIO(), self.points[grade_id]
        body, last = self.codes[grade_id]
        value, error = None, None
        try:
            with (
                _profile(), warnings.catch_warnings(), _bounds(seconds), seeds_cross(wall),
                contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()),
            ):  # fmt: skip
                warnings.simplefilter("ignore")
                namespace = self._namespace(grade_id, wall)
                exec(body, namespace)
                value = eval(last, namespace) if last is not None else None
        except (KeyboardInterrupt, SystemExit) as stopped:
            if isinstance(stopped, KeyboardInterrupt):
                raise
            error = "SystemExit", "the test was left"
        except BaseException as failure:
            error = _told(failure)
        text = plain(said.getvalue()[:20_000])
        if error is not None:
            return _Found(0.0, text, error, False)
        if isinstance(value, int | float) and not isinstance(value, bool):
            good = type(value) in (int, float) and 0 <= value <= most
            points = float(value) if good else 0.0
            return _Found(points, text, None, True)
        return _Found(most, text, None, False)

    def _namespace(self, grade_id: str, wall: Wall) -> dict[str, Any]:
        facade = Check(wall)
        namespace = dict(self.trusted)
        for name, value in self.trusted.items():
            if value is check:
                namespace[name] = facade
            elif isinstance(value, types.FunctionType) and value.__module__ == check.__name__:
                namespace[name] = getattr(facade, value.__name__)
        namespace |= wall.handles(self.names[grade_id])
        return namespace


def _tests(lab: Lab) -> _Tests:
    if lab.hash not in _labs:
        if len(_labs) > 20:
            _labs.clear()
        _labs[lab.hash] = _Tests(lab)
    return _labs[lab.hash]


def _told(failure: BaseException) -> tuple[str, str]:
    """Kind and words of a failure, without anything of the test's source."""
    kind, words = type(failure).__name__, str(failure)
    if isinstance(failure, _TooLong):
        return "Stopped", "the test took too long with what the answer returned"
    if isinstance(failure, AssertionError) and not words:
        words = "something that should hold does not"
    return kind, plain(words[:1_000])


def _error(kind: str, words: str) -> NotebookNode:
    return new_output("error", ename=kind, evalue=words, traceback=[f"{kind}: {words}"])


# What a test may see


def _own_cells(lab: Lab) -> Iterator[tuple[bool, str, list[ast.stmt]]]:
    """The lab's code cells but its tests: whether it is an answer, its source, its statements."""
    for cell in json.loads(lab.source)["cells"]:
        marks, source = cell["metadata"].get("nbgrader", {}), "".join(cell["source"])
        is_answer = bool(marks.get("solution"))
        is_test = marks.get("grade") or (marks.get("locked") and not is_answer)
        if cell["cell_type"] != "code" or is_test:
            continue
        with contextlib.suppress(SyntaxError):  # a magic
            yield is_answer, source, ast.parse(source).body


def _imports(lab: Lab) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modules that the lab imports, and the data of the course that it names."""
    modules, text = set(), ""
    for _, source, body in _own_cells(lab):
        text += source
        for s in body:
            if isinstance(s, ast.Import):
                modules |= {a.name for a in s.names}
            elif isinstance(s, ast.ImportFrom) and s.module:
                modules.add(s.module)
    return tuple(sorted(modules)), tuple(name for name in data.SHIPPED if f'"{name}"' in text)


def _is_size(statement: ast.stmt) -> bool:
    """NAME = …, or an import, or a text."""
    if isinstance(statement, ast.Assign):
        return all(isinstance(t, ast.Name) and t.id.isupper() for t in statement.targets)
    text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return text or isinstance(statement, ast.Import | ast.ImportFrom)


def _names(statement: ast.Import | ast.ImportFrom) -> list[str]:
    return [a.asname or a.name.partition(".")[0] for a in statement.names]


def _bound(source: str) -> set[str]:
    """The names that a cell binds at its top level."""
    return {
        s.get_name()
        for s in symtable.symtable(source, "<cell>", "exec").get_symbols()
        if s.is_assigned() or s.is_namespace()
    }


def _free(source: str) -> set[str]:
    """The names that a test takes from outside."""
    own, found = _bound(source), set()

    def walk(table: symtable.SymbolTable) -> None:
        outermost = table.get_type() == "module"
        for s in table.get_symbols():
            if s.is_imported() and outermost:
                own.add(s.get_name())
            if outermost or s.is_global():
                found.add(s.get_name())
        for child in table.get_children():
            walk(child)

    walk(symtable.symtable(source, "<test>", "exec"))
    return {name for name in found - own if not hasattr(builtins, name)}


def _compiled(name: str, source: str) -> tuple[types.CodeType, types.CodeType | None]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    body = compile(tree, f"<{name}>", "exec")
    return body, last and compile(ast.Expression(last.value), f"<{name}>", "eval")


# What a test may use


class _TooLong(BaseException):
    """Raised in a test that works too long on what an answer returned."""


@contextlib.contextmanager
def _bounds(seconds: float) -> Iterator[None]:
    """Bounds on the time and memory of a test, whatever large things an answer returns."""
    thread = threading.get_ident()

    def stop() -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread), ctypes.py_object(_TooLong)
        )

    timer = threading.Timer(sandbox.PATIENCE * seconds + 5, stop)
    timer.daemon = True
    timer.start()
    old = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + TEST_MEMORY
        if old[0] == resource.RLIM_INFINITY or most < old[0]:
            resource.setrlimit(resource.RLIMIT_AS, (most, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
        timer.cancel()


@contextlib.contextmanager
def _profile() -> Iterator[None]:
    """The sizes of the box hold outside as well."""
    old = os.environ.get("GMLIB_PROFILE")
    os.environ["GMLIB_PROFILE"] = old or "test"
    try:
        yield
    finally:
        if old is None:
            del os.environ["GMLIB_PROFILE"]
