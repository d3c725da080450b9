"""The student-side half of the wall: runs inside the box, in the student's kernel.

It calls the answers with what `wall` sends and sends back what they return. It keeps no secret,
and nothing that it says is believed beyond being what was returned: see `wall`.
"""

import socket
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gmlib import check
from gmlib.grade import frames

_channel: socket.socket | None = None
_kept: dict[int, Any] = {}  # what the other side holds a handle of
_pending: dict[int, tuple[list[Tensor], list[Tensor]]] = {}  # graphs of calls, for their gradient
_count = 0


class OutputFlood(Exception):
    """A cell has written far more than anybody will read."""


def install(descriptor: int, shell: Any, output: int) -> None:
    """Take over the socket to the grader, and keep the cells' output within what it reads.

    A cell may write four times what is kept; then it gets an error, as it would from a full disk.
    """
    global _channel
    _channel = socket.socket(fileno=descriptor)
    most = 4 * output
    written = [0]

    def bounded(stream: Any) -> None:
        own = stream.write

        def write(text: str) -> int | None:
            room = most - written[0]
            written[0] += len(text)
            if len(text) <= room:
                return own(text)
            own(text[: max(room, 0)])
            raise OutputFlood(f"this cell has written more than {most:,} characters")

        stream.write = write

    def start(*_: Any) -> None:
        written[0] = 0

    def small(message: Any) -> Any:
        data = message.get("content", {}).get("data", {})
        written[0] += sum(len(str(v)) for v in data.values())
        if written[0] > 8 * most or sum(len(str(v)) for v in data.values()) > most:
            raise OutputFlood(f"this cell has shown more than {most:,} characters")
        return message

    bounded(sys.stdout)
    bounded(sys.stderr)
    shell.events.register("pre_run_cell", start)
    shell.display_pub.register_hook(small)
    shell.displayhook.write_format_data = _bounded_result(shell.displayhook, most)


def _bounded_result(hook: Any, most: int) -> Callable[..., None]:
    own = hook.write_format_data

    def write(data: dict[str, Any], *more: Any) -> None:
        if sum(len(str(v)) for v in data.values()) > most:
            data = {"text/plain": str(data.get("text/plain", ""))[:1_000] + " …"}
        own(data, *more)

    return write


def serve(namespace: dict[str, Any]) -> None:
    """Answer requests until the grader says that this test is over."""
    while True:
        try:
            request, buffers = frames.receive(_channel)
        except KeyboardInterrupt:
            continue
        except (EOFError, OSError):
            return
        if request["op"] == "end":
            _pending.clear()
            return
        try:
            reply, sent = _answer(request, buffers, namespace)
        except BaseException as error:
            reply, sent = {"error": type(error).__name__, "message": _message(error)}, []
        _send(request["number"], reply, sent)


def _send(number: int, reply: dict[str, Any], buffers: list[Any]) -> None:
    try:
        frames.send(_channel, {"number": number, **reply}, buffers)
    except frames.TooLarge as error:
        reply = {"error": type(error).__name__, "message": _message(error)}
        frames.send(_channel, {"number": number, **reply}, [])


def _message(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except BaseException:
        return ""


def _answer(
    request: dict[str, Any], buffers: list[bytearray], namespace: dict[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    for number in request.get("free", ()):
        _kept.pop(number, None)
    reader = _Reader(buffers, request["tensors"], namespace)
    for tensor, marked in zip(reader.tensors, reader.marked, strict=True):
        tensor.requires_grad_(marked)
    arguments = [reader.read(a) for a in request["args"]]
    named = {name: reader.read(a) for name, a in request["named"].items()}
    before = [(t, t.detach().clone(), t.requires_grad) for t in reader.tensors]
    with torch.set_grad_enabled(request["grad"]):
        result = _OPERATIONS[request["op"]](request, arguments, named)
    writer = frames.Writer(_keep)
    reply = {"value": writer.write(result)}
    if "record" in request:
        outputs = [t for t in writer.tensors if t.requires_grad]
        _pending[request["record"]] = outputs, [t for t in reader.tensors if t.requires_grad]
    reply["changed"] = [
        [i, writer.write(tensor)]
        for i, (tensor, old, marked) in enumerate(before)
        if tensor.requires_grad != marked or not _same(tensor, old)
    ]
    reply["tensors"] = writer.described
    return reply, writer.buffers


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool((frames.raw(a) == frames.raw(b)).all())


def _keep(value: Any) -> int:
    global _count
    _count += 1
    _kept[_count] = value
    return _count


class _Reader(frames.Reader):
    """Values for the student's code: handles become what they stand for."""

    def __init__(
        self, buffers: list[bytearray], described: list[Any], namespace: dict[str, Any]
    ) -> None:
        super().__init__(buffers, described)
        self.namespace = namespace

    def handle(self, number: Any) -> Any:
        if not isinstance(number, str):
            return _kept[number]
        if number not in self.namespace:
            raise NameError(f"name {number!r} is not defined")
        return self.namespace[number]


def _call(request: dict[str, Any], arguments: list[Any], named: dict[str, Any]) -> Any:
    f, *arguments = arguments
    return f(*arguments, **named)


def _pull(request: dict[str, Any], arguments: list[Any], named: dict[str, Any]) -> Any:
    """Gradients of a recorded call, for its leaves and for a module's parameters."""
    module, *cotangents = arguments
    outputs, leaves = _pending[request["of"]]
    parameters = dict(module.named_parameters()) if module is not None else {}
    wanted = [*leaves, *parameters.values()]
    found = torch.autograd.grad(outputs, wanted, cotangents, allow_unused=True, retain_graph=True)
    found = [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]
    return found[: len(leaves)], dict(zip(parameters, found[len(leaves) :], strict=True))


def _attribute(request: dict[str, Any], arguments: list[Any], named: dict[str, Any]) -> Any:
    return getattr(arguments[0], request["name"])


def _set(request: dict[str, Any], arguments: list[Any], named: dict[str, Any]) -> None:
    setattr(arguments[0], request["name"], arguments[1])


def _item(request: dict[str, Any], arguments: list[Any], named: dict[str, Any]) -> Any:
    return arguments[0][arguments[1]]


def _length(request: dict[str, Any], arguments: list[Any], named: dict[str, Any]) -> int:
    return len(arguments[0])


def _check(request: dict[str, Any], arguments: list[Any], named: dict[str, Any]) -> Any:
    return getattr(check, request["name"])(*arguments, **named)


def _seed(request: dict[str, Any], arguments: list[Any], named: dict[str, Any]) -> None:
    torch.random.manual_seed(arguments[0])


def _get(request: dict[str, Any], arguments: list[Any], named: dict[str, Any]) -> Any:
    return arguments[0]


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": _call,
    "pull": _pull,
    "attribute": _attribute,
    "set": _set,
    "item": _item,
    "length": _length,
    "check": _check,
    "seed": _seed,
    "get": _get,
}
