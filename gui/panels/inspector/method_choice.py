"""The range method of the selected nodes' outputs, as a row of the inspector."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from gui.panels.inspector.methods import MIXED
from gui.panels.inspector.rows_view import LABEL_WIDTH
from gui.panels.parts import set_role
from gui.panels.summary.widget import METHODS

TIP = "How the range of this node's output is chosen from the calibration samples"


class MethodChoice(QWidget):
    """Emits ``chosen`` with a method; "" is the default. Nothing is chosen where the selection differs."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QLabel("Range method")
        self.label.setFixedWidth(LABEL_WIDTH)
        set_role(self.label, "muted")
        self.box = QComboBox()
        self.box.setAccessibleName("Range method")
        self.box.addItem("Default", "")
        for method, title in METHODS:
            self.box.addItem(title, method)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.label)
        layout.addWidget(self.box, 1)
        self.box.activated.connect(lambda: self.chosen.emit(self.box.currentData()))

    def show_choice(self, method: str, default: str, why_not: str) -> None:
        """Show the method in force; ``why_not`` disables the choice and says why."""
        with QSignalBlocker(self.box):
            self.box.setItemText(0, f"Default ({dict(METHODS).get(default, default)})")
            self.box.setCurrentIndex(-1 if method == MIXED else self.box.findData(method))
            self.box.setPlaceholderText("Different")
        self.box.setEnabled(not why_not)
        for part in (self.label, self.box):
            part.setToolTip(why_not or TIP)
