"""Range search: from a tensor's statistics to the threshold at which its values are clipped.

A threshold T and ``level_count`` positive levels (127 for int8, 32767 for int16) make the symmetric scale
``T / level_count``. Every method is a dataclass whose fields are its options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from engine.calibrate.observers import BIN_COUNT, TensorStatistics
from engine.calibrate.result import scale_of
from engine.errors import CalibrationError, PlanError

INT16_LEVELS = 32767


class RangeMethod(Protocol):
    """A way to choose a threshold."""

    def threshold(self, statistics: TensorStatistics, level_count: int) -> float:
        """The magnitude that the largest level stands for: 0 < T <= max |x|, or 0 where all values are 0."""
        ...


@dataclass(frozen=True)
class MaxRange:
    """Nothing is clipped."""

    def threshold(self, statistics: TensorStatistics, level_count: int) -> float:
        return statistics.absolute_maximum


@dataclass(frozen=True)
class MovingAverageRange:
    """The moving average of each sample's largest magnitude: what one odd sample holds is clipped."""

    def threshold(self, statistics: TensorStatistics, level_count: int) -> float:
        # of a tensor that only later samples fill, and hardly, the average would be next to nothing
        return min(statistics.moving_maximum, statistics.absolute_maximum) or statistics.absolute_maximum


@dataclass(frozen=True)
class PercentileRange:
    """The magnitude that ``percentile`` percent of all values (zeros included) do not exceed, interpolated in
    its bin.
    """

    percentile: float = 99.99

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise PlanError(f"percentile is {self.percentile}, expected more than 0 and at most 100")

    def threshold(self, statistics: TensorStatistics, level_count: int) -> float:
        wanted = statistics.count * (self.percentile / 100) - statistics.zero_count
        cumulative = np.cumsum(statistics.histogram)
        place = int(np.searchsorted(cumulative, wanted))
        if self.percentile == 100 or wanted <= 0 or place >= BIN_COUNT:
            # Where nearly all values are zero, the percentile says nothing about the others.
            return statistics.absolute_maximum
        before = int(cumulative[place - 1]) if place else 0
        fraction = (wanted - before) / float(statistics.histogram[place])
        return min((place + fraction) * statistics.bin_width, statistics.absolute_maximum)


@dataclass(frozen=True)
class MseRange:
    """The threshold of least mean squared error, rounding and clipping together.

    Values are taken as spread evenly over their histogram bin, for which the error has a closed form. A
    coarse geometric search from the maximum down to ``smallest`` times it is refined around its best point.
    """

    smallest: float = 0.02
    coarse_steps: int = 24
    fine_steps: int = 12

    def threshold(self, statistics: TensorStatistics, level_count: int) -> float:
        maximum = statistics.absolute_maximum
        if maximum == 0:
            return 0.0
        edges, steps = _density_steps(statistics)
        coarse = maximum * np.geomspace(1.0, self.smallest, self.coarse_steps)
        best = int(np.argmin(_squared_error(edges, steps, coarse, level_count)))
        low, high = float(coarse[min(best + 1, len(coarse) - 1)]), float(coarse[max(best - 1, 0)])
        # The coarse winner takes part again: a refinement never does worse.
        fine = np.concatenate((np.linspace(low, high, self.fine_steps), coarse[best : best + 1]))
        return float(fine[np.argmin(_squared_error(edges, steps, fine, level_count))])


@dataclass(frozen=True)
class KlRange:
    """The threshold at which the quantised distribution of magnitudes diverges least from the clipped one.

    The search of TensorRT (S. Migacz, "8-bit Inference with TensorRT", GTC 2017) over every ``stride``-th
    bin: P is the clipped histogram with all that lies beyond in its last bin; Q merges the bins within into
    ``level_count + 1`` groups and spreads each group's count over its non-empty bins. Zeros are exact in
    every scale and take no part. With more levels than bins there is nothing to lose, and the maximum is
    returned.
    """

    stride: int = 4

    def threshold(self, statistics: TensorStatistics, level_count: int) -> float:
        maximum = statistics.absolute_maximum
        used = int(np.flatnonzero(statistics.histogram)[-1]) + 1 if maximum > 0 else 0
        groups = level_count + 1
        if used <= groups or not statistics.histogram.any():
            return maximum
        ends = np.arange(used, groups, -self.stride)[::-1]
        divergence = _kl_divergence(statistics.histogram[:used], ends, groups)
        # Of equals the largest threshold: it clips least.
        best = len(ends) - 1 - int(np.argmin(divergence[::-1]))
        return min(float(ends[best]) * statistics.bin_width, maximum)


