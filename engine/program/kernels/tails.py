"""The compiled end of a matrix product: bias, requantisation per channel, clamp, store."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engine.program.kernels.compiled import Array, Integer, compiled, prange
from engine.program.kernels.memory import TORCH_DTYPE
from engine.program.kernels.prepared import Tail
from engine.program.kernels.scalar import limit, rescale


def requantised(accumulators: Tensor, tail: Tail, out: Tensor | None = None) -> Tensor:
    """int32 [R, O] -> the tail's type [R, O]: ``clamp(scaling(acc + bias))``."""
    if out is None:
        out = torch.empty(accumulators.shape, dtype=TORCH_DTYPE[tail.dtype])
    channels = (tail.bias, tail.multiplier, tail.shift)
    _finish(accumulators.view(-1).numpy(), *channels, tail.low, tail.high, out.view(-1).numpy())
    return out


def requantised_halves(accumulators: Tensor, tail: Tail, out: Tensor | None = None) -> Tensor:
    """int32 [2, R, O], products of both halves of int16 inputs -> [R, O]; the tail's bias comes from split_bias."""
    if out is None:
        out = torch.empty(accumulators.shape[1:], dtype=TORCH_DTYPE[tail.dtype])
    high, low = accumulators.view(2, -1).numpy()
    channels = (tail.bias, tail.multiplier, tail.shift)
    _finish_halves(high, low, *channels, tail.low, tail.high, out.view(-1).numpy())
    return out


def requantised_flat(accumulators: Tensor, multiplier: int, shift: int, low: int, high: int, dtype: str) -> Tensor:
    """A contiguous tensor of exact integers of any type (float64 included) -> ``dtype``, one scaling for all."""
    out = torch.empty(accumulators.shape, dtype=TORCH_DTYPE[dtype])
    _finish_flat(accumulators.view(-1).numpy(), multiplier, shift, low, high, out.view(-1).numpy())
    return out


@compiled
def _finish(
    acc: Array, bias: Array, multiplier: Array, shift: Array, low: Integer, high: Integer, out: Array
) -> None:
    """Rows of channels one after the other, as many at a time as the arrays of channels hold."""
    run = bias.size
    for block in prange((acc.size + run - 1) // run):
        source, target = acc[block * run : (block + 1) * run], out[block * run : (block + 1) * run]
        for i in range(source.size):
            target[i] = limit(rescale(source[i] + bias[i], multiplier[i], shift[i]), low, high)


@compiled
def _finish_halves(
    upper: Array, lower: Array, bias: Array, multiplier: Array, shift: Array, low: Integer, high: Integer, out: Array
) -> None:
    run = bias.size
    for block in prange((upper.size + run - 1) // run):
        above, below = upper[block * run : (block + 1) * run], lower[block * run : (block + 1) * run]
        target = out[block * run : (block + 1) * run]
        for i in range(target.size):
            total = (np.int64(above[i]) << 8) + below[i] + bias[i]
            target[i] = limit(rescale(total, multiplier[i], shift[i]), low, high)


@compiled
def _finish_flat(
    acc: Array, multiplier: Integer, shift: Integer, low: Integer, high: Integer, out: Array
) -> None:
    for block in prange((acc.size + 4095) // 4096):
        source, target = acc[block * 4096 : (block + 1) * 4096], out[block * 4096 : (block + 1) * 4096]
        for i in range(source.size):
            target[i] = limit(rescale(np.int64(source[i]), multiplier, shift), low, high)
