"""What a verdict goes by: whether gains are beyond noise, and how many samples decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from engine.analyze.errors import interval_of
from engine.analyze.proportions import paired_drop
from engine.reports_advice import Bounds

RISK = 0.05
"""That any remedy that is offered gains nothing."""

MOST_SAMPLES = 10_000_000
"""Beyond this number nobody can be asked for samples."""


def student_tail(t: float, degrees: int) -> float:
    """The probability that Student's t with whole degrees of freedom is above ``t``.

    M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4: a finite sum, within 1e-15.
    """
    angle = math.atan2(abs(t), math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    first = degrees % 2
    term, total = (cosine if first else 1.0), 0.0
    for step in range(first + 2, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (step - 1) / step
    within = 2.0 / math.pi * (angle + sine * total) if first else sine * total
    tail = max(0.0, (1.0 - within) / 2.0)
    return tail if t >= 0.0 else 1.0 - tail


def chance_of(gains: Sequence[float]) -> float:
    """The probability of gains at least as large as these, sample by sample, where a plan gains nothing in the mean:
    Student's one-sided test. 1 for fewer than two samples, which prove nothing."""
    count = len(gains)
    if count < 2:
        return 1.0
    mean = math.fsum(gains) / count
    spread = math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / (count - 1))
    if spread == 0.0:
        return 0.0 if mean > 0.0 else 1.0
    return student_tail(mean * math.sqrt(count) / spread, count - 1)


def beyond_chance(chances: Sequence[float], risk: float = RISK) -> tuple[bool, ...]:
    """Which of several gains are not laid on chance, so that the risk of a single one among them that is, is ``risk``
    at the most.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6 (1979): the smallest of m
    probabilities must be within risk / m, the next within risk / (m - 1), and so on; whatever they have in common.
    """
    found = [False] * len(chances)
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[place] > risk / (len(chances) - rank):
            break
        found[place] = True
    return tuple(found)


def mean_change(before: Sequence[float], after: Sequence[float]) -> Bounds:
    """The mean change of a share (0 to 1) from sample to sample, with its 95 % interval: :func:`paired_drop` where each
    is all or nothing, Student's otherwise."""
    changes = [new - old for old, new in zip(before, after, strict=True)]
    if all(value in (0.0, 1.0) for value in (*before, *after)):
        drop = paired_drop(changes.count(-1.0), changes.count(1.0), len(changes))
        return Bounds(0.0 - drop.value, -drop.high, -drop.low)  # no change has no sign
    found = interval_of(changes)
    mean, half = found.mean or 0.0, 1.0 if found.half_width is None else found.half_width
    return Bounds(mean, max(-1.0, mean - half), min(1.0, mean + half))


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
