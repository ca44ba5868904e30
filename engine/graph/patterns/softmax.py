"""Softmax spelled as exponentials over their sum."""

from __future__ import annotations

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, recognises
from engine.ops import elementwise as ops
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
