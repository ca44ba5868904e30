"""The panels of the compiled model in the real window with the real engine process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from gui.document.notice import Level
from gui.main_window import MainWindow
from tests.gui.windows import WAIT_MS, Answers, window_for

MODEL = Path(str(files("resources").joinpath("models"))) / "swin_fmnist.onnx"
PANELS = ("timeline", "memory", "roofline")


@pytest.fixture
def window(tmp_path: Path, qtbot: QtBot) -> Iterator[MainWindow]:
    made = window_for(tmp_path, Answers())
    qtbot.addWidget(made, before_close_func=lambda _: made.shutdown())
    made.resize(1600, 1000)
    made.show()
    document = made.document.document
    made.open_path(str(MODEL))
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)
    yield made
    qtbot.waitUntil(lambda: made.session.activity is None, timeout=WAIT_MS)
    document.saved("", document.plan)


def show(window: MainWindow, qtbot: QtBot, name: str) -> None:
    window.actions_.trigger(f"panel.{name}")
    qtbot.waitUntil(lambda: window.document.document.is_compiled, timeout=WAIT_MS)
    QApplication.processEvents()
    assert name in window.panels.seen
    assert window.actions_.actions[f"panel.{name}"].isChecked()


def test_all_panels_follow_the_plan_and_select_on_the_graph(window: MainWindow, qtbot: QtBot) -> None:
    document = window.document.document
    assert document.results.compiled.compilation is None, "nobody looks at it"
    for name in PANELS:
        show(window, qtbot, name)
    assert window.panels.seen == {"roofline"}, "the others are behind its tab"
    compilation = document.results.compiled.compilation
    assert compilation is not None
    assert compilation.timeline.kernels
    # The timeline, brought back to the front: a click on the longest job selects its nodes on the graph.
    window.actions_.trigger("panel.timeline")
    qtbot.waitUntil(lambda: window.panels.seen == {"timeline"})
    timeline = window.timeline.timeline
    assert timeline.model is not None
    longest = int(((timeline.model.end - timeline.model.start) * (timeline.model.kernel >= 0)).argmax())
    qtbot.mouseClick(timeline, Qt.MouseButton.LeftButton, pos=timeline.job_centre(longest).toPoint())
    nodes = timeline.model.nodes_of(longest)
    assert set(window.canvas.selection()) == set(nodes) & set(document.nodes)
    window.actions_.trigger("time.fit_selection")
    assert not timeline.time.span.is_whole
    # An edit is followed; what nobody sees is not asked for.
    before = window.timeline.head.text()
    document.mark([node for node in nodes if node in document.nodes][:1], "float")
    qtbot.waitUntil(lambda: document.is_compiled, timeout=WAIT_MS)
    assert window.timeline.head.text() != before, "the CPU has a part of it now"
    window.actions_.trigger("panel.timeline")
    for name in PANELS:  # none comes to the front in its place
        window.panels._docks[name].hide()
    qtbot.waitUntil(lambda: not window.panels.seen)
    document.undo()
    qtbot.waitUntil(lambda: document.is_timed and window.session.activity is None, timeout=WAIT_MS)
    assert not document.is_compiled
    assert [notice.text for notice in window.notices.board.notices if notice.level == Level.ERROR] == []


def test_a_panel_is_where_it_was_when_the_window_comes_back(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTED_ENGINE_LOG", str(tmp_path / "requests.txt"))
    command = (sys.executable, "-m", "tests.gui.client.scripted_engine", "well")
    first = window_for(tmp_path, Answers(), command)
    qtbot.addWidget(first, before_close_func=lambda made: made.shutdown())
    first.show()
    first.open_path("/models/small.qscope")
    qtbot.waitUntil(lambda: first.document.document.is_timed, timeout=WAIT_MS)
    show(first, qtbot, "memory")
    first.close()
    again = window_for(tmp_path, Answers(), command)
    qtbot.addWidget(again, before_close_func=lambda made: made.shutdown())
    again.show()
    qtbot.waitUntil(lambda: again.panels.seen == {"memory"})
    assert again.memory.empty.isVisible(), "nothing is open: it says what to do"
    again.reset_layout()
    qtbot.waitUntil(lambda: not again.panels.seen)
