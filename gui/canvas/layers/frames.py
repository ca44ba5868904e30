"""Frames of open groups with their titles."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPen

from gui.canvas.batch import draw_rects
from gui.canvas.compound import FRAME_TITLE
from gui.canvas.hierarchy import Group
from gui.canvas.layers.context import PaintContext, colour

_RADIUS = 8.0
_LEAST_TITLE_PIXELS = 9.5
# A title without room is set smaller before it is cut off.
_LEAST_SHRUNK_PIXELS = 8.0
_LEAST_FRAME_PIXELS = 34.0
_LEAST_TITLE_ROOM = 56.0
_MOST_TITLES = 120
# Corners are rounded where one can see it.
_LEAST_RADIUS = 2.0
_COUNTS_FROM = 0.4
# From afar a title shows in full or not at all: there are many, and what is left of them is the same.
_ELIDED_FROM = 0.25


_Place = tuple[float, float, float, float]


def paint_frames(context: PaintContext) -> None:
    """Draw the open groups, outer ones first."""
    model, theme, painter = context.model, context.theme, context.painter
    found, shown = context.visible(model.layout.frames)
    radius = _RADIUS * context.camera.zoom
    fills = (colour(theme.group_fill), colour(theme.group_fill_alternate))
    painter.setPen(QPen(colour(theme.group_outline), 1.0 if radius >= _LEAST_RADIUS else 0.0))
    depths = np.array([model.hierarchy.groups[model.layout.frame_groups[f]].depth for f in found.tolist()])
    for depth in sorted(set(depths.tolist())):
        painter.setBrush(fills[depth % 2])
        level = shown[depths == depth]
        if radius < _LEAST_RADIUS:
            draw_rects(painter, np.round(level))
            continue
        for x, y, width, height in level.tolist():
            painter.drawRoundedRect(QRectF(x, y, width, height), radius, radius)


def paint_frame_titles(context: PaintContext) -> None:
    """Draw the titles, always legible: where they would cover one another, the outer group's stays."""
    painter, theme = context.painter, context.theme
    painter.setRenderHint(painter.RenderHint.Antialiasing, True)
    for frame, x, y, width, height in title_places(context):
        group = context.model.hierarchy.groups[context.model.layout.frame_groups[frame]]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour(theme.group_header))
        painter.drawRoundedRect(QRectF(x, y, width, height), 3, 3)
        painter.setPen(colour(theme.group_header_text))
        text = _title(context, group, width)
        room = (x + 5, y, width - 10, height)
        pixels = context.texts.fitting(text, room[2], _title_pixels(context), _LEAST_SHRUNK_PIXELS, True)
        context.texts.draw(painter, text, room, pixels, True, elide=Qt.TextElideMode.ElideRight)


def _title(context: PaintContext, group: Group, room: float) -> str:
    """The title with the number of operators where there is room for it, in pixels."""
    short = f"▾ {group.title}"
    full = f"{short}  ·  {group.size} {context.model.scene.noun}"
    if context.camera.zoom < _COUNTS_FROM:
        return short
    return full if _title_width(context, full) <= room else short


def _title_width(context: PaintContext, text: str) -> float:
    return context.texts.width(text, _title_pixels(context), bold=True) + 12.0


def _title_pixels(context: PaintContext) -> float:
    return max(_LEAST_TITLE_PIXELS, 12.0 * context.camera.zoom)


def title_places(context: PaintContext) -> list[tuple[int, float, float, float, float]]:
    """Frame, x, y, width, height of each title that shows, in pixels."""
    pixels = _title_pixels(context)
    bar = max(context.texts.face(pixels, bold=True).height + 2, (FRAME_TITLE - 6) * context.camera.zoom)
    inset = 4.0 * context.camera.zoom
    found, shown = context.visible(context.model.layout.frames)
    has_room = (shown[:, 2] >= _LEAST_FRAME_PIXELS) & (shown[:, 3] >= 1.6 * bar)
    taken: list[_Place] = []
    places: list[tuple[int, float, float, float, float]] = []
    for frame, (x, y, width, height) in zip(found[has_room].tolist(), shown[has_room].tolist(), strict=True):
        group = context.model.hierarchy.groups[context.model.layout.frame_groups[frame]]
        # A title scrolled out at the top or the left waits at the window's rim while its frame is in sight.
        left = max(x + inset, 2.0) if x + width > 80 else x + inset
        top = max(y + inset, 2.0) if y + height > 60 else y + inset
        room = (left, top, x + width - inset - left, bar)
        place = _free_place(context, group, room, taken, is_stuck=top > y + inset)
        if place is not None:
            taken.append(place)
            places.append((frame, *place))
        if len(places) >= _MOST_TITLES:
            break
    return places


def _free_place(
    context: PaintContext, group: Group, room: _Place, taken: list[_Place], is_stuck: bool
) -> _Place | None:
    """Where a title fits into its bar: at the left, or, waiting at the rim, right of the titles that wait there."""
    least = _title_width(context, f"▾ {group.title}")
    if context.camera.zoom >= _ELIDED_FROM:
        least = min(_LEAST_TITLE_ROOM, least)
    x, y, width, height = room
    while width >= least:
        used = min(_title_width(context, _title(context, group, width)), width)
        other = next(
            (o for o in taken if o[0] < x + used and x < o[0] + o[2] and o[1] < y + height and y < o[1] + o[3]), None
        )
        if other is None:
            return x, y, used, height
        if not is_stuck:
            return None
        start = other[0] + other[2] + 3.0
        x, width = start, x + width - start
    return None
