"""The dock with the compiler's options, and below them what its passes did and what the model costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from engine.plan.compile_options import Goal, Level
from gui.document.qt_document import QtDocument
from gui.panels.compiler import model
from gui.panels.compiler.choices import Choices
from gui.panels.inspector.rows_view import Section
from gui.panels.parts import set_role, tool_button

WEIGHT_STEPS = 20
ALL_CORES = 0
OPTION_WIDTH = 48
LEAST_WIDTH = 300


class CompilerPanel(QWidget):
    """Options are edits of the plan, made here at once. Emits ``targetChosen`` with a target's name, and
    ``targetFileWanted`` when the user wants a description of their own.
    """

    targetChosen = Signal(str)
    targetFileWanted = Signal()

    def __init__(self, document: QtDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document.document
        self._is_watched = False
        self._slides = count()
        self._slide = ""
        self.target = QComboBox()
        self.goal = Choices("Goal", model.GOALS)
        self.weight = QSlider(Qt.Orientation.Horizontal)
        self.weight_text = QLabel()
        self.level = Choices("Level", model.LEVELS)
        self.cores = QSpinBox()
        self.status = QLabel()
        self.options = Section("Options")
        self.regions = Section("Fusion regions")
        self.totals = Section("Compiled model")
        self.passes = Section("Passes")
        self._build()
        self._connect(document)
        self.refresh()

    def set_targets(self, targets: Sequence[tuple[str, str]]) -> None:
        """Offer these targets (id, title)."""
        with QSignalBlocker(self.target):
            self.target.clear()
            for target_id, title in targets:
                self.target.addItem(title, target_id)
        self._show_options()

    def set_watched(self, is_watched: bool) -> None:
        """Whether the user sees this panel; it is brought up to date when that begins."""
        self._is_watched = is_watched
        self.refresh()

    def refresh(self) -> None:
        """Show what the document holds now."""
        if not self._is_watched:
            return
        document = self._document
        self._show_options()
        regions = model.region_rows(document)
        self.regions.setVisible(bool(regions))
        self.regions.show_rows(regions)
        status = model.status_text(document)
        self.status.setText(status)
        self.status.setVisible(bool(status))
        is_problem = document.is_compiled and bool(document.results.compiled.problem)
        set_role(self.status, "warning" if is_problem else "muted")
        compilation = document.results.compiled.compilation
        for section in (self.totals, self.passes):
            section.setVisible(compilation is not None)
        if compilation is not None:
            self.totals.show_rows(model.totals_rows(compilation))
            self.passes.show_rows(model.pass_rows(compilation))

    def _show_options(self) -> None:
        document, options = self._document, self._document.plan.compile
        self.options.setEnabled(document.is_open)
        with QSignalBlocker(self.target), QSignalBlocker(self.weight), QSignalBlocker(self.cores):
            target = document.plan.target
            if self.target.findData(target) < 0 and document.is_open:
                self.target.addItem(target, target)
            self.target.setCurrentIndex(self.target.findData(target))
            self.target.setToolTip(target)
            self.weight.setValue(round(options.weight * WEIGHT_STEPS))
            self.cores.setMaximum(max(document.results.resolved.cores, options.cores or 1))
            self.cores.setValue(options.cores or ALL_CORES)
        self.cores.setSpecialValueText(f"all ({document.results.resolved.cores})")
        self.goal.show_choice(options.goal)
        self.level.show_choice(options.level)
        is_balanced = options.goal is Goal.BALANCED
        self.weight.setEnabled(is_balanced)
        self.weight_text.setEnabled(is_balanced)
        self.weight_text.setText(model.weight_text(options.weight) if is_balanced else "only where goal is balanced")

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        set_role(self.weight_text, "muted")
        self.target.setAccessibleName("Target")
        self.target.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.target.setMinimumContentsLength(8)
        self.setMinimumWidth(LEAST_WIDTH)
        self.weight.setRange(0, WEIGHT_STEPS)
        self.weight.setAccessibleName("Weight of DDR traffic")
        self.weight.setToolTip("What DDR traffic counts for where the goal is balanced; time is the rest")
        self.cores.setMinimum(ALL_CORES)
        self.cores.setAccessibleName("Cores")
        self.cores.setToolTip("How many cores frames are spread over; a frame runs on one of them")
        self.status.setWordWrap(True)
        self.status.setMargin(10)
        load = tool_button("File …", "Use a target description of your own (.toml)", self.targetFileWanted.emit)
        weighing = QVBoxLayout()
        weighing.setSpacing(0)
        weighing.addWidget(self.weight)
        weighing.addWidget(self.weight_text)
        for label, parts in (
            ("Target", (self.target, load)),
            ("Goal", (self.goal,)),
            ("", (weighing,)),
            ("Level", (self.level,)),
            ("Cores", (self.cores,)),
        ):
            self.options.layout_.addLayout(_labelled(label, parts))
        holder = QWidget()
        body = QVBoxLayout(holder)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(0)
        for section in (self.options, self.regions, self.status, self.totals, self.passes):
            body.addWidget(section)
        body.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(holder)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)

    def _connect(self, document: QtDocument) -> None:
        for signal in (
            document.graphChanged,
            document.planChanged,
            document.resolutionChanged,
            document.compilationChanged,
        ):
            signal.connect(self.refresh)
        edit = self._document.set_compile
        self.target.activated.connect(lambda: self.targetChosen.emit(self.target.currentData()))
        self.goal.chosen.connect(lambda goal: edit(goal=Goal(goal)))
        self.level.chosen.connect(lambda level: edit(level=Level(level)))
        self.cores.valueChanged.connect(lambda cores: edit("cores", cores=cores or None))
        self.weight.sliderPressed.connect(self._begin_slide)
        self.weight.valueChanged.connect(lambda value: edit(self._slide, weight=value / WEIGHT_STEPS))
        self._begin_slide()

    def _begin_slide(self) -> None:
        """All that one press of the slider changes is one step of undo."""
        self._slide = f"weight {next(self._slides)}"


def _labelled(text: str, parts: Sequence[QWidget | QVBoxLayout]) -> QHBoxLayout:
    """A row of the options: its label, and what is chosen with."""
    label = QLabel(text)
    label.setFixedWidth(OPTION_WIDTH)
    set_role(label, "muted")
    row = QHBoxLayout()
    row.setSpacing(8)
    row.addWidget(label)
    for part in parts:
        if isinstance(part, QWidget):
            row.addWidget(part, 0 if len(parts) > 1 and part is parts[-1] else 1)
        else:
            row.addLayout(part, 1)
    return row
