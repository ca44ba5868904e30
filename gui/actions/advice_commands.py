"""Asking for advice on accuracy, and applying what it offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from engine.plan.data import PlanData
from engine.service.messages import LabelledData
from gui.client.session import EngineSession
from gui.document.document import Document
from gui.document.preferences import Preferences
from gui.document.qt_document import SharedView
from gui.panels.advice.widget import AdvicePanel
from gui.panels.dialogs.model import SamplesForm
from gui.panels.dialogs.prompts import Prompts

ADVISE_COMMAND = "advice.model"
ADVISE_SELECTION_COMMAND = "advice.selection"


class AdviceCommands:
    """Asks the engine, brings its answers to the panel, and takes over the plans that the user applies there."""

    def __init__(
        self,
        document: Document,
        preferences: Preferences,
        prompts: Prompts,
        session: EngineSession,
        view: SharedView,
        panel: AdvicePanel,
        show_panel: Callable[[], object],
        refresh: Callable[[], object],
    ) -> None:
        """``show_panel`` brings the panel to the front; ``refresh`` says that commands may have become available."""
        self._document = document
        self._preferences = preferences
        self._prompts = prompts
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
        panel.dataWanted.connect(self._choose_data)
        panel.noDataWanted.connect(lambda: self._use(None))
        session.opened.connect(lambda: panel.set_data(preferences.labelled_data(document.opened_path)))

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {
            ADVISE_COMMAND: lambda: self._advise(False),
            ADVISE_SELECTION_COMMAND: lambda: self._advise(True),
            "advice.apply_best": self._panel.apply_combination,
        }

    def _advise(self, on_selection: bool) -> None:
        self._show_panel()
        nodes = self._view.selection if on_selection else ()
        panel = self._panel
        self._session.advise(nodes, panel.samples.value(), panel.chosen_aim, panel.data)
        self._panel.begin(self._document.plan, on_selection)

    def _choose_data(self) -> None:
        known = self._panel.data
        form = SamplesForm(samples=0, usual_split="evaluation", needs_recipe=False)
        if known is not None:
            form = replace(form, data=known.path, samples=known.samples or 0, split=known.split or "")
        filled = self._prompts.labelled(form)
        if filled is not None:
            self._use(LabelledData(filled.data, filled.split or None, filled.samples or None))

    def _use(self, data: LabelledData | None) -> None:
        """Count on these data from now on, also when the model is opened again."""
        self._preferences.remember_labelled_data(self._document.opened_path, data)
        self._panel.set_data(data)

    def _apply(self, plan: PlanData, label: str) -> None:
        self._document.adopt(plan, label)
