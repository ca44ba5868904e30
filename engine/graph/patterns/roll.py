"""Cyclic shifts spelled as two slices put together the other way round."""

from __future__ import annotations

from dataclasses import dataclass

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, recognises
from engine.ops.layout import Concat, Identity, Roll, Slice, Split


@recognises("roll recognised", Concat)
def roll(draft: Draft, root: Node) -> Match | None:
    """Concat(x[k:], x[:k]) along one axis, cut by slices or by a split."""
    if len(root.inputs) != 2 or not isinstance(root.op, Concat):
        return None
    axis = root.op.axis
    front, back = (_piece(draft, value, axis) for value in root.inputs)
    if front is None or back is None or front.source != back.source:
        return None
    size = draft.types[front.source].shape[axis]
    if back.start != 0 or front.stop != size or back.stop != front.start:
        return None
    shift = -front.start if front.start <= size - front.start else size - front.start
    return Match(Roll((shift,), (axis,)), (front.source,), (front.node, back.node))


@recognises("rolls merged", Roll)
def merged_rolls(draft: Draft, root: Node) -> Match | None:
    """Two rolls, one directly after the other; along the same axes they add up, and may cancel."""
    first, op = draft.producer(root.inputs[0]), root.op
    if first is None or not isinstance(first.op, Roll) or not isinstance(op, Roll):
        return None
    shape = draft.types[root.inputs[0]].shape
    shifts = dict.fromkeys(sorted({*first.op.axes, *op.axes}), 0)
    for axis, shift in zip((*first.op.axes, *op.axes), (*first.op.shifts, *op.shifts), strict=True):
        shifts[axis] += shift
    left = {axis: _shortest(shift, shape[axis]) for axis, shift in shifts.items()}
    left = {axis: shift for axis, shift in left.items() if shift}
    merged = Roll(tuple(left.values()), tuple(left)) if left else Identity()
    return Match(merged, first.inputs, (first,), keep=first)


def _shortest(shift: int, size: int) -> int:
    """The same cyclic shift by at most half the size, of two as far the one to the front."""
    back = shift % size if size else 0
    return back if 2 * back < size else back - size


@dataclass(frozen=True)
class _Piece:
    """Elements ``start`` to ``stop`` of ``source`` along one axis, all of the others."""

    source: str
    start: int
    stop: int
    node: Node


def _piece(draft: Draft, value: str, axis: int) -> _Piece | None:
    node = draft.producer(value)
    if node is None:
        return None
    if isinstance(node.op, Split) and node.op.axis == axis:
        start = sum(node.op.sizes[: node.outputs.index(value)])
        return _Piece(node.inputs[0], start, start + node.op.sizes[node.outputs.index(value)], node)
    if not isinstance(node.op, Slice):
        return None
    shape = draft.types[node.inputs[0]].shape
    for other, bounds in enumerate(zip(node.op.starts, node.op.stops, node.op.steps, strict=True)):
        if bounds[2] != 1 or (other != axis and bounds != (0, shape[other], 1)):
            return None
    return _Piece(node.inputs[0], node.op.starts[axis], node.op.stops[axis], node)
