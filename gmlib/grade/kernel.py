"""A client of a kernel that is not trusted: it reads with caps, waits with deadlines.

`nbclient` believes a kernel; this does not. What a cell shows is cut off while it runs, and a
message that is none is left out.
"""

import json
import resource
import time
from typing import Any

import zmq
from jupyter_client.session import Session
from nbformat import NotebookNode
from nbformat.v4 import new_output

from gmlib.grade.intake import clean
from gmlib.grade.sandbox import Box

MESSAGE_BYTES = 8 << 20
MESSAGES = 200  # that wait to be read
MEMORY = 2 << 30  # bytes that what a kernel sends may take here
OUTPUTS = 2_000  # of one cell
FLOOD = 32  # times the cap on output: then the cell is stopped
GRACE = 3.0  # seconds that a cell has to stop when it is told to
DRAIN = 10.0  # and one that has written more than is read
LAST = 3.0  # seconds that are waited for the last outputs of a cell that is through
KINDS = ("text/plain text/html text/markdown text/latex image/png image/jpeg image/svg+xml").split()


class Ended(Exception):
    """The kernel has ended; says why."""


class Kernel:
    """Runs cells in the kernel of a box."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.session = Session(key=box.connection["key"].encode())
        self.context = zmq.Context.instance()
        self.memory = _memory()
        self.poller = zmq.Poller()
        self.shell = self._socket(zmq.DEALER, 1)
        self._listen()

    def _listen(self) -> None:
        self.iopub = self._socket(zmq.SUB, 2)
        self.iopub.setsockopt(zmq.SUBSCRIBE, b"")
        self._greet()

    def _socket(self, kind: int, port: int) -> zmq.Socket:
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
        socket.setsockopt(zmq.RCVHWM, MESSAGES)
        socket.connect(f"ipc://{self.box.connection['ip']}-{port}")
        self.poller.register(socket, zmq.POLLIN)
        return socket

    def _greet(self) -> None:
        """Until what the kernel publishes is heard: nothing of the first cell may be lost."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            self._send(self.shell, "kernel_info_request", {})
            step = time.monotonic() + 0.5
            while time.monotonic() < step:
                self._alive()
                if self.poller.poll(50) and self.iopub.poll(0):
                    self._drain(self.iopub)
                    self._drain(self.shell)
                    return
        raise Ended("it did not answer")

    def run(self, code: str, seconds: float, output_bytes: int) -> tuple[list[NotebookNode], str]:
        """Run one cell. Returns its outputs, and why it was stopped, or nothing.

        Args:
            seconds: as `sandbox.Box.time` counts them.

        Raises:
            Ended: the kernel ended while it ran. Its outputs are in `outputs`.
        """
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        content |= {"user_expressions": {}, "stop_on_error": False}
        self._drain(self.iopub), self._drain(self.shell)
        me = self._send(self.shell, "execute_request", content)
        self.outputs = outputs = Outputs(output_bytes)
        start, deadline, stopped = self.box.time(), seconds, ""
        replied = idle = False
        while not (replied and idle):
            self.poller.poll(100)
            for frames in self._drain(self.iopub):
                kind, parent, body = _read(frames)
                if parent == me:
                    idle = idle or (kind == "status" and body.get("execution_state") == "idle")
                    outputs.take(kind, body)
            for frames in self._drain(self.shell):
                kind, parent, body = _read(frames)
                if parent == me and kind == "execute_reply" and not replied:
                    if _exits(body):
                        raise Ended("it was told to exit")
                    replied, last = True, self.box.time() - start + LAST
            self._alive()
            now = self.box.time() - start
            flooded = outputs.seen > FLOOD * output_bytes
            if replied and now > last:  # a message too large ended the connection: its rest is lost
                outputs.cut = True
                self._hang_up(self.iopub)
                self._listen()
                break
            if not stopped and (now > deadline or flooded):
                stopped = "too much output" if flooded else f"took longer than {seconds:.0f} s"
                deadline = now + (DRAIN if flooded else GRACE)
                self.box.interrupt()
            elif stopped and not replied and now > deadline:
                raise Ended(stopped)
        return outputs.cells(), stopped

    def start(self, code: str) -> None:
        """Have the kernel run code that is the grader's, and do not wait."""
        content = {"code": code, "silent": True, "store_history": False, "allow_stdin": False}
        content |= {"user_expressions": {}, "stop_on_error": False}
        self._drain(self.iopub), self._drain(self.shell)
        self._send(self.shell, "execute_request", content)

    def look(self) -> str:
        """Why the kernel has ended, or nothing. Drops what is published meanwhile."""
        self._drain(self.iopub)
        if _memory() > self.memory + MEMORY:
            self.box.kill()
            return "it sent more than can be taken"
        return self.box.ended()

    def close(self) -> None:
        for socket in (self.shell, self.iopub):
            self._hang_up(socket)

    def _hang_up(self, socket: zmq.Socket) -> None:
        self.poller.unregister(socket)
        socket.close()

    def _alive(self) -> None:
        if _memory() > self.memory + MEMORY:
            self.box.kill()
            raise Ended("it sent more than can be taken")
        if why := self.box.ended():
            raise Ended(why)

    def _send(self, socket: zmq.Socket, kind: str, content: dict[str, Any]) -> str:
        message = self.session.msg(kind, content)
        try:
            socket.send_multipart(self.session.serialize(message), zmq.DONTWAIT)
        except zmq.Again:
            raise Ended("it takes no more messages") from None
        return message["header"]["msg_id"]

    @staticmethod
    def _drain(socket: zmq.Socket) -> list[list[bytes]]:
        got = []
        while len(got) < 500:
            try:
                got.append(socket.recv_multipart(zmq.DONTWAIT))
            except zmq.Again:
                break
        return got


