"""Convolution, fully connected and matrix product."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.calibrate.result import power_of_two_above
from engine.ops.layout import Reshape
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import BatchNorm
from engine.program.arithmetic import scaling_for
from engine.program.lowering.context import LOWER, UnitContext
from engine.program.types import Convolution, DataMovement, FullyConnected, MatrixProduct
from engine.qtype import QType

WEIGHT_LEVELS = 127
BIAS_LIMIT = 2.0**30
_PIECE_ELEMENTS = 1 << 20
"""Weights in float64 at a time, which bounds the memory that quantising them takes."""
_CONVOLVED_RANKS = (3, 4, 5)


def quantise_weight(
    weight: NDArray[np.floating],
    bias: NDArray[np.float64],
    in_scale: float,
    axis: int,
    chosen: NDArray[np.float64] | None = None,
    power_of_two: bool = False,
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Symmetric int8 weights, one scale per index of ``axis``.

    The scale is the ``chosen`` one, or the channel's largest magnitude / 127, but never so small that the channel's
    bias, in units of in_scale * scale, leaves 30 bits (a channel of almost zero weights). Returns (integers, scales
    [axis size]). With ``power_of_two`` it is the power of two above. All is computed in float64, a few channels at a
    time.
    """
    wanted = weight_scales(weight, axis) if chosen is None else chosen
    scales = np.maximum(wanted, np.abs(bias) / (in_scale * BIAS_LIMIT))
    scales = np.where(scales > 0.0, scales, 1.0 / WEIGHT_LEVELS)
    scales = powers_of_two_above(scales) if power_of_two else scales
    return _rounded(weight, scales, axis), scales


