"""Softmax spelled as exponentials over their sum, and softmax guarded against rows that are masked as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.graph.draft import Draft
from engine.graph.graph import Constant, Node
from engine.graph.patterns.matching import Match, recognises
from engine.ops import elementwise as ops
from engine.ops.layout import Layout
from engine.ops.logic import IsNaN
from engine.ops.reduce import ReduceMax, ReduceSum, Softmax


@recognises("softmax recognised", ops.Div)
def softmax(draft: Draft, root: Node) -> Match | None:
    """exp(x) / sum(exp(x)), or the same of x - max(x)."""
    exp, total = (draft.producer(value) for value in root.inputs)
    if exp is None or total is None or not isinstance(exp.op, ops.Exp) or not isinstance(total.op, ReduceSum):
        return None
    if total.inputs != exp.outputs or len(total.op.axes) != 1 or not total.op.keepdims:
        return None
    axis = total.op.axes[0]
    shifted = _shifted_by_maximum(draft, exp.inputs[0], axis)
    x, members = (exp.inputs[0], ()) if shifted is None else shifted
    return Match(Softmax(axis), (x,), (*members, exp, total))


def _shifted_by_maximum(draft: Draft, value: str, axis: int) -> tuple[str, tuple[Node, ...]] | None:
    """x and the nodes, if ``value`` is x - max(x) along ``axis``."""
    difference = draft.producer(value)
    if difference is None or not isinstance(difference.op, ops.Sub):
        return None
    maximum = draft.producer(difference.inputs[1])
    if maximum is None or maximum.op != ReduceMax((axis,), True) or maximum.inputs[0] != difference.inputs[0]:
        return None
    return difference.inputs[0], (difference, maximum)


@recognises("guard of a softmax dropped that no row needs", ops.Where)
def guarded_softmax(draft: Draft, root: Node) -> Match | None:
    """Where(IsNaN(s), constant, s) of s = softmax(x): torch's fused attention is exported so.

    A softmax is not a number where a whole row of x is minus infinity. Only constants bring infinities into a model
    (samples that hold them are refused), so without one above x there is no such row.
    """
    test, layer = draft.producer(root.inputs[0]), draft.producer(root.inputs[2])
    if test is None or layer is None or not isinstance(layer.op, Softmax) or test.inputs != layer.outputs:
        return None
    if not isinstance(test.op, IsNaN) or root.inputs[1] not in draft.constants:
        return None
    if draft.types[root.inputs[1]].element_count != 1:  # it could widen the result
        return None
    if any(_has_infinity(constant) for constant in _added_constants(draft, layer.inputs[0])):
        return None
    return Match(layer.op, layer.inputs, (layer, test), keep=layer)


def _added_constants(draft: Draft, value: str) -> Iterator[Constant]:
    """The floating-point constants that reach ``value`` through elementwise and layout operators."""
    pending, seen = [value], {value}
    while pending:
        name = pending.pop()
        constant, node = draft.constants.get(name), draft.producer(name)
        if constant is not None and constant.type.is_float:
            yield constant
        if node is not None and isinstance(node.op, ops.Elementwise | Layout):
            pending.extend(other for other in node.inputs if other and other not in seen)
            seen.update(node.inputs)


def _has_infinity(constant: Constant) -> bool:
    return bool(np.isinf(constant.array).any())
