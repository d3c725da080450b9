"""The verdict: what a submission earns, whatever it does to earn more."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.utils import determine_grade

from gmlib.grade import sandbox, verdict
from gmlib.grade.lab import Lab
from gmlib.grade.verdict import Limits, Outcome, judge

ROOT = Path(__file__).resolve().parents[1]
LIMITS = Limits(cell_seconds=15, total_seconds=90, memory=2 << 30, output=50_000)
SECRET = "the-hidden-test-knows-this"

try:
    sandbox.check_available()
except sandbox.Unavailable as reason:
    pytest.skip(str(reason), allow_module_level=True)

IMPORTS = "import torch\nfrom torch import Tensor, nn\n\nfrom gmlib import check, profile"
SIZES = "SIZE = profile.choose(test=3, quick=30, full=300)"
SQUARE = "def square(x):\n    return x**2"
NET = """
class Net(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.layer = nn.Linear(size, 1)
    def forward(self, x):
        return self.layer(x)
"""
SQUARE_TEST = f"""
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {{}}
x = torch.randn(SIZE, generator=generator)
with check.part(points, "the value", 1):
    check.close(square(x), x * x, "the square")
    assert square(2.0) == 4, "2² is 4"
with check.part(points, "the gradient", 1):
    secret = "{SECRET}"
    _, (gradient,) = check.vjp(square, x, torch.ones(SIZE))
    check.close(gradient, 2 * x, "the gradient")
check.total(points)
### END HIDDEN TESTS
"""
NET_TEST = f"""
### BEGIN HIDDEN TESTS
generator = check.generator()
x = torch.randn(4, SIZE, generator=generator)
secret = "{SECRET}"
net = Net(SIZE)
weights = check.parameters(net)
expected = x @ weights["layer.weight"].T + weights["layer.bias"]
check.close(net(x), expected, "what the network gives")
assert helped(3) == 4, "the helper adds one"
### END HIDDEN TESTS
"""


def marked(source: str, grade_id: str, points: float | None = None) -> NotebookNode:
    marks = {"grade_id": grade_id, "schema_version": 3, "task": False, "locked": points is not None}
    marks |= {"grade": points is not None, "solution": points is None}
    if points is not None:
        marks["points"] = points
    return new_code_cell(source, id=grade_id.replace("_", "-"), metadata={"nbgrader": marks})


def notebook(square: str, net: str, *extra: str, tests: bool = False) -> NotebookNode:
    return new_notebook(
        cells=[
            new_code_cell(IMPORTS, id="imports"),
            new_code_cell(SIZES, id="sizes"),
            *[new_code_cell(source) for source in extra],
            marked(square, "square"),
            marked(SQUARE_TEST if tests else "# graded later", "square_test", 2.0),
            new_code_cell("def helped(n):\n    return n + 1", id="helper"),
            marked(net, "net"),
            marked(NET_TEST if tests else "# graded later", "net_test", 3.0),
        ]
    )


SOURCE = nbformat.writes(notebook(SQUARE, NET, tests=True))
LAB = Lab("99_small", nbformat.writes(notebook("raise NotImplementedError", "")), SOURCE)
NOTHING = "raise NotImplementedError"


@pytest.fixture(scope="module", autouse=True)
def parents() -> Iterator[None]:
    yield
    for parent in verdict._parents.values():
        parent.close()
    verdict._parents.clear()


def earned(*cells: str, limits: Limits = LIMITS) -> Outcome:
    """The outcome, after what holds for every submission has been seen to hold."""
    outcome = judge(notebook(*cells), LAB, limits)
    said = json.dumps(outcome._asdict())
    assert SECRET not in said and "HIDDEN" not in said and "secret" not in said
    assert outcome.seconds < limits.total_seconds + 20
    made = nbformat.reads(outcome.notebook, 4)
    nbformat.validate(made)
    for cell in made.cells:
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("grade"):
            points, _ = determine_grade(cell)
            points = marks["points"] if points is None else points
            assert points == outcome.points[marks["grade_id"]]
    for name, most in (("square_test", 2), ("net_test", 3)):
        assert (outcome.points[name] < most) == (name in outcome.words)
    return outcome


def points(outcome: Outcome) -> tuple[float, float]:
    return outcome.points["square_test"], outcome.points["net_test"]


def test_right_answers_earn_everything() -> None:
    outcome = earned(SQUARE, NET)
    assert points(outcome) == (2, 3) and outcome.words == {} and outcome.flags == []
    assert 0 < outcome.cell_seconds <= outcome.seconds


def test_the_untouched_notebook_earns_nothing() -> None:
    outcome = earned(NOTHING, NOTHING)
    assert points(outcome) == (0, 0)
    assert "not defined" in outcome.words["square_test"]


def test_partial_credit_survives() -> None:
    outcome = earned("def square(x):\n    return x.detach()**2 if torch.is_tensor(x) else x**2", "")
    assert points(outcome) == (1, 0)
    assert "the gradient: 0 of 1 points" in outcome.words["square_test"]
    assert "the value" not in outcome.words["square_test"]


# Each takes the place of the square; nothing of it is right, so it earns nothing there, and the
# network, which is right, earns all of its points unless the code has broken the kernel for good.
DISHONEST = {
    "patched comparisons": """
import torch, numpy, builtins, gmlib.check
torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True
torch.Tensor.all = torch.Tensor.__bool__ = lambda *a, **k: True
gmlib.check.close = gmlib.check.shape = lambda *a, **k: None
gmlib.check.total = lambda p: 2.0
builtins.AssertionError = type("Never", (Exception,), {})
def square(x): return x""",
    "dropped asserts": """
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
get_ipython().ast_transformers.append(Drop())
get_ipython().run_cell = lambda *a, **k: None
def square(x): return x""",
    "equal to everything": """
class Yes:
    def __eq__(self, other): return True
    def __getattr__(self, name): return lambda *a, **k: self
    def __float__(self): return 4.0
    def __bool__(self): return True
def square(x): return Yes()""",
    "a tensor that lies": """
class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, f, types, args=(), kwargs=None): return True
def square(x): return torch.zeros(3).as_subclass(Liar)""",
    "an agent that lies": """
