"""The search bar over the graph."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QLineEdit, QWidget

from gui.document.qt_document import QtDocument
from gui.panels.parts import set_role, tool_button
from gui.panels.search.model import Search

BOX_WIDTH = 340


class SearchBar(QFrame):
    """Emits ``found`` with the hit to show; Enter is the next one, Shift+Enter the one before, Escape
    closes.
    """

    found = Signal(str)

    def __init__(self, document: QtDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.search = Search()
        self.box = QLineEdit(placeholderText="Find by name, operator, shape … or /regex/")
        self.status = QLabel()
        self._build()
        document.graphChanged.connect(self._on_graph)
        self.box.textChanged.connect(self._on_text)
        self.box.installEventFilter(self)
        self.hide()

    def open(self) -> None:
        """Show the bar and select its text."""
        self.show()
        self.box.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.box.selectAll()

    def step(self, by: int) -> None:
        """Show the next or previous hit."""
        hit = self.search.step(by)
        self._show_status()
        if hit:
            self.found.emit(hit)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self.step(-1 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1)
                return True
            if event.key() == Qt.Key.Key_Escape:
                self.hide()
                parent = self.parentWidget()
                if parent is not None:
                    parent.setFocus()
                return True
        return super().eventFilter(watched, event)

    def _build(self) -> None:
        set_role(self, "banner")
        set_role(self.status, "muted")
        self.box.setClearButtonEnabled(True)
        self.box.setFixedWidth(BOX_WIDTH)
        self.status.setMinimumWidth(110)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 5, 8, 5)
        layout.addWidget(self.box)
        layout.addWidget(self.status)
        for text, tip, by in (("▲", "Previous hit (Shift+Enter)", -1), ("▼", "Next hit (Enter)", 1)):
            layout.addWidget(tool_button(text, tip, partial(self.step, by)))
        layout.addStretch(1)
        layout.addWidget(tool_button("✕", "Close (Esc)", self.hide))

    def _on_graph(self) -> None:
        graph = self._document.document.graph
        self.search.set_nodes(graph.nodes if graph is not None else ())
        self._show_status()

    def _on_text(self, text: str) -> None:
        self.search.find(text)
        self.step(1) if self.search.hits else self._show_status()

    def _show_status(self) -> None:
        self.status.setText(self.search.status)
        is_bad = bool(self.search.problem) or self.search.status == "no hits"
        set_role(self.status, "warning" if is_bad else "muted")
