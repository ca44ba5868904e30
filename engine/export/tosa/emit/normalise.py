"""Softmax and normalisation: the numbered steps of the program's definitions, a few TOSA operators each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.export.tosa.emit import steps
from engine.export.tosa.emit.registry import tosa_form
from engine.export.tosa.graph import Tensor, TosaGraph
from engine.export.tosa.schema import TosaOp
from engine.program import division, norm, softmax
from engine.program.types import DivideScaled, IntegerLayerNorm, IntegerSoftmax, Scaling

_LARGEST_STEEP_SHIFT = 30
_CHANNELS_LAST = (0, 2, 1)
_SIGN_BIT = 31


@tosa_form(IntegerSoftmax)
def emit_softmax(graph: TosaGraph, op: IntegerSoftmax, operands: Sequence[Tensor]) -> Tensor:
    """The steps of :mod:`engine.program.softmax` along the operator's own axis."""
    (x,) = operands
    largest = steps.cast(graph, steps.reduced(graph, TosaOp.REDUCE_MAX, x, op.axis), "int32")
    difference = steps.binary(graph, TosaOp.SUB, steps.cast(graph, x, "int32"), largest)
    index = steps.rescale(graph, _within_reach(graph, op, x.dtype, difference), op.difference_scaling, "int16")
    exponential = steps.table16(graph, index, op.exp_table)
    shifted = steps.shift_right(graph, exponential, op.sum_shift)
    total = steps.reduced(graph, TosaOp.REDUCE_SUM, shifted, op.axis)
    zeros = steps.leading_zeros(graph, total)
    normalised = steps.shift_left(graph, total, steps.plus(graph, zeros, -1))
    reciprocal = _looked_up(graph, normalised, softmax.INDEX_SHIFT, softmax.INDEX_OFFSET, op.reciprocal_table)
    product = steps.multiply(graph, exponential, reciprocal, softmax.PRODUCT_SHIFT)
    count = steps.minus_from(graph, softmax.STATIC_EXPONENT + op.sum_shift, zeros)
    return steps.requantise(graph, steps.shift_right(graph, product, count), op.out, op.output)


def _within_reach(graph: TosaGraph, op: IntegerSoftmax, dtype: str, difference: Tensor) -> Tensor:
    """The differences, limited where a steep scaling would not take the largest ones; those saturate either way."""
    reach = 1 << (int(op.difference_scaling.shift[0]) - 1)
    if 2 * np.iinfo(dtype).max < reach:
        return difference
    return steps.within_reach(graph, difference, op.difference_scaling)


def _looked_up(graph: TosaGraph, x: Tensor, shift: int, offset: int, table: np.ndarray) -> Tensor:
    """``TABLE((x >> shift) - offset)``: half a step less, the rounding RESCALE is the shift that does not round.

    Ethos-U55 and U65 have neither that shift nor a CAST from int32.
    """
    lowered = steps.plus(graph, x, -(offset << shift) - (1 << (shift - 1)))
    return steps.table16(graph, steps.rescale(graph, lowered, steps.power_of_two(shift), "int16"), table)


@tosa_form(DivideScaled)
def emit_division(graph: TosaGraph, op: DivideScaled, operands: Sequence[Tensor]) -> Tensor:
    """The steps of :mod:`engine.program.division`."""
    a, b = (steps.cast(graph, x, "int32") for x in operands)
    rank = max(a.rank, b.rank)
    a, b = steps.with_rank(graph, a, rank), steps.with_rank(graph, b, rank)
    magnitude = steps.at_least(graph, steps.absolute(graph, b), 1)
    zeros = steps.leading_zeros(graph, magnitude)
    normalised = steps.shift_left(graph, magnitude, steps.plus(graph, zeros, -1))
    reciprocal = _looked_up(graph, normalised, softmax.INDEX_SHIFT, softmax.INDEX_OFFSET, op.reciprocal_table)
    below = steps.shift_right(graph, b, _SIGN_BIT, rounded=False)
    sign = steps.plus(graph, steps.binary(graph, TosaOp.ADD, below, below), 1)
    product = steps.multiply(graph, steps.multiply(graph, a, reciprocal, division.PRODUCT_SHIFT), sign)
    up = steps.at_least(graph, steps.plus(graph, zeros, -op.pivot), 0)
    down = steps.at_least(graph, steps.minus_from(graph, op.pivot, zeros), 0)
    limit = steps.shift_right(graph, graph.scalar(division.LIMIT, "int32", rank), up, rounded=False)
    capped = steps.extreme(graph, product, limit, maximum=False)
    kept = steps.extreme(graph, capped, steps.minus_from(graph, 0, limit), maximum=True)
    quotient = steps.shift_right(graph, steps.shift_left(graph, kept, up), down)
    return steps.requantise(graph, quotient, op.scaling, op.output)


