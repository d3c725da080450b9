"""The grader's half of the wall: what a hidden test sees of a student's answers.

A hidden test runs outside the box. The names of answers stand for handles there. Calling a handle
sends the arguments through the wall and brings back what the answer returned, as data: tensors are
rebuilt from raw bytes, what is no data becomes a handle again. `gmlib.check` works as it does in a
notebook: what it does to an answer is done inside, and only the result comes back. A call whose
arguments need a gradient becomes a node of the grader's own autograd graph, so a test may put any
function of its own around an answer and differentiate the whole.
"""

import builtins
import functools
import inspect
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gmlib import check
from gmlib.grade import frames
from gmlib.grade.intake import plain

LOOK = 0.05  # seconds between two looks at whether the kernel is still there
GRACE = 3.0  # seconds that an answer has to stop when it is told to
WORDS = 300  # characters of an error that are taken over


# What a test asks of a tensor. A handle does not answer in its place: each of its answers could be
# another, where those of one tensor have to fit together.
PROPERTIES = frozenset("T data dtype grad mT ndim requires_grad shape".split())
METHODS = frozenset(
    "abs all allclose amax amin any argmax argmin argsort bincount bool clone cov cpu detach diff "
    "dim div double eq equal exp flatten float ge gather gt half int isfinite isinf isnan item le "
    "log long lt max mean median min movedim mul ne nonzero norm numel numpy permute pow prod "
    "reshape round sigmoid sign size softmax sort sqrt square squeeze std sub sum tolist topk "
    "transpose type unbind unique unsqueeze var view".split()
)


class AnswerError(Exception):
    """An answer failed when it was called: its own error, in its own words."""


class Unreachable(AnswerError):
    """The wall has nobody behind it any more: too late, too much, or the kernel has ended."""


_KINDS = (
    "ArithmeticError AssertionError AttributeError FloatingPointError ImportError IndexError "
    "KeyError LookupError MemoryError ModuleNotFoundError NameError NotImplementedError OSError "
    "OverflowError RecursionError RuntimeError StopIteration TypeError UnboundLocalError "
    "UnicodeError ValueError ZeroDivisionError"
).split()
_ERRORS = {
    name: type(name, (AnswerError, getattr(builtins, name)), {"__str__": Exception.__str__})
    for name in _KINDS
}


