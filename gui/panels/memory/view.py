"""Paints a memory plan: occupancy over time, and below it the map of addresses on the same axis of time."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QWidget

from gui.canvas.batch import draw_lines, draw_rects
from gui.panels import formats
from gui.panels.memory.model import KINDS, Level, Memory, MemoryModel
from gui.panels.time_view import FONT_PX, GUTTER, SharedTime, TimeView, rects
from gui.theme import text_on

OCCUPANCY_SHARE = 0.36
LEAST_HEIGHT = 190
NOTHING_HERE = {
    Memory.SRAM: "Nothing stays on the chip: every value goes through DDR.",
    Memory.DRAM: "No value lies in DDR.",
}
LABEL_FROM_PX = 46.0
LABEL_HEIGHT_PX = 13.0
SLACK_PX = 2.0
_GAP = 9.0
_TOP = 4.0
_NOTHING = -1
_STYLES = {
    "capacity": Qt.PenStyle.SolidLine,
    "peak": Qt.PenStyle.DashLine,
    "bound": Qt.PenStyle.DotLine,
}


class MemoryView(TimeView):
    """Occupancy and address map of one memory. Items are blocks by index."""

    def __init__(self, time: SharedTime, parent: QWidget | None = None) -> None:
        super().__init__(time, parent)
        self.model: MemoryModel | None = None
        self._selected = np.zeros(0, dtype=np.int64)
        self.setAccessibleName("Memory")
        self.setMinimumHeight(LEAST_HEIGHT)

    def show_model(self, model: MemoryModel, nodes: list[str]) -> None:
        """Show another plan, or another memory of it, with the blocks of ``nodes`` marked."""
        self.model = model
        self._selected = model.blocks_of(nodes)
        self.time.set_total(model.total_us)
        self.redraw()

    def set_selected(self, nodes: list[str]) -> None:
        """Mark the blocks of nodes."""
        if self.model is not None:
            self._selected = self.model.blocks_of(nodes)
            self.redraw()

    def fit_selected(self) -> None:
        """Show the stretch in which the marked blocks live; the whole frame where there are none."""
        if self.model is None or not len(self._selected):
            self.fit()
            return
        first, last = self.model.start[self._selected].min(), self.model.end[self._selected].max()
        self.time.show_span(self.time.span.around(float(first), float(last)))

    def block_centre(self, block: int) -> QPointF:
        """The middle of a block on the map, in pixels of the widget."""
        assert self.model is not None
        middle = (float(self.model.start[block]) + float(self.model.end[block])) / 2
        address = float(self.model.address[block] + self.model.size[block] / 2)
        return QPointF(self.x_of(middle), self._y_of(address, self._map))

    # Where things are

    @property
    def _occupancy(self) -> QRectF:
        area = self.area
        return QRectF(area.left(), _TOP, area.width(), area.height() * OCCUPANCY_SHARE)

    @property
    def _map(self) -> QRectF:
        area, top = self.area, float(self._occupancy.bottom()) + _GAP
        return QRectF(area.left(), top, area.width(), max(float(area.height()) - top, 1.0))

    def _y_of(self, size_bytes: float, place: QRectF) -> float:
        top = self.model.top_bytes if self.model is not None else 1.0
        return float(place.bottom()) - size_bytes / top * float(place.height())

    def item_at(self, position: QPointF) -> int:
        place = self._map
        if self.model is None or not place.contains(position):
            return _NOTHING
        address = (float(place.bottom()) - float(position.y())) / float(place.height()) * self.model.top_bytes
        slack = SLACK_PX * self.us_per_pixel
        block = self.model.block_at(self.time_at(float(position.x())), address, slack)
        return _NOTHING if block is None else block

    def card(self, item: int) -> str:
        return self.model.card(item) if self.model is not None else ""

    def read_out(self, position: QPointF) -> str:
        if self.model is not None and self._occupancy.contains(position):
            return self.model.occupancy_card(self.time_at(float(position.x())))
        return super().read_out(position)

    # Painting

    def paint_gutter(self, painter: QPainter, area: QRectF) -> None:
        if self.model is None:
            return
        for title, place in (("Occupied", self._occupancy), ("Addresses", self._map)):
            top = float(place.bottom()) - LABEL_HEIGHT_PX - 3
            self.paint_name(painter, QRectF(0, top, area.width(), LABEL_HEIGHT_PX + 3), title, "0 B")
            self._paint_levels(painter, self._levels(place), place)

    def _levels(self, place: QRectF) -> tuple[Level, ...]:
        """What is marked: how much must be occupied at least says nothing about addresses."""
        levels = self.model.levels if self.model is not None else ()
        return tuple(level for level in levels if level.title != "bound" or place == self._occupancy)

    def _paint_levels(self, painter: QPainter, levels: tuple[Level, ...], place: QRectF) -> None:
        """The names of the marked heights, pushed apart where they would overlap."""
        last = float(place.top()) - LABEL_HEIGHT_PX
        lowest = float(place.bottom()) - 2 * LABEL_HEIGHT_PX - 4
        for level in sorted(levels, key=lambda level: -level.size_bytes):
            top = max(self._y_of(level.size_bytes, place) - LABEL_HEIGHT_PX / 2, last + LABEL_HEIGHT_PX, 0.0)
            if top > lowest:
                break
            note = formats.size(level.size_bytes)
            self.paint_name(painter, QRectF(0, top, GUTTER, LABEL_HEIGHT_PX), level.title, note, is_muted=True)
            last = top

    def paint_picture(self, painter: QPainter, area: QRectF) -> None:
        if self.model is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        self._paint_occupancy(painter, self.model)
        self._paint_blocks(painter, self.model)
        if not self.model.blocks:
            painter.setPen(QColor(self.theme.muted_text))
            painter.drawText(self._map, Qt.AlignmentFlag.AlignCenter, NOTHING_HERE[self.model.memory])
        for place in (self._occupancy, self._map):
            self._paint_lines(painter, place)
            painter.setPen(QColor(self.theme.outline))
            painter.drawLine(place.bottomLeft(), place.bottomRight())

    def _paint_occupancy(self, painter: QPainter, model: MemoryModel) -> None:
        place = self._occupancy
        pixels = round(place.width())
        most = model.highest(self.time.span, pixels)
        height = np.round(most / model.top_bytes * float(place.height()))
        x = np.arange(pixels) + float(place.left())
        bottom = float(place.bottom())
        fill, line = QColor(KINDS["value"].colour), QColor(self.theme.text)
        fill.setAlphaF(0.45)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        draw_rects(painter, rects(x, bottom - height, 1.0, height)[height > 0])
        painter.setPen(line)
        tops = bottom - height
        before = np.concatenate([tops[:1], tops[:-1]])
        draw_lines(painter, rects(x + 0.5, np.minimum(before, tops) + 0.5, x + 0.5, np.maximum(before, tops) + 0.5))

    def _paint_blocks(self, painter: QPainter, model: MemoryModel) -> None:
        place = self._map
        left = np.round(self.x_of(0.0) + model.start / self.us_per_pixel)
        right = np.round(self.x_of(0.0) + model.end / self.us_per_pixel)
        scale = float(place.height()) / model.top_bytes
        top = np.round(float(place.bottom()) - (model.address + model.size) * scale)
        bottom = np.round(float(place.bottom()) - model.address * scale)
        width, height = np.maximum(right - left, 1.0), np.maximum(bottom - top, 1.0)
        width, height = np.where(width > 4, width - 1, width), np.where(height > 4, height - 1, height)
        inside = (right >= place.left()) & (left <= place.right())
        painter.setPen(Qt.PenStyle.NoPen)
        for number, kind in enumerate(KINDS.values()):
            found = np.flatnonzero(inside & (model.kind == number))
            painter.setBrush(QColor(kind.colour))
            draw_rects(painter, rects(left[found], top[found], width[found], height[found]))
        self._paint_names(painter, model, (left, top, width, height))
        self._paint_marks(painter, (left, top, width, height))

    def _paint_names(self, painter: QPainter, model: MemoryModel, where: tuple[np.ndarray, ...]) -> None:
        left, top, width, height = where
        area = self.area
        first = np.maximum(left, float(area.left()))
        room = np.minimum(left + width, float(area.right())) - first
        kinds = tuple(KINDS.values())
        for block in np.flatnonzero((room >= LABEL_FROM_PX) & (height >= LABEL_HEIGHT_PX)).tolist():
            painter.setPen(QColor(text_on(kinds[int(model.kind[block])].colour)))
            shown = model.blocks[block]
            place = (float(first[block]) + 4, float(top[block]), float(room[block]) - 8, float(height[block]))
            name = (shown.value or shown.node).strip("/")
            self.texts.draw(painter, name, place, FONT_PX, elide=Qt.TextElideMode.ElideLeft)

    def _paint_marks(self, painter: QPainter, where: tuple[np.ndarray, ...]) -> None:
        left, top, width, height = (column[self._selected] for column in where)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(self.theme.marker), 2.0))
        draw_rects(painter, rects(left, top, np.maximum(width - 1, 2.0), np.maximum(height - 1, 2.0)))

    def _paint_lines(self, painter: QPainter, place: QRectF) -> None:
        """Capacity, peak and lower bound across the time."""
        for level in self._levels(place):
            colour = self.theme.warning if level.title == "capacity" else self.theme.text
            painter.setPen(QPen(QColor(colour), 1.0, _STYLES[level.title]))
            y = round(self._y_of(level.size_bytes, place)) + 0.5
            painter.drawLine(QPointF(place.left(), y), QPointF(place.right(), y))
