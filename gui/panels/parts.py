"""Small parts that several panels are built of."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QToolButton, QWidget


def set_role(widget: QWidget, role: str) -> None:
    """Give a widget one of the style sheet's roles (muted, heading, panel …) and have it dressed anew."""
    if widget.property("role") == role:
        return
    widget.setProperty("role", role)
    style = widget.style()
    style.unpolish(widget)
    style.polish(widget)


def tool_button(text: str, tip: str, pressed: Callable[[], object]) -> QToolButton:
    """A small button with a text."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.clicked.connect(lambda: pressed())
    return button
