r"""Logarithm and square root of integers of any size, made of TOSA operators only.

A table with even steps is coarse where these functions are steep, close to 0. So the integer is shifted up until its
leading bit has a fixed place, looked up, and the shift is taken back.

Logarithm of x (int8, int16 or int32):

==== ========================================================================= ====================================
step what                                                                      bits
==== ========================================================================= ====================================
1    p = max(x, 1)
2    lz = CLZ(p), v = p << (lz - 1)                                            [2^30, 2^31): the real u in [1, 2)
3    t = TABLE(table, (v >> 14) - 98304)                                       log2(u) in units of 1 / ONE, 23 bits
4    w = (31 - lz) * ONE + t + offset                                          log2(x * scale), below 2^31
5    y = clamp(scaling(w)) where x > 0, else the lower bound
==== ========================================================================= ====================================

Square root of x:

==== ========================================================================= ====================================
step what                                                                      bits
==== ========================================================================= ====================================
1    p = max(x, 0)
2    h = (CLZ(max(p, 1)) - 1) / 2 rounded down, v = p << 2h                    [2^29, 2^31), or 0: u in [1, 4)
3    t = TABLE(table, (v >> 15) - 32768) << 8                                  sqrt(u) / 2 in units of 2^-8 / ONE
4    w = t >> h, rounded
5    y = clamp(scaling(w))
==== ========================================================================= ====================================

ONE = 32767 << 7. Errors: of the logarithm 2e-5 (absolute), of the root 5e-5 (relative), by the 16 bits of the entries.
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
from engine.program.types import Logarithm, Output, SquareRoot

ONE = 32767 << 7
LOG_INDEX_SHIFT, LOG_INDEX_OFFSET = 14, 98304
ROOT_INDEX_SHIFT, ROOT_INDEX_OFFSET = 15, 32768
ROOT_LIFT = 8

_AMPLITUDE = 32767


def logarithm(in_scale: float, out_scale: float, output: Output) -> Logarithm:
    """The instruction for the natural logarithm of ``in_scale * x``.

    Args:
        in_scale: Real value of one unit of the input, positive.
        out_scale: Scale of the result.
        output: Type and bounds of the result.
    """
    places = (np.arange(513) * 128 + 65536 + 0.5) / 65536  # half a step of the index up: step 3 truncates
    entries = np.minimum(np.rint(_AMPLITUDE * np.log2(places)), _AMPLITUDE)
    return Logarithm(
        table=frozen(entries.astype(np.int16)),
        offset=round(math.log2(in_scale) * ONE),
        scaling=scaling_for(math.log(2.0) / ONE / out_scale),
        output=output,
    )


def square_root(in_scale: float, out_scale: float, output: Output) -> SquareRoot:
    """The instruction for the square root of ``in_scale * x``; negative x count as 0. Arguments as of
    :func:`logarithm`."""
    places = (np.arange(513) * 128 + 0.5) / 16384
    places[0] = 0.0  # what 0 itself looks up
    unit = 2.0**15.5 / (ONE << ROOT_LIFT)
    return SquareRoot(
        table=frozen(np.rint(_AMPLITUDE / 2 * np.sqrt(places)).astype(np.int16)),
        scaling=scaling_for(unit * math.sqrt(in_scale) / out_scale),
        output=output,
    )


def logarithm_reference(x: NDArray[np.signedinteger], op: Logarithm) -> NDArray[np.signedinteger]:
    """The steps above in numpy."""
    wide = x.astype(np.int64)
    positive = np.maximum(wide, 1)
    zeros = leading_zeros(positive)
    index = ((positive << (zeros - 1)) >> LOG_INDEX_SHIFT) - LOG_INDEX_OFFSET
    total = (31 - zeros) * ONE + look_up(op.table, index) + op.offset
    found = clamped(apply_scaling(total, op.scaling), op.output)
    return np.where(wide > 0, found, found.dtype.type(op.output.low))


def square_root_reference(x: NDArray[np.signedinteger], op: SquareRoot) -> NDArray[np.signedinteger]:
    """The steps above in numpy."""
    positive = np.maximum(x.astype(np.int64), 0)
    half = (leading_zeros(np.maximum(positive, 1)) - 1) >> 1
    index = ((positive << (2 * half)) >> ROOT_INDEX_SHIFT) - ROOT_INDEX_OFFSET
    root = rounding_shift(look_up(op.table, index) << ROOT_LIFT, half)
    return clamped(apply_scaling(root, op.scaling), op.output)
