"""Runs inside the box: a parent that has imported what takes long, and forks a kernel a submission.

The parent never runs a line of a student's. A submission gets a process of its own, in which:

    parent ── A ── init ── kernel      A and init set up, kernel is the student's
                   (1)     (the others)

`init` is process 1 of new process, mount, IPC and user namespaces. It mounts the submission's own
/proc and one small tmpfs, which is home, /tmp and /dev/shm, watches memory and processes, and
takes everything down with it when it ends. The kernel has no privilege, sees no process of the
parent and finds nothing of another submission.
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import platform
import resource
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

LINUX = sys.platform == "linux"
STUDENT = 1000
LOOK = 0.05  # seconds between two looks at memory and processes
CROWDED = 2.0  # seconds that a submission may have about as many processes as it can have
MIB = 1 << 20
WRITABLE = {"home": "/home/student", "tmp": "/tmp", "shm": "/dev/shm"}

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECCOMP = 1, 4, 24, 22
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47

# System calls that no notebook needs and that reach memory which nobody counts, or the kernel.
FORBIDDEN = {
    "x86_64": (0xC000003E, "319 447 323 321 298 425 426 427 248 249 250 310 311 246 320 175 313"),
    "aarch64": (0xC00000B7, "279 447 282 280 241 425 426 427 217 218 219 270 271 104 294 105 273"),
}  # memfd_create memfd_secret userfaultfd bpf perf_event_open io_uring×3 keys×3 vm_readv vm_writev
#    kexec×2 init_module×2


def main() -> None:
    """Argument: JSON with what `sandbox.Parent` has decided."""
    settings = json.loads(sys.argv[1])
    if settings["root"]:
        _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        os.setgroups([])
        os.setresgid(*[settings["uid"]] * 3)
        os.setresuid(*[settings["uid"]] * 3)
    if LINUX:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user has cleared bwrap's own
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        _prctl(PR_SET_DUMPABLE, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _alive
    _alive = os.open(f"{settings['folder']}/alive", os.O_RDWR)
    control = socket.socket(fileno=settings["control"])
    for name in settings["modules"]:
        try:
            importlib.import_module(name)
        except Exception as error:  # a lab's own; a student meets it in the cell that imports it
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    from gmlib import data

    for name in settings["assets"]:
        data.asset(name)  # kept: no kernel has to read it again
    gc.collect()
    gc.freeze()
    control.sendall(b'{"state": "warm"}\n')
    while _one(control, settings):
        pass


_alive = -1


def _wait(descriptors: list[Any]) -> list[Any]:
    """Which of them can be read. Ends this process, and its box, when the grader has died.

    The grader holds a lock, which goes with it, while its sockets may live on in its children.
    """
    while True:
        ready = select.select(descriptors, [], [], 0.5)[0]
        with contextlib.suppress(OSError):
            fcntl.lockf(_alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os._exit(0)
        if ready:
            return ready


def _one(control: socket.socket, settings: dict[str, Any]) -> bool:
    """Wait for an order, serve one submission to its end; False when the grader has gone."""
    _wait([control])
    data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
    if not data:
        return False
    order = json.loads(data[data.rindex(b"\n", 0, -1) + 1 :] if b"\n" in data[:-1] else data)
    if "start" not in order:  # too late: what it was about has ended
        return True
    reading, writing = os.pipe()
    a = os.fork()
    if a == 0:
        os.close(reading)
        control.close()
        _enclose(order["start"], settings, descriptors, writing)
    for descriptor in (writing, *descriptors):
        os.close(descriptor)
    said = _watch(control, reading, a)
    os.close(reading)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(a, 0)
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    control.sendall(json.dumps({"state": "ended", "why": said}).encode() + b"\n")
    return True


def _watch(control: socket.socket, reading: int, a: int) -> str:
    """Until the submission's processes are gone: hand on an order to kill. Says why it ended."""
    heard = b""
    while True:
        ready = _wait([control, reading])
        if reading in ready:
            data = os.read(reading, 1 << 12)
            if not data:
                break
            heard += data
        if control in ready:
            order = control.recv(1 << 12)
            if not order:
                os._exit(0)  # the grader has gone; the box goes with its first process
            init = int(heard.partition(b"\n")[0] or 0)
            kill = b"kill" in order
            pid = init or a  # A ends when init and everything below it has ended
            if kill or init:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if kill else signal.SIGINT)
    return heard.partition(b"\n")[2].decode(errors="replace").strip()


