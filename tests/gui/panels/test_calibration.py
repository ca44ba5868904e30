"""The calibration dock: its texts, its curve, and which buttons may be pressed."""

from __future__ import annotations

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from engine.plan.data import PlanData
from engine.reports import Interval
from engine.reports_quantise import QuantiseProgress, StepResult
from gui.document.document import Document
from gui.document.qt_document import QtDocument
from gui.panels.calibration import model
from gui.panels.calibration.curve import StepCurve
from gui.panels.calibration.widget import CalibrationPanel
from gui.theme import DARK
from tests.gui import samples

STEPS = (
    StepResult("equalise", "Equalise channels", Interval(22.0, 1.0), Interval(4.0, 0.5), kept=True),
    StepResult("bias", "Take mean errors off", Interval(21.0, 1.0), Interval(-1.0, 0.5), kept=False),
)
FOUND = QuantiseProgress(
    preset="balanced",
    before_db=Interval(18.0, 2.0),
    output_db=Interval(22.0, 1.0),
    fitted=48,
    judged=16,
    total=3,
    steps=STEPS,
    agreement=0.985,
)


def test_texts() -> None:
    assert model.summary_of(FOUND) == (
        "Output 18.0 ± 2.0 dB before, 22.0 ± 1.0 dB now, 98.50 % as float. 2 of 3 steps. "
        "Fitted on 48 samples, judged on 16."
    )
    assert "2 of 3 steps, stopped." in model.summary_of(msgspec.structs.replace(FOUND, stopped=True))
    assert model.warning_of(FOUND) == ""
    assert "± 1.0 dB" in model.warning_of(msgspec.structs.replace(FOUND, judged=2))
    one = msgspec.structs.replace(FOUND, judged=1, output_db=Interval(22.0))
    assert "of one sample there is none" in model.warning_of(one)
    rows = model.rows_of(FOUND)
    assert rows[0].texts == ("Equalise channels", "22.0 ± 1.0", "4.0 ± 0.5", "kept")
    assert rows[1].texts[-1] == "no gain" and not rows[1].kept


def test_the_curve_holds_every_interval(qtbot: QtBot) -> None:
    curve = StepCurve()
    qtbot.addWidget(curve)
    curve.resize(400, 200)
    points = model.points_of(FOUND)
    assert [(point.label, point.kept) for point in points] == [
        ("Before", True), ("Equalise channels", True), ("Take mean errors off", False),
    ]  # fmt: skip
    curve.show_points(points, FOUND.total)
    low, high = curve.scale()
    assert low < 16.0 and high > 23.0
    places = [curve.place(i, point.mean_db) for i, point in enumerate(points)]
    assert places[0].x() < places[1].x() < places[2].x() < curve.width()
    assert places[1].y() < places[2].y() < places[0].y()
    assert curve.tip_at(places[2].x()).endswith("21.0 ± 1.0 dB, not kept")
    assert curve.tip_at(places[2].x() + 100) == ""
    painted = curve.grab().toImage()
    curve.show_points((), 1)
    assert painted != curve.grab().toImage()
    same = msgspec.structs.replace(FOUND, before_db=Interval(5.0), steps=())
    curve.show_points(model.points_of(same), 1)
    low, high = curve.scale()
    assert high - low >= 2.0


@pytest.fixture
def document() -> QtDocument:
    document = QtDocument(Document())
    document.document.open(samples.opened(calibrated=True), "m.onnx")
    return document


def test_a_run_from_start_to_apply(qtbot: QtBot, document: QtDocument) -> None:
    panel = CalibrationPanel(document)
    qtbot.addWidget(panel)
    panel.set_theme(DARK)
    assert not panel.apply.isEnabled() and panel.run.text() == "Run"
    with qtbot.waitSignal(panel.runWanted) as run:
        panel.run.click()
    assert run.args == ["balanced", 64]
    panel.start()
    assert panel.run.text() == "Stop" and not panel.samples.isEnabled() and panel.bar.isVisibleTo(panel)
    panel.show_progress("Equalise channels", 30, 300)
    assert (panel.bar.value(), panel.bar.maximum(), panel.stage.text()) == (30, 300, "Equalise channels")
    plan = msgspec.structs.replace(document.document.plan, thresholds={"x": 2.0})
    panel.show_result(FOUND, plan)
    assert panel.table.topLevelItemCount() == 2
    with qtbot.waitSignal(panel.stopWanted):
        panel.run.click()
    panel.finish("Stopped")
    assert "stopped" in panel.summary.text() and panel.apply.isEnabled()
    with qtbot.waitSignal(panel.applyWanted) as applied:
        panel.apply.click()
    assert applied.args == [plan, "preset balanced"]
    document.document.adopt(plan, "preset balanced")
    assert not panel.apply.isEnabled() and panel.apply.toolTip() == "It is the present plan"
    document.document.undo()
    assert panel.apply.isEnabled()


def test_a_plan_of_other_choices_is_not_applied(qtbot: QtBot, document: QtDocument) -> None:
    panel = CalibrationPanel(document)
    qtbot.addWidget(panel)
    panel.start()
    panel.show_result(FOUND, PlanData(thresholds={"x": 1.0}))
    panel.finish()
    assert panel.apply.isEnabled()
    document.document.set_default_method("max")
    assert not panel.apply.isEnabled() and "changed since" in panel.apply.toolTip()
    panel.set_available("Calibrate the model first")
    assert not panel.run.isEnabled() and panel.run.toolTip() == "Calibrate the model first"
    panel.clear()
    assert panel.table.topLevelItemCount() == 0 and not panel.summary.isVisibleTo(panel)
