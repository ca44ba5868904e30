"""The command palette as a dialog."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from gui.panels.palette.model import Entry, ranked

WIDTH = 560
HEIGHT = 360
_STEPS = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_PageDown: 8, Qt.Key.Key_PageUp: -8}


class CommandPalette(QDialog):
    """Emits ``chosen`` with the id of a command. Unavailable ones are listed last, grey, and say why."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Dialog | Qt.WindowType.FramelessWindowHint)
        self._entries: Sequence[Entry] = ()
        self.box = QLineEdit()
        self.box.setPlaceholderText("Type a command …")
        self.list = QListWidget()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.box)
        layout.addWidget(self.list)
        self.resize(WIDTH, HEIGHT)
        self.box.textChanged.connect(self._show_matches)
        self.box.installEventFilter(self)
        self.list.itemClicked.connect(self._choose)

    def offer(self, entries: Sequence[Entry]) -> None:
        """Open with these commands, in the upper middle of the window."""
        self._entries = entries
        self.box.clear()
        self._show_matches("")
        parent = self.parentWidget()
        if parent is not None:
            corner = parent.mapToGlobal(parent.rect().topLeft())
            self.move(corner.x() + (parent.width() - self.width()) // 2, corner.y() + parent.height() // 6)
        self.show()
        self.box.setFocus()

    def event(self, event: QEvent) -> bool:
        """A click outside closes it."""
        if event.type() == QEvent.Type.WindowDeactivate:
            self.hide()
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            step = _STEPS.get(Qt.Key(event.key()))
            if step is not None:
                last = self.list.count() - 1
                self.list.setCurrentRow(max(0, min(last, self.list.currentRow() + step)))
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._choose(self.list.currentItem())
                return True
        return super().eventFilter(watched, event)

    def _show_matches(self, query: str) -> None:
        self.list.clear()
        for entry in ranked(self._entries, query):
            note = entry.why_not or entry.keys
            item = QListWidgetItem(f"{entry.text}    {note}" if note else entry.text)
            item.setData(Qt.ItemDataRole.UserRole, entry.id)
            item.setToolTip(entry.why_not or entry.help)
            if entry.why_not:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            self.list.addItem(item)
        self.list.setCurrentRow(0)

    def _choose(self, item: QListWidgetItem | None) -> None:
        if item is not None and item.flags() & Qt.ItemFlag.ItemIsEnabled:
            self.hide()
            self.chosen.emit(item.data(Qt.ItemDataRole.UserRole))
