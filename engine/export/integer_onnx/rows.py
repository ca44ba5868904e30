"""Softmax, normalisation and bilinear resizing: the steps that their definitions number, in int64."""

from __future__ import annotations

import math

import numpy as np

from engine.export.integer_onnx.registry import writes
from engine.export.integer_onnx.steps import (
    MAGNITUDE,
    cast,
    clamp,
    extreme,
    largest_of_rows,
    leading_zeros,
    limited,
    look_up,
    power_of_two,
    reduce,
    requantise,
    rescale,
    reshape,
    shifted_down,
    shifted_down_by,
    step,
    whole,
)
from engine.export.onnx_nodes import Emission
from engine.program import division, norm, softmax
from engine.program.arithmetic import rescaled_bound
from engine.program.types import DivideScaled, IntegerLayerNorm, IntegerSoftmax, ResizeLinear

_FRACTION = 2048


@writes(IntegerSoftmax)
def _softmax(op: IntegerSoftmax, emission: Emission) -> None:
    """Steps 1 to 9 of :mod:`engine.program.softmax`, the axis moved to the end where it is another."""
    rank = len(emission.shape())
    order = [axis for axis in range(rank) if axis != op.axis % rank] + [op.axis % rank]
    is_last = order[-1] == rank - 1
    x = cast(emission, emission.inputs[0], "int64")
    rows = x if is_last else step(emission, "Transpose", x, perm=order)
    difference = step(emission, "Sub", rows, largest_of_rows(emission, rows))
    bound = 2 * MAGNITUDE[emission.dtype]
    scaled = rescale(emission, difference, op.difference_scaling, bound)
    index = limited(emission, scaled, -32768, 0, rescaled_bound(op.difference_scaling, bound))
    exponential = look_up(emission, op.exp_table, cast(emission, index, "int64"))
    total = reduce(emission, "ReduceSum", shifted_down(emission, exponential, op.sum_shift), (-1,))
    zeros = leading_zeros(emission, total)
    product = shifted_down(
        emission,
        step(emission, "Mul", exponential, _reciprocal(op, emission, total, zeros)),
        softmax.PRODUCT_SHIFT,
    )
    count = step(emission, "Sub", whole(softmax.STATIC_EXPONENT + op.sum_shift), zeros)
    ratio = shifted_down_by(emission, product, count)
    result = rescale(emission, ratio, op.out, 1 << 30)
    if not is_last:
        result = step(emission, "Transpose", result, perm=[int(axis) for axis in np.argsort(order)])
    clamp(emission, result, op.output, rescaled_bound(op.out, 1 << 30), emission.outputs[0])


def _reciprocal(op: IntegerSoftmax, emission: Emission, total: str, zeros: str) -> str:
    """Steps 5 and 6."""
    normalised = step(emission, "Mul", total, power_of_two(emission, step(emission, "Sub", zeros, whole(1))))
    index = step(emission, "Div", normalised, whole(1 << softmax.INDEX_SHIFT))
    return look_up(emission, op.reciprocal_table, step(emission, "Sub", index, whole(softmax.INDEX_OFFSET)))


@writes(DivideScaled)
def _divide(op: DivideScaled, emission: Emission) -> None:
    """Steps 1 to 7 of :mod:`engine.program.division`; what depends on the divisor alone is looked up by its value."""
    every = np.arange(-32768, 32768)
    reciprocal, zeros = division.reciprocals(every, op)
    up, down = np.maximum(zeros - op.pivot, 0), np.maximum(op.pivot - zeros, 0)
    place = step(emission, "Add", cast(emission, emission.inputs[1], "int64"), whole(32768))
    a = cast(emission, emission.inputs[0], "int64")
    product = step(emission, "Mul", a, step(emission, "Gather", reciprocal, place))
    shifted = shifted_down(emission, product, division.PRODUCT_SHIFT)
    signed = step(emission, "Mul", shifted, step(emission, "Gather", np.where(every < 0, -1, 1), place))
    bound = step(emission, "Gather", (division.LIMIT >> up).astype(np.int32), place)
    lower = step(emission, "Gather", -(division.LIMIT >> up).astype(np.int32), place)
    kept = step(emission, "Max", step(emission, "Min", cast(emission, signed, "int32"), bound), lower)
    raised = step(emission, "Mul", cast(emission, kept, "int64"), step(emission, "Gather", np.int64(1) << up, place))
    quotient = shifted_down_by(emission, raised, step(emission, "Gather", down, place))
    requantise(emission, quotient, op.scaling, op.output, division.LIMIT)


