"""Notices above the graph, and the progress in the status bar."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from gui.client.session import Activity
from gui.document.notice import Level, Notice
from gui.panels.icons import pixmap
from gui.panels.messages.model import NoticeBoard
from gui.panels.parts import set_role, tool_button
from gui.theme import LIGHT, Theme

_ICONS = {Level.INFO: "info", Level.WARNING: "warning", Level.ERROR: "error"}


class NoticeArea(QWidget):
    """Shows notices until they are dismissed. Emits ``actionChosen`` with the id of the command that one
    offers.
    """

    actionChosen = Signal(str)

    def __init__(self, action_texts: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.board = NoticeBoard()
        self._action_texts = action_texts
        self._theme = LIGHT
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self.hide()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._refresh()

    def post(self, notice: Notice) -> None:
        self.board.add(notice)
        self._refresh()

    def clear(self) -> None:
        self.board.clear()
        self._refresh()

    def dismiss(self, text: str) -> None:
        """Take a notice away."""
        self.board.dismiss(text)
        self._refresh()

    def _choose(self, notice: Notice, action: str) -> None:
        self.dismiss(notice.text)
        self.actionChosen.emit(action)

    def _refresh(self) -> None:
        while (item := self._layout.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for notice in self.board.notices:
            self._layout.addWidget(self._banner(notice))
        self.setVisible(bool(self.board.notices))

    def _banner(self, notice: Notice) -> QFrame:
        banner = QFrame()
        set_role(banner, "banner")
        colour = self._theme.accent if notice.level == Level.INFO else self._theme.warning
        symbol = QLabel()
        symbol.setPixmap(pixmap(_ICONS[notice.level], colour))
        text = QLabel(notice.text)
        text.setWordWrap(True)
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout(banner)
        row.setContentsMargins(10, 6, 8, 6)
        row.addWidget(symbol)
        row.addWidget(text, 1)
        for action in notice.actions:
            button = QPushButton(self._action_texts.get(action, action))
            button.clicked.connect(lambda _=False, action=action: self._choose(notice, action))
            row.addWidget(button)
        if notice.details:
            copy = QPushButton("Copy details")
            copy.setToolTip(notice.details[-600:])
            copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(f"{notice.text}\n\n{notice.details}"))
            row.addWidget(copy)
        row.addWidget(tool_button("✕", "Dismiss", lambda: self.dismiss(notice.text)))
        return banner


class ProgressView(QWidget):
    """What the engine works on, with a button to stop it. Emits ``cancelled``."""

    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = QLabel()
        self.bar = QProgressBar()
        self.bar.setFixedWidth(180)
        self.bar.setTextVisible(False)
        self.stop = tool_button("Cancel", "Stop this; what is finished is kept", self.cancelled.emit)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 0, 6, 0)
        for widget in (self.text, self.bar, self.stop):
            layout.addWidget(widget)
        self.show_activity(None)

    def show_activity(self, activity: Activity | None) -> None:
        for widget in (self.bar, self.stop):
            widget.setVisible(activity is not None)
        if activity is None:
            self.text.setText("Ready")
            return
        counted = f"   {activity.done:,} of {activity.total:,}" if activity.total else ""
        self.text.setText(f"{activity.text}{counted}")
        self.bar.setRange(0, activity.total)
        self.bar.setValue(activity.done)
        self.stop.setVisible(activity.can_cancel)
