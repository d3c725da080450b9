"""How values cross the wall: JSON for their structure, raw bytes for their arrays.

Both sides use this code, and neither believes the other: reading executes nothing, makes only
values of the types below, and takes no more memory than it has checked first.
"""

import collections
import json
import keyword
import math
import socket
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

HEADER_BYTES = 4 << 20
BUFFERS = 4096
TOTAL_BYTES = 256 << 20
DEPTH = 20
DTYPES = {
    name: getattr(torch, name)
    for name in (
        "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 bool complex64 complex128"
    ).split()
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Malformed(Exception):
    """What arrived is not a message."""


class TooLarge(Exception):
    """A message larger than the wall lets through."""


def send(
    channel: socket.socket,
    header: dict[str, Any],
    buffers: list[Any],
    wait: Callable[[], None] | None = None,
) -> None:
    """Send one message. `wait` is called again and again while it is not through.

    Raises:
        TooLarge: more than may cross.
    """
    text = json.dumps(header).encode()
    views = [memoryview(b).cast("B") if len(b) else b"" for b in buffers]
    total = sum(len(v) for v in views)
    if len(text) > HEADER_BYTES or len(views) > BUFFERS or total > TOTAL_BYTES:
        raise TooLarge(f"{total + len(text):,} bytes; at most {TOTAL_BYTES:,} cross the wall")
    sizes = struct.pack(f"<II{len(views)}Q", len(text), len(views), *map(len, views))
    small = total < 1 << 16
    for part in [b"".join([sizes, text, *views])] if small else [sizes + text, *views]:
        _all(channel, memoryview(part), wait)


def receive(
    channel: socket.socket, wait: Callable[[], None] | None = None
) -> tuple[dict[str, Any], list[bytearray]]:
    """Receive one message. `wait` is called again and again while it is not there.

    Raises:
        EOFError: the other side has gone.
        Malformed, TooLarge: this is no message.
    """
    length, count = struct.unpack("<II", _exactly(channel, 8, wait))
    if length > HEADER_BYTES or count > BUFFERS:
        raise TooLarge("a reply of too many parts")
    sizes = struct.unpack(f"<{count}Q", _exactly(channel, 8 * count, wait))
    if sum(sizes) > TOTAL_BYTES:
        raise TooLarge(f"a reply of {sum(sizes):,} bytes; at most {TOTAL_BYTES:,} are taken")
    text = _exactly(channel, length, wait)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed("a reply that is no message") from error
    if not isinstance(header, dict):
        raise Malformed("a reply that is no message")
    return header, [_exactly(channel, size, wait) for size in sizes]


def _all(channel: socket.socket, view: memoryview, wait: Callable[[], None] | None) -> None:
    while view:
        try:
            view = view[channel.send(view) :]
        except TimeoutError:
            if wait is None:
                raise
        if view and wait is not None:
            wait()


def _exactly(channel: socket.socket, size: int, wait: Callable[[], None] | None) -> bytearray:
    data = bytearray(size)
    view, have = memoryview(data), 0
    while have < size:
        try:
            got = channel.recv_into(view[have:])
            if got == 0:
                raise EOFError("the other side has gone")
            have += got
        except TimeoutError:
            if wait is None:
                raise
        if have < size and wait is not None:
            wait()
    return data


def raw(tensor: Tensor) -> Any:
    """The bytes of a tensor, row by row."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    return tensor.numpy().reshape(-1).view(np.uint8)


class Writer:
    """Turns values into JSON and buffers.

    Args:
        keep: gives a number to a value that is no data, so that the other side has a handle.
    """

    def __init__(self, keep: Callable[[Any], Any]) -> None:
        self.keep = keep
        self.buffers: list[Any] = []
        self.tensors: list[Tensor] = []
        self.described: list[list[Any]] = []
        self._seen: dict[int, int] = {}

    def write(self, value: Any, depth: int = 0) -> Any:
        """JSON for `value`.

        Raises:
            TooLarge: nested too deeply.
        """
        if depth > DEPTH:
            raise TooLarge("a value that is nested too deeply")
        kind = type(value)
        if value is None or kind in (bool, int, str, float):
            return value
        inner = lambda items: [self.write(i, depth + 1) for i in items]  # noqa: E731
        if isinstance(value, Tensor):
            return {"T": self._tensor(value)}
        if isinstance(value, np.generic):
            return {"S": self._array(np.asarray(value))}
        if isinstance(value, np.ndarray):
            return {"A": self._array(value)}
        if isinstance(value, bool | int | float | str):
            plain = next(t for t in (bool, int, float, str) if isinstance(value, t))
            return plain(value)
        if isinstance(value, complex):
            return {"c": [value.real, value.imag]}
        if isinstance(value, torch.Size):
            return {"Z": [int(i) for i in value]}
        if isinstance(value, tuple):
            fields = getattr(value, "_fields", None)
            if isinstance(fields, tuple):
                return {"N": [list(fields), inner(value)]}
            return {"t": inner(value)}
        if isinstance(value, list):
            return {"l": inner(value)}
        if isinstance(value, set | frozenset):
            return {"z": inner(value)}
        if isinstance(value, collections.abc.Mapping):
            return {"d": [inner(pair) for pair in value.items()]}
        if kind in (type({}.keys()), type({}.values()), type({}.items())):
            return {"l": inner(value)}
        if isinstance(value, range):
            return {"g": [value.start, value.stop, value.step]}
        if isinstance(value, slice):
            return {"s": inner((value.start, value.stop, value.step))}
        if value is ...:
            return {"e": 0}
        if isinstance(value, torch.dtype) and value in NAMES:
            return {"D": NAMES[value]}
        if isinstance(value, torch.device):
            return {"v": 0}
        return {"h": self.keep(value)}

    def _tensor(self, value: Tensor) -> int:
        if id(value) not in self._seen:
            if value.dtype not in NAMES or value.layout != torch.strided:
                raise TypeError(f"a tensor of {value.dtype}, {value.layout}, does not cross")
            self.described.append(
                [NAMES[value.dtype], list(value.shape), len(self.buffers), value.requires_grad]
            )
            self._seen[id(value)] = len(self.tensors)
            self.tensors.append(value)
            self.buffers.append(raw(value))
        return self._seen[id(value)]

    def _array(self, value: np.ndarray) -> list[Any]:
        if str(value.dtype) not in DTYPES:
            raise TypeError(f"an array of {value.dtype} does not cross")
        self.buffers.append(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        return [str(value.dtype), list(value.shape), len(self.buffers) - 1]


class Reader:
    """Turns JSON and buffers into values.

    Args:
        described: of each tensor [dtype, shape, buffer, requires_grad].

    Raises:
        Malformed: of a type, a size or a depth that does not cross.
    """

    def __init__(self, buffers: list[bytearray], described: Any = ()) -> None:
        self.buffers = buffers
        self.marked: list[bool] = []
        self.tensors: list[Tensor] = []
        if not isinstance(described, list | tuple) or len(described) > BUFFERS:
            raise Malformed("a reply whose tensors can not be read")
        for entry in described:
            *array, marked = _list(entry, 4)
            dtype, shape, buffer = self._array(array)
            self.tensors.append(_tensor(buffer, DTYPES[dtype], shape))
            self.marked.append(marked is True and DTYPES[dtype].is_floating_point)

    def read(self, value: Any, depth: int = 0) -> Any:
        """The value that this JSON stands for."""
        if depth > DEPTH:
            raise Malformed("a value that is nested too deeply")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if not isinstance(value, dict) or len(value) != 1:
            raise Malformed("a value that is none")
        ((kind, content),) = value.items()
        inner = lambda items: [self.read(i, depth + 1) for i in _list(items)]  # noqa: E731
        if kind == "T":
            return self.tensors[_index(content, len(self.tensors))]
        if kind in "AS":
            dtype, shape, buffer = self._array(content)
            if dtype == "bfloat16" or (kind == "S" and shape):
                raise Malformed("an array that is none")
            array = np.frombuffer(buffer, np.uint8 if dtype == "bool" else dtype).reshape(shape)
            array = array != 0 if dtype == "bool" else array
            return array if kind == "A" else array[()]
        if kind == "c":
            real, imaginary = _list(content, 2)
            return complex(float(real), float(imaginary))
        if kind == "Z":
            return torch.Size(_index(i, 1 << 40) for i in _list(content))
        if kind == "t":
            return tuple(inner(content))
        if kind == "N":
            fields, values = _list(content, 2)
            return _named(_list(fields), inner(values))
        if kind == "l":
            return inner(content)
        if kind == "z":
            return {_key(k) for k in inner(content)}
        if kind == "d":
            pairs = [_list(pair, 2) for pair in _list(content)]
            return {_key(self.read(k, depth + 1)): self.read(v, depth + 1) for k, v in pairs}
        if kind == "g":
            return range(*(_whole(i) for i in _list(content, 3)))
        if kind == "s":
            return slice(*inner(content)[:3])
        if kind == "e":
            return ...
        if kind == "D" and isinstance(content, str) and content in DTYPES:
            return DTYPES[content]
        if kind == "v":
            return torch.device("cpu")
        if kind == "h":
            return self.handle(content)
        raise Malformed("a value that is none")

    def handle(self, number: Any) -> Any:
        raise NotImplementedError

    def _array(self, entry: Any) -> tuple[str, list[int], bytearray]:
        dtype, shape, buffer = _list(entry, 3)
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise Malformed("an array of a type that does not cross")
        shape = [_index(i, 1 << 40) for i in _list(shape)]
        data = self.buffers[_index(buffer, len(self.buffers))]
        if len(shape) > 16 or math.prod(shape) * DTYPES[dtype].itemsize != len(data):
            raise Malformed("an array whose bytes do not fit its shape")
        return dtype, shape, data


def _tensor(data: bytearray, dtype: torch.dtype, shape: list[int]) -> Tensor:
    if not data:
        return torch.empty(shape, dtype=dtype)
    if dtype == torch.bool:
        return (torch.frombuffer(data, dtype=torch.uint8) != 0).reshape(shape)
    return torch.frombuffer(data, dtype=dtype).reshape(shape)


def _list(value: Any, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise Malformed("a value that is none")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 62:
        raise Malformed("a number that is none")
    return value


def _index(value: Any, end: int) -> int:
    if not 0 <= _whole(value) < end:
        raise Malformed("a number that is out of range")
    return value


def _key(value: Any) -> Any:
    try:
        hash(value)
    except TypeError as error:
        raise Malformed("a key that is none") from error
    return value


def _named(fields: list[Any], values: list[Any]) -> tuple:
    good = all(
        isinstance(f, str) and f.isidentifier() and not keyword.iskeyword(f) and f[0] != "_"
        for f in fields
    )
    if not good or len(set(fields)) != len(fields) or not len(fields) == len(values) <= 64:
        raise Malformed("a tuple whose names are none")
    return collections.namedtuple("Named", fields)(*values)
