"""Scalar steps that kernels share. See :mod:`.compiled` before editing."""

from __future__ import annotations

import numpy as np

from engine.program.kernels.compiled import Array, Integer, inlined


@inlined
def rescale(value: Integer, multiplier: Integer, shift: Integer) -> Integer:
    """TOSA 1.0 ``apply_scale_32``, SINGLE_ROUND, in 64 bits; ``shift`` is at least 1."""
    return (np.int64(value) * np.int64(multiplier) + (np.int64(1) << (np.int64(shift) - 1))) >> np.int64(shift)


@inlined
def limit(value: Integer, low: Integer, high: Integer) -> Integer:
    """``value`` limited to [low, high]."""
    return min(max(value, low), high)


@inlined
def rounded(value: Integer, count: Integer) -> Integer:
    """``value >> count``, rounded half up; count may be 0."""
    return (value + ((np.int64(1) << count) >> 1)) >> count


@inlined
def leading_zeros(value: Integer) -> Integer:
    """CLZ of a value in [0, 2^31)."""
    zeros = 32
    while value > 0:
        value >>= 1
        zeros -= 1
    return zeros


@inlined
def interpolated(table: Array, index: Integer) -> Integer:
    """TOSA int16 TABLE: ``table`` int64 [513], an index in [-32768, 32767] -> 23 bits."""
    position = index + 32768
    place = np.uint64(position) >> np.uint64(7)
    return (table[place] << 7) + (table[place + 1] - table[place]) * (position & 127)
