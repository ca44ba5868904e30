"""A region that might be: its hull in the colour of the verdict, what stands in its way, and what could be instead."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen, QPolygonF

from gui.canvas.batch import draw_rects
from gui.canvas.draft import RegionDraft
from gui.canvas.hulls import Rectangle, hulls
from gui.canvas.layers.context import PaintContext, colour
from gui.canvas.layers.regions import paint_hull, paint_tab, tab_place
from gui.canvas.model import CanvasModel

_CROSS = 13.0
"""Of the mark on an offending box, in pixels: as large at any zoom, as is the tab that is there to be clicked."""

_TAB_PIXELS = 12.0


class DraftLayer:
    """One draft in one layout."""

    def __init__(self, model: CanvasModel, draft: RegionDraft) -> None:
        self._draft = draft
        boxes = model.layout.boxes
        self._offending = boxes[model.boxes_of(draft.offending)]
        self._hulls = hulls(boxes, model.boxes_of(draft.nodes))
        has_nearest = not draft.is_legal and bool(draft.nearest)
        self._nearest = hulls(boxes, model.boxes_of(draft.nearest)) if has_nearest else []

    def paint(self, context: PaintContext) -> None:
        """The hulls, behind the boxes."""
        context.painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        theme, styles = context.theme, Qt.PenStyle
        tint, style = (theme.region, styles.SolidLine) if self._draft.is_legal else (theme.warning, styles.DotLine)
        for place in _places(context, self._hulls):
            paint_hull(context, place, tint, style)
        for place in _places(context, self._nearest):
            paint_hull(context, place, theme.region, styles.DashLine)

    def paint_marks(self, context: PaintContext) -> None:
        """A cross on each box that breaks the rule, and the tab of the nearest legal region."""
        painter = context.painter
        _, shown = context.visible(self._offending, margin=_CROSS)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        pen = QPen(colour(context.theme.warning), 3.0)
        pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        painter.setPen(pen)
        draw_rects(painter, np.round(shown + np.array([-3.0, -3.0, 6.0, 6.0])))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        for x, y, width, _ in shown.tolist():
            _paint_cross(context, QPointF(x + width + 2.0, y - 2.0))
        text, place = self._tab(context)
        if text:
            paint_tab(context, place, text, context.theme.region, _TAB_PIXELS)

    def is_tab_at(self, context: PaintContext, x: float, y: float) -> bool:
        """Whether the nearest legal region's tab is at a pixel."""
        return self._tab(context)[1].contains(x, y)

    def _tab(self, context: PaintContext) -> tuple[str, QRectF]:
        if not self._nearest:
            return "", QRectF()
        text = f"fuse these {len(self._draft.nearest)} instead  ⏎"
        window = QRectF(0.0, 0.0, context.width, context.height)
        places = _places(context, self._nearest)
        hull = next((place for place in places if place.intersects(window)), places[0])
        tab = tab_place(context, hull, text, _TAB_PIXELS)
        if hull.intersects(window):
            # In sight as long as the hull is: it is there to be clicked.
            tab.moveLeft(min(max(tab.left(), 0.0), max(context.width - tab.width(), 0.0)))
            tab.moveTop(min(max(tab.top(), 0.0), context.height - tab.height()))
        return text, tab


def paint_lasso(context: PaintContext, points: list[tuple[float, float]]) -> None:
    """The line being drawn (points of the scene), closed by a straight one."""
    line = QPolygonF([QPointF(*context.camera.point(x, y)) for x, y in points])
    painter = context.painter
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
    painter.setPen(QPen(colour(context.theme.selection), 1.5, Qt.PenStyle.DashLine))
    painter.setBrush(colour(context.theme.selection, 0.12))
    painter.drawPolygon(line)


def paint_touched(context: PaintContext, boxes: list[int]) -> None:
    """Outline the boxes that would be selected, were the button released now."""
    _, shown = context.visible(context.model.layout.boxes[boxes], margin=4.0)
    context.painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    context.painter.setPen(QPen(colour(context.theme.selection), 2.0))
    context.painter.setBrush(Qt.BrushStyle.NoBrush)
    draw_rects(context.painter, np.round(shown + np.array([-1.0, -1.0, 2.0, 2.0])))


def _places(context: PaintContext, found: list[Rectangle]) -> list[QRectF]:
    shown = context.camera.rectangles(np.array(found).reshape(-1, 4))
    return [QRectF(*place) for place in shown.tolist()]


def _paint_cross(context: PaintContext, middle: QPointF) -> None:
    painter, reach = context.painter, _CROSS / 2
    painter.setPen(QPen(colour(context.theme.canvas), 1.5))
    painter.setBrush(colour(context.theme.warning))
    painter.drawEllipse(middle, reach, reach)
    painter.setPen(QPen(colour(context.theme.canvas), 2.0))
    arm = reach * 0.45
    for sign in (1.0, -1.0):
        painter.drawLine(middle + QPointF(-arm, -arm * sign), middle + QPointF(arm, arm * sign))