@tosa_form(IntegerLayerNorm)
def emit_layernorm(graph: TosaGraph, op: IntegerLayerNorm, operands: Sequence[Tensor]) -> Tensor:
    """The steps of :mod:`engine.program.norm`, the normalised axes flattened to one.

    TOSA has multipliers per channel on the last axis only: channels that are others are transposed there and back.
    """
    (x,) = operands
    outer = math.prod(x.shape[: x.rank - op.axes_count]) * op.groups
    rows = steps.reshape(graph, x, (outer, math.prod(x.shape) // outer))
    short, zeros = _shortened(graph, op, _centred(graph, op, steps.cast(graph, rows, "int32")))
    variance = _variance(graph, op, short, zeros)
    half = steps.shift_right(graph, steps.plus(graph, steps.leading_zeros(graph, variance), -2), 1)
    doubled = steps.binary(graph, TosaOp.ADD, half, half)
    scaled = steps.shift_left(graph, variance, doubled)
    root = _looked_up(graph, scaled, norm.INDEX_SHIFT, norm.INDEX_OFFSET, op.rsqrt_table)
    product = steps.multiply(graph, short, root, norm.PRODUCT_SHIFT)
    count = steps.at_least(graph, steps.minus_from(graph, norm.root_shift(op), half), 0)
    normalised = steps.shift_right(graph, product, count)
    if op.channel_size == 1 and op.bias.size == rows.shape[-1]:
        return steps.reshape(graph, _weighted(graph, op, normalised), x.shape)
    samples = math.prod(x.shape) // (op.bias.size * op.channel_size)
    channels = steps.reshape(graph, normalised, (samples, op.bias.size, op.channel_size))
    result = _weighted(graph, op, steps.transpose(graph, channels, _CHANNELS_LAST))
    return steps.reshape(graph, steps.transpose(graph, result, _CHANNELS_LAST), x.shape)


def _centred(graph: TosaGraph, op: IntegerLayerNorm, x: Tensor) -> Tensor:
    """Step 1."""
    if not op.centre:
        return x
    total = steps.reduced(graph, TosaOp.REDUCE_SUM, x, -1)
    scaled = steps.multiply(graph, x, graph.scalar(x.shape[-1], "int32", x.rank))
    return steps.binary(graph, TosaOp.SUB, scaled, total)


def _shortened(graph: TosaGraph, op: IntegerLayerNorm, centred: Tensor) -> tuple[Tensor, Tensor]:
    """Steps 2 and 3: the rows with 16 bits, and how many zeros led the largest element.

    They are the fewest of any element, counted in int8: Ethos-U55 and U65 reduce no int32 to an extreme.
    """
    counts = steps.cast(graph, steps.leading_zeros(graph, steps.absolute(graph, centred)), "int8")
    fewest = steps.cast(graph, steps.reduced(graph, TosaOp.REDUCE_MIN, counts, -1), "int32")
    zeros = steps.at_most(graph, fewest, norm.largest_zeros(op))
    raised = steps.shift_left(graph, centred, steps.plus(graph, zeros, -1))
    return steps.shift_right(graph, raised, norm.CENTRED_SHIFT), zeros


def _variance(graph: TosaGraph, op: IntegerLayerNorm, short: Tensor, zeros: Tensor) -> Tensor:
    """Steps 4 and 5."""
    squares = steps.shift_right(graph, steps.multiply(graph, short, short), op.square_shift)
    total = steps.reduced(graph, TosaOp.REDUCE_SUM, squares, -1)
    doubled = steps.binary(graph, TosaOp.ADD, zeros, zeros)
    count = steps.minus_from(graph, -op.epsilon_exponent, doubled)
    count = steps.at_most(graph, steps.at_least(graph, count, 0), norm.LARGEST_COUNT)
    mantissa = graph.scalar(op.epsilon_mantissa, "int32", count.rank)
    epsilon = steps.shift_right(graph, mantissa, count)
    return steps.at_least(graph, steps.binary(graph, TosaOp.ADD, total, epsilon), 1)


def _weighted(graph: TosaGraph, op: IntegerLayerNorm, normalised: Tensor) -> Tensor:
    """Steps 10 and 11."""
    if (op.weight_sign < 0).any():
        normalised = steps.multiply(graph, normalised, graph.constant(op.weight_sign.astype(np.int32)))
    total = steps.binary(graph, TosaOp.ADD, _scaled(graph, op.weight, normalised), graph.constant(op.bias))
    return steps.narrowed(graph, steps.shift_right(graph, total, op.out_shift), op.output)


def _scaled(graph: TosaGraph, weight: Scaling, x: Tensor) -> Tensor:
    """``weight_j(x)`` for x below 2^30, in int32.

    RESCALE takes no such x at shifts below 31. MUL has the same rounding and no such limit, but one shift for all: the
    channels of each of these shifts are a product of their own, in which the other multipliers are 0.
    """
    steep = (weight.shift <= _LARGEST_STEEP_SHIFT) & (weight.multiplier != 0)
    rest = Scaling(np.where(steep, 0, weight.multiplier).astype(np.int32), weight.shift)
    parts = [steps.rescale(graph, x, rest, "int32")] if rest.multiplier.any() or not steep.any() else []
    for shift in np.unique(weight.shift[steep]):
        multiplier = np.where(steep & (weight.shift == shift), weight.multiplier, 0).astype(np.int32)
        parts.append(steps.multiply(graph, x, graph.constant(multiplier), int(shift)))
    total = parts[0]
    for part in parts[1:]:
        total = steps.binary(graph, TosaOp.ADD, total, part)
    return total
