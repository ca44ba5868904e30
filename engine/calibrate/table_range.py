"""Range search for what elementwise functions read: judged behind the function, not in front of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.calibrate.observers import TensorStatistics
from engine.calibrate.ranges import MseRange
from engine.calibrate.result import scale_of

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""An elementwise function of float64 arrays of any shape."""


@dataclass(frozen=True)
class TableRange:
    """The threshold of least mean squared error behind the functions that read the tensor.

    What a table makes of an input is the function at the nearest level: where the function is flat (a sigmoid's ends,
    the negative side of GELU), clipping costs nothing, and the levels are better spent where it is steep. The error is
    taken under the observed distribution, ``points`` places a bin, relative to the mean square of the function's
    values, and averaged over the ``functions`` (readers that are none count as the identity). Without any, and where
    no signs were observed, this is :class:`MseRange`. Thresholds are searched as there.
    """

    functions: tuple[Function, ...] = ()
    smallest: float = 0.02
    coarse_steps: int = 24
    fine_steps: int = 12
    points: int = 3

    def threshold(self, statistics: TensorStatistics, level_count: int) -> float:
        maximum = statistics.absolute_maximum
        if maximum == 0 or statistics.negatives is None or not self.functions:
            return MseRange().threshold(statistics, level_count)
        values, weights = _signed_points(statistics, self.points)
        references = [function(values) for function in self.functions]

        levels = np.arange(-level_count, level_count + 1, dtype=np.float64)

        def error(threshold: float) -> float:
            scale = scale_of(threshold, level_count)
            places = (np.clip(np.rint(values / scale), -level_count, level_count) + level_count).astype(np.int64)
            pairs = zip(self.functions, references, strict=True)
            return sum(_relative_error(function(levels * scale)[places], known, weights) for function, known in pairs)

        coarse = maximum * np.geomspace(1.0, self.smallest, self.coarse_steps)
        errors = [error(float(threshold)) for threshold in coarse]
        best = int(np.argmin(errors))  # of equals the largest
        low, high = float(coarse[min(best + 1, len(coarse) - 1)]), float(coarse[max(best - 1, 0)])
        fine = np.linspace(high, low, self.fine_steps)
        found = min(fine, key=lambda threshold: error(float(threshold)))
        return float(found if error(float(found)) < errors[best] else coarse[best])


def _signed_points(
    statistics: TensorStatistics, points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places in all bins that hold something, on both sides of 0, and the number of values at each; zeros too."""
    assert statistics.negatives is not None
    sides = (statistics.histogram - statistics.negatives, 1.0), (statistics.negatives, -1.0)
    values, weights = [np.zeros(1)], [np.array([float(statistics.zero_count)])]
    within = (np.arange(points) + 0.5) / points
    for histogram, sign in sides:
        used = np.flatnonzero(histogram)
        places = np.minimum((used[:, None] + within) * statistics.bin_width, statistics.absolute_maximum)
        values.append(sign * places.reshape(-1))
        weights.append(np.repeat(histogram[used] / points, points))
    return np.concatenate(values), np.concatenate(weights)


def _relative_error(
    found: NDArray[np.float64], reference: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    """Mean squared error over mean square, where the function has a value; infinities are saturated, as in a table."""
    kept = np.isfinite(reference) & ~np.isnan(found)
    if not kept.any():
        return 0.0
    finite, weights = reference[kept], weights[kept]
    found = np.clip(found[kept], finite.min(), finite.max())
    largest = float(np.abs(finite).max()) or 1.0  # squares of what is larger might overflow
    error = float(np.sum(((found - finite) / largest) ** 2 * weights))
    signal = float(np.sum((finite / largest) ** 2 * weights))
    return error / signal if signal > 0.0 else error
