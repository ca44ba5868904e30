"""The gradient of LSQ in one pass over the elements: what :class:`engine.train.gradients` computes on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engine.program.kernels.compiled import Array, compiled, kernel_section, prange, set_threads

_BLOCK = 16_384


def clipped_gradient(gradient: Tensor, x: Tensor, levels: Tensor, step: float, largest: int) -> tuple[Tensor, float]:
    """The gradients of ``levels * step`` to x and to the scale; see :mod:`engine.train.gradients`.

    Sums of blocks are added up in their order, so the result does not depend on the number of threads.

    Args:
        gradient: To the result, float32; what is not finite counts as 0.
        x: What was quantised, float32, of the same shape.
        levels: The integers that it became, int8 or int16.
        step: The scale.
        largest: The largest level; x is clipped half a step beyond it.
    """
    incoming, values = gradient.contiguous(), x.contiguous()
    out = torch.empty_like(incoming)
    sums = np.zeros((x.numel() + _BLOCK - 1) // _BLOCK, np.float64)
    set_threads(x.numel())
    with kernel_section():
        _clipped_gradient(
            incoming.numpy().reshape(-1),
            values.numpy().reshape(-1),
            levels.contiguous().numpy().reshape(-1),
            np.float32(1.0 / step),
            np.float32(largest + 0.5),
            out.numpy().reshape(-1),
            sums,
        )
    return out, float(sums.sum())


@compiled
def _clipped_gradient(
    gradient: Array, x: Array, levels: Array, inverse: np.float32, limit: np.float32, out: Array, sums: Array
) -> None:
    for block in prange(sums.size):
        total = 0.0
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, x.size)):
            slope = gradient[i]
            if not np.isfinite(slope):
                slope = np.float32(0)
            position = x[i] * inverse
            level = np.float32(levels[i])
            if abs(position) <= limit:
                out[i] = slope
                total += slope * (level - position)
            else:
                out[i] = np.float32(0)
                total += slope * level
        sums[block] = total
