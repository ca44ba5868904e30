"""Sensitivity and explanations through the real window and the real engine process."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from gui.document.document import CalibrationSource
from gui.document.overlay import Overlay
from gui.main_window import MainWindow
from tests.gui.windows import MODELS, WAIT_MS

PROJECT = "/blocks.0/project/conv/Conv"


def test_sensitivity_is_measured_while_it_is_shown(window: MainWindow, qtbot: QtBot) -> None:
    document = window.document.document
    window.open_path(str(MODELS / "mobile_fmnist.onnx"))
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)
    source = CalibrationSource(str(MODELS / "fmnist_samples.npz"), str(MODELS / "fmnist.toml"), samples=4)
    window.session.calibrate(source)
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert document.results.sensed.sensitivities is None, "nobody looks at it"

    window.actions_.trigger("overlay.sensitivity")
    qtbot.waitUntil(lambda: document.is_sensed, timeout=WAIT_MS)
    assert window.heat.heat.scale is not None and window.heat.heat.scale.label.startswith("Sensitivity")
    before = document.results.sensed.nodes[PROJECT].output_db.mean
    assert before is not None

    document.mark((PROJECT,), "int16")
    assert not document.is_sensed
    qtbot.waitUntil(lambda: document.is_sensed, timeout=WAIT_MS)
    after = document.results.sensed.nodes[PROJECT].output_db.mean
    assert after is not None and after != before

    window.view.select((PROJECT,))
    inspector = window.inspector
    qtbot.waitUntil(lambda: inspector.causes.isVisible(), timeout=WAIT_MS)
    assert inspector._explanation is not None and inspector._explanation.id == PROJECT
    worst = inspector._explanation.samples[0].sample
    inspector.causes.linkClicked.emit(str(worst))
    qtbot.waitUntil(lambda: window.distribution.found is not None, timeout=WAIT_MS)
    found = window.distribution.found
    assert found is not None and (found.id, found.sample) == (PROJECT, worst)
    assert found.view is not None and found.view.picture is not None
    assert window.histogram.isVisible()
    window.view.show_overlay(Overlay.LATENCY)
    document.undo()
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert not document.is_sensed
