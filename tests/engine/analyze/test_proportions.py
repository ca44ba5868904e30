"""Confidence intervals: known values, and what must hold for every count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analyze.proportions import decibels, paired_drop, wilson

COUNTS = st.integers(1, 2000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count)))


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (263, 270, 0.9475, 0.9874)]
)
def test_wilson_has_the_published_bounds(hits: int, count: int, low: float, high: float) -> None:
    bounds = wilson(hits, count)
    assert bounds.value == hits / count
    assert (bounds.low, bounds.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


@given(COUNTS)
def test_wilson_holds_the_proportion_and_mirrors(drawn: tuple[int, int]) -> None:
    hits, count = drawn
    bounds, other = wilson(hits, count), wilson(count - hits, count)
    assert 0.0 <= bounds.low <= bounds.value <= bounds.high <= 1.0
    assert bounds.high > bounds.low
    assert bounds.low == pytest.approx(1.0 - other.high, abs=1e-12)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(100, 3000))
def test_paired_drop_holds_the_drop_and_narrows(lost: int, won: int, count: int) -> None:
    bounds, more = paired_drop(lost, won, count), paired_drop(4 * lost, 4 * won, 4 * count)
    assert bounds.value == pytest.approx((lost - won) / count)
    assert -1.0 <= bounds.low <= bounds.value <= bounds.high <= 1.0
    assert more.high - more.low < bounds.high - bounds.low
    mirrored = paired_drop(won, lost, count)
    assert (mirrored.low, mirrored.high) == (pytest.approx(-bounds.high), pytest.approx(-bounds.low))


def test_paired_drop_is_the_adjusted_interval() -> None:
    """Ten of 100 lost and four won: p = 11/102, q = 5/102."""
    p, q = 11 / 102, 5 / 102
    half = 1.959964 * math.sqrt((p + q - (p - q) ** 2) / 102)
    bounds = paired_drop(10, 4, 100)
    assert (bounds.low, bounds.high) == (pytest.approx(p - q - half), pytest.approx(p - q + half))


def test_decibels_hold_the_ratio_as_often_as_they_say() -> None:
    """Signals and noises that go together: of 400 draws of 200 samples, some 380 intervals hold the ratio of means."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        signal = rng.gamma(4.0, size=200)
        noise = signal * rng.gamma(2.0, size=200) / 200.0
        bounds = decibels(signal.tolist(), noise.tolist())
        assert bounds is not None and bounds.value == pytest.approx(10 * math.log10(signal.sum() / noise.sum()))
        held += bounds.low <= 20.0 <= bounds.high  # the means are 4 and 4 * 2 / 200
    assert 365 <= held <= 395


def test_decibels_without_a_signal_or_an_error_are_none() -> None:
    assert decibels([1.0, 2.0], [0.0, 0.0]) is None
    assert decibels([0.0, 0.0], [1.0, 2.0]) is None
    assert decibels([1.0], [0.1]) is not None
