"""Intervals that verdicts go by: known values, and what must hold for every count."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.advise.statistics import is_beyond_noise, paired_drop, samples_that_decide, wilson
from engine.reports import Interval
from engine.reports_advice import Bounds

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


def test_how_many_samples_decide() -> None:
    """Without a loss, Wilson's upper bound z2 / (n + z2) reaches 0.5 % at n = 199 z2 = 764.5 samples."""
    assert samples_that_decide(lambda size: wilson(0.0, size), 0.005, 64) == 765
    assert samples_that_decide(lambda size: wilson(0.0, size), 0.005, 1000) == 1000, "it is decided already"
    assert samples_that_decide(lambda size: Bounds(0.5, 0.4, 0.6), 0.5, 10) is None


@given(st.floats(0.0, 0.2), st.floats(0.001, 0.2), st.integers(1, 300))
def test_as_many_decide_and_fewer_do_not(rate: float, limit: float, count: int) -> None:
    needed = samples_that_decide(lambda size: wilson(rate * size, size), limit, count)
    if needed is None:
        assert rate == pytest.approx(limit, rel=2e-2)
        return
    bounds = wilson(rate * needed, needed)
    assert bounds.high <= limit or bounds.low > limit
    if needed > count:
        fewer = wilson(rate * (needed - 1), needed - 1)
        assert fewer.high > limit >= fewer.low


def test_what_is_beyond_noise() -> None:
    assert is_beyond_noise(Interval(1.0, 0.9), 0.1)
    assert not is_beyond_noise(Interval(1.0, 1.1), 0.1)
    assert not is_beyond_noise(Interval(0.05, 0.01), 0.1), "sure, and not worth a row"
    assert not is_beyond_noise(Interval(1.0), 0.1), "one sample proves nothing"
