"""Paints the histograms. Imported only when there is one to show: pyqtgraph takes a quarter of a second."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from engine.reports_distribution import NodeDistribution
from gui.panels.histogram.model import uneven_text
from gui.panels.histogram.sample_card import SampleCard
from gui.panels.inspector.plots import FLOAT_ALPHA, Plot, decade_ticks, log_heights
from gui.panels.parts import set_role
from gui.theme import LIGHT, Theme

LEAST_HEIGHT = 110
_UNBOUNDED = 16_777_215
_CHANNEL_SHARE = (3, 2)
"""Of the width: histogram, channels."""


class ChannelPlot(Plot):
    """The range of each channel as a bar. ``clicked`` carries a channel."""

    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__("channel", "value")
        self.channels = 0

    def mousePressEvent(self, ev: QMouseEvent) -> None:
        super().mousePressEvent(ev)
        at = self.view.mapSceneToView(QPointF(self.mapToScene(ev.position().toPoint())))
        channel = round(at.x())
        if ev.button() is Qt.MouseButton.LeftButton and 0 <= channel < self.channels:
            self.clicked.emit(channel)


class DistributionPlots(QWidget):
    """The histogram of what shows, and the ranges of all channels; beside them the sample, where one alone is shown.
    ``channelClicked`` carries a channel."""

    channelClicked = Signal(int)

    def __init__(self, theme: Theme = LIGHT, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._found: NodeDistribution | None = None
        self._is_log = True
        self.histogram, self.channels = Plot("value", "count"), ChannelPlot()
        self.histogram_title, self.channels_title = QLabel(), QLabel()
        self._channel_side = QWidget()
        self.card = SampleCard()
        self._arrange()
        self.channels.clicked.connect(self.channelClicked)
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        for plot in (self.histogram, self.channels):
            plot.set_theme(theme)
        self._paint()

    def show_found(self, found: NodeDistribution, is_log: bool) -> None:
        """Show a distribution, counts on a log axis or not."""
        self._found, self._is_log = found, is_log
        self._paint()

    def _arrange(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 4)
        row.setSpacing(12)
        row.addWidget(self.card)
        sides = (
            (QWidget(), self.histogram_title, self.histogram),
            (self._channel_side, self.channels_title, self.channels),
        )
        for (side, title, plot), share in zip(sides, _CHANNEL_SHARE, strict=True):
            column = QVBoxLayout(side)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(2)
            set_role(title, "muted")
            plot.setMinimumHeight(LEAST_HEIGHT)
            plot.setMaximumHeight(_UNBOUNDED)
            column.addWidget(title)
            column.addWidget(plot, 1)
            row.addWidget(side, share)
        self.channels.setToolTip("Click on a channel to see it alone, and again to see all")

    def _paint(self) -> None:
        found = self._found
        if found is None:
            return
        self.card.show_view(found.view)
        self._paint_histogram(found)
        self._channel_side.setVisible(bool(found.channel_low))
        if found.channel_low:
            self._paint_channels(found)

    def _paint_histogram(self, found: NodeDistribution) -> None:
        edges = np.array(found.edges)
        most = max((*found.float_counts, *found.quantised_counts))
        self.histogram.axes["left"].setTicks([decade_ticks(most)] if self._is_log else None)
        muted, accent = QColor(self._theme.muted_text), QColor(self._theme.accent)
        fill = QColor(muted)
        fill.setAlpha(FLOAT_ALPHA)
        exact, made = (self._heights(counts) for counts in (found.float_counts, found.quantised_counts))
        exact_item = pg.PlotCurveItem(edges, exact, stepMode="center", fillLevel=0, pen=pg.mkPen(muted), brush=fill)
        made_item = pg.PlotCurveItem(edges, made, stepMode="center", pen=pg.mkPen(accent, width=1.4))
        self.histogram.show_items(exact_item, made_item, *self._bounds(found, vertical=True))
        channel = "" if found.channel is None else f" of channel {found.channel}"
        self.histogram_title.setText(f"Values{channel}: float (filled) and quantised (line)")

    def _heights(self, counts: tuple[int, ...]) -> np.ndarray:
        return log_heights(counts) if self._is_log else np.array(counts, dtype=np.float64)

    def _paint_channels(self, found: NodeDistribution) -> None:
        low, high = np.array(found.channel_low), np.array(found.channel_high)
        places = np.arange(len(low), dtype=np.float64)
        self.channels.channels = len(low)
        plain, chosen = QColor(self._theme.muted_text), QColor(self._theme.accent)
        brushes = [chosen if index == found.channel else plain for index in range(len(low))]
        bars = pg.BarGraphItem(x=places, y0=low, y1=high, width=0.8, pen=None, brushes=brushes)
        zero = pg.InfiniteLine(0.0, angle=0, pen=pg.mkPen(QColor(self._theme.outline)))
        self.channels.show_items(bars, zero, *self._bounds(found, vertical=False))
        self.channels_title.setText(uneven_text(found))

    def _bounds(self, found: NodeDistribution, *, vertical: bool) -> list[pg.InfiniteLine]:
        """Where the integers end, if that is within what shows."""
        if found.threshold is None:
            return []
        pen = pg.mkPen(QColor(self._theme.warning), style=Qt.PenStyle.DashLine)
        low = found.edges[0] if vertical else min(found.channel_low)
        high = found.edges[-1] if vertical else max(found.channel_high)
        ends = (-found.threshold, found.threshold)
        return [pg.InfiniteLine(end, angle=90 if vertical else 0, pen=pen) for end in ends if low <= end <= high]
