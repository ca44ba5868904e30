"""The strip above the graph: target, range method, and the model's totals."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from gui.document.qt_document import QtDocument
from gui.panels.parts import set_role
from gui.panels.summary.model import Tile, tiles_of

METHODS = (
    ("mse", "MSE"),
    ("max", "Maximum"),
    ("average", "Moving average"),
    ("percentile", "Percentile 99.99"),
    ("p99.9", "Percentile 99.9"),
    ("p99.999", "Percentile 99.999"),
    ("kl", "KL divergence"),
    ("table", "Behind functions"),
)


class SummaryStrip(QWidget):
    """Emits ``targetChosen`` and ``methodChosen`` when the user picks another one."""

    targetChosen = Signal(str)
    methodChosen = Signal(str)

    def __init__(self, document: QtDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.targets = QComboBox()
        self.targets.setToolTip("The chip that the plan is resolved against and timed on")
        self.methods = QComboBox()
        self.methods.setToolTip("How ranges are chosen from the calibration samples")
        self.tiles: list[TileView] = []
        self._build()
        for signal in (
            document.graphChanged,
            document.planChanged,
            document.resolutionChanged,
            document.timingChanged,
            document.errorsChanged,
            document.stateChanged,
        ):
            signal.connect(self.refresh)
        self.targets.activated.connect(lambda: self.targetChosen.emit(self.targets.currentData()))
        self.methods.activated.connect(lambda: self.methodChosen.emit(self.methods.currentData()))
        self.refresh()

    def set_targets(self, targets: Sequence[tuple[str, str]]) -> None:
        """Offer these targets (id, title)."""
        with QSignalBlocker(self.targets):
            self.targets.clear()
            for target_id, title in targets:
                self.targets.addItem(title, target_id)
                self.targets.setItemData(self.targets.count() - 1, target_id, Qt.ItemDataRole.ToolTipRole)
        self._show_choices()

    def refresh(self) -> None:
        """Show what the document says now."""
        document = self._document.document
        tiles = tiles_of(document)
        for view, tile in zip(self.tiles, tiles, strict=True):
            view.show_tile(tile)
        self.targets.setEnabled(document.is_open)
        self.methods.setEnabled(document.is_open)
        self._show_choices()

    def _build(self) -> None:
        layout = QHBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(10)
        for label, box, width in (("Target", self.targets, 190), ("Ranges", self.methods, 120)):
            box.setMinimumWidth(width)
            layout.addWidget(_labelled(label, box))
        for value, title in METHODS:
            self.methods.addItem(title, value)
        layout.addSpacing(8)
        for _ in tiles_of(self._document.document):
            view = TileView()
            self.tiles.append(view)
            layout.addWidget(view)
        layout.addStretch(1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def _show_choices(self) -> None:
        plan = self._document.document.plan
        for box, value in ((self.targets, plan.target), (self.methods, plan.default_method)):
            with QSignalBlocker(box):
                if value and box.findData(value) < 0 and self._document.document.is_open:
                    box.addItem(value, value)
                box.setCurrentIndex(box.findData(value))


class TileView(QWidget):
    """A figure over its label."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.value = QLabel()
        self.label = QLabel()
        set_role(self.label, "muted")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 0, 6, 0)
        layout.setSpacing(1)
        layout.addWidget(self.label)
        layout.addWidget(self.value, 1)

    def show_tile(self, tile: Tile) -> None:
        self.label.setText(tile.label)
        self.value.setText(tile.value)
        self.setToolTip(f"{tile.tip}\n(being updated)" if tile.is_stale and tile.tip else tile.tip)
        set_role(self.value, "warning" if tile.is_warning else "muted" if tile.is_stale else "heading")


def _labelled(text: str, box: QComboBox) -> QWidget:
    """A box with its label above, aligned with the tiles."""
    holder = QWidget()
    label = QLabel(text)
    label.setBuddy(box)
    set_role(label, "muted")
    layout = QVBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(1)
    layout.addWidget(label)
    layout.addWidget(box)
    return holder
