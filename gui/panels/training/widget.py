"""The training dock: what to train with on the left, how it goes on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from engine.service.messages import Trained, Training
from engine.train.records import TrainOptions
from gui.document.qt_document import QtDocument
from gui.panels.parts import set_role, tool_button
from gui.panels.training.model import STEP_LABEL, Run, TrainingForm, applied, details_of, headline_of
from gui.theme import LIGHT, Theme

if TYPE_CHECKING:
    from gui.panels.training.plot import Curves

FORM_WIDTH = 350
MOST_SAMPLES = 10_000_000
_MICRO = 1e6
"""Learning rates are entered in millionths: 30 is 3e-5."""


class TrainingPanel(QWidget):
    """Emits ``trainWanted`` with a :class:`TrainingForm`, ``stopWanted``, and ``applyWanted`` with a whole plan and the
    label of its step.
    """

    trainWanted = Signal(object)
    stopWanted = Signal()
    applyWanted = Signal(object, str)

    def __init__(self, document: QtDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document.document
        self._theme = LIGHT
        self._why_not = ""
        self.run: Run | None = None
        self.curves: Curves | None = None
        self.data = QLineEdit()
        self.split = QLineEdit()
        self.samples = QSpinBox()
        self.epochs = QSpinBox()
        self.rate = QDoubleSpinBox()
        self.batch = QSpinBox()
        self.distill = QCheckBox("Follow the float model, not the labels")
        self.train = QPushButton("Train")
        self.stop = QPushButton("Stop")
        self.apply = QPushButton("Apply")
        self.headline = QLabel()
        self.details = QLabel()
        self.progress = QProgressBar()
        self._right = QVBoxLayout()
        self._build()
        self._connect(document)
        self.refresh()

    # What is asked and answered

    def form(self) -> TrainingForm:
        """What is filled in."""
        options = TrainOptions(
            epochs=self.epochs.value(),
            learning_rate=self.rate.value() / _MICRO,
            batch=self.batch.value(),
            distill=self.distill.isChecked(),
        )
        return TrainingForm(self.data.text().strip(), self.split.text().strip(), self.samples.value(), options)

    def begin(self) -> None:
        """A run was asked for."""
        self.run = Run()
        self.refresh()

    def show_course(self, answer: Training) -> None:
        """Show how far the run is."""
        if self.run is not None:
            self.run.take(answer.course)
            self.refresh()

    def show_result(self, answer: Trained) -> None:
        """Show what came of the run."""
        if self.run is not None:
            self.run.end(answer.report, answer.plan)
            self.refresh()

    def end(self) -> None:
        """No more will come of the run."""
        if self.run is not None:
            self.run.is_running = False
            self.refresh()

    def clear(self) -> None:
        """Another model is open: nothing is known of it."""
        self.run = None
        self.refresh()

    def set_available(self, why_not: str) -> None:
        """Whether a run can be asked for, and if not, why."""
        self._why_not = why_not
        self._refresh_buttons()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        if self.curves is not None:
            self.curves.set_theme(theme)

    def ask(self) -> None:
        """Ask for a run with what is filled in, if that can be used."""
        form = self.form()
        if not self._why_not and not form.problem and not self._is_running:
            self.trainWanted.emit(form)

    # Showing

    @property
    def _is_running(self) -> bool:
        return self.run is not None and self.run.is_running

    @property
    def _can_apply(self) -> bool:
        """Whether there is something better than the plan, which that does not have yet."""
        run = self.run
        return run is not None and run.report is not None and run.report.is_better and not self._is_applied

    @property
    def _is_applied(self) -> bool:
        if self.run is None or self.run.plan is None:
            return False
        plan = self._document.plan
        return applied(plan, self.run.plan) == plan

    def refresh(self) -> None:
        """Show what is known now."""
        run = self.run
        self.headline.setText(headline_of(run))
        self.details.setText(details_of(run, self._is_applied))
        set_role(self.headline, "warning" if self._has_diverged else "heading")
        self.progress.setVisible(self._is_running)
        if run is not None:
            self.progress.setRange(0, run.steps)
            self.progress.setValue(run.step)
        has_curves = run is not None and bool(run.metrics)
        if run is not None and has_curves:
            self._made_curves().show_run(run)
        if self.curves is not None:
            self.curves.setVisible(has_curves)
        self._refresh_buttons()

    @property
    def _has_diverged(self) -> bool:
        return self.run is not None and self.run.report is not None and self.run.report.ending == "diverged"

    def _refresh_buttons(self) -> None:
        why = self._why_not or self.form().problem
        self.train.setVisible(not self._is_running)
        self.stop.setVisible(self._is_running)
        self.train.setEnabled(not why)
        self.train.setToolTip(why or "Train the plan as it is now; edits meanwhile are not part of the run")
        self.apply.setEnabled(self._can_apply)
        self.apply.setToolTip(
            "Take over what was learned, as one step" if self._can_apply else "There is nothing to take over"
        )

    def _made_curves(self) -> Curves:
        if self.curves is None:
            from gui.panels.training.plot import Curves

            self.curves = Curves()
            self.curves.set_theme(self._theme)
            self._right.insertWidget(self._right.count() - 1, self.curves, 1)
        return self.curves

    # Making

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        set_role(self.details, "muted")
        self.train.setProperty("primary", True)
        for label in (self.headline, self.details):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._fill_fields()
        form = QWidget()
        form.setFixedWidth(FORM_WIDTH)
        form.setLayout(self._form_layout())
        self._right.setContentsMargins(8, 8, 8, 8)
        for part in (self.headline, self.details, self.progress):
            self._right.addWidget(part)
        self._right.addStretch(0)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(form, 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(self._right, 1)

    def _fill_fields(self) -> None:
        defaults = TrainOptions()
        self.data.setPlaceholderText("pictures or .npz")
        self.data.setAccessibleName("Training data")
        self.split.setPlaceholderText("training, if the data names splits")
        for box, most, value, tip in (
            (self.samples, MOST_SAMPLES, 0, "At most so many samples, the first ones"),
            (self.epochs, 10_000, defaults.epochs, "Passes over the samples"),
            (self.batch, 4096, defaults.batch, "Samples a step"),
        ):
            box.setRange(0 if box is self.samples else 1, most)
            box.setValue(value)
            box.setToolTip(tip)
        for box in (self.samples, self.rate):
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.samples.setSpecialValueText("all")
        self.rate.setDecimals(2)
        self.rate.setRange(0.01, 1_000_000.0)
        self.rate.setValue(defaults.learning_rate * _MICRO)
        self.rate.setSuffix(" · 10⁻⁶")
        self.rate.setToolTip("Learning rate of the weights; smaller where a run diverges")
        self.distill.setToolTip("What is done anyway where the data has no labels")

    def _form_layout(self) -> QFormLayout:
        rows = QFormLayout()
        rows.setContentsMargins(10, 8, 6, 8)
        rows.setVerticalSpacing(5)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        picking = QHBoxLayout()
        picking.addWidget(self.data, 1)
        picking.addWidget(tool_button("Folder …", "A folder of pictures", self._pick_folder))
        picking.addWidget(tool_button("File …", "An .npz file", self._pick_file))
        counts = QHBoxLayout()
        counts.setSpacing(8)
        counts.addWidget(self.epochs, 1)
        counts.addWidget(QLabel("Batch"))
        counts.addWidget(self.batch, 1)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        for button in (self.train, self.stop, self.apply):
            buttons.addWidget(button, 1)
        rows.addRow("Data", picking)
        rows.addRow("Split", self.split)
        rows.addRow("Samples", self.samples)
        rows.addRow("Epochs", counts)
        rows.addRow("Rate", self.rate)
        rows.addRow("", self.distill)
        rows.addRow("", buttons)
        return rows

    def _connect(self, document: QtDocument) -> None:
        document.graphChanged.connect(self.clear)
        document.planChanged.connect(self.refresh)
        self.data.textChanged.connect(self._refresh_buttons)
        self.train.clicked.connect(self.ask)
        self.stop.clicked.connect(self.stopWanted.emit)
        self.apply.clicked.connect(self._apply)

    def _apply(self) -> None:
        if self.run is not None and self.run.plan is not None and self._can_apply:
            self.applyWanted.emit(applied(self._document.plan, self.run.plan), STEP_LABEL)

    def _pick_folder(self) -> None:
        self._take(QFileDialog.getExistingDirectory(self, "Folder of pictures", self.data.text()))

    def _pick_file(self) -> None:
        self._take(QFileDialog.getOpenFileName(self, "Samples", self.data.text(), "Arrays (*.npz)")[0])

    def _take(self, path: str) -> None:
        if path:
            self.data.setText(path)
