"""The panel that shows a search of plans while it runs: a click previews a plan, a button makes it the document's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from engine.plan.data import PlanData
from engine.tune.records import TunePoint, TuneReport, TuneSettings
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.pareto.model import COSTS, GAINS, Axis, ParetoModel, changes
from gui.panels.parts import ElidedLabel, set_role, tool_button
from gui.theme import LIGHT, Theme

if TYPE_CHECKING:
    from gui.panels.pareto.plot import ParetoPlot

NOTHING_YET = "Search for plans that no other one beats in accuracy, latency and DDR traffic together."
NOTHING_CHOSEN = "Click a point to see what its plan changes."
LEGEND = "●\u00a0on\u00a0the\u00a0front  ◆\u00a0heuristic  ◯\u00a0previewed  +\u00a0present\u00a0plan"
DEFAULT_MINUTES = 5.0
MOST_MINUTES = 600.0
REFRESH_MS = 150
"""Between two paintings while points arrive."""

SIDE_WIDTH = 320


class ParetoPanel(QWidget):
    """Emits ``searchWanted`` with settings, ``stopWanted``, and ``applyWanted`` with a plan and what to call it."""

    searchWanted = Signal(object)
    stopWanted = Signal()
    applyWanted = Signal(object, str)

    def __init__(self, document: QtDocument, view: SharedView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._qt_document = document
        self._document = document.document
        self._view = view
        self._theme = LIGHT
        self._why_not = ""
        self.model = ParetoModel()
        self.is_running = False
        self.chosen: int | None = None
        self.plot: ParetoPlot | None = None
        self.summary = ElidedLabel()
        self.costs = _axis_choice(COSTS, "What the axis to the right shows")
        self.gains = _axis_choice(GAINS, "What the axis upwards shows")
        self.minutes = QDoubleSpinBox()
        self.button = QPushButton("Search")
        self.preview = QLabel(NOTHING_CHOSEN)
        self.apply = QPushButton("Apply")
        self.empty = QLabel(NOTHING_YET)
        self._content = QVBoxLayout()
        self._timer = QTimer(self)
        self._build()
        self._connect()
        self._refresh()

    # What comes from the engine

    def begin(self) -> None:
        """A search was asked for."""
        self.model.clear()
        self.chosen, self.is_running = None, True
        self._refresh()

    def add(self, point: TunePoint, front: tuple[int, ...]) -> None:
        """A plan was measured; it is painted with those that follow soon."""
        self.model.add(point, front)
        if not self._timer.isActive():
            self._timer.start()

    def finish(self, report: TuneReport) -> None:
        """The search is over."""
        self.model.finish(report)
        self.is_running = False
        if self.chosen is None:
            self.chosen = report.chosen
        self._refresh()

    def end(self) -> None:
        """The search was stopped, or failed: what it found stays."""
        self.is_running = False
        self._refresh()

    def clear(self) -> None:
        """Another model is open."""
        self.model.clear()
        self.chosen, self.is_running = None, False
        self._refresh()

    def set_available(self, why_not: str) -> None:
        """Whether a search can be asked for, and if not, why."""
        self._why_not = why_not
        self._show_buttons()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        if self.plot is not None:
            self.plot.set_theme(theme)

    def choose(self, number: int) -> None:
        """Preview a plan: its changes are listed, and the nodes that they are about selected. −1 for none."""
        self.chosen = number if number in self.model.points else None
        if self.chosen is not None:
            found = changes(self._document.plan, self._plan(self.chosen), self._titles())
            nodes = tuple(node for change in found for node in change.nodes)
            if nodes:
                self._view.select(nodes)
        self._refresh()

    # Building

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        self._timer.setSingleShot(True)
        self._timer.setInterval(REFRESH_MS)
        self.minutes.setRange(0.1, MOST_MINUTES)
        self.minutes.setDecimals(1)
        self.minutes.setValue(DEFAULT_MINUTES)
        self.minutes.setSuffix(" min")
        self.minutes.setToolTip("How long to search; it ends before where nothing is gained any more")
        self.minutes.setAccessibleName("Minutes to search")
        self.preview.setWordWrap(True)
        self.preview.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.preview.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.preview.setContentsMargins(8, 4, 8, 4)
        top = QHBoxLayout()
        top.setContentsMargins(8, 6, 8, 6)
        top.setSpacing(8)
        top.addWidget(self.summary, 1)
        fit = tool_button("Fit all", "Show the whole front (Space)", self.fit)
        for widget in (self.costs, self.gains, fit, self.minutes, self.button):
            top.addWidget(widget)
        split = QSplitter(Qt.Orientation.Horizontal)
        left = QWidget()
        left.setLayout(self._content)
        self._content.setContentsMargins(0, 0, 0, 0)
        self.empty.setWordWrap(True)
        self.empty.setMargin(16)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        set_role(self.empty, "muted")
        self._content.addWidget(self.empty, 1)
        split.addWidget(left)
        split.addWidget(self._side())
        split.setStretchFactor(0, 1)
        split.setSizes([3 * SIDE_WIDTH, SIDE_WIDTH])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        layout.addWidget(split, 1)

    def _side(self) -> QWidget:
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self.preview)
        side = QWidget()
        layout = QVBoxLayout(side)
        layout.setContentsMargins(0, 0, 8, 8)
        layout.addWidget(area, 1)
        legend = QLabel(LEGEND)
        legend.setWordWrap(True)
        legend.setContentsMargins(8, 2, 8, 2)
        set_role(legend, "muted")
        layout.addWidget(legend)
        layout.addWidget(self.apply)
        return side

    def _connect(self) -> None:
        self._timer.timeout.connect(self._refresh)
        self.button.clicked.connect(lambda: self._search_or_stop())
        self.apply.clicked.connect(lambda: self._apply())
        self.costs.currentIndexChanged.connect(lambda: self._refresh())
        self.gains.currentIndexChanged.connect(lambda: self._refresh())
        self._qt_document.graphChanged.connect(self.clear)
        self._qt_document.planChanged.connect(self._refresh)

    def fit(self) -> None:
        """Show the whole front."""
        if self.plot is not None:
            self.plot.fit()

    # Showing

    def _refresh(self) -> None:
        headline = self.model.headline(self.is_running)
        self.summary.setText(headline)
        self.summary.setToolTip(headline)
        self._show_plot()
        self._show_preview()
        self._show_buttons()

    def _show_plot(self) -> None:
        if self.model.points and self.plot is None:
            from gui.panels.pareto.plot import ParetoPlot

            self.plot = ParetoPlot()
            self.plot.set_theme(self._theme)
            self.plot.clicked.connect(self.choose)
            self._content.addWidget(self.plot, 1)
        self.empty.setVisible(not self.model.points)
        if self.plot is not None:
            self.plot.setVisible(bool(self.model.points))
            axes = (COSTS[self.costs.currentIndex()], GAINS[self.gains.currentIndex()])
            self.plot.show_model(self.model, axes, (self.chosen, self.model.present(self._document.plan)))

    def _show_preview(self) -> None:
        if self.chosen is None:
            self.preview.setText(NOTHING_CHOSEN if self.model.points else "")
            set_role(self.preview, "muted")
            return
        found = changes(self._document.plan, self._plan(self.chosen), self._titles())
        lines = [f"<li>{_escaped(change.text)}</li>" for change in found]
        listed = f"<ul>{''.join(lines)}</ul>" if lines else "<p>This is the present plan.</p>"
        self.preview.setText(f"{self.model.card(self.chosen)}{listed}")
        set_role(self.preview, "")

    def _show_buttons(self) -> None:
        self.button.setText("Stop" if self.is_running else "Search")
        why_not = "" if self.is_running else self._why_not
        self.button.setEnabled(not why_not)
        self.button.setToolTip(why_not or "What was measured before is kept beside the project and not measured again")
        self.minutes.setEnabled(not self.is_running)
        is_present = self.chosen is None or self.chosen == self.model.present(self._document.plan)
        self.apply.setEnabled(not is_present)
        self.apply.setText("Apply" if self.chosen is None else f"Apply plan {self.chosen}")
        self.apply.setToolTip("Make it the project's plan: one step that can be undone")

    def _search_or_stop(self) -> None:
        if self.is_running:
            self.stopWanted.emit()
        else:
            self.searchWanted.emit(TuneSettings(minutes=self.minutes.value()))

    def _apply(self) -> None:
        if self.chosen is not None:
            self.applyWanted.emit(self._plan(self.chosen), f"plan {self.chosen} of the search")

    def _plan(self, number: int) -> PlanData:
        return self.model.points[number].plan

    def _titles(self) -> dict[str, str]:
        return {node: node for node in self._document.nodes}


def _axis_choice(axes: tuple[Axis, ...], tip: str) -> QComboBox:
    choice = QComboBox()
    choice.addItems([axis.title for axis in axes])
    choice.setToolTip(tip)
    choice.setAccessibleName(tip)
    return choice


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
