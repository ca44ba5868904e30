"""Searching for plans: what the panel asks for goes to the engine, what the engine finds to the panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.plan.data import PlanData
from engine.tune.records import TuneSettings
from gui.client.session import EngineSession
from gui.document.document import Document
from gui.panels.pareto.widget import ParetoPanel

TUNE_COMMAND = "tune.open"


class TuneCommands:
    """Joins the Pareto panel with the engine and the document. ``show_panel`` brings the panel to the front."""

    def __init__(
        self, document: Document, session: EngineSession, panel: ParetoPanel, show_panel: Callable[[], object]
    ) -> None:
        self._document = document
        self._session = session
        self._panel = panel
        self._show_panel = show_panel
        panel.searchWanted.connect(self.search)
        panel.stopWanted.connect(session.stop_tuning)
        panel.applyWanted.connect(self.apply)
        session.tunePointFound.connect(panel.add)
        session.tuned.connect(panel.finish)
        session.tuneEnded.connect(panel.end)

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {TUNE_COMMAND: self._show_panel}

    def search(self, settings: TuneSettings) -> None:
        """Search around the present plan."""
        if self._session.tune(settings):
            self._panel.begin()

    def apply(self, plan: PlanData, label: str) -> None:
        """Take over a plan, as one step."""
        self._document.adopt(plan, label)
