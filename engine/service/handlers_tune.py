"""The window asks for a search of plans: a process of its own searches, and what it finds is handed on in between."""

from __future__ import annotations

import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

import msgspec

from engine.errors import ExecutorError
from engine.framing import frame, read_frame
from engine.service.messages import Tune, Tuned, TunePointFound
from engine.service.worker import Worker, handles
from engine.session import Session
from engine.tune.child import Event, Job
from engine.tune.journal import journal_path

COMMAND = (sys.executable, "-m", "engine.tune.child")

_WAIT_S = 0.02
"""For news from the search, at most: requests of the window wait as long."""

_GRACE_S = 2.0


@handles(Tune)
def tune(worker: Worker, request: Tune) -> None:
    worker.background[request.id] = _relay(worker, request, worker.opened())


def _relay(worker: Worker, request: Tune, session: Session) -> Generator[None]:
    """Start a search on a copy of the project as it is now, and hand on what it finds. Dropped, it ends the search.

    Raises:
        ExecutorError: The process died, or says what is wrong.
        ProjectError: The model has no file that the other process could open.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = session.with_plan(session.plan).save(Path(folder) / "tune.qscope")
        journal = journal_path(session.project or copy)
        process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdin is not None and process.stdout is not None
            job = Job(str(copy), str(journal), request.settings, request.workers)
            process.stdin.write(frame(msgspec.msgpack.encode(job)))
            process.stdin.flush()
            for event in _events(process.stdout):
                if event is None:
                    yield
                elif event.failure:
                    raise ExecutorError(event.failure)
                elif event.report is not None:
                    worker.send(Tuned(id=request.id, revision=request.revision, report=event.report))
                    return
                elif event.point is not None:
                    found = TunePointFound(
                        id=request.id, revision=request.revision, point=event.point, front=event.front
                    )
                    worker.send(found)
            raise ExecutorError("the search died", hint="search again: what was measured is kept")
        finally:
            _end(process)


def _events(stream: IO[bytes]) -> Iterator[Event | None]:
    """What a search says, as it says it; None where it is silent for a moment. Ends with the stream."""
    news: queue.Queue[Event | None] = queue.Queue()

    def read() -> None:
        decoder = msgspec.msgpack.Decoder(Event)
        try:
            while (payload := read_frame(stream)) is not None:
                news.put(decoder.decode(payload))
        except (OSError, ValueError):
            pass  # closed, or garbage: as good as its end
        news.put(None)

    threading.Thread(target=read, name="search", daemon=True).start()
    while True:
        try:
            event = news.get(timeout=_WAIT_S)
        except queue.Empty:
            yield None
            continue
        if event is None:
            return
        yield event


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a search: its input ends, and where it does not follow, it is killed."""
    process.kill()
    process.wait(_GRACE_S)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue  # what was left to write has nobody to read it
