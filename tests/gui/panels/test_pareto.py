"""The front of plans: what is shown on which axes, what a plan changes, and what buttons do."""

from __future__ import annotations

import msgspec
import pytest
from PySide6.QtCore import QPointF
from pytestqt.qtbot import QtBot

from engine.plan.compile_options import CompileOptions, Level
from engine.plan.data import PlanData
from engine.reports import Interval
from engine.tune.records import TunePoint, TuneReport, TuneSettings
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.pareto.model import COSTS, GAINS, ParetoModel, changes
from gui.panels.pareto.widget import NOTHING_YET, ParetoPanel
from gui.theme import DARK
from tests.gui import samples

CONV, GEMM = "/stem/Conv", "/head/fc/Gemm"


def point(number: int, latency: float, decibels: float, origin: str = "search from 0", **plan: object) -> TunePoint:
    return TunePoint(
        number=number,
        plan=msgspec.convert(plan, PlanData),
        origin=origin,
        samples=8,
        output_db=Interval(decibels, 0.5),
        agreement=0.95,
        latency_ms=latency,
        ddr_bytes=2_000_000,
        int16_nodes=len(plan),
        float_nodes=0,
        is_heuristic=number < 2,
    )


POINTS = (
    point(0, 1.0, 20.0, "project plan"),
    point(1, 2.0, 30.0, "all int16", choices={CONV: "int16", GEMM: "int16"}),
    point(2, 1.1, 28.0, choices={GEMM: "int16"}),
    point(3, 1.5, 27.0, choices={CONV: "int16"}),
)
REPORT = TuneReport(
    front=(POINTS[0], POINTS[2], msgspec.structs.replace(POINTS[1], like=2)),
    heuristics=POINTS[:2],
    chosen=2,
    verdict="the most accurate within the bounds",
    measured=4,
    known=0,
    ended="converged",
    seconds=1.0,
)


@pytest.fixture
def model() -> ParetoModel:
    made = ParetoModel()
    for item in POINTS:
        made.add(item, (0, 1, 2))
    return made


@pytest.fixture
def document(qtbot: QtBot) -> QtDocument:
    return QtDocument(samples.filled())


@pytest.fixture
def panel(document: QtDocument, qtbot: QtBot) -> ParetoPanel:
    view = SharedView()
    made = ParetoPanel(document, view)
    made.view = view  # type: ignore[attr-defined]  # it lives as long as the panel
    qtbot.addWidget(made)
    made.resize(1100, 340)
    made.set_available("")
    made.show()
    return made


def filled(panel: ParetoPanel) -> ParetoPanel:
    panel.begin()
    for item in POINTS:
        panel.add(item, (0, 1, 2))
    panel.finish(REPORT)
    return panel


# The model


def test_staircase_is_what_none_beats_on_the_chosen_axes(model: ParetoModel) -> None:
    assert model.staircase(COSTS[0], GAINS[0]) == [(1.0, 20.0), (1.1, 28.0), (2.0, 30.0)]
    assert model.staircase(COSTS[1], GAINS[0]) == [(2.0, 30.0)]


def test_confirmed_figures_take_the_place_of_the_first_ones(model: ParetoModel) -> None:
    confirmed = msgspec.structs.replace(POINTS[2], samples=64, output_db=Interval(27.5, 0.2))
    model.finish(msgspec.structs.replace(REPORT, front=(confirmed,)))
    assert model.points[2].samples == 64
    assert model.front == {2}
    assert "27.5 ± 0.2 dB on 64 samples" in model.card(2)


def test_card_says_what_does_not_differ(model: ParetoModel) -> None:
    model.finish(REPORT)
    assert "not significantly other than plan 2, which is faster" in model.card(1)


@pytest.mark.parametrize(
    ("plan", "number"),
    [
        (PlanData(), 0),
        (PlanData(choices={GEMM: "int16", CONV: "int16"}), 1),
        (PlanData(choices={GEMM: "int16", CONV: "auto"}), 2),
        (PlanData(choices={GEMM: "float"}), None),
        (PlanData(target="bayes-e-x5"), None),
    ],
)
def test_the_present_plan_is_found_by_its_content(model: ParetoModel, plan: PlanData, number: int | None) -> None:
    assert model.present(plan) == number


