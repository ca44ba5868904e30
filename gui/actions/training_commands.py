"""Asking for a training run, and taking over what it learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.plan.data import PlanData
from gui.client.session import EngineSession
from gui.document.document import Document
from gui.panels.training.model import TrainingForm
from gui.panels.training.widget import TrainingPanel

TRAIN_COMMAND = "model.train"


class TrainingCommands:
    """Asks the engine, and brings its answers to the panel. ``show_panel`` brings that to the front."""

    def __init__(
        self, document: Document, session: EngineSession, panel: TrainingPanel, show_panel: Callable[[], object]
    ) -> None:
        self._document = document
        self._session = session
        self._panel = panel
        self._show_panel = show_panel
        session.trainingWent.connect(panel.show_course)
        session.trained.connect(panel.show_result)
        session.trainingEnded.connect(panel.end)
        panel.trainWanted.connect(self._train)
        panel.stopWanted.connect(session.stop_training)
        panel.applyWanted.connect(self._apply)

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {TRAIN_COMMAND: self._show_panel}

    def _train(self, form: TrainingForm) -> None:
        self._panel.begin()
        self._session.train(form.data, form.split or None, form.samples or None, form.options)

    def _apply(self, plan: PlanData, label: str) -> None:
        self._document.adopt(plan, label)
