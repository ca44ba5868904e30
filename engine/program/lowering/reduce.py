"""Reductions, pooling, softmax, normalisation and resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.ops.layout import Reshape
from engine.ops.reduce import (
    AveragePool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MaxPool,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceSum,
    Resize,
    RMSNorm,
    Softmax,
)
from engine.program.arithmetic import scaling_for
from engine.program.lowering.context import LOWER, UnitContext
from engine.program.lowering.sampling import linear_weights, nearest_indices
from engine.program.norm import integer_layernorm
from engine.program.softmax import integer_softmax
from engine.program.types import (
    AveragePoolInteger,
    DataMovement,
    ExtremeReduce,
    MaximumPool,
    Output,
    Requantise,
    ResizeLinear,
    SumReduce,
)
from engine.qtype import INTEGER_RANGE, QType

FRACTION_BITS = 11
_ROW_SHIFT = {"int8": 0, "int16": 7}
_PLANE = 2
_Axis = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
"""Lower and upper source index and the upper one's weight, at each place."""

_INT32_LIMIT = 2**31
"""Sums that may reach it are rescaled by multipliers of 15 bits, which leave 48 bits for the sum."""


@LOWER.register(ReduceMean)
def lower_mean(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, ReduceMean)
    shape = context.graph.types[context.node.inputs[0]].shape
    _emit_sum(context, op.axes, op.keepdims, 1.0 / math.prod(shape[axis] for axis in op.axes))


@LOWER.register(ReduceSum)
def lower_sum(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, ReduceSum)
    _emit_sum(context, op.axes, op.keepdims, 1.0)


def _emit_sum(context: UnitContext, axes: tuple[int, ...], keepdims: bool, factor: float) -> None:
    source = context.node.inputs[0]
    incoming = context.types[source]
    shape = context.graph.types[source].shape
    largest = math.prod(shape[axis] for axis in axes) * INTEGER_RANGE[incoming.dtype][1]
    wide = largest >= _INT32_LIMIT
    scaling = scaling_for(incoming.scale * factor / context.result_type.scale, wide=wide)
    context.emit(SumReduce(axes, keepdims, scaling, context.output()), (source,))


@LOWER.register(ReduceMax)
def lower_reduce_max(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, ReduceMax)
    context.emit(ExtremeReduce(op.axes, op.keepdims, maximum=True), (context.node.inputs[0],))


@LOWER.register(ReduceMin)
def lower_reduce_min(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, ReduceMin)
    context.emit(ExtremeReduce(op.axes, op.keepdims, maximum=False), (context.node.inputs[0],))


@LOWER.register(MaxPool)
def lower_max_pool(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, MaxPool)
    dilations = op.dilations or (1,) * len(op.kernel)
    context.emit(MaximumPool(op.kernel, op.strides, op.pads, dilations), (context.node.inputs[0],))


@LOWER.register(AveragePool)
def lower_average_pool(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, AveragePool)
    counted = op.counted_pads if op.count_include_pad else (0,) * len(op.pads)
    context.emit(AveragePoolInteger(op.kernel, op.strides, op.pads, counted), (context.node.inputs[0],))


@LOWER.register(Softmax)
def lower_softmax(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, Softmax)
    source = context.node.inputs[0]
    incoming = context.types[source]
    length = context.graph.types[source].shape[op.axis]
    context.emit(
        integer_softmax(incoming.scale, incoming.dtype, op.axis, length, context.result_type.scale, context.output()),
        (source,),
    )


def _parameter(context: UnitContext, index: int, length: int, absent: float) -> NDArray[np.float64]:
    inputs = context.node.inputs
    if len(inputs) > index and inputs[index]:
        return context.constant_of(inputs[index]).reshape(-1)
    return np.full(length, absent)


def _shortened(context: UnitContext, source: str, length: int) -> tuple[str, QType, int]:
    """The input of a norm of ``length`` elements, its type and largest magnitude.

    Very long rows of int16 lose as many bits as keep the sums of step 1 within 32: 2 * length * largest < 2^31.
    """
    incoming = context.types[source]
    largest = INTEGER_RANGE[incoming.dtype][1]
    bits = max(0, math.ceil(math.log2(2.0 * length * largest / _INT32_LIMIT)))
    if bits == 0:
        return source, incoming, largest
    limit = largest >> bits
    kind = QType(incoming.dtype, incoming.scale * 2.0**bits)
    name = context.temporary("shortened", kind)
    context.emit(Requantise(scaling_for(2.0**-bits), Output(kind.dtype, -limit, limit)), (source,), (name,))
    return name, kind, limit


@LOWER.register(LayerNorm, RMSNorm)
def lower_norm(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, LayerNorm | RMSNorm)
    shape = context.graph.types[context.node.inputs[0]].shape
    length = math.prod(shape[len(shape) - op.axes_count :])
    _emit_norm(context, op.epsilon, length, _Rows(op.axes_count, length), centre=isinstance(op, LayerNorm))


