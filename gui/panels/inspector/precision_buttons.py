"""The requested precision as a row of buttons that acts on the selection."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from gui.panels.inspector.model import PRECISIONS
from gui.theme import Theme, text_on

TITLES = {"auto": "Auto", "int8": "int8", "int16": "int16", "lut": "LUT", "float": "float"}
TIPS = {
    "auto": "Let the target decide (A)",
    "int8": "8-bit integers (8)",
    "int16": "16-bit integers (6)",
    "lut": "A look-up table (L)",
    "float": "Float on the CPU (F)",
}


class PrecisionButtons(QWidget):
    """Emits ``chosen`` with a precision. No button is down where the selection differs."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, QToolButton] = {}
        self._group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for precision in PRECISIONS:
            button = QToolButton()
            button.setText(TITLES[precision])
            button.setCheckable(True)
            button.setObjectName("precision")
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._on_clicked, precision))
            self._group.addButton(button)
            self.buttons[precision] = button
            layout.addWidget(button)

    def set_theme(self, theme: Theme) -> None:
        """The pressed button has its precision's colour, as the badge on the graph."""
        for precision, button in self.buttons.items():
            colour = theme.precisions.get(precision, theme.accent)
            button.setStyleSheet(
                f"QToolButton {{ border: 1px solid {theme.outline}; padding: 4px 2px; }}"
                f"QToolButton:checked {{ background: {colour}; color: {text_on(colour)}; border-color: {colour}; }}"
            )

    def show_request(self, requested: str, why_not: str) -> None:
        """Press the button of ``requested`` ("": none); ``why_not`` disables all and says why."""
        self._group.setExclusive(False)
        for precision, button in self.buttons.items():
            button.setChecked(precision == requested)
            button.setEnabled(not why_not)
            button.setToolTip(why_not or TIPS[precision])
        self._group.setExclusive(bool(requested))

    def _on_clicked(self, precision: str, checked: bool = False) -> None:
        self.chosen.emit(precision)
