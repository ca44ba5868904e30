"""Requantisation in the arithmetic of TOSA 1.0: multipliers from real factors, and the reference that applies them."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.program.types import Output, Scaling

A = TypeVar("A", bound=NDArray[Any])

SMALLEST_SHIFT, LARGEST_SHIFT = 2, 62
"""Range of ``Scaling.shift`` (TOSA 1.0, RESCALE)."""

_NARROW_BITS, _WIDE_BITS = 31, 15


def scaling_for(factor: ArrayLike, *, wide: bool = False) -> Scaling:
    """The closest multiplier and shift for real factors: ``factor ~ multiplier * 2 ** -shift``.

    Args:
        factor: One factor or one per channel, finite and not negative.
        wide: For accumulators of 48 bits (an int16 operand). TOSA then takes multipliers of 15 bits, in
            [2^14, 2^15), so that the product stays within 64 bits; otherwise they are in [2^30, 2^31).

    Returns:
        ``multiplier`` and ``shift``, [1] for a scalar factor. A factor below half the smallest that can be expressed
        (about 2^-32 and 2^-48) gets multiplier 0: it scales every accumulator to 0.

    Raises:
        ValueError: A factor is negative, not finite, or too large (2^29, wide 2^13, or more).
    """
    factors = np.atleast_1d(np.asarray(factor, dtype=np.float64))
    if not (np.isfinite(factors).all() and (factors >= 0).all()):
        raise ValueError(f"scaling factors must be finite and not negative, got {factors.min()} to {factors.max()}")
    bits = _WIDE_BITS if wide else _NARROW_BITS
    fraction, exponent = np.frexp(factors)
    multiplier = np.rint(fraction * 2.0**bits).astype(np.int64)
    rounded_up = multiplier == 1 << bits
    multiplier = np.where(rounded_up, 1 << (bits - 1), multiplier)
    shift = bits - (exponent.astype(np.int64) + rounded_up)
    vanishing = (shift > LARGEST_SHIFT) | (multiplier == 0)
    multiplier, shift = np.where(vanishing, 0, multiplier), np.where(vanishing, bits, shift)
    if (shift < SMALLEST_SHIFT).any():
        raise ValueError(f"scaling factor {factors.max():g} is too large, the limit is 2^{bits - SMALLEST_SHIFT}")
    return Scaling(frozen(multiplier.astype(np.int32)), frozen(shift.astype(np.int8)))


def apply_scaling(values: NDArray[np.signedinteger], scaling: Scaling, channel_axis: int = -1) -> NDArray[np.int64]:
    """``(x * multiplier + (1 << (shift - 1))) >> shift`` in 64 bits: TOSA 1.0 ``apply_scale_32`` with SINGLE_ROUND.

    Args:
        values: Accumulators of any shape.
        scaling: One multiplier for all values, or one for each index of ``channel_axis``.
        channel_axis: The axis of per-channel multipliers.
    """
    multiplier, shift = scaling.multiplier.astype(np.int64), scaling.shift.astype(np.int64)
    if multiplier.size > 1:
        shape = [1] * values.ndim
        shape[channel_axis] = multiplier.size
        multiplier, shift = multiplier.reshape(shape), shift.reshape(shape)
    product = values.astype(np.int64) * multiplier
    return (product + (np.int64(1) << (shift - 1))) >> shift


def rounding_shift(values: NDArray[np.int64], count: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """TOSA ARITHMETIC_RIGHT_SHIFT with rounding: ``(x + (1 << (count - 1))) >> count``; x itself where count is 0."""
    counts = np.asarray(count, dtype=np.int64)
    half = np.where(counts > 0, np.int64(1) << np.maximum(counts - 1, 0), 0)
    return (values + half) >> counts


def leading_zeros(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """TOSA CLZ of 32-bit values: leading zeros of the pattern, 32 for 0, none for negative ones."""
    return np.where(values < 0, 0, 32 - np.frexp(values.astype(np.float64))[1].astype(np.int64))


def look_up(table: NDArray[np.int16], index: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """TOSA int16 TABLE: ``table`` [513], int16 ``index`` of any shape -> interpolated values of 23 bits.

    ``value = (table[i] << 7) + (table[i + 1] - table[i]) * fraction`` with i and fraction the upper 9 and lower 7 bits
    of ``index + 32768``. TOSA requires that neighbours differ by less than 2^15, which the tables made in
    :mod:`engine.program.tables` do.
    """
    position = index.astype(np.int64) + 32768
    place, fraction = position >> 7, position & 127
    wide = table.astype(np.int64)
    return (wide[place] << 7) + (wide[place + 1] - wide[place]) * fraction


def clamped(values: NDArray[np.int64], output: Output) -> NDArray[np.signedinteger]:
    """Values limited to the output's bounds, in its type."""
    return np.clip(values, output.low, output.high).astype(output.dtype)


def accumulator_bound(
    weight: NDArray[np.int8], bias: NDArray[np.int64], largest_input: int, *, channel_axis: int = 0
) -> NDArray[np.int64]:
    """Largest magnitude that each output channel's accumulator can take: ``sum |w| * largest_input + |b|``, [O].

    Args:
        weight: Weights with the output channels on ``channel_axis``.
        bias: One bias per output channel, in accumulator units.
        largest_input: Largest magnitude of the input integers (127 or 32767).
        channel_axis: Axis of the output channels.
    """
    others = tuple(axis for axis in range(weight.ndim) if axis != channel_axis % weight.ndim)
    magnitudes = np.abs(weight.astype(np.int16)).sum(axis=others, dtype=np.int64)
    return magnitudes * largest_input + np.abs(bias.astype(np.int64))


def rescaled_bound(scaling: Scaling, bound: int) -> int:
    """Largest magnitude that values up to ``bound`` have after scaling, over all multipliers."""
    pairs = zip(scaling.multiplier.tolist(), scaling.shift.tolist(), strict=True)
    return max(((bound * multiplier) >> shift) + 1 for multiplier, shift in pairs)


def frozen(array: A) -> A:
    """The same array, made read-only: fields of operators never change."""
    array.flags.writeable = False
    return array
