"""A few values side by side, of which one is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from gui.panels.compiler.model import Option


class Choices(QWidget):
    """A row of buttons. Emits ``chosen`` with a value that the user picks."""

    chosen = Signal(str)

    def __init__(self, name: str, options: Sequence[Option], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.buttons: dict[str, QToolButton] = {}
        group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for option in options:
            button = QToolButton()
            button.setObjectName("choice")
            button.setText(option.title)
            button.setToolTip(option.tip)
            button.setAccessibleName(f"{name}: {option.title}")
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._on_clicked, option.value))
            group.addButton(button)
            self.buttons[option.value] = button
            layout.addWidget(button)

    def show_choice(self, value: str) -> None:
        """Press the button of a value."""
        self.buttons[value].setChecked(True)

    def _on_clicked(self, value: str, checked: bool = False) -> None:
        self.chosen.emit(value)
