"""Advice through the real window and the real engine process: asked for, watched, applied, undone."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from gui.document.document import CalibrationSource
from gui.document.notice import Level
from gui.main_window import MainWindow
from tests.gui.windows import MODELS, WAIT_MS

PROJECT = "/blocks.0/project/conv/Conv"


def test_remedies_for_the_selection_are_found_and_applied(window: MainWindow, qtbot: QtBot) -> None:
    document, panel = window.document.document, window.advice
    assert not window.actions_.actions["advice.model"].isEnabled()
    window.open_path(str(MODELS / "mobile_fmnist.onnx"))
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)
    source = CalibrationSource(str(MODELS / "fmnist_samples.npz"), str(MODELS / "fmnist.toml"), samples=4)
    window.session.calibrate(source)
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)

    window.view.select((PROJECT,))
    panel.samples.setValue(2)
    window.inspector.advise.click()
    assert panel.isVisible()
    assert panel.stop.isVisible()
    qtbot.waitUntil(lambda: panel.table.topLevelItemCount() > 0, timeout=WAIT_MS)
    # An edit in the meantime is answered as ever, and the advice goes on.
    document.mark(("/stem/conv/Conv",), "int16")
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not panel.stop.isVisible(), timeout=WAIT_MS)

    (place,) = [panel.table.topLevelItem(index) for index in range(panel.table.topLevelItemCount())]
    assert place is not None
    assert place.text(0) == "blocks.0/project/conv/Conv  (Conv, int8)"
    panel.table.itemDoubleClicked.emit(place.child(place.childCount() - 1), 0)
    assert document.undo_label == "mark Conv int16", "a row without a plan applies nothing"
    advice = panel._advice
    assert advice is not None
    assert advice.advice is not None
    (key,) = [trial.key for trial in advice.advice.trials if trial.remedy == "int16"]
    panel.applyWanted.emit(advice.applied(document.plan, key), "advice: by hand")
    assert document.plan.choices["/stem/conv/Conv"] == "int16"
    assert document.plan.choices[PROJECT] == "int16"
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    window.actions_.trigger("edit.undo")
    assert PROJECT not in document.plan.choices
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert not [n for n in window.notices.board.notices if n.level is Level.ERROR]


def test_advice_can_be_stopped(window: MainWindow, qtbot: QtBot) -> None:
    document, panel = window.document.document, window.advice
    window.open_path(str(MODELS / "mobile_fmnist.qscope"))
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    panel.whole.click()
    qtbot.waitUntil(lambda: panel.table.topLevelItemCount() > 0, timeout=WAIT_MS)
    panel.stop.click()
    qtbot.waitUntil(lambda: not panel.stop.isVisible(), timeout=WAIT_MS)
    assert panel.headline.text() == "No verdict: advice was stopped"
    assert not [n for n in window.notices.board.notices if n.level is Level.ERROR]
