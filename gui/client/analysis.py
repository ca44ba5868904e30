"""What the window asks of the engine beside live results: sensitivities while they are shown, and why a node errs."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from engine.service.messages import AnyAnswer, Explain, Explained, Failed, Sense, Sensed
from gui.client.client import EngineClient
from gui.document.qt_document import QtDocument
from gui.document.results import NO_REVISION

SAMPLES = 8


class LiveAnalysis(QObject):
    """Asks for analyses of the plan that the engine has, and for nothing that nobody looks at.

    Sensitivities go into the document. ``explained`` (NodeExplanation) is about the node asked for last; ``failed``
    (text) what the engine could not do.
    """

    explained = Signal(object)
    failed = Signal(str)

    def __init__(self, document: QtDocument, client: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document = document.document
        self._client = client
        self._is_wanted = False
        self._sense_id = 0
        self._sensed_revision = NO_REVISION
        self._explain_id = 0
        self._node = ""
        document.planChanged.connect(self._give_up)
        document.resolutionChanged.connect(self._ask)

    def want_sensitivity(self, is_wanted: bool) -> None:
        """Whether sensitivities are shown. While they are, they follow every edit of the plan."""
        self._is_wanted = is_wanted
        if is_wanted:
            self._sense()
        else:
            self._give_up_sense()

    def explain(self, node: str) -> None:
        """Ask why a node errs, instead of the one asked for before; "" asks for nothing."""
        self._drop(self._explain_id)
        self._node = node
        self._explain()

    def _ask(self) -> None:
        """The engine has the plan."""
        self._sense()
        self._explain()

    def _give_up(self) -> None:
        """The plan is another one: what is on its way is about an older one."""
        self._give_up_sense()
        self._drop(self._explain_id)

    def _give_up_sense(self) -> None:
        self._drop(self._sense_id)
        self._sensed_revision = NO_REVISION

    def _drop(self, request_id: int) -> None:
        self._client.cancel(request_id)
        self._client.forget(request_id)

    @property
    def _can_ask(self) -> bool:
        document = self._document
        return document.is_resolved and document.calibration.is_done and self._client.is_running

    def _sense(self) -> None:
        revision = self._document.revision
        if not self._is_wanted or not self._can_ask or revision == self._sensed_revision:
            return
        if self._document.is_sensed:
            return
        self._sensed_revision = revision
        self._sense_id = self._client.submit(
            lambda i: Sense(id=i, revision=revision, samples=SAMPLES), self._on_sensed
        )

    def _on_sensed(self, answer: AnyAnswer) -> None:
        if isinstance(answer, Sensed):
            self._document.sense(answer.revision, answer.sensitivities, answer.final)
        elif isinstance(answer, Failed):
            self._sensed_revision = NO_REVISION
            self._on_failed(answer)

    def _explain(self) -> None:
        node, revision = self._node, self._document.revision
        if not node or not self._can_ask or node not in self._document.nodes:
            return
        self._drop(self._explain_id)
        self._explain_id = self._client.submit(
            lambda i: Explain(id=i, revision=revision, node=node, samples=SAMPLES), self._on_explained
        )

    def _on_explained(self, answer: AnyAnswer) -> None:
        if isinstance(answer, Explained):
            if answer.revision == self._document.revision and answer.explanation.id == self._node:
                self.explained.emit(answer.explanation)
        elif isinstance(answer, Failed):
            self._on_failed(answer)

    def _on_failed(self, answer: Failed) -> None:
        if not answer.cancelled:
            self.failed.emit(answer.message.partition("\n")[0])
