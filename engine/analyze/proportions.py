"""Confidence intervals of proportions, of differences of paired ones, and of ratios of sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.reports_advice import Bounds

Z_975 = 1.959964
"""Quantile of the normal distribution that leaves 2.5 % on each side."""


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


def decibels(signal: Sequence[float], noise: Sequence[float]) -> Bounds | None:
    """``10 log10(sum(signal) / sum(noise))`` of samples, by its first derivative (the delta method); None where either
    sum is 0.
    """
    power, error = np.asarray(signal, np.float64), np.asarray(noise, np.float64)
    if not power.sum() or not error.sum():
        return None
    value = 10.0 * math.log10(power.sum() / error.sum())
    if len(power) < 2:
        return Bounds(value, -math.inf, math.inf)
    shares = power / power.mean() - error / error.mean()
    half = Z_975 * 10.0 / math.log(10.0) * float(shares.std(ddof=1)) / math.sqrt(len(power))
    return Bounds(value, value - half, value + half)
