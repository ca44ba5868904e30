"""How the real window keeps up with a drag over hundreds of nodes: Swin-T, every module open, with the real engine.

    python -m tests.benchmarks.drag [--moves 150]

For an area and for a line by hand, each drawn over the whole graph at 60 moves a second: milliseconds from a move to
the end of the paint that follows it, how many sets of nodes were judged and shown, and how long after the last move the
verdict on the nodes under the pointer shows. Then the change between operators and kernels, to the end of the paint.
Painting is into memory (Qt's offscreen platform).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QEvent, QPointF, QSettings, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from gui.app import application, make_window
from gui.document.preferences import Preferences
from gui.main_window import MainWindow
from tests.benchmarks.models import model_path
from tests.benchmarks.window import SIZE, Waiting

MOVE_MS = 1000 / 60
SHIFT = Qt.KeyboardModifier.ShiftModifier
LASSO = SHIFT | Qt.KeyboardModifier.AltModifier
TOGGLES = 10

Route = Callable[[float], tuple[float, float]]
"""Where the pointer is after a share of the drag, in shares of the canvas."""


@dataclass
class Drag:
    """What was measured of one drag; ``verdict_ms`` from its last move."""

    nodes: int = 0
    shown: int = 0
    verdict_ms: float = 0.0
    moves_ms: list[float] = field(default_factory=list)


@contextmanager
def swin_window() -> Iterator[tuple[MainWindow, Waiting]]:
    """The window with Swin-T open and timed, every module open."""
    with tempfile.TemporaryDirectory() as folder:
        settings = QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat)
        window = make_window(preferences=Preferences(settings))
        window.resize(*SIZE)
        window.show()
        waiting = Waiting(window)
        try:
            window.open_path(str(model_path("swin_t", "swin_t.onnx")))
            waiting.until(lambda: window.document.document.is_timed)
            window.canvas.expandAll()
            yield window, waiting
        finally:
            window.shutdown()
            window.hide()
            window.deleteLater()


def drag(window: MainWindow, waiting: Waiting, path: Route, modifiers: Qt.KeyboardModifier, moves: int) -> Drag:
    """Press, move and release; the draft is given up afterwards."""
    canvas, found = window.canvas, Drag()
    count = window.session.regionJudged.connect(lambda _: setattr(found, "shown", found.shown + 1))

    def place(share: float) -> QPointF:
        x, y = path(share)
        return QPointF(x * canvas.width(), y * canvas.height())

    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, modifiers, place(0.0).toPoint())
    for move in range(1, moves + 1):
        at, start = place(move / moves), time.perf_counter()
        where = QPointF(canvas.mapToGlobal(at.toPoint()))
        kind, none, left = QEvent.Type.MouseMove, Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton
        QApplication.sendEvent(canvas, QMouseEvent(kind, at, where, none, left, modifiers))
        canvas.repaint()
        found.moves_ms.append((time.perf_counter() - start) * 1e3)
        found.nodes = max(found.nodes, len(window.draft.nodes))
        QTest.qWait(max(round(MOVE_MS - found.moves_ms[-1]), 0))
    last = time.perf_counter()
    draft = window.draft
    waiting.until(lambda: draft.verdict is not None and set(draft.verdict.nodes) == set(draft.nodes))
    found.verdict_ms = (time.perf_counter() - last) * 1e3
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, modifiers, place(1.0).toPoint())
    window.session.regionJudged.disconnect(count)
    waiting.until(lambda: not window.session.is_judging)
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    window.view.select(())
    return found


def toggles(window: MainWindow, waiting: Waiting) -> list[float]:
    """Milliseconds from the key to the end of the paint, once both graphs were shown."""
    document, canvas = window.document.document, window.canvas
    QTest.keyClick(canvas, Qt.Key.Key_C)
    waiting.until(lambda: document.is_compiled)
    times: list[float] = []
    for _ in range(TOGGLES):
        start = time.perf_counter()
        QTest.keyClick(canvas, Qt.Key.Key_C)
        canvas.repaint()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def main() -> None:
    """Print medians and the largest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=150)
    moves = parser.parse_args().moves
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application()
    with swin_window() as (window, waiting):
        paths: dict[str, tuple[Route, Qt.KeyboardModifier]] = {
            "area": (lambda share: (0.001 + 0.997 * share, 0.002 + 0.995 * share), SHIFT),
            "line by hand": (_circle, LASSO),
        }
        for name, (path, modifiers) in paths.items():
            found = drag(window, waiting, path, modifiers, moves)
            median, most = statistics.median(found.moves_ms), max(found.moves_ms)
            print(
                f"{name}: up to {found.nodes} nodes; move to paint {median:.1f} ms ({most:.1f}); "
                f"{found.shown} verdicts shown, the last {found.verdict_ms:.0f} ms after the last move"
            )
        times = toggles(window, waiting)
        print(f"operators to kernels and back: {statistics.median(times):.0f} ms ({max(times):.0f})")


def _circle(share: float) -> tuple[float, float]:
    angle = 2 * math.pi * share + 3.9
    return 0.5 + 0.49 * math.cos(angle), 0.5 + 0.49 * math.sin(angle)


if __name__ == "__main__":
    main()
