"""Reductions that drop their axes, and a reshape that brings them back."""

from __future__ import annotations

from dataclasses import replace

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, recognises
from engine.ops.layout import Reshape
from engine.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceSum


@recognises("reduction keeps its axes", Reshape)
def kept_axes(draft: Draft, root: Node) -> Match | None:
    """reshape(reduce(x)) to x's rank with ones in the place of the reduced axes (JAX spells softmax so)."""
    node = draft.producer(root.inputs[0])
    if node is None or not isinstance(node.op, ReduceMax | ReduceMean | ReduceMin | ReduceSum) or node.op.keepdims:
        return None
    shape = draft.types[node.inputs[0]].shape
    kept = tuple(1 if axis in node.op.axes else size for axis, size in enumerate(shape))
    if draft.types[root.outputs[0]].shape != kept:
        return None
    return Match(replace(node.op, keepdims=True), node.inputs, (node,))