class Handle:
    """Something of the student's that is no data: a function, a class, a module.

    It can be called and asked for attributes and items. It is equal to nothing, neither true nor
    false, and can't be iterated: a test can't be passed by what it stands for.
    """

    __slots__ = ("_number", "_wall", "__weakref__")
    __hash__ = None

    def __init__(self, wall: "Wall", number: int | str) -> None:
        object.__setattr__(self, "_wall", wall)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._wall.call(self, arguments, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in PROPERTIES:
            self._refuse()
        found = self._wall.ask("attribute", self, name=name)
        if name in METHODS and isinstance(found, Handle):  # a number may well be called size
            self._refuse()
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise AttributeError(name)
        self._wall.ask("set", self, value, name=name)

    def __getitem__(self, place: Any) -> Any:
        return self._wall.ask("item", self, place)

    def __repr__(self) -> str:
        return "<something of yours that is no tensor and no number>"

    def __del__(self) -> None:
        self._wall.free.append(self._number)

    def _refuse(self, *_: Any) -> Any:
        raise TypeError("expected a tensor or a number; found something else")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __len__ = _refuse
    __iter__ = __contains__ = __index__ = __float__ = __int__ = __array__ = _refuse


class Wall:
    """One channel to an agent.

    Args:
        channel: the socket.
        ended: says why the kernel has ended, or nothing.
        interrupt: asks the kernel to stop what it does.
        clock: seconds, by which the time that answers take is measured.
    """

    def __init__(
        self,
        channel: socket.socket,
        ended: Callable[[], str],
        interrupt: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channel = channel
        self.ended, self.interrupt, self.clock = ended, interrupt, clock
        self.left = self.deadline = math.inf
        self.late, self._looked = "", 0.0
        self.free: list[int | str] = []
        self.broken = ""
        self.tape: _Tape | None = None
        self.seeding = True
        self._number = 0
        channel.settimeout(LOOK)

    def handles(self, names: list[str]) -> dict[str, Any]:
        """What these names stand for in the student's notebook; what is not defined is left out."""
        found = {}
        for name in names:
            try:
                found[name] = self.ask("get", Handle(self, name))
            except NameError:
                continue
        return found

    def call(self, f: Handle, arguments: tuple, named: dict[str, Any]) -> Any:
        """Call an answer; with a graph where a gradient may be asked for."""
        record = self.tape is not None or (
            torch.is_grad_enabled() and _needs_gradient([*arguments, *named.values()])
        )
        if not record:
            return self.ask("call", f, *arguments, named=named)
        self._number += 1
        request = {"op": "call", "record": self._number}
        reader, reply, sent = self._exchange(request, (f, *arguments), named)
        leaves = [t for t in sent if t.requires_grad]
        marked = [i for i, m in enumerate(reader.marked) if m]
        places = {i: reader.tensors[i] for i in marked}
        if marked:
            pull = _Pull(self, request["record"], self.tape, len(leaves))
            dummy = torch.zeros((), requires_grad=True)
            made = _Remote.apply(pull, dummy, len(leaves), *leaves, *places.values())
            for i, tensor in zip(marked, made, strict=True):
                reader.tensors[i] = tensor
        return reader.read(reply["value"])

    def ask(
        self, op: str, *arguments: Any, named: dict[str, Any] | None = None, **more: Any
    ) -> Any:
        """One request and its reply, as data and handles.

        Raises:
            AnswerError: what the answer raised, or that it returned what can't cross.
            Unreachable: there is no reply.
        """
        reader, reply, _ = self._exchange({"op": op, **more}, arguments, named or {})
        for i, marked in enumerate(reader.marked):
            if marked:  # as what an answer with weights returns: not a leaf, and in nobody's graph
                reader.tensors[i] = reader.tensors[i].requires_grad_().clone()
        try:
            return reader.read(reply["value"])
        except frames.Malformed as error:
            raise self._malformed(error) from None

    def begin(self, seconds: float) -> None:
        """A new test, whose calls may take so much time together."""
        self.left, self.late = seconds, ""
        self.words = f"took longer than {seconds:.0f} s"

    def _wait(self) -> None:
        now = self.clock()
        if abs(now - self._looked) > LOOK:
            self._looked = now
            if why := self.ended():
                raise Unreachable(f"the notebook's kernel ended when an answer was called: {why}")
        if now > self.deadline + GRACE:
            raise Unreachable(self.words)
        if now > self.deadline and not self.late:
            self.late = self.words
            self.interrupt()

    def end(self) -> None:
        """This test is over; the kernel goes back to running cells."""
        if not self.broken:
            try:
                frames.send(self.channel, {"op": "end"}, [], self._wait)
            except (OSError, Unreachable):
                self.broken = "the notebook's kernel ended"

    def _exchange(
        self, request: dict[str, Any], arguments: tuple, named: dict[str, Any]
    ) -> tuple["_Replies", dict[str, Any], list[Tensor]]:
        if self.broken or self.late:
            raise Unreachable(self.broken or self.late)
        writer = frames.Writer(self._known)
        self._number += 1
        number = self._number
        request |= {
            "number": number,
            "grad": torch.is_grad_enabled(),
            "args": [writer.write(a) for a in arguments],
            "named": {name: writer.write(a) for name, a in named.items()},
            "tensors": writer.described,
            "free": [n for n in self.free if isinstance(n, int)],
        }
        self.free.clear()
        start = self.clock()
        self.deadline = start + self.left
        try:
            frames.send(self.channel, request, writer.buffers, self._wait)
            reply, buffers = frames.receive(self.channel, self._wait)
            self.left -= self.clock() - start
        except Unreachable as error:
            self.broken = str(error)
            raise
        except (OSError, EOFError):
            self.broken = "the notebook's kernel ended when its answer was called"
            raise Unreachable(self.broken) from None
        except (frames.Malformed, frames.TooLarge) as error:
            raise self._malformed(error) from None
        if reply.get("number") != number:
            raise self._malformed("a reply to nothing")
        if self.late:
            raise Unreachable(self.late)
        if "error" in reply:
            raise _error(reply)
        try:
            reader = _Replies(self, buffers, reply.get("tensors"))
            if "value" not in reply:
                raise frames.Malformed("a reply without a value")
            reader.read(reply["value"])
            self._changes(reader, reply.get("changed", []), writer.tensors)
        except frames.Malformed as error:
            raise self._malformed(error) from None
        return reader, reply, writer.tensors

    def _changes(self, reader: "_Replies", changed: Any, sent: list[Tensor]) -> None:
        """Do to the arguments what the answer has done to its copies of them."""
        if not isinstance(changed, list) or len(changed) > len(sent):
            raise frames.Malformed("a reply about arguments that were not sent")
        for entry in changed:
            if not isinstance(entry, list) or len(entry) != 2 or type(entry[0]) is not int:
                raise frames.Malformed("a reply about arguments that were not sent")
            place, value = entry[0], reader.read(entry[1])
            if not 0 <= place < len(sent) or not isinstance(value, Tensor):
                raise frames.Malformed("a reply about arguments that were not sent")
            old, marked = sent[place], reader.marked[entry[1]["T"]]
            if value.shape != old.shape or value.dtype != old.dtype:
                raise AnswerError("the answer has changed the shape or type of its argument")
            with torch.no_grad():
                old.copy_(value.detach())
            if old.is_leaf and old.is_floating_point():
                old.requires_grad_(marked)

    def _malformed(self, error: Any) -> Unreachable:
        """What follows in the channel can't be trusted to be a reply either."""
        self.broken = f"what the answer sent back was {error}"
        return Unreachable(self.broken)

    def _known(self, value: Any) -> int | str:
        if type(value) is Handle and value._wall is self:
            return value._number
        raise TypeError(f"a {type(value).__name__} can't be sent to an answer")


class _Replies(frames.Reader):
    def __init__(self, wall: Wall, buffers: list[bytearray], described: Any) -> None:
        super().__init__(buffers, described)
        self.wall = wall
        self.made: dict[int, Handle] = {}

    def handle(self, number: Any) -> Handle:
        if type(number) is not int or not 0 < number < 1 << 62:
            raise frames.Malformed("a value that is none")
        if number not in self.made:
            self.made[number] = Handle(self.wall, number)
        return self.made[number]


def _error(reply: dict[str, Any]) -> AnswerError:
    name, message = reply["error"], reply.get("message", "")
    name = name if isinstance(name, str) and name.isidentifier() and len(name) < 60 else "Error"
    message = message if isinstance(message, str) else ""
    message = plain(message[:WORDS])
    if name == "KeyboardInterrupt":
        return AnswerError("the answer was stopped")
    return _ERRORS[name](message) if name in _ERRORS else AnswerError(f"{name}: {message}")


# Gradients


class _Tape:
    """Gathers the gradients of a module's parameters over all calls while it runs."""

    def __init__(self, module: Handle) -> None:
        self.module = module
        self.found: dict[str, Tensor] = {}

    def add(self, gradients: Any) -> None:
        for name, gradient in gradients.items():
            self.found[name] = self.found[name] + gradient if name in self.found else gradient


class _Pull:
    """Asks for the gradients of one recorded call."""

    def __init__(self, wall: Wall, call: int, tape: _Tape | None, leaves: int) -> None:
        self.wall, self.call, self.tape, self.leaves = wall, call, tape, leaves

    def __call__(self, cotangents: tuple[Tensor, ...]) -> list[Tensor]:
        module = self.tape.module if self.tape else None
        reply = self.wall.ask("pull", module, *cotangents, of=self.call)
        try:
            leaves, parameters = reply
            assert len(leaves) == self.leaves and all(isinstance(g, Tensor) for g in leaves)
            assert all(isinstance(g, Tensor) for g in parameters.values())
        except (AssertionError, AttributeError, TypeError, ValueError):
            raise AnswerError("the answer sent back no gradient") from None
        if self.tape:
            self.tape.add(parameters)
        return leaves


class _Remote(torch.autograd.Function):
    """A call of an answer as one node of the grader's graph."""

    @staticmethod
    def forward(ctx: Any, pull: _Pull, dummy: Tensor, count: int, *tensors: Tensor) -> Any:
        ctx.pull, ctx.shapes = pull, [t.shape for t in tensors[:count]]
        ctx.outputs = len(tensors) - count
        return tuple(t.clone() for t in tensors[count:])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        found = ctx.pull(cotangents)
        if [g.shape for g in found] != ctx.shapes:
            raise AnswerError("the answer sent back no gradient")
        return None, None, None, *found, *[None] * ctx.outputs


def _needs_gradient(values: Any) -> bool:
    return any(t.requires_grad for t in _tensors(values))


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
        elif isinstance(value, dict):
            yield from _tensors(value.values())


# gmlib.check, for answers behind the wall


class Check:
    """Stands for `gmlib.check` in a hidden test."""

    def __init__(self, wall: Wall) -> None:
        self._wall = wall
        self._own_generator = check.generator
        for name, function in vars(check).items():
            if inspect.isfunction(function) and function.__module__ == check.__name__:
                setattr(self, name, self._through(name, function))
        self.generator = self._generator

    def _through(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def checked(*arguments: Any, **named: Any) -> Any:
            given = [*arguments, *named.values()]
            own = any(inspect.isroutine(a) for a in given)
            if own and name in ("parameter_gradients", "descend"):
                return self._own_function(name, *arguments, **named)
            if own and name in ("operations", "largest_tensor"):
                raise TypeError(f"check.{name} takes an answer, not a function of the test's own")
            if own or name == "close" or not any(map(_holds_handle, given)):
                return function(*arguments, **named)
            return self._wall.ask("check", *arguments, named=named, name=name)

        return checked

    def _own_function(self, name: str, f: Any, module: Handle, *rest: Any, **named: Any) -> Any:
        """The gradient in a module's parameters of a function that the test made of answers."""
        bound = inspect.signature(getattr(check, name)).bind(f, module, *rest, **named).arguments
        found = parameter_gradients(self._wall, f, module, bound["inputs"], bound["cotangents"])
        if name == "parameter_gradients":
            return found
        values = self._wall.ask("check", module, name="parameters")
        moved = {n: values[n] - bound["lr"] * g for n, g in found.items()}
        state = self._wall.ask("check", module, name="state")
        return self._wall.ask("check", module, state | moved, name="load_state")

    def _generator(self) -> torch.Generator:
        """Seeds the student's kernel too, with another number: it says nothing of the inputs."""
        fixed = os.environ.get("GMLIB_CHECK_SEED")
        other = int(fixed) + 1_000_003 if fixed else int.from_bytes(os.urandom(6), "little")
        self._wall.ask("seed", other)
        self._wall.seeding = False
        try:
            return self._own_generator()
        finally:
            self._wall.seeding = True


def parameter_gradients(
    wall: Wall, f: Callable[..., Any], module: Handle, inputs: Any, cotangents: Any
) -> dict[str, Tensor]:
    """`check.parameter_gradients` where `f` is the test's own and calls answers."""
    names = wall.ask("check", module, name="parameters")
    wall.tape = tape = _Tape(module)
    try:
        outputs = check._several(f(*check._several(inputs)))
        cotangents = check._several(cotangents)
        assert [o.shape for o in outputs] == [c.shape for c in cotangents], "another shape"
        total = sum((o * c).sum() for o, c in zip(outputs, cotangents, strict=True))
        if total.requires_grad:
            total.backward()
    finally:
        wall.tape = None
    return {n: tape.found.get(n, torch.zeros_like(value)) for n, value in names.items()}


def _holds_handle(value: Any) -> bool:
    if isinstance(value, Handle):
        return True
    if isinstance(value, list | tuple):
        return any(map(_holds_handle, value))
    return isinstance(value, dict) and any(map(_holds_handle, value.values()))


@contextmanager
def seeds_cross(wall: Wall) -> Iterator[None]:
    """While it holds, a `torch.manual_seed` of a test seeds the student's kernel as well."""
    own = torch.manual_seed

    def both(seed: int) -> torch.Generator:
        made = own(seed)
        if wall.seeding:
            wall.ask("seed", int(seed))
        return made

    torch.manual_seed = both
    try:
        yield
    finally:
        torch.manual_seed = own
