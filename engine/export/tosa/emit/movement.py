"""Layout operators: the integers as they are, in other places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.export.tosa.emit import steps
from engine.export.tosa.emit.registry import MOVEMENT
from engine.export.tosa.graph import Tensor, TosaGraph
from engine.export.tosa.schema import TosaOp
from engine.ops.layout import (
    Concat,
    DepthToSpace,
    Expand,
    Gather,
    Identity,
    LookUp,
    Pad,
    Reshape,
    Roll,
    Slice,
    SpaceToDepth,
    Split,
    Tile,
    Transpose,
)

Moved = tuple[Tensor, ...]
_SIGN_BIT = 31


@MOVEMENT.register(Identity)
def emit_identity(_graph: TosaGraph, _op: Identity, _fill: int, operands: Sequence[Tensor]) -> Moved:
    return (operands[0],)


@MOVEMENT.register(Reshape)
def emit_reshape(graph: TosaGraph, op: Reshape, _fill: int, operands: Sequence[Tensor]) -> Moved:
    return (steps.reshape(graph, operands[0], op.shape),)


@MOVEMENT.register(Transpose)
def emit_transpose(graph: TosaGraph, op: Transpose, _fill: int, operands: Sequence[Tensor]) -> Moved:
    return (steps.transpose(graph, operands[0], op.perm),)


@MOVEMENT.register(Concat)
def emit_concat(graph: TosaGraph, op: Concat, _fill: int, operands: Sequence[Tensor]) -> Moved:
    return (steps.concat(graph, operands, op.axis),)


@MOVEMENT.register(Split)
def emit_split(graph: TosaGraph, op: Split, _fill: int, operands: Sequence[Tensor]) -> Moved:
    starts = np.cumsum((0, *op.sizes[:-1]))
    return tuple(
        steps.take_slice(graph, operands[0], op.axis, int(start), size)
        for start, size in zip(starts, op.sizes, strict=True)
    )


@MOVEMENT.register(Slice)
def emit_slice(graph: TosaGraph, op: Slice, _fill: int, operands: Sequence[Tensor]) -> Moved:
    (x,) = operands
    for axis, (start, stop, step) in enumerate(zip(op.starts, op.stops, op.steps, strict=True)):
        x = steps.gather(graph, x, axis, np.arange(start, stop, step))
    return (x,)


@MOVEMENT.register(Pad)
def emit_pad(graph: TosaGraph, op: Pad, fill: int, operands: Sequence[Tensor]) -> Moved:
    """PAD; padding made of the tensor's own elements is a gather along each padded axis."""
    (x,) = operands
    before, after = op.pads[: x.rank], op.pads[x.rank :]
    if op.mode == "constant":
        return (steps.pad(graph, x, before, after, fill),)
    for axis, amounts in enumerate(zip(before, after, strict=True)):
        x = steps.gather(graph, x, axis, _padded_places(op.mode, x.shape[axis], amounts))
    return (x,)


def _padded_places(mode: str, size: int, amounts: tuple[int, int]) -> np.ndarray:
    """Which element each place of a padded axis shows (ONNX mode names are numpy's)."""
    return np.pad(np.arange(size), amounts, mode=mode)  # type: ignore[call-overload]


@MOVEMENT.register(Gather)
def emit_gather(graph: TosaGraph, op: Gather, _fill: int, operands: Sequence[Tensor]) -> Moved:
    (x,) = operands
    indices = np.asarray(op.indices, np.int64)
    taken = steps.gather(graph, x, op.axis, np.where(indices < 0, indices + x.shape[op.axis], indices))
    shape = (*x.shape[: op.axis], *op.indices_shape, *x.shape[op.axis + 1 :])
    return (steps.reshape(graph, taken, shape),)


@MOVEMENT.register(LookUp)
def emit_look_up(graph: TosaGraph, op: LookUp, _fill: int, operands: Sequence[Tensor]) -> Moved:
    """GATHER of int32 indices; those below 0 get the number of rows added: ``i - rows * (i >> 31)``."""
    data, indices = operands
    rows, shape = data.shape[op.axis], (*data.shape[: op.axis], *indices.shape, *data.shape[op.axis + 1 :])
    outer, inner = math.prod(data.shape[: op.axis]), math.prod(data.shape[op.axis + 1 :])
    count = math.prod(indices.shape)
    flat = steps.reshape(graph, indices, (1, count))
    below = steps.shift_right(graph, flat, _SIGN_BIT, rounded=False)
    offset = steps.multiply(graph, below, graph.scalar(rows, "int32", 2))
    places = steps.tile(graph, steps.binary(graph, TosaOp.SUB, flat, offset), (outer, 1))
    values = steps.reshape(graph, data, (outer, rows, inner))
    taken = graph.add(TosaOp.GATHER, (values, places), (outer, count, inner), data.dtype)
    return (steps.reshape(graph, taken, shape),)


@MOVEMENT.register(Expand)
def emit_expand(graph: TosaGraph, op: Expand, _fill: int, operands: Sequence[Tensor]) -> Moved:
    (x,) = operands
    return (steps.expand(graph, x, np.broadcast_shapes(x.shape, op.shape)),)


@MOVEMENT.register(Tile)
def emit_tile(graph: TosaGraph, op: Tile, _fill: int, operands: Sequence[Tensor]) -> Moved:
    return (steps.tile(graph, operands[0], op.repeats),)


@MOVEMENT.register(Roll)
def emit_roll(graph: TosaGraph, op: Roll, _fill: int, operands: Sequence[Tensor]) -> Moved:
    """The end of each axis before its beginning."""
    (x,) = operands
    for shift, axis in zip(op.shifts, op.axes, strict=True):
        size = x.shape[axis]
        moved = shift % size
        if moved:
            end = steps.take_slice(graph, x, axis, size - moved, moved)
            x = steps.concat(graph, (end, steps.take_slice(graph, x, axis, 0, size - moved)), axis)
    return (x,)


@MOVEMENT.register(DepthToSpace)
def emit_depth_to_space(graph: TosaGraph, op: DepthToSpace, _fill: int, operands: Sequence[Tensor]) -> Moved:
    (x,) = operands
    batch, channels, height, width = x.shape
    block, kept = op.block, channels // op.block**2
    if op.mode == "DCR":
        split, perm = (batch, block, block, kept, height, width), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (batch, kept, block, block, height, width), (0, 1, 4, 2, 5, 3)
    moved = steps.transpose(graph, steps.reshape(graph, x, split), perm)
    return (steps.reshape(graph, moved, (batch, kept, height * block, width * block)),)


@MOVEMENT.register(SpaceToDepth)
def emit_space_to_depth(graph: TosaGraph, op: SpaceToDepth, _fill: int, operands: Sequence[Tensor]) -> Moved:
    (x,) = operands
    batch, channels, height, width = x.shape
    block, rows, columns = op.block, height // op.block, width // op.block
    split = (batch, channels, rows, block, columns, block)
    perm = (0, 1, 3, 5, 2, 4) if op.mode == "CRD" else (0, 3, 5, 1, 2, 4)
    moved = steps.transpose(graph, steps.reshape(graph, x, split), perm)
    return (steps.reshape(graph, moved, (batch, channels * block**2, rows, columns)),)
