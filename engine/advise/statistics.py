"""Confidence intervals of what a verdict goes by: proportions, and differences of paired ones."""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.reports import Interval
from engine.reports_advice import Bounds

Z_975 = 1.959964
"""Quantile of the normal distribution that leaves 2.5 % on each side."""

MOST_SAMPLES = 10_000_000
"""Beyond this number nobody can be asked for samples."""


def is_beyond_noise(gain: Interval, smallest_db: float) -> bool:
    """Whether a gain is at least ``smallest_db``, and its interval does not reach down to nothing."""
    if gain.mean is None or gain.half_width is None:
        return False
    return gain.mean >= smallest_db and gain.mean - gain.half_width > 0.0


def wilson(hits: float, count: int) -> Bounds:
    """The proportion ``hits / count`` with its score interval.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). True to its
    95 % for small counts and for proportions near 0 and 1, where the normal interval has no width.
    """
    share, z2 = hits / count, Z_975 * Z_975
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_975 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return Bounds(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def paired_drop(lost: float, won: float, count: int) -> Bounds:
    """What a model loses against another on the same samples: ``lost`` are right in the other alone, ``won`` in this
    one alone, of ``count``.

    D. G. Bonett and R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data", J. Educ. Behav. Stat. 37 (2012): the normal interval with one sample added to either kind.
    """
    drop = (lost - won) / count
    p, q, size = (lost + 1) / (count + 2), (won + 1) / (count + 2), count + 2
    half = Z_975 * math.sqrt(max(p + q - (p - q) ** 2, 0.0) / size)
    return Bounds(drop, max(-1.0, min(p - q - half, drop)), min(1.0, max(p - q + half, drop)))


def samples_that_decide(bounds_at: Callable[[int], Bounds], limit: float, count: int) -> int | None:
    """The least number of samples, at the rates seen so far, whose bounds lie on one side of ``limit``.

    ``bounds_at`` gives the bounds that a number of samples would have. None where no number does: the figure is the
    limit itself.
    """

    def decides(size: int) -> bool:
        bounds = bounds_at(size)
        return bounds.high <= limit or bounds.low > limit

    low, high = count, max(count, 1)
    while not decides(high):
        low, high = high, high * 2
        if high > MOST_SAMPLES:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle + 1, high)
    return high
