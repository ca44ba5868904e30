r"""Softmax in integers, made of TOSA operators only.

For one row of ``length`` integers x, with tables for exp and 1/u (TABLE, 513 entries, results of 23 bits):

==== =================================================================== ==========================================
step what                                                                 bits
==== =================================================================== ==========================================
1    d = x - max(x)                                                      <= 0, 17 bits
2    t = clamp(difference_scaling(d), -32768, 0)                         int16, 32768 stands for ``EXP_RANGE``
3    e = TABLE(exp_table, t)                                             [0, ONE], ONE = 32767 << 7 < 2^22
4    S = sum of (e >> sum_shift), each rounded                           (0, 2^30]
5    lz = CLZ(S), u = S << (lz - 1)                                      [2^30, 2^31): the real u in [1, 2)
6    r = TABLE(reciprocal_table, (u >> 14) - 98304)                      (2^21, ONE]
7    q = (e * r + 2^13) >> 14 (MUL with shift)                           [0, 2^30)
8    z = q >> (10 + sum_shift - lz), rounded                             1.0 is ONE << 7, just below 2^29
9    y = clamp(out(z))                                                   int8 or int16
==== =================================================================== ==========================================

Step 8 never shifts by less than 0: the largest element has e = ONE, so S >= (ONE >> sum_shift), lz <= 10 + sum_shift.
Errors, relative to the value: interpolation of exp 1.2e-4, reciprocal 3e-5; the entries of exp are rounded by up to
1.5e-5 of the row's maximum, which adds up over the row. Measured over random rows, in units of 1: 1.2e-4 up to 50
elements, 2.5e-4 at 200, 3e-3 at 4,000. Elements ``EXP_RANGE`` below the maximum (those under a mask of -100) are
exactly 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.program.arithmetic import (
    apply_scaling,
    clamped,
    frozen,
    leading_zeros,
    look_up,
    rounding_shift,
    scaling_for,
)
from engine.program.types import IntegerSoftmax, Output
from engine.qtype import INTEGER_RANGE

EXP_RANGE = 11.25
"""The exponential is tabulated on [-EXP_RANGE, 0]; below, it rounds to 0 in 15 bits."""

PRODUCT_SHIFT = 14
INDEX_SHIFT = 14
INDEX_OFFSET = 98304
STATIC_EXPONENT = 10

_AMPLITUDE = 32767
_ONE = _AMPLITUDE << 7
_SUM_BITS_ABOVE_ENTRY = 8


def integer_softmax(
    in_scale: float, in_dtype: str, axis: int, length: int, out_scale: float, output: Output
) -> IntegerSoftmax:
    """The instruction for a softmax over ``length`` elements along ``axis``.

    A step of the input beyond ``EXP_RANGE`` gives the same t as one that just reaches it, so that the factor of step 1
    can be limited to what keeps the difference within 32 bits (32769 for int16).
    """
    limit = (2**31 - 1) // (2 * INTEGER_RANGE[in_dtype][1])
    factor = min(in_scale * 32768 / EXP_RANGE, float(limit))
    return IntegerSoftmax(
        axis=axis,
        difference_scaling=scaling_for(factor),
        exp_table=_exp_table(),
        reciprocal_table=reciprocal_table(),
        sum_shift=max(0, math.ceil(math.log2(length)) - _SUM_BITS_ABOVE_ENTRY),
        out=scaling_for(1.0 / (_ONE << 7) / out_scale),
        output=output,
    )


def largest_sum(op: IntegerSoftmax, length: int) -> int:
    """The largest S that step 4 can give for a row of ``length`` elements."""
    half = (1 << op.sum_shift) >> 1
    return length * ((_ONE + half) >> op.sum_shift)


def softmax_reference(x: NDArray[np.signedinteger], op: IntegerSoftmax) -> NDArray[np.signedinteger]:
    """The steps above in numpy, for any int8 or int16 tensor."""
    rows = np.moveaxis(x.astype(np.int64), op.axis, -1)
    difference = rows - rows.max(axis=-1, keepdims=True)
    index = np.clip(apply_scaling(difference, op.difference_scaling), -32768, 0)
    exponential = look_up(op.exp_table, index)
    total = rounding_shift(exponential, op.sum_shift).sum(axis=-1, keepdims=True)
    zeros = leading_zeros(total)
    normalised = total << (zeros - 1)
    reciprocal = look_up(op.reciprocal_table, (normalised >> INDEX_SHIFT) - INDEX_OFFSET)
    product = rounding_shift(exponential * reciprocal, PRODUCT_SHIFT)
    ratio = rounding_shift(product, STATIC_EXPONENT + op.sum_shift - zeros)
    return np.moveaxis(clamped(apply_scaling(ratio, op.out), op.output), -1, op.axis)


def _exp_table() -> NDArray[np.int16]:
    """exp on [-EXP_RANGE, 0] in entries 0 to 256; the positive half is never reached.

    Chords of a convex function lie above it, on average by step^2 / 12 of the value; entries are lowered by that.
    The last is not: most rows reach it at one element only, their maximum, where nothing is interpolated.
    """
    places = np.minimum(np.arange(513) * 128 - 32768, 0) * (EXP_RANGE / 32768)
    lowered = np.where(places < 0, 1 - (EXP_RANGE / 256) ** 2 / 12, 1.0)
    return frozen(np.rint(np.exp(places) * lowered * _AMPLITUDE).astype(np.int16))


def reciprocal_table() -> NDArray[np.int16]:
    """1/u on [1, 2], evaluated half a step of the index up: step 6 truncates."""
    places = (np.arange(513) * 128 + 65536 + 0.5) / 65536
    return frozen(np.rint(_AMPLITUDE / places).astype(np.int16))
