"""What views over the time of a frame have in common: the stretch that they show, gestures, ruler and read-out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QWidget

from gui.canvas.layers.context import Texts
from gui.canvas.overlays import HoverCard
from gui.panels.time_axis import TimeSpan, moment_text, tick_text
from gui.theme import LIGHT, Theme

Floats = NDArray[np.float64]

GUTTER = 118
RULER = 22
END_MARGIN = 10
FONT_PX = 11.0
_WHEEL_STEP = 1.0015
_TICK_ROOM = 95.0
_KEY_STEP = 0.15
_MIDDLE = 0.5


class SharedTime(QObject):
    """The stretch of the frame that all views over time show. Emits ``changed``."""

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.span = TimeSpan()

    def show_span(self, span: TimeSpan) -> None:
        if span != self.span:
            self.span = span
            self.changed.emit()

    def set_total(self, total_us: float) -> None:
        """Another frame: the same stretch of it as before."""
        self.show_span(self.span.rescaled(total_us))


class TimeView(QWidget):
    """A picture over time with a gutter for names on its left and a ruler below.

    Wheel and Ctrl+drag zoom, drag and Shift+wheel move, Space shows the whole frame and Z what is selected. ``clicked``
    carries the item that was clicked (−1: nothing) and whether to add it to what is selected.

    To be painted and known by those who derive from it: ``paint_picture``, ``paint_gutter``, ``item_at``, ``card``,
    ``fit_selected``.
    """

    clicked = Signal(int, bool)

    def __init__(self, time: SharedTime, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.time = time
        self.theme = LIGHT
        self.texts = Texts(LIGHT.font_family)
        self._picture: QPixmap | None = None
        self._card = HoverCard(self, LIGHT)
        self._pressed: QPointF | None = None
        self._dragged_from: QPointF | None = None
        self._band: tuple[float, float] | None = None
        self._pointer: QPointF | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        time.changed.connect(self.redraw)

    # What those who derive from it say

    def paint_picture(self, painter: QPainter, area: QRectF) -> None:
        """Paint what there is within ``area``, which is clipped."""
        raise NotImplementedError

    def paint_gutter(self, painter: QPainter, area: QRectF) -> None:
        """Paint the names on the left."""
        raise NotImplementedError

    def item_at(self, position: QPointF) -> int:
        """What is at a position of the widget, −1 for nothing."""
        raise NotImplementedError

    def card(self, item: int) -> str:
        """The read-out of an item, as simple HTML."""
        raise NotImplementedError

    def read_out(self, position: QPointF) -> str:
        """What the card at the pointer says, "" for no card."""
        item = self.item_at(position)
        return self.card(item) if item >= 0 else ""

    def fit_selected(self) -> None:
        """Show the stretch of what is selected, the whole frame where that is nothing."""
        raise NotImplementedError

    # Looks

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.texts = Texts(theme.font_family)
        self._card.setTheme(theme)
        self.redraw()

    def redraw(self) -> None:
        """What is painted changed."""
        self._picture = None
        self.update()

    @property
    def area(self) -> QRectF:
        """Where time is drawn, in pixels of the widget."""
        return QRectF(GUTTER, 0, max(self.width() - GUTTER - END_MARGIN, 1), max(self.height() - RULER, 1))

    def x_of(self, time_us: float) -> float:
        area, span = self.area, self.time.span
        return float(area.left() + (time_us - span.first_us) / span.width_us * area.width())

    def time_at(self, x: float) -> float:
        area, span = self.area, self.time.span
        return float(span.first_us + (x - area.left()) / area.width() * span.width_us)

    @property
    def us_per_pixel(self) -> float:
        return self.time.span.width_us / float(self.area.width())

    def fit(self) -> None:
        """Show the whole frame."""
        self.time.show_span(TimeSpan.whole(self.time.span.total_us))

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._picture is None:
            self._picture = self._painted()
        with QPainter(self) as painter:
            painter.drawPixmap(0, 0, self._picture)
            self._paint_pointer(painter)
            self._paint_band(painter)

    def _painted(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        picture = QPixmap(self.size() * ratio)
        picture.setDevicePixelRatio(ratio)
        picture.fill(QColor(self.theme.panel))
        area = self.area
        with QPainter(picture) as painter:
            self._paint_ruler(painter, area)
            painter.save()
            painter.setClipRect(area)
            self.paint_picture(painter, area)
            painter.restore()
            self.paint_gutter(painter, QRectF(0, 0, GUTTER, area.height()))
            painter.setPen(QColor(self.theme.outline))
            painter.drawLine(QPointF(GUTTER - _MIDDLE, 0), QPointF(GUTTER - _MIDDLE, area.bottom()))
        return picture

    def _paint_ruler(self, painter: QPainter, area: QRectF) -> None:
        span = self.time.span
        ticks = span.ticks(max(2, round(area.width() / _TICK_ROOM)))
        step = ticks[1] - ticks[0] if len(ticks) > 1 else span.width_us
        grid, text = QColor(self.theme.outline), QColor(self.theme.muted_text)
        faint = QColor(grid)
        faint.setAlphaF(0.45)
        for tick in ticks:
            x = round(self.x_of(tick)) + _MIDDLE
            painter.setPen(faint)
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
            painter.setPen(text)
            label = tick_text(tick, step)
            width = self.texts.width(label, FONT_PX)
            left = min(max(x - width / 2, area.left() + 2), self.width() - width - 2)
            self.texts.draw(painter, label, (left, area.bottom() + 3, width + 2, RULER - 4), FONT_PX)
        painter.setPen(grid)
        painter.drawLine(QPointF(0, area.bottom() + _MIDDLE), QPointF(self.width(), area.bottom() + _MIDDLE))

    def _paint_pointer(self, painter: QPainter) -> None:
        """A line at the pointer, and its time on the ruler."""
        if self._pointer is None or not self.area.contains(self._pointer):
            return
        x = round(self._pointer.x()) + _MIDDLE
        colour = QColor(self.theme.text)
        colour.setAlphaF(0.55)
        painter.setPen(colour)
        painter.drawLine(QPointF(x, 0), QPointF(x, self.area.bottom()))
        label = moment_text(self.time_at(self._pointer.x()))
        width = self.texts.width(label, FONT_PX, True) + 10
        left = min(max(x - width / 2, GUTTER), self.width() - width)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.theme.text))
        painter.drawRoundedRect(QRectF(left, self.area.bottom() + 3, width, RULER - 5), 3, 3)
        painter.setPen(QColor(self.theme.panel))
        self.texts.draw(painter, label, (left + 4, self.area.bottom() + 3, width, RULER - 5), FONT_PX, True)

    def _paint_band(self, painter: QPainter) -> None:
        if self._band is None:
            return
        colour = QColor(self.theme.selection)
        painter.setPen(QPen(colour, 1.0, Qt.PenStyle.DashLine))
        colour.setAlphaF(0.15)
        painter.setBrush(colour)
        left, right = sorted(self._band)
        painter.drawRect(QRectF(left, 0, right - left, self.area.bottom()))

    def paint_name(
        self, painter: QPainter, place: QRectF, title: str, note: str = "", is_muted: bool = False
    ) -> None:
        """A row of the gutter: its title on the left, a figure on the right."""
        used = self.texts.width(note, FONT_PX) + 8 if note else 0
        top, height = float(place.top()), float(place.height())
        painter.setPen(QColor(self.theme.muted_text if is_muted else self.theme.text))
        self.texts.draw(painter, title, (8, top, GUTTER - 16 - used, height), FONT_PX, not is_muted)
        painter.setPen(QColor(self.theme.muted_text))
        self.texts.draw(painter, note, (GUTTER - 8 - used, top, used, height), FONT_PX, align=1.0)

    # Gestures

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = self._dragged_from = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        position = event.position()
        if self._pressed is None or self._dragged_from is None:
            self._hover(position)
            return
        far_enough = (position - self._pressed).manhattanLength() >= QApplication.startDragDistance()
        is_zoom = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if self._band is not None or (far_enough and is_zoom):
            self._band = (float(self._pressed.x()), float(position.x()))
            self._hover(None)
        elif far_enough or self._dragged_from != self._pressed:
            self._hover(None)
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            moved = float(self._dragged_from.x() - position.x()) * self.us_per_pixel
            self._dragged_from = position
            self.time.show_span(self.time.span.moved(moved))
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        pressed, dragged, band = self._pressed, self._dragged_from, self._band
        self._pressed = self._dragged_from = self._band = None
        self.unsetCursor()
        if band is not None:
            self.time.show_span(self.time.span.between(self.time_at(band[0]), self.time_at(band[1])))
        elif pressed is not None and dragged == pressed:
            adds = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier
            self.clicked.emit(self.item_at(pressed), bool(event.modifiers() & adds))
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        turn = event.pixelDelta() if not event.pixelDelta().isNull() else event.angleDelta()
        sideways = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if sideways or abs(turn.x()) > abs(turn.y()):
            self.time.show_span(self.time.span.moved(-float(turn.x() or turn.y()) * self.us_per_pixel))
        else:
            at = self.time_at(max(float(event.position().x()), GUTTER))
            self.time.show_span(self.time.span.zoomed(_WHEEL_STEP ** float(turn.y()), at))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        span = self.time.span
        middle = (span.first_us + span.last_us) / 2
        match event.key():
            case Qt.Key.Key_Space | Qt.Key.Key_Home:
                self.fit()
            case Qt.Key.Key_Z:
                self.fit_selected()
            case Qt.Key.Key_Left:
                self.time.show_span(span.moved(-_KEY_STEP * span.width_us))
            case Qt.Key.Key_Right:
                self.time.show_span(span.moved(_KEY_STEP * span.width_us))
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self.time.show_span(span.zoomed(1.5, middle))
            case Qt.Key.Key_Minus:
                self.time.show_span(span.zoomed(1 / 1.5, middle))
            case _:
                super().keyPressEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self._hover(None)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.redraw()

    def _hover(self, position: QPointF | None) -> None:
        self._pointer = position
        if position is None:
            self._card.hide()
        else:
            self._card.showText(self.read_out(position), position.toPoint())
        self.update()


def rects(left: ArrayLike, top: ArrayLike, width: ArrayLike, height: ArrayLike) -> Floats:
    """Rectangles (or lines: x, y, x, y) ``[n, 4]`` of columns, of which each may be one number for all."""
    columns = np.broadcast_arrays(left, top, width, height)
    return np.stack([np.atleast_1d(column) for column in columns], axis=1).astype(np.float64)
