"""Requests and their answers: hands out ids, brings each answer to who asked, survives the process's end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from engine.service.messages import (
    Advised,
    AnyAnswer,
    AnyRequest,
    Cancel,
    ErrorsReady,
    Explained,
    PlanResolved,
    Progress,
    Quantised,
    Ready,
    Sensed,
    TimingReady,
    Training,
    TunePointFound,
)
from gui.client.process import ENGINE_COMMAND, SHUTDOWN_GRACE_MS, EngineProcess

AnswerHandler = Callable[[AnyAnswer], None]

STREAMED = (
    Progress,
    PlanResolved,
    TimingReady,
    ErrorsReady,
    Advised,
    Quantised,
    Training,
    TunePointFound,
    Sensed,
    Explained,
)
"""Answers after which more follow; any other answer is the last one to its request."""


@dataclass(frozen=True)
class Pending:
    """A request on its way."""

    request: AnyRequest
    handle: AnswerHandler


class EngineClient(QObject):
    """Talks to one engine process at a time. Nothing here blocks.

    Signals: ``ready`` with the targets (id, title) once the process takes requests; ``pendingChanged`` when
    a request was sent or is done; ``crashed`` with one line, the end of the process's stderr, and the
    requests that were lost.
    """

    ready = Signal(object)
    pendingChanged = Signal()
    crashed = Signal(str, str, object)

    def __init__(self, command: Sequence[str] = ENGINE_COMMAND, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._command = tuple(command)
        self._process: EngineProcess | None = None
        self._pending: dict[int, Pending] = {}
        self._next_id = 1
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        return self._is_ready

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start the process; requests may be sent at once, they wait in the pipe."""
        process = EngineProcess(self._command, self)
        process.answered.connect(self._on_answer)
        process.ended.connect(self._on_ended)
        self._process = process
        process.start()

    def shutdown(self) -> None:
        """End the process and forget what it was asked."""
        process, self._process = self._process, None
        grace_ms = SHUTDOWN_GRACE_MS if self._is_ready else 0  # while it still imports there is nothing to end well
        self._is_ready = False
        self._pending.clear()
        if process is not None:
            process.shutdown(grace_ms)
            process.deleteLater()

    def submit(self, build: Callable[[int], AnyRequest], handle: AnswerHandler) -> int:
        """Send the request that ``build`` makes of a fresh id; ``handle`` gets every answer to it. Returns
        the id.

        Without a running process the request is dropped: the crash was reported already.
        """
        request = build(self._next_id)
        self._next_id += 1
        if self._process is not None:
            self._pending[request.id] = Pending(request, handle)
            self._process.send(request)
            self.pendingChanged.emit()
        return request.id

    def cancel(self, request_id: int) -> None:
        """Ask to stop a request; it then answers Failed with ``cancelled``."""
        if self._process is not None and request_id in self._pending:
            self._process.send(Cancel(id=self._next_id, target_id=request_id))
            self._next_id += 1

    def forget(self, request_id: int) -> None:
        """Drop every further answer to a request: something newer took its place."""
        if self._pending.pop(request_id, None) is not None:
            self.pendingChanged.emit()

    def pending(self, kind: type[AnyRequest] | None = None) -> list[AnyRequest]:
        """Requests that are not done, oldest first; of one kind if given."""
        requests = [pending.request for pending in self._pending.values()]
        return requests if kind is None else [request for request in requests if isinstance(request, kind)]

    def kill_process(self) -> None:
        """End the process by force, for when it no longer listens; reported as a crash."""
        if self._process is not None:
            self._process.kill()

    def _on_answer(self, answer: AnyAnswer) -> None:
        if isinstance(answer, Ready):
            self._is_ready = True
            self.ready.emit(answer.targets)
            return
        pending = self._pending.get(answer.id)
        if pending is None:
            return
        if not isinstance(answer, STREAMED):
            del self._pending[answer.id]
        pending.handle(answer)
        self.pendingChanged.emit()

    def _on_ended(self, why: str) -> None:
        process, self._process = self._process, None
        lost = self.pending()
        self._pending.clear()
        self._is_ready = False
        details = process.stderr_tail if process is not None else ""
        if process is not None:
            process.deleteLater()
        self.pendingChanged.emit()
        self.crashed.emit(why, details, lost)
