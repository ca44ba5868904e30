"""Single TOSA operators with their shapes worked out: what the forms of program operators are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.export.tosa.graph import Shape, Tensor, TosaGraph
from engine.export.tosa.schema import NAN_PROPAGATE, SINGLE_ROUND, TosaOp
from engine.program.arithmetic import LARGEST_SHIFT
from engine.program.types import Output, Scaling

_RANGE_BITS = 31
_ONE_SHIFT = 30
_REACH = {"int8": 128, "int16": 32768, "int32": 2**_RANGE_BITS - 1}
"""Magnitude up to which values of a type have to be expected (-2^31 is never reached)."""

# ------------------------------------------------------------------------------------------------ layout


def reshape(graph: TosaGraph, x: Tensor, shape: Shape) -> Tensor:
    """The same elements in another shape; a constant is reshaped here and now."""
    if x.shape == shape:
        return x
    if x.key in graph.arrays:
        return graph.constant(graph.arrays[x.key].reshape(shape), x.dtype)
    return graph.add(TosaOp.RESHAPE, (x, graph.sizes(shape)), shape, x.dtype)


def transpose(graph: TosaGraph, x: Tensor, perm: Sequence[int]) -> Tensor:
    """Output axis i is input axis ``perm[i]``. Transposes in a row become one, or none."""
    source, order = x, tuple(perm)
    if x.key in graph.transposed:
        source, first = graph.transposed[x.key]
        order = tuple(first[axis] for axis in perm)
    if order == tuple(range(source.rank)):
        return source
    return graph.add(TosaOp.TRANSPOSE, (source,), tuple(source.shape[axis] for axis in order), x.dtype, perms=order)


def take_slice(graph: TosaGraph, x: Tensor, axis: int, start: int, size: int) -> Tensor:
    """``size`` elements of one axis from ``start``."""
    if size == x.shape[axis]:
        return x
    starts = [0] * x.rank
    starts[axis] = start
    shape = replaced(x.shape, axis, size)
    return graph.add(TosaOp.SLICE, (x, graph.sizes(starts), graph.sizes(shape)), shape, x.dtype)


def concat(graph: TosaGraph, parts: Sequence[Tensor], axis: int) -> Tensor:
    """Parts one after the other along ``axis``."""
    if len(parts) == 1:
        return parts[0]
    shape = replaced(parts[0].shape, axis, sum(part.shape[axis] for part in parts))
    return graph.add(TosaOp.CONCAT, parts, shape, parts[0].dtype, axis=axis)


def pad(graph: TosaGraph, x: Tensor, before: Sequence[int], after: Sequence[int], value: int) -> Tensor:
    """``before`` and ``after`` elements of ``value`` on every axis."""
    if not any((*before, *after)):
        return x
    amounts = [count for pair in zip(before, after, strict=True) for count in pair]
    shape = tuple(size + b + a for size, b, a in zip(x.shape, before, after, strict=True))
    fill = graph.scalar(value, x.dtype, 1)
    return graph.add(TosaOp.PAD, (x, graph.sizes(amounts), fill), shape, x.dtype)


def expand(graph: TosaGraph, x: Tensor, shape: Shape) -> Tensor:
    """Broadcast to ``shape``, as numpy does."""
    aligned = with_rank(graph, x, len(shape))
    multiples = tuple(size if old == 1 else 1 for old, size in zip(aligned.shape, shape, strict=True))
    return tile(graph, aligned, multiples)


def tile(graph: TosaGraph, x: Tensor, multiples: Shape) -> Tensor:
    """The tensor ``multiples`` times on every axis."""
    if all(count == 1 for count in multiples):
        return x
    shape = tuple(size * count for size, count in zip(x.shape, multiples, strict=True))
    return graph.add(TosaOp.TILE, (x, graph.sizes(multiples)), shape, x.dtype)


def gather(graph: TosaGraph, x: Tensor, axis: int, indices: NDArray[np.integer]) -> Tensor:
    """Elements ``indices`` [W] of one axis: a slice, every n-th or a reversal where they are one."""
    count, size = len(indices), x.shape[axis]
    if count and (indices == np.arange(count) + indices[0]).all():
        return take_slice(graph, x, axis, int(indices[0]), count)
    step = int(indices[1] - indices[0]) if count > 1 else 0
    if step > 1 and (indices == np.arange(count) * step + indices[0]).all():
        return _every(graph, x, axis, int(indices[0]), step, count)
    if count == size and (indices == np.arange(size)[::-1]).all():
        return graph.add(TosaOp.REVERSE, (x,), x.shape, x.dtype, axis=axis)
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    if x.dtype == "bool":  # GATHER has no form for truth values
        return cast(graph, gather(graph, cast(graph, x, "int8"), axis, indices), "bool")
    places = graph.constant(np.tile(indices.astype(np.int32), (outer, 1)))
    taken = graph.add(TosaOp.GATHER, (reshape(graph, x, (outer, size, inner)), places), (outer, count, inner), x.dtype)
    return reshape(graph, taken, replaced(x.shape, axis, count))


def _every(graph: TosaGraph, x: Tensor, axis: int, start: int, step: int, count: int) -> Tensor:
    """``count`` elements of one axis from ``start``, every ``step``-th: one of ``step`` columns.

    GATHER would do too, which Ethos-U55 and U65 do not have.
    """
    filled = -x.shape[axis] % step
    padded = pad(graph, x, (0,) * x.rank, replaced((0,) * x.rank, axis, filled), 0)
    rows, outer, inner = padded.shape[axis] // step, math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    column = take_slice(graph, reshape(graph, padded, (outer, rows, step, inner)), 2, start % step, 1)
    return reshape(graph, take_slice(graph, column, 1, start // step, count), replaced(x.shape, axis, count))


def with_rank(graph: TosaGraph, x: Tensor, rank: int) -> Tensor:
    """Leading axes of size 1 up to ``rank``."""
    return reshape(graph, x, (1,) * (rank - x.rank) + x.shape)


def replaced(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


# ------------------------------------------------------------------------------------------- arithmetic


def binary(graph: TosaGraph, op: TosaOp, a: Tensor, b: Tensor, **attribute: bool | int) -> Tensor:
    """An elementwise operator of two tensors of one type, broadcast like numpy."""
    rank = max(a.rank, b.rank)
    a, b = with_rank(graph, a, rank), with_rank(graph, b, rank)
    return graph.add(op, (a, b), np.broadcast_shapes(a.shape, b.shape), a.dtype, **attribute)


def multiply(graph: TosaGraph, a: Tensor, b: Tensor, shift: int = 0) -> Tensor:
    """``(a * b) >> shift``, rounded, in int32."""
    rank = max(a.rank, b.rank)
    a, b = with_rank(graph, a, rank), with_rank(graph, b, rank)
    amount = graph.scalar(shift, "int8", 1)
    return graph.add(TosaOp.MUL, (a, b, amount), np.broadcast_shapes(a.shape, b.shape), "int32")


def extreme(graph: TosaGraph, a: Tensor, b: Tensor, *, maximum: bool) -> Tensor:
    """The larger (``maximum``) or smaller of two tensors."""
    return binary(graph, TosaOp.MAXIMUM if maximum else TosaOp.MINIMUM, a, b, nan_mode=NAN_PROPAGATE)


def shift_right(graph: TosaGraph, x: Tensor, count: Tensor | int, *, rounded: bool = True) -> Tensor:
    """``x >> count``, rounded half up."""
    amount = graph.scalar(count, x.dtype, x.rank) if isinstance(count, int) else count
    return binary(graph, TosaOp.ARITHMETIC_RIGHT_SHIFT, x, amount, round=rounded)


def shift_left(graph: TosaGraph, x: Tensor, count: Tensor) -> Tensor:
    return binary(graph, TosaOp.LOGICAL_LEFT_SHIFT, x, count)


def plus(graph: TosaGraph, x: Tensor, value: int) -> Tensor:
    """``x + value``."""
    return binary(graph, TosaOp.ADD, x, graph.scalar(value, x.dtype, x.rank))


def minus_from(graph: TosaGraph, value: int, x: Tensor) -> Tensor:
    """``value - x``."""
    return binary(graph, TosaOp.SUB, graph.scalar(value, x.dtype, x.rank), x)


def at_least(graph: TosaGraph, x: Tensor, value: int) -> Tensor:
    return extreme(graph, x, graph.scalar(value, x.dtype, x.rank), maximum=True)


def at_most(graph: TosaGraph, x: Tensor, value: int) -> Tensor:
    return extreme(graph, x, graph.scalar(value, x.dtype, x.rank), maximum=False)


def leading_zeros(graph: TosaGraph, x: Tensor) -> Tensor:
    return graph.add(TosaOp.CLZ, (x,), x.shape, x.dtype)


def absolute(graph: TosaGraph, x: Tensor) -> Tensor:
    return graph.add(TosaOp.ABS, (x,), x.shape, x.dtype)


def reduced(graph: TosaGraph, op: TosaOp, x: Tensor, axis: int) -> Tensor:
    """A reduction along one axis, which stays with size 1."""
    axis %= x.rank
    shape = replaced(x.shape, axis, 1)
    if op is TosaOp.REDUCE_SUM:
        return graph.add(op, (x,), shape, x.dtype, axis=axis)
    return graph.add(op, (x,), shape, x.dtype, axis=axis, nan_mode=NAN_PROPAGATE)


def compared(graph: TosaGraph, op: TosaOp, a: Tensor, b: Tensor) -> Tensor:
    """EQUAL, GREATER or GREATER_EQUAL of two int32 tensors, broadcast like numpy."""
    rank = max(a.rank, b.rank)
    a, b = with_rank(graph, a, rank), with_rank(graph, b, rank)
    return graph.add(op, (a, b), np.broadcast_shapes(a.shape, b.shape), "bool")


def selected(graph: TosaGraph, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a`` where the condition holds, else ``b``, of one type, broadcast like numpy."""
    rank = max(condition.rank, a.rank, b.rank)
    operands = tuple(with_rank(graph, x, rank) for x in (condition, a, b))
    return graph.add(TosaOp.SELECT, operands, np.broadcast_shapes(*(x.shape for x in operands)), a.dtype)