class Outputs:
    """The outputs of one cell, as nbformat has them, within a number of bytes."""

    def __init__(self, most: int) -> None:
        self.most, self.seen, self.kept, self.cut = most, 0, 0, False
        self.found: list[NotebookNode] = []
        self.clear_next = False

    def take(self, kind: str, body: dict[str, Any]) -> None:
        """One published message."""
        if kind == "clear_output":
            self.clear_next = body.get("wait") is True
            if not self.clear_next:
                self.found = []
            return
        if kind not in ("stream", "display_data", "execute_result", "error"):
            return
        size = sum(len(t) for t in _texts(body))
        self.seen += size + 100
        if self.kept + size > self.most and kind != "error" or len(self.found) >= OUTPUTS:
            room = self.most - self.kept
            if kind == "stream" and not self.cut and room > 0:
                body = body | {"text": str(body.get("text"))[:room]}
            else:
                self.cut = True
                return
            self.cut = True
        self.kept += size
        if self.clear_next:
            self.found, self.clear_next = [], False
        output = _output(kind, body)
        last = self.found[-1] if self.found else None
        if last and kind == "stream" and last.get("name") == output.name:
            last["text"] += output.text
        else:
            self.found.append(output)

    def cells(self) -> list[NotebookNode]:
        if self.cut:
            words = "\n[the rest of this cell's output is left out: too much]\n"
            self.found.append(new_output("stream", name="stdout", text=words))
        return self.found


def _read(frames: list[bytes]) -> tuple[str, str, dict[str, Any]]:
    """Kind, parent and content of a message; a message that is none has no kind."""
    try:
        at = frames.index(b"<IDS|MSG>")
        header, parent, _, content = (json.loads(f) for f in frames[at + 2 : at + 6])
        kind, me = header["msg_type"], parent["msg_id"]
    except (ValueError, RecursionError, TypeError, KeyError, IndexError):
        return "", "", {}
    good = isinstance(kind, str) and isinstance(me, str) and isinstance(content, dict)
    return (kind, me, content) if good else ("", "", {})


def _exits(reply: dict[str, Any]) -> bool:
    """Whether the kernel ends after this reply, by `exit` or `quit()` in the cell."""
    payload = reply.get("payload")
    payload = payload if isinstance(payload, list) else []
    return any(isinstance(p, dict) and p.get("source") == "ask_exit" for p in payload)


def _texts(body: dict[str, Any]) -> list[str]:
    data = body.get("data")
    values = [body.get("text"), body.get("evalue"), *(data.values() if type(data) is dict else ())]
    return [v for v in values if isinstance(v, str)]


def _output(kind: str, body: dict[str, Any]) -> NotebookNode:
    if kind == "stream":
        name = "stderr" if body.get("name") == "stderr" else "stdout"
        return new_output("stream", name=name, text=_words(body.get("text")))
    if kind == "error":
        lines = body.get("traceback") if isinstance(body.get("traceback"), list) else []
        return new_output(
            "error",
            ename=_words(body.get("ename"))[:200],
            evalue=_words(body.get("evalue"))[:2_000],
            traceback=[_words(line)[:10_000] for line in lines[:50]],
        )
    data = body.get("data") if isinstance(body.get("data"), dict) else {}
    kept = {k: clean(data[k]) for k in KINDS if isinstance(data.get(k), str)}
    if kind == "execute_result":
        count = body.get("execution_count")
        count = count if type(count) is int and 0 <= count < 1 << 31 else None
        return new_output("execute_result", data=kept, execution_count=count)
    return new_output("display_data", data=kept)


def _memory() -> int:
    """Bytes that this process has in memory."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _words(value: Any) -> str:
    return clean(str(value if value is not None else ""))
