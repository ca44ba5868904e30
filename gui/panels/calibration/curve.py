"""The curve of the output's signal to noise over the steps of a preset, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from gui.panels.calibration.model import Point
from gui.theme import LIGHT, Theme

LEFT, TOP, RIGHT, BOTTOM = 52, 12, 16, 24
DOT = 4.0
CAP = 4.0
TICKS = 4
LEAST_SPAN_DB = 2.0
NOTHING_YET = "Run a preset: the output after each step appears here."


class StepCurve(QWidget):
    """Points joined where they were kept; what was dropped stands beside the line, hollow."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._points: tuple[Point, ...] = ()
        self._slots = 1
        self._theme = LIGHT
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(QSize(160, 120))
        self.setAccessibleName("Output by step")

    def show_points(self, points: Sequence[Point], total: int) -> None:
        """Show these points of ``total`` steps."""
        self._points, self._slots = tuple(points), max(1, total)
        best = max((point.mean_db for point in points if point.kept), default=None)
        self.setAccessibleDescription("" if best is None else f"{len(points)} points, now {best:.1f} dB")
        self.update()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.update()

    def scale(self) -> tuple[float, float]:
        """The lowest and highest decibels that are shown."""
        low = min((point.low_db for point in self._points), default=0.0)
        high = max((point.high_db for point in self._points), default=LEAST_SPAN_DB)
        missing = max(0.0, LEAST_SPAN_DB - (high - low)) / 2
        pad = 0.06 * (high - low + 2 * missing)
        return low - missing - pad, high + missing + pad

    def place(self, index: int, decibels: float) -> QPointF:
        """Where a value of the point ``index`` is."""
        area = self._area()
        low, high = self.scale()
        x = area.left() + area.width() * (index + 0.5) / (self._slots + 1)
        return QPointF(x, area.bottom() - area.height() * (decibels - low) / (high - low))

    def _area(self) -> QRectF:
        return QRectF(LEFT, TOP, max(1, self.width() - LEFT - RIGHT), max(1, self.height() - TOP - BOTTOM))

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            if not self._points:
                painter.setPen(QColor(self._theme.muted_text))
                wrap = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
                painter.drawText(self.rect().adjusted(8, 8, -8, -8), int(wrap), NOTHING_YET)
                return
            self._paint_axis(painter)
            self._paint_line(painter)
            for index, point in enumerate(self._points):
                self._paint_point(painter, index, point)

    def _paint_axis(self, painter: QPainter) -> None:
        area = self._area()
        low, high = self.scale()
        step = _nice_step((high - low) / TICKS)
        tick = math.ceil(low / step) * step
        while tick <= high:
            y = self.place(0, tick).y()
            painter.setPen(QPen(QColor(self._theme.outline), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(QColor(self._theme.muted_text))
            text = QRectF(0, y - 8, LEFT - 6, 16)
            painter.drawText(text, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), f"{tick:g} dB")
            tick += step

    def _paint_line(self, painter: QPainter) -> None:
        kept = [self.place(i, point.mean_db) for i, point in enumerate(self._points) if point.kept]
        painter.setPen(QPen(QColor(self._theme.accent), 1.5))
        painter.drawPolyline(kept)

    def _paint_point(self, painter: QPainter, index: int, point: Point) -> None:
        colour = QColor(self._theme.accent if point.kept else self._theme.muted_text)
        centre, top, bottom = (self.place(index, value) for value in (point.mean_db, point.high_db, point.low_db))
        painter.setPen(QPen(colour, 1))
        if point.high_db > point.low_db:
            painter.drawLine(top, bottom)
            for end in (top, bottom):
                painter.drawLine(QPointF(end.x() - CAP, end.y()), QPointF(end.x() + CAP, end.y()))
        painter.setBrush(colour if point.kept else QColor(self._theme.panel))
        painter.drawEllipse(centre, DOT, DOT)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        width = self._area().width() / (self._slots + 1)
        label = painter.fontMetrics().elidedText(point.label, Qt.TextElideMode.ElideRight, int(width) - 6)
        painter.setPen(QColor(self._theme.text if point.kept else self._theme.muted_text))
        box = QRectF(centre.x() - width / 2, self.height() - BOTTOM + 4, width, BOTTOM - 6)
        painter.drawText(box, int(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter), label)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() is QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self.tip_at(event.pos().x()), self)
            return True
        return super().event(event)

    def tip_at(self, x: float) -> str:
        """What the point at a place says, "" where there is none."""
        area = self._area()
        index = int((x - area.left()) / (area.width() / (self._slots + 1)))
        return self._points[index].tip if 0 <= index < len(self._points) else ""


def _nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is no less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least)