def cast(graph: TosaGraph, x: Tensor, dtype: str) -> Tensor:
    """The same values in another integer type, which must hold them: CAST, or a RESCALE by 1 out of int32, from which
    Ethos-U55 and U65 do not cast."""
    if x.dtype == dtype:
        return x
    if x.dtype == "int32":
        return rescale(graph, x, power_of_two(0), dtype)
    return graph.add(TosaOp.CAST, (x,), x.shape, dtype)


def table16(graph: TosaGraph, x: Tensor, table: NDArray[np.int16]) -> Tensor:
    """int16 TABLE of 513 entries -> int32 of 23 bits."""
    return graph.add(TosaOp.TABLE, (x, graph.constant(table)), x.shape, "int32")


# ------------------------------------------------------------------------------------------- requantising


def zero_point(graph: TosaGraph, dtype: str) -> Tensor:
    """The zero point of every tensor here: 0."""
    return graph.scalar(0, dtype, 1)


def power_of_two(shift: int) -> Scaling:
    """The scaling by ``2 ** -shift``."""
    return Scaling(np.array([1 << _ONE_SHIFT], np.int32), np.array([_ONE_SHIFT + shift], np.int8))


def rescale(graph: TosaGraph, x: Tensor, scaling: Scaling, dtype: str) -> Tensor:
    """RESCALE with single rounding, saturated to ``dtype``; per-channel multipliers belong to the last axis.

    Raises:
        ExportError: An int48 accumulator meets multipliers of more than 16 bits.
    """
    wide = x.dtype == "int48"
    if wide and scaling.multiplier.max() > np.iinfo(np.int16).max:
        raise graph.refuse("requantisation of 48 bits by a multiplier of 32 bits")
    multiplier = graph.constant(scaling.multiplier.astype(np.int16 if wide else np.int32))
    operands = (x, multiplier, graph.constant(_shifts(scaling)), zero_point(graph, x.dtype), zero_point(graph, dtype))
    return graph.add(
        TosaOp.RESCALE,
        operands,
        x.shape,
        dtype,
        scale32=not wide,
        rounding_mode=SINGLE_ROUND,
        per_channel=scaling.multiplier.size > 1,
        input_unsigned=False,
        output_unsigned=False,
    )


