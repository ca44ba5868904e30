"""How fast the real window follows a key: Swin-T, one middle MatMul to int16 and back, with the real engine process.

    python -m tests.benchmarks.window [--edits 10] [--panel timeline] [--profile]

For each edit: milliseconds from the key press to the end of the paint that shows the new latency map, from the key
press to the paint of the first new error map, and both for Ctrl+Z. Painting is into memory (Qt's offscreen platform),
all panels as a user first sees them; with ``--panel`` one of the compiled model too, and how long until it is painted.
``--profile`` prints where the window's own process spends that time.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QObject, QSettings, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from gui.app import application, make_window
from gui.document.document import CalibrationSource
from gui.document.notice import Level, Notice
from gui.document.overlay import Overlay
from gui.document.preferences import Preferences
from gui.main_window import MainWindow
from tests.benchmarks.models import model_path

SIZE = (1600, 1000)
SHAPE = (1, 3, 224, 224)
SAMPLES = 3
WARM_UP = 2
LIMIT_S = 180.0


class Waiting(QObject):
    """Waits in an event loop until something holds, or until it shows: the canvas painted after it came true."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__()
        self._canvas: QWidget = window.canvas
        self._loop = QEventLoop(self)
        self._condition: Callable[[], bool] = lambda: True
        self._poll = QTimer(self, interval=20)
        self._poll.timeout.connect(self._end_if_true)
        self._canvas.installEventFilter(self)
        self._problem = ""
        window.session.noticed.connect(self._on_notice)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; it is polled, so this is not for measuring."""
        self._condition = condition
        self._poll.start()
        self._run()
        self._poll.stop()

    def until_painted(self, condition: Callable[[], bool]) -> None:
        """Wait until the canvas and all beside it are painted with ``condition`` true."""
        self._condition = condition
        self._run()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint and self._condition():
            QCoreApplication.postEvent(self, QEvent(QEvent.Type.User))  # comes once this round of painting is over
        return False

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.User:
            self._loop.quit()
            return True
        return super().event(event)

    def _end_if_true(self) -> None:
        if self._condition():
            self._loop.quit()

    def _run(self) -> None:
        limit = QTimer(self)
        limit.setSingleShot(True)
        limit.timeout.connect(self._give_up)
        limit.start(round(LIMIT_S * 1e3))
        self._loop.exec()
        limit.stop()
        self._condition = lambda: False
        if self._problem:
            raise RuntimeError(self._problem)

    def _on_notice(self, notice: Notice) -> None:
        if notice.level == Level.ERROR:
            self._fail(notice.text)

    def _give_up(self) -> None:
        self._fail(f"the window did not follow within {LIMIT_S:g} s")

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._loop.quit()


@contextmanager
def swin_window() -> Iterator[tuple[MainWindow, Waiting]]:
    """The window with Swin-T open, calibrated on random samples and measured: the figures are about time alone."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "samples.npz"
        samples = np.random.default_rng(0).normal(size=(SAMPLES, *SHAPE[1:])).astype(np.float32)
        settings = QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat)
        window = make_window(preferences=Preferences(settings))
        window.resize(*SIZE)
        window.show()
        window.inspector.prepare()
        waiting = Waiting(window)
        document = window.document.document
        try:
            window.open_path(str(model_path("swin_t", "swin_t.onnx")))
            waiting.until(lambda: document.is_timed)
            assert document.graph is not None
            np.savez(data, **{document.graph.inputs[0]: samples})  # type: ignore[arg-type]
            window.session.calibrate(CalibrationSource(str(data)))
            waiting.until(lambda: document.is_measured)
            yield window, waiting
        finally:
            window.shutdown()
            window.hide()
            window.deleteLater()


def measure(window: MainWindow, waiting: Waiting, edits: int, note: Callable[[str, float], None]) -> None:
    """Mark MatMuls around the middle and take each mark back; the first edits are not counted."""
    document = window.document.document
    products = [info.id for info in document.nodes.values() if info.op_type == "MatMul"]
    middle = len(products) // 2
    for index, node_id in enumerate(products[middle - edits // 2 - WARM_UP :][: edits + WARM_UP]):
        counted = note if index >= WARM_UP else _ignore
        window.view.select((node_id,))
        waiting.until(lambda: window.session.activity is None and document.is_measured)
        QTest.qWait(50)  # the window is at rest, as it is before a user presses a key
        _follow(window, waiting, Qt.Key.Key_6, Qt.KeyboardModifier.NoModifier, "flip", counted)
        waiting.until(lambda: document.is_measured and window.session.activity is None)
        QTest.qWait(50)
        _follow(window, waiting, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier, "undo", counted)


def _follow(
    window: MainWindow,
    waiting: Waiting,
    key: Qt.Key,
    modifier: Qt.KeyboardModifier,
    name: str,
    note: Callable[[str, float], None],
) -> None:
    """Press a key with the latency map showing and time its paint; then, with the error map, the first error's."""
    document = window.document.document
    revision = document.revision
    window.view.show_overlay(Overlay.LATENCY)
    QTest.qWait(0)
    start = time.perf_counter()
    QTest.keyClick(window.canvas, key, modifier)
    assert document.revision == revision + 1, f"{key.name} changed nothing"
    waiting.until_painted(lambda: document.is_timed)
    note(f"{name}: latency map", (time.perf_counter() - start) * 1e3)
    window.view.show_overlay(Overlay.ACCUMULATED)
    waiting.until_painted(lambda: document.results.measured.revision == document.revision)
    note(f"{name}: first error map", (time.perf_counter() - start) * 1e3)


class Following(QObject):
    """Notes when a panel of the compiled model is painted after a key press."""

    def __init__(self, window: MainWindow, panel: str, note: Callable[[str, float], None]) -> None:
        super().__init__()
        self._panel, self._name = window.compiled[panel], panel
        self._note = note
        self._start = 0.0
        self._key = ""
        window.document.planChanged.connect(self._on_edit)
        window.document.compilationChanged.connect(self._on_compiled)
        self._document = window.document.document

    def _on_edit(self) -> None:
        self._start = time.perf_counter()
        self._key = "flip" if self._document.redo_label == "" else "undo"

    def _on_compiled(self) -> None:
        if self._document.is_compiled and self._start:
            self._panel.repaint()
            self._note(f"{self._key}: {self._name}", (time.perf_counter() - self._start) * 1e3)
            self._start = 0.0


def _ignore(name: str, milliseconds: float) -> None:
    pass


def main() -> None:
    """Print medians over edits of different nodes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=10)
    parser.add_argument("--panel", choices=("timeline", "memory", "roofline"), help="show it, and time it too")
    parser.add_argument("--profile", action="store_true", help="also print the window's own functions by time")
    options = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application()
    figures: dict[str, list[float]] = {}
    profiler = cProfile.Profile()
    with swin_window() as (window, waiting):
        nodes = len(window.document.document.nodes)
        following = None
        if options.panel:
            window.actions_.trigger(f"panel.{options.panel}")
            waiting.until(lambda: window.document.document.is_compiled)
            following = Following(window, options.panel, lambda key, value: figures.setdefault(key, []).append(value))
        if options.profile:
            profiler.enable()
        measure(window, waiting, options.edits, lambda name, value: figures.setdefault(name, []).append(value))
        profiler.disable()
        del following
    print(f"{nodes} nodes, {options.edits} edits, median (largest) in ms from the key press to the end of the paint")
    for name, values in figures.items():
        print(f"{name:24} {statistics.median(values):8.1f} ({max(values):.1f})")
    if options.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
