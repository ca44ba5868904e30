"""The timeline: what shows at each magnification, the read-out, and the selection carried both ways."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from gui.document.qt_document import QtDocument, SharedView
from gui.panels.bounds import BOUNDS, bound_of
from gui.panels.compiled_panel import COMPILING, NO_MODEL, UPDATING
from gui.panels.time_axis import TimeSpan, duration_text, tick_text
from gui.panels.time_view import SharedTime
from gui.panels.timeline.model import TimelineModel
from gui.panels.timeline.view import TimelineView
from gui.panels.timeline.widget import TimelinePanel
from gui.theme import DARK
from tests.gui import compilations, samples

CONV, GEMM = "/stem/Conv", "/head/fc/Gemm"
SMALL = compilations.small()
MANY = compilations.many(2000)


def jobs(model: TimelineModel, kernel: int, engine: str) -> list[int]:
    lane = [lane.engine for lane in model.lanes].index(engine)
    return [job for job in model.jobs_of([kernel]).tolist() if model.engine[job] == lane]


# The stretch that shows


@given(
    total=st.floats(0.5, 1e6),
    moves=st.lists(st.tuples(st.sampled_from(["zoom", "move"]), st.floats(0.01, 100.0)), max_size=8),
)
def test_a_stretch_never_leaves_the_frame(total: float, moves: list[tuple[str, float]]) -> None:
    span = TimeSpan.whole(total)
    for what, amount in moves:
        middle = (span.first_us + span.last_us) / 2
        span = span.zoomed(amount, middle) if what == "zoom" else span.moved((amount - 50) * span.width_us)
        assert -1e-9 * total <= span.first_us < span.last_us <= total * (1 + 1e-9)


def test_zooming_keeps_the_time_under_the_pointer() -> None:
    span = TimeSpan.whole(100.0).zoomed(4.0, 60.0)
    assert (60.0 - span.first_us) / span.width_us == pytest.approx(0.6)
    assert span.width_us == pytest.approx(25.0)
    assert TimeSpan.whole(0.0).width_us == 1.0, "an empty frame has something to divide by"


def test_another_frame_shows_the_same_stretch() -> None:
    assert TimeSpan.whole(100.0).rescaled(80.0) == TimeSpan.whole(80.0)
    part = TimeSpan.whole(100.0).between(20.0, 40.0)
    assert part.rescaled(120.0) == TimeSpan(20.0, 40.0, 120.0)
    assert part.rescaled(30.0) == TimeSpan(10.0, 30.0, 30.0)


def test_ticks_are_round_and_told_apart() -> None:
    span = TimeSpan.whole(1000.0).between(100.0, 100.7)
    ticks = span.ticks(4)
    assert ticks == pytest.approx([100.0, 100.2, 100.4, 100.6])
    assert [tick_text(tick, 0.2) for tick in ticks] == ["100.0 µs", "100.2 µs", "100.4 µs", "100.6 µs"]
    assert tick_text(2000.0, 500.0) == "2,000 µs"
    assert (duration_text(12.34), duration_text(1234.0)) == ("12.3 µs", "1.23 ms")


# The model


def test_every_lane_and_kernel_is_there() -> None:
    model = TimelineModel(SMALL)
    assert [lane.title for lane in model.lanes] == [
        "Load", "Store", "MAC", "Vector", "Table", "Layout", "CPU", "Host",
    ]  # fmt: skip
    assert model.kernels_of([CONV, "/stem/Relu", "no such node"]) == (0,)
    assert model.extent((0,)) == (50.0, 77.0)
    assert model.extent(()) is None
    assert model.nodes_of(jobs(model, 0, "mac")[0]) == (CONV, "/stem/Relu")
    assert model.headline().startswith("0.133 ms a frame")


@pytest.mark.parametrize("zoom", [1.0, 3.0, 40.0, 900.0])
def test_what_shows_adds_up_to_the_busy_time(zoom: float) -> None:
    """Bars and columns together are the time that a lane is busy within the stretch, at any magnification."""
    model = TimelineModel(MANY)
    span = TimeSpan.whole(model.total_us).zoomed(zoom, model.total_us * 0.3)
    pixels = 700
    for lane in model.lanes:
        start, end = model.start[lane.jobs], model.end[lane.jobs]
        inside = np.minimum(end, span.last_us) - np.maximum(start, span.first_us)
        busy = inside[inside > 0].sum()
        shown = model.shown(lane.jobs, span, pixels)
        bars = np.clip(shown.bars, 0, pixels)
        drawn = (bars[:, 1] - bars[:, 0]).sum() + shown.columns.sum()
        assert drawn * span.width_us / pixels == pytest.approx(busy, rel=1e-6, abs=1e-6)
    assert model.critical_by_lane(span, pixels).sum(axis=0) == pytest.approx(np.ones(pixels), abs=1e-6)


def test_the_path_is_cut_where_the_kernel_changes() -> None:
    model = TimelineModel(SMALL)
    assert model.stretches.kernel.tolist() == [-1, 0, 1, 2]
    assert model.stretches.start.tolist() == [0.0, *model.stretches.end.tolist()[:-1]]
    assert model.stretches.end[-1] == model.total_us


def test_jobs_are_found_with_some_slack() -> None:
    model = TimelineModel(SMALL)
    lane = [lane.engine for lane in model.lanes].index("mac")
    first, *_, last = jobs(model, 0, "mac")
    assert model.job_at(lane, float(model.start[first]) + 0.1) == first
    assert model.job_at(lane, float(model.start[first]) - 0.1) is None
    assert model.job_at(lane, float(model.start[first]) - 0.1, 0.2) == first
    assert model.job_at(lane, float(model.end[last]) + 0.1, 0.2) == last
    assert model.job_at(4, 10.0, 1e9) is None, "nothing ever ran there"
    assert model.critical_at(1.0) == 0


def test_the_read_out_says_what_and_why() -> None:
    model = TimelineModel(SMALL)
    card = model.card(jobs(model, 0, "load")[1])
    for part in ("region 1 (/stem/Conv)", "Load, tile 2 of 4", "52.00 µs – 54.00 µs (2 µs)", "50 KB", "Bound by MAC"):
        assert part in card
    assert "Start of the inference" in model.card(0)


def test_bounds_are_known_by_engine_and_by_name() -> None:
    assert bound_of("load") is bound_of("store") is bound_of("dma") is BOUNDS["dma"]
    assert bound_of("MAC 1") is BOUNDS["mac"], "a core's own engine"
    assert bound_of("free") is None


def test_the_start_of_the_inference_is_a_job_in_any_case() -> None:
    """Where the engine reports the jobs of kernels only, the host's part is what comes before them."""
    timeline = SMALL.timeline
    without = {
        name: getattr(timeline, name)[1:]
        for name in ("engine", "kernel", "tile", "start_us", "end_us", "size_bytes", "is_critical")
    }
    reported = msgspec.structs.replace(timeline, **without)
    model = TimelineModel(msgspec.structs.replace(SMALL, timeline=reported))
    assert model.timeline == timeline


