"""Fusion regions: a tinted hull behind the boxes of each, and a tab with its name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPen

from gui.canvas.hulls import hulls
from gui.canvas.layers.context import PaintContext, colour
from gui.canvas.model import CanvasModel

_RADIUS = 9.0
_TAB_PIXELS = (9.0, 11.0)
_TABS_FROM = 0.22


@dataclass(frozen=True, eq=False)
class Hull:
    """One part of a region as it shows: x, y, width, height in the scene. The largest part carries the name."""

    name: str
    is_legal: bool
    rectangle: tuple[float, float, float, float]
    is_named: bool


class RegionLayer:
    """The hulls of all regions in one layout."""

    def __init__(self, model: CanvasModel) -> None:
        self.hulls = [
            Hull(region.name, region.is_legal, part, is_named=not position)
            for region in model.regions
            for position, part in enumerate(hulls(model.layout.boxes, model.boxes_of(region.nodes)))
        ]

    def paint(self, context: PaintContext) -> None:
        """The hulls; what they do not hold is never inside one."""
        context.painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        for hull, place in self._shown(context):
            style = Qt.PenStyle.SolidLine if hull.is_legal else Qt.PenStyle.DashLine
            paint_hull(context, place, _tint(context, hull), style)

    def paint_tabs(self, context: PaintContext) -> None:
        """The names, on the upper edge of each region's largest hull."""
        context.painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        for hull, text, place in self._tabs(context):
            paint_tab(context, place, text, _tint(context, hull))

    def tab_at(self, context: PaintContext, x: float, y: float) -> str:
        """Name of the region whose tab is at a pixel; "" for none."""
        return next((hull.name for hull, _, place in self._tabs(context) if place.contains(x, y)), "")

    def _tabs(self, context: PaintContext) -> list[tuple[Hull, str, QRectF]]:
        found: list[tuple[Hull, str, QRectF]] = []
        for hull, place in self._shown(context) if context.camera.zoom >= _TABS_FROM else []:
            if hull.is_named:
                text = hull.name if hull.is_legal else f"{hull.name}: not in effect"
                found.append((hull, text, tab_place(context, place, text)))
        return found

    def _shown(self, context: PaintContext) -> list[tuple[Hull, QRectF]]:
        if not self.hulls:
            return []
        found, shown = context.visible(np.array([hull.rectangle for hull in self.hulls]), margin=24.0)
        places = [QRectF(*place) for place in shown.tolist()]
        return [(self.hulls[index], place) for index, place in zip(found.tolist(), places, strict=True)]


def _tint(context: PaintContext, hull: Hull) -> str:
    return context.theme.region if hull.is_legal else context.theme.warning


def tab_place(context: PaintContext, hull: QRectF, text: str, pixels: float = 0.0) -> QRectF:
    """Where a hull's tab is, in pixels: on its upper edge, at the end, as titles of modules are at the beginning. The
    text's size follows the zoom, unless it is given."""
    pixels = pixels or _tab_pixels(context)
    height = context.texts.face(pixels, bold=True).height + 1.0
    width = context.texts.width(text, pixels, bold=True) + 10.0
    return QRectF(max(hull.x(), hull.right() - width), hull.y() - height, width, height)


def paint_tab(context: PaintContext, place: QRectF, text: str, tint: str, pixels: float = 0.0) -> None:
    """A tab with its text, of the size that its place was made for."""
    painter = context.painter
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour(tint))
    painter.drawRoundedRect(place, 3.0, 3.0)
    painter.setPen(colour(context.theme.canvas))
    room = (place.x(), place.y(), place.width(), place.height())
    context.texts.draw(painter, text, room, pixels or _tab_pixels(context), True, 0.5)


def paint_hull(context: PaintContext, place: QRectF, tint: str, style: Qt.PenStyle) -> None:
    """A hull: tinted, with a rim."""
    painter = context.painter
    painter.setPen(QPen(colour(tint), 2.0, style))
    painter.setBrush(colour(tint, 0.16))
    radius = min(_RADIUS, max(3.0, _RADIUS * context.camera.zoom))
    painter.drawRoundedRect(place, radius, radius)


def _tab_pixels(context: PaintContext) -> float:
    least, most = _TAB_PIXELS
    return min(max(least, 12.0 * context.camera.zoom), most)
