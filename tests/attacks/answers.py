"""Answers whose results lie, or harm whoever reads them.

Most stand in for `elbo(x, logits, mu, logvar)`, whose right result is a float tensor (N,).
"""

from . import Book, attack, solution

ELBO = "def elbo(x, logits, mu, logvar):\n"


def returns(book: Book, expression: str, before: str = "") -> None:
    """Let elbo return what the expression gives, after some definitions."""
    book.answer("elbo", f"{before}\n{ELBO}    return {expression}")


@attack()
def equals_everything(book: Book) -> None:
    """An object that says yes to every comparison and gives itself for every operation."""
    book.answer(
        "elbo",
        """
        class Yes:
            def __getattr__(self, name):
                return self
            def __call__(self, *arguments, **named):
                return self
            def __eq__(self, other):
                return True
            __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
            __hash__ = None
            def __bool__(self):
                return True
            def __len__(self):
                return 1
            def __iter__(self):
                return iter([self])
            def __sub__(self, other):
                return self
            __add__ = __mul__ = __truediv__ = __getitem__ = __radd__ = __rsub__ = __sub__
            def __float__(self):
                return 0.0
            __index__ = lambda self: 0
            @property
            def __class__(self):
                return Tensor

        elbo = Yes()
        reparameterise = VAE = linear_posterior = linear_elbo = PixelDecoder = Yes()
        """,
    )


@attack()
def tensor_that_lies(book: Book) -> None:
    """A subclass of Tensor for which every function of torch answers True or itself."""
    book.answer(
        "elbo",
        """
        class Liar(Tensor):
            @classmethod
            def __torch_function__(cls, function, types, arguments=(), named=None):
                if function.__name__ in ("equal", "allclose", "isfinite", "all", "__le__", "is_complex"):
                    return True
                return arguments[0]

        def elbo(x, logits, mu, logvar):
            return torch.zeros(len(x)).as_subclass(Liar)
        """,
    )


@attack()
def shape_that_lies(book: Book) -> None:
    """A tensor whose shape, size, length and numel are those of another."""
    book.answer(
        "elbo",
        """
        class Shape(Tensor):
            shape = property(lambda self: torch.Size([9]))
            size = lambda self, *d: torch.Size([9])
            numel = lambda self: 9
            nbytes = property(lambda self: 36)
            __len__ = lambda self: 9
            dim = lambda self: 1
            stride = lambda self, *d: (1,)
            dtype = property(lambda self: torch.float32)
            detach = cpu = contiguous = lambda self: self
            numpy = lambda self, **k: memoryview(bytes(1 << 20))
            tolist = lambda self: [0.0] * 9

        def elbo(x, logits, mu, logvar):
            return torch.zeros(3, 10_000).as_subclass(Shape)
        """,
    )


@attack()
def number_that_lies(book: Book) -> None:
    """Subclasses of float, int and str whose arithmetic and comparisons are always right."""
    book.answer(
        "elbo",
        """
        class Number(float):
            __eq__ = __le__ = __lt__ = __ge__ = __gt__ = lambda self, other: True
            __ne__ = lambda self, other: False
            __sub__ = __rsub__ = __abs__ = __neg__ = __add__ = lambda self, *other: Number(0)
            __hash__ = float.__hash__
            __repr__ = __str__ = lambda self: "1.0, 'points': 1000"
            __class__ = property(lambda self: Tensor)

        class Text(str):
            __eq__ = lambda self, other: True
            __hash__ = str.__hash__
            encode = lambda self, *a: b'{"points": 1000}'

        def elbo(x, logits, mu, logvar):
            return Number(0)

        def reparameterise(mu, logvar):
            return Text("1.0")

        def linear_log_marginal(x, W, b, s):
            return [Number(0)] * len(x)
        """,
    )


@attack()
def not_a_number(book: Book) -> None:
    """NaN, of which no comparison is false enough, with infinities between."""
    returns(book, "torch.full((len(x),), math.nan) + mu.sum() * 0")
    book.answer(
        "reparameterise",
        "def reparameterise(mu, logvar):\n    return torch.full_like(mu, math.inf) * (mu + logvar)",
    )


