"""The application: starts the engine first, so that its imports overlap with the window's, then shows the
window.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from engine.errors import QuantscopeError
from gui.client.client import EngineClient
from gui.client.process import ENGINE_COMMAND
from gui.client.session import LIVE_SAMPLES, EngineSession
from gui.document.document import Document
from gui.document.notice import Level, Notice
from gui.document.preferences import APPLICATION, ORGANISATION, Preferences
from gui.document.qt_document import QtDocument
from gui.main_window import MainWindow
from gui.panels.dialogs.prompts import Prompts

PREPARE_AFTER_MS = 400
"""The window has been painted by then, and the engine is still importing."""


class CrashHook:
    """Turns exceptions that nobody caught into messages; the window goes on."""

    def __init__(self, post: Callable[[Notice], None]) -> None:
        self._post = post
        self._is_reporting = False
        self._previous = sys.excepthook

    def install(self) -> None:
        self._previous, sys.excepthook = sys.excepthook, self.report

    def remove(self) -> None:
        sys.excepthook = self._previous

    def report(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Show an exception: an expected one as its line, any other with its traceback to copy."""
        if issubclass(kind, KeyboardInterrupt) or self._is_reporting:
            self._previous(kind, error, trace)
            return
        if threading.current_thread() is not threading.main_thread():
            self._previous(kind, error, trace)
            return
        self._is_reporting = True
        try:
            self._post(notice_of(error))
        finally:
            self._is_reporting = False


def notice_of(error: BaseException) -> Notice:
    """What the user is told about an exception."""
    if isinstance(error, QuantscopeError):
        return Notice(Level.ERROR, str(error))
    details = "".join(traceback.format_exception(error))
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return Notice(Level.ERROR, f"Unexpected error, the window goes on: {line}", details)


def make_window(
    command: Sequence[str] = ENGINE_COMMAND,
    preferences: Preferences | None = None,
    prompts: Prompts | None = None,
    live_samples: int = LIVE_SAMPLES,
) -> MainWindow:
    """A window with an engine process of its own, which is already starting.

    ``live_samples`` is how many samples the errors that follow every edit are measured on.
    """
    document = QtDocument(Document())
    client = EngineClient(command)
    session = EngineSession(document, client, live_samples=live_samples)
    client.setParent(session)
    session.start()
    window = MainWindow(document, session, preferences, prompts)
    document.setParent(window)
    session.setParent(window)
    return window


def run(path: str | None = None) -> int:
    """Show the window, with a model or project if given, until it is closed. Returns the exit status."""
    app = application()
    window = make_window()
    hook = CrashHook(window.post)
    hook.install()
    window.show()
    if path is not None:
        window.open_path(path)
    QTimer.singleShot(PREPARE_AFTER_MS, window, window.inspector.prepare)
    status = app.exec()
    window.shutdown()
    hook.remove()
    return status


def application() -> QApplication:
    """The one QApplication of this process, named so that settings find their place."""
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(sys.argv[:1])
    app.setOrganizationName(ORGANISATION)
    app.setApplicationName(APPLICATION)
    app.setApplicationDisplayName(APPLICATION)
    return app
