"""Exact integer matrix products, as fast as the machine allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.program.kernels.compiled import Array, compiled, prange

_EXACT_FLOAT32 = 2**24

_INT_MM: Callable[[Tensor, Tensor], Tensor] = torch._int_mm  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
"""torch's only exact product of int8 matrices; its underscore says that it may move."""
_SPLIT_OFFSET = 128


def int8_product(a: Tensor, b: Tensor) -> Tensor:
    """int8 [R, K] @ int8 [K, O] -> int32 [R, O], exact; both contiguous. The caller has proved that 32 bits suffice."""
    if int8_product_is_fast():
        return _INT_MM(_row_major(a), _row_major(b))
    if a.shape[1] * 128 * 128 < _EXACT_FLOAT32:
        return (a.float() @ b.float()).to(torch.int32)
    return (a.double() @ b.double()).to(torch.int32)


def _row_major(x: Tensor) -> Tensor:
    """A contiguous matrix with the usual strides: _int_mm errs where an axis of size 1 has an arbitrary one."""
    return x.as_strided(x.shape, (x.shape[1], 1)) if 1 in x.shape else x


@cache
def int8_product_is_fast() -> bool:
    """Whether torch's int8 product is exact on this machine (tried at the extremes) and no plain loop.

    Where the processor has no int8 dot product, intermediate sums may saturate or torch may fall back to a loop that is
    a hundred times slower than float32.
    """
    extreme = torch.full((64, 256), 127, dtype=torch.int8)
    extreme[1::2] = -128
    generator = torch.Generator().manual_seed(0)
    usual = torch.randint(-128, 128, (128, 128), dtype=torch.int8, generator=generator)
    exact = all(torch.equal(_INT_MM(a, a.t()).double(), a.double() @ a.double().t()) for a in (extreme, usual))
    return exact and _keeps_up(lambda: _INT_MM(usual, usual), lambda: usual.float() @ usual.float())


def _keeps_up(action: Callable[[], object], reference: Callable[[], object]) -> bool:
    """Whether in any of some tries the action took less than eight times the reference (a busy machine delays some)."""
    return any(_seconds(action) < 8 * _seconds(reference) for _ in range(20))


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def split_int16(x: NDArray[np.int16]) -> NDArray[np.int8]:
    """int16 [R, K] -> int8 [2, R, K]: x = 256 * high + low + 128, both halves in [-128, 127]."""
    halves = np.empty((2, *x.shape), np.int8)
    _split(x.reshape(-1), halves.reshape(2, -1))
    return halves


def split_bias(bias: NDArray[np.int64], weight_sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bias of a product whose input is split: the halves' offset of 128 times each channel's sum of weights."""
    return bias + _SPLIT_OFFSET * weight_sums


ZERO_HALVES = (0, -_SPLIT_OFFSET)
"""High and low half of the integer 0 (a padding element)."""


@compiled
def _split(x: Array, halves: Array) -> None:
    for block in prange((x.size + 4095) // 4096):
        source = x[block * 4096 : (block + 1) * 4096]
        high, low = halves[0, block * 4096 : (block + 1) * 4096], halves[1, block * 4096 : (block + 1) * 4096]
        for i in range(source.size):
            high[i] = source[i] >> 8
            low[i] = (source[i] & 255) - 128
