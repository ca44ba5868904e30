"""The calibration dock: data, samples and preset, the output after each step, and the plan that was found."""

from __future__ import annotations

import msgspec
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QBrush, QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QSplitter,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.plan.data import PlanData
from engine.reports_quantise import QuantiseProgress
from gui.document.qt_document import QtDocument
from gui.panels.calibration import model
from gui.panels.calibration.curve import StepCurve
from gui.panels.parts import ElidedLabel, set_role
from gui.theme import LIGHT, Theme

FORM_WIDTH = 280
LEAST_TABLE_WIDTH = 280
"""Of the columns the first, the step, takes what the others leave."""


class CalibrationPanel(QWidget):
    """Emits ``runWanted`` (preset, samples), ``stopWanted``, ``calibrateWanted``, and ``applyWanted`` with the plan
    that was found and what to call the step.
    """

    runWanted = Signal(str, int)
    stopWanted = Signal()
    calibrateWanted = Signal()
    applyWanted = Signal(object, str)

    def __init__(self, document: QtDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document.document
        self._theme = LIGHT
        self._progress: QuantiseProgress | None = None
        self._plan: PlanData | None = None
        self._from_plan: PlanData | None = None
        self._unavailable = ""
        self.is_running = False
        self.data = ElidedLabel()
        self.calibrate = QPushButton("Calibrate …")
        self.samples = QSpinBox()
        self.preset = QComboBox()
        self.preset_text = QLabel()
        self.run = QPushButton("Run")
        self.apply = QPushButton("Apply")
        self.bar = QProgressBar()
        self.stage = ElidedLabel()
        self.summary = QLabel()
        self.warning = QLabel()
        self.curve = StepCurve()
        self.table = QTreeWidget()
        self._build()
        document.graphChanged.connect(self.clear)
        document.planChanged.connect(self.refresh)
        document.stateChanged.connect(self.refresh)
        self.refresh()

    def start(self) -> None:
        """A run has begun, from the present plan."""
        self._progress, self._plan, self._from_plan = None, None, self._document.plan
        self.is_running = True
        self.bar.setRange(0, 0)
        self.stage.setText("Measuring the present plan")
        self._show_result()

    def show_progress(self, stage: str, done: int, total: int) -> None:
        """How far the steps are."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.stage.setText(stage)

    def show_result(self, progress: QuantiseProgress, plan: PlanData) -> None:
        """What was found so far."""
        self._progress, self._plan = progress, plan
        self._show_result()

    def finish(self, message: str = "") -> None:
        """The run is over; ``message`` says why where it did not run to its end. What was found stays."""
        self.is_running = False
        if self._progress is not None and not self._progress.is_complete:
            self._progress = msgspec.structs.replace(self._progress, stopped=True)
        self.stage.setText(message)
        self._show_result()

    def clear(self) -> None:
        """Another model is open: nothing is known of it."""
        self._progress, self._plan, self._from_plan = None, None, None
        self.is_running = False
        self.stage.setText("")
        self._show_result()

    def set_available(self, why_not: str) -> None:
        """Whether a preset can be run, and if not, why."""
        self._unavailable = why_not
        self.refresh()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.curve.set_theme(theme)
        self._show_result()

    def refresh(self) -> None:
        """What is possible now."""
        self.data.setText(model.data_text(self._document))
        self.data.setToolTip(self._document.calibration.data)
        self.calibrate.setEnabled(self._document.is_open and not self.is_running)
        self.run.setText("Stop" if self.is_running else "Run")
        why_not = "" if self.is_running else self._unavailable
        self.run.setEnabled(not why_not)
        self.run.setToolTip(why_not or ("Keep what was found so far" if self.is_running else "Run the preset's steps"))
        for choice in (self.samples, self.preset):
            choice.setEnabled(not self.is_running)
        self.bar.setVisible(self.is_running)
        present = self._document.plan
        is_outdated = self._from_plan is not None and present not in (self._from_plan, self._plan)
        why_not = model.why_not_apply(self._progress, is_outdated, present == self._plan)
        self.apply.setEnabled(not why_not)
        self.apply.setToolTip(why_not or "Take the plan over, as one step of undo")

    def _show_result(self) -> None:
        found = self._progress
        self.curve.show_points(model.points_of(found) if found else (), found.total if found else 1)
        self.summary.setText(model.summary_of(found) if found else "")
        self.warning.setText(model.warning_of(found) if found else "")
        self.summary.setVisible(bool(self.summary.text()))
        self.warning.setVisible(bool(self.warning.text()))
        self.table.clear()
        for row in model.rows_of(found) if found else ():
            self.table.addTopLevelItem(self._item(row))
        self.refresh()

    def _item(self, row: model.StepRow) -> QTreeWidgetItem:
        item = QTreeWidgetItem(list(row.texts))
        for column in range(len(model.COLUMNS)):
            item.setToolTip(column, row.texts[column])
            if column in (1, 2):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if not row.kept:
                item.setForeground(column, QBrush(QColor(self._theme.muted_text)))
        return item

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        set_role(self.preset_text, "muted")
        set_role(self.stage, "muted")
        set_role(self.warning, "warning")
        for label in (self.preset_text, self.summary, self.warning):
            label.setWordWrap(True)
        self.summary.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.samples.setRange(1, model.MOST_SAMPLES)
        self.samples.setValue(model.DEFAULT_SAMPLES)
        self.samples.setToolTip("Calibration samples to fit on and to judge by, three to one")
        for name, title, text in model.PRESETS:
            self.preset.addItem(title, name)
            self.preset.setItemData(self.preset.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
        self.preset.currentIndexChanged.connect(self._show_preset)
        self.preset.setCurrentIndex(1)
        self.bar.setTextVisible(False)
        self.calibrate.clicked.connect(lambda: self.calibrateWanted.emit())
        self.run.clicked.connect(self._run_or_stop)
        self.apply.clicked.connect(self._apply)
        self._build_table()
        splitter = QSplitter(Qt.Orientation.Horizontal)
        for part, stretch in ((self._form(), 0), (self.curve, 1), (self.table, 1)):
            splitter.addWidget(part)
            splitter.setStretchFactor(splitter.count() - 1, stretch)
        splitter.setChildrenCollapsible(False)
        splitter.setSizes([FORM_WIDTH, 2 * FORM_WIDTH, 2 * FORM_WIDTH])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(splitter)

    def _build_table(self) -> None:
        table = self.table
        table.setHeaderLabels(list(model.COLUMNS))
        table.setRootIsDecorated(False)
        table.setUniformRowHeights(True)
        table.setAlternatingRowColors(True)
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        table.setAccessibleName("Steps")
        for column in (1, 2):
            table.headerItem().setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        header = table.header()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setStretchLastSection(False)
        table.setMinimumWidth(LEAST_TABLE_WIDTH)

    def _form(self) -> QWidget:
        form = QWidget()
        rows = QFormLayout()
        rows.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        data = QHBoxLayout()
        data.addWidget(self.data, 1)
        data.addWidget(self.calibrate)
        rows.addRow("Data", data)
        rows.addRow("Samples", self.samples)
        rows.addRow("Preset", self.preset)
        rows.addRow("", self.preset_text)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run)
        buttons.addWidget(self.apply)
        buttons.addStretch(1)
        layout = QVBoxLayout(form)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        layout.addLayout(rows)
        layout.addLayout(buttons)
        for part in (self.bar, self.stage, self.summary, self.warning):
            layout.addWidget(part)
        layout.addStretch(1)
        area = QScrollArea()  # in a low dock the form scrolls, it is not squeezed
        area.setWidget(form)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setMinimumWidth(FORM_WIDTH)
        return area

    def _show_preset(self) -> None:
        self.preset_text.setText(str(self.preset.currentData(Qt.ItemDataRole.ToolTipRole)))

    def _run_or_stop(self) -> None:
        if self.is_running:
            self.stopWanted.emit()
        else:
            self.runWanted.emit(str(self.preset.currentData()), self.samples.value())

    def _apply(self) -> None:
        if self._plan is not None and self._progress is not None:
            self.applyWanted.emit(self._plan, f"preset {self._progress.preset}")