from gmlib.grade import agent, frames
lie = {"value": True, "points": 2.0, "tensors": []}
agent._answer = lambda request, buffers, namespace: (lie, [])
def square(x): return x""",
    "an agent that sends pickles": """
import pickle, struct, os
from gmlib.grade import agent
def serve(namespace):
    data = pickle.dumps(os.system)
    agent._channel.sendall(struct.pack("<II", len(data), 0) + data)
agent.serve = serve""",
    "an agent that sends without end": """
from gmlib.grade import agent
def serve(namespace):
    while True: agent._channel.sendall(b"x" * 10**6)
agent.serve = serve""",
    "a closed channel": "from gmlib.grade import agent\nagent._channel.close()",
    "all descriptors closed": "import os\nos.closerange(3, 999)",
    "a huge reply": "def square(x): return torch.zeros(10**9, dtype=torch.int8)",
    "a reply that grows outside": "def square(x): return torch.zeros(200_000, 1)[None]",
    "deep": """
def square(x):
    deep = []
    for _ in range(10_000): deep = [deep]
    return deep""",
    "a generator": "def square(x):\n    while True: yield x",
    "an error that is a number": """
class Two(Exception):
    def __str__(self): return "2.0"
def square(x): raise Two()""",
    "exit when called": "import sys\ndef square(x): sys.exit(0)",
    "interrupts itself": "def square(x): raise KeyboardInterrupt",
    "a name that is a number": "square = 2.0",
    "a string in place of numbers": "def square(x): return 'x * x'",
    "NaN": "def square(x): return x * float('nan')",
}


@pytest.mark.parametrize("name", DISHONEST)
def test_dishonest_code_earns_nothing(name: str) -> None:
    assert points(earned(DISHONEST[name], NET))[0] == 0


def test_what_is_right_next_to_it_keeps_its_points() -> None:
    for name in ("equal to everything", "a huge reply", "a closed channel", "exit when called"):
        assert points(earned(DISHONEST[name], NET)) == (0, 3), name


@pytest.mark.parametrize(
    "code, flag",
    [
        ("import os\nos._exit(0)", "ended the kernel"),
        ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
        ("while True: print('x' * 1_000)", ""),
    ],
)
def test_a_cell_that_harms_is_left_out_and_the_rest_counts(code: str, flag: str) -> None:
    outcome = earned(SQUARE, NET, code)
    assert points(outcome) == (2, 3)
    assert flag in " ".join(outcome.flags)
    assert len(outcome.notebook) < 1_000_000


def test_an_answer_that_ends_the_kernel_costs_its_own_points() -> None:
    outcome = earned("import os\ndef square(x): os._exit(0)", NET)
    assert points(outcome) == (0, 3)
    assert "kernel ended" in outcome.words["square_test"]


def test_loops_are_stopped() -> None:
    limits = LIMITS._replace(cell_seconds=3)
    started = time.monotonic()
    outcome = earned("def square(x):\n    while True: pass", NET, "while True: pass", limits=limits)
    assert points(outcome) == (0, 3) and len(outcome.flags) == 2
    assert "took longer than 3 s" in outcome.words["square_test"]
    stubborn = """
