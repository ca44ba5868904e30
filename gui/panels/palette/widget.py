"""The command palette as a dialog."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QHeaderView, QLineEdit, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

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
        self.list = QTreeWidget()
        self.list.setObjectName("palette")
        self.list.setColumnCount(2)
        self.list.setHeaderHidden(True)
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.header().setStretchLastSection(False)
        self.list.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.list.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.box)
        layout.addWidget(self.list)
        self.resize(WIDTH, HEIGHT)
        self.box.textChanged.connect(self._show_matches)
        self.box.installEventFilter(self)
        self.list.itemClicked.connect(lambda item, column: self._choose(item))

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
                self._step(step)
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._choose(self.list.currentItem() if self.list.topLevelItemCount() else None)
                return True
        return super().eventFilter(watched, event)

    def _show_matches(self, query: str) -> None:
        self.list.clear()
        for entry in ranked(self._entries, query):
            item = QTreeWidgetItem([entry.text, entry.why_not or entry.keys])
            item.setData(0, Qt.ItemDataRole.UserRole, entry.id)
            item.setToolTip(0, entry.why_not or entry.help)
            item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            item.setDisabled(bool(entry.why_not))
            self.list.addTopLevelItem(item)
        self._step(0)

    def _step(self, by: int) -> None:
        """Go down the list, or up; to the first entry from none."""
        current = self.list.currentIndex()
        row = current.row() if current.isValid() else 0
        target = self.list.topLevelItem(max(0, min(self.list.topLevelItemCount() - 1, row + by)))
        if target is not None:
            self.list.setCurrentItem(target)

    def _choose(self, item: QTreeWidgetItem | None) -> None:
        if item is not None and not item.isDisabled():
            self.hide()
            self.chosen.emit(item.data(0, Qt.ItemDataRole.UserRole))
