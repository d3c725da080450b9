"""The box in which a submission runs: bubblewrap, limits, a warm parent, a kernel provisioner.

Inside there is no network, the system is read-only, and nothing of the course but gmlib: no
solutions, no gradebook, no other student, no environment. `warm` tells what stands in the box.
Where a parent may make namespaces of its own inside the box, one box serves many submissions, each
in a fresh namespace; elsewhere each submission has a new box, which starts more slowly.
"""

import asyncio
import atexit
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import site
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from pathlib import Path
from typing import IO, Any, NamedTuple

from jupyter_client.provisioning import KernelProvisionerBase

import gmlib
from gmlib.grade import warm

INSTALL = "apt-get install bubblewrap"
ALIVE = "alive"  # a file that is locked as long as the grader lives
DISK = 256 << 20  # bytes that the parent may write, or a submission with no place of its own
FIRST_UID, UIDS = 1 << 20, 1 << 20  # of boxes, where the grader is root
START_SECONDS = 300  # for the imports of a warm parent on a busy machine
PATIENCE = 3  # a limit in seconds lasts so many times as long, where others keep the machine busy
MODULES = (  # to import once: what a kernel needs, what it imports with its first cell, the labs'
    "ipykernel.kernelapp ipykernel.ipkernel ipykernel.debugger sqlite3 tornado.platform.asyncio "
    "IPython.core.completerlib IPython.core.debugger IPython.core.logger IPython.core.oinspect "
    "IPython.core.magics.execution IPython.extensions.storemagic matplotlib.pyplot "
    "matplotlib_inline.config numpy torch torch.distributions torch.nn.functional "
    "gmlib.check gmlib.data gmlib.plot gmlib.profile gmlib.records gmlib.scores gmlib.train "
    "gmlib.grade.agent"
).split()


class Limits(NamedTuple):
    """What one submission may use.

    Args:
        cell_seconds: one cell, or one hidden test with all its calls; then it is stopped.
        total_seconds: the whole submission.
        memory: bytes, of all processes together.
        processes: how many at once, threads counted.
        disk: bytes, of all files together, kept in memory.
        file: bytes of one file.
        output: bytes of text and pictures that are kept of one cell, and of a notebook eight
            times as many; a flood far beyond stops the cell.
    """

    cell_seconds: float = 60
    total_seconds: float = 300
    memory: int = 4 << 30
    processes: int = 256
    disk: int = 256 << 20
    file: int = 200_000_000
    output: int = 1_000_000


class Unavailable(Exception):
    """There is no box to be had on this machine; says why, and what to do."""


def check_available() -> None:
    """Make an empty box.

    Raises:
        Unavailable: in one line, with the command that installs what is missing.
    """
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        raise Unavailable(f"bubblewrap is missing, no submission can be boxed; run: {INSTALL}")
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        said = made.stderr.strip().splitlines()[-1:] or ["it gave no reason"]
        raise Unavailable(f"bubblewrap can make no box on this machine: {said[0]}")


class Box:
    """One submission's processes.

    Args:
        parent: whose child the kernel is.
        connection: of the kernel, as in a connection file.
        channel: the socket to the agent inside.
        clock: a file in which the box writes how long its kernel waited for a processor, and how
            many processes there are.
    """

    def __init__(
        self, parent: "Parent", connection: dict[str, Any], channel: socket.socket, clock: IO[bytes]
    ) -> None:
        self.parent, self.connection, self.channel = parent, connection, channel
        self.clock, self.started = clock, time.monotonic()
        self._why = ""

    def time(self) -> float:
        """Seconds since it was started that count: not those in which the kernel waited for a
        processor, so that what others do on this machine costs nobody points."""
        passed = time.monotonic() - self.started
        return max(passed - self._seen()[0], passed / PATIENCE)

    def processes(self) -> int:
        """How many there are in it now."""
        return int(self._seen()[1])

    def _seen(self) -> tuple[float, float]:
        return struct.unpack("dd", os.pread(self.clock.fileno(), 16, 0))

    def ended(self, wait: float = 0.0) -> str:
        """Why the kernel has ended, or nothing while it runs; waits up to so many seconds."""
        if not self._why and (state := self.parent.hear(wait)):
            self._why = state.get("why") or "it ended"
            self.channel.close()
        return self._why

    def interrupt(self) -> None:
        """Ctrl-C for the kernel."""
        self.parent.tell({"interrupt": True})

    def kill(self) -> None:
        """End all its processes, at once and for good."""
        if not self.ended():
            self.parent.tell({"kill": True})
            if not self.ended(wait=10):
                self._why = "killed"
                self.channel.close()
                self.parent.close()
        if self.parent.sandboxed and not self.parent.nested:
            self.parent.close()  # only the end of the box ends all that may be left in it
        self.parent.busy = False


