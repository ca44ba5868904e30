"""A preset from the calibration dock of the real window, with the real engine process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from engine.session import Session
from gui.main_window import MainWindow
from tests.gui.windows import MODELS, WAIT_MS, Answers, window_for


@pytest.fixture
def window(tmp_path: Path, qtbot: QtBot) -> Iterator[MainWindow]:
    session = Session.open(MODELS / "mobile_fmnist.onnx")
    session.calibrate(MODELS / "fmnist_samples.npz", recipe=MODELS / "fmnist.toml", samples=4)
    project = session.save(tmp_path / "p.qscope")
    made = window_for(tmp_path, Answers())
    qtbot.addWidget(made, before_close_func=lambda _: made.shutdown())
    made.show()
    document = made.document.document
    made.open_path(str(project))
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)
    settle(made, qtbot)
    yield made


def settle(window: MainWindow, qtbot: QtBot) -> None:
    """Wait until the engine has nothing left to do."""
    qtbot.waitUntil(lambda: window.document.document.is_timed and window.session.activity is None, timeout=WAIT_MS)


def test_a_preset_is_stopped_run_and_taken_over_as_one_step(window: MainWindow, qtbot: QtBot) -> None:
    document, panel = window.document.document, window.calibration
    window.actions_.trigger("model.quantise")
    assert panel.isVisible() and panel.data.text().endswith("fmnist_samples.npz")
    panel.samples.setValue(4)
    with qtbot.waitSignal(window.session.quantiseEnded, timeout=WAIT_MS) as ended:
        panel.run.click()
        panel.run.click()
    assert ended.args == ["Stopped"] and panel.stage.text() == "Stopped"
    assert panel.run.text() == "Run" and not panel.apply.isEnabled()
    with qtbot.waitSignal(window.session.quantiseEnded, timeout=WAIT_MS) as ended:
        panel.run.click()
        assert panel.is_running
    assert ended.args == [""] and not panel.is_running
    assert panel.table.topLevelItemCount() >= 1 and panel.apply.isEnabled()
    before = document.plan
    panel.apply.click()
    assert document.plan != before and document.undo_label == "preset balanced"
    settle(window, qtbot)
    document.undo()
    assert document.plan == before
    settle(window, qtbot)
