"""Paints the error curve. Imported only when there is one to show: pyqtgraph takes a quarter of a second."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor, QPainterPath
from PySide6.QtWidgets import QGraphicsPathItem, QWidget

from gui.panels.error_curve.model import CurveModel, Series
from gui.panels.plot_view import PlotView
from gui.theme import Theme

BAND_ALPHA = 0.22
POINT_PX = 4.5
CHOSEN_PX = 9.0
TOP_Z = 10.0
LABEL_CHARACTERS = 26
TICK_PX = 90.0


class NodeAxis(pg.AxisItem):
    """An axis of nodes: as many of their names as there is room for."""

    def __init__(self, side: str, view: pg.ViewBox) -> None:
        super().__init__(side, linkView=view)
        self.model: CurveModel | None = None

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        count = len(self.model.nodes) if self.model is not None else 0
        first, last = max(0, int(np.ceil(minVal))), min(count - 1, int(np.floor(maxVal)))
        step = max(1, int(np.ceil((maxVal - minVal) * TICK_PX / max(size, 1.0))))
        return [(float(step), [float(place) for place in range(first, last + 1) if place % step == 0])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [self._text(round(value)) for value in values]

    def _text(self, place: int) -> str:
        assert self.model is not None
        name = self.model.title(place).rsplit("/", 1)[-1]
        return name if len(name) <= LABEL_CHARACTERS else f"{name[: LABEL_CHARACTERS - 1]}…"


class ErrorCurvePlot(PlotView):
    """Decibels over nodes: lines with the band of their interval. ``clicked`` carries the place of a node and whether
    to add it. The wheel zooms along the network alone.
    """

    clicked = Signal(int, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Error along the network", self._node_axis, parent=parent)
        self.model: CurveModel | None = None
        self._selected: list[int] = []
        self.view.setMouseEnabled(x=True, y=False)
        self.axes["left"].setLabel("SQNR dB")
        self.axes["left"].setGrid(40)
        self.bands = (QGraphicsPathItem(), QGraphicsPathItem(), QGraphicsPathItem())
        self.lines = tuple(pg.PlotCurveItem(antialias=True, connect="finite") for _ in self.bands)
        self.points = pg.ScatterPlotItem(pxMode=True, antialias=True, size=POINT_PX)
        self.chosen = pg.ScatterPlotItem(pxMode=True, antialias=True, size=CHOSEN_PX)
        self.here = pg.InfiniteLine(angle=90, movable=False)
        self.here.setZValue(-TOP_Z)
        self.chosen.setZValue(TOP_Z)
        for item in (self.here, *self.bands, *self.lines, self.points, self.chosen):
            self.view.addItem(item, ignoreBounds=True)

    def _node_axis(self, side: str, view: pg.ViewBox) -> NodeAxis:
        self.bottom = NodeAxis(side, view)
        return self.bottom

    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        if self.model is not None:
            self._paint()

    def show_model(self, model: CurveModel, selected: list[int]) -> None:
        """Show other errors; all of them, unless the user looks at a part of the same nodes."""
        are_others = self.model is None or self.model.nodes != model.nodes
        self.model, self.bottom.model, self._selected = model, model, selected
        self._paint()
        if self._is_fitted or are_others:
            self.fit()

    def forget(self) -> None:
        """What comes next is another model, to be shown as a whole."""
        self.model = self.bottom.model = None

    def set_selected(self, places: list[int]) -> None:
        """Mark nodes."""
        if places != self._selected:
            self._selected = places
            self._paint_selection()

    def fit(self) -> None:
        """Show all nodes."""
        if self.model is not None:
            x, y = self.model.view
            self.view.setRange(xRange=x, yRange=y, padding=0)
            self._is_fitted = True

    def place_at(self, position: QPointF) -> int:
        """The node nearest to a position of the widget along the axis; −1 outside of it."""
        scene = self.mapToScene(position.toPoint())
        if self.model is None or not self.view.sceneBoundingRect().contains(scene):
            return -1
        return self.model.nearest(self.view.mapSceneToView(scene).x())

    def position_of(self, place: int) -> QPointF:
        """Where the accumulated error of a node is, in pixels of the widget."""
        assert self.model is not None
        level = float(self.model.accumulated.mean[place])
        return QPointF(self.mapFromScene(self.view.mapViewToScene(QPointF(float(place), level))))

    # Painting

    def _paint(self) -> None:
        assert self.model is not None, "there is nothing to paint before there is a model"
        model, theme = self.model, self._theme
        series = (model.accumulated, model.introduced, model.sensitivity)
        at = np.arange(len(model.nodes), dtype=np.float64)
        for line, band, values, colour in zip(self.lines, self.bands, series, curve_colours(theme), strict=True):
            fill = QColor(colour)
            fill.setAlphaF(BAND_ALPHA)
            band.setPath(_band_path(values))
            band.setBrush(fill)
            band.setPen(Qt.PenStyle.NoPen)
            line.setData(at, values.mean, pen=pg.mkPen(QColor(colour), width=1.8))
        there = ~np.isnan(model.accumulated.mean)
        self.points.setData(
            at[there], model.accumulated.mean[there], brush=QColor(curve_colours(theme)[0]), pen=None
        )
        self._paint_selection()

    def _paint_selection(self) -> None:
        if self.model is None:
            return
        places = [place for place in self._selected if not np.isnan(self.model.accumulated.mean[place])]
        rim = pg.mkPen(QColor(self._theme.marker), width=2.2)
        self.chosen.setData(
            np.array(places, dtype=np.float64), self.model.accumulated.mean[places], brush=None, pen=rim
        )
        self.here.setVisible(bool(self._selected))
        if self._selected:
            self.here.setPos(self._selected[0])
            self.here.setPen(pg.mkPen(QColor(self._theme.marker), width=1.0, style=Qt.PenStyle.DashLine))

    # Gestures

    def _read_out(self, position: QPointF) -> str:
        place = self.place_at(position)
        return self.model.card(place) if self.model is not None and place >= 0 else ""

    def _on_click(self, position: QPointF, adds: bool) -> None:
        self.clicked.emit(self.place_at(position), adds)


def curve_colours(theme: Theme) -> tuple[str, str, str]:
    """Of the accumulated error, the introduced one and the sensitivity."""
    return theme.accent, theme.warning, theme.muted_text


def _band_path(values: Series) -> QPainterPath:
    path = QPainterPath()
    for run in values.runs():
        places = range(run.start, run.stop)
        upper = [QPointF(float(place), float(values.high[place])) for place in places]
        lower = [QPointF(float(place), float(values.low[place])) for place in reversed(places)]
        path.moveTo(upper[0])
        for point in (*upper[1:], *lower):
            path.lineTo(point)
        path.closeSubpath()
    return path
