"""The live session over a process that misbehaves: nothing of the user's is lost, and nothing hangs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from gui.client.client import EngineClient
from gui.client.restarts import RestartBudget
from gui.client.session import EngineSession
from gui.document.document import CalibrationSource, Document
from gui.document.notice import Level, Notice
from gui.document.qt_document import QtDocument

ENGINE = (sys.executable, "-m", "tests.gui.client.scripted_engine")
WAIT_MS = 20_000


class Bench:
    """A session over a scripted engine, and what it said."""

    def __init__(self, script: str, log: Path, budget: RestartBudget | None = None) -> None:
        self.document = Document()
        self.qt_document = QtDocument(self.document)
        self.client = EngineClient((*ENGINE, script))
        self.session = EngineSession(self.qt_document, self.client, budget)
        self.notices: list[Notice] = []
        self.session.noticed.connect(self.notices.append)
        self._log = log
        self.session.start()

    @property
    def requests(self) -> list[str]:
        return self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    log = tmp_path / "requests.txt"
    monkeypatch.setenv("SCRIPTED_ENGINE_LOG", str(log))
    made: list[Bench] = []

    def make(script: str, budget: RestartBudget | None = None) -> Bench:
        made.append(Bench(script, log, budget))
        return made[-1]

    yield make
    for item in made:
        item.session.shutdown()


def open_model(bench: Bench, qtbot: QtBot, path: str = "/models/small.qscope") -> None:
    bench.session.open(path)
    qtbot.waitUntil(lambda: bench.document.is_timed, timeout=WAIT_MS)


def test_opening_streams_results_into_the_document(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("well")
    open_model(it, qtbot)
    assert it.session.targets == (("journey5", "Journey 5"),)
    assert it.document.results.timed.timing is not None
    qtbot.waitUntil(lambda: it.client.pending() == [], timeout=WAIT_MS)
    assert it.session.activity is None


@pytest.mark.parametrize("script", ["crash-once", "garbage-once"])
def test_a_dead_engine_is_restarted_and_brought_back(bench: Callable[..., Bench], qtbot: QtBot, script: str) -> None:
    it = bench(script)
    open_model(it, qtbot)
    it.document.mark(["/stem/Conv"], "float")
    qtbot.waitUntil(lambda: it.document.is_timed, timeout=WAIT_MS)
    assert it.document.plan.choices == {"/stem/Conv": "float"}
    assert it.document.undo_label == "mark Conv float"
    assert it.requests[-3:] == ["Open", "UpdatePlan", "plan [('/stem/Conv', 'float')]"]
    assert [notice.level for notice in it.notices] == [Level.WARNING]
    assert "nothing is lost" in it.notices[0].text


def test_the_crash_message_carries_stderr(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("crash-once")
    open_model(it, qtbot)
    it.document.mark(["/stem/Conv"], "float")
    qtbot.waitUntil(lambda: bool(it.notices), timeout=WAIT_MS)
    assert "status 9" in it.notices[0].text
    assert "out of memory" in it.notices[0].details


def test_an_engine_that_keeps_dying_is_given_up(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("crash", RestartBudget(limit=2, period_s=3600.0))
    open_model(it, qtbot)
    it.document.mark(["/stem/Conv"], "float")
    qtbot.waitUntil(lambda: not it.session.is_running, timeout=WAIT_MS)
    assert [notice.level for notice in it.notices] == [Level.WARNING, Level.WARNING, Level.ERROR]
    assert it.notices[-1].action == "engine.restart"
    assert it.document.plan.choices == {"/stem/Conv": "float"}
    it.document.undo()
    it.session.restart()
    qtbot.waitUntil(lambda: it.document.is_timed, timeout=WAIT_MS)


def test_a_file_that_kills_the_engine_is_not_opened_again(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("well")
    open_model(it, qtbot)
    it.session.open("/models/poison.onnx")
    qtbot.waitUntil(lambda: it.requests.count("Open") == 3 and not it.client.pending(), timeout=WAIT_MS)
    assert "/models/poison.onnx" in it.notices[0].text
    assert it.document.opened_path == "/models/small.qscope"


def test_an_unsaved_calibration_is_done_again(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("crash-once")
    open_model(it, qtbot, "/models/small.onnx")
    it.session.calibrate(CalibrationSource("/data/samples.npz"))
    qtbot.waitUntil(lambda: it.document.calibration.is_done and it.document.is_timed, timeout=WAIT_MS)
    it.document.mark(["/stem/Conv"], "float")
    qtbot.waitUntil(lambda: it.document.is_timed, timeout=WAIT_MS)
    assert it.requests[-4:-1] == ["Open", "Calibrate", "UpdatePlan"]


def test_a_failed_open_leaves_the_document(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("well")
    open_model(it, qtbot)
    it.session.open("/models/missing.onnx")
    qtbot.waitUntil(lambda: bool(it.notices), timeout=WAIT_MS)
    assert it.notices[0] == Notice(Level.ERROR, "/models/missing.onnx: no such file; choose another")
    assert it.document.opened_path == "/models/small.qscope"
    assert it.session.activity is None


def test_edits_while_another_model_is_opened_wait(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("well")
    open_model(it, qtbot)
    it.session.open("/models/missing.onnx")
    it.document.mark(["/stem/Conv"], "int16")
    qtbot.waitUntil(lambda: it.document.is_timed, timeout=WAIT_MS)
    assert it.requests[-3:] == ["Open", "UpdatePlan", "plan [('/stem/Conv', 'int16')]"]


def test_a_hanging_engine_can_be_restarted(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("well")
    open_model(it, qtbot)
    with qtbot.waitSignal(it.session.settled, timeout=WAIT_MS):
        it.session.restart()
    assert it.requests.count("Open") == 2
    assert "was killed" in it.notices[0].text


def test_an_engine_that_cannot_start_is_reported(qtbot: QtBot) -> None:
    session = EngineSession(QtDocument(Document()), EngineClient(("/nowhere/python",)), RestartBudget(limit=0))
    with qtbot.waitSignal(session.noticed, timeout=WAIT_MS) as caught:
        session.start()
    notice = (caught.args or [None])[0]
    assert isinstance(notice, Notice)
    assert "could not be started" in notice.text
    session.open("/models/small.onnx")
    session.shutdown()


def test_an_engine_that_does_not_listen_is_killed(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("deaf")
    open_model(it, qtbot)
    it.session.shutdown()
    assert not it.client.is_running
    assert it.notices == []


def test_the_compiled_model_is_asked_for_while_a_view_shows_it(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("well")
    open_model(it, qtbot)
    it.document.mark(["/stem/Conv"], "int16")
    qtbot.waitUntil(lambda: it.document.is_timed and not it.client.pending(), timeout=WAIT_MS)
    assert "Compile" not in it.requests, "nobody looks at it"
    it.session.want_compilation("timeline", True)
    it.session.want_compilation("memory", True)
    qtbot.waitUntil(lambda: it.document.is_compiled, timeout=WAIT_MS)
    assert it.document.results.compiled.compilation is not None
    it.session.want_compilation("memory", False)
    it.document.undo()
    assert not it.document.is_compiled
    qtbot.waitUntil(lambda: it.document.is_compiled and not it.client.pending(), timeout=WAIT_MS)
    it.session.want_compilation("timeline", False)
    it.document.redo()
    qtbot.waitUntil(lambda: it.document.is_timed and not it.client.pending(), timeout=WAIT_MS)
    assert it.requests.count("Compile") == 2


def test_a_restarted_engine_compiles_what_was_lost(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("crash-once")
    it.session.want_compilation("timeline", True)
    open_model(it, qtbot)
    it.document.mark(["/stem/Conv"], "float")
    qtbot.waitUntil(lambda: it.document.is_compiled, timeout=WAIT_MS)
    assert it.requests[-2:] == ["plan [('/stem/Conv', 'float')]", "Compile"]


def test_why_a_plan_does_not_compile_is_kept_with_it(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("too-large")
    it.session.want_compilation("timeline", True)
    open_model(it, qtbot)
    qtbot.waitUntil(lambda: it.document.is_compiled, timeout=WAIT_MS)
    assert it.document.results.compiled.problem == "/stem/Conv: does not fit"
    assert it.notices == [], "the view says it: a message for every edit would be one too many"


def test_a_plan_that_is_not_taken_is_not_compiled(bench: Callable[..., Bench], qtbot: QtBot) -> None:
    it = bench("well")
    it.session.want_compilation("timeline", True)
    open_model(it, qtbot)
    qtbot.waitUntil(lambda: it.document.is_compiled, timeout=WAIT_MS)
    it.document.set_target("poison")
    qtbot.waitUntil(lambda: it.document.is_compiled and not it.client.pending(), timeout=WAIT_MS)
    assert it.document.results.compiled.compilation is None
    assert "no target" in it.document.results.compiled.problem
