"""How fast the panels of the compiled model are painted while one moves through them.

    python -m tests.benchmarks.panels [--jobs 20000] [--blocks 3000]

Processor milliseconds (one thread paints) to take over a compilation and per frame, median and worst: timeline and
memory plan panned by some pixels at each magnification (level of detail from sums per pixel to bars with names), the
timeline with every job selected, and the roofline moved. Painting is into a picture of 1600 × 300 pixels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

from PySide6.QtWidgets import QWidget

from gui.app import application
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.memory.widget import MemoryPanel
from gui.panels.roofline.widget import RooflinePanel
from gui.panels.time_view import SharedTime, TimeView
from gui.panels.timeline.widget import TimelinePanel
from tests.gui import compilations, samples

SIZE = (1600, 300)
MAGNIFICATIONS = (1, 4, 16, 64, 256)
FRAMES = 30
STEP_PX = 7.0
SIDES = (-0.02, 0.02)


def milliseconds(action: Callable[[], object]) -> float:
    start = time.thread_time()
    action()
    return 1e3 * (time.thread_time() - start)


def frames(widget: QWidget, change: Callable[[int], object]) -> str:
    """Median and worst time of a change and the paint that shows it."""

    def frame(number: int) -> None:
        change(number)
        widget.grab()

    frame(0)
    times = [milliseconds(lambda number=number: frame(number)) for number in range(1, FRAMES + 1)]
    return f"{statistics.median(times):6.1f} ms a frame, worst {max(times):.1f}"


def measure_time_view(view: TimeView) -> None:
    """Pan at each magnification."""
    for magnification in MAGNIFICATIONS:
        view.fit()
        span = view.time.span
        view.time.show_span(span.zoomed(magnification, 0.4 * span.total_us))

        def pan(number: int) -> None:
            view.time.show_span(view.time.span.moved((STEP_PX if number % 2 else -STEP_PX) * view.us_per_pixel))
            view.redraw()

        print(f"  pan at {magnification:4}×            {frames(view, pan)}")
    view.fit()


def main() -> None:
    """Print the figures of all panels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--blocks", type=int, default=3_000)
    options = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = application()
    many, blocks = compilations.many(options.jobs), compilations.many_blocks(options.blocks)
    document, view = QtDocument(samples.filled()), SharedView()
    shared = SharedTime()
    timeline = TimelinePanel(document, view, shared)
    memory = MemoryPanel(document, view, shared)
    roofline = RooflinePanel(document, view)
    for panel in (timeline, memory, roofline):
        panel.resize(*SIZE)
        panel.set_watched(True)
        panel.show()
        app.processEvents()
        shown = blocks if panel is memory else many
        print(f"{type(panel).__name__}: {len(shown.timeline.engine):,} jobs, {len(shown.memory.blocks):,} blocks")
        first = milliseconds(lambda shown=shown: document.document.compile(document.document.revision, shown))
        print(f"  taken over            {first:6.1f} ms")
        app.processEvents()
        if panel is timeline:
            measure_time_view(timeline.timeline)
            timeline.timeline.set_selected(tuple(range(len(many.timeline.kernels))))
            print(f"  all jobs selected     {frames(timeline.timeline, lambda _: timeline.timeline.redraw())}")
        elif panel is memory:
            measure_time_view(memory.plan)
        elif roofline.plot is not None:
            move = roofline.plot.view.translateBy
            print(f"  moved                 {frames(roofline.plot, lambda n, move=move: move(x=SIDES[n % 2]))}")
        panel.set_watched(False)
        panel.hide()


if __name__ == "__main__":
    main()
