"""What plots that a user moves in have in common. It imports pyqtgraph, so only plots import it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QColor, QFont, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QWidget

from gui.canvas.overlays import HoverCard
from gui.theme import LIGHT, Theme

LEAST_HEIGHT = 150

MakeAxis = Callable[[str, pg.ViewBox], pg.AxisItem]
"""An axis for a side (``bottom`` or ``left``) of a view."""


def plain_axis(side: str, view: pg.ViewBox) -> pg.AxisItem:
    """An axis of numbers."""
    return pg.AxisItem(side, linkView=view)


def dress_axes(axes: Iterable[pg.AxisItem], theme: Theme) -> None:
    """Give axes the theme's colours and font."""
    font = QFont(theme.font_family, theme.font_size_pt - 1)
    for axis in axes:
        axis.setPen(QColor(theme.outline))
        axis.setTextPen(QColor(theme.muted_text))
        axis.setTickFont(font)
        axis.label.setFont(font)  # pyright: ignore[reportOptionalMemberAccess]


class PlotView(pg.GraphicsView):
    """A view between two axes, with a card at the pointer. Drag moves, the wheel zooms, Space shows everything.

    Derived classes say what a fit shows (setting ``_is_fitted``), what the card reads, and what a click means.
    """

    def __init__(
        self, name: str, bottom: MakeAxis = plain_axis, left: MakeAxis = plain_axis, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme = LIGHT
        self._pressed: QPointF | None = None
        self._is_fitted = True
        self.view = pg.ViewBox(enableMenu=False)
        self.axes = {"bottom": bottom("bottom", self.view), "left": left("left", self.view)}
        self.card = HoverCard(self, LIGHT)
        self.setAccessibleName(name)
        self.setMouseTracking(True)
        self.setMinimumHeight(LEAST_HEIGHT)
        layout = self.centralLayout
        layout.setContentsMargins(6, 6, 10, 0)
        layout.setSpacing(0)
        layout.addItem(self.axes["left"], 0, 0)
        layout.addItem(self.view, 0, 1)
        layout.addItem(self.axes["bottom"], 1, 1)
        for axis in self.axes.values():
            axis.enableAutoSIPrefix(False)
        self.view.sigRangeChangedManually.connect(self._on_moved)

    def set_theme(self, theme: Theme) -> None:
        """Dress what every plot has."""
        self._theme = theme
        self.setBackground(theme.panel)
        self.card.setTheme(theme)
        dress_axes(self.axes.values(), theme)

    def fit(self) -> None:
        """Show everything."""
        raise NotImplementedError

    def _read_out(self, position: QPointF) -> str:
        """What the card says at a position of the widget; "" hides it."""
        raise NotImplementedError

    def _on_click(self, position: QPointF, adds: bool) -> None:
        """A click without a drag; ``adds``: with Shift or Ctrl."""
        raise NotImplementedError

    def _on_moved(self) -> None:
        """The user looks at a part."""
        self._is_fitted = False

    def mousePressEvent(self, ev: QMouseEvent) -> None:
        self._pressed = ev.position()
        super().mousePressEvent(ev)

    def mouseMoveEvent(self, ev: QMouseEvent) -> None:
        super().mouseMoveEvent(ev)
        text = self._read_out(ev.position()) if ev.buttons() == Qt.MouseButton.NoButton else ""
        self.card.showText(text, ev.position().toPoint())

    def mouseReleaseEvent(self, ev: QMouseEvent) -> None:
        super().mouseReleaseEvent(ev)
        pressed, self._pressed = self._pressed, None
        if pressed is None or ev.button() != Qt.MouseButton.LeftButton:
            return
        if (ev.position() - pressed).manhattanLength() < QApplication.startDragDistance():
            adds = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier
            self._on_click(ev.position(), bool(ev.modifiers() & adds))

    def leaveEvent(self, ev: QEvent) -> None:
        self.card.hide()
        super().leaveEvent(ev)

    def keyPressEvent(self, ev: QKeyEvent) -> None:
        if ev.key() in (Qt.Key.Key_Space, Qt.Key.Key_Home):
            self.fit()
        else:
            super().keyPressEvent(ev)
