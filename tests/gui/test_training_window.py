"""Training through the real window and the real engine process: watched, stopped, applied, undone."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from gui.document.notice import Level
from gui.main_window import MainWindow
from tests.gui.windows import MODELS, WAIT_MS


def test_a_run_is_watched_stopped_and_applied(window: MainWindow, qtbot: QtBot) -> None:
    document, panel = window.document.document, window.training
    assert not window.actions_.actions["model.train"].isEnabled()
    window.open_path(str(MODELS / "mobile_fmnist.qscope"))
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    window.actions_.trigger("model.train")
    assert panel.isVisible()
    panel.data.setText(str(MODELS / "fmnist_samples.npz"))
    panel.train.click()
    qtbot.waitUntil(lambda: panel.headline.text() == "Training did not begin", timeout=WAIT_MS)
    (error,) = [n for n in window.notices.board.notices if n.level is Level.ERROR]
    assert "has no split 'training'; choose one of: calibration, evaluation" in error.text

    panel.split.setText("calibration")
    panel.samples.setValue(60)
    panel.batch.setValue(8)
    panel.epochs.setValue(1000)
    panel.distill.setChecked(True)
    panel.train.click()
    qtbot.waitUntil(lambda: panel.run is not None and len(panel.run.losses) > 1, timeout=WAIT_MS)
    # An edit in the meantime is answered as ever, and the run goes on.
    document.set_default_method("max")
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    panel.stop.click()
    run = panel.run
    assert run is not None
    qtbot.waitUntil(lambda: not run.is_running, timeout=WAIT_MS)
    assert run.report is not None and run.plan is not None
    assert run.report.ending == "cancelled"
    if run.report.is_better:
        panel.apply.click()
        assert document.undo_label == "training"
        assert document.plan.default_method == "max"
        assert document.plan.corrections == run.plan.corrections
        qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
        window.actions_.trigger("edit.undo")
        assert document.plan.corrections == ()
        qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
