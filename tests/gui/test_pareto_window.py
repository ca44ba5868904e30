"""A search of plans through the real window and engine: watched, stopped, applied, undone, while edits are answered."""

from __future__ import annotations

import shutil
from pathlib import Path

from pytestqt.qtbot import QtBot

from gui.document.notice import Level
from gui.main_window import MainWindow
from tests.gui.windows import MODELS, WAIT_MS


def test_a_search_fills_the_panel_while_edits_are_answered(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    for name in ("mobile_fmnist.onnx", "mobile_fmnist.qscope", "fmnist_samples.npz"):
        shutil.copy(MODELS / name, tmp_path)
    document, panel = window.document.document, window.pareto
    assert not panel.button.isEnabled()
    window.open_path(str(tmp_path / "mobile_fmnist.qscope"))
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    window.actions_.trigger("tune.open")
    panel.button.click()
    qtbot.waitUntil(lambda: len(panel.model.points) >= 3, timeout=WAIT_MS)
    document.mark(("/stem/conv/Conv",), "int16")
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert panel.is_running
    tried = len(panel.model.points)

    def in_int16() -> list[int]:
        return [number for number, point in panel.model.points.items() if point.int16_nodes]

    qtbot.waitUntil(lambda: len(panel.model.points) > tried and bool(in_int16()), timeout=WAIT_MS)
    panel.button.click()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=WAIT_MS)

    number = in_int16()[0]
    panel.choose(number)
    panel.apply.click()
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert panel.model.present(document.plan) == number
    window.actions_.trigger("edit.undo")
    assert document.plan.choices == {"/stem/conv/Conv": "int16"}
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert (tmp_path / "mobile_fmnist.tune.jsonl").exists()
    assert not [n for n in window.notices.board.notices if n.level is Level.ERROR]
