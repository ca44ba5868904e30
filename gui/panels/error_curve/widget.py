"""The panel that shows how the error grows along the network; a click on a node selects it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from gui.document.qt_document import QtDocument, SharedView
from gui.panels.error_curve.model import CurveModel, headline, remark
from gui.panels.parts import ElidedLabel, set_role, tool_button
from gui.panels.scene_builder import titles_of
from gui.theme import LIGHT, Theme

if TYPE_CHECKING:
    from gui.panels.error_curve.plot import ErrorCurvePlot

NO_MODEL = "Open a model to see how its error grows along the network."
NOT_CALIBRATED = "Calibrate the model to see how its error grows along the network."
MEASURING = "Measuring …"
UPDATING = " (being updated)"


class ErrorCurvePanel(QWidget):
    """Accumulated and introduced error over the nodes in their order.

    Emits ``revealed`` with a node that was clicked, to be shown on the graph. It works only while it is watched.
    """

    revealed = Signal(str)

    def __init__(self, document: QtDocument, view: SharedView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document.document
        self._view = view
        self._theme = LIGHT
        self._is_watched = False
        self._titles: Mapping[str, str] | None = None
        self._shown: tuple[object, ...] = ()
        self.model: CurveModel | None = None
        self.plot: ErrorCurvePlot | None = None
        self.head = QLabel()
        self.note = ElidedLabel()
        self.legend = QLabel()
        self.empty = QLabel(NO_MODEL)
        self.pages = QStackedWidget()
        self._build()
        document.graphChanged.connect(self._start_anew)
        for signal in (document.planChanged, document.resolutionChanged, document.errorsChanged, document.stateChanged):
            signal.connect(self.refresh)
        view.selectionChanged.connect(self._show_selection)

    def set_watched(self, is_watched: bool) -> None:
        """Whether the user sees this panel; it is brought up to date when that begins."""
        self._is_watched = is_watched
        self.refresh()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        if self.plot is not None:
            self.plot.set_theme(theme)
        self._show_legend()

    def refresh(self) -> None:
        """Show what the document holds now."""
        if not self._is_watched:
            return
        document = self._document
        if document.results.measured.errors is None or not document.is_open:
            self._show_empty()
            return
        results = document.results
        now = (results.measured, results.sensed, results.resolved)
        if self.model is None or len(now) != len(self._shown) or any(
            a is not b for a, b in zip(now, self._shown, strict=True)
        ):
            self._shown = now
            self.model = CurveModel(document, self.titles)
            self._make_plot().show_model(self.model, self.model.place_of(self._view.selection))
            self._show_legend()
        self.pages.setCurrentIndex(1)
        self.head.setText(headline(document) + ("" if document.is_measured else UPDATING))
        set_role(self.head, "heading" if document.is_measured else "muted")
        text = remark(self.model.fall, self.model.title_of)
        self.note.setText(text)
        self.note.setToolTip(self.model.fall.node if self.model.fall is not None else text)

    @property
    def titles(self) -> Mapping[str, str]:
        """What the nodes of the open model are called where there is little room."""
        if self._titles is None:
            graph = self._document.graph
            self._titles = titles_of(graph) if graph is not None else {}
        return self._titles

    def fit(self) -> None:
        """Show all nodes."""
        if self.plot is not None:
            self.plot.fit()

    def _start_anew(self) -> None:
        self._titles = None
        self.model, self._shown = None, ()
        if self.plot is not None:
            self.plot.forget()
        self.refresh()

    def _show_empty(self) -> None:
        document = self._document
        self.pages.setCurrentIndex(0)
        self.head.clear()
        self.note.clear()
        self.legend.clear()
        is_calibrated = document.calibration.is_done
        self.empty.setText(NO_MODEL if not document.is_open else MEASURING if is_calibrated else NOT_CALIBRATED)

    def _show_legend(self) -> None:
        if self.model is None or self.plot is None:
            return
        from gui.panels.error_curve.plot import curve_colours

        titles = ["accumulated", "introduced"]
        if self.model.sensitivity.runs():
            titles.append("sensitivity")
        pairs = zip(titles, curve_colours(self._theme), strict=False)
        marks = (f'<span style="color:{colour}">■</span> {title}' for title, colour in pairs)
        self.legend.setText("   ".join(marks))

    def _show_selection(self) -> None:
        if self._is_watched and self.model is not None and self.plot is not None:
            self.plot.set_selected(self.model.place_of(self._view.selection))

    def _make_plot(self) -> ErrorCurvePlot:
        if self.plot is None:
            from gui.panels.error_curve.plot import ErrorCurvePlot

            self.plot = ErrorCurvePlot()
            self.plot.set_theme(self._theme)
            self.plot.clicked.connect(self._on_clicked)
            self.pages.addWidget(self.plot)
        return self.plot

    def _on_clicked(self, place: int, is_added: bool) -> None:
        if self.model is None or place < 0:
            return
        node = self.model.nodes[place]
        if is_added and node in self._view.selection:
            self._view.select(other for other in self._view.selection if other != node)
        else:
            self._view.select((*self._view.selection, node) if is_added else (node,))
        self.revealed.emit(node)

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        set_role(self.note, "muted")
        set_role(self.legend, "muted")
        set_role(self.empty, "muted")
        self.head.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.legend.setToolTip("Lines are means over the samples, bands their 95 % intervals; lower is worse")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        self.empty.setMargin(16)
        self.pages.addWidget(self.empty)
        top = QHBoxLayout()
        top.setContentsMargins(8, 4, 8, 4)
        top.setSpacing(10)
        top.addWidget(self.head)
        top.addWidget(self.note, 1)
        top.addWidget(self.legend)
        top.addWidget(tool_button("Fit all", "Show all nodes (Space)", self.fit))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        layout.addWidget(self.pages, 1)
