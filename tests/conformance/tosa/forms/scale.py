"""Steps that forms share: scalings that change nothing, whole ranges, zero points."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.program.arithmetic import frozen
from engine.program.types import AddScaled, Output, Requantise, Scaling
from tests.conformance.tosa.translate import Translation, Value

WHOLE: Mapping[str, Output] = {
    **{name: Output(name, int(np.iinfo(name).min), int(np.iinfo(name).max)) for name in ("int8", "int16", "int32")},
    "int64": Output("int64", -(2**47), 2**47 - 1),
}
"""Every number of a type; int64 holds int48."""


def scaling(multiplier: int, shift: int) -> Scaling:
    """One multiplier and shift for all elements."""
    return Scaling(frozen(np.array([multiplier], np.int32)), frozen(np.array([shift], np.int8)))


UNCHANGED = scaling(1 << 30, 30)
"""Leaves every number of 32 bits as it is."""

UNCHANGED_WIDE = scaling(1 << 14, 14)
"""Leaves every number of 48 bits as it is: the product has to stay within 64."""

KEEPS: Mapping[str, Scaling] = {"int32": UNCHANGED, "int64": UNCHANGED_WIDE}
"""The scaling that hands an accumulator of a type out as it is."""


def less_zero_point(t: Translation, x: Value, zero_point: int) -> Value:
    """``x - zero_point``: of 8 bits in int16, of 16 bits or more in int32. No instruction has a zero point itself."""
    if zero_point == 0:
        return x
    dtype = "int16" if x.dtype == "int8" else "int32"
    return _shifted(t, x, zero_point, WHOLE[dtype], subtract=True)


def plus_zero_point(t: Translation, x: Value, zero_point: int, output: Output) -> Value:
    """``clamp(x + zero_point)``."""
    return _shifted(t, x, zero_point, output, subtract=False)


def _shifted(t: Translation, x: Value, amount: int, output: Output, *, subtract: bool) -> Value:
    constant = t.constant(np.array(amount, np.int32))
    return t.add(AddScaled(UNCHANGED, None, UNCHANGED, output, subtract), (x, constant), output.dtype)


def narrowed(t: Translation, x: Value, output: Output) -> Value:
    """``clamp(x)`` in another type."""
    return t.add(Requantise(UNCHANGED, output), (x,), output.dtype)