def test_headline(model: ParetoModel) -> None:
    assert model.headline(is_running=True) == "4 plans tried, 3 on the front …"
    assert model.headline(is_running=False) == "4 plans tried, 3 on the front, not confirmed on all samples"
    model.finish(REPORT)
    text = "4 plans tried, 3 on the front: nothing is gained any more. The most accurate within the bounds."
    assert model.headline(is_running=False) == text


def test_changes_are_listed_by_kind() -> None:
    before = PlanData(choices={CONV: "int16"}, thresholds={"v": 1.0})
    options = CompileOptions(level=Level.O3)
    after = PlanData(choices={GEMM: "int16"}, methods={"v": "max"}, compile=options)
    found = changes(before, after, {CONV: "Conv", GEMM: "Gemm"})
    assert [(item.text, item.nodes) for item in found] == [
        ("auto: Conv", (CONV,)),
        ("int16: Gemm", (GEMM,)),
        ("range by max: v", ()),
        ("no threshold of its own: v", ()),
        ("compiler level O2 → O3", ()),
    ]
    assert changes(before, before, {CONV: "Conv"}) == ()


# The panel


def test_nothing_yet(panel: ParetoPanel) -> None:
    assert panel.empty.text() == NOTHING_YET and not panel.empty.isHidden()
    assert panel.summary.text() == ""
    assert panel.plot is None
    assert not panel.apply.isEnabled()
    panel.set_available("Calibrate first")
    assert not panel.button.isEnabled() and panel.button.toolTip() == "Calibrate first"


def test_search_and_stop(panel: ParetoPanel, qtbot: QtBot) -> None:
    panel.minutes.setValue(2.5)
    with qtbot.waitSignal(panel.searchWanted) as asked:
        panel.button.click()
    assert asked.args == [TuneSettings(minutes=2.5)]
    panel.begin()
    assert panel.button.text() == "Stop"
    with qtbot.waitSignal(panel.stopWanted):
        panel.button.click()
    panel.end()
    assert panel.button.text() == "Search"


def test_points_are_painted_as_they_arrive(panel: ParetoPanel, qtbot: QtBot) -> None:
    panel.begin()
    panel.add(POINTS[0], (0,))
    qtbot.waitUntil(lambda: panel.plot is not None)
    assert panel.plot is not None and panel.plot.point_at(panel.plot.point_centre(0)) == 0


def test_a_click_previews_and_apply_hands_on(panel: ParetoPanel, document: QtDocument, qtbot: QtBot) -> None:
    filled(panel)
    assert panel.plot is not None
    panel.plot.clicked.emit(3)
    assert "int16: stem/Conv" in panel.preview.text()
    assert panel._view.selection == (CONV,)
    with qtbot.waitSignal(panel.applyWanted) as wanted:
        panel.apply.click()
    plan, label = wanted.args or []
    assert plan == POINTS[3].plan and label == "plan 3 of the search"
    document.document.adopt(plan, label)
    assert not panel.apply.isEnabled()
    assert "This is the present plan." in panel.preview.text()
    assert document.document.undo_label == "plan 3 of the search"


def test_the_chosen_plan_is_previewed_when_the_search_is_over(panel: ParetoPanel) -> None:
    filled(panel)
    assert panel.chosen == 2
    assert panel.apply.text() == "Apply plan 2"


def test_a_click_beside_the_points_previews_nothing(panel: ParetoPanel) -> None:
    filled(panel)
    assert panel.plot is not None
    assert panel.plot.point_at(QPointF(3.0, 3.0)) == -1
    panel.plot.clicked.emit(-1)
    assert panel.chosen is None and not panel.apply.isEnabled()


def test_axes_can_be_chosen(panel: ParetoPanel) -> None:
    filled(panel)
    assert panel.plot is not None
    before = panel.plot.point_centre(1)
    panel.costs.setCurrentIndex(2)
    panel.gains.setCurrentIndex(1)
    assert panel.plot.axes["left"].labelText == GAINS[1].title
    assert panel.plot.point_centre(1) != before


def test_another_model_forgets(panel: ParetoPanel, document: QtDocument) -> None:
    filled(panel)
    document.document.open(samples.opened(), "/models/small.onnx")
    assert panel.empty.text() == NOTHING_YET and not panel.empty.isHidden()
    assert panel.summary.text() == ""
    assert not panel.model.points


def test_themes(panel: ParetoPanel) -> None:
    filled(panel).set_theme(DARK)
    assert panel.plot is not None and panel.plot.backgroundBrush().color().name() == DARK.panel
