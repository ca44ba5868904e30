"""Selections of constant indices that are plainer movements: slices, rolls, shuffles, reshapes."""

from __future__ import annotations

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, Step, recognises
from engine.ops.base import Op
from engine.ops.layout import Gather, Identity, Reshape, Roll, Slice, Transpose


@recognises("selection of neighbours is a plainer movement", Gather)
def plain_selection(draft: Draft, root: Node) -> Match | None:
    """Indices that count on from one to the next, around the end too, or that deal out chunks in turn."""
    op, shape = root.op, draft.types[root.inputs[0]].shape
    assert isinstance(op, Gather)
    steps = _movement(op.indices, op.axis, shape)
    if steps is None:
        return None
    result = draft.types[root.outputs[0]].shape
    flat = (*shape[: op.axis], len(op.indices), *shape[op.axis + 1 :])
    if result != flat:
        steps.append(Reshape(result, "Reshape" if op.indices_shape else "Squeeze"))
    if not steps:
        return Match(Identity(), root.inputs, (), keep=root)
    first, *behind = steps
    return Match(first, root.inputs, (), keep=root, after=tuple(map(Step, behind)))


def _movement(indices: tuple[int, ...], axis: int, shape: tuple[int, ...]) -> list[Op] | None:
    """Operators that take the elements at ``indices`` along ``axis`` as one vector; None where none does."""
    size, count = shape[axis], len(indices)
    if not count:
        return None
    first, step = indices[0], indices[1] - indices[0] if count > 1 else 1
    if step > 0 and indices == tuple(range(first, first + step * count, step)):
        if count == size:
            return []
        whole = [(0, length, 1) for length in shape]
        whole[axis] = first, first + step * (count - 1) + 1, step
        starts, stops, strides = zip(*whole, strict=True)
        return [Slice(starts, stops, strides)]
    if sorted(indices) != list(range(size)):
        return None
    if indices == tuple((first + at) % size for at in range(size)):
        return [Roll((-first if 2 * first <= size else size - first,), (axis,))]
    return _dealt(indices, axis, shape)


def _dealt(indices: tuple[int, ...], axis: int, shape: tuple[int, ...]) -> list[Op] | None:
    """0, n, 2 n, ..., 1, n + 1, ...: a channel shuffle."""
    size, length = shape[axis], indices[1]
    groups = size // length if length > 0 else 0
    if groups * length != size or indices != tuple(at % groups * length + at // groups for at in range(size)):
        return None
    apart = (*shape[:axis], groups, length, *shape[axis + 1 :])
    order = list(range(len(apart)))
    order[axis], order[axis + 1] = axis + 1, axis
    return [Reshape(apart), Transpose(tuple(order)), Reshape(shape)]
