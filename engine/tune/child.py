"""``python -m engine.tune.child``: a search in a process of its own, for who must stay responsive.

The first frame on standard input is the job; its end stops the search. Frames on standard output are events.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import IO

import msgspec

from engine.errors import QuantscopeError
from engine.framing import frame, read_frame
from engine.tune.executors import Executor, InProcess
from engine.tune.records import TunePoint, TuneReport, TuneSettings

_NICENESS = 5
"""What the user edits meanwhile comes first."""


class Job(msgspec.Struct, frozen=True):
    """Search around the plan of a project file; ``journal`` keeps what is measured."""

    project: str
    journal: str
    settings: TuneSettings
    workers: int = 1


class Event(msgspec.Struct, frozen=True):
    """One of: a ``point`` that was measured, with the numbers of those on the front then; the ``report``, which is the
    last; or a ``failure``, also the last."""

    point: TunePoint | None = None
    front: tuple[int, ...] = ()
    report: TuneReport | None = None
    failure: str = ""


def search(job: Job, events: IO[bytes], stopped: threading.Event) -> None:
    """Do a job, telling ``events``."""
    from engine.session import Session
    from engine.tune.bench import Bench
    from engine.tune.processes import Processes
    from engine.tune.tune import Progress, tune

    def tell(event: Event) -> None:
        events.write(frame(msgspec.msgpack.encode(event)))
        events.flush()

    def heard(progress: Progress) -> None:
        tell(Event(progress.point, progress.front))

    try:
        session = Session.open(job.project)
        several = job.workers > 1
        executor: Executor = Processes(Path(job.project), job.workers) if several else InProcess(Bench(session))
        try:
            report = tune(
                session,
                job.settings,
                executor=executor,
                journal=Path(job.journal),
                listener=heard,
                cancelled=stopped.is_set,
            )
        finally:
            executor.close()
    except QuantscopeError as error:
        tell(Event(failure=str(error)))
        return
    tell(Event(report=report))


def main() -> None:
    """Serve on standard input and output; whatever else prints goes to standard error."""
    requests = os.fdopen(os.dup(0), "rb")
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    payload = read_frame(requests)
    if payload is None:
        return
    stopped = threading.Event()

    def wait() -> None:
        requests.read()
        stopped.set()

    threading.Thread(target=wait, name="stop", daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # who asked is gone
        search(msgspec.msgpack.decode(payload, type=Job), events, stopped)


if __name__ == "__main__":
    main()
