"""The training dock: its form, curves and words, and what applying does to the plan."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from engine.plan.data import PlanData
from engine.reports_advice import Bounds
from engine.service.messages import Trained, Training
from engine.train.records import LossPoint, MetricPoint, TrainOptions, TrainProgress, TrainReport
from gui.document.qt_document import QtDocument
from gui.panels.training.model import NOTHING_YET, TITLE, Run, TrainingForm, applied, details_of, headline_of
from gui.panels.training.widget import TrainingPanel
from gui.theme import DARK
from tests.gui import samples

START, BEST = MetricPoint(0, 0.9, 0.5), MetricPoint(20, 0.925, 0.4)
LOSSES = tuple(LossPoint(step, 1.0 / step, 1e-4) for step in range(1, 31))
REPORT = TrainReport(
    ending="finished",
    text="trained 30 steps; 90.00% → 92.50% on 40 samples kept aside (step 20)",
    metric="top-1",
    float_metric=0.93,
    start=START,
    best=BEST,
    steps=30,
    total_steps=30,
    samples=360,
    held_out=40,
    losses=LOSSES,
    metrics=(START, BEST, MetricPoint(30, 0.92, 0.41)),
    compared=32,
)
PLAN = PlanData(thresholds={"a": 2.0}, corrections=("old", "new"))


def changed(**fields: object) -> TrainReport:
    return msgspec.structs.replace(REPORT, **fields)


def ended(report: TrainReport) -> Run:
    run = Run()
    run.end(report, PLAN)
    return run


def test_words_follow_a_run() -> None:
    assert headline_of(None) == TITLE and details_of(None, False) == NOTHING_YET
    run = Run()
    assert headline_of(run) == "Training begins"
    run.take(TrainProgress(0, 30, (), (START,)))
    run.take(TrainProgress(22, 30, LOSSES[:22], (BEST,)))
    assert headline_of(run) == "Training: step 22 of 30"
    assert details_of(run, False).startswith("90.00% before training, best so far 92.50% at step 20.")
    measured = MetricPoint(22, 0.935, 0.4, 0.81, 0.97, Bounds(0.005, -0.01, 0.02))
    run.take(TrainProgress(22, 30, (), (measured,)))
    figures = "best so far 93.50% (81.00 to 97.00) at step 22, drop 0.50 points (95 %: -1.00 to 2.00)"
    assert figures in details_of(run, False)
    assert run.bands == [pytest.approx((22.0, 93.5, 12.5, 3.5))]
    run.end(REPORT, PLAN)
    assert headline_of(run) == "Trained: 90.00% → 92.50% on samples kept aside"
    assert details_of(run, False).endswith(
        "The float model has 93.00% there. Apply takes weights, scales and thresholds over, as one step."
    )
    assert details_of(run, True).endswith("Applied.")


@pytest.mark.parametrize(
    ("report", "headline"),
    [
        (changed(ending="cancelled"), "Stopped: 90.00% → 92.50% on samples kept aside"),
        (changed(ending="diverged"), "Training diverged; the best so far is kept"),
        (changed(best=START), "Nothing became better; the plan stays as it is"),
        (
            changed(metric="output dB", start=MetricPoint(0, 20.0, 1), best=MetricPoint(9, 24.5, 1)),
            "Trained: 20.0 dB → 24.5 dB on samples kept aside",
        ),
    ],
)
def test_every_end_is_told(report: TrainReport, headline: str) -> None:
    assert headline_of(ended(report)) == headline


def test_the_smoothed_loss_is_the_mean_of_the_last_twenty() -> None:
    smoothed = ended(REPORT).smoothed
    assert smoothed[0] == 1.0
    assert smoothed[29] == pytest.approx(sum(1.0 / step for step in range(11, 31)) / 20)


def test_what_was_learned_leaves_other_edits() -> None:
    present = PlanData(choices={"n": "int16"}, thresholds={"a": 1.0, "b": 3.0}, corrections=("old",))
    found = applied(present, PLAN)
    assert found.choices == {"n": "int16"}
    assert found.thresholds == {"a": 2.0, "b": 3.0}
    assert found.corrections == ("old", "new")
    assert applied(found, PLAN) == found


def test_a_form_says_what_is_missing(tmp_path: Path) -> None:
    assert TrainingForm().problem == "Choose training data: a folder of pictures or an .npz file"
    assert TrainingForm(str(tmp_path / "absent")).problem.startswith("There is no ")
    (tmp_path / "x.csv").write_text("")
    assert TrainingForm(str(tmp_path / "x.csv")).problem == "Samples are a folder of pictures or an .npz file"
    assert TrainingForm(str(tmp_path)).problem == ""
    assert TrainingForm(str(tmp_path), options=TrainOptions(epochs=0)).problem == "0 epochs, expected at least 1"


@pytest.fixture
def panel(qtbot: QtBot) -> TrainingPanel:
    made = TrainingPanel(QtDocument(samples.filled()))
    qtbot.addWidget(made)
    made.set_available("")
    made.resize(900, 340)
    made.show()
    return made


def test_the_panel_asks_watches_and_applies(panel: TrainingPanel, tmp_path: Path) -> None:
    forms: list[TrainingForm] = []
    plans: list[tuple[PlanData, str]] = []
    panel.trainWanted.connect(forms.append)
    panel.applyWanted.connect(lambda plan, label: plans.append((plan, label)))
    assert not panel.train.isEnabled()
    assert panel.train.toolTip().startswith("Choose training data")
    panel.data.setText(str(tmp_path))
    panel.rate.setValue(50.0)
    panel.train.click()
    assert forms == [TrainingForm(str(tmp_path), options=TrainOptions(learning_rate=5e-5))]
    panel.begin()
    assert panel.stop.isVisible() and not panel.train.isVisible()
    panel.show_course(Training(id=1, revision=1, course=TrainProgress(10, 30, LOSSES[:10], (START,))))
    assert panel.curves is not None and panel.curves.isVisible()
    assert panel.progress.value() == 10
    panel.set_theme(DARK)
    panel.apply.click()
    assert plans == [], "there is nothing to apply yet"
    panel.show_result(Trained(id=1, revision=1, report=REPORT, plan=PLAN))
    panel.end()
    assert panel.train.isVisible() and not panel.stop.isVisible()
    panel.apply.click()
    ((plan, label),) = plans
    assert plan.corrections == ("old", "new") and label == "training"


def test_a_run_that_did_not_begin_and_another_model(panel: TrainingPanel) -> None:
    panel.begin()
    panel.end()
    assert panel.headline.text() == "Training did not begin"
    assert not panel.apply.isEnabled()
    panel.clear()
    assert panel.headline.text() == TITLE


def test_why_it_is_not_available_is_the_tip(panel: TrainingPanel, tmp_path: Path) -> None:
    panel.data.setText(str(tmp_path))
    assert panel.train.isEnabled()
    panel.set_available("Calibrate the model first")
    assert not panel.train.isEnabled()
    assert panel.train.toolTip() == "Calibrate the model first"
