"""Reductions, pooling and bilinear resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.export.tosa.emit import steps
from engine.export.tosa.emit.registry import tosa_form
from engine.export.tosa.emit.windows import IMAGE_AXES, as_image, fitted, from_image, plane
from engine.export.tosa.graph import Tensor, TosaGraph
from engine.export.tosa.schema import NAN_PROPAGATE, DType, TosaOp
from engine.program.kernels.pooling import average_counts, reciprocal_scale
from engine.program.types import AveragePoolInteger, ExtremeReduce, MaximumPool, ResizeLinear, SumReduce

_INT32_LIMIT = 2**31
_LARGEST = {"int8": 128, "int16": 32768}
_FRACTION_ONE = 2048


@tosa_form(SumReduce)
def emit_sum(graph: TosaGraph, op: SumReduce, operands: Sequence[Tensor]) -> Tensor:
    """CAST to int32, REDUCE_SUM for each axis, RESCALE; a sum of more than 32 bits is a MATMUL with ones."""
    (x,) = operands
    count = math.prod(x.shape[axis] for axis in op.axes)
    if count * (_LARGEST[x.dtype] - 1) >= _INT32_LIMIT:
        return _wide_sum(graph, op, x, count)
    total = summed(graph, steps.cast(graph, x, "int32"), op.axes, True)
    return _without_axes(graph, steps.requantise(graph, total, op.scaling, op.output), op.axes, op.keepdims)


def summed(graph: TosaGraph, x: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    """The sum of an int32 tensor over axes."""
    return _without_axes(graph, _along(graph, TosaOp.REDUCE_SUM, x, axes), axes, keepdims)


def _wide_sum(graph: TosaGraph, op: SumReduce, x: Tensor, count: int) -> Tensor:
    """The sum in int48."""
    gone = {axis % x.rank for axis in op.axes}
    kept = [axis for axis in range(x.rank) if axis not in gone]
    turned = steps.transpose(graph, steps.cast(graph, x, "int16"), (*kept, *sorted(gone)))
    rows = math.prod(x.shape[axis] for axis in kept)
    lines = steps.reshape(graph, turned, (1, rows, count))
    zero = steps.zero_point(graph, "int16")
    ones = graph.constant(np.ones((1, count, 1), np.int16))
    total = graph.add(TosaOp.MATMUL, (lines, ones, zero, zero), (1, rows, 1), "int48")
    shape = tuple(1 if axis in gone else size for axis, size in enumerate(x.shape) if op.keepdims or axis in kept)
    return steps.reshape(graph, steps.requantise(graph, total, op.scaling, op.output), shape)


@tosa_form(ExtremeReduce)
def emit_extreme(graph: TosaGraph, op: ExtremeReduce, operands: Sequence[Tensor]) -> Tensor:
    """REDUCE_MAX or REDUCE_MIN for each axis."""
    (x,) = operands
    kind = TosaOp.REDUCE_MAX if op.maximum else TosaOp.REDUCE_MIN
    return _without_axes(graph, _along(graph, kind, x, op.axes), op.axes, op.keepdims)


def _along(graph: TosaGraph, kind: TosaOp, x: Tensor, axes: Sequence[int]) -> Tensor:
    for axis in axes:
        x = steps.reduced(graph, kind, x, axis)
    return x


def _without_axes(graph: TosaGraph, x: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    if keepdims or not axes:
        return x
    gone = {axis % x.rank for axis in axes}
    return steps.reshape(graph, x, tuple(size for axis, size in enumerate(x.shape) if axis not in gone))


@tosa_form(MaximumPool)
def emit_maximum_pool(graph: TosaGraph, op: MaximumPool, operands: Sequence[Tensor]) -> Tensor:
    """MAX_POOL2D; dilated, padded by whole windows or of three axes, MAXIMUM of gathered rows axis by axis."""
    (x,) = operands
    spatial = len(op.kernel)
    plain = all(dilation == 1 for dilation in op.dilations) and spatial <= IMAGE_AXES
    if not plain or any(pad >= size for pad, size in zip(op.pads, op.kernel * 2, strict=True)):
        return _maximum_by_axis(graph, op, x)
    kernel, strides = plane(op.kernel, 1), plane(op.strides, 1)
    image, pads = fitted(graph, as_image(graph, x), kernel, strides, (1, 1), op.pads)
    shape = _pooled(image, kernel, strides, pads)
    pooled = graph.add(
        TosaOp.MAX_POOL2D, (image,), shape, x.dtype, kernel=kernel, stride=strides, pad=pads, nan_mode=NAN_PROPAGATE
    )
    return from_image(graph, pooled, spatial)


def _pooled(
    image: Tensor, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> tuple[int, int, int, int]:
    """Shape after pooling [N, H, W, C] by windows that fit exactly."""
    height, width = (
        (image.shape[1 + axis] + pads[2 * axis] + pads[2 * axis + 1] - kernel[axis]) // strides[axis] + 1
        for axis in range(IMAGE_AXES)
    )
    return image.shape[0], height, width, image.shape[3]


def _maximum_by_axis(graph: TosaGraph, op: MaximumPool, x: Tensor) -> Tensor:
    """In int32, the one integer type that TOSA's MAXIMUM takes."""
    spatial, dtype = len(op.kernel), x.dtype
    before, after = op.pads[:spatial], op.pads[spatial:]
    padded = steps.pad(graph, x, (0, 0, *before), (0, 0, *after), int(np.iinfo(dtype).min))
    x = steps.cast(graph, padded, "int32")
    for axis in range(spatial):
        size, kernel, stride, dilation = x.shape[2 + axis], op.kernel[axis], op.strides[axis], op.dilations[axis]
        starts = np.arange((size - dilation * (kernel - 1) - 1) // stride + 1) * stride
        rows = [steps.gather(graph, x, 2 + axis, starts + place * dilation) for place in range(kernel)]
        x = rows[0]
        for row in rows[1:]:
            x = steps.extreme(graph, x, row, maximum=True)
    return steps.cast(graph, x, dtype)


@tosa_form(AveragePoolInteger)
def emit_average_pool(graph: TosaGraph, op: AveragePoolInteger, operands: Sequence[Tensor]) -> Tensor:
    """AVG_POOL2D, which does not count its padding; padding that counts is a PAD before it.

    Volumes, and padding as large as the window, take sums of gathered rows axis by axis.
    """
    (x,) = operands
    spatial = len(op.kernel)
    pads = tuple(pad - counted for pad, counted in zip(op.pads, op.counted_pads, strict=True))
    if math.prod(op.kernel) * _LARGEST[x.dtype] >= _INT32_LIMIT:
        raise graph.refuse("average pooling with a sum of more than 32 bits")
    if spatial > IMAGE_AXES or any(not 0 <= pad < size for pad, size in zip(pads, op.kernel * 2, strict=True)):
        return _average_by_axis(graph, op, x)
    before, after = op.counted_pads[:spatial], op.counted_pads[spatial:]
    padded = steps.pad(graph, x, (0, 0, *before), (0, 0, *after), 0)
    kernel, strides = plane(op.kernel, 1), plane(op.strides, 1)
    image, edges = fitted(graph, as_image(graph, padded), kernel, strides, (1, 1), pads)
    zero = steps.zero_point(graph, x.dtype)
    pooled = graph.add(
        TosaOp.AVG_POOL2D,
        (image, zero, zero),
        _pooled(image, kernel, strides, edges),
        x.dtype,
        kernel=kernel,
        stride=strides,
        pad=edges,
        acc_type=int(DType.INT32),
    )
    return from_image(graph, pooled, spatial)


def _average_by_axis(graph: TosaGraph, op: AveragePoolInteger, x: Tensor) -> Tensor:
    """Sums in int32 times the reciprocal of each window's count: MUL has one shift for all, so the windows of each
    shift are a product of their own, in which the other multipliers are 0."""
    spatial = len(op.kernel)
    before, after = op.pads[:spatial], op.pads[spatial:]
    total = steps.cast(graph, steps.pad(graph, x, (0, 0, *before), (0, 0, *after), 0), "int32")
    for axis in range(spatial):
        kernel, stride = op.kernel[axis], op.strides[axis]
        starts = np.arange((total.shape[2 + axis] - kernel) // stride + 1) * stride
        rows = [steps.gather(graph, total, 2 + axis, starts + place) for place in range(kernel)]
        total = rows[0]
        for row in rows[1:]:
            total = steps.binary(graph, TosaOp.ADD, total, row)
    multiplier, shift = reciprocal_scale(average_counts(op, x.shape[2:]))
    result: Tensor | None = None
    for count in np.unique(shift):
        factors = graph.constant(np.where(shift == count, multiplier, 0).astype(np.int32))
        part = steps.multiply(graph, total, factors, int(count))
        result = part if result is None else steps.binary(graph, TosaOp.ADD, result, part)
    assert result is not None  # there are windows
    return steps.cast(graph, result, x.dtype)


@tosa_form(ResizeLinear)
def emit_resize(graph: TosaGraph, op: ResizeLinear, operands: Sequence[Tensor]) -> Tensor:
    """GATHER of both neighbours and their weighted sum in int32, along the last axis and then the one before."""
    (x,) = operands
    if _LARGEST[x.dtype] * _FRACTION_ONE**2 >> op.row_shift >= _INT32_LIMIT:
        raise graph.refuse(f"bilinear resizing of {x.dtype} with sums of more than 32 bits")
    wide = steps.cast(graph, x, "int32")
    for axis in reversed(range(len(op.low))):
        place = x.rank - len(op.low) + axis
        wide = _blended(graph, wide, place, op.low[axis], op.high[axis], op.fraction[axis])
        if axis and op.row_shift:
            wide = steps.shift_right(graph, wide, op.row_shift)
    return steps.requantise(graph, wide, op.scaling, op.output)


def _blended(
    graph: TosaGraph,
    x: Tensor,
    axis: int,
    low: NDArray[np.int32],
    high: NDArray[np.int32],
    fraction: NDArray[np.int32],
) -> Tensor:
    """``x[low] * (2048 - fraction) + x[high] * fraction`` along one axis."""
    shape = (-1, *(1,) * (x.rank - 1 - axis))
    parts = [
        steps.multiply(graph, steps.gather(graph, x, axis, places), graph.constant(weights.reshape(shape)))
        for places, weights in ((low, np.int32(_FRACTION_ONE) - fraction), (high, fraction))
    ]
    return steps.binary(graph, TosaOp.ADD, *parts)
