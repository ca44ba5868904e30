"""Edges, their arrowheads and their tensors' shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QPainter, QPen, QPixmap, QPolygonF

from gui.canvas.batch import draw_lines, draw_stamps, is_raster
from gui.canvas.compound import CompoundLayout
from gui.canvas.layers.context import PaintContext, colour
from gui.canvas.lines import EdgeLines, rounded_lines, straight_lines, touching
from gui.canvas.scene import Decoration, SceneEdge
from gui.theme import Theme, mixed

_ROUNDED_FROM = 0.35
_ARROWS_FROM = 0.22
_LABELS_FROM = 0.75
_MOST_SMOOTHED = 6000
# Where an edge ends further than this from where it began, its end says where it came from.
_FAR = 900.0


@dataclass(frozen=True)
class _FarEnd:
    """The tip of an edge that comes from afar, in scene units, and the side of it that has room for a note."""

    link: int
    x: float
    y: float
    is_left: bool


class EdgeLayer:
    """The edges of one layout, prepared as arrays of lines."""

    def __init__(self, layout: CompoundLayout) -> None:
        self._layout = layout
        self._straight = straight_lines(layout)
        self._rounded: EdgeLines | None = None
        last = layout.starts[1:] - 1
        self._tips = layout.points[last[layout.is_tip]] if len(last) else np.zeros((0, 2))
        self._tensors = self._first_links()
        self._far = self._far_links()

    def _near_lines(self) -> EdgeLines:
        if self._rounded is None:
            self._rounded = rounded_lines(self._layout)
        return self._rounded

    def _first_links(self) -> list[tuple[int, int, int]]:
        """(box, its first link, how many different tensors leave it)."""
        links: dict[int, list[int]] = {}
        for link, box in enumerate(self._layout.link_source.tolist()):
            links.setdefault(box, []).append(link)
        return [(box, found[0], len(found)) for box, found in links.items()]

    def _far_links(self) -> list[_FarEnd]:
        """The ends of edges that go far; into a box, at most the leftmost and the rightmost."""
        layout = self._layout
        if not len(layout.link_source):
            return []
        source, target = layout.boxes[layout.link_source], layout.boxes[layout.link_target]
        distance = np.abs(source[:, :2] - target[:, :2]).sum(axis=1)
        by_box: dict[int, list[tuple[float, float, int]]] = {}
        for link in np.flatnonzero(distance > _FAR).tolist():
            x, y = layout.points[layout.starts[layout.link_stretches[link][-1] + 1] - 1].tolist()
            by_box.setdefault(int(layout.link_target[link]), []).append((x, y, link))
        ends: list[_FarEnd] = []
        for box, tips in by_box.items():
            middle = float(layout.boxes[box, 0] + layout.boxes[box, 2] / 2)
            left, right = min(tips), max(tips)
            ends.append(_FarEnd(left[2], left[0], left[1], is_left=len(tips) > 1 or left[0] < middle - 1))
            if len(tips) > 1:
                ends.append(_FarEnd(right[2], right[0], right[1], is_left=False))
        return ends

    def paint(self, context: PaintContext) -> None:
        """Draw all edges in the window."""
        zoom = context.camera.zoom
        edges = self._near_lines() if zoom >= _ROUNDED_FROM else self._straight
        shown = context.camera.lines(edges.lines)
        shown = shown[touching(shown, 0.0, 0.0, context.width, context.height)]
        painter = context.painter
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, zoom >= _ROUNDED_FROM and len(shown) < _MOST_SMOOTHED)
        painter.setPen(_edge_pen(context.theme, zoom))
        draw_lines(painter, shown)
        if zoom >= _ARROWS_FROM:
            self._paint_tips(context, self._tips, context.theme.edge)
        if zoom >= _LABELS_FROM:
            self._paint_labels(context)

    def paint_highlight(self, context: PaintContext, stretches: list[int], tint: str) -> None:
        """Draw some stretches again, thick and in a colour."""
        if not stretches:
            return
        zoom = context.camera.zoom
        edges = self._near_lines() if zoom >= _ROUNDED_FROM else self._straight
        shown = context.camera.lines(edges.of(stretches))
        shown = shown[touching(shown, 0.0, 0.0, context.width, context.height)]
        pen = QPen(colour(tint), 2.4 if zoom >= _ROUNDED_FROM else 1.8)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        context.painter.setPen(pen)
        draw_lines(context.painter, shown)
        ends = [s for s in stretches if bool(self._layout.is_tip[s])]
        tips = self._layout.points[self._layout.starts[np.array(ends, dtype=np.int64) + 1] - 1]
        self._paint_tips(context, tips, tint)

    def _paint_tips(self, context: PaintContext, tips: NDArray[np.float64], tint: str) -> None:
        if not len(tips):
            return
        zoom = context.camera.zoom
        size = min(max(9.0 * zoom, 4.0), 12.0)
        at = tips * zoom + np.array([context.camera.offset_x, context.camera.offset_y - size / 2])
        inside = (at[:, 0] > -size) & (at[:, 0] < context.width + size)
        inside &= (at[:, 1] > -size) & (at[:, 1] < context.height + size)
        if is_raster(context.painter):
            draw_stamps(context.painter, _arrowhead(size, tint), at[inside])
            return
        context.painter.setPen(Qt.PenStyle.NoPen)
        context.painter.setBrush(colour(tint))
        for x, y in at[inside].tolist():
            context.painter.drawPolygon(_triangle(x - size / 2, y - size / 2, size))

    def _paint_labels(self, context: PaintContext) -> None:
        painter, camera, model = context.painter, context.camera, context.model
        found, shown = context.visible(self._layout.boxes, margin=40.0)
        place = dict(zip(found.tolist(), shown.tolist(), strict=True))
        painter.setPen(colour(context.theme.edge_label))
        pixels = 10.5 * camera.zoom
        height = 16.0 * camera.zoom
        for box, link, count in self._tensors:
            if box not in place:
                continue
            x, y, width, tall = place[box]
            edge = model.scene.edges[int(self._layout.link_edge[link])]
            text = _tensor_text(tensor_label(edge, model.decorations), count, self._layout, link)
            # A closed group has its cards behind it.
            below = y + tall + (8 if self._layout.items[box] < 0 else 4) * camera.zoom
            room = (x + width / 2 + 5 * camera.zoom, below, width / 2 + 36 * camera.zoom, height)
            context.texts.draw(painter, text, room, pixels, elide=Qt.TextElideMode.ElideRight)
        for end in self._far:
            self._paint_origin(context, end)

    def _paint_origin(self, context: PaintContext, end: _FarEnd) -> None:
        """At the end of a far edge: where it comes from."""
        x, y = context.camera.point(end.x, end.y)
        if not (-200 < x < context.width and 0 < y < context.height + 20):
            return
        zoom = context.camera.zoom
        width, height = 110 * zoom, 16 * zoom
        source = context.model.item_id(self._layout.items[int(self._layout.link_source[end.link])])
        context.texts.draw(
            context.painter,
            f"from {_short(source)}",
            (x - width - 5 * zoom if end.is_left else x + 7 * zoom, y - height - zoom, width, height),
            9.5 * zoom,
            align=1.0 if end.is_left else 0.0,
        )


def _edge_pen(theme: Theme, zoom: float) -> QPen:
    """From afar thin and pale: a width of 0 and an opaque colour are what Qt draws fastest."""
    if zoom < _ROUNDED_FROM:
        return QPen(colour(mixed(theme.edge, theme.canvas, 0.7)), 0.0)
    return QPen(colour(theme.edge), 1.0 if zoom < 0.6 else 1.4)


def _short(item_id: str) -> str:
    return "/".join(item_id.split("/")[-2:])


def _tensor_text(label: str, count: int, layout: CompoundLayout, link: int) -> str:
    several = int(layout.link_count[link]) > 1 and layout.items[int(layout.link_source[link])] < 0
    return f"{label} …" if several and count > 1 else label


def tensor_label(edge: SceneEdge, decorations: Mapping[str, Decoration]) -> str:
    """Shape and element type of a tensor: the type as planned, the model's until there is a plan."""
    source = decorations.get(edge.source)
    dtype = source.dtype if source is not None and source.dtype else edge.dtype
    return f"{edge.label} {_SHORT_DTYPES.get(dtype, dtype)}".rstrip()


_SHORT_DTYPES = {"float32": "f32", "float16": "f16", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64"}
"""As badges write them; room between boxes is scarce."""


def _arrowhead(size: float, tint: str) -> QPixmap:
    """A triangle pointing down, drawn at twice the size it is shown at."""
    pixels = max(8, round(size * 2))
    stamp = QPixmap(pixels, pixels)
    stamp.fill(Qt.GlobalColor.transparent)
    with QPainter(stamp) as painter:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour(tint))
        painter.drawPolygon(_triangle(0.0, 0.0, float(pixels)))
    stamp.setDevicePixelRatio(2.0)
    return stamp


def _triangle(x: float, y: float, size: float) -> QPolygonF:
    """Pointing down, in the square at x, y."""
    return QPolygonF([QPointF(x + size * 0.12, y), QPointF(x + size * 0.88, y), QPointF(x + size / 2, y + size)])