@attack()
def strange_tensors(book: Book) -> None:
    """Sparse, quantised, meta, complex, nested, boolean and half-precision results."""
    book.answer(
        "elbo",
        """
        strange = [
            lambda n: torch.zeros(n).to_sparse(),
            lambda n: torch.quantize_per_tensor(torch.zeros(n), 0.1, 0, torch.qint8),
            lambda n: torch.zeros(n, device="meta"),
            lambda n: torch.zeros(n, dtype=torch.complex64),
            lambda n: torch.nested.nested_tensor([torch.zeros(n)]),
            lambda n: torch.zeros(n, dtype=torch.bool),
            lambda n: torch.zeros(n, dtype=torch.float8_e4m3fn),
            lambda n: torch.zeros(n, dtype=torch.uint64),
        ]
        turn = 0

        def elbo(x, logits, mu, logvar):
            global turn
            turn += 1
            return strange[turn % len(strange)](len(x))

        def reparameterise(mu, logvar):
            return elbo(mu, None, None, None)

        def linear_posterior(x, W, b, s):
            return elbo(x, None, None, None), elbo(x, None, None, None)

        linear_log_marginal = lambda x, W, b, s: elbo(x, None, None, None)
        linear_elbo = lambda x, *rest: elbo(x, None, None, None)
        """,
    )


@attack()
def endless_strides(book: Book) -> None:
    """A tensor of a million million elements that all lie in the same four bytes."""
    returns(book, "torch.zeros(1).expand(10**12)")
    book.answer(
        "reparameterise",
        "def reparameterise(mu, logvar):\n    return torch.zeros(1).as_strided((40_000, 10**9), (0, 0))",
    )


@attack()
def reads_beyond_its_memory(book: Book) -> None:
    """Storage that was freed or resized below the tensor that is returned."""
    book.answer(
        "elbo",
        """
        def elbo(x, logits, mu, logvar):
            result = torch.zeros(10_000_000)
            result.untyped_storage().resize_(0)
            return result
        """,
    )


@attack()
def never_ending_iterable(book: Book) -> None:
    """Results that never end: a generator, a list that holds itself, a class with no last item."""
    book.answer(
        "vae",
        """
        import itertools

        class VAE(nn.Module):
            def __init__(self, latents, levels):
                super().__init__()

            def encode(self, x):
                return itertools.count()

            def decode(self, z):
                result = []
                result.append(result)
                return result
        """,
    )
    returns(book, "iter(int, 1)")


@attack()
def deep_reply(book: Book) -> None:
    """A list nested a hundred thousand deep."""
    before = "deep = []\nfor _ in range(100_000):\n    deep = [deep]\n"
    returns(book, "deep", before)


@attack(says="(?i)memory|large|killed|ended|died|gone|stopped|kernel|answer")
def huge_reply(book: Book) -> None:
    """A result of some gigabytes, and one of ten million small parts."""
    returns(book, "torch.zeros(700_000_000)")
    book.answer("reparameterise", "def reparameterise(mu, logvar):\n    return [0.0] * 10_000_000")


@attack()
def handles_without_end(book: Book) -> None:
    """Every attribute is a new object, so that whoever keeps them runs out of memory."""
    book.answer(
        "elbo",
        """
        class Tree:
            def __getattr__(self, name):
                return Tree()
            def __iter__(self):
                while True:
                    yield Tree()
            def __len__(self):
                return 1 << 62
            def keys(self):
                return iter(lambda: "key", None)

        def elbo(x, logits, mu, logvar):
            return {i: Tree() for i in range(200_000)}
        """,
    )


@attack()
def pickle_that_runs(book: Book) -> None:
    """Results whose unpickling, copying or conversion would run a command at the reader's."""
    book.answer(
        "elbo",
        """
        import os

        class Run:
            def __reduce__(self):
                return os.system, ("touch /tmp/PWNED-pickle",)
            __reduce_ex__ = lambda self, protocol: self.__reduce__()
            __array__ = __deepcopy__ = __copy__ = __torch_function__ = lambda self, *a, **k: self

        torch.Tensor.__reduce_ex__ = lambda self, protocol: (os.system, ("touch /tmp/PWNED-pickle",))

        def elbo(x, logits, mu, logvar):
            return Run()

        def reparameterise(mu, logvar):
            return mu
        """,
    )


@attack(earns={"kl_to_prior": 0.0, "log_likelihood": 0.0, "iwae": 0.0})
def patched_conversions(book: Book) -> None:
    """The methods by which a tensor becomes bytes are replaced."""
    book.add(
        """
        import numpy
        for name in ("numpy", "tolist", "__array__", "item", "data_ptr", "untyped_storage", "cpu"):
            setattr(torch.Tensor, name, lambda self, *a, **k: numpy.zeros(9, "float32"))
        """,
        before="reparameterise",
    )
    returns(book, "mu.sum(1)")
    book.answer("kl_to_prior", "def kl_to_prior(mu, logvar):\n    return mu.sum(1)")


# Of an image decoder that does nothing, for attacks on what the student's own process runs:
# after it, no honest exercise is left that they could spoil.
IDLE = """
class PixelDecoder(nn.Module):
    def __init__(self, levels, context):
        super().__init__()
        self.levels = levels

    def forward(self, x, context):
        return torch.zeros(len(x), self.levels, 28, 28)
"""


