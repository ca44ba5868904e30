"""The node's tensors as plots. Imported only when the first details arrive: pyqtgraph takes a quarter of
a second.
"""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from engine.reports import NodeDetail
from gui.panels.parts import set_role
from gui.panels.plot_view import dress_axes
from gui.theme import Theme

PLOT_HEIGHT = 150
FLOAT_ALPHA = 90
PADDING = 0.03


class Plot(pg.GraphicsView):
    """Two axes and a view between them.

    Not pyqtgraph's PlotWidget: that one makes menus and forms as windows of their own, which outlive it.
    """

    def __init__(self, bottom: str, left: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(PLOT_HEIGHT)
        self.view = pg.ViewBox(enableMenu=False, enableMouse=False)
        self.axes = {side: pg.AxisItem(side, linkView=self.view) for side in ("bottom", "left")}
        for side, text in (("bottom", bottom), ("left", left)):
            self.axes[side].setLabel(text)
            self.axes[side].enableAutoSIPrefix(False)
        self.centralLayout.setContentsMargins(0, 4, 6, 0)
        self.centralLayout.setSpacing(0)
        self.centralLayout.addItem(self.axes["left"], 0, 0)
        self.centralLayout.addItem(self.view, 0, 1)
        self.centralLayout.addItem(self.axes["bottom"], 1, 1)

    def set_theme(self, theme: Theme) -> None:
        self.setBackground(theme.panel)
        dress_axes(self.axes.values(), theme)

    def clear(self) -> None:
        self.view.clear()

    def show_items(self, *items: object) -> None:
        """Replace what shows and fit the axes to it."""
        self.clear()
        for item in items:
            self.view.addItem(item)
        self.view.autoRange(padding=PADDING)


class TensorPlots(QWidget):
    """Histogram of the output, float against quantised, and the weight range of each channel."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._detail: NodeDetail | None = None
        self._histogram_title = _title("Output values: float (filled) and quantised (line), counts on a log axis")
        self.histogram = Plot("value", "count")
        self._weights_title = _title("Weight range per output channel")
        self.weights = Plot("channel", "weight")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self._histogram_title, self.histogram, self._weights_title, self.weights):
            layout.addWidget(widget)
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        for plot in (self.histogram, self.weights):
            plot.set_theme(theme)
        if self._detail is not None:
            self.show_detail(self._detail)

    def show_detail(self, detail: NodeDetail) -> None:
        self._detail = detail
        self._show_histogram(detail)
        has_weights = bool(detail.weight_low)
        self._weights_title.setVisible(has_weights)
        self.weights.setVisible(has_weights)
        if has_weights:
            self._show_weights(detail)

    def _show_histogram(self, detail: NodeDetail) -> None:
        if len(detail.histogram_edges) < 2:
            self.histogram.clear()
            return
        edges = np.array(detail.histogram_edges)
        most = max((*detail.float_histogram, *detail.quantised_histogram))
        self.histogram.axes["left"].setTicks([decade_ticks(most)])
        self.histogram.show_items(
            self._float_steps(edges, detail), self._quantised_steps(edges, detail), *self._thresholds(edges, detail)
        )

    def _float_steps(self, edges: np.ndarray, detail: NodeDetail) -> pg.PlotCurveItem:
        colour = QColor(self._theme.muted_text)
        fill = QColor(colour)
        fill.setAlpha(FLOAT_ALPHA)
        heights = log_heights(detail.float_histogram)
        return pg.PlotCurveItem(edges, heights, stepMode="center", fillLevel=0, pen=pg.mkPen(colour), brush=fill)

    def _quantised_steps(self, edges: np.ndarray, detail: NodeDetail) -> pg.PlotCurveItem:
        pen = pg.mkPen(QColor(self._theme.accent), width=1.4)
        return pg.PlotCurveItem(edges, log_heights(detail.quantised_histogram), stepMode="center", pen=pen)

    def _thresholds(self, edges: np.ndarray, detail: NodeDetail) -> list[pg.InfiniteLine]:
        """Where the integers end, if that is within the values seen."""
        if detail.threshold is None:
            return []
        pen = pg.mkPen(QColor(self._theme.warning), style=Qt.PenStyle.DashLine)
        ends = (-detail.threshold, detail.threshold)
        return [pg.InfiniteLine(end, pen=pen) for end in ends if edges[0] <= end <= edges[-1]]

    def _show_weights(self, detail: NodeDetail) -> None:
        low, high = np.array(detail.weight_low), np.array(detail.weight_high)
        channels = np.arange(len(low), dtype=np.float64)
        accent = QColor(self._theme.accent)
        bars = pg.BarGraphItem(x=channels, y0=low, y1=high, width=0.8, pen=None, brush=accent)
        zero = pg.InfiniteLine(0.0, angle=0, pen=pg.mkPen(QColor(self._theme.outline)))
        self.weights.show_items(bars, zero)


def _title(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    set_role(label, "muted")
    return label


def log_heights(counts: tuple[int, ...]) -> np.ndarray:
    """Counts on a log axis on which 0 has its place."""
    return np.log10(np.array(counts, dtype=np.float64) + 1.0)


def decade_ticks(most: int) -> list[tuple[float, str]]:
    """Ticks at 1, 10, 100 … on an axis of log10(count + 1)."""
    decades = int(np.ceil(np.log10(max(most, 10))))
    step = max(1, decades // 4)
    powers = range(0, decades + 1, step)
    return [(0.0, "0"), *((float(np.log10(10.0**power + 1.0)), f"1e{power}") for power in powers)]
