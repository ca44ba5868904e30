"""Trials measured by processes on this machine, each with the project open. One that dies is replaced."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine import errors
from engine.errors import Cancelled, ExecutorError
from engine.framing import frame, read_frame
from engine.tune.executors import MOST_ATTEMPTS, Watch, given_up
from engine.tune.records import Answer, Measured, Trial

MOST_RESTARTS = 5
"""How often one place's process is started anew before the place is given up."""

_POLL_S = 0.1
_GRACE_S = 5.0

COMMAND = (sys.executable, "-m", "engine.tune.worker")


@dataclass
class _Task:
    """A trial of one batch. ``attempts`` counts the processes that died of it."""

    batch: int
    place: int
    trial: Trial
    attempts: int = 0


@dataclass(frozen=True)
class _Done:
    batch: int
    place: int
    measured: Measured


@dataclass(frozen=True)
class _Gone:
    """A place that has no process any more, and why; ``is_refusal``: what would befall every other one too."""

    reason: str
    is_refusal: bool


@dataclass
class _Board:
    """What the threads, one for each process, share with who asked."""

    tasks: queue.Queue[_Task | None] = field(default_factory=lambda: queue.Queue[_Task | None]())
    news: queue.Queue[_Done | _Gone] = field(default_factory=lambda: queue.Queue[_Done | _Gone]())


class Processes:
    """An executor of ``count`` worker processes that open ``project``, a file that stays where it is meanwhile.

    The processes share the machine's cores: each computes with its part of them.
    """

    def __init__(self, project: Path, count: int, command: Sequence[str] = COMMAND) -> None:
        if count < 1:
            raise ExecutorError(f"{count} workers cannot measure anything", hint="ask for one or more")
        self._board = _Board()
        self._batch = 0
        environment = _environment(max(1, (os.cpu_count() or 1) // count))
        line = [*command, str(project)]
        self._places = [_Place(line, environment, self._board) for _ in range(count)]
        self._left = count
        self._last = ""
        for place in self._places:
            place.start()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """Of the processes that run."""
        return tuple(found for place in self._places if (found := place.process_id) is not None)

    def run(self, trials: Sequence[Trial], cancelled: Watch) -> Iterator[tuple[int, Measured]]:
        """As :meth:`engine.tune.executors.Executor.run`."""
        self._batch += 1
        for place, trial in enumerate(trials):
            self._board.tasks.put(_Task(self._batch, place, trial))
        missing = len(trials)
        try:
            while missing:
                done = self._next(cancelled)
                if done is not None and done.batch == self._batch:
                    missing -= 1
                    yield done.place, done.measured
        finally:
            self._drop_waiting()

    def _next(self, cancelled: Watch) -> _Done | None:
        """The next answer, or None after news that is not one. Raises Cancelled, ExecutorError."""
        while True:
            if cancelled():
                raise Cancelled
            if self._left == 0:
                raise ExecutorError(self._last, hint="what was measured is kept; run it again to go on from there")
            try:
                news = self._board.news.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(news, _Done):
                return news
            self._left = 0 if news.is_refusal else self._left - 1
            self._last = news.reason if news.is_refusal else f"all workers died; the last one {news.reason}"

    def _drop_waiting(self) -> None:
        while True:
            try:
                self._board.tasks.get_nowait()
            except queue.Empty:
                return

    def close(self) -> None:
        """End the processes, also in the middle of a trial."""
        for place in self._places:
            place.stop()
        for _ in self._places:
            self._board.tasks.put(None)
        for place in self._places:
            place.join()


class _Place(threading.Thread):
    """One worker process after the other, and the thread that hands it trials."""

    def __init__(self, line: Sequence[str], environment: dict[str, str], board: _Board) -> None:
        super().__init__(name="tune worker", daemon=True)
        self._line = line
        self._environment = environment
        self._board = board
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    @property
    def process_id(self) -> int | None:
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def run(self) -> None:
        reason = ""
        for _ in range(1 + MOST_RESTARTS):
            with self._lock:
                if self._is_stopped:
                    return
                try:
                    self._process = _started(self._line, self._environment)
                except OSError as failure:
                    reason = f"could not be started: {failure.strerror or failure}"
                    break
            try:
                refusal = self._serve(self._process)
            finally:
                reason = _ended(self._process)
            if self._is_stopped:
                return
            if refusal:
                self._board.news.put(_Gone(refusal, is_refusal=True))
                return
        self._board.news.put(_Gone(reason, is_refusal=False))

    def stop(self) -> None:
        """End the process; the thread follows."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.kill()

    def _serve(self, process: subprocess.Popen[bytes]) -> str:
        """Hand trials to a process until it dies or says why it cannot go on; returns that, "" for one that died."""
        opened = _read(process)
        if opened is None or opened.failure:
            return "" if opened is None else opened.failure
        while not self._is_stopped:
            task = self._board.tasks.get()
            if task is None:
                break
            answer = _asked(process, task.trial)
            if answer is None:
                self._died_of(task, process)
                break
            if answer.measured is None:
                return answer.failure
            self._board.news.put(_Done(task.batch, task.place, answer.measured))
        return ""

    def _died_of(self, task: _Task, process: subprocess.Popen[bytes]) -> None:
        task.attempts += 1
        if task.attempts < MOST_ATTEMPTS:
            self._board.tasks.put(task)
        else:
            self._board.news.put(_Done(task.batch, task.place, given_up(_ended(process))))


def _started(line: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # Ctrl+C in a terminal goes to every process of the group: this process ends the workers itself, in order.
    apart = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows' word for it
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdin=pipe, stdout=pipe, env=environment, start_new_session=True, creationflags=apart)


def _asked(process: subprocess.Popen[bytes], trial: Trial) -> Answer | None:
    """What a process answers to a trial; None where it died."""
    assert process.stdin is not None
    try:
        process.stdin.write(frame(msgspec.msgpack.encode(trial)))
        process.stdin.flush()
    except OSError:
        return None
    return _read(process)


def _read(process: subprocess.Popen[bytes]) -> Answer | None:
    assert process.stdout is not None
    try:
        payload = read_frame(process.stdout)
        return None if payload is None else msgspec.msgpack.decode(payload, type=Answer)
    except (OSError, ValueError, msgspec.DecodeError):
        return None  # garbage on the stream: as good as dead


def _ended(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, which is seen to: its pipes are closed."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue  # what was left to write has nobody to read it
    try:
        status = process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    return f"was killed by signal {-status} (out of memory?)" if status < 0 else f"ended with status {status}"


def _environment(threads: int) -> dict[str, str]:
    """This process's environment, with the engine importable also where it is not installed."""
    environment = dict(os.environ)
    folders = [str(Path(errors.__file__).resolve().parent.parent), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if folder)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        environment[variable] = str(threads)
    return environment
