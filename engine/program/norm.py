r"""LayerNorm, RMSNorm and their kin by channels or groups in integers, made of TOSA operators only.

For one row of ``n`` integers x with scale s (real values s * x):

==== ============================================================================ =================================
step what                                                                          bits
==== ============================================================================ =================================
1    c = n * x - sum(x) (LayerNorm) or x (RMSNorm)                                int32
2    lz = min(CLZ(max |c|), largest_zeros)
3    c' = (c << (lz - 1)) >> 16, rounded                                          [-2^15, 2^15]
4    V = sum of (c'^2 >> square_shift), each rounded                              [0, 2^30]
5    V += epsilon_mantissa >> min(-(epsilon_exponent + 2 lz), 31), rounded        < 2^31; at least 1
6    h = (CLZ(V) - 1) / 2 rounded down, v = V << 2h                               [2^29, 2^31): the real u in [1, 4)
7    r = TABLE(rsqrt_table, (v >> 15) - 32768)                                    (2^21, 32767 << 7]
8    w = (c' * r + 64) >> 7 (MUL with shift)                                      [-2^30, 2^30]
9    z = w >> max(root_shift - h, 0), rounded                                     about 29 bits: the normalised value
10   a = weight_j(weight_sign_j * z) + bias_j                                     int32: out_shift bits below the output
11   y = clamp(a >> out_shift, rounded)                                           int8 or int16
==== ============================================================================ =================================

``square_shift`` = ceil(log2 n), ``root_shift`` = 1 + square_shift // 2. ``largest_zeros`` is the largest lz at which
epsilon, in units of V, stays below 2^30: where epsilon dominates, the row keeps fewer bits instead of overflowing.
Step 10 takes the entry of the element's channel (``channel_size``).
Rows whose elements are all equal give c = 0 and so exactly the bias. Errors relative to the normalised value: c' 2^-15
of the row's largest, rsqrt 3e-5.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.errors import PlanError
from engine.program.arithmetic import (
    apply_scaling,
    clamped,
    frozen,
    leading_zeros,
    look_up,
    rounding_shift,
    scaling_for,
)
from engine.program.types import IntegerLayerNorm, Output
from engine.qtype import INTEGER_RANGE

CENTRED_SHIFT = 16
PRODUCT_SHIFT = 7
INDEX_SHIFT = 15
INDEX_OFFSET = 32768
LARGEST_COUNT = 31

_AMPLITUDE = 32767
_ONE = _AMPLITUDE << 7
_EPSILON_BITS = 30
_ACCUMULATOR_LIMIT = 2.0**30
_LARGEST_OUT_SHIFT = 15
_LARGEST_SQUARE = 2**30


def root_shift(op: IntegerLayerNorm) -> int:
    """Step 9's static part: the largest h that a row with an element other than its mean can have."""
    return 1 + op.square_shift // 2


