"""What lies over the boxes: selection, hover, the worst nodes' numbers, the flash of a revealed node, rubber bands."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen

from gui.canvas.batch import draw_rects
from gui.canvas.layers.boxes import NEAR_FROM
from gui.canvas.layers.context import PaintContext, colour

_MARK = 17.0
_MARK_NEAR = 20.0


def paint_selection(context: PaintContext) -> None:
    """Outline the selected boxes; dashed where only part of a closed group is selected."""
    whole, part = context.model.selected_boxes()
    painter = context.painter
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    for boxes, style in ((whole, Qt.PenStyle.SolidLine), (part, Qt.PenStyle.DashLine)):
        _, shown = context.visible(context.model.layout.boxes[boxes], margin=8.0)
        gap = 2.0 + 2.0 * min(context.camera.zoom, 1.5)
        rim = np.array([-gap, -gap, 2 * gap, 2 * gap])
        halo = QPen(colour(context.theme.canvas, 0.9), 5.0)
        halo.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        painter.setPen(halo)
        draw_rects(painter, np.round(shown + rim))
        pen = QPen(colour(context.theme.selection), 3.0, style)
        pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        painter.setPen(pen)
        draw_rects(painter, np.round(shown + rim))


def paint_hover(context: PaintContext, rectangle: tuple[float, float, float, float]) -> None:
    """Outline what is under the pointer."""
    shown = context.camera.rectangles(np.array([rectangle]))
    pen = QPen(colour(context.theme.hover), 1.5)
    pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
    context.painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    context.painter.setPen(pen)
    context.painter.setBrush(Qt.BrushStyle.NoBrush)
    draw_rects(context.painter, np.round(shown + np.array([-1.0, -1.0, 2.0, 2.0])))


def paint_worst(context: PaintContext) -> None:
    """Number the worst nodes 1, 2, 3 …, as large at any zoom, so that no view hides them."""
    if context.model.scale is None:
        return
    painter = context.painter
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
    ranks: dict[int, list[str]] = {}
    for number, (box, _) in enumerate(context.model.heat().worst, start=1):
        ranks.setdefault(box, []).append(str(number))
    for box, numbers in reversed(ranks.items()):
        shown = context.camera.rectangles(context.model.layout.boxes[box : box + 1])[0]
        x, y, width, height = shown.tolist()
        text = numbers[0] if len(numbers) == 1 else f"{numbers[0]}+"
        if width <= 2.5 * _MARK:
            middle = QPointF(x + width / 2, y + height / 2)
        else:
            middle = QPointF(x - 5.0, y if context.camera.zoom >= NEAR_FROM else y + height / 2)
        _paint_mark(context, middle, text)


def _paint_mark(context: PaintContext, middle: QPointF, text: str) -> None:
    painter, theme = context.painter, context.theme
    size = _MARK if len(text) == 1 else _MARK_NEAR
    place = QRectF(middle.x() - size / 2, middle.y() - _MARK / 2, size, _MARK)
    painter.setPen(QPen(colour(theme.canvas), 2.0))
    painter.setBrush(colour(theme.marker))
    painter.drawRoundedRect(place, _MARK / 2, _MARK / 2)
    painter.setPen(colour(theme.marker_text))
    context.texts.draw(painter, text, (place.x(), place.y(), place.width(), place.height()), 11.0, True, 0.5)


def paint_flash(context: PaintContext, rectangle: tuple[float, float, float, float], strength: float) -> None:
    """A ring around a node just revealed; `strength` falls from 1 to 0 while the ring grows."""
    shown = context.camera.rectangles(np.array([rectangle]))[0]
    x, y, width, height = shown.tolist()
    grow = 6.0 + 18.0 * (1.0 - strength)
    context.painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
    context.painter.setPen(QPen(colour(context.theme.marker, strength), 4.0))
    context.painter.setBrush(Qt.BrushStyle.NoBrush)
    context.painter.drawRoundedRect(QRectF(x, y, width, height).adjusted(-grow, -grow, grow, grow), 8, 8)


def paint_band(context: PaintContext, band: QRectF) -> None:
    """The rectangle being dragged, in pixels."""
    context.painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    context.painter.setPen(QPen(colour(context.theme.selection), 1.0, Qt.PenStyle.DashLine))
    context.painter.setBrush(colour(context.theme.selection, 0.12))
    context.painter.drawRect(band)
