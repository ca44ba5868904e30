"""Paints a table beside its function. Imported only when there is one to show: pyqtgraph takes long to load."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from engine.reports_distribution import TableCurve
from gui.panels.inspector.plots import Plot, log_heights
from gui.panels.parts import set_role
from gui.theme import LIGHT, Theme

LEAST_HEIGHT = 110
_UNBOUNDED = 16_777_215
_INPUT_ALPHA = 70
_BEHIND = -10.0


class TablePlots(QWidget):
    """Left the function and what the table makes of it, right the table's error; behind both, where the inputs lie."""

    def __init__(self, theme: Theme = LIGHT, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._table: TableCurve | None = None
        self.curve, self.error = Plot("input", "output"), Plot("input", "table − function")
        self._arrange()
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        for plot in (self.curve, self.error):
            plot.set_theme(theme)
        self._paint()

    def show_table(self, table: TableCurve) -> None:
        self._table = table
        self._paint()

    def _arrange(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 4)
        row.setSpacing(12)
        titles = ("Function (thin) and table (thick); grey: where the inputs lie, on a log scale", "Error of the table")
        for text, plot in zip(titles, (self.curve, self.error), strict=True):
            title, side = QLabel(text), QWidget()
            column = QVBoxLayout(side)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(2)
            set_role(title, "muted")
            plot.setMinimumHeight(LEAST_HEIGHT)
            plot.setMaximumHeight(_UNBOUNDED)
            column.addWidget(title)
            column.addWidget(plot, 1)
            row.addWidget(side, 1)

    def _paint(self) -> None:
        table = self._table
        if table is None:
            return
        x, exact, made = (np.array(values) for values in (table.x, table.exact, table.made))
        accent, text = QColor(self._theme.accent), QColor(self._theme.text)
        steps = pg.PlotCurveItem(x, made, pen=pg.mkPen(accent, width=2.4))
        function = pg.PlotCurveItem(x, exact, pen=pg.mkPen(text, width=1.0))
        shown = np.concatenate((exact, made))
        self.curve.show_items(*self._inputs(table, shown), steps, function, *self._ends(table))
        error = made - exact
        zero = pg.InfiniteLine(0.0, angle=0, pen=pg.mkPen(QColor(self._theme.outline)))
        line = pg.PlotCurveItem(x, error, pen=pg.mkPen(accent, width=1.2))
        self.error.show_items(*self._inputs(table, error), zero, line, *self._ends(table))

    def _inputs(self, table: TableCurve, shown: np.ndarray) -> list[pg.PlotCurveItem]:
        """The histogram of the inputs, as high as what shows in front of it."""
        heights = log_heights(table.input_counts)
        most = float(heights.max(initial=0.0))
        low, high = float(shown.min(initial=0.0)), float(shown.max(initial=0.0))
        if most <= 0.0 or high <= low:
            return []
        fill = QColor(self._theme.muted_text)
        fill.setAlpha(_INPUT_ALPHA)
        scaled = low + heights * (high - low) / most
        edges = np.array(table.input_edges)
        item = pg.PlotCurveItem(edges, scaled, stepMode="center", fillLevel=low, pen=None, brush=fill)
        item.setZValue(_BEHIND)
        return [item]

    def _ends(self, table: TableCurve) -> list[pg.InfiniteLine]:
        """Where the table ends and inputs are clipped."""
        pen = pg.mkPen(QColor(self._theme.warning), style=Qt.PenStyle.DashLine)
        return [pg.InfiniteLine(end, pen=pen) for end in (table.low, table.high)]