def largest_zeros(op: IntegerLayerNorm) -> int:
    """Step 2's limit, in [1, 32]."""
    return min(32, max(1, -op.epsilon_exponent // 2))


def integer_layernorm(
    in_scale: float,
    in_dtype: str,
    length: int,
    epsilon: float,
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
    out_scale: float,
    output: Output,
    *,
    centre: bool,
    axes_count: int = 1,
    groups: int = 1,
    channel_size: int = 1,
    largest: int | None = None,
) -> IntegerLayerNorm:
    """The instruction for a LayerNorm (``centre``) or RMSNorm over ``length`` elements.

    Args:
        in_scale: Scale of the input integers of type ``in_dtype``.
        length: Number of elements normalised together: the product of the last ``axes_count`` sizes over ``groups``.
        epsilon: Added to the variance, in real units.
        weight: Real weights of any shape: ``length`` elements, or what ``channel_size`` makes of them.
        bias: Real biases, likewise.
        out_scale: Scale of the result.
        output: Type and bounds of the result.
        centre: Subtract the mean.
        axes_count: How many trailing axes are normalised together.
        groups: Into how many parts the first of these axes falls, each normalised by itself.
        channel_size: How many neighbouring elements share a weight and a bias.
        largest: Largest magnitude of the input integers; that of ``in_dtype`` unless given.

    Raises:
        PlanError: ``length`` is too large for 32-bit sums, or weights and biases too large for the output's scale.
    """
    if centre and 2 * length * (largest or INTEGER_RANGE[in_dtype][1]) >= 2**31:
        raise PlanError(f"normalising {length} {in_dtype} values exceeds 32 bits", hint="mark it float")
    square_shift = max(0, math.ceil(math.log2(length)))
    mantissa, exponent = _epsilon(in_scale, length, epsilon, square_shift, centre)
    gains = weight.astype(np.float64).ravel()
    offsets = bias.astype(np.float64).ravel() / out_scale
    unit = 2.0 ** (PRODUCT_SHIFT - 14.5 + 1 + square_shift // 2) * math.sqrt(length / 2.0**square_shift) / _ONE
    out_shift = _out_shift(math.sqrt(length) * np.abs(gains).max() / out_scale, np.abs(offsets).max())

    def with_bits(bits: int) -> IntegerLayerNorm:
        return IntegerLayerNorm(
            axes_count=axes_count,
            centre=centre,
            square_shift=square_shift,
            epsilon_mantissa=mantissa,
            epsilon_exponent=exponent,
            rsqrt_table=_rsqrt_table(),
            weight=scaling_for(np.abs(gains) * unit / out_scale * 2.0**bits),
            weight_sign=frozen(np.where(gains < 0, -1, 1).astype(np.int8)),
            bias=frozen(np.rint(offsets * 2.0**bits).astype(np.int32)),
            out_shift=bits,
            output=output,
            groups=groups,
            channel_size=channel_size,
        )

    op = with_bits(out_shift)
    if largest_weighted(op) < 2**31:
        return op
    if out_shift == 0:
        raise _too_large()
    return with_bits(out_shift - 1)  # the largest product and the largest bias meet in one element


def largest_variance(op: IntegerLayerNorm, length: int) -> int:
    """The largest V that step 5 can give for a row of ``length`` elements."""
    half = (1 << op.square_shift) >> 1
    return length * ((_LARGEST_SQUARE + half) >> op.square_shift) + op.epsilon_mantissa


def largest_normalised(op: IntegerLayerNorm) -> int:
    """The largest magnitude that step 9 can give.

    From c'^2 <= (V + 1/2) 2^square_shift (an element's own square is part of V) and r <= ONE / sqrt(u): c' r / 2^7 is
    at most 32767 * 2^(14.5 + square_shift / 2 - h), and step 9 takes as many bits off as root_shift - h. A row's
    largest c' is at least 2^14, unless epsilon alone makes V 2^28 or more. Tables and truncations add less than 2^-12.
    """
    smallest = max(1.0, 2.0 ** (28 - op.square_shift))
    slack = (1 + 2.0**-12) * math.sqrt((smallest + 0.5) / smallest)
    reached = _AMPLITUDE * 2.0 ** (14.5 + op.square_shift / 2 - root_shift(op)) * slack
    return min(math.ceil(reached) + 1, _LARGEST_SQUARE)


def largest_weighted(op: IntegerLayerNorm) -> int:
    """The largest magnitude that step 10 can give."""
    multiplier, shift = op.weight.multiplier.astype(np.int64), op.weight.shift.astype(np.int64)
    products = ((largest_normalised(op) * multiplier) >> shift) + 1
    return int((products + np.abs(op.bias.astype(np.int64))).max())


def layernorm_reference(x: NDArray[np.signedinteger], op: IntegerLayerNorm) -> NDArray[np.signedinteger]:
    """The steps above in numpy, for any int8 or int16 tensor."""
    rows = x.astype(np.int64).reshape(*x.shape[: x.ndim - op.axes_count], op.groups, -1)
    centred = rows * rows.shape[-1] - rows.sum(axis=-1, keepdims=True) if op.centre else rows
    zeros = np.minimum(leading_zeros(np.abs(centred).max(axis=-1, keepdims=True)), largest_zeros(op))
    short = rounding_shift(centred << (zeros - 1), CENTRED_SHIFT)
    squares = rounding_shift(short * short, op.square_shift).sum(axis=-1, keepdims=True)
    epsilon_count = np.minimum(np.maximum(-(op.epsilon_exponent + 2 * zeros), 0), LARGEST_COUNT)
    epsilon = rounding_shift(np.full_like(zeros, op.epsilon_mantissa), epsilon_count)
    variance = np.maximum(squares + epsilon, 1)
    half = (leading_zeros(variance) - 1) >> 1
    root = look_up(op.rsqrt_table, ((variance << (2 * half)) >> INDEX_SHIFT) - INDEX_OFFSET)
    product = rounding_shift(short * root, PRODUCT_SHIFT)
    normalised = rounding_shift(product, np.maximum(root_shift(op) - half, 0))
    channels = normalised.reshape(-1, op.bias.size, op.channel_size)
    signed = channels * op.weight_sign.reshape(-1, 1)
    accumulator = apply_scaling(signed, op.weight, channel_axis=1) + op.bias.reshape(-1, 1)
    return clamped(rounding_shift(accumulator, op.out_shift), op.output).reshape(x.shape)


def _epsilon(in_scale: float, length: int, epsilon: float, square_shift: int, centre: bool) -> tuple[int, int]:
    """Epsilon in units of V at a row with ``lz`` leading zeros is ``mantissa * 2 ** (exponent + 2 lz)``.

    From the steps: the variance is ``V * 2^square_shift / n * (step * 2^(17 - lz))^2`` where ``step`` is the real value
    of one unit of c.
    """
    step = in_scale / length if centre else in_scale
    units = epsilon * length / (2.0**square_shift * step * step)
    if units == 0:
        return 0, -2 * 32
    fraction, exponent = math.frexp(units)
    mantissa = min(round(fraction * 2.0**_EPSILON_BITS), 2**_EPSILON_BITS - 1)
    return mantissa, exponent - _EPSILON_BITS - 34


def _out_shift(largest_product: float, largest_bias: float) -> int:
    """Extra fraction bits of the accumulator: as many as 32 bits allow, at most 15."""
    room = _ACCUMULATOR_LIMIT / max(largest_product, largest_bias, 1.0)
    if room < 1:
        raise _too_large()
    return min(_LARGEST_OUT_SHIFT, int(math.log2(room)))


def _too_large() -> PlanError:
    return PlanError("weights of a normalisation exceed 32 bits at its output's scale", hint="mark it float")


def _rsqrt_table() -> NDArray[np.int16]:
    """1/sqrt(u) on [1, 4] in entries 128 to 512, evaluated half a step of the index up: step 7 truncates."""
    places = (np.maximum(np.arange(513) * 128, 16384) + 0.5) / 16384
    return frozen(np.rint(_AMPLITUDE / np.sqrt(places)).astype(np.int16))
