"""Nodes that compute the same from the same: one of them is enough."""

from __future__ import annotations

from dataclasses import replace

from engine.graph.draft import Draft
from engine.graph.graph import Constant, Node
from engine.ops.base import Op
from engine.ops.layout import Identity
from engine.ops.other import Input, OnnxOp, Unsupported

_SMALL = 4096
"""Elements up to which constants are compared by what they hold; larger ones by name."""

def merge_duplicates(draft: Draft) -> int:
    """Let readers of a node read an earlier one of the same operator and inputs; returns how many nodes went.

    Torch's older exporter writes an attention mask for each layer anew, its present one shares it. Graph outputs keep
    nodes of their own; operators that nobody decoded may be random, and stay.
    """
    seen: dict[tuple[Op, tuple[str, ...]], list[Node]] = {}
    merged = 0
    for node in draft.nodes():
        if isinstance(node.op, Input | OnnxOp | Unsupported | Identity) or set(draft.outputs) & set(node.outputs):
            continue
        others = seen.setdefault((node.op, tuple(name for name in node.inputs if name not in draft.constants)), [])
        at = next((index for index, other in enumerate(others) if _same_inputs(draft, node, other)), None)
        if at is None:
            others.append(node)
            continue
        others[at] = _merged(draft, others[at], node)
        merged += 1
    return merged


def _same_inputs(draft: Draft, node: Node, other: Node) -> bool:
    return len(node.inputs) == len(other.inputs) and all(
        a == b or _same_constant(draft.constants.get(a), draft.constants.get(b))
        for a, b in zip(node.inputs, other.inputs, strict=True)
    )


def _same_constant(a: Constant | None, b: Constant | None) -> bool:
    if a is None or b is None or a.type != b.type or a.type.element_count > _SMALL:
        return False
    return a.digest == b.digest


def _merged(draft: Draft, first: Node, node: Node) -> Node:
    """``first``, with the provenance of both and the readers of both."""
    for value, kept in zip(node.outputs, first.outputs, strict=True):
        draft.redirect(value, kept)
    draft.remove(node)
    both = replace(first, provenance=tuple(dict.fromkeys((*first.provenance, *node.provenance))))
    draft.replace(first, both)
    return both
