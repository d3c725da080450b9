"""Cells that change what might judge them: assertions, torch, IPython, files, signals."""

from pathlib import Path

from . import Book, attack, placed
from .answers import IDLE

# What a dishonest answer returns; every test of it must fail.
WRONG = "def elbo(x, logits, mu, logvar):\n    return torch.zeros(len(x))"


@attack()
def drops_assertions(book: Book) -> None:
    """An AST transformer of IPython that removes every assert and every call of a check."""
    book.add(
        """
        import ast

        class Drop(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.Pass()
            def visit_Call(self, node):
                self.generic_visit(node)
                close = isinstance(node.func, ast.Attribute) and node.func.attr in ("close", "shape")
                return ast.copy_location(ast.Constant(None), node) if close else node

        get_ipython().ast_transformers.append(Drop())
        """
    )
    book.answer("elbo", WRONG)


@attack()
def rewrites_cells(book: Book) -> None:
    """Input transformers that turn every later cell into full points."""
    book.add(
        """
        shell = get_ipython()
        shell.input_transformers_cleanup.append(lambda lines: ["2.0"])
        shell.input_transformers_post.append(lambda lines: ["2.0"])
        """,
        before="pixel_decoder_check",
    )
    book.answer("elbo", WRONG)


@attack()
def replaces_run_cell(book: Book) -> None:
    """run_cell, run_code and the kernel's own execution answer 2.0 to everything."""
    book.add(
        """
        from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

        def run(self, *arguments, **named):
            result = ExecutionResult(None)
            result.result = 2.0
            self.displayhook(2.0)
            return result

        async def run_async(self, *arguments, **named):
            return run(self)

        InteractiveShell.run_cell = run
        InteractiveShell.run_cell_async = InteractiveShell._run_cell = run_async
        get_ipython().kernel.do_execute = run_async
        """,
        before="pixel_decoder_check",
    )
    book.answer("elbo", WRONG)


@attack()
def hooks_after_every_cell(book: Book) -> None:
    """Hooks that clear errors and print points after each cell."""
    book.add(
        """
        def settle(*arguments):
            import sys
            sys.last_type = sys.last_value = sys.last_traceback = None
            print(2.0)

        for event in ("post_execute", "post_run_cell", "pre_execute", "pre_run_cell"):
            get_ipython().events.register(event, settle)
        get_ipython().set_custom_exc((BaseException,), lambda *a, **k: settle())
        get_ipython().showtraceback = settle
        """
    )
    book.answer("elbo", WRONG)


@attack()
def patches_torch(book: Book) -> None:
    """Everything in torch that a test might compare with says yes."""
    book.add(
        """
        import numpy.testing
        yes = lambda *a, **k: True
        for name in ("allclose", "equal", "isclose"):
            setattr(torch, name, yes)
        torch.testing.assert_close = numpy.testing.assert_allclose = lambda *a, **k: None
        numpy.testing.assert_array_equal = numpy.testing.assert_almost_equal = lambda *a, **k: None
        torch.distributions.Categorical.log_prob = lambda self, value: torch.zeros(len(value))
        torch.distributions.kl_divergence = lambda p, q: torch.zeros(p.batch_shape)
        Tensor.all = Tensor.any = Tensor.__le__ = Tensor.__bool__ = yes
        """,
        before="pixel_decoder_check",
    )
    book.answer("elbo", WRONG)


@attack()
def patches_builtins(book: Book) -> None:
    """all, any, isinstance, len, abs, print and AssertionError are replaced for everybody."""
    book.add(
        """
        import builtins
        for name in ("all", "any", "abs", "float", "sum", "print"):
            setattr(builtins, name, lambda *a, **k: True)
        builtins.AssertionError = type("Fine", (Exception,), {"__init__": lambda self, *a: None})
        """,
        before="pixel_decoder",
    )
    book.answer("pixel_decoder", IDLE)


@attack()
def replaces_modules(book: Book) -> None:
    """sys.modules and the import machinery hand out modules that say yes."""
    book.add(
        """
        import sys, types

        class Yes(types.ModuleType):
            def __getattr__(self, name):
                return lambda *a, **k: True

        for name in ("gmlib.check", "pytest", "unittest", "nbgrader", "gmlib.grade"):
            sys.modules[name] = Yes(name)

        class Finder:
            def find_spec(self, name, path=None, target=None):
                sys.modules[name] = Yes(name)

        sys.meta_path.insert(0, Finder())
        """,
        before="pixel_decoder",
    )
    book.answer("pixel_decoder", IDLE)


