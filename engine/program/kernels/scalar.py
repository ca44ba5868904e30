"""Scalar steps that kernels share. See :mod:`.compiled` before editing."""

from __future__ import annotations

import numpy as np

from engine.program.kernels.compiled import Integer, inlined


@inlined
def rescale(value: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """TOSA 1.0 ``apply_scale_32``, SINGLE_ROUND, in 64 bits; ``shift`` is at least 1."""
    return (np.int64(value) * np.int64(multiplier) + (np.int64(1) << (np.int64(shift) - 1))) >> np.int64(shift)


@inlined
def limit(value: Integer, low: Integer, high: Integer) -> Integer:
    """``value`` limited to [low, high]."""
    return min(max(value, low), high)
