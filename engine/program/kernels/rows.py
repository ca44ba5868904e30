"""Kernels that normalise rows: softmax, LayerNorm and its kin. The steps are those of the reference modules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.program.arithmetic import apply_scaling, look_up
from engine.program.kernels.compiled import Array, Integer, compiled, inlined, prange
from engine.program.kernels.memory import TORCH_DTYPE, rows_of
from engine.program.kernels.prepared import prepared, single
from engine.program.kernels.registry import kernel_of
from engine.program.kernels.scalar import interpolated, leading_zeros, limit, rescale, rounded
from engine.program.norm import largest_zeros, root_shift
from engine.program.types import IntegerLayerNorm, IntegerSoftmax

_ROWS = 16
"""Rows that one thread takes at a time."""


@prepared
def _exponentials(op: IntegerSoftmax) -> NDArray[np.int32]:
    """Steps 2 and 3 for every difference -i that int8 inputs can have, i = 0 to 255."""
    differences = -np.arange(256, dtype=np.int64)
    index = np.clip(apply_scaling(differences, op.difference_scaling), -32768, 0)
    return look_up(op.exp_table, index).astype(np.int32)


@prepared
def _softmax_tables(op: IntegerSoftmax) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return op.exp_table.astype(np.int64), op.reciprocal_table.astype(np.int64)


@kernel_of(IntegerSoftmax)
def softmax(op: IntegerSoftmax, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    moved = inputs[0].movedim(op.axis, -1)
    x = rows_of(moved)
    out = torch.empty(x.shape, dtype=TORCH_DTYPE[op.output.dtype])
    exp_table, reciprocal_table = _softmax_tables(op)
    bounds = (*single(op.out), op.output.low, op.output.high)
    if x.dtype == torch.int8:
        _softmax8(x.numpy(), _exponentials(op), reciprocal_table, op.sum_shift, *bounds, out.numpy())
    else:
        difference = single(op.difference_scaling)
        _softmax16(x.numpy(), *difference, exp_table, reciprocal_table, op.sum_shift, *bounds, out.numpy())
    return (out.view(moved.shape).movedim(-1, op.axis),)


@prepared
def _norm_channels(op: IntegerLayerNorm) -> tuple[NDArray[np.int64], ...]:
    """Of every channel, int64 [n] each: sign of the weight, multiplier, shift, bias."""
    parts = (op.weight_sign, op.weight.multiplier, op.weight.shift, op.bias)
    return tuple(np.array(np.broadcast_to(part, op.bias.shape), dtype=np.int64) for part in parts)


@prepared
def _norm_parameters(op: IntegerLayerNorm) -> NDArray[np.int64]:
    return np.array(
        [
            int(op.centre), op.square_shift, op.epsilon_mantissa, op.epsilon_exponent, largest_zeros(op),
            root_shift(op), op.out_shift, op.output.low, op.output.high, op.channel_size,
        ]
    )  # fmt: skip


@prepared
def _norm_table(op: IntegerLayerNorm) -> NDArray[np.int64]:
    return op.rsqrt_table.astype(np.int64)


@kernel_of(IntegerLayerNorm)
def layernorm(op: IntegerLayerNorm, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    samples = rows_of(inputs[0], op.axes_count)
    x = samples.view(samples.shape[0] * op.groups, -1)
    out = torch.empty(x.shape, dtype=TORCH_DTYPE[op.output.dtype])
    sign, multiplier, shift, bias = _norm_channels(op)
    _layernorm(x.numpy(), _norm_parameters(op), _norm_table(op), sign, multiplier, shift, bias, out.numpy())
    return (out.view(inputs[0].shape),)


@inlined
def _store_ratios(
    exponentials: Array, total: Integer, reciprocal_table: Array, sum_shift: Integer, multiplier: Integer,
    shift: Integer, low: Integer, high: Integer, out: Array,
) -> None:  # fmt: skip
    """Steps 5 to 9 for one row."""
    zeros = leading_zeros(total)
    normalised = total << (zeros - 1)
    reciprocal = interpolated(reciprocal_table, (normalised >> 14) - 98304)
    count = np.int64(10 + sum_shift - zeros)
    half = (np.int64(1) << count) >> 1
    for i in range(exponentials.size):
        product = (exponentials[i] * reciprocal + 8192) >> 14
        out[i] = limit(rescale((product + half) >> count, multiplier, shift), low, high)


@compiled
def _softmax8(
    x: Array, by_difference: Array, reciprocal_table: Array, sum_shift: Integer, multiplier: Integer,
    shift: Integer, low: Integer, high: Integer, out: Array,
) -> None:  # fmt: skip
    length = x.shape[1]
    half = (np.int64(1) << sum_shift) >> 1
    for block in prange((x.shape[0] + _ROWS - 1) // _ROWS):
        exponentials = np.empty(length, np.int32)
        for row in range(block * _ROWS, min(x.shape[0], block * _ROWS + _ROWS)):
            line = x[row]
            greatest = np.int8(-128)
            for i in range(length):
                greatest = max(greatest, line[i])
            total = np.int64(0)
            for i in range(length):
                value = by_difference[np.uint8(greatest - line[i])]
                exponentials[i] = value
                total += (value + half) >> sum_shift
            _store_ratios(
                exponentials, total, reciprocal_table, sum_shift, multiplier, shift, low, high, out[row]
            )


@compiled
def _softmax16(
    x: Array, multiplier_in: Integer, shift_in: Integer, exp_table: Array, reciprocal_table: Array,
    sum_shift: Integer, multiplier: Integer, shift: Integer, low: Integer, high: Integer, out: Array,
) -> None:  # fmt: skip
    length = x.shape[1]
    half = (np.int64(1) << sum_shift) >> 1
    for block in prange((x.shape[0] + _ROWS - 1) // _ROWS):
        exponentials = np.empty(length, np.int32)
        for row in range(block * _ROWS, min(x.shape[0], block * _ROWS + _ROWS)):
            line = x[row]
            greatest = np.int16(-32768)
            for i in range(length):
                greatest = max(greatest, line[i])
            total = np.int64(0)
            for i in range(length):
                difference = rescale(np.int64(line[i]) - greatest, multiplier_in, shift_in)
                value = interpolated(exp_table, limit(difference, -32768, 0))
                exponentials[i] = value
                total += (value + half) >> sum_shift
            _store_ratios(
                exponentials, total, reciprocal_table, sum_shift, multiplier, shift, low, high, out[row]
            )


@compiled
def _layernorm(
    x: Array, parameters: Array, table: Array, sign: Array, multiplier: Array, shift: Array, bias: Array,
    out: Array,
) -> None:  # fmt: skip
    n = x.shape[1]
    centre, square_shift, mantissa, exponent, zeros_limit, root, out_shift, low, high, channel_size = parameters
    by_element = channel_size == 1 and bias.size == n
    square_half = (1 << square_shift) >> 1
    out_half = (1 << out_shift) >> 1
    for block in prange((x.shape[0] + _ROWS - 1) // _ROWS):
        short = np.empty(n, np.int32)
        for row in range(block * _ROWS, min(x.shape[0], block * _ROWS + _ROWS)):
            line, target = x[row], out[row]
            total, least, greatest = np.int32(0), np.int32(32767), np.int32(-32768)
            for i in range(n):
                value = np.int32(line[i])
                total += value
                least, greatest = min(least, value), max(greatest, value)
            scale = np.int32(n) if centre else np.int32(1)
            offset = total if centre else np.int32(0)
            zeros = min(leading_zeros(max(greatest * scale - offset, offset - least * scale)), zeros_limit)
            up = np.int32(zeros - 1)
            squares = np.int64(0)
            for i in range(n):
                value = ((np.int32(line[i]) * scale - offset) << up) >> np.int32(15)
                value = (value + np.int32(1)) >> np.int32(1)
                short[i] = value
                squares += (np.int64(value) * value + square_half) >> square_shift
            count = min(max(-(exponent + 2 * zeros), 0), 31)
            variance = max(squares + rounded(mantissa, count), 1)
            half = (leading_zeros(variance) - 1) >> 1
            reciprocal = interpolated(table, ((variance << (2 * half)) >> 15) - 32768)
            down = max(root - half, 0)
            down_half = (np.int64(1) << down) >> 1
            if by_element:
                for i in range(n):
                    product = (short[i] * reciprocal + 64) >> 7
                    value = sign[i] * ((product + down_half) >> down)
                    value = rescale(value, multiplier[i], shift[i]) + bias[i]
                    target[i] = limit((value + out_half) >> out_shift, low, high)
                continue
            for first in range(0, n, channel_size):
                channel = np.int64(row * n + first) // channel_size % bias.size
                for i in range(first, first + channel_size):
                    product = (short[i] * reciprocal + 64) >> 7
                    value = sign[channel] * ((product + down_half) >> down)
                    value = rescale(value, multiplier[channel], shift[channel]) + bias[channel]
                    target[i] = limit((value + out_half) >> out_shift, low, high)
