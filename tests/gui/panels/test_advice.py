"""The advice panel: its rows and words, and what a double click does to the plan."""

from __future__ import annotations

import msgspec
import pytest
from PySide6.QtWidgets import QTreeWidgetItem
from pytestqt.qtbot import QtBot

from engine.plan.data import PlanData
from engine.reports import Interval
from engine.reports_advice import (
    AccuracyAdvice,
    Aim,
    Answer,
    Bounds,
    Cause,
    CauseKind,
    Combination,
    Diagnosis,
    Effect,
    Metric,
    Standing,
    Trial,
    Verdict,
)
from engine.service.messages import Advised, LabelledData
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.advice.model import COLUMNS, Advice, headline_of
from gui.panels.advice.widget import DECIBELS, NOTHING_YET, OUTDATED, TITLE, AdvicePanel
from gui.theme import DARK
from tests.gui import samples

CONV, GEMM = "/stem/Conv", "/head/fc/Gemm"


def effect(gain: float, half: float = 0.2, change_us: float = 0.0, change_bytes: int = 0) -> Effect:
    change = Bounds(0.0156, -0.01, 0.04)
    return Effect(8, Interval(gain, half), Interval(21.5 + gain, 0.5), 0.98, change, change_us, change_bytes)


def trial(key: int, remedy: str, gain: float, is_offered: bool = True, is_final: bool = True) -> Trial:
    return Trial(key, remedy, f"try {remedy}", GEMM, (GEMM,), effect(gain, change_us=1.5), is_offered, is_final)


PLACE = Diagnosis(
    GEMM,
    "Linear",
    "int8",
    0.64,
    Interval(22.0, 1.0),
    (Cause(CauseKind.CLIPPING, "clips 3.0 % of its values", 0.8), Cause(CauseKind.CHANNELS, "channel 3 is large")),
)
ADVICE = AccuracyAdvice(
    samples=8,
    present_db=Interval(21.5, 0.5),
    diagnoses=(PLACE, Diagnosis("", "", "", None, Interval(None), ())),
    trials=(
        trial(1, "range", 1.2),
        trial(2, "int16", 3.4, is_final=False),
        trial(3, "float", 0.01, is_offered=False),
        msgspec.structs.replace(trial(4, "method", 0.4), site=""),
    ),
    combination=Combination(("a", "b"), (GEMM,), effect(4.0, change_bytes=-2048), True),
)
PLANS = {
    0: PlanData(choices={GEMM: "int16"}, thresholds={"v": 2.0}),
    1: PlanData(thresholds={"v": 2.0}),
    2: PlanData(choices={GEMM: "int16"}),
    3: PlanData(choices={GEMM: "float"}),
    4: PlanData(default_method="max"),
}


def verdict(answer: Answer) -> Verdict:
    standing = Standing("present", Bounds(1.0, 0.5, 1.5), Interval(21.5, 0.5))
    return Verdict(answer, "The present plan loses 1.00.", Metric.AGREEMENT, Aim(), 64, standing)


def filled() -> Advice:
    advice = Advice(PlanData())
    advice.take(ADVICE, PLANS)
    return advice


def test_rows_have_gain_cost_and_cause() -> None:
    gemm, model = filled().rows(PlanData())
    assert gemm.texts == (
        "head/fc/Gemm  (Linear, int8)",
        "64 % of the error",
        "",
        "",
        "",
        "80 % clips 3.0 % of its values; channel 3 is large",
    )
    best, other, rest = gemm.rows
    points = "+1.6 (−1.0 to +4.0) pts"
    assert best.texts == ("try int16", "+3.4 ± 0.2 dB", points, "+1.5 µs", "0 B", "still being measured")
    assert other.texts[0] == "try range"
    assert rest.texts[0] == "1 other: no sure gain"
    assert rest.tip == "try float: 0.0 ± 0.2 dB"
    assert (rest.key, rest.is_muted) == (None, True)
    assert (model.texts[0], [row.texts[0] for row in model.rows]) == ("Whole model", ["try method"])
    assert all(len(row.texts) == len(COLUMNS) for row in (gemm, model, *gemm.rows))


