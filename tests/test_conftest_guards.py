"""The guards in the conftest files catch what they are there for, and let tidy tests pass."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent
ROOT = HERE.parent

ENGINE_TESTS = """
import logging, subprocess, sys, threading, warnings

import pytest

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]

@pytest.fixture(scope="module")
def shared_process():
    process = subprocess.Popen(SLEEP)
    yield process
    process.kill()
    process.wait()

kept = []

def test_leaks_process():
    kept.append(subprocess.Popen(SLEEP))

def test_after_leaked_process():
    assert kept[0].wait(10) is not None

def test_tidy_process():
    subprocess.run([sys.executable, "-c", "pass"], check=True)

def test_uses_shared_process(shared_process):
    assert shared_process.poll() is None

release = threading.Event()

def test_leaks_thread():
    threading.Thread(target=release.wait, args=(30,), name="forgotten").start()

def test_after_leaked_thread():
    release.set()

def test_tidy_thread():
    thread = threading.Thread(target=lambda: None)
    thread.start()

def test_warns():
    warnings.warn("old spelling", DeprecationWarning)

def test_logs_warning():
    logging.getLogger("engine.plan").warning("not what was meant")

def test_logs_warning_of_library():
    logging.getLogger("somelibrary").warning("chatter")

def test_logs_error_of_library():
    logging.getLogger("somelibrary").error("broken")

def test_expects_log(caplog):
    logging.getLogger("engine.plan").warning("what was meant")
    assert "meant" in caplog.text
"""

GUI_TESTS = """
from PySide6.QtCore import QThread, QTimer, qWarning
from PySide6.QtWidgets import QLabel

kept = []

def test_leaks_window(qapp):
    kept.append(QLabel("forgotten"))

def test_after_leaked_window(qapp):
    kept.clear()

def test_tidy_window(qtbot):
    label = QLabel("added")
    qtbot.addWidget(label)
    label.show()

def test_window_in_cycle(qapp):
    label = QLabel("cycle")
    label.itself = label

def test_window_deleted_later(qapp):
    QLabel("later").deleteLater()

def test_leaks_timer(qapp):
    timer = QTimer()
    timer.start(50)
    kept.append(timer)

def test_tidy_timer(qtbot):
    label = QLabel("owner")
    qtbot.addWidget(label)
    QTimer(label).start(50)

def test_leaks_qthread(qapp):
    thread = QThread()
    thread.start()
    kept.append(thread)

def test_tidy_qthread(qapp):
    thread = QThread()
    thread.start()
    thread.quit()
    thread.wait()

def test_qt_warns(qapp):
    qWarning("QPainter::begin: Paint device returned engine == 0")

def test_qt_quiet(qapp):
    pass
"""


def test_engine_guards(pytester: pytest.Pytester) -> None:
    outcomes = _outcomes(pytester, folder=".", tests=ENGINE_TESTS)
    assert _caught(outcomes) == {
        "test_leaks_process",
        "test_leaks_thread",
        "test_warns",
        "test_logs_warning",
        "test_logs_error_of_library",
    }


def test_gui_guards(pytester: pytest.Pytester) -> None:
    outcomes = _outcomes(pytester, folder="gui", tests=GUI_TESTS)
    assert _caught(outcomes) == {
        "test_leaks_window",
        "test_leaks_timer",
        "test_leaks_qthread",
        "test_qt_warns",
    }


def _outcomes(pytester: pytest.Pytester, *, folder: str, tests: str) -> list[str]:
    """Run tests under copies of the real configuration and conftest files, in a process of their own."""
    for name in ("conftest.py", "gui/conftest.py"):
        copy = pytester.path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text((HERE / name).read_text(encoding="utf-8"), encoding="utf-8")
    inner = pytester.path / folder / "test_inner.py"
    inner.write_text(tests, encoding="utf-8")
    settings = ["-c", ROOT / "pyproject.toml", "--rootdir", pytester.path]
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist"]
    result = pytester.runpytest_subprocess(*settings, *plugins, inner, timeout=90)
    return result.outlines


def _caught(lines: list[str]) -> set[str]:
    """Names of the tests that the summary lists as failed or, in their teardown, as erroneous."""
    summary = [line.split() for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return {words[1].rpartition("::")[2] for words in summary if "::" in words[1]}
