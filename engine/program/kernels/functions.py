"""Logarithm and square root of integers: the steps of :mod:`engine.program.functions`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.program.functions import (
    LOG_INDEX_OFFSET,
    LOG_INDEX_SHIFT,
    ONE,
    ROOT_INDEX_OFFSET,
    ROOT_INDEX_SHIFT,
    ROOT_LIFT,
)
from engine.program.kernels.compiled import Array, Integer, compiled, prange
from engine.program.kernels.memory import dense, empty_like, flat
from engine.program.kernels.prepared import prepared, single
from engine.program.kernels.registry import kernel_of
from engine.program.kernels.scalar import interpolated, leading_zeros, limit, rescale, rounded
from engine.program.types import Logarithm, SquareRoot

_BLOCK = 4096


@prepared
def _table(op: Logarithm | SquareRoot) -> NDArray[np.int64]:
    return op.table.astype(np.int64)


@kernel_of(Logarithm)
def logarithm(op: Logarithm, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    x = dense(inputs[0])
    out = empty_like(x, op.output.dtype)
    bounds = (*single(op.scaling), op.output.low, op.output.high)
    _logarithm(flat(x), _table(op), op.offset, *bounds, flat(out))
    return (out,)


@kernel_of(SquareRoot)
def square_root(op: SquareRoot, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    x = dense(inputs[0])
    out = empty_like(x, op.output.dtype)
    _square_root(flat(x), _table(op), *single(op.scaling), op.output.low, op.output.high, flat(out))
    return (out,)


@compiled
def _logarithm(
    x: Array, table: Array, offset: Integer, multiplier: Integer, shift: Integer, low: Integer, high: Integer,
    out: Array,
) -> None:  # fmt: skip
    for block in prange((x.size + _BLOCK - 1) // _BLOCK):
        source, target = x[block * _BLOCK : (block + 1) * _BLOCK], out[block * _BLOCK : (block + 1) * _BLOCK]
        for i in range(source.size):
            positive = max(np.int64(source[i]), np.int64(1))
            zeros = leading_zeros(positive)
            index = ((positive << np.int64(zeros - 1)) >> LOG_INDEX_SHIFT) - LOG_INDEX_OFFSET
            total = np.int64(31 - zeros) * ONE + interpolated(table, index) + offset
            found = limit(rescale(total, multiplier, shift), low, high)
            target[i] = found if source[i] > 0 else low


@compiled
def _square_root(
    x: Array, table: Array, multiplier: Integer, shift: Integer, low: Integer, high: Integer, out: Array
) -> None:
    for block in prange((x.size + _BLOCK - 1) // _BLOCK):
        source, target = x[block * _BLOCK : (block + 1) * _BLOCK], out[block * _BLOCK : (block + 1) * _BLOCK]
        for i in range(source.size):
            positive = max(np.int64(source[i]), np.int64(0))
            half = np.int64((leading_zeros(max(positive, np.int64(1))) - 1) >> 1)
            index = ((positive << (2 * half)) >> ROOT_INDEX_SHIFT) - ROOT_INDEX_OFFSET
            root = rounded(interpolated(table, index) << ROOT_LIFT, half)
            target[i] = limit(rescale(root, multiplier, shift), low, high)
