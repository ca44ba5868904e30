"""Elementwise kernels: tables, changes of scale, sums, products and extremes of two operands with broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.program.kernels.compiled import Array, Integer, compiled, inlined, prange
from engine.program.kernels.memory import TORCH_DTYPE, broadcast_walk, dense, empty_like, flat, is_dense, rows_of
from engine.program.kernels.prepared import Tail, prepared, single, tail_of
from engine.program.kernels.registry import kernel_of
from engine.program.kernels.scalar import limit, rescale
from engine.program.kernels.tails import requantised
from engine.program.types import (
    AddScaled,
    ExtremeScaled,
    MultiplyScaled,
    Output,
    Requantise,
    Scaling,
    Table8,
    Table16,
)

_BLOCK = 4096
"""Elements that one thread takes at a time."""

_UNCHANGED = (1 << 30, 30)
"""Multiplier and shift that leave every 32-bit integer as it is."""


@prepared
def _entries(op: Table8) -> NDArray[np.signedinteger]:
    return np.array(op.table)


@kernel_of(Table8)
def table8(op: Table8, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    x = dense(inputs[0])
    out = empty_like(x, op.table.dtype.name)
    _look_up8(flat(x), _entries(op), flat(out))
    return (out,)


@prepared
def _steps(op: Table16) -> NDArray[np.int32]:
    """Entry and slope side by side, int32 [512, 2]: one place to read from in memory."""
    table = op.table.astype(np.int32)
    return np.stack((table[:-1] << 7, table[1:] - table[:-1]), axis=1)


@kernel_of(Table16)
def table16(op: Table16, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    x = dense(inputs[0])
    out = empty_like(x, op.output.dtype)
    multiplier, shift = single(op.scaling)
    _look_up16(flat(x), _steps(op), multiplier, shift, op.output.low, op.output.high, flat(out))
    return (out,)


@kernel_of(Requantise)
def requantise(op: Requantise, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    if op.scaling.multiplier.size > 1:
        rows = rows_of(inputs[0])
        return (requantised(rows, _last_axis_tail(op)).view(inputs[0].shape),)
    return (rescaled(inputs[0], op.scaling, op.output),)


def rescaled(x: Tensor, scaling: Scaling, output: Output) -> Tensor:
    """``clamp(scaling(x))`` of int8, int16 or int32 integers."""
    x = dense(x)
    out = empty_like(x, output.dtype)
    multiplier, shift = single(scaling)
    _requantise(flat(x), multiplier, shift, output.low, output.high, flat(out))
    return out


@prepared
def _last_axis_tail(op: Requantise) -> Tail:
    return tail_of(np.zeros(op.scaling.multiplier.size, np.int64), op.scaling, op.output)


@prepared
def _add_parameters(op: AddScaled) -> NDArray[np.int64]:
    sign = -1 if op.subtract else 1
    return np.array([*_operand(op.a), *_operand(op.b), sign, *single(op.out), op.output.low, op.output.high])


@kernel_of(AddScaled)
def add_scaled(op: AddScaled, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    a, b = inputs
    return (_binary(_add, a, b, op.output.dtype, _add_parameters(op)),)


@prepared
def _multiply_parameters(op: MultiplyScaled) -> NDArray[np.int64]:
    return np.array([*single(op.scaling), op.output.low, op.output.high])


@kernel_of(MultiplyScaled)
def multiply_scaled(op: MultiplyScaled, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    a, b = inputs
    return (_binary(_multiply, a, b, op.output.dtype, _multiply_parameters(op)),)


@prepared
def _extreme_parameters(op: ExtremeScaled) -> NDArray[np.int64]:
    sign = 1 if op.maximum else -1
    return np.array([*single(op.a), *single(op.b), sign, op.output.low, op.output.high])


@kernel_of(ExtremeScaled)
def extreme_scaled(op: ExtremeScaled, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    a, b = inputs
    return (_binary(_extreme, a, b, op.output.dtype, _extreme_parameters(op)),)


def _operand(scaling: Scaling | None) -> tuple[int, int]:
    return _UNCHANGED if scaling is None else single(scaling)


def _binary(
    loop: Callable[..., None], a: Tensor, b: Tensor, dtype: str, parameters: NDArray[np.int64]
) -> Tensor:
    out = _empty_for(a, b, dtype)
    walk, (first, second) = broadcast_walk(out, (a, b))
    loop(first, second, walk.sizes, walk.strides, parameters, flat(out))
    return out


def _empty_for(a: Tensor, b: Tensor, dtype: str) -> Tensor:
    """The result takes the memory order of the first operand that has its whole shape."""
    shape = a.shape if a.shape == b.shape else np.broadcast_shapes(a.shape, b.shape)
    for x in (a, b):
        if x.shape == shape:
            return empty_like(x, dtype) if is_dense(x) else torch.empty(shape, dtype=TORCH_DTYPE[dtype])
    return torch.empty(shape, dtype=TORCH_DTYPE[dtype])


@inlined
def _block_count(size: Integer) -> Integer:
    return (size + _BLOCK - 1) // _BLOCK


@compiled
def _look_up8(x: Array, table: Array, out: Array) -> None:
    for block in prange(_block_count(x.size)):
        source, target = x[block * _BLOCK : (block + 1) * _BLOCK], out[block * _BLOCK : (block + 1) * _BLOCK]
        for i in range(source.size):
            target[i] = table[np.uint8(source[i] ^ np.int8(-128))]


@compiled
def _look_up16(
    x: Array, steps: Array, multiplier: Integer, shift: Integer, low: Integer, high: Integer, out: Array
) -> None:
    for block in prange(_block_count(x.size)):
        source, target = x[block * _BLOCK : (block + 1) * _BLOCK], out[block * _BLOCK : (block + 1) * _BLOCK]
        for i in range(source.size):
            position = np.int32(source[i]) + np.int32(32768)
            place = np.uint32(position) >> np.uint32(7)
            value = steps[place, 0] + steps[place, 1] * (position & np.int32(127))
            target[i] = limit(rescale(value, multiplier, shift), low, high)


@compiled
def _requantise(
    x: Array, multiplier: Integer, shift: Integer, low: Integer, high: Integer, out: Array
) -> None:
    for block in prange(_block_count(x.size)):
        source, target = x[block * _BLOCK : (block + 1) * _BLOCK], out[block * _BLOCK : (block + 1) * _BLOCK]
        for i in range(source.size):
            target[i] = limit(rescale(source[i], multiplier, shift), low, high)


@inlined
def _task_count(sizes: Array) -> Integer:
    """Tasks of a walk: the innermost level in blocks, for every place of the outer levels."""
    return sizes[0] * sizes[1] * sizes[2] * _block_count(sizes[3])


@inlined
def _task_start(task: Integer, sizes: Array, strides: Array) -> tuple[Integer, Integer, Integer, Integer]:
    """Offsets of a task in the output and in both operands, and how many elements it has."""
    blocks = _block_count(sizes[3])
    first = (task % blocks) * _BLOCK
    outer = task // blocks
    i2 = outer % sizes[2]
    i1 = outer // sizes[2] % sizes[1]
    i0 = outer // sizes[2] // sizes[1]
    a = i0 * strides[0, 0] + i1 * strides[0, 1] + i2 * strides[0, 2] + first * strides[0, 3]
    b = i0 * strides[1, 0] + i1 * strides[1, 1] + i2 * strides[1, 2] + first * strides[1, 3]
    return outer * sizes[3] + first, a, b, min(_BLOCK, sizes[3] - first)


@inlined
def _sum(x: Integer, y: Integer, p: Integer) -> Integer:
    total = rescale(x, p[0], p[1]) + p[4] * rescale(y, p[2], p[3])
    return limit(rescale(total, p[5], p[6]), p[7], p[8])


@inlined
def _product(x: Integer, y: Integer, p: Integer) -> Integer:
    return limit(rescale(np.int64(x) * np.int64(y), p[0], p[1]), p[2], p[3])


@inlined
def _greater(x: Integer, y: Integer, p: Integer) -> Integer:
    """Maximum where p[4] is 1, minimum where it is -1."""
    greater = p[4] * max(p[4] * rescale(x, p[0], p[1]), p[4] * rescale(y, p[2], p[3]))
    return limit(greater, p[5], p[6])


@compiled
def _add(a: Array, b: Array, sizes: Array, strides: Array, parameters: Array, out: Array) -> None:
    p = (
        parameters[0], parameters[1], parameters[2], parameters[3], parameters[4], parameters[5], parameters[6],
        parameters[7], parameters[8],
    )  # fmt: skip
    step_a, step_b = strides[0, 3], strides[1, 3]
    for task in prange(_task_count(sizes)):
        start, at_a, at_b, count = _task_start(task, sizes, strides)
        target, xs, ys = out[start : start + count], a[at_a:], b[at_b:]
        if step_a == 1 and step_b == 1:
            for i in range(count):
                target[i] = _sum(xs[i], ys[i], p)
        elif step_a == 1 and step_b == 0:
            y = ys[0]
            for i in range(count):
                target[i] = _sum(xs[i], y, p)
        else:
            for i in range(count):
                target[i] = _sum(xs[i * step_a], ys[i * step_b], p)


@compiled
def _multiply(a: Array, b: Array, sizes: Array, strides: Array, parameters: Array, out: Array) -> None:
    p = (parameters[0], parameters[1], parameters[2], parameters[3])
    step_a, step_b = strides[0, 3], strides[1, 3]
    for task in prange(_task_count(sizes)):
        start, at_a, at_b, count = _task_start(task, sizes, strides)
        target, xs, ys = out[start : start + count], a[at_a:], b[at_b:]
        if step_a == 1 and step_b == 1:
            for i in range(count):
                target[i] = _product(xs[i], ys[i], p)
        elif step_a == 1 and step_b == 0:
            y = ys[0]
            for i in range(count):
                target[i] = _product(xs[i], y, p)
        else:
            for i in range(count):
                target[i] = _product(xs[i * step_a], ys[i * step_b], p)


@compiled
def _extreme(a: Array, b: Array, sizes: Array, strides: Array, parameters: Array, out: Array) -> None:
    p = (parameters[0], parameters[1], parameters[2], parameters[3], parameters[4], parameters[5], parameters[6])
    step_a, step_b = strides[0, 3], strides[1, 3]
    for task in prange(_task_count(sizes)):
        start, at_a, at_b, count = _task_start(task, sizes, strides)
        target, xs, ys = out[start : start + count], a[at_a:], b[at_b:]
        if step_a == 1 and step_b == 1:
            for i in range(count):
                target[i] = _greater(xs[i], ys[i], p)
        elif step_a == 1 and step_b == 0:
            y = ys[0]
            for i in range(count):
                target[i] = _greater(xs[i], y, p)
        else:
            for i in range(count):
                target[i] = _greater(xs[i * step_a], ys[i * step_b], p)
