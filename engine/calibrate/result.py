"""What calibration leaves behind: for each value, the few numbers that scales are made from.

Plain data without the machinery that gathers it, so that project files and the window can hold it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

import msgspec

from engine.errors import PlanError

Method = Literal["max", "average", "percentile", "p99.9", "p99.999", "mse", "kl", "table"]
METHOD_NAMES: tuple[Method, ...] = get_args(Method)
DEFAULT_METHOD: Method = "mse"

_FIELDS: Mapping[str, str] = MappingProxyType({"p99.9": "p999", "p99.999": "p99999"})
"""The field of a method's threshold, where it is not called like the method."""

_WIDE_FIELDS: Mapping[str, str] = MappingProxyType({"mse": "mse16", "kl": "max", "table": "mse16"})
"""Where a method's threshold for 16-bit levels differs from that for 8-bit levels: the field that holds it.

The KL search has no meaning for more levels than histogram bins: nothing is clipped. A function's table of 16-bit
inputs has room for the whole range.
"""


class TensorRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Extrema of one value over the calibration samples, and the clipping threshold (a magnitude) of each
    method.

    ``mse``, ``kl`` and ``table`` are for 8-bit levels, ``mse16`` for 16-bit levels. All have 6 significant digits. The
    last four fields are None in what older versions measured.
    """

    min: float
    max: float
    percentile: float
    mse: float
    kl: float
    mse16: float
    average: float | None = None
    p999: float | None = None
    p99999: float | None = None
    table: float | None = None

    def __post_init__(self) -> None:
        numbers = [number for number in msgspec.structs.astuple(self) if number is not None]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("a range must be finite")
        if self.min > self.max or min(numbers[2:]) < 0:
            raise ValueError("min must not exceed max, and thresholds must not be negative")

    @property
    def absolute_maximum(self) -> float:
        return max(-self.min, self.max, 0.0)

    def threshold(self, method: str, level_count: int) -> float:
        """The magnitude that the largest of ``level_count`` positive levels (127 or 32767) stands for.

        Raises:
            PlanError: There is no such method, or an older version measured the range without it.
        """
        check_method(method)
        field = _FIELDS.get(method, method)
        field = _WIDE_FIELDS.get(field, field) if level_count > INT8_LEVELS else field
        found: float | None = self.absolute_maximum if field == "max" else getattr(self, field)
        if found is None:
            raise PlanError(f"the calibration has no ranges by '{method}'", hint="calibrate again")
        return found

    def scale(self, method: str, level_count: int) -> float:
        """The symmetric scale ``threshold / level_count``, never 0. Raises PlanError as :meth:`threshold`."""
        return scale_of(self.threshold(method, level_count), level_count)


class CalibrationResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ranges by value name, how many samples they come from, and that data's fingerprint.

    ``percentile`` is the option of the method of that name, in percent.
    """

    ranges: Mapping[str, TensorRange]
    samples: int
    fingerprint: str
    percentile: float = 99.99


INT8_LEVELS = 127
"""Positive levels of 8 bits."""

SMALLEST_SCALE = 2.0**-126
"""Smaller scales are no normal float32 numbers and could not be exported."""


def scale_of(threshold: float, level_count: int) -> float:
    """The symmetric scale for a threshold. A threshold of 0, or one that is too small for a scale, counts as
    1.
    """
    scale = threshold / level_count
    return scale if scale >= SMALLEST_SCALE else 1.0 / level_count


def power_of_two_above(scale: float) -> float:
    """The smallest power of two that is no less than a positive scale: nothing that it held is clipped."""
    mantissa, exponent = math.frexp(scale)
    return math.ldexp(0.5 if mantissa == 0.5 else 1.0, exponent)


def check_method(name: str) -> None:
    """Raise unless ``name`` is a calibration method.

    Raises:
        PlanError: It is not.
    """
    if name not in METHOD_NAMES:
        hint = f"choose one of: {', '.join(METHOD_NAMES)}"
        raise PlanError(f"unknown calibration method '{name}'", hint=hint)