def _shifts(scaling: Scaling) -> NDArray[np.int8]:
    """The shifts; those of multipliers 0, whose products are 0 with any, the largest: TOSA takes no accumulator beyond
    ``2 ** (shift - 1)``."""
    return np.where(scaling.multiplier == 0, LARGEST_SHIFT, scaling.shift).astype(np.int8)


def within_reach(graph: TosaGraph, x: Tensor, scaling: Scaling) -> Tensor:
    """The tensor limited to magnitudes below ``2 ** (shift - 1)``, which TOSA demands of what it rescales.

    Whatever is cut would be 2^29 or more after scaling: for results of 16 bits, nothing changes.
    """
    limit = (np.int64(1) << np.minimum(_shifts(scaling).astype(np.int64) - 1, _RANGE_BITS)) - 1
    if x.dtype == "int48" or (limit >= _REACH[x.dtype]).all():
        return x
    if x.dtype == "int32":
        limit = limit.reshape((1,) * x.rank) if limit.size == 1 else limit  # a tensor without axes keeps none
        lowered = extreme(graph, x, graph.constant(limit, "int32"), maximum=False)
        return extreme(graph, lowered, graph.constant(-limit, "int32"), maximum=True)
    smallest = int(limit.min())
    return clamp(graph, x, Output(x.dtype, -smallest, smallest))


def clamp(graph: TosaGraph, x: Tensor, output: Output) -> Tensor:
    """Limit an int8 or int16 tensor to the output's bounds."""
    bounds = np.iinfo(output.dtype)
    if (output.low, output.high) == (bounds.min, bounds.max):
        return x
    low, high = (np.array(value, output.dtype).tobytes() for value in (output.low, output.high))
    return graph.add(TosaOp.CLAMP, (x,), x.shape, x.dtype, min_val=low, max_val=high, nan_mode=NAN_PROPAGATE)


def requantise(graph: TosaGraph, x: Tensor, scaling: Scaling, output: Output) -> Tensor:
    """``clamp(scaling(x))`` in the output's type."""
    return clamp(graph, rescale(graph, within_reach(graph, x, scaling), scaling, output.dtype), output)


def narrowed(graph: TosaGraph, x: Tensor, output: Output) -> Tensor:
    """``clamp(x)`` of an int32 tensor in the output's type, without scaling."""
    return cast(graph, at_most(graph, at_least(graph, x, output.low), output.high), output.dtype)
