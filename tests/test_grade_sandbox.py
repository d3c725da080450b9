"""The box: what a submission's process sees, may use, and leaves behind."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from gmlib.grade import sandbox
from gmlib.grade.kernel import Ended, Kernel
from gmlib.grade.verdict import Limits
from gmlib.grade.warm import WRITABLE

ROOT = Path(__file__).resolve().parents[1]
LIMITS = Limits(memory=2 << 30, processes=64, disk=64 << 20, file=20_000_000)

try:
    sandbox.check_available()
except sandbox.Unavailable as reason:
    pytest.skip(str(reason), allow_module_level=True)


@pytest.fixture(scope="module", params=["nested", "one box each"])
def parent(request: pytest.FixtureRequest) -> Iterator[sandbox.Parent]:
    made = sandbox.Parent()
    if request.param == "one box each":  # as where no namespaces can be made inside a box
        made.close()
        made.nested = False
    yield made
    made.close()


@pytest.fixture
def kernel(parent: sandbox.Parent) -> Iterator[Kernel]:
    made = Kernel(parent.start(LIMITS))
    yield made
    made.close()
    made.box.kill()


def said(kernel: Kernel, code: str, seconds: float = 20) -> str:
    """What a cell shows, as text."""
    outputs, stopped = kernel.run(code, seconds, 1_000_000)
    texts = [o.get("text") or o.get("evalue") or str(o.get("data")) for o in outputs]
    return "".join(texts) + stopped


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [p for child in map(int, text.split()) for p in (child, *below(child))]


def test_cells_behave_as_in_a_notebook(kernel: Kernel) -> None:
    assert said(kernel, "%time x = 1\nx + 1").endswith("{'text/plain': '2'}")
    assert "3" in said(kernel, "import asyncio\nawait asyncio.sleep(0.01)\nprint(In and 3)")
    assert "image/png" in said(kernel, "import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    assert "not support" in said(kernel, "input('name?')")
    assert "hello" in said(kernel, "!echo hello")
    assert "SystemExit" in str(kernel.run("import sys; sys.exit(3)", 20, 1_000)[0])
    assert said(kernel, "x") == "{'text/plain': '1'}"


def test_it_sees_nothing_of_the_course_and_the_machine(kernel: Kernel) -> None:
    code = f"""
import os, socket
from pathlib import Path
for path in ({str(ROOT / "solutions")!r}, {str(ROOT / "tests")!r}, {str(ROOT / "notebooks")!r}):
    print(os.path.exists(path))
print(sorted(os.environ))
print(os.listdir("."), os.getuid() != 0, Path("/etc/passwd").exists(), Path("/etc/shadow").exists())
print(socket.if_nameindex())
"""
    seen = said(kernel, code)
    assert seen.startswith("False\nFalse\nFalse\n")
    assert "PYTEST" not in seen and "SSH" not in seen and "TOKEN" not in seen
    assert "[] True False False" in seen and "[(1, 'lo')]" in seen


def test_it_may_write_at_home_only(kernel: Kernel) -> None:
    code = """
import os
for folder, _, _ in os.walk("/"):
    if folder.startswith(("/proc", "/home/student", "/tmp", "/dev/shm", "/box/")):
        continue
    try:
        open(os.path.join(folder, "written"), "w").write("x")
        print("WRITTEN", folder)
    except OSError:
        pass
    if folder.count("/") > 3:
        continue
"""
    written = said(kernel, code, 60).split("WRITTEN ")[1:]
    nested = kernel.box.parent.nested
    assert {w.strip() for w in written} <= ({"/box"} if nested else {"/k"})


def test_no_rights_can_be_had(kernel: Kernel) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print([libc.unshare(flag) for flag in (0x10000000, 0x20000, 0x20000000)])
print(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None), libc.memfd_create(b"x", 0))
print([line for line in open("/proc/self/status") if line[:6] in ("CapEff", "CapPrm", "NoNewP")])
try:
    os.kill(1, 9)
except OSError as error:
    print(error)
print(sorted(int(n) for n in os.listdir("/proc") if n.isdigit()))
try:
    print(open("/proc/1/mem", "rb"))
except OSError as error:
    print(type(error).__name__)
"""
    seen = said(kernel, code)
    assert "-1 -1" in seen and "CapEff:\\t0000000000000000" in seen and "NoNewPrivs:\\t1" in seen
    assert "PermissionError" in seen
    if kernel.box.parent.nested:
        assert "[-1, -1, -1]" in seen and "[1, 2]" in seen
    assert said(kernel, "1 + 1") == "{'text/plain': '2'}"


