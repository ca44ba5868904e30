"""The panel that shows what each engine does over the time of a frame; a click on a job selects its nodes."""

from __future__ import annotations

from PySide6.QtWidgets import QLabel, QWidget

from engine.reports import Compilation
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.bounds import BOUNDS
from gui.panels.compiled_panel import CompiledPanel
from gui.panels.parts import set_role, tool_button
from gui.panels.style import mixed
from gui.panels.time_view import SharedTime
from gui.panels.timeline.model import TimelineModel
from gui.panels.timeline.view import ASIDE_FADE, TimelineView
from gui.theme import LIGHT, Theme


class TimelinePanel(CompiledPanel):
    """The timeline with its totals."""

    def __init__(
        self, document: QtDocument, view: SharedView, time: SharedTime, parent: QWidget | None = None
    ) -> None:
        super().__init__(document, view, parent)
        self.timeline = TimelineView(time)
        self.legend = QLabel()
        self.set_content(self.timeline)
        self.tools.addWidget(self.legend)
        for text, tip, pressed in (
            ("Fit selection", "Show the stretch in which the selected nodes run (Z)", self.timeline.fit_selected),
            ("Fit all", "Show the whole frame (Space)", self.timeline.fit),
        ):
            self.tools.addWidget(tool_button(text, tip, pressed))
        set_role(self.legend, "muted")
        self._set_legend(LIGHT)
        self.timeline.clicked.connect(self._on_clicked)
        view.selectionChanged.connect(self._show_selection)

    def forget(self) -> None:
        self.timeline.fit()

    def take(self, compilation: Compilation) -> None:
        model = TimelineModel(compilation, self.titles)
        self.timeline.show_model(model, model.kernels_of(self.selected_nodes()))

    def headline(self, compilation: Compilation) -> str:
        assert self.timeline.model is not None, "it is taken before its head line is asked for"
        return self.timeline.model.headline()

    def set_theme(self, theme: Theme) -> None:
        self.timeline.set_theme(theme)
        self._set_legend(theme)

    def _set_legend(self, theme: Theme) -> None:
        full = BOUNDS["mac"].colour
        aside = mixed(full, theme.panel, ASIDE_FADE)
        self.legend.setText(
            f'<span style="color:{full}">■</span> on the critical path '
            f'<span style="color:{aside}">■</span> beside it'
        )

    def _show_selection(self) -> None:
        if self._is_watched and self.timeline.model is not None:
            self.timeline.set_selected(self.timeline.model.kernels_of(self.selected_nodes()))

    def _on_clicked(self, job: int, is_added: bool) -> None:
        model = self.timeline.model
        if model is not None and job >= 0:
            self.select(model.nodes_of(job), is_added)
