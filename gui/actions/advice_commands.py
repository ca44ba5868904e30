"""Asking for advice on accuracy, and applying what it offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.plan.data import PlanData
from gui.client.session import EngineSession
from gui.document.document import Document
from gui.document.qt_document import SharedView
from gui.panels.advice.widget import AdvicePanel

ADVISE_COMMAND = "advice.model"
ADVISE_SELECTION_COMMAND = "advice.selection"


class AdviceCommands:
    """Asks the engine, brings its answers to the panel, and takes over the plans that the user applies there."""

    def __init__(
        self,
        document: Document,
        session: EngineSession,
        view: SharedView,
        panel: AdvicePanel,
        show_panel: Callable[[], object],
        refresh: Callable[[], object],
    ) -> None:
        """``show_panel`` brings the panel to the front; ``refresh`` says that commands may have become available."""
        self._document = document
        self._session = session
        self._view = view
        self._panel = panel
        self._show_panel = show_panel
        session.advised.connect(panel.show_advice)
        session.advised.connect(lambda _: refresh())
        session.adviceEnded.connect(panel.end)
        panel.adviseWanted.connect(self._advise)
        panel.stopWanted.connect(session.stop_advice)
        panel.applyWanted.connect(self._apply)

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {
            ADVISE_COMMAND: lambda: self._advise(False),
            ADVISE_SELECTION_COMMAND: lambda: self._advise(True),
            "advice.apply_best": self._panel.apply_combination,
        }

    def _advise(self, on_selection: bool) -> None:
        self._show_panel()
        nodes = self._view.selection if on_selection else ()
        self._session.advise(nodes, self._panel.samples.value(), self._panel.chosen_aim)
        self._panel.begin(self._document.plan, on_selection)

    def _apply(self, plan: PlanData, label: str) -> None:
        self._document.adopt(plan, label)
