r"""Division in integers by the normalised reciprocal of the divisor, made of TOSA operators only.

For integers a and b (int8 or int16) with real quotient a / b in units of the scales' quotient:

==== =================================================================== ==========================================
step what                                                                 bits
==== =================================================================== ==========================================
1    m = max(|b|, 1), lz = CLZ(m)                                         lz in [16, 31]
2    u = m << (lz - 1)                                                    [2^30, 2^31): the real u in [1, 2)
3    r = TABLE(reciprocal_table, (u >> 14) - 98304)                      (2^21, ONE], ONE = 32767 << 7
4    q = (a * r + 64) >> 7 (MUL with shift), negated where b < 0         [-2^30, 2^30]
5    q = clamp(q, -limit, limit) << up; up = max(lz - pivot, 0),         below 2^30
     limit = (2^30 - 1) >> up
6    z = q >> max(pivot - lz, 0), rounded                                the quotient, ONE 2^(24 - pivot) a unit
7    y = clamp(scaling(z))                                               int8 or int16
==== =================================================================== ==========================================

``pivot`` is such that the largest quotient the output shows is just below 2^29 in step 6. The reciprocal is off by 3e-5
of its value, whatever the divisor's size. Division by 0 is division by 1: it saturates wherever that is far away.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.program.arithmetic import apply_scaling, clamped, leading_zeros, look_up, rounding_shift, scaling_for
from engine.program.softmax import INDEX_OFFSET, INDEX_SHIFT, reciprocal_table
from engine.program.types import DivideScaled, Output

PRODUCT_SHIFT = 7
LIMIT = 2**30 - 1

_ONE_BITS = 22
_TOP_BITS = 29
_PIVOTS = (1, 40)


def integer_division(a_scale: float, b_scale: float, out_scale: float, output: Output) -> DivideScaled:
    """The instruction for a / b with these scales.

    Raises:
        ValueError: The scales lie too far apart for a multiplier.
    """
    largest = max(output.high, -output.low) * out_scale * b_scale / a_scale
    wanted = math.ceil(math.log2(largest)) + _ONE_BITS + 24 - _TOP_BITS
    pivot = min(max(wanted, _PIVOTS[0]), _PIVOTS[1])
    one = float(32767 << PRODUCT_SHIFT)
    scaling = scaling_for(a_scale / (b_scale * out_scale) * 2.0 ** (pivot - 24) / one)
    return DivideScaled(reciprocal_table(), pivot, scaling, output)


def reciprocals(b: NDArray[np.signedinteger], op: DivideScaled) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Steps 1 to 3: r and lz."""
    magnitude = np.maximum(np.abs(b.astype(np.int64)), 1)
    zeros = leading_zeros(magnitude)
    normalised = magnitude << (zeros - 1)
    return look_up(op.reciprocal_table, (normalised >> INDEX_SHIFT) - INDEX_OFFSET), zeros


def division_reference(
    a: NDArray[np.signedinteger], b: NDArray[np.signedinteger], op: DivideScaled
) -> NDArray[np.signedinteger]:
    """The steps above in numpy, with broadcasting."""
    reciprocal, zeros = reciprocals(b, op)
    product = rounding_shift(a.astype(np.int64) * reciprocal, PRODUCT_SHIFT) * np.where(b < 0, -1, 1)
    up, down = np.maximum(zeros - op.pivot, 0), np.maximum(op.pivot - zeros, 0)
    limit = LIMIT >> up
    quotient = rounding_shift(np.clip(product, -limit, limit) << up, down)
    return clamped(apply_scaling(quotient, op.scaling), op.output)
