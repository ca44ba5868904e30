"""The two forms of the graph for the canvas: operators as the user marks them, or the kernels that they became.

Qt-free.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from engine.reports import Compilation, KernelReport, NodeTime
from gui.canvas.scene import Decoration, Scene, SceneRegion
from gui.document.document import Document
from gui.document.overlay import Overlay
from gui.document.results import Results, Timed
from gui.panels import formats
from gui.panels.bounds import bound_title
from gui.panels.compiled_graph import CompiledGraph, compiled_graph
from gui.panels.facts import is_markable
from gui.panels.overlays import OVERLAYS, Heat, heat_of
from gui.panels.regions import regions_of
from gui.panels.scene_builder import decorations_of, scene_of

_NODES_LISTED = 8


class GraphFace(Protocol):
    """What the canvas shows, and which source nodes are behind each of its boxes."""

    @property
    def scene(self) -> Scene:
        """The boxes and what flows between them."""
        ...

    def boxes(self, nodes: Iterable[str]) -> list[str]:
        """The boxes that source nodes are in; a module's id stays as it is."""
        ...

    def nodes(self, boxes: Iterable[str]) -> list[str]:
        """The source nodes behind boxes."""
        ...

    def decorations(self, document: Document) -> Mapping[str, Decoration]:
        """Precisions by box."""
        ...

    def heat(self, document: Document, overlay: Overlay) -> Heat:
        """The heat map by box."""
        ...

    def card(self, document: Document, box: str) -> str:
        """What the hover card says of a box; "" where the graph has more to say."""
        ...


def regions_on(face: GraphFace, document: Document) -> tuple[SceneRegion, ...]:
    """The plan's fusion regions around boxes."""
    return tuple(replace(region, nodes=tuple(face.boxes(region.nodes))) for region in regions_of(document))


class SourceFace:
    """A box for each node of the model."""

    def __init__(self, document: Document) -> None:
        self._scene = scene_of(document.graph) if document.graph is not None else Scene()

    @property
    def scene(self) -> Scene:
        return self._scene

    def boxes(self, nodes: Iterable[str]) -> list[str]:
        return list(nodes)

    def nodes(self, boxes: Iterable[str]) -> list[str]:
        return list(boxes)

    def decorations(self, document: Document) -> Mapping[str, Decoration]:
        return decorations_of(document)

    def heat(self, document: Document, overlay: Overlay) -> Heat:
        return heat_of(document, overlay)

    def card(self, document: Document, box: str) -> str:
        return ""


class CompiledFace:
    """A box for each kernel."""

    def __init__(self, document: Document, compilation: Compilation) -> None:
        assert document.graph is not None, "a compilation is of an open model"
        self.compilation = compilation
        self.graph: CompiledGraph = compiled_graph(document.graph, compilation)

    @property
    def scene(self) -> Scene:
        return self.graph.scene

    def boxes(self, nodes: Iterable[str]) -> list[str]:
        return self.graph.boxes(nodes)

    def nodes(self, boxes: Iterable[str]) -> list[str]:
        return self.graph.nodes(boxes)

    def decorations(self, document: Document) -> Mapping[str, Decoration]:
        """A kernel looks as the node inside that matters most: one whose choice is refused, one with a choice, or else
        its anchor. Its values have the type of its last node.
        """
        of_nodes = decorations_of(document)
        found = {node.id: of_nodes[node.id] for node in self.scene.nodes}
        for anchor, kernel in self.graph.kernels.items():
            members = [of_nodes[node] for node in kernel.nodes]
            chosen = next((each for each in members if each.is_user_choice), of_nodes[anchor])
            shown = next((each for each in members if each.is_refused), chosen)
            found[anchor] = replace(shown, dtype=members[-1].dtype, fused_into="")
        return found

    def heat(self, document: Document, overlay: Overlay) -> Heat:
        """Times are those of the kernels; of the errors inside one, the worst."""
        spec = OVERLAYS.get(overlay)
        if spec is None:
            return Heat({})
        results = replace(document.results, timed=self._timed(document.results))
        read = {
            node.id: _worst(spec.read(results, member) for member in self._members(node.id))
            for node in self.scene.nodes
            if spec.includes_io or is_markable(document.nodes[node.id])
        }
        known = {box: value for box, value in read.items() if not math.isnan(value)}
        if not known:
            return Heat({})
        weigh = spec.weigh
        weights = {} if weigh is None else {box: weigh(results, box) for box in known}
        return Heat(known, spec.scale(spec.title, list(known.values())), weights)

    def card(self, document: Document, box: str) -> str:
        kernel = self.graph.kernels.get(box)
        return "" if kernel is None else kernel_card(kernel, self.compilation)

    def _members(self, box: str) -> tuple[str, ...]:
        kernel = self.graph.kernels.get(box)
        return (box,) if kernel is None else kernel.nodes

    def _timed(self, results: Results) -> Timed:
        """The kernels' times, each booked on its anchor."""
        times = {
            kernel.anchor: NodeTime(
                kernel.anchor, kernel.latency_us, kernel.bound, kernel.why, kernel.ddr_bytes, kernel.macs
            )
            for kernel in self.graph.kernels.values()
        }
        return replace(results.timed, nodes=times)


def _worst(values: Iterable[float]) -> float:
    """The least: what has more than one figure in a kernel is in decibels."""
    known = [value for value in values if not math.isnan(value)]
    return min(known) if known else math.nan


def kernel_card(kernel: KernelReport, compilation: Compilation) -> str:
    """The hover card of a kernel, as simple HTML."""
    count = len(kernel.nodes)
    title = kernel.region or kernel.anchor
    share = kernel.latency_us / 1000 / compilation.latency_ms if compilation.latency_ms else None
    time = f"{formats.number(kernel.latency_us, 'µs')}, {formats.percent(share)} of the frame"
    lines = [
        f"<b>{html.escape(title)}</b>",
        f"one kernel, {_counted(count, 'node')}, {_counted(kernel.tiles, 'tile')}",
        html.escape(f"{time}, bound by {bound_title(kernel.bound) or kernel.bound}"),
        html.escape(f"{formats.size(kernel.ddr_bytes)} of DDR traffic, {formats.count(kernel.macs)} MACs"),
        *(html.escape(node) for node in kernel.nodes[:_NODES_LISTED] if node != title),
    ]
    more = count - _NODES_LISTED
    return "<br>".join([*lines, *([f"and {more} more"] if more > 0 else [])])


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def caption_of(document: Document, face: GraphFace) -> tuple[str, bool]:
    """What the canvas says of the compiled view that was asked for, and whether it is a warning."""
    compiled = document.results.compiled
    if isinstance(face, CompiledFace):
        nodes, gone = len(document.nodes), len(face.graph.around)
        text = f"Compiled view: {nodes:,} nodes became {len(face.graph.kernels):,} kernels, {gone:,} need none"
        return (text, False) if document.is_compiled else (f"{text} – being updated …", False)
    if document.is_compiled:
        return f"Source view: the model cannot be compiled: {compiled.problem}", True
    return "Compiling …", False
