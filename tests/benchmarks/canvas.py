"""How long the canvas takes to lay out, open, paint and recolour graphs of 640 and 10,000 operators.

Run: QT_QPA_PLATFORM=offscreen python -m tests.benchmarks.canvas
Times are the best of several, in milliseconds; painting is into an image of 1600 × 1000 pixels.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication

from gui.canvas.compound import CompoundBuilder
from gui.canvas.folding import UNBOUNDED, Viewport
from gui.canvas.hierarchy import Hierarchy
from gui.canvas.layout import lay_out
from gui.canvas.scene import Decoration, HeatScale, Scene
from gui.canvas.widget import GraphCanvas
from tests.gui.canvas.graphs import layered, random_edges, swin

WINDOW = Viewport(1556.0, 890.0)
SCALE = HeatScale(1e-6, 1e-1, log=True, label="MSE")


def milliseconds(action: Callable[[], object], times: int = 5) -> float:
    """The best of some runs."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def report(name: str, action: Callable[[], object], times: int = 5) -> None:
    print(f"  {name:<52} {milliseconds(action, times):8.1f} ms")


def measure_layout(scene: Scene) -> None:
    """Hierarchy and layout without Qt; every time from an empty cache unless said otherwise."""
    edges = [(scene.index[e.source], scene.index[e.target]) for e in scene.edges]
    flat = layered(len(scene.nodes), edges)
    hierarchy = Hierarchy(scene)
    everything = range(len(hierarchy.groups))
    report("hierarchy", lambda: Hierarchy(scene))
    report("flat, one column", lambda: lay_out(flat, UNBOUNDED))
    report("flat, folded to the window", lambda: lay_out(flat, WINDOW))
    report("first levels open", lambda: CompoundBuilder(hierarchy).build(hierarchy.default_expanded(), WINDOW))
    report("all groups open", lambda: CompoundBuilder(hierarchy).build(everything, WINDOW))
    kept = CompoundBuilder(hierarchy)
    report("all groups open, again", lambda: kept.build(everything, WINDOW))


def measure_painting(scene: Scene) -> None:
    """The widget from end to end."""
    canvas = GraphCanvas()
    canvas.resize(1600, 1000)
    image = QImage(1600, 1000, QImage.Format.Format_RGB32)
    heats = [{n.id: 10.0 ** -(1 + (i * k) % 6) for i, n in enumerate(scene.nodes)} for k in (7, 11)]
    report("setScene", lambda: canvas.setScene(scene), 3)
    canvas.setDecorations({n.id: Decoration("auto", "int8") for n in scene.nodes})
    canvas.setHeat(heats[0], SCALE)
    report("expandAll", canvas.expandAll, 3)

    def pan() -> None:
        canvas.panBy(1.0, 0.0)
        canvas.render(image)

    def recolour() -> None:
        heats.reverse()
        canvas.setHeat(heats[0], SCALE)
        canvas.render(image)

    report("fitted, all open: repaint", lambda: canvas.render(image))
    report("fitted, all open: pan and paint", pan)
    report("fitted, all open: new heat and paint", recolour)
    for zoom in (0.2, 0.5, 1.0):
        canvas.reveal(scene.nodes[len(scene.nodes) // 2].id)
        canvas.zoomBy(zoom / canvas.viewState().zoom)
        report(f"zoom {zoom}: pan and paint", pan)
    corners = canvas.width() - 1.0, canvas.height() - 1.0
    report("what is under the pointer", lambda: canvas.itemAt(QPointF(corners[0] / 2, corners[1] / 2)))
    report("select by area", lambda: canvas.selectArea(QRectF(0, 0, *corners), add=False))
    canvas.deleteLater()


def main() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application = QApplication.instance() or QApplication([])
    for depths in ((2, 2, 11, 2), (2, 2, 6, 2) * 22):
        scene = swin(depths)
        print(f"{len(scene.nodes)} operators, {len(scene.edges)} edges")
        measure_layout(scene)
        measure_painting(scene)
    print("423 operators, random with long edges")
    report("flat, one column", lambda: lay_out(layered(423, random_edges(423, 1, reach=60)), UNBOUNDED), 2)
    del application


if __name__ == "__main__":
    main()
