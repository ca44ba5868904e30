"""What every test of the window runs under: no widget, thread or timer of Qt outlives its test."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QStandardPaths, QThread, QTimer
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from gui.main_window import MainWindow
from tests.gui.windows import WAIT_MS, Answers, window_for

QT_OWN_WINDOWS = {"QTipLabel"}
"""Windows that Qt makes once and keeps: the tool tip."""

GRACE_MS = 2000

_Object = TypeVar("_Object", bound=QObject)


@pytest.fixture(scope="session", autouse=True)
def private_qt_folders() -> Iterator[None]:
    """Send what QStandardPaths and QSettings find to folders of their own, on every system."""
    QStandardPaths.setTestModeEnabled(True)
    yield
    QStandardPaths.setTestModeEnabled(False)


@pytest.fixture(autouse=True)
def no_leftover_widgets(qapp: QApplication) -> Iterator[None]:
    """Fail a test that leaves a window behind which neither a parent nor ``qtbot.addWidget`` owns."""
    before = {_address(widget) for widget in _windows()}
    yield
    _delete_what_is_due(qapp)
    left = _windows_besides(before)
    if left:
        left.clear()
        gc.collect()  # a window in a reference cycle is only late, not left
        left = _windows_besides(before)
    if left:
        described = ", ".join(repr(widget) for widget in left)
        for widget in left:
            widget.deleteLater()
        _delete_what_is_due(qapp)
        pytest.fail(f"left behind {len(left)} window(s): {described}")


def _windows() -> list[QWidget]:
    """Top-level widgets that no other object owns."""
    return [
        widget
        for widget in QApplication.topLevelWidgets()
        if widget.parent() is None and widget.metaObject().className() not in QT_OWN_WINDOWS
    ]


def _windows_besides(known: set[int]) -> list[QWidget]:
    return [widget for widget in _windows() if _address(widget) not in known]


def _address(widget: QWidget) -> int:
    """Where the C++ object lies; unlike a wrapper it says which window this is without keeping it alive."""
    return shiboken6.getCppPointer(widget)[0]


def _delete_what_is_due(app: QApplication) -> None:
    """Carry out deleteLater, which processEvents leaves alone while no event loop runs."""
    app.processEvents()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


@pytest.fixture(autouse=True)
def no_leftover_qthreads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves a QThread running; Qt would abort the process when that object goes."""
    started = _record_starts(monkeypatch, QThread, QThread.isRunning)
    yield
    left = [thread for thread in started() if not thread.wait(GRACE_MS)]
    if left:
        described = ", ".join(repr(thread) for thread in left)
        for thread in left:
            _end(thread)
        pytest.fail(f"left behind {len(left)} running QThread(s): {described}")


@pytest.fixture(autouse=True)
def no_leftover_timers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves a timer ticking, which would fire in the middle of another test."""
    started = _record_starts(monkeypatch, QTimer, QTimer.isActive)
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    left = started()
    if left:
        described = ", ".join(f"{timer!r} of {timer.parent()!r}" for timer in left)
        for timer in left:
            timer.stop()
        pytest.fail(f"left behind {len(left)} active timer(s): {described}")


def _end(thread: QThread) -> None:
    """Stop a thread so that the next test can run: by its event loop if it has one, else by force."""
    thread.quit()
    if not thread.wait(GRACE_MS):
        thread.terminate()
        thread.wait(GRACE_MS)


def _record_starts(
    monkeypatch: pytest.MonkeyPatch, kind: type[_Object], is_busy: Callable[[_Object], bool]
) -> Callable[[], list[_Object]]:
    """Note every ``start`` of a kind of Qt object and return the query for those that still run.

    A plain function replaces the method: PySide6 can crash on a Mock in that place.
    """
    references: list[weakref.ref[_Object]] = []
    original = kind.start  # pyright: ignore[reportAttributeAccessIssue]

    def start(self: _Object, *arguments: object) -> None:
        references.append(weakref.ref(self))
        original(self, *arguments)

    monkeypatch.setattr(kind, "start", start)

    def running() -> list[_Object]:
        objects = [reference() for reference in references]
        return [item for item in objects if item is not None and shiboken6.isValid(item) and is_busy(item)]

    return running


@pytest.fixture
def window(tmp_path: Path, qtbot: QtBot) -> Iterator[MainWindow]:
    """A window with an engine process of its own; what the test left unsaved is given up."""
    made = window_for(tmp_path, Answers(), live_samples=1)
    qtbot.addWidget(made, before_close_func=lambda _: made.shutdown())
    made.resize(1400, 900)
    made.show()
    yield made
    qtbot.waitUntil(lambda: made.session.activity is None, timeout=WAIT_MS)
    made.document.document.saved("", made.document.document.plan)
