"""A search of plans through the real window and engine: watched, stopped, applied, undone, while edits are answered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from gui.document.notice import Level
from gui.main_window import MainWindow
from tests.gui.windows import Answers, window_for

MODELS = Path(str(files("resources").joinpath("models")))
WAIT_MS = 100_000


@pytest.fixture
def window(tmp_path: Path, qtbot: QtBot) -> Iterator[MainWindow]:
    for name in ("mobile_fmnist.onnx", "mobile_fmnist.qscope", "fmnist_samples.npz"):
        shutil.copy(MODELS / name, tmp_path)
    made = window_for(tmp_path, Answers(), live_samples=1)
    qtbot.addWidget(made, before_close_func=lambda _: made.shutdown())
    made.resize(1400, 900)
    made.show()
    yield made
    qtbot.waitUntil(lambda: made.session.activity is None, timeout=WAIT_MS)
    made.document.document.saved("", made.document.document.plan)


def test_a_search_fills_the_panel_while_edits_are_answered(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
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
    qtbot.waitUntil(lambda: len(panel.model.points) > tried, timeout=WAIT_MS)
    panel.button.click()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=WAIT_MS)

    number = next(n for n, point in panel.model.points.items() if point.origin == "all int16")
    panel.choose(number)
    panel.apply.click()
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert panel.model.present(document.plan) == number
    window.actions_.trigger("edit.undo")
    assert document.plan.choices == {"/stem/conv/Conv": "int16"}
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert (tmp_path / "mobile_fmnist.tune.jsonl").exists()
    assert not [n for n in window.notices.board.notices if n.level is Level.ERROR]