def _enclose(
    order: dict[str, Any], settings: dict[str, Any], descriptors: list[int], report: int
) -> NoReturn:
    """A: makes the namespaces, then only waits for `init`."""
    code = 1
    try:
        if LINUX:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        nested = settings["nested"]
        if nested:
            uid, gid = os.getuid(), os.getgid()
            _prctl(PR_SET_DUMPABLE, 1)  # else /proc/self/uid_map can not be written
            _unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{STUDENT} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{STUDENT} {gid} 1")
        init = os.fork()
        if init == 0:
            _init(order, settings, *descriptors, report)
        os.write(report, b"%d\n" % init)
        for descriptor in (report, *descriptors):
            os.close(descriptor)
        os.waitpid(init, 0)
        code = 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(report, f"0\nno box could be made: {error}".encode())
    os._exit(code)


def _init(
    order: dict[str, Any], settings: dict[str, Any], agent: int, clock: int, report: int
) -> NoReturn:
    """Process 1: mounts, starts the kernel, and watches it."""
    why = "no box could be made"
    try:
        if LINUX:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        folder = settings["folder"]
        if settings["nested"]:
            _mounts(order["disk"], settings["shown"])
        ready, tell_ready = os.pipe()
        go, tell_go = os.pipe()
        kernel = os.fork()
        if kernel == 0:
            try:
                _kernel(order, settings, agent, tell_ready, go)
            except BaseException as error:
                os.write(tell_ready, f"{type(error).__name__}: {error}"[:500].encode())
            os._exit(1)
        os.close(tell_ready)
        os.close(go)
        os.close(agent)
        said = os.read(ready, 1 << 10)
        if said != b"r":
            why = f"the kernel did not start: {said.decode(errors='replace')}"
        else:
            if settings["nested"]:  # its sockets stand; nothing more may be written there
                flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
                _mount(None, folder, None, flags)
                _prctl(PR_SET_DUMPABLE, 0)
                _drop_privileges()
            signal.signal(signal.SIGINT, lambda *_: os.kill(kernel, signal.SIGINT))
            os.write(tell_go, b"g")
            why = _guard(kernel, clock, order, settings)
    except BaseException as error:
        why = f"{why}: {type(error).__name__}: {error}"
    with contextlib.suppress(OSError):
        os.write(report, why.encode())
    if not settings["nested"]:
        with contextlib.suppress(NameError, OSError):
            os.killpg(kernel, signal.SIGKILL)
        _kill_children()
    os._exit(0)


