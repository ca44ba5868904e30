"""Paints the roofline. Imported only when there is one to show: pyqtgraph takes a quarter of a second."""

from __future__ import annotations

import math

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Signal
from PySide6.QtGui import QColor, QFont
from PySide6.QtWidgets import QWidget

from gui.panels.plot_view import PlotView
from gui.panels.roofline.model import RooflineModel, decade_text, quantity
from gui.theme import Theme

FILL_ALPHA = 0.8
SLACK_PX = 3.0
CHOSEN_Z = 10.0
LABEL_AT = 0.5
"""Where along the slope in sight its name stands, to the left of it."""

LABEL_ROOM_PX = 22.0
NOTHING = -1


class DecadeAxis(pg.AxisItem):
    """An axis of logarithms whose ticks are whole decades, written out."""

    def __init__(self, side: str, view: pg.ViewBox) -> None:
        super().__init__(side, linkView=view)

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        step = max(1, math.ceil((maxVal - minVal) / max(size / 60.0, 1.0)))
        return [(float(step), [float(e) for e in range(math.ceil(minVal), math.floor(maxVal) + 1) if e % step == 0])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [decade_text(round(value)) if value >= 0 else f"{10.0**value:g}" for value in values]


class RooflinePlot(PlotView):
    """Kernels as points between the ceilings. ``clicked`` carries the kernel (−1: none) and whether to add it."""

    clicked = Signal(int, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Roofline", DecadeAxis, DecadeAxis, parent)
        self.model: RooflineModel | None = None
        self._selected: frozenset[int] = frozenset()
        self.axes["bottom"].setLabel("MACs per byte of DDR")
        self.axes["left"].setLabel("MACs per µs")
        self.roof = pg.PlotCurveItem(antialias=True)
        self.points = pg.ScatterPlotItem(pxMode=True, antialias=True)
        self.chosen = pg.ScatterPlotItem(pxMode=True, antialias=True)
        self.limits = (pg.TextItem(anchor=(1.0, 1.0)), pg.TextItem(anchor=(1.0, 1.0)))
        self._arrange()

    def _arrange(self) -> None:
        self.chosen.setZValue(CHOSEN_Z)
        self.roof.setZValue(-CHOSEN_Z)
        for axis in self.axes.values():
            axis.setGrid(40)
        for item in (self.roof, self.points, self.chosen, *self.limits):
            self.view.addItem(item, ignoreBounds=True)
        self.view.sigRangeChanged.connect(self._place_limits)
        self.view.sigResized.connect(self._place_limits)

    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        font = QFont(theme.font_family, theme.font_size_pt - 1)
        for limit in self.limits:
            limit.setColor(QColor(theme.muted_text))
            limit.setFont(font)
        if self.model is not None:
            self._paint()

    def show_model(self, model: RooflineModel, selected: frozenset[int]) -> None:
        """Show other kernels, all of them unless the user looks at a part; under another roof all in any case."""
        is_under_same_roof = self.model is not None and self.model.ceiling == model.ceiling
        self.model, self._selected = model, selected
        self._paint()
        if self._is_fitted or not is_under_same_roof:
            self.fit()

    def forget(self) -> None:
        """What comes next is another model, to be shown as a whole."""
        self.model = None

    def set_selected(self, kernels: frozenset[int]) -> None:
        """Ring the points of kernels."""
        if kernels != self._selected:
            self._selected = kernels
            self._paint()

    def fit(self) -> None:
        """Show all points and the ridge."""
        if self.model is not None:
            x, y = self.model.view
            self.view.setRange(xRange=x, yRange=y, padding=0)
            self._is_fitted = True

    def point_centre(self, kernel: int) -> QPointF:
        """The middle of a kernel's point, in pixels of the widget."""
        assert self.model is not None
        points = self.model.points
        index = points.kernel.tolist().index(kernel)
        scene = self.view.mapViewToScene(QPointF(float(points.intensity[index]), float(points.rate[index])))
        return QPointF(self.mapFromScene(scene))

    def kernel_at(self, position: QPointF) -> int:
        """The kernel whose point is at a position of the widget, the smallest of several; −1 for none."""
        found = self.kernels_at(position)
        return found[0] if found else NOTHING

    def kernels_at(self, position: QPointF) -> list[int]:
        """The kernels whose points are at a position of the widget, the smallest first: repeated blocks lie one upon
        the other.
        """
        if self.model is None or not len(self.model.points.kernel):
            return []
        points = self.model.points
        centre = self.view.mapSceneToView(self.mapToScene(position.toPoint()))
        pixel = self.view.viewPixelSize()
        away = np.hypot((points.intensity - centre.x()) / pixel[0], (points.rate - centre.y()) / pixel[1])
        hit = np.flatnonzero(away <= points.diameter / 2 + SLACK_PX)
        return points.kernel[hit[np.argsort(points.diameter[hit], kind="stable")]].tolist()

    def _next_at(self, position: QPointF) -> int:
        """What a click means: the smallest point, or of several the one after that which is selected."""
        found = self.kernels_at(position)
        if not found:
            return NOTHING
        chosen = [index for index, kernel in enumerate(found) if kernel in self._selected]
        return found[(chosen[0] + 1) % len(found)] if len(chosen) == 1 else found[0]

    def _read_out(self, position: QPointF) -> str:
        found = self.kernels_at(position)
        if self.model is None or not found:
            return ""
        chosen = next((kernel for kernel in found if kernel in self._selected), found[0])
        more = f"<br>and {len(found) - 1} more here: click again for the next" if len(found) > 1 else ""
        return self.model.card(chosen) + more

    # Painting

    def _paint(self) -> None:
        assert self.model is not None, "there is nothing to paint before there is a model"
        model, theme = self.model, self._theme
        self._show_points(self.points, np.ones(len(model.points.kernel), dtype=np.bool_), QColor(theme.panel), 1.0)
        is_chosen = np.isin(model.points.kernel, list(self._selected))
        self._show_points(self.chosen, is_chosen, QColor(theme.marker), 2.5)
        corners = np.array(model.ceiling).reshape(-1, 2)
        self.roof.setData(corners[:, 0], corners[:, 1], pen=pg.mkPen(QColor(theme.text), width=1.5))
        limit = model.compilation.ceiling
        self.limits[0].setText(f"DDR {quantity(limit.ddr_bytes_per_us * 1e6, 'B/s')}")
        self.limits[1].setText(f"MAC array at int8 {quantity(limit.macs_per_us, ' MACs/µs')}")
        self._place_limits()

    def _show_points(self, item: pg.ScatterPlotItem, chosen: np.ndarray, rim: QColor, width: float) -> None:
        assert self.model is not None, "there is nothing to paint before there is a model"
        points = self.model.points
        brushes: list[QColor] = []
        for kernel in points.kernel[chosen].tolist():
            fill = QColor(self.model.colour(kernel, self._theme.muted_text))
            fill.setAlphaF(FILL_ALPHA)
            brushes.append(fill)
        item.setData(
            x=points.intensity[chosen],
            y=points.rate[chosen],
            size=points.diameter[chosen],
            symbol=["t2" if is_on_chip else "o" for is_on_chip in points.is_on_chip[chosen].tolist()],
            brush=brushes,
            pen=pg.mkPen(rim, width=width),
        )

    def _place_limits(self) -> None:
        """The ceilings' names where they are in sight: on the slope at the left, on the flat at the right."""
        if self.model is None or not self.model.ceiling:
            for limit in self.limits:
                limit.hide()
            return
        (left, right), (bottom, top) = self.view.viewRange()
        _, ridge, _ = self.model.ceiling
        slope = ridge[1] - ridge[0]
        low, high = max(left, bottom - slope), min(right, ridge[0], top - slope)
        x = low + LABEL_AT * (high - low)
        self.limits[0].setPos(x, x + slope)
        self.limits[0].setVisible(bool(low < high))
        has_room_above = (top - ridge[1]) / (top - bottom) * self.view.height() >= LABEL_ROOM_PX
        self.limits[1].setAnchor((1.0, 1.0 if has_room_above else 0.0))
        self.limits[1].setPos(right, ridge[1])
        self.limits[1].setVisible(bool(right > ridge[0] and bottom < ridge[1] < top))

    # Gestures

    def _on_click(self, position: QPointF, adds: bool) -> None:
        self.clicked.emit(self._next_at(position), adds)
