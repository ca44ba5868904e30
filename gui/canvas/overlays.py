"""Small widgets over the canvas: the legend with its read-out, the minimap and the hover card."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from gui.canvas.heat import STEPS, colour_table, positions, ticks
from gui.canvas.scene import PRECISIONS, HeatScale, format_number
from gui.theme import PRECISION_BADGES, Theme

_PADDING = 10


class Legend(QWidget):
    """The heat scale with its label, ticks and the value under the pointer, and the precisions' colours."""

    HEIGHT = 66
    _BAR_WIDTH = 230
    _BAR_HEIGHT = 12
    _CATEGORY_ROWS = 2

    def __init__(self, parent: QWidget, theme: Theme) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._scale: HeatScale | None = None
        self._value = float("nan")
        self._precisions: list[str] = []
        self._bar = QImage()
        self.setTheme(theme)

    def setTheme(self, theme: Theme) -> None:
        """Paint in other colours."""
        self._theme = theme
        self._font = QFont(theme.font_family)
        self._font.setPixelSize(11)
        self._bold = QFont(self._font)
        self._bold.setBold(True)
        self.update()

    def setContent(self, scale: HeatScale | None, precisions: list[str]) -> None:
        """Show a scale (or none) and the precisions that occur."""
        self._scale = scale
        self._precisions = precisions
        self._bar = _gradient(scale.colour_map) if scale is not None else QImage()
        self.setVisible(scale is not None or bool(precisions))
        self.resize(self.sizeHint())
        self.update()

    def setValue(self, value: float) -> None:
        """Point at a value; NaN points nowhere."""
        self._value = value
        self.update()

    @property
    def _scale_width(self) -> float:
        """Room for the scale: a bar, or as many columns of names as are needed."""
        if self._scale is None or not self._scale.categories:
            return self._BAR_WIDTH
        title = QFontMetricsF(self._bold).horizontalAdvance(self._scale.label)
        return max(self._column_width(self._scale) * self._columns(self._scale), float(title) + 40.0)

    def _column_width(self, scale: HeatScale) -> float:
        return max(float(QFontMetricsF(self._font).horizontalAdvance(name)) for name in scale.categories) + 30.0

    def _columns(self, scale: HeatScale) -> int:
        return -(-len(scale.categories) // self._CATEGORY_ROWS)

    def sizeHint(self) -> QSize:
        width = 2 * _PADDING + round(self._scale_width + 12 if self._scale is not None else 0)
        if self._precisions:
            widths = (QFontMetricsF(self._font).horizontalAdvance(self._precision_text(p)) for p in self._precisions)
            width += round(max(widths)) + 15 + (_PADDING if self._scale is not None else 4)
        return QSize(width, self.HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            card = QColor(self._theme.raised)
            card.setAlphaF(0.94)
            painter.setBrush(card)
            painter.setPen(QPen(QColor(self._theme.outline), 1))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
            if self._scale is not None and self._scale.categories:
                self._paint_categories(painter, self._scale, _PADDING - 3.0)
            elif self._scale is not None:
                self._paint_scale(painter, self._scale, _PADDING - 3.0)
            self._paint_precisions(painter)

    def _paint_scale(self, painter: QPainter, scale: HeatScale, top: float) -> None:
        metrics = QFontMetricsF(self._font)
        left = _PADDING + 6.0
        painter.setFont(self._bold)
        painter.setPen(QColor(self._theme.text))
        unit = f" ({scale.unit})" if scale.unit else ""
        logarithmic = ", log" if scale.log else ""
        title = f"{scale.label}{unit}{logarithmic}"
        room = QRectF(left, top, self._BAR_WIDTH, metrics.height())
        painter.drawText(room, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, title)
        painter.setFont(self._font)
        is_pointing = self._value == self._value
        painter.setPen(QColor(self._theme.text if is_pointing else self._theme.muted_text))
        note = scale.format(self._value) if is_pointing else "worse →"
        painter.drawText(room, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, note)
        bar = QRectF(left, top + metrics.height() + 4, self._BAR_WIDTH, self._BAR_HEIGHT)
        painter.drawImage(bar, self._bar)
        painter.setPen(QPen(QColor(self._theme.outline), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(bar)
        self._paint_ticks(painter, scale, bar, metrics)
        self._paint_pointer(painter, scale, bar)

    def _paint_categories(self, painter: QPainter, scale: HeatScale, top: float) -> None:
        """A square of each colour with its name; the one under the pointer is framed."""
        metrics = QFontMetricsF(self._font)
        left = _PADDING + 6.0
        painter.setFont(self._bold)
        painter.setPen(QColor(self._theme.text))
        painter.drawText(QPointF(left, top + metrics.ascent()), scale.label)
        painter.setFont(self._font)
        first = top + float(metrics.height()) + 2.0
        row = (self.HEIGHT - first - 3.0) / self._CATEGORY_ROWS
        table = colour_table(scale.colour_map)
        for index, name in enumerate(scale.categories):
            column, line = divmod(index, self._CATEGORY_ROWS)
            x, y = left + column * self._column_width(scale), first + line * row
            where = positions(np.array([float(index)]), scale)[0]
            red, green, blue = table[round(float(where) * (STEPS - 1))].tolist()
            is_pointed_at = self._value == index
            painter.setPen(QPen(QColor(self._theme.text if is_pointed_at else self._theme.outline), 1))
            painter.setBrush(QColor(red, green, blue))
            painter.drawRect(QRectF(x, y + row / 2 - 5.5, 11, 11))
            painter.setFont(self._bold if is_pointed_at else self._font)
            painter.setPen(QColor(self._theme.text))
            painter.drawText(QPointF(x + 16, y + row / 2 + metrics.ascent() / 2 - 1), name)

    def _paint_ticks(self, painter: QPainter, scale: HeatScale, bar: QRectF, metrics: QFontMetricsF) -> None:
        painter.setPen(QColor(self._theme.text))
        end = -1e9
        for value, where in sorted(ticks(scale), key=lambda tick: tick[1]):
            x = bar.left() + where * bar.width()
            text = format_number(value).replace(".0e", "e")
            width = float(metrics.horizontalAdvance(text))
            left = min(max(x - width / 2, bar.left() - 4), bar.right() + 4 - width)
            painter.drawLine(QPointF(x, bar.bottom()), QPointF(x, bar.bottom() + 3))
            if left > end + 6:
                painter.drawText(QPointF(left, bar.bottom() + 3 + metrics.ascent()), text)
                end = left + width

    def _paint_pointer(self, painter: QPainter, scale: HeatScale, bar: QRectF) -> None:
        if self._value != self._value:
            return
        x = bar.left() + float(positions(np.array([self._value]), scale)[0]) * bar.width()
        painter.setPen(QPen(QColor(self._theme.canvas), 1))
        painter.setBrush(QColor(self._theme.marker))
        painter.drawPolygon([QPointF(x, bar.top() + 7), QPointF(x - 5, bar.top() - 3), QPointF(x + 5, bar.top() - 3)])

    def _paint_precisions(self, painter: QPainter) -> None:
        """One below the other: what each border's colour and each badge mean."""
        painter.setFont(self._font)
        metrics = QFontMetricsF(self._font)
        x = _PADDING + (self._scale_width + 6.0 + 2 * _PADDING if self._scale is not None else 2.0)
        row = (self.HEIGHT - 6.0) / len(PRECISIONS)
        for i, name in enumerate(self._precisions):
            top = 3.0 + row * (i + (len(PRECISIONS) - len(self._precisions)) / 2)
            square = QRectF(x, top + 2, 11, 11)
            painter.setPen(QPen(QColor(self._theme.precisions[name]), 3))
            painter.setBrush(QColor(self._theme.box))
            painter.drawRect(square.adjusted(1, 1, -1, -1))
            painter.setPen(QColor(self._theme.text))
            painter.drawText(QPointF(x + 16, top + metrics.ascent()), self._precision_text(name))

    @staticmethod
    def _precision_text(name: str) -> str:
        badge = PRECISION_BADGES[name]
        return badge if badge.lower() == name else f"{badge}  {name}"


def _gradient(name: str) -> QImage:
    table = colour_table(name)
    image = QImage(STEPS, 1, QImage.Format.Format_RGB32)
    for i, (red, green, blue) in enumerate(table.tolist()):
        image.setPixelColor(i, 0, QColor(red, green, blue))
    return image


class Minimap(QWidget):
    """The whole graph, small, with the window's part of it framed. Click or drag to go there."""

    goTo = Signal(float, float)

    def __init__(self, parent: QWidget, theme: Theme) -> None:
        super().__init__(parent)
        self._theme = theme
        self._picture: QPixmap | None = None
        self._make_picture: Callable[[], QPixmap] = QPixmap
        self._view = QRectF()
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("The whole graph. Click or drag to go there.")

    def setTheme(self, theme: Theme) -> None:
        """Paint in other colours."""
        self._theme = theme
        self.update()

    def setPicture(self, make: Callable[[], QPixmap]) -> None:
        """Show another graph, or other colours; the picture is made when it is to be seen."""
        self._picture, self._make_picture = None, make
        self.update()

    def setView(self, view: QRectF) -> None:
        """Frame the part of the graph that the window shows, in shares of the whole."""
        self._view = view
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._picture is None:
            self._picture = self._make_picture()
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), QColor(self._theme.canvas))
            painter.drawPixmap(0, 0, self._picture)
            width, height = self.width(), self.height()
            share = self._view
            view = QRectF(share.x() * width, share.y() * height, share.width() * width, share.height() * height)
            # Two pixels are the least that can be seen and dragged.
            view = view.united(QRectF(view.center() - QPointF(2, 2), view.center() + QPointF(2, 2)))
            view = view.intersected(QRectF(self.rect()).adjusted(1, 1, -2, -2))
            shade = QColor(self._theme.selection)
            shade.setAlphaF(0.14)
            painter.setBrush(shade)
            painter.setPen(QPen(QColor(self._theme.selection), 2))
            painter.drawRect(view)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(self._theme.outline), 1))
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event)

    def _go(self, event: QMouseEvent) -> None:
        position = event.position()
        self.goTo.emit(position.x() / max(self.width(), 1), position.y() / max(self.height(), 1))
        event.accept()