def _mounts(disk: int, shown: list[str]) -> None:
    """The submission's own /proc, and one tmpfs that holds everything it may write.

    `shown` are Python's folders that lie where it is mounted, where they stay to be seen.
    """
    plain = MS_NOSUID | MS_NODEV
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc", plain | MS_NOEXEC)
    _mount("tmpfs", "/box", "tmpfs", plain, f"size={disk},nr_inodes=20000,mode=755")
    for name, place in WRITABLE.items():
        os.mkdir(f"/box/{name}")
        for path in shown:
            if Path(path).is_relative_to(place):
                again = f"/box/{name}/{Path(path).relative_to(place)}"
                os.makedirs(again)
                _mount(path, again, None, MS_BIND | MS_REC)
        _mount(f"/box/{name}", place, None, MS_BIND | MS_REC)
    with contextlib.suppress(OSError):
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    with contextlib.suppress(OSError):
        Path("/proc/sys/kernel/shmall").write_text(str(disk // 4096))
    _mount("/proc/sys", "/proc/sys", None, MS_BIND | MS_REC)
    _mount(None, "/proc/sys", None, MS_REMOUNT | MS_BIND | MS_RDONLY | plain | MS_NOEXEC)
    os.chdir("/")


def _kernel(
    order: dict[str, Any], settings: dict[str, Any], agent: int, tell_ready: int, go: int
) -> None:
    """The student's process: no privilege, limits, an ordinary ipykernel."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for descriptor in set(range(3, 256)) - {agent, tell_ready, go}:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    if LINUX:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(PR_SET_DUMPABLE, 1)  # `init` reads how much memory it shares
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    if settings["limited"]:
        _limit(order)
    if settings["nested"]:
        _drop_privileges()
    if settings["limited"]:
        _forbid()
    home = settings["home"]
    os.makedirs(f"{home}/work", exist_ok=True)
    os.chdir(f"{home}/work")
    os.environ.update(order["environment"])
    connection = f"{home}/connection.json"
    Path(connection).write_text(json.dumps(order["connection"]))
    from ipykernel.kernelapp import IPKernelApp

    from gmlib.grade import agent as agent_

    sys.argv = ["kernel"]
    application = IPKernelApp.instance()
    application.initialize(["-f", connection])
    os.unlink(connection)
    application.shell.enable_matplotlib(
        "inline"
    )  # matplotlib was imported before there was a shell
    agent_.install(agent, application.shell, order["output"])
    os.write(tell_ready, b"r")
    if os.read(go, 1) != b"g":
        os._exit(1)
    os.close(tell_ready), os.close(go)
    application.start()


def _limit(order: dict[str, Any]) -> None:
    for name, most in (
        ("AS", 3 * order["memory"]),
        ("NPROC", order["processes"]),
        ("FSIZE", order["file"]),
        ("CPU", int(4 * order["seconds"]) + 60),
        ("NOFILE", 1024),
        ("CORE", 0),
        ("MSGQUEUE", 0),
        ("STACK", 16 * MIB),
    ):
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is not None:
            _, hard = resource.getrlimit(kind)
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)
            resource.setrlimit(kind, (most, most))


def _guard(kernel: int, clock: int, order: dict[str, Any], settings: dict[str, Any]) -> str:
    """Watch until the kernel ends or is too large; says why it ended.

    Writes down how long the kernel had to wait for a processor, and how many processes there are:
    see `sandbox.Box`.
    """
    crowded = time.monotonic()
    while True:
        there = _processes()
        os.pwrite(clock, struct.pack("dd", _waited(kernel), len(there)), 0)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == kernel:
                    return _cause(status)
                if pid == 0:
                    break
        if settings["limited"]:
            if len(there) < 0.9 * order["processes"]:
                crowded = time.monotonic()
            elif time.monotonic() > crowded + CROWDED:  # it gets no more, but may go on asking
                return f"more than {len(there)} processes"
            if _use_more_than(order["memory"], there):
                return f"more than {order['memory'] >> 20} MB of memory"
        time.sleep(LOOK)


def _waited(pid: int) -> float:
    """Seconds that a process could have run in, if it had had a processor."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # a system that does not count it
        return 0.0


def _cause(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended itself with status {os.WEXITSTATUS(status)}"


def _use_more_than(memory: int, processes: list[int]) -> bool:
    """Whether these processes, all but `init`, have more bytes, a shared page counted once."""
    mine = [pid for pid in processes if pid not in (os.getpid(), 1)]
    pages = sum(max(_stat(pid, 21), 0) for pid in mine)
    if pages * resource.getpagesize() <= memory:
        return False
    exact = 0
    for pid in mine:
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            exact += 1024 * sum(int(x.split()[1]) for x in lines if x.startswith("Pss:"))
    return exact > memory


def _kill_children() -> None:
    """Where there is no namespace of its own: the kernel's group, and what else can be found."""
    me = os.getpid()
    for _ in range(20):
        children = [p for p in _processes() if _parent(p) == me or _session(p) in _mine(me)]
        if not children:
            return
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)


def _processes() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return []


def _stat(pid: int, field: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[field])
    return -1


def _parent(pid: int) -> int:
    return _stat(pid, 1)


def _session(pid: int) -> int:
    return _stat(pid, 3)


def _mine(me: int) -> set[int]:
    return {pid for pid in _processes() if _parent(pid) == me}


# What Python does not offer of the system


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, value: int, *more: int) -> None:
    arguments = [ctypes.c_ulong(v) for v in (value, *more, 0, 0, 0)[:4]]
    _check(_libc().prctl(option, *arguments), f"prctl {option}")


def _unshare(flags: int) -> None:
    _check(_libc().unshare(flags), "unshare")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    text = [None if t is None else t.encode() for t in (source, target, kind)]
    arguments = ctypes.c_ulong(flags), data.encode() or None
    _check(_libc().mount(*text, *arguments), f"mount {target}")


def _drop_privileges() -> None:
    """No capability, now or after any call."""
    for capability in range(64):
        with contextlib.suppress(OSError):
            _prctl(PR_CAPBSET_DROP, capability)
    with contextlib.suppress(OSError):
        _prctl(PR_CAP_AMBIENT, 4)
    header = struct.pack("=Ii", 0x20080522, 0)
    _check(_libc().capset(header, bytes(24)), "capset")


def _forbid() -> None:
    """A seccomp filter: the calls of `FORBIDDEN`, and those of another architecture, fail."""
    if platform.machine() not in FORBIDDEN:
        return
    architecture, calls = FORBIDDEN[platform.machine()]
    numbers = [int(n) for n in calls.split()]
    instruction = lambda code, jump, no, k: struct.pack("=HBBI", code, jump, no, k)  # noqa: E731
    load, equal, above, give = 0x20, 0x15, 0x35, 0x06
    program = [
        instruction(load, 0, 0, 4),
        instruction(equal, 1, 0, architecture),
        instruction(give, 0, 0, 0x80000000),  # another architecture: killed
        instruction(load, 0, 0, 0),
        instruction(above, len(numbers) + 1, 0, 0x40000000),  # the x32 calls
    ]
    for i, number in enumerate(numbers):
        program.append(instruction(equal, len(numbers) - i, 0, number))
    program += [instruction(give, 0, 0, 0x7FFF0000), instruction(give, 0, 0, 0x00050026)]  # ENOSYS
    code = ctypes.create_string_buffer(b"".join(program))
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    pointer = ctypes.create_string_buffer(filter_)
    _prctl(PR_SET_SECCOMP, 2, ctypes.addressof(pointer))


if __name__ == "__main__":
    main()
