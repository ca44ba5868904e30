"""Paints the timeline: kernels, the critical path by engine, and a lane for each engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QWidget

from gui.canvas.batch import draw_lines, draw_rects
from gui.panels.bounds import bound_of
from gui.panels.style import mixed
from gui.panels.time_view import FONT_PX, SharedTime, TimeView, rects
from gui.panels.timeline.model import Floats, Lane, TimelineModel
from gui.theme import text_on

HEADER_ROWS = 2
KERNELS_ROW, CRITICAL_ROW = range(HEADER_ROWS)
LEAST_ROW_HEIGHT = 17.0
MOST_ROW_HEIGHT = 34.0
LEAST_HEIGHT = 190
LABEL_FROM_PX = 40.0
ASIDE_FADE = 0.62
"""How much of the background is in what is not on the critical path."""
IDLE_FADE = 0.55
SLACK_PX = 3.0
NAMES_HINT = "zoom in for names: wheel, or Ctrl+drag"
MOST_BANDS = 40
_GAP = 3.0
_TILE_GAP_FROM_PX = 5.0
_MARK = 3.0
_NOTHING = -1


@dataclass(frozen=True)
class _Row:
    """Where a row is."""

    top: float
    height: float


class TimelineView(TimeView):
    """The jobs of a frame. Items are jobs by index."""

    def __init__(self, time: SharedTime, parent: QWidget | None = None) -> None:
        super().__init__(time, parent)
        self.model: TimelineModel | None = None
        self._selected: tuple[int, ...] = ()
        self.setAccessibleName("Timeline")
        self.setMinimumHeight(LEAST_HEIGHT)

    def show_model(self, model: TimelineModel, selected: tuple[int, ...]) -> None:
        """Show another frame; ``selected`` are kernels."""
        self.model, self._selected = model, selected
        self.time.set_total(model.total_us)
        self.redraw()

    def set_selected(self, kernels: tuple[int, ...]) -> None:
        """Mark the jobs of kernels."""
        if kernels != self._selected:
            self._selected = kernels
            self.redraw()

    def fit_selected(self) -> None:
        """Show the stretch in which the selected kernels run; the whole frame where none does."""
        extent = self.model.extent(self._selected) if self.model is not None else None
        self.time.show_span(self.time.span.around(*extent)) if extent is not None else self.fit()

    def job_centre(self, job: int) -> QPointF:
        """The middle of a job's bar, in pixels of the widget."""
        assert self.model is not None
        row = self._row(HEADER_ROWS + self._lanes.index(int(self.model.engine[job])))
        middle = (float(self.model.start[job]) + float(self.model.end[job])) / 2
        return QPointF(self.x_of(middle), row.top + row.height / 2)

    # Where things are

    @property
    def _lanes(self) -> list[int]:
        """The lanes that show: those of engines without a job only where there is room for all."""
        lanes = self.model.lanes if self.model is not None else ()
        has_room = float(self.area.height()) >= (HEADER_ROWS + len(lanes)) * LEAST_ROW_HEIGHT
        return [number for number, lane in enumerate(lanes) if has_room or len(lane.jobs)]

    def _row(self, index: int) -> _Row:
        height = min(float(self.area.height()) / (HEADER_ROWS + len(self._lanes)), MOST_ROW_HEIGHT)
        return _Row(index * height + _GAP / 2, height - _GAP)

    def _row_at(self, y: float) -> int:
        row = self._row(0)
        return int(y // (row.height + _GAP))

    def item_at(self, position: QPointF) -> int:
        model = self.model
        if model is None or not self.area.contains(position):
            return _NOTHING
        moment, row = self.time_at(float(position.x())), self._row_at(float(position.y()))
        lanes = self._lanes
        if row < HEADER_ROWS:
            job = model.critical_at(moment)
        elif row < HEADER_ROWS + len(lanes):
            job = model.job_at(lanes[row - HEADER_ROWS], moment, SLACK_PX * self.us_per_pixel)
        else:
            job = None
        return _NOTHING if job is None else job

    def card(self, item: int) -> str:
        return self.model.card(item) if self.model is not None else ""

    # Painting

    def paint_gutter(self, painter: QPainter, area: QRectF) -> None:
        if self.model is None:
            return
        names = [("Kernels", "", True), ("Critical path", "", False)]
        lanes = [self.model.lanes[number] for number in self._lanes]
        names += [(lane.title, _share(lane), not len(lane.jobs)) for lane in lanes]
        for index, (title, note, is_muted) in enumerate(names):
            row = self._row(index)
            self.paint_name(painter, QRectF(0, row.top, area.width(), row.height), title, note, is_muted)

    def paint_picture(self, painter: QPainter, area: QRectF) -> None:
        model = self.model
        if model is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        self._paint_bands(painter, model, area)
        self._paint_kernels(painter, model, area)
        self._paint_critical(painter, model, area)
        for index, lane in enumerate(self._lanes):
            self._paint_lane(painter, model, model.lanes[lane], self._row(HEADER_ROWS + index), area)

    def _paint_bands(self, painter: QPainter, model: TimelineModel, area: QRectF) -> None:
        """Behind all lanes, from when to when each selected kernel runs."""
        tint = QColor(self.theme.selection)
        tint.setAlphaF(0.16)
        for kernel in self._selected[:MOST_BANDS]:
            extent = model.extent((kernel,))
            if extent is not None:
                left, right = self.x_of(extent[0]), self.x_of(extent[1])
                painter.fillRect(QRectF(left, area.top(), max(right - left, 1.0), area.height()), tint)

    def _paint_kernels(self, painter: QPainter, model: TimelineModel, area: QRectF) -> None:
        """The critical path by kernel: a stretch each, named where there is room."""
        row, span, stretches = self._row(KERNELS_ROW), self.time.span, model.stretches
        inside = (stretches.end >= span.first_us) & (stretches.start <= span.last_us)
        kernel = stretches.kernel[inside]
        left = np.maximum(self.x_of(0.0) + stretches.start[inside] / self.us_per_pixel, area.left())
        right = np.minimum(self.x_of(0.0) + stretches.end[inside] / self.us_per_pixel, area.right())
        chosen = np.isin(kernel, self._selected)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.theme.marker))
        width = np.maximum(right - left, 2.0)[chosen]
        draw_rects(painter, rects(left[chosen], row.top, width, row.height))
        painter.setPen(QColor(self.theme.outline))
        edges = np.unique(np.round(left[right - left >= 2 * _GAP])) + 0.5
        draw_lines(painter, rects(edges, row.top, edges, row.top + row.height))
        named = np.flatnonzero((right - left >= LABEL_FROM_PX) & (kernel >= 0)).tolist()
        if not named and len(kernel):
            painter.setPen(QColor(self.theme.muted_text))
            place = (float(area.left()) + 4, row.top, float(area.width()) - 8, row.height)
            self.texts.draw(painter, NAMES_HINT, place, FONT_PX)
        for index in named:
            painter.setPen(QColor(self.theme.marker_text if chosen[index] else self.theme.text))
            place = (float(left[index]) + 4, row.top, float(right[index] - left[index]) - 8, row.height)
            title = self._title(model, int(kernel[index]), place[2])
            self.texts.draw(painter, title, place, FONT_PX, elide=Qt.TextElideMode.ElideRight)

    def _paint_critical(self, painter: QPainter, model: TimelineModel, area: QRectF) -> None:
        """Of each pixel of time, what share each engine has on the critical path."""
        row, pixels = self._row(CRITICAL_ROW), round(area.width())
        shares = model.critical_by_lane(self.time.span, pixels)
        base = np.zeros(pixels)
        painter.setPen(Qt.PenStyle.NoPen)
        for lane, share in zip(model.lanes, shares, strict=True):
            found = np.flatnonzero(share > 0)
            height = share[found] * row.height
            top = row.top + row.height - base[found] - height
            painter.setBrush(QColor(_colour(lane.engine, self.theme.muted_text)))
            draw_rects(painter, rects(found + area.left(), top, 1.0, height))
            base += share * row.height

    def _paint_lane(self, painter: QPainter, model: TimelineModel, lane: Lane, row: _Row, area: QRectF) -> None:
        line = row.top + row.height + 1
        painter.setPen(QColor(mixed(self.theme.outline, self.theme.panel, IDLE_FADE)))
        painter.drawLine(QPointF(area.left(), line), QPointF(area.right(), line))
        full = _colour(lane.engine, self.theme.muted_text)
        aside = mixed(full, self.theme.panel, ASIDE_FADE)
        critical = model.is_critical[lane.jobs]
        for jobs, fill in ((lane.jobs[~critical], aside), (lane.jobs[critical], full)):
            shown = model.shown(jobs, self.time.span, round(area.width()))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(fill))
            self._paint_columns(painter, shown.columns, row, area)
            self._paint_bars(painter, shown.bars, row, area)
            self._paint_bar_names(painter, model, shown.jobs, shown.bars, (row, area, fill))
        self._paint_marks(painter, model, lane, row, area)

    @staticmethod
    def _paint_columns(painter: QPainter, columns: Floats, row: _Row, area: QRectF) -> None:
        """What is too narrow for bars: as high as the share of the pixel's time that it takes."""
        found = np.flatnonzero(columns > 0)
        height = np.maximum(columns[found] * row.height, 1.0)
        top = row.top + row.height - height
        draw_rects(painter, rects(found + area.left(), top, 1.0, height))

    @staticmethod
    def _paint_bars(painter: QPainter, bars: Floats, row: _Row, area: QRectF) -> None:
        """Bars a pixel apart, so that tiles can be told apart."""
        left = np.round(bars[:, 0]) + area.left()
        width = np.maximum(np.round(bars[:, 1]) + area.left() - left, 1.0)
        width = np.where(width >= _TILE_GAP_FROM_PX, width - 1.0, width)
        draw_rects(painter, rects(left, row.top, width, row.height))

    def _paint_bar_names(
        self,
        painter: QPainter,
        model: TimelineModel,
        jobs: np.ndarray,
        bars: Floats,
        where: tuple[_Row, QRectF, str],
    ) -> None:
        row, area, fill = where
        painter.setPen(QColor(text_on(fill)))
        for index in np.flatnonzero(bars[:, 1] - bars[:, 0] >= LABEL_FROM_PX).tolist():
            job = int(jobs[index])
            kernel = int(model.kernel[job])
            if kernel < 0:
                continue
            left = max(float(bars[index, 0]), 0.0) + area.left()
            right = min(float(bars[index, 1]), float(area.width())) + area.left()
            tiles = model.kernels[kernel].tiles
            tile = f"{model.timeline.tile[job] + 1}/{tiles} " if tiles > 1 else ""
            place = (left + 4, row.top, right - left - 8, row.height)
            text = tile + self._title(model, kernel, place[2] - self.texts.width(tile, FONT_PX))
            self.texts.draw(painter, text, place, FONT_PX, elide=Qt.TextElideMode.ElideRight)

    def _title(self, model: TimelineModel, kernel: int, width: float) -> str:
        """The long title where it fits."""
        title = model.long_title(kernel)
        return title if self.texts.width(title, FONT_PX) <= width else model.title(kernel)

    def _paint_marks(self, painter: QPainter, model: TimelineModel, lane: Lane, row: _Row, area: QRectF) -> None:
        """The selected kernels' jobs: outlined where wide enough, and underlined at any magnification."""
        if not self._selected:
            return
        jobs = lane.jobs[np.isin(model.kernel[lane.jobs], self._selected)]
        left = self.x_of(0.0) + model.start[jobs] / self.us_per_pixel
        right = self.x_of(0.0) + model.end[jobs] / self.us_per_pixel
        inside = (right >= area.left()) & (left <= area.right())
        left, right = np.round(left[inside]), np.round(right[inside])
        width = np.maximum(right - left, 2.0)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.theme.marker))
        draw_rects(painter, rects(left, row.top + row.height - _MARK, width, _MARK))
        wide = width > 2 * _TILE_GAP_FROM_PX
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(self.theme.marker), 2.0))
        draw_rects(painter, rects(left + 1, row.top + 1, width - 3, row.height - 2)[wide])


def _colour(engine: str, otherwise: str) -> str:
    bound = bound_of(engine)
    return bound.colour if bound is not None else otherwise


def _share(lane: Lane) -> str:
    if not len(lane.jobs):
        return "idle"
    return "< 1 %" if lane.share < 0.01 else f"{100 * lane.share:.0f} %"
