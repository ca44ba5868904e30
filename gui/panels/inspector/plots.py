"""The node's tensors as plots. Imported only when the first details arrive: pyqtgraph takes a quarter of
a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from engine.reports import NodeDetail
from gui.panels.parts import set_role
from gui.theme import Theme

PLOT_HEIGHT = 170
FLOAT_ALPHA = 90


class TensorPlots(QWidget):
    """Histogram of the output, float against quantised, and the weight range of each channel."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._detail: NodeDetail | None = None
        self._histogram_title = _title("Output values: float and quantised (counts, log)")
        self.histogram = _plot("value", "count")
        self._weights_title = _title("Weight range per output channel")
        self.weights = _plot("channel", "weight")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self._histogram_title, self.histogram, self._weights_title, self.weights):
            layout.addWidget(widget)
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        for plot in (self.histogram, self.weights):
            _dress(plot, theme)
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
        plot = _item(self.histogram)
        plot.clear()
        if len(detail.histogram_edges) < 2:
            return
        edges = np.array(detail.histogram_edges)
        quantised = QColor(self._theme.accent)
        base = QColor(self._theme.muted_text)
        fill = QColor(base)
        fill.setAlpha(FLOAT_ALPHA)
        for counts, pen, brush in (
            (detail.float_histogram, pg.mkPen(base), pg.mkBrush(fill)),
            (detail.quantised_histogram, pg.mkPen(quantised, width=1.4), None),
        ):
            heights = np.log10(np.array(counts, dtype=np.float64) + 1.0)
            plot.plot(edges, heights, stepMode="center", fillLevel=0 if brush else None, pen=pen, brush=brush)
        if detail.threshold is not None:
            dashed = pg.mkPen(QColor(self._theme.warning), style=Qt.PenStyle.DashLine)
            for position in (-detail.threshold, detail.threshold):
                if edges[0] <= position <= edges[-1]:
                    plot.addItem(pg.InfiniteLine(position, pen=dashed))
        plot.getAxis("left").setTicks([_decade_ticks(max(detail.float_histogram, default=1))])
        plot.autoRange(padding=0.02)

    def _show_weights(self, detail: NodeDetail) -> None:
        plot = _item(self.weights)
        plot.clear()
        low, high = np.array(detail.weight_low), np.array(detail.weight_high)
        channels = np.arange(len(low), dtype=np.float64)
        bars = pg.BarGraphItem(x=channels, y0=low, y1=high, width=0.8, pen=None, brush=QColor(self._theme.accent))
        plot.addItem(bars)
        plot.addItem(pg.InfiniteLine(0.0, angle=0, pen=pg.mkPen(QColor(self._theme.outline))))
        plot.autoRange(padding=0.02)


def _title(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    set_role(label, "muted")
    return label


def _plot(bottom: str, left: str) -> pg.PlotWidget:
    plot = pg.PlotWidget()
    plot.setFixedHeight(PLOT_HEIGHT)
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.setMouseEnabled(x=False, y=False)
    plot.setLabel("bottom", bottom)
    plot.setLabel("left", left)
    return plot


def _item(plot: pg.PlotWidget) -> Any:
    """The plot in the widget: pyqtgraph gives it methods that its types do not know."""
    return plot.getPlotItem()


def _dress(plot: pg.PlotWidget, theme: Theme) -> None:
    plot.setBackground(theme.panel)
    font = QFont(theme.font_family, theme.font_size_pt - 1)
    for side in ("bottom", "left"):
        axis = _item(plot).getAxis(side)
        axis.setPen(QColor(theme.outline))
        axis.setTextPen(QColor(theme.muted_text))
        axis.setTickFont(font)
        axis.label.setFont(font)


def _decade_ticks(most: int) -> list[tuple[float, str]]:
    """Ticks at 1, 10, 100 … on an axis of log10(count + 1)."""
    decades = int(np.ceil(np.log10(max(most, 10))))
    step = max(1, decades // 4)
    powers = range(0, decades + 1, step)
    return [(0.0, "0"), *((float(np.log10(10.0**power + 1.0)), f"1e{power}") for power in powers)]
