"""The roofline: where kernels lie, the strip of those without MACs, and the selection carried both ways."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine.reports import Ceiling
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.roofline.model import MOST_DIAMETER_PX, RooflineModel, decade_text, quantity, time_us
from gui.panels.roofline.plot import RooflinePlot
from gui.panels.roofline.widget import RooflinePanel
from gui.theme import DARK
from tests.gui import compilations, samples

CONV, RESHAPE, GEMM = "/stem/Conv", "/head/Reshape", "/head/fc/Gemm"
SMALL = compilations.small()
STEM, FLAT, HEAD = range(3)


def test_kernels_lie_where_their_figures_say() -> None:
    points = RooflineModel(SMALL).points
    assert points.kernel.tolist() == [STEM, HEAD]
    assert (10**points.intensity).tolist() == pytest.approx([10.0, 1.0])
    stem = SMALL.timeline.kernels[STEM]
    assert float(10 ** points.rate[0]) == pytest.approx(stem.macs / time_us(stem))
    assert points.diameter.max() == MOST_DIAMETER_PX
    ratio = time_us(stem) / time_us(SMALL.timeline.kernels[HEAD])
    assert (points.diameter[0] / points.diameter[1]) ** 2 == pytest.approx(ratio), "areas are as times"


def test_no_kernel_is_above_the_roof() -> None:
    model = RooflineModel(SMALL)
    (_, ridge, _), points = model.ceiling, model.points
    slope = ridge[1] - ridge[0]
    for x, y in zip(points.intensity.tolist(), points.rate.tolist(), strict=True):
        assert y <= min(x + slope, ridge[1])


def test_a_kernel_hidden_behind_others_has_its_own_time() -> None:
    hidden = msgspec.structs.replace(SMALL.timeline.kernels[STEM], latency_us=0.0)
    assert time_us(hidden) == 24.0, "four tiles of 6 µs on the MAC array"


def test_what_needs_no_ddr_stands_apart_at_the_right() -> None:
    kernels = list(SMALL.timeline.kernels)
    kernels[STEM] = msgspec.structs.replace(kernels[STEM], ddr_bytes=0)
    timeline = msgspec.structs.replace(SMALL.timeline, kernels=tuple(kernels))
    model = RooflineModel(msgspec.structs.replace(SMALL, timeline=timeline))
    assert model.points.is_on_chip.tolist() == [True, False]
    assert model.points.intensity[0] > model.points.intensity[1]
    assert "nothing to or from DDR" in model.card(STEM)


def test_kernels_without_macs_are_all_on_the_strip() -> None:
    model = RooflineModel(SMALL)
    assert [segment.kernel for segment in model.segments] == [FLAT]
    assert model.strip_title() == "1 kernel without MACs: 7.5 µs, 5.64 % of the frame"
    many = RooflineModel(compilations.many(2000))
    assert many.segments[0].first == 0.0
    assert many.segments[-1].last == pytest.approx(1.0)
    assert all(a.last == b.first for a, b in zip(many.segments, many.segments[1:], strict=False))
    shown = {segment.kernel for segment in many.segments} | set(many.points.kernel.tolist())
    assert shown == {i for i, kernel in enumerate(many.kernels) if kernel.latency_us or kernel.macs}


def test_shares_are_of_the_whole_frame() -> None:
    shares = RooflineModel(SMALL).shares()
    assert sum(share.share for share in shares) == pytest.approx(1.0)
    assert [share.bound.key for share in shares] == ["dma", "launch", "mac"]


def test_read_outs() -> None:
    model = RooflineModel(SMALL)
    assert model.headline() == "5 M MACs in 133 µs: 3.76 % of the ceiling"
    for part in ("region 1 (/stem/Conv)", "4 M MACs at", "% of the ceiling", "400 KB of DDR: 10 MACs a byte"):
        assert part in model.card(STEM)
    assert "no MACs, 65.5 KB of DDR" in model.card(FLAT)
    assert (quantity(12_300, "B/s"), quantity(5.0, " MACs")) == ("12.3 kB/s", "5 MACs")
    assert [decade_text(exponent) for exponent in (0, 2, 3, 7)] == ["1", "100", "1 k", "10 M"]


def test_an_empty_frame_is_no_trouble() -> None:
    model = RooflineModel(compilations.empty())
    assert model.segments == ()
    assert model.shares() == ()
    assert model.view[0][0] < model.view[0][1]
    assert model.strip_title().startswith("Every kernel")


@pytest.fixture
def panel(qtbot: QtBot) -> Iterator[RooflinePanel]:
    document, view = QtDocument(samples.filled()), SharedView()
    panel = RooflinePanel(document, view)
    panel.owner = document  # type: ignore[attr-defined]  # it lives as long as the panel
    qtbot.addWidget(panel)
    panel.resize(1000, 340)
    panel.set_watched(True)
    panel.show()
    document.document.compile(document.document.revision, SMALL)
    QApplication.processEvents()
    yield panel


def plot_of(panel: RooflinePanel) -> RooflinePlot:
    assert panel.plot is not None
    return panel.plot


def test_a_click_on_a_point_selects_its_nodes(panel: RooflinePanel, qtbot: QtBot) -> None:
    plot = plot_of(panel)
    with qtbot.waitSignal(panel.revealed) as revealed:
        qtbot.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=plot.point_centre(STEM).toPoint())
    assert revealed.args == [CONV]
    assert panel._view.selection == (CONV, "/stem/Relu")
    assert plot.kernel_at(plot.point_centre(HEAD)) == HEAD
    qtbot.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(plot.width() - 30, plot.height() - 60))
    assert panel._view.selection == (CONV, "/stem/Relu"), "a click beside all points changes nothing"


def test_clicks_step_through_points_that_lie_on_each_other(panel: RooflinePanel, qtbot: QtBot) -> None:
    kernels = list(SMALL.timeline.kernels)
    kernels[HEAD] = msgspec.structs.replace(kernels[STEM], anchor=GEMM, nodes=(GEMM,), region="")
    timeline = msgspec.structs.replace(SMALL.timeline, kernels=tuple(kernels))
    panel._document.compile(panel._document.revision, msgspec.structs.replace(SMALL, timeline=timeline))
    plot = plot_of(panel)
    where = plot.point_centre(STEM).toPoint()
    QTest.mouseMove(plot.viewport(), where)
    qtbot.waitUntil(lambda: "and 1 more here" in plot.card.text())
    picked = []
    for _ in range(3):
        qtbot.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=where)
        picked.append(panel._view.selection[0])
    assert picked == [CONV, GEMM, CONV]


def test_a_click_on_the_strip_selects_its_nodes(panel: RooflinePanel, qtbot: QtBot) -> None:
    assert panel.model is not None
    where = panel.strip.segment_place(panel.model.segments[0]).center().toPoint()
    qtbot.mouseClick(panel.strip, Qt.MouseButton.LeftButton, pos=where)
    assert panel._view.selection == (RESHAPE,)


def test_selected_nodes_ring_their_point(panel: RooflinePanel) -> None:
    before = plot_of(panel).grab().toImage()
    panel._view.select([GEMM])
    assert len(plot_of(panel).chosen.points()) == 1
    assert plot_of(panel).grab().toImage() != before
    panel._view.select([RESHAPE])
    assert len(plot_of(panel).chosen.points()) == 0
    assert panel.strip._selected == {FLAT}


def test_the_pointer_reads_out_points_and_strip(panel: RooflinePanel, qtbot: QtBot) -> None:
    plot = plot_of(panel)
    QTest.mouseMove(plot.viewport(), plot.point_centre(HEAD).toPoint())
    qtbot.waitUntil(lambda: GEMM in plot.card.text() and plot.card.isVisible())
    assert panel.model is not None
    QTest.mouseMove(panel.strip, panel.strip.segment_place(panel.model.segments[0]).center().toPoint())
    qtbot.waitUntil(lambda: RESHAPE in plot.card.text() and plot.card.isVisible())


def look_closer(plot: RooflinePlot) -> None:
    """Turn the wheel over the plot: the user looks at a part."""
    viewport = plot.viewport()
    at, none = QPointF(viewport.rect().center()), Qt.MouseButton.NoButton
    plain, phase = Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
    event = QWheelEvent(at, viewport.mapToGlobal(at), QPoint(), QPoint(0, 240), none, plain, phase, False)
    before = plot.view.viewRange()
    QApplication.sendEvent(viewport, event)
    assert plot.view.viewRange() != before


def test_an_edit_keeps_the_view_and_another_model_starts_anew(panel: RooflinePanel, qtbot: QtBot) -> None:
    plot, document = plot_of(panel), panel._document
    QTest.keyClick(plot, Qt.Key.Key_Space)
    document.compile(document.revision, compilations.many(500))
    many = RooflineModel(compilations.many(500))
    assert plot.view.viewRange()[0] == pytest.approx(list(many.view[0])), "all is shown as long as nobody moved"
    look_closer(plot)
    before = plot.view.viewRange()[0]
    document.mark([CONV], "int16")
    document.compile(document.revision, SMALL)
    assert plot.view.viewRange()[0] == pytest.approx(before)
    other_chip = msgspec.structs.replace(SMALL, ceiling=Ceiling(5e6, 1e4))
    document.compile(document.revision, other_chip)
    assert plot.view.viewRange()[0] == pytest.approx(list(RooflineModel(other_chip).view[0]))
    look_closer(plot)
    document.open(samples.opened(), "/models/other.onnx")
    document.compile(document.revision, SMALL)
    assert panel.model is not None
    assert plot.view.viewRange()[0] == pytest.approx(list(panel.model.view[0]))
    plot.view.setRange(xRange=(0.0, 0.5), yRange=(3.0, 4.0), padding=0)
    qtbot.keyClick(plot, Qt.Key.Key_Space)
    assert plot.view.viewRange()[0] == pytest.approx(list(panel.model.view[0]))


def test_it_is_painted_in_both_themes(panel: RooflinePanel) -> None:
    panel._document.compile(panel._document.revision, compilations.many(20_000))
    light = panel.grab().toImage()
    panel.set_theme(DARK)
    assert panel.grab().toImage() != light
