"""The table view: a look-up table over its function and its inputs, and what it costs at the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QLabel, QWidget

from engine.reports_distribution import NodeDistribution
from gui.panels.distribution_feed import DistributionFeed
from gui.panels.distribution_panel import DistributionPanel
from gui.panels.lut import model
from gui.panels.parts import set_role
from gui.theme import Theme

if TYPE_CHECKING:
    from gui.panels.lut.plot import TablePlots


class TablePanel(DistributionPanel):
    """The selected node's table; for any other node, which nodes have one."""

    name = "lut"

    def __init__(self, feed: DistributionFeed, parent: QWidget | None = None) -> None:
        super().__init__(feed, parent)
        self.plots: TablePlots | None = None
        self.parts = QLabel()
        self.parts.setContentsMargins(8, 0, 8, 2)
        self.parts.setWordWrap(True)
        set_role(self.parts, "muted")
        self.content.addWidget(self.parts)

    def why_empty(self, found: NodeDistribution) -> str:
        return model.why_empty(found)

    def take(self, found: NodeDistribution) -> None:
        table = found.table
        assert table is not None, "why_empty says so before"
        self.head.setText(model.headline(table))
        self.note.setText(model.cost(table))
        self.note.setToolTip(model.cost(table))
        self.parts.setText(model.parts_text(table))
        self._make_plots().show_table(table)

    def dress(self, theme: Theme) -> None:
        if self.plots is not None:
            self.plots.set_theme(theme)

    def _make_plots(self) -> TablePlots:
        if self.plots is None:
            from gui.panels.lut.plot import TablePlots

            self.plots = TablePlots(self.theme)
            self.content.addWidget(self.plots, 1)
        return self.plots