def test_a_remedy_is_applied_to_the_plan_as_it_is_now() -> None:
    advice = filled()
    present = PlanData(choices={CONV: "float"})
    applied = advice.applied(present, 2)
    assert applied.choices == {CONV: "float", GEMM: "int16"}
    assert not advice.is_applied(present, 2)
    assert advice.is_applied(applied, 2)
    (gemm, _) = advice.rows(applied)
    assert [(row.key, row.is_applied) for row in gemm.rows[:2]] == [(2, True), (1, False)]
    assert gemm.rows[0].texts[-1] == "✓ applied"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer.ENOUGH, "PTQ is enough"),
        (Answer.WITH_REMEDIES, "PTQ with 2 remedies is enough"),
        (Answer.WITH_INT16, "PTQ with int16 is enough"),
        (Answer.TRAIN, "QAT needed"),
        (Answer.UNDECIDED, "Not enough samples to tell"),
    ],
)
def test_the_headline_is_the_verdict(answer: Answer, text: str) -> None:
    words = headline_of(msgspec.structs.replace(ADVICE, verdict=verdict(answer)), is_running=False)
    assert words.text == text
    assert words.details == "The present plan loses 1.00."
    assert words.is_warning == (answer is Answer.TRAIN)


def test_before_the_verdict_it_says_what_is_known() -> None:
    words = headline_of(ADVICE, is_running=True)
    assert words.text == "Trying remedies …"
    assert words.details == "The output is at 21.5 ± 0.5 dB over 8 samples; so far 3 remedies gain beyond chance."
    assert headline_of(ADVICE, is_running=False).text == "No verdict: advice was stopped"
    assert headline_of(ADVICE, False, is_on_selection=True).text == "Remedies at the selected nodes"


@pytest.fixture
def panel(qtbot: QtBot) -> AdvicePanel:
    document, view = QtDocument(samples.filled()), SharedView()
    panel = AdvicePanel(document, view)
    panel.document, panel.view = document, view  # type: ignore[attr-defined]  # they live as long as the panel
    qtbot.addWidget(panel)
    panel.resize(1200, 400)
    panel.show()
    panel.begin(document.document.plan)
    return panel


def answer(advice: AccuracyAdvice = ADVICE) -> Advised:
    return Advised(id=1, revision=1, advice=advice, plans=PLANS)


def child(place: QTreeWidgetItem, index: int) -> QTreeWidgetItem:
    found = place.child(index)
    assert found is not None
    return found


def test_it_fills_while_advice_comes_and_keeps_what_the_user_looks_at(panel: AdvicePanel) -> None:
    assert panel.headline.text() == "Measuring the present plan …"
    assert panel.stop.isVisible()
    panel.show_advice(answer())
    gemm = panel.table.topLevelItem(0)
    assert gemm is not None
    assert gemm.isExpanded()
    panel.table.setCurrentItem(child(gemm, 1))
    gemm.setExpanded(False)
    better = (trial(1, "range", 5.0), *ADVICE.trials[1:])
    panel.show_advice(answer(msgspec.structs.replace(ADVICE, trials=better)))
    gemm, current = panel.table.topLevelItem(0), panel.table.currentItem()
    assert gemm is not None
    assert current is not None
    assert not gemm.isExpanded()
    assert current.text(0) == "try range"
    assert current is gemm.child(0), "it is the best one now"
    panel.end()
    assert not panel.stop.isVisible()


def test_a_double_click_applies_one_step_and_the_rest_stays_applicable(panel: AdvicePanel, qtbot: QtBot) -> None:
    document = panel._document
    panel.applyWanted.connect(document.adopt)
    panel.show_advice(answer())
    gemm = panel.table.topLevelItem(0)
    assert gemm is not None
    panel.table.itemDoubleClicked.emit(gemm.child(0), 0)
    assert document.plan.choices == {GEMM: "int16"}
    assert document.undo_label == "advice: try int16 (head/fc)"
    assert panel.details.text().endswith(OUTDATED)
    gemm = panel.table.topLevelItem(0)
    assert gemm is not None
    panel.table.setCurrentItem(child(gemm, 0))
    assert not panel.apply.isEnabled(), "it is applied"
    panel.table.setCurrentItem(child(gemm, 1))
    panel.apply.click()
    assert (document.plan.choices, document.plan.thresholds) == ({GEMM: "int16"}, {"v": 2.0})
    assert not panel.has_combination, "both together are the combination"
    document.undo()
    document.undo()
    assert document.plan == PlanData()
    assert panel.has_combination
    panel.apply_best.click()
    assert document.plan == PLANS[0]
    assert document.undo_label == "advice: 2 remedies"


