"""Reductions spelled in two steps: means as sums over their count, kept axes as a reshape behind."""

from __future__ import annotations

import math
from dataclasses import replace

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, recognises
from engine.ops.elementwise import Affine, PowScalar
from engine.ops.layout import Reshape
from engine.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceSum, ReduceSumSquare


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


@recognises("mean recognised", Affine)
def mean(draft: Draft, root: Node) -> Match | None:
    """sum(x) / n, and sum(x ** 2) / n as the mean of squares."""
    node, op = draft.producer(root.inputs[0]), root.op
    assert isinstance(op, Affine)
    if node is None or not isinstance(node.op, ReduceSum | ReduceSumSquare) or op.offset != 0.0:
        return None
    shape = draft.types[node.inputs[0]].shape
    count = math.prod(shape[axis] for axis in node.op.axes)
    if not math.isclose(op.multiplier * count, 1.0, rel_tol=1e-6):
        return None
    squared = (PowScalar(2.0),) if isinstance(node.op, ReduceSumSquare) else ()
    return Match(ReduceMean(node.op.axes, node.op.keepdims), node.inputs, (node,), before=squared)
