"""From the engine's graph to what the canvas draws. Qt-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from engine.reports import GraphInfo, NodeInfo
from gui.canvas.scene import KINDS, Decoration, Scene, SceneEdge, SceneNode
from gui.document.document import Document
from gui.panels.facts import shape_text


def titles_of(graph: GraphInfo) -> Mapping[str, str]:
    """What each node is called where there is little room: the only operator of a module by that module, which names it
    better ("qkv" rather than "MatMul").
    """
    residents = Counter(info.namespace[:depth] for info in graph.nodes for depth in range(1, len(info.namespace) + 1))
    return {
        info.id: info.namespace[-1] if info.namespace and residents[info.namespace] == 1 else info.name
        for info in graph.nodes
    }


def scene_of(graph: GraphInfo) -> Scene:
    """The graph's operators and the tensors between them."""
    titles = titles_of(graph)
    return Scene(
        nodes=tuple(_scene_node(info, titles[info.id]) for info in graph.nodes),
        edges=tuple(
            SceneEdge(edge.source, edge.target, shape_text(edge.shape), edge.dtype) for edge in graph.edges
        ),
    )


def decorations_of(document: Document) -> Mapping[str, Decoration]:
    """Badges of all nodes: what was asked for shows at once, the effective precision once the engine said
    it.
    """
    return {node_id: _decoration(document, node_id) for node_id in document.nodes}


def _scene_node(info: NodeInfo, title: str) -> SceneNode:
    return SceneNode(
        id=info.id,
        title=title,
        op_type=info.op_type,
        namespace=info.namespace,
        shapes=", ".join(shape_text(shape) for shape in info.shapes),
        kind=info.kind if info.kind in KINDS else "other",
    )


def _decoration(document: Document, node_id: str) -> Decoration:
    plan = document.results.resolved.nodes.get(node_id)
    problem = document.nodes[node_id].problem
    if plan is None:
        return Decoration(requested=document.requested(node_id), problem=problem)
    anchor = document.nodes.get(plan.fused_into)
    return Decoration(
        requested=document.requested(node_id),
        effective=plan.effective,
        fused_into=anchor.name if anchor is not None and anchor.id != node_id else "",
        dtype=plan.dtype,
        problem=problem,
    )