def test_idle_lanes_give_way_where_room_is_short(panel: TimelinePanel) -> None:
    timeline = compiled(panel)
    assert timeline.model is not None
    assert len(timeline._lanes) == len(timeline.model.lanes)
    panel.resize(1000, 190)
    assert [timeline.model.lanes[lane].title for lane in timeline._lanes] == ["Load", "Store", "MAC", "Layout", "Host"]
    job = jobs(timeline.model, 1, "layout")[0]
    assert timeline.item_at(timeline.job_centre(job)) == job


def test_kernels_are_called_by_their_module(panel: TimelinePanel) -> None:
    timeline = compiled(panel)
    assert timeline.model is not None
    assert [timeline.model.title(kernel) for kernel in range(3)] == ["region 1", "Reshape", "fc"]
    assert [timeline.model.long_title(kernel) for kernel in range(3)] == ["region 1", "head/Reshape", "head/fc"]


def test_an_empty_frame_is_no_trouble() -> None:
    empty = TimelineModel(compilations.empty())
    span = TimeSpan.whole(empty.total_us)
    assert empty.critical_at(0.0) is None
    assert empty.shown(empty.critical, span, 10).columns.tolist() == [0.0] * 10
    assert empty.stretches.kernel.tolist() == []


# The panel


@pytest.fixture
def panel(qtbot: QtBot) -> TimelinePanel:
    document, view = QtDocument(samples.filled()), SharedView()
    panel = TimelinePanel(document, view, SharedTime(document))
    panel.owner = document  # type: ignore[attr-defined]  # it lives as long as the panel
    qtbot.addWidget(panel)
    panel.resize(1000, 300)
    panel.set_watched(True)
    panel.show()
    return panel


