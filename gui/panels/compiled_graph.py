"""The compiled model as a graph to draw: a box for each kernel, and what flows between them. Qt-free.

Nodes that no kernel computes (data movement that vanished into views, factors that were folded) are not drawn; what
flows through them flows from kernel to kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.reports import Compilation, EdgeInfo, GraphInfo, KernelReport, NodeInfo
from gui.canvas.scene import KINDS, Scene, SceneEdge, SceneNode
from gui.panels.facts import is_markable, shape_text

_OPERATORS_NAMED = 2


@dataclass(frozen=True, eq=False)
class CompiledGraph:
    """Kernels by anchor, and for each node of the source graph the box that it is in.

    ``around`` tells of each node without a box which boxes it lies between: those that its values come from, and those
    that they go to.
    """

    scene: Scene
    kernels: Mapping[str, KernelReport]
    box_of: Mapping[str, str]
    around: Mapping[str, tuple[frozenset[str], frozenset[str]]]
    order: Mapping[str, int]

    def boxes(self, nodes: Iterable[str]) -> list[str]:
        """The boxes that source nodes are in; other ids (modules) stay as they are."""
        found = (self.box_of.get(node, "" if node in self.around else node) for node in nodes)
        return [box for box in dict.fromkeys(found) if box]

    def nodes(self, boxes: Iterable[str]) -> list[str]:
        """The source nodes of boxes, in the graph's order, with those that vanished between two of them."""
        chosen = set(boxes)
        found = [node for node, box in self.box_of.items() if box in chosen]
        found += [
            node for node, (before, after) in self.around.items() if before | after <= chosen and before and after
        ]
        return sorted(found, key=self.order.__getitem__)


def compiled_graph(graph: GraphInfo, compilation: Compilation) -> CompiledGraph:
    """The kernels of a graph with the values between them."""
    nodes = {node.id: node for node in graph.nodes}
    kernels = {kernel.anchor: kernel for kernel in compilation.timeline.kernels}
    box_of = {node.id: node.id for node in graph.nodes if not is_markable(node)}
    box_of |= {node: kernel.anchor for kernel in kernels.values() for node in kernel.nodes}
    edges, around = _edges(graph, box_of)
    shown = [node.id for node in graph.nodes if box_of.get(node.id) == node.id]
    spaces = [nodes[box].namespace for box in shown]
    residents = Counter(space[:depth] for space in spaces for depth in range(1, len(space) + 1))
    boxes = tuple(_box(nodes, kernels.get(box), box, residents[nodes[box].namespace] == 1) for box in shown)
    order = {node.id: index for index, node in enumerate(graph.nodes)}
    return CompiledGraph(Scene(boxes, edges, "kernels"), kernels, box_of, around, order)


def _box(nodes: Mapping[str, NodeInfo], kernel: KernelReport | None, box: str, is_alone: bool) -> SceneNode:
    """A kernel stands where its anchor does, so that the modules are those of the source graph. ``is_alone``: it is the
    only one of its module, which then names it better.
    """
    members = (box,) if kernel is None else kernel.nodes
    anchor = nodes[box]
    return SceneNode(
        id=box,
        title=anchor.namespace[-1] if is_alone and anchor.namespace else anchor.name,
        op_type=operators_text([nodes[node].op_type for node in members]),
        namespace=anchor.namespace,
        shapes=", ".join(shape_text(shape) for shape in nodes[members[-1]].shapes),
        kind=anchor.kind if anchor.kind in KINDS else "other",
    )


def operators_text(operators: Iterable[str]) -> str:
    """What a kernel computes, in order, short enough for a box: "Conv + Relu", "MatMul + LayerNorm + 2"."""
    names = [name.replace("Normalization", "Norm") for name in operators]
    shown = names if len(names) <= _OPERATORS_NAMED + 1 else names[:_OPERATORS_NAMED]
    more = len(names) - len(shown)
    return " + ".join([*shown, *([str(more)] if more else [])])


def _edges(
    graph: GraphInfo, box_of: Mapping[str, str]
) -> tuple[tuple[SceneEdge, ...], Mapping[str, tuple[frozenset[str], frozenset[str]]]]:
    """Values between boxes, through whatever vanished; and what each vanished node lies between."""
    into, out_of = _by_end(graph)
    before = {node.id: set[str]() for node in graph.nodes if node.id not in box_of}
    after = {node: set[str]() for node in before}
    for node in before:
        before[node] |= _boxes_at((edge.source for edge in into.get(node, ())), before, box_of)
    for node in reversed(list(after)):
        after[node] |= _boxes_at((edge.target for edge in out_of.get(node, ())), after, box_of)
    found: dict[tuple[str, str, str], SceneEdge] = {}
    for edge in graph.edges:
        target = box_of.get(edge.target)
        if target is None:
            continue
        for source in sorted(_boxes_at((edge.source,), before, box_of)):
            if source != target:
                label = shape_text(edge.shape)
                found.setdefault((source, target, label), SceneEdge(source, target, label, edge.dtype))
    return tuple(found.values()), {node: (frozenset(before[node]), frozenset(after[node])) for node in before}


def _by_end(graph: GraphInfo) -> tuple[dict[str, list[EdgeInfo]], dict[str, list[EdgeInfo]]]:
    into: dict[str, list[EdgeInfo]] = {}
    out_of: dict[str, list[EdgeInfo]] = {}
    for edge in graph.edges:
        into.setdefault(edge.target, []).append(edge)
        out_of.setdefault(edge.source, []).append(edge)
    return into, out_of


def _boxes_at(ends: Iterable[str], through: Mapping[str, set[str]], box_of: Mapping[str, str]) -> set[str]:
    """The boxes at the ends of edges; of a vanished node those behind it."""
    found: set[str] = set()
    for end in ends:
        found |= {box_of[end]} if end in box_of else through[end]
    return found