def test_the_next_submission_finds_nothing(parent: sandbox.Parent) -> None:
    first = Kernel(parent.start(LIMITS))
    leave = """
import os, subprocess, sys
from multiprocessing import shared_memory
for folder in ("/tmp", "/dev/shm", "/home/student", "/home/student/work"):
    open(f"{folder}/left", "w").write("x")
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    import time
    time.sleep(600)
import torch
torch.nn.functional.relu = None
print("left")
"""
    assert said(first, leave) == "left\n"
    first.close()
    first.box.kill()
    if not parent.closed:
        assert len(below(parent.process.pid)) == 1  # the parent itself, in its box
    second = Kernel(parent.start(LIMITS))
    look = """
import os, torch
print([f for f in ("/tmp", "/dev/shm", "/home/student", ".") if "left" in os.listdir(f)])
print(torch.nn.functional.relu is None)
numbers = [n for n in os.listdir("/proc") if n.isdigit()]
print([n for n in numbers if b"sleep" in open(f"/proc/{n}/cmdline", "rb").read()])
"""
    assert said(second, look) == "[]\nFalse\n[]\n"
    second.close()
    second.box.kill()


def test_time_is_limited_even_where_nothing_listens(kernel: Kernel) -> None:
    assert "took longer than 1 s" in said(kernel, "while True: pass", 1)
    assert said(kernel, "1 + 1") == "{'text/plain': '2'}"
    stubborn = """
while True:
    try:
        for _ in iter(int, 1): pass
    except KeyboardInterrupt:
        pass
"""
    started = kernel.box.time()
    with pytest.raises(Ended, match="took longer than 1 s"):
        kernel.run(stubborn, 1, 1_000)
    assert kernel.box.time() - started < 8
    kernel.box.kill()
    assert kernel.box.ended()


def test_memory_of_one_process(kernel: Kernel) -> None:
    assert "Unable to allocate" in said(kernel, "import numpy as np\nnp.ones(10**11 // 8)")
    assert said(kernel, "1 + 1") == "{'text/plain': '2'}"


def test_memory_of_all_processes_together(kernel: Kernel) -> None:
    code = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        hold = bytearray(600_000_000)
        for i in range(0, len(hold), 4096): hold[i] = 1
        time.sleep(60)
time.sleep(60)
"""
    with pytest.raises(Ended, match="more than 2048 MB of memory"):
        kernel.run(code, 50, 1_000)


def test_processes_are_limited(kernel: Kernel) -> None:
    code = """
import os, time
made = 0
try:
    while made < 2_000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
except OSError as error:
    print(error)
print("made", made)
"""
    seen = said(kernel, code, 60)
    assert "temporarily unavailable" in seen
    assert int(seen.split("made ")[1]) < 64


def test_disk_and_files_are_limited(kernel: Kernel) -> None:
    code = """
import itertools
try:
    with open("large", "wb") as file:
        for _ in range(100): file.write(bytes(1_000_000))
except OSError as error:
    print(error)
try:
    for i in itertools.count():
        with open(f"/tmp/{i}", "wb") as file:
            for _ in range(15): file.write(bytes(1_000_000))
except OSError as error:
    print(error)
