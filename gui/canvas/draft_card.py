"""The card beside the pointer that says what a fusion region would bring, or what stands in its way."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from gui.canvas.draft import DraftCard, DraftChoice, RegionDraft
from gui.canvas.overlays import place_beside
from gui.theme import Theme

_TEXT_WIDTH = 330


class VerdictCard(QFrame):
    """Follows the pointer while nodes are dragged over, and stays with its buttons once the mouse is released.

    Emits ``chosen`` with the id of the choice whose button was pressed.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget, theme: Theme) -> None:
        super().__init__(parent)
        self._title = QLabel(self)
        self._lines = QLabel(self)
        self._buttons = QWidget(self)
        self._shown: DraftCard | None = None
        for label in (self._title, self._lines):
            label.setTextFormat(Qt.TextFormat.PlainText)
        self._lines.setWordWrap(True)
        self._row = QHBoxLayout(self._buttons)
        self._row.setContentsMargins(0, 4, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(3)
        for widget in (self._title, self._lines, self._buttons):
            layout.addWidget(widget)
        self.setCursor(Qt.CursorShape.ArrowCursor)
        self.setAccessibleName("Fusion verdict")
        self._is_legal = True
        self.setTheme(theme)
        self.hide()

    def setTheme(self, theme: Theme) -> None:
        """Paint in other colours."""
        self._theme = theme
        tint = theme.region if self._is_legal else theme.warning
        self.setStyleSheet(
            f"VerdictCard {{ background: {theme.raised}; border: 2px solid {tint}; border-radius: 6px; }}"
            f"QLabel {{ color: {theme.text}; border: none; font-size: 12px; }}"
            f"QLabel#title {{ color: {tint}; font-weight: bold; }}"
        )
        self._title.setObjectName("title")

    def text(self) -> str:
        """All that it says, a line each."""
        return "\n".join(part for part in (self._title.text(), self._lines.text()) if part)

    def buttons(self) -> list[QPushButton]:
        """What can be pressed."""
        return self._buttons.findChildren(QPushButton)

    def showDraft(self, draft: RegionDraft | None, pointer: QPoint) -> None:
        """Show what is known of a draft beside a position; none hides the card."""
        if draft is None:
            self.hide()
            return
        if draft.card != self._shown:
            self._shown = draft.card
            self._is_legal = draft.is_legal
            self.setTheme(self._theme)
            self._fill(draft.card)
        self.moveBeside(pointer)
        self.raise_()
        self.show()

    def moveBeside(self, pointer: QPoint) -> None:
        """Go beside a position, inside the canvas."""
        parent = self.parentWidget()
        assert parent is not None, "a card is always made inside a canvas"
        self.move(place_beside(pointer, self.size(), parent.size()))

    def _fill(self, card: DraftCard) -> None:
        self._title.setText(card.title)
        self._lines.setText("\n".join(card.lines))
        for button in self.buttons():
            self._row.removeWidget(button)
            button.setParent(None)
            button.deleteLater()
        for position, choice in enumerate(card.choices):
            button = self._button(choice, is_first=not position)
            self._row.addWidget(button)
            button.show()  # else only with the next round of events, and the card has no room for it
        self._buttons.setVisible(bool(card.choices))
        self._fit()

    def _fit(self) -> None:
        """A text that wraps has no size of its own: it gets the height that it needs at its width."""
        lines = self._lines
        lines.ensurePolished()
        rows = lines.text().split("\n")
        width = min(max(lines.fontMetrics().horizontalAdvance(row) for row in rows) + 8, _TEXT_WIDTH)
        lines.setFixedSize(width, max(lines.heightForWidth(width), 0))
        lines.setVisible(bool(lines.text()))
        layout = self.layout()
        assert layout is not None, "made with one"
        self._row.activate()
        layout.invalidate()
        layout.activate()
        self.resize(layout.totalSizeHint())

    def _button(self, choice: DraftChoice, is_first: bool) -> QPushButton:
        button = QPushButton(choice.text, self._buttons)
        button.setToolTip(choice.tip)
        button.setProperty("primary", is_first)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys stay with the graph
        button.clicked.connect(lambda: self.chosen.emit(choice.id))
        return button
