"""The curves of a run. Imported only when there is one to show: pyqtgraph takes a quarter of a second."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont
from PySide6.QtWidgets import QWidget

from gui.panels.training.model import Run
from gui.theme import LIGHT, Theme

LEAST_HEIGHT = 140
_RAW_ALPHA = 0.35
_LINE_PX = 2.0
_DOT_PX = 7.0
_BAND_PX = 3.0
_GAP_PX = 18.0


class Chart:
    """An upright axis and steps, without the menus and buttons of a ``PlotItem``."""

    def __init__(self, title: str) -> None:
        self.view = pg.ViewBox(enableMenu=False, enableMouse=False)
        self.left = pg.AxisItem("left", linkView=self.view)
        self.bottom = pg.AxisItem("bottom", linkView=self.view)
        self.left.setLabel(title)
        self.bottom.setLabel("step")
        for axis in (self.left, self.bottom):
            axis.enableAutoSIPrefix(False)

    def line(self) -> pg.PlotDataItem:
        """A new curve."""
        line = pg.PlotDataItem()
        self.view.addItem(line)
        return line

    def set_theme(self, theme: Theme) -> None:
        font = QFont(theme.font_family, theme.font_size_pt - 1)
        for axis in (self.left, self.bottom):
            axis.setPen(QColor(theme.outline))
            axis.setTextPen(QColor(theme.muted_text))
            axis.setTickFont(font)


class Curves(pg.GraphicsView):
    """Loss on the left, the metric on samples kept aside with its 95 % intervals on the right, over steps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Training curves")
        self.setMinimumHeight(LEAST_HEIGHT)
        self.losses, self.metrics = Chart("loss"), Chart("metric")
        self._arrange()
        self.raw, self.smoothed = self.losses.line(), self.losses.line()
        self.float_line = pg.InfiniteLine(angle=0, movable=False)
        self.metrics.view.addItem(self.float_line, ignoreBounds=True)
        self.bands = pg.ErrorBarItem(x=np.zeros(0), y=np.zeros(0), beam=0)
        self.metrics.view.addItem(self.bands)
        self.judged = self.metrics.line()
        self.best = pg.ScatterPlotItem(pxMode=True, antialias=True)
        self.metrics.view.addItem(self.best)
        self.set_theme(LIGHT)

    def _arrange(self) -> None:
        layout = self.centralLayout
        layout.setContentsMargins(0, 6, 10, 0)
        layout.setHorizontalSpacing(0)
        layout.setVerticalSpacing(0)
        for chart, column in ((self.losses, 0), (self.metrics, 3)):
            layout.addItem(chart.left, 0, column)
            layout.addItem(chart.view, 0, column + 1)
            layout.addItem(chart.bottom, 1, column + 1)
            layout.setColumnStretchFactor(column + 1, 1)
        layout.setColumnFixedWidth(2, _GAP_PX)

    def set_theme(self, theme: Theme) -> None:
        """Dress everything anew."""
        self.setBackground(theme.panel)
        for chart in (self.losses, self.metrics):
            chart.set_theme(theme)
        faint = QColor(theme.muted_text)
        faint.setAlphaF(_RAW_ALPHA)
        self.raw.setPen(pg.mkPen(faint, width=1))
        self.bands.setData(pen=pg.mkPen(faint, width=_BAND_PX))
        for line in (self.smoothed, self.judged):
            line.setPen(pg.mkPen(QColor(theme.accent), width=_LINE_PX))
        self.float_line.setPen(pg.mkPen(QColor(theme.muted_text), style=Qt.PenStyle.DashLine))
        self.best.setBrush(QColor(theme.accent))
        self.best.setPen(pg.mkPen(QColor(theme.panel)))

    def show_run(self, run: Run) -> None:
        """Draw what is known of a run."""
        steps = [float(point.step) for point in run.losses]
        self.raw.setData(steps, [point.loss for point in run.losses])
        self.smoothed.setData(steps, run.smoothed)
        judged = [(float(point.step), run.scaled(point.metric)) for point in run.metrics]
        self.judged.setData([step for step, _ in judged], [metric for _, metric in judged])
        x, y, below, above = np.array(run.bands).reshape(-1, 4).T
        self.bands.setData(x=x, y=y, bottom=below, top=above)
        self.metrics.left.setLabel(run.metric_title)
        best = run.best
        spots = [] if best is None else [{"pos": (best.step, run.scaled(best.metric)), "size": _DOT_PX}]
        self.best.setData(spots)
        reference = None if run.report is None else run.report.float_metric
        self.float_line.setVisible(reference is not None)
        if reference is not None:
            self.float_line.setValue(run.scaled(reference))