def compiled(panel: TimelinePanel) -> TimelineView:
    panel._document.compile(panel._document.revision, SMALL)
    return panel.timeline


def click(qtbot: QtBot, timeline: TimelineView, job: int, keys: Qt.KeyboardModifier | None = None) -> None:
    where = timeline.job_centre(job).toPoint()
    qtbot.mouseClick(timeline, Qt.MouseButton.LeftButton, keys or Qt.KeyboardModifier.NoModifier, where)


def test_it_says_what_to_do_and_what_it_waits_for(panel: TimelinePanel) -> None:
    document = panel._document
    assert panel.empty.text() == COMPILING
    compiled(panel)
    assert panel.pages.currentWidget() is panel.timeline
    assert panel.note.text() == compilations.ERROR
    document.mark([CONV], "int16")
    assert panel.note.text() == UPDATING
    assert panel.pages.currentWidget() is panel.timeline, "the older one stays until there is another"
    document.compile(document.revision - 1, SMALL)
    assert panel.note.text() == UPDATING, "an answer to an older plan is dropped"
    document.refuse_compilation(document.revision, "/stem/Conv: does not fit")
    assert panel.empty.text().endswith("/stem/Conv: does not fit")


def test_without_a_model_it_asks_for_one(qtbot: QtBot) -> None:
    document = QtDocument(samples.Document())
    panel = TimelinePanel(document, SharedView(document), SharedTime(document))
    qtbot.addWidget(panel)
    panel.set_watched(True)
    assert panel.empty.text() == NO_MODEL


def test_nothing_is_done_while_nobody_watches(panel: TimelinePanel) -> None:
    panel.set_watched(False)
    compiled(panel)
    assert panel.timeline.model is None
    panel.set_watched(True)
    assert panel.timeline.model is not None


def test_a_click_on_a_job_selects_its_nodes(panel: TimelinePanel, qtbot: QtBot) -> None:
    timeline = compiled(panel)
    assert timeline.model is not None
    conv, gemm = jobs(timeline.model, 0, "mac")[2], jobs(timeline.model, 2, "load")[0]
    with qtbot.waitSignal(panel.revealed) as revealed:
        click(qtbot, timeline, conv)
    assert revealed.args == [CONV]
    assert panel._view.selection == (CONV, "/stem/Relu")
    click(qtbot, timeline, gemm, Qt.KeyboardModifier.ShiftModifier)
    assert panel._view.selection == (CONV, "/stem/Relu", GEMM)
    click(qtbot, timeline, conv, Qt.KeyboardModifier.ShiftModifier)
    assert panel._view.selection == (GEMM,)


def test_selected_nodes_mark_their_jobs_and_can_be_zoomed_to(panel: TimelinePanel) -> None:
    timeline = compiled(panel)
    before = timeline.grab().toImage()
    panel._view.select(["/stem/Relu"])
    assert timeline._selected == (0,)
    assert timeline.grab().toImage() != before
    timeline.fit_selected()
    assert timeline.time.span.first_us == pytest.approx(50.0 - 0.08 * 27.0)
    panel._view.select([])
    timeline.fit_selected()
    assert timeline.time.span.is_whole


