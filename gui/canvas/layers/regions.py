"""Fusion regions: a tinted hull behind the boxes of each, and a tab with its name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPen

from gui.canvas.layers.context import PaintContext, colour
from gui.canvas.model import CanvasModel

_MARGIN = 9.0
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
            for position, part in enumerate(_parts(model.layout.boxes, model.boxes_of(region.nodes)))
        ]

    def paint(self, context: PaintContext) -> None:
        """The hulls; what they do not hold is never inside one."""
        painter = context.painter
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        for hull, place in self._shown(context):
            tint = _tint(context, hull)
            style = Qt.PenStyle.SolidLine if hull.is_legal else Qt.PenStyle.DashLine
            painter.setPen(QPen(colour(tint), 2.0, style))
            painter.setBrush(colour(tint, 0.16))
            radius = min(_RADIUS, max(3.0, _RADIUS * context.camera.zoom))
            painter.drawRoundedRect(place, radius, radius)

    def paint_tabs(self, context: PaintContext) -> None:
        """The names, on the upper edge of each region's largest hull."""
        if context.camera.zoom < _TABS_FROM:
            return
        painter = context.painter
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        least, most = _TAB_PIXELS
        pixels = min(max(least, 12.0 * context.camera.zoom), most)
        height = context.texts.face(pixels, bold=True).height + 1.0
        for hull, place in self._shown(context):
            if not hull.is_named:
                continue
            text = hull.name if hull.is_legal else f"{hull.name}: not in effect"
            width = context.texts.width(text, pixels, bold=True) + 10.0
            tab = QRectF(place.x(), place.y() - height, width, height)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour(_tint(context, hull)))
            painter.drawRoundedRect(tab, 3.0, 3.0)
            painter.setPen(colour(context.theme.canvas))
            room = (tab.x(), tab.y(), tab.width(), tab.height())
            context.texts.draw(painter, text, room, pixels, True, 0.5)

    def _shown(self, context: PaintContext) -> list[tuple[Hull, QRectF]]:
        if not self.hulls:
            return []
        found, shown = context.visible(np.array([hull.rectangle for hull in self.hulls]), margin=24.0)
        places = [QRectF(*place) for place in shown.tolist()]
        return [(self.hulls[index], place) for index, place in zip(found.tolist(), places, strict=True)]


def _tint(context: PaintContext, hull: Hull) -> str:
    return context.theme.region if hull.is_legal else context.theme.warning


def _parts(boxes: NDArray[np.float64], members: NDArray[np.int64]) -> list[tuple[float, float, float, float]]:
    """Rectangles around the members, as few as can be without touching any other box; the largest first."""
    others = np.delete(boxes, members, axis=0)
    parts: list[NDArray[np.float64]] = []
    for box in boxes[members]:
        corners = np.concatenate([box[:2], box[:2] + box[2:]])
        parts.append(corners)
    merged = True
    while merged:
        merged = _merge_two(parts, others)
    grown = [part + np.array([-_MARGIN, -_MARGIN, _MARGIN, _MARGIN]) for part in parts]
    grown.sort(key=lambda part: -float(np.prod(part[2:] - part[:2])))
    return [(float(a), float(b), float(c - a), float(d - b)) for a, b, c, d in grown]


def _merge_two(parts: list[NDArray[np.float64]], others: NDArray[np.float64]) -> bool:
    """Merge the first two parts whose common rectangle is free of other boxes; whether there were any."""
    for i, one in enumerate(parts):
        for j in range(i + 1, len(parts)):
            low, high = np.minimum(one[:2], parts[j][:2]), np.maximum(one[2:], parts[j][2:])
            if not _touches(low, high, others):
                parts[i] = np.concatenate([low, high])
                del parts[j]
                return True
    return False


def _touches(low: NDArray[np.float64], high: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    inside = (others[:, :2] < high).all(axis=1) & (others[:, :2] + others[:, 2:] > low).all(axis=1)
    return bool(inside.any())