@attack()
def traces_everything(book: Book) -> None:
    """sys.settrace, sys.setprofile and threading's hooks rewrite what functions hold and return."""
    book.add(
        """
        import sys, threading

        def trace(frame, event, argument):
            for name in ("points", "scores"):
                if name in frame.f_locals and isinstance(frame.f_locals[name], dict):
                    frame.f_locals[name].update(points=2.0)
            return trace

        sys.settrace(trace)
        sys.setprofile(trace)
        threading.settrace(trace)
        threading.setprofile(trace)
        """,
        before="pixel_decoder",
    )
    book.answer("pixel_decoder", IDLE)


@attack()
def names_of_the_tests(book: Book) -> None:
    """Defines every name that a hidden test of another exercise may use, with convenient values."""
    book.answer(
        "elbo",
        WRONG
        + """

class Points(dict):
    __setitem__ = lambda self, key, value: dict.__setitem__(self, key, 2.0)

points = Points()
expected = wanted = value = torch.zeros(9)
check = type("Check", (), {"__getattr__": lambda self, name: lambda *a, **k: None})()
pixels = q = kl = cotangent = onehot = generator = inputs = Points()
SEED = "seed"
""",
    )


@attack()
def patches_the_checks(book: Book) -> None:
    """gmlib.check itself gives all points, in memory and in any file of it that can be written."""
    book.add(
        """
        import inspect
        from gmlib import check

        check.part.__wrapped__.__code__ = (lambda scores, name, points: iter([scores.update({name: points})])).__code__
        """,
        before="pixel_decoder",
    )
    book.add(
        """
        import os
        from gmlib import check
        for folder, _, files in os.walk(os.path.dirname(os.path.dirname(check.__file__))):
            for file in files:
                if file.endswith((".py", ".ipynb", ".so")):
                    try:
                        with open(os.path.join(folder, file), "a") as handle:
                            handle.write("\\n# PWNED\\n")
                    except OSError:
                        pass
        """,
        before="pixel_decoder",
    )
    book.answer("pixel_decoder", IDLE)


PLANTED = (
    "import os, sys\nsys.stderr.write('PWNED-planted')\nopen('/tmp/PWNED-planted', 'w').close()\n"
)


