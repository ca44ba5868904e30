"""Which layout operators are views of their input, and which view: one function an operator class."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from engine.compile.views import View, expanded, repeated, reshaped, rolled, sliced, transposed
from engine.ops.base import Behaviour, Op
from engine.ops.elementwise import Affine
from engine.ops.layout import (
    DepthToSpace,
    Expand,
    Gather,
    Identity,
    Reshape,
    Roll,
    Slice,
    SpaceToDepth,
    Split,
    Tile,
    Transpose,
)

Views = tuple[View | None, ...]
"""The view of each output; None where it has to be moved."""

VIEW: Behaviour[Callable[[Op, View], Views]] = Behaviour("view")
"""Operator class to the views of its outputs, given that of its input. What is not here computes, or moves."""

_DEPTH_TO_SPACE = {"DCR": (0, 3, 4, 1, 5, 2), "CRD": (0, 1, 4, 2, 5, 3)}
"""[N, b, b, D, H, W] or [N, D, b, b, H, W] to [N, D, H, b, W, b]."""

_SPACE_TO_DEPTH = {"DCR": (0, 3, 5, 1, 2, 4), "CRD": (0, 1, 3, 5, 2, 4)}
"""[N, D, H', b, W', b] to [N, b, b, D, H', W'] or [N, D, b, b, H', W']."""


@VIEW.register(Identity, Affine)
def _same(op: Op, view: View) -> Views:
    return (view,)


@VIEW.register(Reshape)
def _reshape(op: Op, view: View) -> Views:
    assert isinstance(op, Reshape)
    return (reshaped(view, op.shape),)


@VIEW.register(Transpose)
def _transpose(op: Op, view: View) -> Views:
    assert isinstance(op, Transpose)
    return (transposed(view, op.perm),)


@VIEW.register(Slice)
def _slice(op: Op, view: View) -> Views:
    assert isinstance(op, Slice)
    found: View | None = view
    for axis, (size, *bounds) in enumerate(zip(view.shape, op.starts, op.stops, op.steps, strict=True)):
        taken = range(*bounds)
        if found is not None and (len(taken), taken.start, taken.step) != (size, 0, 1):
            found = sliced(found, axis, taken.start, len(taken), taken.step)
    return (found,)


@VIEW.register(Split)
def _split(op: Op, view: View) -> Views:
    assert isinstance(op, Split)
    start, found = 0, list[View | None]()
    for size in op.sizes:
        found.append(sliced(view, op.axis, start, size))
        start += size
    return tuple(found)


@VIEW.register(Gather)
def _gather(op: Op, view: View) -> Views:
    """Indices at a regular distance are a slice."""
    assert isinstance(op, Gather)
    size = view.shape[op.axis]
    indices = [index % size for index in op.indices]
    steps = {after - before for before, after in pairwise(indices)} or {1}
    taken = sliced(view, op.axis, indices[0], len(indices), steps.pop()) if indices else None
    if taken is None or steps:
        return (None,)
    shape = view.shape
    return (reshaped(taken, (*shape[: op.axis], *op.indices_shape, *shape[op.axis + 1 :])),)


@VIEW.register(Expand)
def _expand(op: Op, view: View) -> Views:
    assert isinstance(op, Expand)
    return (expanded(view, op.shape),)


@VIEW.register(Tile)
def _tile(op: Op, view: View) -> Views:
    assert isinstance(op, Tile)
    return (repeated(view, op.repeats),)


@VIEW.register(Roll)
def _roll(op: Op, view: View) -> Views:
    assert isinstance(op, Roll)
    found: View | None = view
    for shift, axis in zip(op.shifts, op.axes, strict=True):
        found = None if found is None else rolled(found, axis, shift)
    return (found,)


@VIEW.register(DepthToSpace)
def _depth_to_space(op: Op, view: View) -> Views:
    assert isinstance(op, DepthToSpace)
    n, c, h, w = view.shape
    b = op.block
    depth = c // (b * b)
    parts = (depth, b, b) if op.mode == "CRD" else (b, b, depth)
    return (_rearranged(view, (n, *parts, h, w), _DEPTH_TO_SPACE[op.mode], (n, depth, h * b, w * b)),)


@VIEW.register(SpaceToDepth)
def _space_to_depth(op: Op, view: View) -> Views:
    assert isinstance(op, SpaceToDepth)
    n, c, h, w = view.shape
    b = op.block
    split = (n, c, h // b, b, w // b, b)
    return (_rearranged(view, split, _SPACE_TO_DEPTH[op.mode], (n, c * b * b, h // b, w // b)),)


def _rearranged(view: View, split: tuple[int, ...], perm: tuple[int, ...], shape: tuple[int, ...]) -> View | None:
    parts = reshaped(view, split)
    return None if parts is None else reshaped(transposed(parts, perm), shape)
