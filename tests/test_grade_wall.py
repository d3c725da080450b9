"""What crosses the wall, and what does not, whatever the other side sends."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gmlib import check
from gmlib.grade import agent, frames
from gmlib.grade.wall import AnswerError, Check, Handle, Unreachable, Wall, seeds_cross


class Student(nn.Module):
    """Answers of one student, behind the wall."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.layers = nn.ModuleList([nn.Linear(size, 3), nn.Linear(3, 2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[1](torch.tanh(self.layers[0](x)))


def halve(x: Tensor) -> Tensor:
    return x / 2


def spoil(x: Tensor) -> Tensor:
    x += 1
    return x.sum()


def fail(kind: str) -> None:
    raise {"value": ValueError, "key": KeyError, "own": type("Own", (Exception,), {})}[kind]("told")


ANSWERS = {
    "Student": Student,
    "halve": halve,
    "spoil": spoil,
    "fail": fail,
    "echo": lambda *x: x if len(x) > 1 else x[0],
    "draw": lambda n: torch.randn(n),
    "optimise": lambda model, lr: torch.optim.SGD(model.parameters(), lr),
}


@pytest.fixture
def wall() -> Iterator[Wall]:
    """A wall with an honest agent behind it, in a thread."""
    ours, theirs = socket.socketpair()
    agent._channel = theirs
    thread = threading.Thread(target=agent.serve, args=(ANSWERS,))
    thread.start()
    made = Wall(ours, lambda: "", lambda: None)
    made.begin(20)
    yield made
    made.end()
    ours.close()
    thread.join()


