# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false
"""Trials measured on a Dask cluster (the extra ``quantscope[cluster]``), whose workers see the project's files.

Workers need Quantscope installed and the project, its model and its samples under the same paths as here (a shared file
system). A worker that dies is Dask's to replace; a trial that was on it is given to another one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import Cancelled, ExecutorError, QuantscopeError
from engine.tune.bench import Bench, open_bench
from engine.tune.executors import MOST_ATTEMPTS, Watch, given_up
from engine.tune.records import Measured, Trial

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 10.0
"""How long a scheduler, and then its first worker, may take to answer."""

_POLL_S = 0.2
_RESUME = "what was measured is kept; run it again to go on from there"


class Cluster:
    """An executor whose trials run on the workers of a Dask scheduler.

    Args:
        address: Of the scheduler, ``tcp://HOST:PORT``.
        project: The project file, as the workers see it.
        patience_s: How long the cluster may be without any worker.

    Raises:
        ExecutorError: ``distributed`` is not installed, the scheduler does not answer, or it has no workers.
    """

    def __init__(self, address: str, project: Path, patience_s: float = CONNECT_S) -> None:
        self._address = address
        self._project = str(project.absolute())
        self._patience_s = patience_s
        self._client = _connected(address, patience_s)
        try:
            self._client.wait_for_workers(1, timeout=patience_s)
        except Exception as error:
            self.close()
            hint = f"start one with `dask worker {address}`"
            raise ExecutorError(f"the scheduler {address} has no workers", hint=hint) from error

    def run(self, trials: Sequence[Trial], cancelled: Watch) -> Iterator[tuple[int, Measured]]:
        """As :meth:`engine.tune.executors.Executor.run`."""
        waiting: dict[Future[Measured], int] = {}
        attempts = dict.fromkeys(range(len(trials)), 0)
        try:
            with self._reported():
                for place, trial in enumerate(trials):
                    waiting[self._submit(trial)] = place
            while waiting:
                for future in self._finished(waiting, cancelled):
                    place = waiting.pop(future)
                    found, reason = _outcome(future)
                    if found is not None:
                        yield place, found
                        continue
                    attempts[place] += 1
                    if attempts[place] < MOST_ATTEMPTS:
                        with self._reported():
                            waiting[self._submit(trials[place])] = place
                    else:
                        yield place, given_up(reason)
        finally:
            if waiting and self._client.status == "running":
                self._client.cancel(list(waiting), force=True)

    def close(self) -> None:
        """Leave the cluster; its workers stay."""
        with _quiet():
            self._client.close(timeout=2)

    def _submit(self, trial: Trial) -> Future[Measured]:
        return self._client.submit(measure_there, self._project, trial, pure=False)

    def _finished(self, waiting: dict[Future[Measured], int], cancelled: Watch) -> list[Future[Measured]]:
        """At least one future that is done. Raises Cancelled, ExecutorError."""
        alone_since: float | None = None
        while True:
            if cancelled():
                raise Cancelled
            if self._client.status != "running":
                raise self._lost()
            done = [future for future in waiting if future.done()]
            if done:
                return done
            with self._reported():
                has_workers = bool(self._client.scheduler_info()["workers"])
            now = time.monotonic()
            alone_since = None if has_workers else alone_since or now
            if alone_since is not None and now - alone_since > self._patience_s:
                raise ExecutorError(f"the scheduler {self._address} has lost all of its workers", hint=_RESUME)
            time.sleep(_POLL_S)

    @contextmanager
    def _reported(self) -> Generator[None]:
        """A scheduler that goes away in the middle is an expected failure."""
        try:
            yield
        except (OSError, RuntimeError, KeyError) as error:
            raise self._lost() from error

    def _lost(self) -> ExecutorError:
        return ExecutorError(f"the scheduler {self._address} is gone", hint=_RESUME)


def measure_there(project: str, trial: Trial) -> Measured:
    """On a worker: a trial on the project that is opened once for each worker process.

    Raises:
        QuantscopeError: The project or its samples cannot be read there.
    """
    bench, lock = _opened(project)
    with lock:
        return bench.measure(trial, lambda: False)


@lru_cache(maxsize=1)
def _opened(project: str) -> tuple[Bench, threading.Lock]:
    """The worker's bench. One trial at a time: a worker may have several threads, a session has one."""
    return open_bench(Path(project)), threading.Lock()


def _connected(address: str, timeout_s: float) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        hint = 'pip install "quantscope[cluster]"'
        raise ExecutorError("a Dask scheduler needs the package 'distributed'", hint=hint) from error
    try:
        with _quiet():
            return Client(address, timeout=timeout_s, set_as_default=False)
    except (OSError, ValueError) as error:
        hint = "start it with `dask scheduler`, or leave --scheduler out to use local processes"
        raise ExecutorError(f"no Dask scheduler answers at {address}", hint=hint) from error


def _outcome(future: Any) -> tuple[Measured | None, str]:
    """What a future gave, or None and why its worker did not.

    Raises:
        QuantscopeError: What every other trial would fail with too.
    """
    if future.status == "finished":
        return future.result(), ""
    if future.status != "error":
        return None, f"was {future.status}"
    error = future.exception()
    if isinstance(error, QuantscopeError):
        raise error
    return None, f"failed: {' '.join(str(error).split())[:200]}"


@contextmanager
def _quiet() -> Generator[None]:
    """Without the log of a connection that fails or ends: our own line says it."""
    names = ("distributed.comm", "distributed.core", "distributed.client", "distributed")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
