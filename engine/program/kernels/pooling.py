"""Pooling over windows of [N, C, *S], and bilinear resizing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.program.kernels.compiled import Array, Integer, compiled, prange
from engine.program.kernels.memory import TORCH_DTYPE, channels_first_view, channels_last
from engine.program.kernels.prepared import prepared, single
from engine.program.kernels.registry import kernel_of
from engine.program.kernels.scalar import limit, rescale
from engine.program.types import AveragePoolInteger, MaximumPool, ResizeLinear

_LOWEST = {torch.int8: -128, torch.int16: -32768}


@kernel_of(MaximumPool)
def maximum_pool(op: MaximumPool, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    (x,) = inputs
    dilations = op.dilations or (1,) * len(op.kernel)
    windows = _windows(_padded(x, op.pads, _LOWEST[x.dtype]), op.kernel, op.strides, dilations)
    result = windows[0].clone()
    for window in windows[1:]:
        torch.maximum(result, window, out=result)
    return (result,)


@kernel_of(AveragePoolInteger)
def average_pool(op: AveragePoolInteger, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    (x,) = inputs
    ones = (1,) * len(op.kernel)
    padded = _padded(x.to(torch.int32), op.pads, 0)
    windows = _windows(padded, op.kernel, op.strides, ones)
    sums = windows[0].clone()
    for window in windows[1:]:
        sums += window
    counts = average_counts(op, tuple(x.shape[2:]))
    multiplier, shift = reciprocal_scale(counts)
    rows = sums.reshape(-1, counts.size)
    out = torch.empty(rows.shape, dtype=x.dtype)
    _average(rows.numpy(), multiplier.ravel(), shift.ravel(), out.numpy())
    return (out.view(sums.shape),)


def reciprocal_scale(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """TOSA 1.0 ``reciprocal_scale``: multiplier in [2^30, 2^31) and shift of 1 / count."""
    bits = np.frexp((counts - 1).astype(np.float64))[1].astype(np.int64)  # 2^(bits - 1) < count <= 2^bits
    return ((np.int64(1 << 30) + 1) << bits) // counts, bits + 30


def average_counts(op: AveragePoolInteger, size: tuple[int, ...]) -> NDArray[np.int64]:
    """How many elements each window counts, [*output size]."""
    spatial = len(size)
    result = np.ones((1,), dtype=np.int64)
    for axis in range(spatial):
        begin, end = op.pads[axis], op.pads[axis + spatial]
        low, high = -op.counted_pads[axis], size[axis] + op.counted_pads[axis + spatial]
        positions = (size[axis] + begin + end - op.kernel[axis]) // op.strides[axis] + 1
        starts = np.arange(positions) * op.strides[axis] - begin
        lengths = np.minimum(starts + op.kernel[axis], high) - np.maximum(starts, low)
        result = result[..., None] * lengths
    return np.maximum(result[0], 1)


def _padded(x: Tensor, pads: tuple[int, ...], fill: int) -> Tensor:
    if not any(pads):
        return x
    spatial = len(pads) // 2
    order = [size for axis in reversed(range(spatial)) for size in (pads[axis], pads[axis + spatial])]
    return F.pad(x, order, value=fill)


def _windows(
    x: Tensor, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> list[Tensor]:
    """For each place of the kernel, the elements it meets: views [N, C, *output size]."""
    spatial = len(kernel)
    sizes = [
        (x.shape[2 + axis] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1 for axis in range(spatial)
    ]
    views: list[Tensor] = []
    for place in product(*(range(size) for size in kernel)):
        view = x
        for axis in range(spatial):
            start = place[axis] * dilations[axis]
            stop = start + (sizes[axis] - 1) * strides[axis] + 1
            view = view[(slice(None),) * (2 + axis) + (slice(start, stop, strides[axis]),)]
        views.append(view)
    return views


@prepared
def _axes_of(op: ResizeLinear) -> tuple[NDArray[np.int32], ...]:
    """Low, high and fraction of both axes as writable contiguous arrays."""
    return tuple(np.array(array, dtype=np.int32) for part in (op.low, op.high, op.fraction) for array in part)


@kernel_of(ResizeLinear)
def resize_linear(op: ResizeLinear, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    (x,) = inputs
    *leading, height, width = x.shape
    image = channels_last(x) if x.dim() == 4 else x.reshape(-1, height, width, 1).contiguous()
    size = (op.low[0].size, op.low[1].size)
    out = torch.empty((image.shape[0], *size, image.shape[3]), dtype=TORCH_DTYPE[op.output.dtype])
    multiplier, shift = single(op.scaling)
    half = (1 << op.row_shift) >> 1
    low_y, low_x, high_y, high_x, fraction_y, fraction_x = _axes_of(op)
    axes = (low_y, low_x, high_y, high_x, fraction_y, fraction_x)
    bounds = (op.output.low, op.output.high)
    _resize(image.numpy(), *axes, op.row_shift, half, multiplier, shift, *bounds, out.numpy())
    return (channels_first_view(out) if x.dim() == 4 else out.view(*leading, *size),)


@compiled
def _average(sums: Array, multiplier: Array, shift: Array, out: Array) -> None:
    for row in prange(sums.shape[0]):
        for i in range(sums.shape[1]):
            out[row, i] = rescale(sums[row, i], multiplier[i], shift[i])


@compiled
def _resize(
    x: Array, low_y: Array, low_x: Array, high_y: Array, high_x: Array, fraction_y: Array,
    fraction_x: Array, row_shift: Integer, half: Integer, multiplier: Integer, shift: Integer, low: Integer,
    high: Integer, out: Array,
) -> None:  # fmt: skip
    for line in prange(x.shape[0] * low_y.size):
        n, y = line // low_y.size, line % low_y.size
        above, below, fy = low_y[y], high_y[y], np.int64(fraction_y[y])
        for column in range(low_x.size):
            left, right, fx = low_x[column], high_x[column], np.int64(fraction_x[column])
            for c in range(x.shape[3]):
                upper = x[n, above, left, c] * (2048 - fx) + x[n, above, right, c] * fx
                lower = x[n, below, left, c] * (2048 - fx) + x[n, below, right, c] * fx
                upper, lower = (upper + half) >> row_shift, (lower + half) >> row_shift
                value = rescale(upper * (2048 - fy) + lower * fy, multiplier, shift)
                out[n, y, column, c] = limit(value, low, high)
