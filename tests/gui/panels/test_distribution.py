"""Histograms and the table view: what they say, what they ask for, and what they paint."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from pytestqt.qtbot import QtBot

from engine.reports import Interval
from engine.reports_distribution import NodeDistribution, Picture, SampleView, TableCurve
from gui.document.document import Document
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.distribution_feed import MEASURING, NO_MODEL, NO_NODE, NOT_CALIBRATED, DistributionFeed
from gui.panels.histogram import model
from gui.panels.histogram.widget import HistogramPanel
from gui.panels.lut import model as lut_model
from gui.panels.lut.widget import TablePanel
from gui.theme import DARK
from tests.gui import samples

CONV, RELU = "/stem/Conv", "/stem/Relu"

FOUND = NodeDistribution(
    id=CONV, value="v", dtype="int8", sqnr_db=(30.0, 20.5, None), mean_db=Interval(25.25, 3.0), sample=None, worst=1,
    channel=None, edges=(-2.0, -1.0, 0.0, 1.0), float_counts=(1, 50, 1000), quantised_counts=(0, 51, 1000),
    threshold=0.9, step=0.9 / 127, clipped=Interval(0.5, 0.2), channel_low=(-2.0, -0.5, 0.0),
    channel_high=(1.0, 0.5, 0.25), channel_db=(25.0, 20.0, None),
)  # fmt: skip

TABLE = TableCurve(
    function="Gelu", entries=256, input_dtype="int8", output_dtype="int8", low=-4.0, high=4.0, input_step=4 / 127,
    output_step=0.03, x=(-4.0, 0.0, 4.0), exact=(0.0, 0.0, 4.0), made=(0.0, 0.01, 3.8), input_edges=(-6.0, 0.0, 6.0),
    input_counts=(100, 10), clipped=Interval(1.5, 0.5), clipping_power=Interval(0.01, 0.002),
    rounding_power=Interval(0.0), entries_power=Interval(0.0001, 0.00001), signal_power=Interval(1.0, 0.1),
    output_db=Interval(40.0, 2.0),
)  # fmt: skip


@pytest.fixture
def feed(qtbot: QtBot) -> Iterator[DistributionFeed]:
    """Of a calibrated and measured model."""
    document = samples.filled()
    shared = QtDocument(document)
    view = SharedView(shared)
    yield DistributionFeed(shared, view, shared)
    shared.deleteLater()


def view_of(feed: DistributionFeed) -> SharedView:
    return feed._view  # the panels share it


def test_it_asks_only_while_somebody_watches(feed: DistributionFeed) -> None:
    asked: list[tuple[object, ...]] = []
    feed.wanted.connect(lambda *question: asked.append(question))
    view_of(feed).select([CONV])
    assert asked == []
    feed.watch("histogram", True)
    assert asked == [(CONV, None, None)]
    feed.choose(1, 2)
    view_of(feed).select([CONV, RELU])
    assert asked[1:] == [(CONV, 1, 2), (RELU, None, None)], "another node starts with all samples and channels"
    feed.show_found(FOUND)
    assert feed.found is None, "an answer about the node before"
    feed.show_problem(RELU, "it makes int64 values")
    assert feed.message == "it makes int64 values"
    feed.watch("histogram", False)
    view_of(feed).select([CONV])
    assert len(asked) == 3


def test_what_it_says_while_there_is_nothing(qtbot: QtBot) -> None:
    shared = QtDocument(Document())
    feed = DistributionFeed(shared, SharedView(shared), shared)
    assert feed.message == NO_MODEL
    bare = Document()
    bare.open(samples.opened(calibrated=False), "/models/small.onnx")
    opened = QtDocument(bare)
    feed = DistributionFeed(opened, SharedView(opened), opened)
    assert feed.message == NOT_CALIBRATED
    measured = QtDocument(samples.filled())
    feed = DistributionFeed(measured, SharedView(measured), measured)
    assert feed.message == NO_NODE
    feed.watch("lut", True)
    view_of(feed).select([CONV])
    assert feed.message == MEASURING


def test_figures_carry_their_intervals() -> None:
    assert model.headline(FOUND) == "25.2 ± 3.0 dB over 3 samples"
    assert model.remark(FOUND).endswith("clipped 0.5 ± 0.2 %")
    assert model.sample_texts(FOUND) == ("All samples", "Sample 0: 30.0 dB", "Sample 1: 20.5 dB", "Sample 2: exact")
    assert model.uneven_text(FOUND) == "Range of each of 3 channels: the largest is 4× the median one"
    assert model.channel_text(FOUND, 2) == "Channel 2: 0 to 0.25, exact"
    plain = msgspec.structs.replace(FOUND, dtype="float32", threshold=None, step=None)
    assert model.remark(plain) == "float32: not quantised"
    assert "40.0 ± 2.0 dB" in lut_model.cost(TABLE) and "clips 1.5 ± 0.5 % of its inputs" in lut_model.cost(TABLE)
    assert dict(lut_model.parts(TABLE)) == {
        "clipped inputs": "10 ± 1 %", "rounded inputs": "none", "entries and output": "1 ± 0.05 %"
    }  # fmt: skip


def shown_panel(feed: DistributionFeed, qtbot: QtBot) -> HistogramPanel:
    """The panel on the screen, with a node chosen."""
    panel = HistogramPanel(feed)
    qtbot.addWidget(panel)
    panel.resize(900, 300)
    panel.set_watched(True)
    panel.show()
    view_of(feed).select([CONV])
    return panel


def test_the_worst_sample_is_one_click_away(feed: DistributionFeed, qtbot: QtBot) -> None:
    panel = shown_panel(feed, qtbot)
    panel.set_theme(DARK)
    feed.show_found(FOUND)
    assert panel.samples.currentText() == "All samples"
    with qtbot.waitSignal(feed.wanted) as asked:
        panel.worst.click()
    assert asked.args == [CONV, 1, None]
    with qtbot.waitSignal(feed.wanted) as asked:
        panel.channel.setValue(2)
    assert asked.args == [CONV, 1, 2]
    feed.show_found(msgspec.structs.replace(FOUND, sample=1, channel=2))
    assert panel.samples.currentIndex() == 2 and panel.channel.value() == 2
    assert panel.note.text().startswith("Channel 2: 0 to 0.25")
    panel.log.setChecked(False)
    assert panel.plots is not None and panel.plots.histogram_title.text().startswith("Values of channel 2")


def test_a_sample_is_shown_as_a_person_knows_it(feed: DistributionFeed, qtbot: QtBot) -> None:
    panel = shown_panel(feed, qtbot)
    with qtbot.waitSignal(feed.wanted) as asked:
        feed.choose_node(CONV, 1)
    assert asked.args == [CONV, 1, None]
    red = bytes((250, 0, 0)) * 2
    view = SampleView(1, 20.5, 3, 7, Picture(2, 1, red))
    feed.show_found(msgspec.structs.replace(FOUND, sample=1, view=view))
    assert panel.plots is not None
    card = panel.plots.card
    qtbot.waitUntil(lambda: panel.plots is not None and panel.plots.card.isVisible())
    assert card.lines.text() == "Sample 1: 20.5 dB at the output\nThe integers choose class 7, float chooses 3"
    qtbot.waitUntil(lambda: card.picture.width() > 100)
    shown = card.picture.grab().toImage()
    assert shown.pixelColor(shown.width() // 4, 5).red() > 240
    feed.show_found(msgspec.structs.replace(FOUND, sample=1, view=SampleView(1, None, 3, 3)))
    assert card.lines.text() == "Sample 1: exact at the output\nBoth choose class 3"
    assert not card.picture.isVisible(), "no input is a picture"
    feed.show_found(FOUND)
    assert not card.isVisible(), "all samples together"
    assert model.sample_lines(SampleView(0, -1.25)) == ("Sample 0: −1.2 dB at the output",)


def test_a_click_on_a_channel_shows_it_alone(feed: DistributionFeed, qtbot: QtBot) -> None:
    panel = shown_panel(feed, qtbot)
    feed.show_found(FOUND)
    assert panel.plots is not None
    plot = panel.plots.channels
    qtbot.waitUntil(lambda: panel.plots is not None and panel.plots.width() == panel.pages.width() > 800)
    qtbot.waitUntil(lambda: plot.sceneRect().width() == plot.viewport().width())
    scene = plot.view.mapViewToScene(QPointF(1.0, 0.1))
    where: QPoint = plot.mapFromScene(scene)
    with qtbot.waitSignal(feed.wanted) as asked:
        qtbot.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert asked.args == [CONV, None, 1]


def test_the_table_view_shows_a_table_or_says_who_has_one(feed: DistributionFeed, qtbot: QtBot) -> None:
    panel = TablePanel(feed)
    qtbot.addWidget(panel)
    panel.resize(900, 300)
    panel.set_watched(True)
    panel.show()
    view_of(feed).select([CONV])
    feed.show_found(FOUND)
    assert panel.pages.currentIndex() == 0 and panel.empty.text() == lut_model.NO_TABLE
    feed.show_found(msgspec.structs.replace(FOUND, table=TABLE))
    assert panel.pages.currentIndex() == 1
    assert panel.head.text() == "Gelu: 256 entries, int8 → int8"
    assert "clipped inputs 10 ± 1 %" in panel.parts.text()
    panel.set_theme(DARK)
