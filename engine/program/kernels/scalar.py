"""Scalar steps that kernels share. See :mod:`.compiled` before editing."""

from __future__ import annotations

import numpy as np

from engine.program.kernels.compiled import inlined


@inlined
def rescale(value, multiplier, shift):
    """TOSA 1.0 ``apply_scale_32``, SINGLE_ROUND, in 64 bits; ``shift`` is at least 1."""
    return (np.int64(value) * np.int64(multiplier) + (np.int64(1) << (np.int64(shift) - 1))) >> np.int64(shift)


@inlined
def limit(value, low, high):
    """``value`` limited to [low, high]."""
    return min(max(value, low), high)
