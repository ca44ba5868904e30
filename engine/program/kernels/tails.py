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
    _finish(
        accumulators.numpy(), tail.bias, tail.multiplier, tail.shift, tail.low, tail.high, out.numpy()
    )
    return out


def requantised_halves(accumulators: Tensor, tail: Tail, out: Tensor | None = None) -> Tensor:
    """int32 [2, R, O], products of both halves of int16 inputs -> [R, O]; the tail's bias comes from split_bias."""
    if out is None:
        out = torch.empty(accumulators.shape[1:], dtype=TORCH_DTYPE[tail.dtype])
    _finish_halves(
        accumulators.numpy(), tail.bias, tail.multiplier, tail.shift, tail.low, tail.high, out.numpy()
    )
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
    for row in prange(acc.shape[0]):
        for channel in range(acc.shape[1]):
            value = rescale(acc[row, channel] + bias[channel], multiplier[channel], shift[channel])
            out[row, channel] = limit(value, low, high)


@compiled
def _finish_halves(
    acc: Array, bias: Array, multiplier: Array, shift: Array, low: Integer, high: Integer, out: Array
) -> None:
    for row in prange(acc.shape[1]):
        for channel in range(acc.shape[2]):
            total = (np.int64(acc[0, row, channel]) << 8) + acc[1, row, channel] + bias[channel]
            out[row, channel] = limit(rescale(total, multiplier[channel], shift[channel]), low, high)


@compiled
def _finish_flat(
    acc: Array, multiplier: Integer, shift: Integer, low: Integer, high: Integer, out: Array
) -> None:
    for block in prange((acc.size + 4095) // 4096):
        source, target = acc[block * 4096 : (block + 1) * 4096], out[block * 4096 : (block + 1) * 4096]
        for i in range(source.size):
            target[i] = limit(rescale(np.int64(source[i]), multiplier, shift), low, high)