"""
    seen = said(kernel, code, 60)
    assert "File too large" in seen
    assert "No space left" in seen or not kernel.box.parent.nested


@pytest.mark.parametrize(
    "code, why",
    [
        ("import os; os._exit(7)", "ended itself with status 7"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import os, signal; os.killpg(0, signal.SIGKILL)", "SIGKILL"),
    ],
)
def test_a_kernel_that_ends_is_told(kernel: Kernel, code: str, why: str) -> None:
    with pytest.raises(Ended, match=why):
        kernel.run(code, 20, 1_000)
    kernel.box.kill()


def test_a_flood_of_output_is_stopped(parent: sandbox.Parent) -> None:
    """A kernel that is interrupted amid a large write may not come back: then it is ended."""
    floods = (
        "while True: print('x' * 10**6)",
        "while True: print('x')",
        "from IPython.display import display\nwhile True: display('x' * 10**5)",
        "print('x' * 2 * 10**8)",
    )
    for flood in floods:
        kernel = Kernel(parent.start(LIMITS))
        try:
            _, stopped = kernel.run(flood, 30, 50_000)
            assert said(kernel, "1 + 1").endswith("{'text/plain': '2'}"), flood
        except Ended as ended:
            stopped = str(ended)
        assert stopped in ("too much output", ""), flood
        assert sum(len(str(o)) for o in kernel.outputs.cells()) < 400_000
        kernel.close()
        kernel.box.kill()


@pytest.mark.parametrize("nested", [True, False])
def test_packages_below_tmp_are_seen_and_nothing_else(
    nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A course may lie where a submission gets a folder of its own."""
    with tempfile.TemporaryDirectory(dir=WRITABLE["tmp"]) as course:
        os.chmod(course, 0o755)
        packages = Path(course) / "venv"
        packages.mkdir()
        (packages / "thing.py").write_text("x = 3\n")
        (Path(course) / "gradebook.db").write_text("secret")
        others = sandbox._python()
        monkeypatch.setattr(sandbox, "_python", lambda: [*others, str(packages)])
        parent = sandbox.Parent()
        if not nested:
            parent.close()
            parent.nested = False
        kernel = Kernel(parent.start(LIMITS))
        found = said(
            kernel,
            f"import os\nos.listdir({course!r}), open({str(packages)!r} + '/thing.py').read()",
        )
        assert found == "{'text/plain': \"(['venv'], 'x = 3\\\\n')\"}"
        assert "Read-only" in said(kernel, f"open({str(packages)!r} + '/thing.py', 'w')")
        assert "14" in said(kernel, f"open('{WRITABLE['tmp']}/mine', 'w').write('what is my own')")
        kernel.close()
        kernel.box.kill()
        parent.close()
        assert (packages / "thing.py").read_text() == "x = 3\n"


def test_without_bubblewrap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(sandbox.Unavailable, match="apt-get install bubblewrap"):
        sandbox.Parent()


def test_without_a_box_cells_run_and_are_ended(tmp_path: Path) -> None:
    made = sandbox.Parent(sandboxed=False)
    kernel = Kernel(made.start(LIMITS))
    assert said(kernel, "import os\nos.getuid()") == f"{{'text/plain': '{os.getuid()}'}}"
    kernel.close()
    kernel.box.kill()
    made.close()
    assert made.process.poll() is not None


@pytest.mark.parametrize("sandboxed", [True, False])
def test_nothing_outlives_a_grader_that_is_killed(sandboxed: bool, tmp_path: Path) -> None:
    code = f"""
import os, time
from gmlib.grade import sandbox, verdict
from gmlib.grade.kernel import Kernel
parent = sandbox.Parent(sandboxed={sandboxed})
if os.fork() == 0:  # holds the same sockets
    time.sleep(60)
    os._exit(0)
kernel = Kernel(parent.start(verdict.Limits()))
print(parent.process.pid, parent.folder, flush=True)
kernel.run("while True: pass", 60, 1_000)
"""
    grader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid, folder = grader.stdout.readline().split()
    pids = [int(pid), *below(int(pid))]
    assert len(pids) >= 4
    grader.kill()
    grader.wait()
    end = time.monotonic() + 10
    while left := [p for p in pids if Path(f"/proc/{p}/exe").exists()]:
        assert time.monotonic() < end, f"{len(left)} processes have outlived their grader"
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def test_jupyter_starts_kernels_in_a_box() -> None:
    from jupyter_client import AsyncKernelManager
    from jupyter_client.provisioning import KernelProvisionerFactory
    from nbclient import NotebookClient

    factory = KernelProvisionerFactory.instance()
    old, factory.default_provisioner_name = factory.default_provisioner_name, "gmlib-box"
    try:
        cell = nbformat.v4.new_code_cell(
            "import os\nprint(os.getuid(), os.getcwd(), len(os.environ))"
        )
        slow = nbformat.v4.new_code_cell("while True: pass")
        notebook = nbformat.v4.new_notebook(cells=[cell, slow])
        client = NotebookClient(
            notebook, km=AsyncKernelManager(), timeout=2, allow_errors=True,
            interrupt_on_timeout=True, error_on_timeout={
                "ename": "Timeout", "evalue": "", "traceback": []},
        )  # fmt: skip
        # In a thread: a browser that another file has opened keeps a loop in this one.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, client.async_execute()).result()
    finally:
        factory.default_provisioner_name = old
    assert "/home/student/work" in notebook.cells[0].outputs[0].text
    assert not notebook.cells[0].outputs[0].text.startswith("0 ")