class Caption(QLabel):
    """One line at the top of the canvas, in its middle."""

    def __init__(self, parent: QWidget, theme: Theme) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self._is_warning = False
        self.setTheme(theme)
        self.hide()

    def setTheme(self, theme: Theme) -> None:
        """Paint in other colours."""
        self._theme = theme
        self.setStyleSheet(
            f"background: {theme.raised}; color: {theme.warning if self._is_warning else theme.text};"
            f"border: 1px solid {theme.outline}; border-radius: 6px; padding: 4px 10px; font-size: 12px;"
        )

    def say(self, text: str, is_warning: bool) -> None:
        """Show a text; "" hides the caption."""
        self._is_warning = is_warning
        self.setTheme(self._theme)
        self.setText(text)
        self.setVisible(bool(text))

    def place(self, width: int) -> None:
        """Go to the middle of a canvas of a width."""
        self.resize(min(self.sizeHint().width(), max(width - 8, 0)), self.sizeHint().height())
        self.move(max((width - self.width()) // 2, 4), 8)


class HoverCard(QFrame):
    """Text about what is under the pointer, beside it and inside the canvas."""

    def __init__(self, parent: QWidget, theme: Theme) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._label = QLabel(self)
        self._label.setTextFormat(Qt.TextFormat.AutoText)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.addWidget(self._label)
        self.setTheme(theme)
        self.hide()

    def setTheme(self, theme: Theme) -> None:
        """Paint in other colours."""
        self.setStyleSheet(
            f"HoverCard {{ background: {theme.raised}; border: 1px solid {theme.outline}; border-radius: 6px; }}"
            f"QLabel {{ color: {theme.text}; border: none; font-size: 12px; }}"
        )

    def text(self) -> str:
        """What it says."""
        return self._label.text()

    def showText(self, text: str, pointer: QPoint) -> None:
        """Show a text (plain or simple HTML) beside a position in the canvas; an empty one hides the card."""
        if not text:
            self.hide()
            return
        self._label.setText(text)
        self.adjustSize()
        parent = self.parentWidget()
        assert parent is not None, "a card is always made inside a canvas"
        self.move(place_beside(pointer, self.size(), parent.size()))
        self.raise_()
        self.show()


def place_beside(pointer: QPoint, size: QSize, room: QSize) -> QPoint:
    """Where something of a size goes beside a position, to its lower right where there is room, inside `room`."""
    x, y = pointer.x() + 18, pointer.y() + 18
    if x + size.width() > room.width() - 4:
        x = pointer.x() - size.width() - 10
    if y + size.height() > room.height() - 4:
        y = pointer.y() - size.height() - 10
    return QPoint(max(4, x), max(4, y))
