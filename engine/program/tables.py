"""Look-up tables from real functions: 256 entries for int8 inputs, 513 interpolated entries for int16 inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.program.arithmetic import frozen, scaling_for
from engine.program.types import Output, Table8, Table16

RealFunction = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A vectorised real function. It may return NaN and infinities where it is not defined."""

_LARGEST_ENTRY = 32767
_LARGEST_STEP = 32766  # rounding two neighbours may add one
_INTERPOLATION_BITS = 7


def table8(function: RealFunction, in_scale: float, out_scale: float, output: Output) -> Table8:
    """Tabulate ``function`` for int8 inputs: ``clamp(round half to even(f(x * in_scale) / out_scale))``.

    Infinities saturate; NaN (the logarithm of a negative number) becomes 0, as far as the bounds allow.
    """
    values = _defined(function, np.arange(-128, 128, dtype=np.float64) * in_scale)
    within = np.clip(values, (output.low - 1) * out_scale, (output.high + 1) * out_scale)
    entries = np.clip(np.rint(within / out_scale), output.low, output.high)
    return Table8(frozen(entries.astype(output.dtype)))


def table16(function: RealFunction, in_scale: float, out_scale: float, output: Output) -> Table16:
    """Tabulate ``function`` for int16 inputs at every 128th integer; between them the chip interpolates.

    The entries have a scale of their own that uses the 16 bits in full: the largest magnitude of the function at the
    513 places, as far as the output can show it. What lies far beyond the output's bounds (and infinities) is cut
    first, so that a pole does not take the bits of the rest; the margin that stays keeps interpolation true beside the
    bounds. The last place is 32768, one beyond the largest input: the function is evaluated there like elsewhere.
    """
    places = (np.arange(513, dtype=np.float64) * 128 - 32768) * in_scale
    bound = max(abs(output.low), abs(output.high)) * out_scale * _margin(output)
    values = np.clip(_defined(function, places), -bound, bound)
    entry_scale = _entry_scale(values) or out_scale
    entries = np.rint(values / entry_scale).astype(np.int16)
    scaling = scaling_for(entry_scale / (out_scale * 2**_INTERPOLATION_BITS))
    return Table16(frozen(entries), scaling, output)


def _margin(output: Output) -> float:
    """How far beyond the output's bounds entries may go: an int8 output leaves the entries bits to spare."""
    return 32.0 if output.dtype == "int8" else 2.0


def _entry_scale(values: NDArray[np.float64]) -> float:
    """Scale at which the values fill int16 and neighbours differ by less than 2^15, as TOSA requires."""
    largest, steepest = np.abs(values).max(), np.abs(np.diff(values)).max()
    return float(max(largest / _LARGEST_ENTRY, steepest / _LARGEST_STEP))


def _defined(function: RealFunction, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The function's values with NaN replaced by 0 and infinities by the largest finite numbers."""
    with np.errstate(all="ignore"):
        values = np.asarray(function(inputs), dtype=np.float64)
    return np.nan_to_num(values, nan=0.0)