def choose_scale(statistics: TensorStatistics, method: RangeMethod, level_count: int) -> float:
    """The symmetric scale ``threshold / level_count``; for a tensor of zeros ``1 / level_count``.

    Raises:
        CalibrationError: No value was seen.
    """
    if statistics.count == 0:
        raise CalibrationError("no value was observed", hint="calibrate with at least one sample")
    return scale_of(method.threshold(statistics, level_count), level_count)


def _density_steps(statistics: TensorStatistics) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bin edges up to the maximum [n + 1], and by how much the density of values falls at each edge.

    The sum over bins of density times (G(upper) - G(lower)), with G an antiderivative, is then one product
    with G(edges).
    """
    used = int(np.flatnonzero(statistics.histogram)[-1]) + 1
    edges = np.arange(used + 1, dtype=np.float64) * statistics.bin_width
    # The last bin ends at the maximum, but a bin of one repeated value keeps some width.
    edges[-1] = max(statistics.absolute_maximum, edges[-2] + statistics.bin_width / 1024)
    density = statistics.histogram[:used] / np.diff(edges)
    return edges, -np.diff(density, prepend=0.0, append=0.0)


def _squared_error(
    edges: NDArray[np.float64], steps: NDArray[np.float64], thresholds: NDArray[np.float64], level_count: int
) -> NDArray[np.float64]:
    """Total squared error of each threshold [t]: rounding to multiples of the scale, clipping beyond the last
    level.

    With k the level of x (round half away; clipped) and r = x - k s its error, the integral of r**2 from 0 to
    x is k s**3 / 12 + r**3 / 3, continuous over rounding limits and valid for clipped values too.
    """
    return _integrals(edges, thresholds / level_count, level_count) @ steps


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _integrals(
    edges: NDArray[np.float64], scales: NDArray[np.float64], level_count: int
) -> NDArray[np.float64]:
    """The integral up to each edge [n] for each scale [t]: [t, n], see :func:`_squared_error`."""
    found = np.empty((scales.size, edges.size))
    for row in range(scales.size):
        scale = scales[row]
        step = scale * scale * scale / 12
        for place in range(edges.size):
            level = min(np.floor(edges[place] / scale + 0.5), np.float64(level_count))
            error = edges[place] - level * scale
            found[row, place] = level * step + error * error * error / 3
    return found


def _kl_divergence(
    histogram: NDArray[np.int64], ends: NDArray[np.int64], groups: int
) -> NDArray[np.float64]:
    """KL(P || Q) for the clipping after each of ``ends`` bins; infinite where Q is empty and P is not.

    The sum over a group's bins of p log q needs only the group's count and its number of non-empty bins, and
    those are differences of running sums: no candidate looks at single bins.
    """
    counts = np.concatenate(([0], np.cumsum(histogram)))
    filled = np.concatenate(([0], np.cumsum(histogram > 0)))
    plogp = np.concatenate(([0.0], np.cumsum(_xlogx(histogram.astype(np.float64)))))
    total = float(counts[-1])
    group_counts, log_q = _groups(counts, filled, ends, groups)
    np.log(log_q, out=log_q)
    inside = counts[ends].astype(np.float64)
    beyond = total - inside
    last = histogram[ends - 1].astype(np.float64)
    entropy = plogp[ends] - _xlogx(last) + _xlogx(last + beyond)
    with np.errstate(divide="ignore", invalid="ignore"):
        # An empty last bin that receives what lies beyond is non-empty in P, and Q gives it nothing.
        cross = np.multiply(group_counts, log_q, out=group_counts).sum(axis=1)
        cross += np.where(beyond > 0, beyond * np.where(last > 0, log_q[:, -1], -np.inf), 0.0)
        # P is divided by its total and Q by the count inside.
        divergence = (entropy - cross) / total - np.log(total) + np.log(inside)
    return np.where(np.isnan(divergence), np.inf, divergence)  # NaN: nothing is inside, Q is empty everywhere


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _groups(
    counts: NDArray[np.int64], filled: NDArray[np.int64], ends: NDArray[np.int64], groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For the clipping after each of ``ends`` [n] bins what each group counts, and that over its bins in use (1 where
    nothing is), both [n, groups]; ``counts`` and ``filled`` are running sums over the bins.
    """
    whole = np.empty((ends.size, groups))
    shares = np.empty((ends.size, groups))
    for row in range(ends.size):
        bins, rest = ends[row] // groups, ends[row] % groups
        begin = left = 0
        for group in range(groups):  # it ends at ends[row] * (group + 1) // groups, without a division for each
            left += rest
            end = begin + bins + (left >= groups)
            left -= groups * (left >= groups)
            count = counts[end] - counts[begin]
            whole[row, group] = count
            shares[row, group] = count / max(filled[end] - filled[begin], 1) if count else 1.0
            begin = end
    return whole, shares


def _xlogx(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values > 0, values * np.log(np.maximum(values, 1.0)), 0.0)