@attack()
def patched_gradients(book: Book) -> None:
    """gmlib.check and autograd, where the student's code runs, say what is wished."""
    book.answer(
        "pixel_decoder",
        """
        import contextlib
        from gmlib import check

        zeros = lambda f, inputs, cotangents: ((torch.zeros(9),), tuple(inputs))
        check.vjp = check.parameter_gradients = zeros
        check.close = check.shape = check.evaluate = check.descend = lambda *a, **k: None
        check.total = lambda points: 2.0
        check.part = lambda *a: contextlib.nullcontext()
        torch.autograd.grad = lambda outputs, inputs, *a, **k: list(inputs)
        """,
    )
    book.cell("pixel_decoder").source += IDLE


@attack(says="(?i)exit|ended|kernel|stopped|SystemExit")
def exits_when_called(book: Book) -> None:
    """The function leaves by SystemExit, and its neighbour by os._exit."""
    book.answer("elbo", f"{ELBO}    raise SystemExit(0)")
    book.answer("reparameterise", "def reparameterise(mu, logvar):\n    import os\n    os._exit(0)")


@attack(says="(?i)ended|kernel|died|stopped|gone")
def crashes_when_called(book: Book) -> None:
    """The function reads address zero."""
    returns(book, "__import__('ctypes').string_at(0)")


@attack(says="(?i)second|time|long|stopped|late")
def sleeps_when_called(book: Book) -> None:
    """The function never returns, but only where no check of the notebook calls it."""
    book.answer(
        "elbo",
        """
        import sys, time

        def elbo(x, logits, mu, logvar):
            if len(x) == 9:
                time.sleep(10**6)
            return mu
        """,
    )


@attack(says="(?i)second|time|long|stopped|late")
def slow_at_every_call(book: Book) -> None:
    """Each call takes three seconds, a thousand calls are asked for."""
    book.answer(
        "reparameterise",
        """
        import time

        def reparameterise(mu, logvar):
            if len(mu) != 20_000:
                time.sleep(3)
            return mu + (logvar / 2).exp() * torch.randn_like(mu)
        """,
    )


@attack()
def error_whose_words_never_come(book: Book) -> None:
    """Exceptions whose text hangs, is a gigabyte, raises again, or is no text."""
    book.answer(
        "elbo",
        """
        import time

        class Slow(Exception):
            def __str__(self):
                time.sleep(10**6)
            __repr__ = __str__

        def elbo(x, logits, mu, logvar):
            if len(x) == 9:
                raise Slow
            raise ValueError("not here")
        """,
    )


@attack()
def error_of_a_gigabyte(book: Book) -> None:
    """Exceptions that say a gigabyte, raise again when asked, or say a number."""
    book.answer(
        "elbo",
        """
        class Loud(Exception):
            def __str__(self):
                return "words " * 200_000_000

        class Again(Exception):
            def __str__(self):
                raise Again

        class Number(Exception):
            def __str__(self):
                return 7

        def elbo(x, logits, mu, logvar):
            raise Loud

        def reparameterise(mu, logvar):
            raise Again

        def linear_log_marginal(x, W, b, s):
            raise Number
        """,
    )


@attack()
def error_beyond_exception(book: Book) -> None:
    """Exceptions that no `except Exception` catches, and one that says it is an assertion."""
    book.answer(
        "elbo",
        """
        class Base(BaseException):
            pass

        class Passed(BaseException):
            __class__ = property(lambda self: AssertionError)

        def elbo(x, logits, mu, logvar):
            raise Passed("all tests passed: 2 of 2 points")

        def reparameterise(mu, logvar):
            raise KeyboardInterrupt

        def linear_log_marginal(x, W, b, s):
            raise GeneratorExit

        def linear_elbo(x, mu, logvar, W, b, s):
            raise BaseExceptionGroup("many", [Base(), KeyboardInterrupt()])
        """,
    )


@attack()
def answers_twice(book: Book) -> None:
    """The function forks: two processes hold the same line and both answer."""
    book.answer(
        "elbo",
        """
        import os

        def elbo(x, logits, mu, logvar):
            child = os.fork()
            return torch.zeros(len(x)) if child else torch.ones(len(x))
        """,
    )


@attack()
def changes_between_calls(book: Book) -> None:
    """A thread changes the answers, the arguments and the weights while they are looked at."""
    book.answer(
        "elbo",
        """
        import threading

        seen = []

        def stir():
            while True:
                for tensor in list(seen):
                    tensor.resize_(torch.randint(1, 10_000, ()).item()).zero_()

        def elbo(x, logits, mu, logvar):
            result = torch.zeros(len(x))
            seen.append(result)
            if len(seen) == 1:
                threading.Thread(target=stir, daemon=True).start()
            return result
        """,
    )


