"""The division kernel: whatever depends on the divisor alone is looked up by its value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.program.division import LIMIT, reciprocals
from engine.program.kernels.compiled import Array, Integer, compiled, prange
from engine.program.kernels.memory import TORCH_DTYPE
from engine.program.kernels.prepared import prepared, single
from engine.program.kernels.registry import kernel_of
from engine.program.kernels.scalar import limit, rescale
from engine.program.types import DivideScaled

_BLOCK = 4096


@prepared
def _by_divisor(op: DivideScaled) -> NDArray[np.int64]:
    """For b + 32768: r, the sign, how far up and how far down. [65536, 4]."""
    divisors = np.arange(-32768, 32768)
    reciprocal, zeros = reciprocals(divisors, op)
    sign = np.where(divisors < 0, -1, 1)
    return np.stack((reciprocal, sign, np.maximum(zeros - op.pivot, 0), np.maximum(op.pivot - zeros, 0)), axis=1)


@kernel_of(DivideScaled)
def divide_scaled(op: DivideScaled, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    shape = np.broadcast_shapes(*(tuple(x.shape) for x in inputs))
    a, b = (x.expand(shape).contiguous() for x in inputs)
    out = torch.empty(a.shape, dtype=TORCH_DTYPE[op.output.dtype])
    multiplier, shift = single(op.scaling)
    operands = (a.view(-1).numpy(), b.view(-1).numpy(), _by_divisor(op))
    _divide(*operands, LIMIT, multiplier, shift, op.output.low, op.output.high, out.view(-1).numpy())
    return (out,)


@compiled
def _divide(
    a: Array, b: Array, by_divisor: Array, most: Integer, multiplier: Integer, shift: Integer, low: Integer,
    high: Integer, out: Array,
) -> None:  # fmt: skip
    for block in prange((a.size + _BLOCK - 1) // _BLOCK):
        for i in range(block * _BLOCK, min(a.size, (block + 1) * _BLOCK)):
            entry = by_divisor[np.int64(b[i]) + 32768]
            product = ((np.int64(a[i]) * entry[0] + 64) >> 7) * entry[1]
            bound = np.int64(most) >> entry[2]
            raised = limit(product, -bound, bound) << entry[2]
            quotient = (raised + ((np.int64(1) << entry[3]) >> 1)) >> entry[3]
            out[i] = limit(rescale(quotient, multiplier, shift), low, high)
