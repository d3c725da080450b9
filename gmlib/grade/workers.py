"""Judging many submissions at once, here or on a Dask cluster.

A worker gets the bytes of one submission and returns what was found. It holds no key to the
gradebook and no path of the course.
"""

import contextlib
import ctypes
import itertools
import json
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import nbformat

from gmlib.grade import intake
from gmlib.grade.sandbox import PATIENCE

TRIES = 2  # of a submission whose worker ends or hangs
START = "forkserver"  # what a worker needs is imported once, not once a worker
SPARE_SECONDS = 120  # beyond a submission's own limit, before a worker is held to hang


class Task(NamedTuple):
    """One submission to be judged."""

    student: str
    key: str
    data: bytes


Result = dict[str, Any]
Work = Callable[..., Result]  # (data, lab, limits, sandboxed) -> result


def judged(data: bytes, lab: Any, limits: Any, sandboxed: bool) -> Result:
    """Repair and judge one submission; it raises for nothing that a submission does.

    Returns:
        {"outcome": Outcome as a dict, "notes": words for the student}, or
        {"problem": why it can't be graded}.
    """
    from gmlib.grade.verdict import judge

    try:
        made = intake.repair(data, nbformat.reads(lab.release, as_version=4))
    except intake.Unreadable as error:
        return {"problem": str(error)}
    outcome = judge(made.notebook, lab, limits, sandboxed=sandboxed)
    return {"outcome": outcome._asdict(), "notes": made.notes}


def _warm(lab: Any, limits: Any, sandboxed: bool) -> None:
    from gmlib.grade import verdict

    verdict.warm(lab, sandboxed=sandboxed)


judged.warm = _warm


def safely(work: Work, *arguments: Any) -> Result:
    """What `work` returns, or that the grader itself failed, which is nobody's mistake but ours."""
    try:
        return work(*arguments)
    except Exception as error:
        where = traceback.format_exc(limit=-3)
        return failed(f"the grader failed on it: {type(error).__name__}: {error}", where)


def failed(why: str, details: str = "") -> Result:
    return {"problem": why, "again": True, "details": details}


def prepare() -> None:
    """Begin to import what workers need, in the process that all of them are forked from."""
    if START == "forkserver":
        forkserver.set_forkserver_preload(["gmlib.grade.verdict"])
        forkserver.ensure_running()


class Local:
    """Worker processes on this machine, each with one submission at a time.

    A worker ends when this process does, however that ends.
    """

    def __init__(self, count: int, work: Work, lab: Any, limits: Any, sandboxed: bool) -> None:
        self.count, self.work, self.arguments = count, work, (lab, limits, sandboxed)
        self.waiting = [_Worker(self) for _ in range(count)]
        self.seconds = PATIENCE * getattr(limits, "total_seconds", 300) + SPARE_SECONDS
        self.stopped = threading.Event()

    def begin(self) -> None:
        """Let the workers start and warm up while other things are done."""
        for worker in self.waiting:
            worker.start()

    def end(self) -> None:
        """Let all workers end."""
        self.stopped.set()
        for worker in self.waiting:
            worker.end()

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, in the order in which they are done.

        `tasks` is read as workers become free, so no more of it is held than is in work.
        """
        source, lock = iter(tasks), threading.Lock()
        done: queue.Queue = queue.Queue(maxsize=2 * self.count)

        def feed(worker: _Worker) -> None:
            try:
                while not self.stopped.is_set():
                    with lock:
                        task = next(source, None)
                    if task is None:
                        break
                    self._put(done, (task, worker.result(task)))
            except BaseException as error:  # of reading the tasks: tell the one who waits
                self._put(done, error)
            finally:
                worker.end()
                self._put(done, None)

        threads = [threading.Thread(target=feed, args=(w,), daemon=True) for w in self.waiting]
        try:
            for thread in threads:
                thread.start()
            running = len(threads)
            while running:
                item = done.get()
                running -= item is None
                if isinstance(item, BaseException):
                    raise item
                if item is not None:
                    yield item
        finally:
            self.stopped.set()

    def _put(self, done: queue.Queue, item: Any) -> None:
        while not self.stopped.is_set():
            try:
                return done.put(item, timeout=0.5)
            except queue.Full:
                pass


class _Worker:
    """One process and its pipe; started when first needed, and again when it has ended."""

    def __init__(self, pool: Local) -> None:
        self.pool, self.process, self.pipe = pool, None, None

    def result(self, task: Task) -> Result:
        for _ in range(TRIES):
            if self.pool.stopped.is_set():
                break
            try:
                return self.ask(task)
            except (EOFError, OSError, ValueError):
                self.end()
        return failed("the grader's own process ended or hung while grading it")

    def ask(self, task: Task) -> Result:
        if self.process is None:
            self.start()
        self.pipe.send_bytes(task.data)
        if not self.pipe.poll(self.pool.seconds):
            raise EOFError
        return json.loads(self.pipe.recv_bytes())

    def start(self) -> None:
        prepare()
        context = multiprocessing.get_context(START)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, self.pool.work, self.pool.arguments)
        )
        self.process.start()
        theirs.close()

    def end(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            self.pipe.close()
            process.join(5 if not self.pool.stopped.is_set() else 0.2)
            process.kill()
            process.join()


def _serve(pipe: Connection, work: Work, arguments: tuple) -> None:
    """A worker's life: warm up, then bytes in and JSON out, until the pipe closes."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: with what forked it, and
    threading.Thread(target=_end_with_parent, daemon=True).start()  # with what grades the class
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that grades the class
    if warm := getattr(work, "warm", None):
        with contextlib.suppress(Exception):  # the first submission meets it again, and tells
            warm(*arguments)
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(json.dumps(safely(work, data, *arguments)).encode())


def _end_with_parent() -> None:
    """End at once with the process that grades the class, however that ends."""
    multiprocessing.parent_process().join()
    os._exit(1)


class Cluster:
    """The workers of a Dask scheduler at `address`. One that is lost is replaced by another."""

    def __init__(self, address: str, work: Work, lab: Any, limits: Any, sandboxed: bool) -> None:
        from distributed import Client

        try:
            self.client = Client(address, timeout="15s", name="gmlib grade")
            self.client.wait_for_workers(1, timeout=60)
        except (OSError, TimeoutError) as error:
            raise ConnectionError(
                f"no Dask scheduler with workers at {address}: {error}"
            ) from error
        self.work, self.arguments = work, (lab, limits, sandboxed)

    def end(self) -> None:
        self.client.close()

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, in the order in which they are done."""
        from distributed import as_completed

        source, waiting = iter(tasks), {}
        done = as_completed(with_results=False)

        def send(count: int) -> None:
            for task in itertools.islice(source, count):
                future = self.client.submit(
                    safely, self.work, task.data, *self.arguments, pure=False, retries=TRIES
                )
                waiting[future.key] = task
                done.add(future)

        try:
            send(2 * max(1, sum(self.client.nthreads().values())))
            while waiting:
                future = next(done)
                task = waiting.pop(future.key)
                try:
                    result = future.result()
                except Exception as error:  # a worker that ended again and again
                    result = failed(f"the cluster lost it: {type(error).__name__}: {error}")
                future.release()
                send(1)
                yield task, result
        finally:
            self.end()