@LOWER.register(InstanceNorm, GroupNorm)
def lower_group_norm(context: UnitContext) -> None:
    """A LayerNorm of each group's channels and space, with a weight and a bias per channel."""
    op = context.node.op
    assert isinstance(op, InstanceNorm | GroupNorm)
    _, channels, *space = context.graph.types[context.node.inputs[0]].shape
    groups = op.groups if isinstance(op, GroupNorm) else channels
    length = channels // groups * math.prod(space)
    rows = _Rows(1 + len(space), channels, groups, math.prod(space))
    _emit_norm(context, op.epsilon, length, rows, centre=True)


@dataclass(frozen=True)
class _Rows:
    """What a norm runs over: the last axes, in groups of channels; it has as many weights and biases as parameters."""

    axes_count: int
    parameters: int
    groups: int = 1
    channel_size: int = 1


def _emit_norm(context: UnitContext, epsilon: float, length: int, rows: _Rows, *, centre: bool) -> None:
    source, incoming, largest = _shortened(context, context.node.inputs[0], length)
    context.emit(
        integer_layernorm(
            incoming.scale,
            incoming.dtype,
            length,
            epsilon,
            _parameter(context, 1, rows.parameters, 1.0),
            _parameter(context, 2, rows.parameters, 0.0),
            context.result_type.scale,
            context.output(),
            centre=centre,
            axes_count=rows.axes_count,
            groups=rows.groups,
            channel_size=rows.channel_size,
            largest=largest,
        ),
        (source,),
    )


@LOWER.register(Resize)
def lower_resize(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, Resize)
    source = context.node.inputs[0]
    if op.mode == "nearest":
        _emit_nearest(context, op, source)
        return
    shape = context.graph.types[source].shape
    axes = [linear_weights(op, axis, size, FRACTION_BITS) for axis, size in enumerate(shape[2:])]
    if len(axes) == _PLANE:
        _emit_linear(context, axes, source, context.types[source], context.result)
    else:
        _emit_lines_or_volumes(context, axes, source, (*shape[:2], *op.sizes))


def _emit_linear(
    context: UnitContext, axes: Sequence[_Axis], source: str, incoming: QType, result: str
) -> None:
    """Bilinear resizing of the last two axes."""
    kind = context.result_type if result == context.result else context.temporaries[result]
    row_shift = _ROW_SHIFT[incoming.dtype]
    scaling = scaling_for(incoming.scale / kind.scale / 2.0 ** (FRACTION_BITS * len(axes) - row_shift))
    low, high, fraction = (tuple(axis[part] for axis in axes) for part in range(3))
    output = Output(kind.dtype, *INTEGER_RANGE[kind.dtype])
    context.emit(ResizeLinear(low, high, fraction, scaling, output, row_shift), (source,), (result,))


def _emit_lines_or_volumes(
    context: UnitContext, axes: Sequence[_Axis], source: str, result_shape: tuple[int, ...]
) -> None:
    """Lines as images of one row. Volumes slice by slice, in int16 between, and then across the slices, whose elements
    lie in one row."""
    incoming, (batch, channels, *space) = context.types[source], context.graph.types[source].shape
    resized = context.temporary("resized", context.result_type)
    if len(axes) == 1:
        image = context.temporary("image", incoming)
        context.emit(DataMovement(Reshape((batch, channels, 1, *space))), (source,), (image,))
        _emit_linear(context, (_unchanged(1), axes[0]), image, incoming, resized)
    else:
        plane = result_shape[3:]
        range_top = INTEGER_RANGE[incoming.dtype][1] * incoming.scale
        finer = QType("int16", range_top / INTEGER_RANGE["int16"][1])
        image, blended = context.temporary("image", incoming), context.temporary("blended", finer)
        rows = context.temporary("rows", finer)
        context.emit(DataMovement(Reshape((batch, channels * space[0], *space[1:]))), (source,), (image,))
        _emit_linear(context, axes[1:], image, incoming, blended)
        size = math.prod(plane)
        context.emit(DataMovement(Reshape((batch, channels, space[0], size))), (blended,), (rows,))
        _emit_linear(context, (axes[0], _unchanged(size)), rows, finer, resized)
    context.emit(DataMovement(Reshape(result_shape)), (resized,))


def _unchanged(size: int) -> _Axis:
    """The weights of an axis that keeps its size."""
    places = np.arange(size, dtype=np.int32)
    return places, places, np.zeros(size, np.int32)


def _emit_nearest(context: UnitContext, op: Resize, source: str) -> None:
    """A gather along every spatial axis."""
    shape = context.graph.types[source].shape[2:]
    name = source
    for axis, size in enumerate(shape):
        last = axis == len(shape) - 1
        target = context.result if last else context.temporary(f"axis{axis}", context.types[source])
        context.emit(DataMovement(nearest_indices(op, axis, size)), (name,), (target,))
        name = target