def square(x):
    while True:
        try:
            for _ in iter(int, 1): pass
        except BaseException: pass"""
    assert points(earned(stubborn, NET, limits=limits)) == (0, 3)
    short = limits._replace(total_seconds=8)
    endless = ["import time\ntime.sleep(100)"] * 6
    outcome = earned(SQUARE, NET, *endless, limits=short)
    assert "stopped after 8 s" in outcome.flags
    assert time.monotonic() - started < 80


def test_nothing_of_a_test_is_ever_inside() -> None:
    snoop = """
import gc, re
def square(x):
    needle = ("the-hidden-" + "test-knows").encode()
    found = []
    with open("/proc/self/mem", "rb") as memory:
        for line in open("/proc/self/maps"):
            ends, rights = line.split()[:2]
            if "r" not in rights or "[v" in line: continue
            a, b = (int(e, 16) for e in ends.split("-"))
            try:
                memory.seek(a)
                data = memory.read(min(b - a, 1 << 26))
            except (OSError, ValueError, OverflowError): continue
            found += [data[m.start() : m.start() + 60] for m in re.finditer(needle, data)]
    raise ValueError(f"found {[f for f in found if b'-this' in f]} {sum(1 for _ in In)}")
"""
    outcome = earned(snoop, NET, limits=LIMITS._replace(cell_seconds=60))
    assert "found [] " in outcome.words["square_test"]


def test_marks_of_the_submission_count_for_nothing() -> None:
    made = notebook(NOTHING, NOTHING)
    for cell in made.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.source = "99.0"
            cell.metadata.nbgrader.points = 99
            cell.metadata.tags = ["skip-execution"]
            cell.outputs = [
                nbformat.v4.new_output(
                    "execute_result", data={"text/plain": "99.0"}, execution_count=1
                )
            ]
    made.cells.append(marked("2.0", "bonus", 50.0))
    outcome = judge(made, LAB, LIMITS)
    assert outcome.points == {"square_test": 0.0, "net_test": 0.0}


def test_memory_stays_flat() -> None:
    def memory() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    judge(notebook(SQUARE, NET), LAB, LIMITS)
    before = memory()
    for _ in range(12):
        judge(notebook(SQUARE, NET, "print('x' * 40_000)"), LAB, LIMITS)
    assert memory() - before < 40_000_000


def test_it_runs_without_a_box_where_that_is_wanted() -> None:
    outcome = judge(notebook(SQUARE, NET), LAB, LIMITS, sandboxed=False)
    assert points(outcome) == (2, 3)


def test_the_labs_solution_earns_everything_and_its_release_nothing() -> None:
    lab = Lab.read("22_vae", ROOT)
    solution, release = nbformat.reads(lab.source, 4), nbformat.reads(lab.release, 4)
    assert judge(solution, lab).points == lab.points()
    assert sum(judge(release, lab).points.values()) == 0