def liar(reply: Callable[[dict[str, Any]], bytes]) -> tuple[Wall, socket.socket]:
    """A wall with an agent that answers every request with these bytes."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            while True:
                request, _ = frames.receive(theirs)
                theirs.sendall(reply(request))
        except (OSError, EOFError):
            theirs.close()

    threading.Thread(target=answer, daemon=True).start()
    made = Wall(ours, lambda: "", lambda: None)
    made.begin(1)
    return made, ours


def message(header: Any, *buffers: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    sizes = [len(b) for b in buffers]
    return (
        struct.pack(f"<II{len(sizes)}Q", len(text), len(sizes), *sizes) + text + b"".join(buffers)
    )


def test_data_come_back_as_they_were(wall: Wall) -> None:
    echo = wall.handles(["echo"])["echo"]
    values = [
        None, True, 3, -(2**60), 0.1, float("inf"), "ä\n", "\ud800", [1, [2.5]], (1, "a"),
        {"a": (1,)},
        {1: 2}, {1, 2}, range(3), slice(1, None), ..., torch.float64, torch.Size([2, 3]), 1 + 2j,
    ]  # fmt: skip
    for value in values:
        found = echo(value)
        assert type(found) is type(value) and found == value
    for dtype in frames.DTYPES.values():
        for shape in ((), (0,), (2, 3), (2, 0, 4)):
            tensor = (torch.randn(shape) * 9).to(dtype)
            found = echo(tensor)
            assert (
                torch.equal(found, tensor) and found.dtype == dtype and found.shape == tensor.shape
            )
    views = torch.randn(4, 6).T[1:4:2], torch.randn(3, 1).expand(3, 5), torch.randn(2).conj()
    for view in views:
        assert torch.equal(echo(view), view)
    array = np.arange(6.0).reshape(2, 3).T
    assert (echo(array) == array).all() and echo(np.float32(1.5)).dtype == np.float32
    assert np.isnan(echo(float("nan"))) and echo(1, "b") == (1, "b")


def test_a_handle_is_nothing_but_a_handle(wall: Wall) -> None:
    made = wall.handles(["Student", "nothing"])
    assert list(made) == ["Student"]
    model = made["Student"](4)
    assert type(model) is Handle and model.size == 4
    for act in (
        lambda: model == model, lambda: model != 3, lambda: bool(model), lambda: not model,
        lambda: list(model), lambda: len(model), lambda: 3 in model, lambda: hash(model),
        lambda: float(model), lambda: model < 3, lambda: model.sum(), lambda: model.shape,
        lambda: torch.zeros(3) == model, lambda: torch.equal(torch.zeros(1), model),
        lambda: model + 1, lambda: torch.zeros(1) + model, lambda: np.asarray(model) + 0.0,
    ):  # fmt: skip
        with pytest.raises((TypeError, AttributeError)):
            act()
    with pytest.raises(AttributeError):
        _ = model.__dict__
    with pytest.raises(TypeError, match="can't be sent"):
        model(lambda x: x)


def test_modules_are_used_through_their_handles(wall: Wall) -> None:
    names = wall.handles(list(ANSWERS))
    model, outside = names["Student"](4), Check(wall)
    x = torch.randn(5, 4)
    twin = Student(4)
    twin.load_state_dict(outside.state(model))
    found = model(x)
    torch.testing.assert_close(found, twin(x))
    assert found.requires_grad and not found.detach().requires_grad
    with torch.no_grad():
        assert not model(x).requires_grad
    torch.testing.assert_close(model.layers[0](x), twin.layers[0](x))
    pull = torch.randn(5, 2)
    theirs = outside.parameter_gradients(model, model, x, pull)
    ours = check.parameter_gradients(twin, twin, x, pull)
    assert list(theirs) == list(ours)
    for name, gradient in ours.items():
        torch.testing.assert_close(theirs[name], gradient)
    outside.descend(model, model, x, pull, lr=0.1)
    check.descend(twin, twin, x, pull, lr=0.1)
    torch.testing.assert_close(model(x), twin(x))
    outside.set_gradients(model, {n: torch.ones_like(p) for n, p in ours.items()})
    names["optimise"](model, 0.5).step()
    for p in twin.parameters():
        p.data -= 0.5
    torch.testing.assert_close(model(x), twin(x))
    model.size = 7
    assert model.size == 7


def test_functions_of_a_test_around_answers_are_differentiated(wall: Wall) -> None:
    names, outside = wall.handles(list(ANSWERS)), Check(wall)
    halve_, model, x = names["halve"], names["Student"](3), torch.randn(4, 3)
    (value,), (gradient,) = outside.vjp(lambda x: halve_(halve_(x).exp()), x, torch.ones(4, 3))
    torch.testing.assert_close(value, (x / 2).exp() / 2)
    torch.testing.assert_close(gradient, (x / 2).exp() / 4)
    twin = Student(3)
    twin.load_state_dict(outside.state(model))
    pull, own = torch.randn(4), lambda m: lambda x: (m(halve_(x)) ** 2).sum(1)
    theirs = outside.parameter_gradients(own(model), model, x, pull)
    ours = check.parameter_gradients(lambda x: (twin(x / 2) ** 2).sum(1), twin, x, pull)
    for name, gradient in ours.items():
        torch.testing.assert_close(theirs[name], gradient)
    outside.descend(own(model), model, x, pull, lr=0.1)
    check.descend(lambda x: (twin(x / 2) ** 2).sum(1), twin, x, pull, lr=0.1)
    torch.testing.assert_close(model(x), twin(x))
    with pytest.raises(TypeError, match="takes an answer"):
        outside.operations(lambda x: halve_(x), (x,))


def test_what_an_answer_does_to_its_arguments_is_seen(wall: Wall) -> None:
    names = wall.handles(list(ANSWERS))
    x = torch.zeros(6).reshape(2, 3)
    names["halve"](x[0])
    assert not x.any()
    assert names["spoil"](x[1]) == 3
    assert torch.equal(x, torch.tensor([[0.0] * 3, [1.0] * 3]))


def test_errors_come_back_in_the_answers_words(wall: Wall) -> None:
    fail_ = wall.handles(["fail"])["fail"]
    with pytest.raises(ValueError, match="^told$"):
        fail_("value")
    with pytest.raises(AnswerError, match="Own: told"):
        fail_("own")
    with pytest.raises(KeyError):
        fail_("key")
    assert wall.handles(["halve"])["halve"](torch.ones(1)) == 0.5


def test_seeds_reach_the_answers_and_say_nothing_of_the_inputs(wall: Wall) -> None:
    draw, outside, asked = wall.handles(["draw"])["draw"], Check(wall), []
    own = wall.ask
    wall.ask = lambda op, *a, **k: (asked.append(a) if op == "seed" else None, own(op, *a, **k))[1]
    with seeds_cross(wall):
        torch.manual_seed(5)
        first = draw(3)
        torch.manual_seed(5)
        assert torch.equal(draw(3), first)
        made = outside.generator()
    assert asked[:2] == [(5,), (5,)] and len(asked) == 3
    (seed,) = asked[2]
    for guess in (seed, seed + 1, seed - 1):
        other = torch.Generator().manual_seed(guess)
        assert not torch.equal(
            torch.randn(3, generator=made.clone_state()), torch.randn(3, generator=other)
        )


GOOD = {"number": 1, "value": None, "tensors": []}
EVIL = {
    "no JSON": message(b"{"),
    "no object": message([1]),
    "deep JSON": message(b"[" * 200_000 + b"]" * 200_000),
    "deep value": message(GOOD | {"value": json.loads('{"l":[' * 60 + "1" + "]}" * 60)}),
    "another number": message(GOOD | {"number": 7}),
    "no value": message({"number": 1, "tensors": []}),
    "unknown kind": message(GOOD | {"value": {"pickle": "gASV"}}),
    "two kinds": message(GOOD | {"value": {"l": [], "t": []}}),
    "dtype": message(GOOD | {"tensors": [["object", [1], 0, False]]}, bytes(8)),
    "numpy dtype": message(GOOD | {"value": {"A": ["O", [1], 0]}}, bytes(8)),
    "shape": message(GOOD | {"tensors": [["float32", [1 << 39], 0, False]]}, bytes(4)),
    "negative shape": message(GOOD | {"tensors": [["float32", [-1, -4], 0, False]]}, bytes(16)),
    "many dimensions": message(GOOD | {"tensors": [["int8", [1] * 99, 0, False]]}, bytes(1)),
    "shape of True": message(GOOD | {"tensors": [["int8", [True], 0, False]]}, bytes(1)),
    "no buffer": message(GOOD | {"tensors": [["float32", [1], 5, False]]}),
    "no tensor": message(GOOD | {"value": {"T": 3}}),
    "tensors are none": message(GOOD | {"tensors": {"a": 1}}),
    "too long a header": struct.pack("<II", 1 << 31, 0),
    "too many buffers": struct.pack("<II", 2, 1 << 30),
    "too large a buffer": struct.pack("<IIQ", 2, 1, 1 << 60),
    "sum of buffers": struct.pack("<II3Q", 2, 3, 1 << 27, 1 << 27, 1 << 27),
    "a key that is a list": message(GOOD | {"value": {"d": [[{"l": []}, 1]]}}),
    "names": message(GOOD | {"value": {"N": [["__class__"], [1]]}}),
    "names are code": message(GOOD | {"value": {"N": [["a, b=print(1)"], [1]]}}),
    "a range": message(GOOD | {"value": {"g": [0, 1 << 80, 1]}}),
    "a handle": message(GOOD | {"value": {"h": "os"}}),
    "changed": message(GOOD | {"changed": [[9, None]]}),
    "huge integer": message(b'{"number": 1, "tensors": [], "value": ' + b"9" * 100_000 + b"}"),
}  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_a_reply_that_is_none_is_a_failed_call(name: str) -> None:
    wall, ours = liar(lambda request: EVIL[name])
    started = time.monotonic()
    with pytest.raises(AnswerError):
        wall.ask("call", torch.ones(3))
    assert wall.broken and time.monotonic() - started < 3
    with pytest.raises(Unreachable):
        wall.ask("call")
    ours.close()


def test_silence_and_drops_are_late() -> None:
    wall, ours = liar(lambda request: b"")
    wall.begin(0.3)
    started = time.monotonic()
    with pytest.raises(Unreachable, match="took longer"):
        wall.ask("call")
    assert time.monotonic() - started < 5

    def slowly() -> None:
        with contextlib.suppress(OSError):
            frames.receive(theirs)
            for _ in range(500):
                theirs.send(b"\x00")
                time.sleep(0.02)

    ours, theirs = socket.socketpair()
    wall = Wall(ours, lambda: "", lambda: None)
    wall.begin(0.3)
    threading.Thread(target=slowly, daemon=True).start()
    with pytest.raises(AnswerError):
        wall.ask("call")
    ours.close()


def test_reading_takes_no_more_memory_than_was_sent() -> None:
    header = message(GOOD | {"tensors": [["float32", [4], 0, True]], "value": {"T": 0}}, bytes(16))
    wall, ours = liar(lambda request: header)
    found = wall.ask("call")
    assert found.requires_grad and not found.is_leaf
    ours.close()
    bools = GOOD | {"tensors": [["bool", [3], 0, False]], "value": {"T": 0}}
    wall, ours = liar(lambda request: message(bools, b"\x00\x07\xff"))
    assert wall.ask("call").tolist() == [False, True, True]
    ours.close()


def test_what_is_sent_is_bounded_as_well(wall: Wall) -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(frames.TooLarge):
        wall.handles(["echo"])["echo"](deep)
