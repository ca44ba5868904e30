"""A picture of the real window with the real engine process, without a display."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from PySide6.QtCore import (
    QEventLoop,
    QMessageLogContext,
    QObject,
    QSettings,
    QTimer,
    QtMsgType,
    qFormatLogMessage,
    qInstallMessageHandler,
)

from engine.errors import EngineCrash, ExportError, QuantscopeError
from gui.app import application, make_window
from gui.document.notice import Level, Notice
from gui.document.overlay import Overlay
from gui.document.preferences import Preferences
from gui.main_window import MainWindow
from gui.panels.overlays import worst_first

DEFAULT_SIZE = (1600, 1000)
DEFAULT_TIMEOUT_S = 120.0

LAYOUT_ROUNDS = 6
"""A text that grew reaches the layouts around it one after the other, each in a round of events of its own."""


def render(
    path: str,
    output: str,
    overlay: str = Overlay.ACCUMULATED.value,
    size: tuple[int, int] = DEFAULT_SIZE,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> None:
    """Open a model or project, wait until its results are complete, and write a PNG of the window.

    The worst node of the overlay is selected, so that the inspector shows it.

    Args:
        path: The model or project.
        output: The picture to write.
        overlay: ``accumulated``, ``introduced``, ``latency``, ``bound``, ``sensitivity`` or ``none``.
        size: Width and height of the window in pixels.
        timeout_s: When to give up.

    Raises:
        QuantscopeError: the model cannot be opened, its results take too long, or the picture cannot be written.
    """
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = application()
    with tempfile.TemporaryDirectory() as folder, _without_platform_hints():
        settings = QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat)
        window = make_window(preferences=Preferences(settings))
        window.resize(*size)
        window.show()
        try:
            _Rendering(window, Overlay(overlay), timeout_s).wait_for(path)
            for _ in range(LAYOUT_ROUNDS):
                app.processEvents()
            _write(window, output)
        finally:
            window.shutdown()
            window.hide()
            window.deleteLater()


@contextmanager
def _without_platform_hints() -> Generator[None]:
    """Keep Qt's word about hints to a window manager, of which the offscreen platform has none, from the terminal."""

    def pass_on(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
        if message not in _PLATFORM_HINTS:
            print(qFormatLogMessage(kind, context, message), file=sys.stderr)

    previous = qInstallMessageHandler(pass_on)
    try:
        yield
    finally:
        qInstallMessageHandler(previous)


_PLATFORM_HINTS = (
    "This plugin does not support propagateSizeHints()",
    "This plugin does not support raise()",
)


class _Rendering(QObject):
    """Waits in an event loop for the results, then for the details of the worst node."""

    def __init__(self, window: MainWindow, overlay: Overlay, timeout_s: float) -> None:
        super().__init__(window)
        self._window = window
        self._overlay = overlay
        self._timeout_s = timeout_s
        self._loop = QEventLoop(self)
        self._problem: QuantscopeError | None = None
        self._is_settled = False
        window.session.noticed.connect(self._on_notice)
        window.session.settled.connect(self._on_settled)

    def wait_for(self, path: str) -> None:
        """Raises QuantscopeError if the engine reports an error, or the time is over."""
        limit = QTimer(self)
        limit.setSingleShot(True)
        limit.timeout.connect(self._on_timeout)
        limit.start(round(self._timeout_s * 1000))
        self._window.open_path(path)
        self._run()
        self._window.view.show_overlay(self._overlay)
        if self._overlay is Overlay.SENSITIVITY and self._window.document.document.calibration.is_done:
            self._window.document.errorsChanged.connect(self._on_sensed)
            self._run()
        if self._select_worst():
            self._window.session.inspected.connect(self._loop.quit)
            self._run()
        limit.stop()
        self._window.canvas.fit()

    def _run(self) -> None:
        self._loop.exec()
        if self._problem is not None:
            raise self._problem

    def _select_worst(self) -> bool:
        """Whether details of the worst node are on their way."""
        order = worst_first(self._window.heat.heat)
        self._window.view.select(order[:1])
        return bool(order) and self._window.document.document.calibration.is_done

    def _on_sensed(self) -> None:
        if self._window.document.document.is_sensed:
            self._loop.quit()

    def _on_settled(self) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._loop.quit()

    def _on_notice(self, notice: Notice) -> None:
        if notice.level == Level.ERROR:
            self._fail(QuantscopeError(notice.text))

    def _on_timeout(self) -> None:
        self._fail(EngineCrash(f"no complete results after {self._timeout_s:g} s", hint="use fewer samples"))

    def _fail(self, problem: QuantscopeError) -> None:
        self._problem = problem
        self._loop.quit()


def _write(window: MainWindow, output: str) -> None:
    folder = Path(output).absolute().parent
    if not folder.is_dir():
        raise ExportError("the folder does not exist", path=output, hint="make it first")
    if not window.grab().save(output, "PNG"):  # pyright: ignore[reportArgumentType, reportCallIssue]
        raise ExportError("the picture cannot be written", path=output, hint="choose another folder")