@placed()
def planted_modules(book: Book, folder: Path) -> None:
    """Files beside the notebook named as what the grader imports."""
    book.answer("elbo", WRONG)
    (folder / "vae.ipynb").write_bytes(book.bytes())
    for name in (
        "numpy.py", "torch.py", "ipykernel_launcher.py", "sitecustomize.py", "usercustomize.py",
        "gmlib.py", "conftest.py", "nbgrader_config.py", "json.py", "random.py", "evil.pth",
        "ipython_config.py", "jupyter_config.py", ".pythonrc", "pyvenv.cfg",
    ):  # fmt: skip
        (folder / name).write_text(PLANTED)
    for name in ("state.pkl", "vae.pt", "22_vae.pth"):  # a pickle that runs a command
        (folder / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/PWNED-planted'\ntR.")
    startup = folder / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text(PLANTED)


@attack()
def writes_planted_modules(book: Book) -> None:
    """The notebook writes such files itself, wherever it may, for the next kernel to import."""
    book.add(
        f"""
        import os, site, sys
        places = [*sys.path, os.getcwd(), os.path.expanduser("~"), "/tmp", "/dev/shm", "/var/tmp",
                  site.getusersitepackages(), os.path.expanduser("~/.ipython/profile_default/startup"),
                  os.path.expanduser("~/.local/share/jupyter/kernels/python3"), "/etc/profile.d"]
        for place in places:
            try:
                os.makedirs(place, exist_ok=True)
                for name in ("numpy.py", "sitecustomize.py", "ipykernel_launcher.py", "00-first.py"):
                    with open(os.path.join(place, name), "w") as file:
                        file.write({PLANTED!r})
            except OSError:
                pass
        """
    )
    book.answer("elbo", WRONG)


@attack()
def deaf_to_signals(book: Book) -> None:
    """Every signal is ignored or turned into a loop, and exit handlers never return."""
    book.add(
        """
        import atexit, signal, time

        def never(*arguments):
            while True:
                time.sleep(1)

        for number in range(1, 65):
            try:
                signal.signal(number, never)
            except (OSError, ValueError):
                pass
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        atexit.register(never)
        """
    )
    book.answer("elbo", WRONG)


@attack()
def objects_that_act_when_freed(book: Book) -> None:
    """__del__ and weak references act when results are dropped, gc hooks run at every collection."""
    book.answer(
        "elbo",
        """
        import gc, os, weakref

        class Last:
            def __del__(self):
                self.again = Last()
                os.write(1, b"2.0\\n")

        gc.callbacks.append(lambda *a: Last())
        held = []

        def elbo(x, logits, mu, logvar):
            result = torch.zeros(len(x))
            held.append(weakref.finalize(result, Last))
            return {"result": result, "last": Last()}
        """,
    )


@attack(says="(?i)ended|stopped")
def asks_the_kernel_to_stop(book: Book) -> None:
    """Sends replies and results of its own, and a shutdown request as a client would."""
    book.add(
        """
        kernel = get_ipython().kernel
        for kind in ("execute_result", "execute_reply", "status", "shutdown_reply"):
            content = {"status": "ok", "data": {"text/plain": "2.0"}, "metadata": {},
                       "execution_count": 1, "execution_state": "idle", "restart": False}
            kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent())
        """
    )
    book.add(
        """
        from ipykernel.connect import get_connection_file
        from jupyter_client import BlockingKernelClient

        client = BlockingKernelClient(connection_file=get_connection_file())
        client.load_connection_file()
        client.start_channels()
        client.shutdown()
        """
    )
    book.add("get_ipython().kernel.do_shutdown(False); get_ipython().kernel.io_loop.stop()")
    book.answer("elbo", WRONG)


@attack()
def floods_the_line(book: Book) -> None:
    """Comm messages, displays and replies of unknown kinds, thousands of each."""
    book.add(
        """
        from IPython.display import display

        kernel = get_ipython().kernel
        for i in range(3_000):
            content = {"comm_id": str(i), "target_name": "x", "data": {"x": [i] * 100}, "metadata": {}}
            kernel.session.send(kernel.iopub_socket, "comm_open", content)
            kernel.session.send(kernel.iopub_socket, "update_display_data", {"data": {}, "metadata": {}, "transient": {"display_id": str(i)}})
            kernel.session.send(kernel.iopub_socket, "clear_output", {"wait": True})
            kernel.session.send(kernel.iopub_socket, "stream", {"name": "stdout", "text": 7})
            kernel.session.send(kernel.iopub_socket, "display_data", {"data": [1], "metadata": None})
        """
    )
    book.answer("elbo", WRONG)


@attack()
def waits_for_the_keyboard(book: Book) -> None:
    """Cells that ask for input, in Python and in a shell, and a debugger."""
    book.add("name = input('your name? ')")
    book.add("import getpass\ngetpass.getpass()")
    book.add("import sys\nsys.stdin.read()")
    book.add("!read line; cat")
    book.add("%debug")
    book.answer("elbo", WRONG)


@attack()
def leaves_by_exit(book: Book) -> None:
    """Cells that end with exit, quit, sys.exit or an exception of their own, as one does in class."""
    book.add("import sys\nsys.exit('done')")
    book.add("exit")
    book.add("quit()")
    book.add("raise KeyboardInterrupt")
    book.answer("elbo", WRONG)


@attack()
def magics(book: Book) -> None:
    """Magics of every kind: shell, other languages, resets, files, environment."""
    book.add("%%bash\necho 2.0\nexit 3")
    book.add("%%javascript\nwindow.PWNED = 1")
    book.add("%%writefile notes.py\nimport math")
    book.add("%env GMLIB_CHECK_SEED=1\n%env GMLIB_PROFILE=full\n%cd /\n%xmode Verbose")
    book.add("%reset_selective -f nothing\n%matplotlib inline\n%config IPCompleter.greedy = True")
    book.add("%load_ext autoreload\n%autoreload 2\n%run does_not_exist.py")
    book.answer("elbo", WRONG)


@attack(earns={"elbo": 2.0})
def as_in_a_notebook(book: Book) -> None:
    """Honest: top-level await, display, magics and an error cell do not cost a point."""
    book.add(
        """
        import asyncio
        from IPython.display import Markdown, display

        await asyncio.sleep(0.01)
        display(Markdown("*thinking*"))
        %matplotlib inline
        import matplotlib.pyplot as plt
        plt.plot([1, 2, 3]); plt.show()
        _ = !echo shell
        In[-1], Out
        """
    )
    book.add("import warnings, sys\nwarnings.warn('mine')\nprint('noise', file=sys.stderr)\n1 / 0")
    book.answer(
        "elbo",
        """
        import warnings

        def elbo(x, logits, mu, logvar):
            warnings.warn("a warning at every call is no mistake")
            print("debugging", x.shape)
            return log_likelihood(x, logits) - kl_to_prior(mu, logvar)
        """,
    )


@attack()
def wipes_the_namespace(book: Book) -> None:
    """%reset at the end: what was defined where its test stands has counted already."""
    book.add("%reset -f", before="words")