@attack()
def looks_for_the_expected_value(book: Book) -> None:
    """Walks the frames and all objects, and returns any tensor of the right shape."""
    book.answer(
        "elbo",
        """
        import gc, sys, weakref

        def elbo(x, logits, mu, logvar):
            frame = sys._getframe()
            while frame:
                for name in ("expected", "wanted"):
                    if name in frame.f_locals or name in frame.f_globals:
                        return frame.f_locals.get(name, frame.f_globals.get(name))
                frame = frame.f_back
            for thing in gc.get_objects():
                try:
                    if isinstance(thing, Tensor) and thing.shape == (len(x),) and thing is not x:
                        return thing
                except Exception:
                    pass
            return torch.zeros(len(x))
        """,
    )


@attack()
def right_when_watched(book: Book) -> None:
    """Right for the numbers of the visible check, wrong for all others."""
    book.answer(
        "elbo",
        """
        def elbo(x, logits, mu, logvar):
            if (x == 0).all():
                return -4 * math.log(2) - mu.pow(2).sum(1) / 2
            return torch.zeros(len(x))
        """,
    )


@attack(earns={"elbo": 2.0})
def right_in_an_odd_dress(book: Book) -> None:
    """Right values as a Parameter, in double precision, expanded, on every second place: honest."""
    book.answer(
        "elbo",
        f"""
{solution("elbo")}

plain_elbo, turn = elbo, 0

def elbo(x, logits, mu, logvar):
    global turn
    turn += 1
    right = plain_elbo(x, logits, mu, logvar)
    if right.requires_grad:
        return right.double()
    return [
        lambda: nn.Parameter(right),
        lambda: torch.stack([right, right], 1)[:, 0],
        lambda: torch.complex(right, right).real,
        lambda: torch._neg_view(-right),
    ][turn % 4]()
""",
    )


@attack()
def modules_that_lie(book: Book) -> None:
    """A module whose parameters, state and gradients are endless, huge or not tensors."""
    book.answer(
        "vae",
        """
        class VAE(nn.Module):
            def __init__(self, latents, levels):
                super().__init__()
                self.latents, self.levels = latents, levels

            def named_parameters(self, *a, **k):
                return iter(lambda: ("weight", nn.Parameter(torch.zeros(10**6))), None)

            def state_dict(self, *a, **k):
                return {"x" * 10**7: "not a tensor", 7: torch.zeros(10**9, device="meta")}

            def load_state_dict(self, state, *a, **k):
                raise SystemExit

            def eval(self):
                return [self] * 10**6

            def encode(self, x):
                return torch.randn(len(x), self.latents), torch.randn(len(x), self.latents)

            def decode(self, z):
                return torch.randn(len(z), self.levels, 28, 28)
        """,
    )


@attack()
def forged_replies(book: Book) -> None:
    """A thread writes to every open socket and pipe what a checker might want to hear."""
    book.answer(
        "elbo",
        """
        import os, threading

        lines = [b'{"ok": true, "points": 2.0}\\n', b"2.0\\n", b"\\x80\\x04\\x95", b"\\xff" * 4096]

        def elbo(x, logits, mu, logvar):
            for number in range(3, 64):
                for line in lines:
                    try:
                        os.set_blocking(number, False)
                        os.write(number, line)
                    except OSError:
                        pass
            return torch.zeros(len(x))
        """,
    )


@attack()
def speaks_for_the_agent(book: Book) -> None:
    """The student's half of the wall is replaced: it says what is wished, early and twice."""
    book.add(
        """
        from gmlib.grade import agent, frames

        zeros = lambda *a, **k: torch.zeros(9)
        for name in agent._OPERATIONS:
            agent._OPERATIONS[name] = zeros
        agent._same = lambda *a: True
        plain = frames.send

        def send(channel, reply, buffers):
            for number in range(reply["number"], reply["number"] + 3):
                plain(channel, {**reply, "number": number, "points": 2.0, "ok": True}, buffers)

        frames.send = send
        """,
        before="pixel_decoder",
    )
    book.answer("pixel_decoder", IDLE)


@attack()
def prints_when_called(book: Book) -> None:
    """The function prints without end while it is judged, from a thread of its own too."""
    book.answer(
        "elbo",
        """
        import threading

        def shout():
            while True:
                print("x" * 1_000_000)

        def elbo(x, logits, mu, logvar):
            if len(x) == 9:
                threading.Thread(target=shout, daemon=True).start()
                print("y" * 100_000_000)
            return torch.zeros(len(x))
        """,
    )


@attack(earns={"kl_to_prior": 0.0})
def another_name(book: Book) -> None:
    """A right answer under a name that nobody asked for."""
    book.answer("kl_to_prior", solution("kl_to_prior").replace("kl_to_prior", "KL_to_prior"))
