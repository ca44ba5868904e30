"""Softmax spelled as exponentials over their sum, and softmax guarded against rows that are masked as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from engine.graph.draft import Draft
from engine.graph.graph import Constant, Node
from engine.graph.patterns.activations import is_reciprocal
from engine.graph.patterns.matching import Match, recognises
from engine.ops import elementwise as ops
from engine.ops.layout import Layout, Transpose
from engine.ops.logic import IsNaN
from engine.ops.reduce import LogSoftmax, ReduceMax, ReduceSum, Softmax


@recognises("softmax recognised", ops.Div, ops.Mul)
def softmax(draft: Draft, root: Node) -> Match | None:
    """exp(x) / sum(exp(x)), or exp(x) times the sum's reciprocal."""
    for top, bottom in (root.inputs, root.inputs[::-1]):
        exp, total = draft.producer(top), draft.producer(bottom)
        inverse: tuple[Node, ...] = ()
        if isinstance(root.op, ops.Mul):
            if total is None or not is_reciprocal(total):
                continue
            inverse, total = (total,), draft.producer(total.inputs[0])
        if exp is None or total is None or not isinstance(exp.op, ops.Exp) or not isinstance(total.op, ReduceSum):
            continue
        if total.inputs == exp.outputs and len(total.op.axes) == 1 and total.op.keepdims:
            return Match(Softmax(total.op.axes[0]), exp.inputs, (exp, total, *inverse))
    return None


@recognises("softmax recognised", ops.Exp)
def softmax_by_logarithm(draft: Draft, root: Node) -> Match | None:
    """exp(log_softmax(x))."""
    inner = draft.producer(root.inputs[0])
    if inner is None or not isinstance(inner.op, LogSoftmax):
        return None
    return Match(Softmax(inner.op.axis), inner.inputs, (inner,))


@recognises("maximum before a softmax dropped", Softmax, LogSoftmax)
def shifted_by_maximum(draft: Draft, root: Node) -> Match | None:
    """softmax(x - max(x)): the operator subtracts it itself."""
    difference, op = draft.producer(root.inputs[0]), root.op
    assert isinstance(op, Softmax | LogSoftmax)
    if difference is None or not isinstance(difference.op, ops.Sub | ops.Add):
        return None
    pairs = [difference.inputs] if isinstance(difference.op, ops.Sub) else [difference.inputs, difference.inputs[::-1]]
    for x, shift in pairs:
        maximum, members = draft.producer(shift), (difference,)
        if isinstance(difference.op, ops.Add):
            if maximum is None or not isinstance(maximum.op, ops.Neg):
                continue
            maximum, members = draft.producer(maximum.inputs[0]), (difference, maximum)
        if maximum is not None and maximum.op == ReduceMax((op.axis,), True) and maximum.inputs[0] == x:
            return Match(op, (x,), (*members, maximum), keep=root)
    return None


@recognises("softmax turned with its axis", Transpose, late=True)
def turned_softmax(draft: Draft, root: Node) -> Match | None:
    """A transpose, a softmax and the transpose back: older exporters bring the axis to the end first."""
    layer, op = draft.producer(root.inputs[0]), root.op
    if layer is None or not isinstance(layer.op, Softmax | LogSoftmax):
        return None
    first = draft.producer(layer.inputs[0])
    if first is None or not isinstance(first.op, Transpose) or not isinstance(op, Transpose):
        return None
    perm = first.op.perm
    if tuple(perm[axis] for axis in op.perm) != tuple(range(len(perm))):
        return None
    return Match(replace(layer.op, axis=perm[layer.op.axis]), first.inputs, (first, layer), keep=layer)


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
