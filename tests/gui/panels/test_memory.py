"""The memory panel: occupancy, the address map, and the selection carried both ways."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from engine.reports import MemoryBlock
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.memory.model import Memory, MemoryModel
from gui.panels.memory.view import MemoryView
from gui.panels.memory.widget import MemoryPanel
from gui.panels.time_axis import TimeSpan
from gui.panels.time_view import SharedTime
from gui.panels.timeline.widget import TimelinePanel
from gui.theme import DARK
from tests.gui import compilations, samples

CONV, RESHAPE, GEMM = "/stem/Conv", "/head/Reshape", "/head/fc/Gemm"
SMALL = compilations.small()
TILES, RELU, FLAT, WEIGHTS = range(4)


def test_the_head_line_has_peak_bound_and_their_ratio() -> None:
    on_chip = MemoryModel(SMALL, Memory.SRAM)
    assert on_chip.headline() == "Peak 1.9 MB of 2 MB · lower bound 1.07 MB · peak ÷ bound 1.78"
    assert MemoryModel(SMALL, Memory.DRAM).headline() == "Peak 4.11 KB of DDR"
    assert "–" in MemoryModel(compilations.empty(), Memory.SRAM).headline(), "nothing to divide by"


@pytest.mark.parametrize("memory", list(Memory))
@pytest.mark.parametrize("zoom", [1.0, 7.0, 300.0])
def test_no_pixel_hides_a_peak(memory: Memory, zoom: float) -> None:
    """Of each pixel the most that is occupied at any moment of it, found here moment by moment."""
    model = MemoryModel(SMALL, memory)
    span = TimeSpan.whole(model.total_us).zoomed(zoom, 79.0)
    pixels = 200
    edges = np.linspace(span.first_us, span.last_us, pixels + 1)
    expected = []
    for first, last in pairwise(edges):
        moments = [first, *(moment for moment in model.times.tolist() if first <= moment < last)]
        expected.append(max(model.occupied_at(moment) for moment in moments))
    assert model.highest(span, pixels).tolist() == expected
    assert model.highest(TimeSpan.whole(model.total_us), 50).max() == model.occupied.max()


def test_ddr_is_what_its_blocks_occupy() -> None:
    model = MemoryModel(SMALL, Memory.DRAM)
    assert (model.occupied_at(10.0), model.occupied_at(100.0), model.occupied_at(131.0)) == (192, 0, 10)
    assert model.capacity_bytes is None
    assert [level.title for level in model.levels] == ["peak"]


def test_blocks_are_found_by_place_and_by_node() -> None:
    model = MemoryModel(SMALL, Memory.SRAM)
    assert model.block_at(60.0, 100.0) == TILES
    assert model.block_at(60.0, 700_000.0) == RELU
    assert model.block_at(60.0, 950_000.0) is None
    assert model.block_at(49.0, 100.0) is None
    assert model.block_at(49.0, 100.0, slack_us=2.0) == TILES
    assert model.blocks_of(["/stem/Relu"]).tolist() == [TILES, RELU], "what is fused has its kernel's blocks"
    assert model.nodes_of(RELU) == (CONV, "/stem/Relu")
    assert MemoryModel(SMALL, Memory.DRAM).nodes_of(0) == ("image",), "the graph's input has no kernel"


def test_the_read_outs_say_what_where_and_when() -> None:
    model = MemoryModel(SMALL, Memory.SRAM)
    card = model.card(WEIGHTS)
    for part in ("/head/fc/weight", "1 MB of weights", "bytes 900,000 – 1,900,000", "86.00 µs – 134.00 µs (48 µs)"):
        assert part in card
    assert model.occupancy_card(60.0) == "<b>900 KB of 2 MB occupied</b><br>by 2 blocks"


def test_a_small_plan_is_drawn_large() -> None:
    """Where all of the memory would show nothing; the capacity is then off the scale."""
    block = MemoryBlock("v", CONV, "sram", "value", 0, compilations.CAPACITY // 100, 0.0, 50.0)
    model = MemoryModel(compilations.with_blocks(SMALL, [block]), Memory.SRAM)
    assert model.top_bytes < compilations.CAPACITY / 50
    assert [level.title for level in model.levels] == ["peak", "bound"]
    assert MemoryModel(SMALL, Memory.SRAM).top_bytes > compilations.CAPACITY


@pytest.fixture
def panel(qtbot: QtBot) -> MemoryPanel:
    document, view = QtDocument(samples.filled()), SharedView()
    panel = MemoryPanel(document, view, SharedTime(document))
    panel.owner = document  # type: ignore[attr-defined]  # it lives as long as the panel
    qtbot.addWidget(panel)
    panel.resize(1000, 300)
    panel.set_watched(True)
    panel.show()
    document.document.compile(document.document.revision, SMALL)
    return panel


def test_a_click_on_a_block_selects_its_nodes(panel: MemoryPanel, qtbot: QtBot) -> None:
    where = panel.plan.block_centre(RELU).toPoint()
    with qtbot.waitSignal(panel.revealed) as revealed:
        qtbot.mouseClick(panel.plan, Qt.MouseButton.LeftButton, pos=where)
    assert revealed.args == [CONV]
    assert panel._view.selection == (CONV, "/stem/Relu")
    empty = QPointF(panel.plan.x_of(20.0), where.y()).toPoint()
    qtbot.mouseClick(panel.plan, Qt.MouseButton.LeftButton, pos=empty)
    assert panel._view.selection == (CONV, "/stem/Relu"), "a click beside all blocks changes nothing"


def test_selected_nodes_mark_their_blocks_and_can_be_zoomed_to(panel: MemoryPanel) -> None:
    before = panel.plan.grab().toImage()
    panel._view.select([RESHAPE])
    assert panel.plan._selected.tolist() == [FLAT]
    assert panel.plan.grab().toImage() != before
    panel.plan.fit_selected()
    span = panel.plan.time.span
    assert (span.first_us, span.last_us) == pytest.approx((76.0, 133.0))
    panel._view.select(["image"])
    panel.plan.fit_selected()
    assert span.total_us == panel.plan.time.span.width_us, "nothing of it lies on the chip"


def test_the_pointer_reads_out_blocks_and_occupancy(panel: MemoryPanel, qtbot: QtBot) -> None:
    view = panel.plan
    QTest.mouseMove(view, view.block_centre(WEIGHTS).toPoint())
    qtbot.waitUntil(lambda: "/head/fc/weight" in view._card.text() and view._card.isVisible())
    QTest.mouseMove(view, QPointF(view.x_of(60.0), 20.0).toPoint())
    qtbot.waitUntil(lambda: "900 KB of 2 MB" in view._card.text() and view._card.isVisible())


def test_the_switch_shows_ddr(panel: MemoryPanel, qtbot: QtBot) -> None:
    qtbot.mouseClick(panel.switches[Memory.DRAM], Qt.MouseButton.LeftButton)
    assert panel.head.text() == "Peak 4.11 KB of DDR"
    assert panel.plan.model is not None
    assert [block.node for block in panel.plan.model.blocks] == ["image", GEMM]
    assert not panel.switches[Memory.SRAM].isChecked()
    qtbot.mouseClick(panel.switches[Memory.SRAM], Qt.MouseButton.LeftButton)
    assert panel.head.text().startswith("Peak 1.9 MB")
    assert panel.note.text() == "planner: greedy by size"
    assert "tiles" in panel.legend.text()
    panel.show_memory(Memory.DRAM)
    assert "tiles" not in panel.legend.text(), "only what occurs"


def test_it_says_when_nothing_lies_there(panel: MemoryPanel) -> None:
    panel._document.compile(panel._document.revision, compilations.with_blocks(SMALL, []))
    assert panel.note.text() == ""
    nothing = panel.plan.grab().toImage()
    panel.show_memory(Memory.DRAM)
    assert panel.plan.grab().toImage() != nothing, "the words are about the one memory or the other"


def test_timeline_and_memory_share_their_time(panel: MemoryPanel, qtbot: QtBot) -> None:
    timeline = TimelinePanel(panel.owner, panel._view, panel.plan.time)  # type: ignore[attr-defined]
    qtbot.addWidget(timeline)
    timeline.set_watched(True)
    timeline.timeline.time.show_span(TimeSpan(40.0, 60.0, SMALL.timeline.total_us))
    assert panel.plan.time_at(panel.plan.area.left()) == pytest.approx(40.0)


def test_three_thousand_blocks_are_painted_in_both_themes(panel: MemoryPanel) -> None:
    panel._document.compile(panel._document.revision, compilations.many_blocks(3000))
    light = panel.grab().toImage()
    panel.set_theme(DARK)
    assert panel.grab().toImage() != light
    assert isinstance(panel.pages.currentWidget(), MemoryView)