class Parent:
    """A process in a box that has imported what takes long and forks kernels, one at a time.

    It begins to import at once; the first `start` waits for it.

    Args:
        modules: to import ahead, besides the usual ones.
        assets: to read ahead, by `gmlib.data.asset`.
        sandboxed: False runs it with no box and no limits: for code that one trusts.

    Raises:
        Unavailable: there is no box to be had.
    """

    def __init__(
        self, modules: tuple[str, ...] = (), assets: tuple[str, ...] = (), *, sandboxed: bool = True
    ) -> None:
        self.sandboxed, self.modules, self.assets = sandboxed, modules, assets
        self.nested, self.proven = sandboxed, False
        self.owner = os.getpid()
        self.busy, self.closed, self.count = False, True, 0
        if sandboxed:
            check_available()
        self._open()
        atexit.register(self.close)

    def start(self, limits: Any, environment: dict[str, str] | None = None) -> Box:
        """A kernel in a place of its own, running.

        Raises:
            Unavailable: it could not be started.
        """
        if self.busy:
            raise RuntimeError("a warm parent serves one submission at a time")
        self.ready()
        try:
            box = self._start(limits, environment or {})
        except Unavailable:
            if not self.sandboxed:
                raise
            self.close()
            self.nested = self.proven  # else no namespaces in a box here: a new box for each
            self.ready()
            box = self._start(limits, environment or {})
        self.proven = self.nested
        return box

    def _start(self, limits: Any, environment: dict[str, str]) -> Box:
        for path in self.folder.glob("k*"):
            path.unlink()
        self.count += 1
        connection = {
            "transport": "ipc", "ip": str(self.folder / f"k{self.count}"), "key": uuid.uuid4().hex,
            "signature_scheme": "hmac-sha256", "kernel_name": "",
            **{f"{c}_port": i for i, c in enumerate("shell iopub stdin hb control".split(), 1)},
        }  # fmt: skip
        ours, theirs = socket.socketpair()
        order = {
            "connection": connection | {"ip": f"{self.inside}/k{self.count}"},
            "environment": environment,
            "memory": limits.memory,
            "processes": limits.processes,
            "disk": limits.disk,
            "file": limits.file,
            "output": limits.output,
            "seconds": limits.total_seconds,
        }
        message = json.dumps({"start": order}).encode() + b"\n"
        clock = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (until the box goes)
        clock.write(struct.pack("dd", 0.0, 0.0))
        socket.send_fds(self.control, [message], [theirs.fileno(), clock.fileno()])
        theirs.close()
        box = Box(self, connection, ours, clock)
        self.busy = True
        last = self.folder / f"k{self.count}-5"
        end = time.monotonic() + START_SECONDS
        while not last.exists():
            if why := box.ended(wait=0.01):
                self.busy = False
                raise Unavailable(f"the kernel did not start: {why}")
            if time.monotonic() > end:
                box.kill()
                raise Unavailable("the kernel did not start in time")
        return box

    def tell(self, order: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.control.sendall(json.dumps(order).encode() + b"\n")

    def hear(self, wait: float) -> dict[str, Any]:
        """What the parent reports, or nothing."""
        if b"\n" not in self.heard and select.select([self.control], [], [], wait)[0]:
            data = b""
            with contextlib.suppress(OSError):
                data = self.control.recv(1 << 16)
            if not data:
                self.close()
                return {"state": "ended", "why": "its box ended"}
            self.heard += data
        line, separator, rest = self.heard.partition(b"\n")
        if not separator:
            return {}
        self.heard = rest
        return json.loads(line)

    def close(self) -> None:
        """End the parent and all that it started."""
        if self.closed or os.getpid() != self.owner:
            return
        self.closed = True
        self.control.close()
        self.alive.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ready(self) -> None:
        """Wait until all is imported.

        Raises:
            Unavailable: there is no box.
        """
        if self.closed:
            self._open()
        if self.warm:
            return
        self.warm = self.hear(START_SECONDS).get("state") == "warm"
        if not self.warm:
            self.close()
            self.said.seek(0)
            why = self.said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise Unavailable(f"no box could be made: {' '.join(why) or 'no reason given'}")

    def _open(self) -> None:
        _sweep()
        # Short, since the names of sockets may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="box-", dir="/tmp"))
        self.inside = "/k" if self.sandboxed else str(self.folder)
        root = self.sandboxed and os.getuid() == 0
        self.alive = open(self.folder / ALIVE, "w")  # noqa: SIM115 (until `close`)
        fcntl.lockf(self.alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        uid = FIRST_UID + uuid.uuid4().int % UIDS  # its own: processes are counted by user
        if root:
            os.chown(self.folder, uid, uid)
            os.chown(self.folder / ALIVE, uid, uid)
        ours, theirs = socket.socketpair()
        settings = {
            "root": root,
            "uid": uid,
            "nested": self.nested,
            "limited": self.sandboxed,
            "modules": [*MODULES, *self.modules],
            "assets": self.assets,
            "shown": [path for path in _python() if _is_covered(path)] if self.nested else [],
            "folder": self.inside,
            "control": theirs.fileno(),
            "home": "/home/student" if self.sandboxed else str(self.folder / "home"),
        }
        command = [sys.executable, "-m", "gmlib.grade.warm", json.dumps(settings)]
        if self.sandboxed:
            command = [*_bwrap(self.folder, root, DISK), "--", *command]
        self.said = tempfile.TemporaryFile()  # noqa: SIM115 (until the next box)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.said,
            start_new_session=True, env=_environment(self.sandboxed),
            pass_fds=[theirs.fileno()],
        )  # fmt: skip
        theirs.close()
        self.control, self.heard = ours, b""
        self.closed, self.warm, self.busy = False, False, False


def _sweep() -> None:
    """Remove the folders of graders that were killed."""
    for folder in Path("/tmp").glob("box-*"):
        with contextlib.suppress(OSError), open(folder / ALIVE, "r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _environment(sandboxed: bool) -> dict[str, str]:
    """All that the processes inside know of the environment."""
    kept = {} if sandboxed else dict(os.environ)
    kept.pop("GMLIB_CHECK_SEED", None)
    if "LD_LIBRARY_PATH" in os.environ:
        kept["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    home = "/home/student" if sandboxed else kept.get("HOME", "/tmp")
    return kept | threads | {
        "HOME": home,
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "USER": "student",
        "LANG": "C.UTF-8",
        "GMLIB_PROFILE": os.environ.get("GMLIB_PROFILE", "test"),
        "GMLIB_RESULTS": f"{home}/results" if sandboxed else tempfile.gettempdir(),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "TQDM_DISABLE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "1",
    }  # fmt: skip


def _bwrap(folder: Path, root: bool, disk: int) -> list[str]:
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--as-pid-1", "--hostname", "box"]
    if root:  # gives up its rights itself, after it has mounted /proc
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        command += ["--cap-add", "CAP_SYS_ADMIN", "--dir", "/proc"]
    else:
        command += ["--unshare-user", "--uid", "1000", "--gid", "1000", "--proc", "/proc"]
    command += ["--dev", "/dev", "--dir", "/box", "--dir", "/home/student", "--dir", "/tmp"]
    command += ["--dir", "/etc", "--dir", "/run"]
    for path in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            command += ["--ro-bind", path, path]
    for path in ("/etc/ld.so.cache", "/etc/fonts", "/etc/localtime", "/etc/alternatives"):
        command += ["--ro-bind-try", path, path]
    for path in warm.WRITABLE.values():  # in a nested place, covered by its own
        command += ["--perms", "1777", "--size", str(disk), "--tmpfs", path]
    python = _python()
    for path in python:
        command += [*_above(path), "--ro-bind", path, path]
    command += _course(python)
    fonts = Path.home() / ".cache" / "matplotlib"  # a list that takes seconds to make
    for path in fonts.glob("fontlist-*.json"):
        command += ["--dir", "/home/student/.cache/matplotlib"]
        command += ["--ro-bind", str(path), f"/home/student/.cache/matplotlib/{path.name}"]
    return [
        *command, "--bind", str(folder), "/k", "--remount-ro", "/dev", "--remount-ro", "/",
        "--chdir", "/",
    ]  # fmt: skip


def _python() -> list[str]:
    """Folders of Python, its packages and gmlib; of an editable gmlib, only the package."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages()}
    paths |= {str(Path(os.path.realpath(sys.executable)).parents[1])}
    if site.ENABLE_USER_SITE:
        paths.add(site.getusersitepackages())
    paths |= {str(Path(gmlib.__file__).parent)}
    there = sorted({os.path.realpath(p) for p in paths if p} | {p for p in paths if p})
    there = [p for p in there if os.path.isdir(p) and not p.startswith("/usr/")]
    there = [p for p in there if p not in ("/", "/usr", "/home", os.path.expanduser("~"))]
    return [p for p in there if not any(p.startswith(f"{other}/") for other in there)]


def _is_covered(path: str) -> bool:
    """Whether it lies where a submission gets a folder of its own."""
    return any(Path(path).is_relative_to(place) for place in warm.WRITABLE.values())


def _course(bound: list[str]) -> list[str]:
    """Hides a course that lies in a folder which the box shows, all but gmlib."""
    package = Path(gmlib.__file__).resolve().parent
    course = package.parent
    shown = any(course.is_relative_to(path) for path in [*bound, "/usr"])
    if not shown or not (course / "solutions").is_dir():
        return []
    inner = sorted({str(package), *(p for p in {sys.prefix} if Path(p).is_relative_to(course))})
    binds = [word for path in inner for word in ("--dir", path, "--ro-bind", path, path)]
    return ["--tmpfs", str(course), *binds]


def _above(path: str) -> list[str]:
    """Makes the folders that a path lies in, which everybody may enter."""
    return [word for folder in reversed(Path(path).parents[:-1]) for word in ("--dir", str(folder))]


class BoxProvisioner(KernelProvisionerBase):
    """Jupyter's way to a box: kernels that others start, nbclient's or nbgrader's, run in one.

    Choose it with `c.KernelProvisionerFactory.default_provisioner_name = "gmlib-box"`, or in the
    metadata of a kernel's specification.
    """

    parent_process: Parent | None = None
    box: Box | None = None

    @property
    def has_process(self) -> bool:
        return self.box is not None

    async def poll(self) -> int | None:
        return None if self.box is not None and not self.box.ended() else 0

    async def wait(self) -> int | None:
        while await self.poll() is None:
            await asyncio.sleep(0.05)
        self.box = None
        return 0

    async def send_signal(self, signum: int) -> None:
        if self.box is None or signum == 0:
            return
        if signum == signal.SIGINT:
            self.box.interrupt()
        else:
            await self.kill()

    async def kill(self, restart: bool = False) -> None:
        if self.box is not None:
            self.box.kill()

    async def terminate(self, restart: bool = False) -> None:
        await self.kill(restart)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        kwargs.setdefault("env", {})
        return await super().pre_launch(cmd=["kernel"], **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        if self.parent_process is None:
            self.parent_process = Parent()
        self.box = self.parent_process.start(Limits())
        return self.box.connection | {"key": self.box.connection["key"].encode()}

    async def cleanup(self, restart: bool = False) -> None:
        if self.box is not None:
            self.box.kill()
            self.box = None
        if self.parent_process is not None and not restart:
            self.parent_process.close()
            self.parent_process = None
