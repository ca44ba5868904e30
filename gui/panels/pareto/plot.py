"""Paints the front. Imported only when there is one to show: pyqtgraph takes a quarter of a second."""

from __future__ import annotations

from collections.abc import Sequence

import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

from gui.panels.pareto.model import Axis, ParetoModel
from gui.panels.plot_view import PlotView
from gui.theme import Theme

REACH_PX = 12.0
"""How near the pointer must be to a point."""

TRIED_ALPHA = 90
MARGIN = 0.08


class ParetoPlot(PlotView):
    """Cost to the right, accuracy upwards. ``clicked`` carries the number of a point, or −1.

    Discs are on the front, dots were beaten; diamonds are heuristics; the ring is the chosen point, the cross the plan
    that the document has.
    """

    clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Front of plans", parent=parent)
        self.model = ParetoModel()
        self._axes: tuple[Axis, Axis] | None = None
        self._marks: tuple[int | None, int | None] = (None, None)
        self.steps = pg.PlotCurveItem(antialias=True)
        self.tried = pg.ScatterPlotItem(pxMode=True, antialias=True)
        self.front = pg.ScatterPlotItem(pxMode=True, antialias=True)
        self.marks = pg.ScatterPlotItem(pxMode=True, antialias=True)
        for axis in self.axes.values():
            axis.setGrid(40)
        for item in (self.steps, self.tried, self.front, self.marks):
            self.view.addItem(item, ignoreBounds=True)

    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        self._paint()

    def show_model(self, model: ParetoModel, axes: tuple[Axis, Axis], marks: tuple[int | None, int | None]) -> None:
        """Show points on two axes (cost, gain); ``marks`` are the chosen point and that of the present plan."""
        has_new_axes = axes != self._axes
        self.model, self._axes, self._marks = model, axes, marks
        self.axes["bottom"].setLabel(axes[0].title)
        self.axes["left"].setLabel(axes[1].title)
        self._paint()
        if self._is_fitted or has_new_axes:
            self.fit()

    def fit(self) -> None:
        """Show the front and the plans near it: what is far worse would press these into a corner."""
        if self._axes is None:
            return
        shown = list(self.model.places(self.model.front, *self._axes).values())
        heuristics = [number for number, point in self.model.points.items() if point.is_heuristic]
        near = self.model.places(heuristics, *self._axes).values()
        least = min((y for _, y in shown), default=0.0)
        shown += [(x, y) for x, y in near if y >= least - 3.0]
        if shown:
            (left, right), (low, high) = (_spread([place[axis] for place in shown]) for axis in (0, 1))
            self.view.setRange(xRange=(left, right), yRange=(low, high), padding=0)
            self._is_fitted = True

    def point_centre(self, number: int) -> QPointF:
        """The middle of a point, in pixels of the widget."""
        assert self._axes is not None
        x, y = self.model.places([number], *self._axes)[number]
        return QPointF(self.mapFromScene(self.view.mapViewToScene(QPointF(x, y))))

    def point_at(self, position: QPointF) -> int:
        """The point at a position of the widget, the nearest of the front first; −1 for none."""
        if self._axes is None:
            return -1
        for numbers in (self.model.front, self.model.points.keys() - self.model.front):
            near: list[tuple[float, int]] = []
            for number in self.model.places(numbers, *self._axes):
                away = self.point_centre(number) - position
                near.append((away.manhattanLength(), number))
            if near and min(near)[0] <= REACH_PX:
                return min(near)[1]
        return -1

    def _paint(self) -> None:
        if self._axes is None:
            return
        model, theme = self.model, self._theme
        beaten = [number for number in model.points if number not in model.front]
        dots = model.places(beaten, *self._axes)
        faint = QColor(theme.muted_text)
        faint.setAlpha(TRIED_ALPHA)
        self.tried.setData(
            spots=[
                {"pos": place, "symbol": _symbol(model, number), "size": 8 if model.points[number].is_heuristic else 4}
                for number, place in dots.items()
            ],
            pen=pg.mkPen(faint),
            brush=pg.mkBrush(QColor(Qt.GlobalColor.transparent)),
        )
        discs = model.places(model.front, *self._axes)
        self.front.setData(
            spots=[{"pos": place, "symbol": _symbol(model, number), "size": 9} for number, place in discs.items()],
            pen=pg.mkPen(QColor(theme.panel)),
            brush=pg.mkBrush(QColor(theme.accent)),
        )
        corners = _staircase(model.staircase(*self._axes))
        self.steps.setData([x for x, _ in corners], [y for _, y in corners])
        self.steps.setPen(pg.mkPen(QColor(theme.accent), width=1.5))
        self._paint_marks()

    def _paint_marks(self) -> None:
        assert self._axes is not None
        symbols = (("o", self._theme.text), ("+", self._theme.warning))
        spots: list[dict[str, object]] = []
        for number, (symbol, colour) in zip(self._marks, symbols, strict=True):
            if number is not None and number in self.model.points:
                places = self.model.places([number], *self._axes)
                spots += [
                    {"pos": place, "symbol": symbol, "size": 17, "pen": self._pen(colour)} for place in places.values()
                ]
        self.marks.setData(spots=spots, brush=pg.mkBrush(QColor(Qt.GlobalColor.transparent)))

    @staticmethod
    def _pen(colour: str) -> object:
        return pg.mkPen(QColor(colour), width=2)

    # Gestures

    def _read_out(self, position: QPointF) -> str:
        number = self.point_at(position)
        return self.model.card(number) if number >= 0 else ""

    def _on_click(self, position: QPointF, adds: bool) -> None:
        self.clicked.emit(self.point_at(position))


def _symbol(model: ParetoModel, number: int) -> str:
    return "d" if model.points[number].is_heuristic else "o"


def _staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners between points: what each reaches holds until the next one."""
    corners: list[tuple[float, float]] = []
    for x, y in points:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners


def _spread(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = MARGIN * (high - low) or MARGIN * max(abs(high), 1e-3)
    return low - room, high + room