@writes(IntegerLayerNorm)
def _layernorm(op: IntegerLayerNorm, emission: Emission) -> None:
    """Steps 1 to 11 of :mod:`engine.program.norm`."""
    shape = emission.shape()
    leading, sizes = len(shape) - op.axes_count, shape[len(shape) - op.axes_count :]
    x = cast(emission, emission.inputs[0], "int64")
    length, plain = math.prod(sizes) // op.groups, op.axes_count == op.groups == 1
    rows = x if plain else reshape(emission, x, (*(0,) * leading, op.groups, length))
    centred = _centred(emission, rows, length) if op.centre else rows
    largest = largest_of_rows(emission, step(emission, "Abs", centred))
    zeros = extreme(emission, "Min", leading_zeros(emission, largest), norm.largest_zeros(op))
    up = power_of_two(emission, step(emission, "Sub", zeros, whole(1)))
    short = shifted_down(emission, step(emission, "Mul", centred, up), norm.CENTRED_SHIFT)
    root, half = _inverse_root(op, emission, short, zeros)
    product = shifted_down(emission, step(emission, "Mul", short, root), norm.PRODUCT_SHIFT)
    count = extreme(emission, "Max", step(emission, "Sub", whole(norm.root_shift(op)), half), 0)
    normalised = shifted_down_by(emission, product, count)
    by_element = op.channel_size == 1 and op.bias.size == length
    if not by_element:
        normalised = reshape(emission, normalised, (-1, op.bias.size, op.channel_size))
    per_channel = (-1,) if by_element else (-1, 1)
    sign, bias = (part.astype(np.int64).reshape(per_channel) for part in (op.weight_sign, op.bias))
    scaled = rescale(emission, step(emission, "Mul", normalised, sign), op.weight, 1 << 30, per_channel)
    result = shifted_down(emission, step(emission, "Add", scaled, bias), op.out_shift)
    if not by_element or not plain:
        result = reshape(emission, result, (-1, *shape[1:]))
    bound = rescaled_bound(op.weight, 1 << 30) + int(np.abs(op.bias.astype(np.int64)).max(initial=0))
    clamp(emission, result, op.output, bound, emission.outputs[0])


def _centred(emission: Emission, rows: str, length: int) -> str:
    """Step 1 of LayerNorm."""
    total = reduce(emission, "ReduceSum", rows, (-1,))
    return step(emission, "Sub", step(emission, "Mul", rows, whole(length)), total)


def _inverse_root(op: IntegerLayerNorm, emission: Emission, short: str, zeros: str) -> tuple[str, str]:
    """Steps 4 to 7: the inverse root of the variance, and h."""
    squares = shifted_down(emission, step(emission, "Mul", short, short), op.square_shift)
    total = reduce(emission, "ReduceSum", squares, (-1,))
    exponent = step(emission, "Sub", whole(-op.epsilon_exponent), step(emission, "Mul", zeros, whole(2)))
    count = extreme(emission, "Min", extreme(emission, "Max", exponent, 0), norm.LARGEST_COUNT)
    mantissa = emission.scalar("epsilon", op.epsilon_mantissa, "int64")
    epsilon = shifted_down_by(emission, mantissa, count)
    variance = extreme(emission, "Max", step(emission, "Add", total, epsilon), 1)
    half = step(emission, "Div", step(emission, "Sub", leading_zeros(emission, variance), whole(1)), whole(2))
    up = power_of_two(emission, step(emission, "Mul", half, whole(2)))
    index = step(emission, "Div", step(emission, "Mul", variance, up), whole(1 << norm.INDEX_SHIFT))
    return look_up(emission, op.rsqrt_table, step(emission, "Sub", index, whole(norm.INDEX_OFFSET))), half


@writes(ResizeLinear)
def _resize_linear(op: ResizeLinear, emission: Emission) -> None:
    """Along rows, then across them."""
    rank = len(emission.shape())
    x = cast(emission, emission.inputs[0], "int64")
    for axis in (1, 0):
        low, high, fraction = op.low[axis], op.high[axis], op.fraction[axis]
        weight = fraction.astype(np.int64).reshape(-1, *(1,) * (1 - axis))
        near, far = (step(emission, "Gather", x, place, axis=rank - 2 + axis) for place in (low, high))
        x = step(emission, "Add", step(emission, "Mul", near, _FRACTION - weight), step(emission, "Mul", far, weight))
        x = shifted_down(emission, x, op.row_shift if axis else 0)
    requantise(emission, x, op.scaling, op.output, (MAGNITUDE[emission.dtype] * _FRACTION**2 >> op.row_shift) + 1)
