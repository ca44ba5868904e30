"""The panel of histograms: float and quantised values of the selected node, by sample and by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QCheckBox, QComboBox, QSpinBox, QWidget

from engine.reports_distribution import NodeDistribution
from gui.panels.distribution_feed import DistributionFeed
from gui.panels.distribution_panel import DistributionPanel
from gui.panels.histogram.model import ALL_CHANNELS, channel_text, headline, remark, sample_texts
from gui.panels.parts import tool_button
from gui.theme import Theme

if TYPE_CHECKING:
    from gui.panels.histogram.plot import DistributionPlots


class HistogramPanel(DistributionPanel):
    """Histogram and channel ranges, with what to look at: all samples, one of them or the worst; one channel or all."""

    name = "histogram"

    def __init__(self, feed: DistributionFeed, parent: QWidget | None = None) -> None:
        super().__init__(feed, parent)
        self.plots: DistributionPlots | None = None
        self.samples, self.channel, self.log = QComboBox(), QSpinBox(), QCheckBox("Log")
        self.worst = tool_button("Worst", "Show the sample of largest error", self.show_worst)
        self._arrange()
        self.samples.activated.connect(lambda index: self.feed.choose(index - 1 if index else None, self.feed.channel))
        self.channel.valueChanged.connect(self._choose_channel)
        self.log.toggled.connect(lambda: self.refresh())

    def show_worst(self) -> None:
        """Show the sample of largest error alone."""
        if self.feed.found is not None:
            self.feed.choose(self.feed.found.worst, self.feed.channel)

    def take(self, found: NodeDistribution) -> None:
        self.head.setText(headline(found))
        detail = remark(found) if found.channel is None else f"{channel_text(found, found.channel)}; {remark(found)}"
        self.note.setText(detail)
        self.note.setToolTip(detail)
        with QSignalBlocker(self.samples):
            self.samples.clear()
            self.samples.addItems(list(sample_texts(found)))
            self.samples.setCurrentIndex(0 if found.sample is None else found.sample + 1)
        with QSignalBlocker(self.channel):
            self.channel.setMaximum(len(found.channel_low) - 1)
            self.channel.setValue(-1 if found.channel is None else found.channel)
        self.channel.setEnabled(bool(found.channel_low))
        self.worst.setEnabled(len(found.sqnr_db) > 1)
        self._make_plots().show_found(found, self.log.isChecked())

    def dress(self, theme: Theme) -> None:
        if self.plots is not None:
            self.plots.set_theme(theme)

    def _choose_channel(self, value: int) -> None:
        self.feed.choose(self.feed.sample, value if value >= 0 else None)

    def _toggle_channel(self, channel: int) -> None:
        self._choose_channel(-1 if self.feed.channel == channel else channel)

    def _arrange(self) -> None:
        self.log.setChecked(True)
        self.log.setToolTip("Counts on a logarithmic axis")
        self.samples.setToolTip("The samples shown, with the error of this node on each")
        self.samples.setAccessibleName("Sample")
        self.samples.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.channel.setRange(-1, -1)
        self.channel.setSpecialValueText(f"Channel: {ALL_CHANNELS}")
        self.channel.setPrefix("Channel: ")
        self.channel.setKeyboardTracking(False)
        self.channel.setToolTip("The channel shown; below the first: all of them")
        for widget in (self.samples, self.worst, self.channel, self.log):
            self.tools.addWidget(widget)

    def _make_plots(self) -> DistributionPlots:
        if self.plots is None:
            from gui.panels.histogram.plot import DistributionPlots

            self.plots = DistributionPlots(self.theme)
            self.plots.channelClicked.connect(self._toggle_channel)
            self.content.addWidget(self.plots)
        return self.plots
