"""The strip of kernels that multiply nothing: side by side, each as wide as its time."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from gui.canvas.layers.context import Texts
from gui.panels.roofline.model import RooflineModel, Segment
from gui.panels.time_view import FONT_PX
from gui.theme import LIGHT, Theme, text_on

HEIGHT = 22
LABEL_FROM_PX = 40.0
MARGIN = 8.0
NOTHING = -1


class TimeStrip(QWidget):
    """``clicked`` carries the kernel (−1: none) and whether to add it; ``hovered`` the kernel and where."""

    clicked = Signal(int, bool)
    hovered = Signal(int, QPointF)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model: RooflineModel | None = None
        self._theme = LIGHT
        self._texts = Texts(LIGHT.font_family)
        self._selected: frozenset[int] = frozenset()
        self.setFixedHeight(HEIGHT + round(MARGIN))
        self.setMouseTracking(True)
        self.setAccessibleName("Kernels without MACs")

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._texts = Texts(theme.font_family)
        self.update()

    def show_model(self, model: RooflineModel, selected: frozenset[int]) -> None:
        self._model, self._selected = model, selected
        self.update()

    def set_selected(self, kernels: frozenset[int]) -> None:
        self._selected = kernels
        self.update()

    def segment_place(self, segment: Segment) -> QRectF:
        """Where a kernel is, in pixels of the widget."""
        width = self.width() - 2 * MARGIN
        return QRectF(MARGIN + segment.first * width, 0, (segment.last - segment.first) * width, HEIGHT)

    def kernel_at(self, position: QPointF) -> int:
        segments = self._model.segments if self._model is not None else ()
        return next((s.kernel for s in segments if self.segment_place(s).contains(position)), NOTHING)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), QColor(self._theme.panel))
            for segment in self._model.segments if self._model is not None else ():
                self._paint_segment(painter, segment)

    def _paint_segment(self, painter: QPainter, segment: Segment) -> None:
        assert self._model is not None, "segments are the model's"
        place = self.segment_place(segment)
        fill = self._model.colour(segment.kernel, self._theme.muted_text)
        gap = 1.0 if place.width() > 3 else 0.0
        painter.fillRect(place.adjusted(0, 0, -gap, 0), QColor(fill))
        if place.width() >= LABEL_FROM_PX:
            painter.setPen(QColor(text_on(fill)))
            room = (float(place.x()) + 4, 0.0, float(place.width()) - 9, float(HEIGHT))
            self._texts.draw(painter, self._model.title(segment.kernel), room, FONT_PX)
        if segment.kernel in self._selected:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(self._theme.marker), 2.0))
            painter.drawRect(place.adjusted(1, 1, -1, -1))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self.hovered.emit(self.kernel_at(event.position()), event.position())

    def leaveEvent(self, event: QEvent) -> None:
        self.hovered.emit(NOTHING, QPointF())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            adds = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier
            self.clicked.emit(self.kernel_at(event.position()), bool(event.modifiers() & adds))