def test_rows_select_and_reveal_their_node(panel: AdvicePanel, qtbot: QtBot) -> None:
    panel.show_advice(answer())
    gemm, model = panel.table.topLevelItem(0), panel.table.topLevelItem(1)
    assert gemm is not None
    assert model is not None
    with qtbot.waitSignal(panel.revealed) as revealed:
        panel.table.itemClicked.emit(gemm.child(0), 0)
    assert revealed.args == [GEMM]
    assert panel._view.selection == (GEMM,)
    panel.table.setCurrentItem(model)
    assert panel._view.selection == (GEMM,), "the whole model selects nothing"
    panel.table.itemDoubleClicked.emit(gemm, 0)
    assert panel._document.plan == PlanData(), "a place is no remedy"


def test_buttons_ask_and_explain(panel: AdvicePanel, qtbot: QtBot) -> None:
    panel.set_available("", "Select a node first")
    with qtbot.waitSignal(panel.adviseWanted) as asked:
        panel.whole.click()
    assert asked.args == [False]
    assert (panel.selection.isEnabled(), panel.selection.toolTip()) == (False, "Select a node first")
    panel.set_available("", "")
    with qtbot.waitSignal(panel.adviseWanted) as asked:
        panel.selection.click()
    assert asked.args == [True]
    with qtbot.waitSignal(panel.stopWanted):
        panel.stop.click()


def test_the_aim_is_in_points_or_decibels(panel: AdvicePanel) -> None:
    assert panel.chosen_aim == Aim(max_drop=0.5)
    panel.aim_kind.setCurrentIndex(DECIBELS)
    assert panel.chosen_aim == Aim(min_db=30.0)


def test_labelled_data_are_chosen_and_named(panel: AdvicePanel, qtbot: QtBot) -> None:
    panel.set_available("", "")
    assert panel.data_label.text() == "Verdict on calibration samples, by agreement with the float model"
    assert not panel.no_data.isVisible()
    with qtbot.waitSignal(panel.dataWanted):
        panel.choose_data.click()
    panel.set_data(LabelledData("/data/photographs", "evaluation", 270))
    assert panel.data_label.text() == "Verdict on photographs, evaluation, 270 samples"
    with qtbot.waitSignal(panel.noDataWanted):
        panel.no_data.click()
    panel.set_available("Calibrate first", "")
    assert (panel.choose_data.isEnabled(), panel.choose_data.toolTip()) == (False, "Calibrate first")


def test_a_failure_is_one_line_in_the_panel(panel: AdvicePanel) -> None:
    panel.show_advice(answer())
    panel.end("/data/x.npz: label 77 is out of range")
    assert panel.headline.text() == "Advice could not be given"
    assert panel.details.text() == "/data/x.npz: label 77 is out of range"
    panel.begin(PlanData())
    assert panel.headline.text() == "Measuring the present plan …"


def test_top_1_takes_the_place_of_agreement(panel: AdvicePanel) -> None:
    panel.show_advice(answer())
    assert panel.table.headerItem().text(2) == "Agreement"
    counted = msgspec.structs.replace(effect(1.2), top1_change=Bounds(0.02, -0.01, 0.05), top1_samples=270)
    trials = (msgspec.structs.replace(ADVICE.trials[0], effect=counted), *ADVICE.trials[1:])
    panel.show_advice(answer(msgspec.structs.replace(ADVICE, trials=trials)))
    assert panel.table.headerItem().text(2) == "Top-1"
    gemm = panel.table.topLevelItem(0)
    assert gemm is not None
    assert [child(gemm, index).text(2) for index in range(2)] == ["–", "+2.0 (−1.0 to +5.0) pts"]
    assert "top-1 on 270 samples +2.0" in child(gemm, 1).toolTip(0)


def test_another_model_empties_it(panel: AdvicePanel) -> None:
    panel.show_advice(answer())
    panel.set_theme(DARK)
    assert panel.table.topLevelItemCount() == 2
    panel._document.open(samples.opened(), "/models/other.onnx")
    assert (panel.headline.text(), panel.details.text()) == (TITLE, NOTHING_YET)
    assert panel.table.topLevelItemCount() == 0
    panel.show_advice(answer())
    assert panel.table.topLevelItemCount() == 0, "an answer about the other model"