def powers_of_two_above(scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """For positive scales of any shape the smallest power of two that is no less."""
    mantissas, exponents = np.frexp(scales)
    return np.ldexp(np.where(mantissas == 0.5, 0.5, 1.0), exponents)


def weight_scales(weight: NDArray[np.floating], axis: int) -> NDArray[np.float64]:
    """The scale, [axis size], at which no weight is clipped: the channel's largest magnitude / 127."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.maximum(weight.max(axis=others, initial=0.0), -weight.min(axis=others, initial=0.0))
    return largest.astype(np.float64) / WEIGHT_LEVELS


def _rounded(weight: NDArray[np.floating], scales: NDArray[np.float64], axis: int) -> NDArray[np.int8]:
    """The weight in steps of each channel's scale, ties to even."""
    integers = np.empty(weight.shape, np.int8)
    channels, result = np.moveaxis(weight, axis, 0), np.moveaxis(integers, axis, 0)
    step = max(1, _PIECE_ELEMENTS * len(channels) // max(1, weight.size))
    for start in range(0, len(channels), step):
        piece = slice(start, start + step)
        divisors = scales[piece].reshape(-1, *(1,) * (weight.ndim - 1))
        steps = np.rint(channels[piece].astype(np.float64) / divisors)
        result[piece] = np.clip(steps, -WEIGHT_LEVELS, WEIGHT_LEVELS)
    return integers


def is_wide(*types: QType) -> bool:
    """Whether accumulators of these operands have 48 bits, so that TOSA rescales them by multipliers of 15 bits."""
    return any(item.dtype == "int16" for item in types)


def _bias(context: UnitContext, channels: int) -> NDArray[np.float64]:
    inputs = context.node.inputs
    corrected = context.corrected.biases.get(context.node.id)
    if corrected is not None:
        return np.asarray(corrected, np.float64)
    if len(inputs) > 2 and inputs[2]:
        return context.constant_of(inputs[2]).reshape(-1)
    return np.zeros(channels)


@LOWER.register(Conv)
def lower_convolution(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, Conv)
    _emit_convolution(context, op, op.groups, output_padding=(), transposed=False)


@LOWER.register(ConvTranspose)
def lower_transposed_convolution(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, ConvTranspose)
    _emit_convolution(context, op, op.groups, output_padding=op.output_padding, transposed=True)


def _emit_convolution(
    context: UnitContext, op: Conv | ConvTranspose, groups: int, output_padding: tuple[int, ...], transposed: bool
) -> None:
    source = context.node.inputs[0]
    incoming = context.types[source]
    weight, chosen = context.weight_of(context.node.inputs[1]), context.weight_scales_of(context.node.inputs[1])
    if transposed:
        weight = _by_output(weight, groups)
    bias = _bias(context, weight.shape[0])
    integers, scales = quantise_weight(weight, bias, incoming.scale, 0, chosen, context.power_of_two)
    accumulator_scales = incoming.scale * scales
    bias_integers = np.rint(bias / accumulator_scales).astype(np.int64)
    context.emit(
        Convolution(
            weight=_by_input(integers, groups) if transposed else integers,
            bias=bias_integers,
            scaling=scaling_for(accumulator_scales / context.result_type.scale, wide=is_wide(incoming)),
            output=context.output(),
            strides=op.strides,
            pads=op.pads,
            dilations=op.dilations,
            groups=groups,
            transposed=transposed,
            output_padding=output_padding,
        ),
        (source,),
    )


def _by_output(weight: NDArray[np.floating], groups: int) -> NDArray[np.floating]:
    """[C, O/groups, *K] -> [O, C/groups, *K]."""
    inputs, per_group, *kernel = weight.shape
    split = weight.reshape(groups, inputs // groups, per_group, *kernel)
    return split.swapaxes(1, 2).reshape(groups * per_group, inputs // groups, *kernel)


def _by_input(weight: NDArray[np.int8], groups: int) -> NDArray[np.int8]:
    """[O, C/groups, *K] -> [C, O/groups, *K]."""
    outputs, per_group, *kernel = weight.shape
    split = weight.reshape(groups, outputs // groups, per_group, *kernel)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(groups * per_group, outputs // groups, *kernel))


@LOWER.register(BatchNorm)
def lower_batch_norm(context: UnitContext) -> None:
    """A depthwise convolution of one tap: scale and offset with one rounding, the scale exact per channel."""
    source, *parameters = context.node.inputs
    incoming, shape = context.types[source], context.graph.types[source].shape
    scale, bias = (context.constant_of(value).reshape(-1) for value in parameters)
    integers, scales = quantise_weight(scale[:, None], bias, incoming.scale, 0, power_of_two=context.power_of_two)
    accumulator_scales = incoming.scale * scales
    bias_integers = np.rint(bias / accumulator_scales).astype(np.int64)
    axes = len(shape) - 2 if len(shape) in _CONVOLVED_RANKS else 1
    channels = len(scale)
    op = Convolution(
        weight=integers.reshape(channels, 1, *(1,) * axes),
        bias=bias_integers,
        scaling=scaling_for(accumulator_scales / context.result_type.scale, wide=is_wide(incoming)),
        output=context.output(),
        strides=(1,) * axes,
        pads=(0,) * (2 * axes),
        dilations=(1,) * axes,
        groups=channels,
    )
    if len(shape) in _CONVOLVED_RANKS:
        context.emit(op, (source,))
        return
    line, result = context.temporary("line", incoming), context.temporary("result", context.result_type)
    context.emit(DataMovement(Reshape((shape[0], channels, math.prod(shape[2:])))), (source,), (line,))
    context.emit(op, (line,), (result,))
    context.emit(DataMovement(Reshape(shape)), (result,))


@LOWER.register(Linear)
def lower_linear(context: UnitContext) -> None:
    source = context.node.inputs[0]
    incoming = context.types[source]
    weight, chosen = context.weight_of(context.node.inputs[1]), context.weight_scales_of(context.node.inputs[1])
    bias = _bias(context, weight.shape[0])
    integers, scales = quantise_weight(weight, bias, incoming.scale, 0, chosen, context.power_of_two)
    accumulator_scales = incoming.scale * scales
    bias_integers = np.rint(bias / accumulator_scales).astype(np.int64)
    scaling = scaling_for(accumulator_scales / context.result_type.scale, wide=is_wide(incoming))
    context.emit(FullyConnected(integers, bias_integers, scaling, context.output()), (source,))


@LOWER.register(MatMul)
def lower_matrix_product(context: UnitContext) -> None:
    operands = tuple(_operand(context, value, index) for index, value in enumerate(context.node.inputs))
    (a_name, a_type), (b_name, b_type) = operands
    factor = a_type.scale * b_type.scale / context.result_type.scale
    scaling = scaling_for(factor, wide=is_wide(a_type, b_type))
    context.emit(MatrixProduct(scaling, context.output()), (a_name, b_name))


def _operand(context: UnitContext, value: str, index: int) -> tuple[str, QType]:
    """A matrix operand and its type; a constant one is quantised to int8 with one scale."""
    if not context.is_constant(value):
        return value, context.types[value]
    array = context.constant_of(value)
    chosen = context.weight_scales_of(value)
    largest = max(float(np.abs(array).max(initial=0.0)), 1e-30)
    scale = largest / WEIGHT_LEVELS if chosen is None else float(chosen[0])
    scale = power_of_two_above(scale) if context.power_of_two else scale
    integers = np.clip(np.rint(array / scale), -WEIGHT_LEVELS, WEIGHT_LEVELS).astype(np.int8)
    qtype = QType("int8", scale)
    return context.constant(f"operand{index}", integers, qtype), qtype