def test_the_pointer_reads_out_what_it_is_on(panel: TimelinePanel, qtbot: QtBot) -> None:
    timeline = compiled(panel)
    assert timeline.model is not None
    QTest.mouseMove(timeline, timeline.job_centre(jobs(timeline.model, 2, "mac")[0]).toPoint())
    qtbot.waitUntil(lambda: timeline._card.isVisible())
    assert "/head/fc/Gemm" in timeline._card.text()
    QTest.mouseMove(timeline, QPoint(4, 4))
    qtbot.waitUntil(lambda: not timeline._card.isVisible())


def test_dragging_moves_and_ctrl_dragging_zooms(panel: TimelinePanel, qtbot: QtBot) -> None:
    timeline = compiled(panel)
    left, right = (QPoint(round(timeline.x_of(moment)), 40) for moment in (40.0, 60.0))
    QTest.mousePress(timeline, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, left)
    _drag(timeline, right, Qt.KeyboardModifier.ControlModifier)
    assert (timeline.time.span.first_us, timeline.time.span.last_us) == pytest.approx((40.0, 60.0), abs=0.3)
    grip, target = QPoint(500, 40), QPoint(700, 40)
    before = timeline.time_at(500)
    QTest.mousePress(timeline, Qt.MouseButton.LeftButton, pos=grip)
    _drag(timeline, target, Qt.KeyboardModifier.NoModifier)
    assert timeline.time_at(700) == pytest.approx(before)
    assert panel._view.selection == (), "what is dragged is not clicked"
    qtbot.keyClick(timeline, Qt.Key.Key_Space)
    assert timeline.time.span.is_whole


def _drag(timeline: TimelineView, to: QPoint, keys: Qt.KeyboardModifier) -> None:
    """Move and let go with the left button and keys held, which QTest's mouseMove cannot."""
    where, none, left = QPointF(to), Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton
    timeline.mouseMoveEvent(QMouseEvent(QEvent.Type.MouseMove, where, timeline.mapToGlobal(where), none, left, keys))
    QTest.mouseRelease(timeline, left, keys, to)


def test_the_wheel_zooms_about_the_pointer(panel: TimelinePanel) -> None:
    timeline = compiled(panel)
    moment = timeline.time_at(600.0)
    timeline.wheelEvent(wheel(timeline, QPointF(600, 50), 240))
    assert timeline.time_at(600.0) == pytest.approx(moment)
    assert not timeline.time.span.is_whole
    first = timeline.time.span.first_us
    timeline.wheelEvent(wheel(timeline, QPointF(600, 50), -120, Qt.KeyboardModifier.ShiftModifier))
    assert timeline.time.span.first_us > first


def wheel(
    view: TimelineView, at: QPointF, turn: int, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
) -> QWheelEvent:
    phase = Qt.ScrollPhase.NoScrollPhase
    return QWheelEvent(
        at, view.mapToGlobal(at), QPoint(), QPoint(0, turn), Qt.MouseButton.NoButton, keys, phase, False
    )


def test_another_model_is_shown_as_a_whole(panel: TimelinePanel) -> None:
    timeline = compiled(panel)
    timeline.time.show_span(timeline.time.span.between(40.0, 60.0))
    panel._document.open(samples.opened(), "/models/other.onnx")
    assert panel.empty.text() == COMPILING
    compiled(panel)
    assert timeline.time.span.is_whole


def test_it_paints_thousands_of_jobs_in_both_themes(panel: TimelinePanel) -> None:
    panel._document.compile(panel._document.revision, MANY)
    light = panel.grab().toImage()
    panel.set_theme(DARK)
    assert panel.grab().toImage() != light
