"""Counting where two programs' values differ."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """Between two arrays: how many elements differ, how many beyond the tolerance, and the largest difference."""

    differing: int
    beyond: int
    worst: float


Measure = Callable[[Array, Array], Difference]
"""``(found, wanted) -> Difference`` for arrays of one type and shape."""

FLOAT_TOLERANCE_DB = 60.0
"""How far below a value its difference from the same float operators, summed in another order, must lie. As a whole:
formulas that cancel (a variance as E[x²] - E[x]²) are far off in single elements."""

def exact(found: Array, wanted: Array) -> Difference:
    """Every bit counts (but any NaN is any other); the largest difference is of numbers."""
    different = ~_equal(found, wanted)
    count = int(different.sum())
    return Difference(count, count, _largest(found[different], wanted[different]))


def steps(tolerated: int) -> Measure:
    """Of integers, of which so many steps are tolerated."""

    def measure(found: Array, wanted: Array) -> Difference:
        distance = np.abs(found.astype(np.int64) - wanted.astype(np.int64))
        beyond = int((distance > tolerated).sum())
        return Difference(int((distance > 0).sum()), beyond, float(distance.max(initial=0)))

    return measure


def relative(found: Array, wanted: Array) -> Difference:
    """Of floats: a difference 60 dB below the value is tolerated as a whole, and then does not count as differing;
    without that, all elements that differ do. Indices and truth values must be equal.

    The largest difference is a fraction of the value's largest finite magnitude.
    """
    if wanted.dtype.kind != "f":
        return exact(found, wanted)
    finite = np.where(np.isfinite(wanted), wanted, 0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    distance[_equal(found, wanted)] = 0.0
    distance = np.nan_to_num(distance, nan=math.inf, posinf=math.inf)
    worst = float(distance.max(initial=0.0)) / (float(np.abs(finite).max(initial=0.0)) or 1.0)
    is_near = np.square(distance).sum() <= 10 ** (-FLOAT_TOLERANCE_DB / 10) * np.square(finite).sum()
    differing = 0 if is_near else int((distance > 0).sum())
    return Difference(differing, differing, worst)


def _equal(found: Array, wanted: Array) -> NDArray[np.bool_]:
    equal = found == wanted
    if wanted.dtype.kind == "f":
        equal |= np.isnan(found) & np.isnan(wanted)
    return np.asarray(equal)


def _largest(found: Array, wanted: Array) -> float:
    """The largest distance between numbers (0 for none, 1 between truth values)."""
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    return float(np.nan_to_num(distance, nan=math.inf, posinf=math.inf).max(initial=0.0))


@dataclass
class ValueCount:
    """What was counted of one value over all samples."""

    elements: int = 0
    differing: int = 0
    beyond: int = 0
    worst: float = 0.0


@dataclass
class Tally:
    """Differences of many values, in the order in which they were added first.

    Attributes:
        measure: How two arrays are compared.
        values: Counts by value.
        signal, noise: Sums of squares of what was wanted and of the differences, of all values.
    """

    measure: Measure
    values: dict[str, ValueCount] = field(default_factory=dict[str, ValueCount])
    signal: float = 0.0
    noise: float = 0.0

    def add(self, value: str, found: Array, wanted: Array, measure: Measure | None = None) -> None:
        """Compare one value of one sample, in a way of its own if need be. Another type or shape differs in every
        element.
        """
        count = self.values.setdefault(value, ValueCount())
        if (found.dtype, found.shape) == (wanted.dtype, wanted.shape):
            difference = (measure or self.measure)(found, wanted)
            self._add_squares(found, wanted)
        else:
            difference = Difference(wanted.size, wanted.size, math.inf)
        count.elements += wanted.size
        count.differing += difference.differing
        count.beyond += difference.beyond
        count.worst = max(count.worst, difference.worst)

    def _add_squares(self, found: Array, wanted: Array) -> None:
        exact_values = wanted.astype(np.float64)
        self.signal += float(np.vdot(exact_values, exact_values))
        distance = exact_values - found
        self.noise += float(np.vdot(distance, distance))

    @property
    def elements(self) -> int:
        return sum(count.elements for count in self.values.values())

    @property
    def differing(self) -> int:
        return sum(count.differing for count in self.values.values())

    @property
    def beyond(self) -> int:
        """Elements that differ by more than the tolerance."""
        return sum(count.beyond for count in self.values.values())

    @property
    def worst(self) -> float:
        return max((count.worst for count in self.values.values()), default=0.0)

    @property
    def sqnr_db(self) -> float:
        """10 log10(signal / noise); infinite without noise."""
        if self.noise == 0.0:
            return math.inf
        return 10.0 * math.log10(self.signal / self.noise) if self.signal else -math.inf

    def first(self) -> str:
        """The first value that differs by more than the tolerance, else the first that differs; "" for none."""
        beyond = (value for value, count in self.values.items() if count.beyond)
        return next(beyond, "") or self.first_differing()

    def first_differing(self) -> str:
        """The first value that differs at all; "" for none."""
        return next((value for value, count in self.values.items() if count.differing), "")
