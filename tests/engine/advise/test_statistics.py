"""Intervals that verdicts go by: known values, and what must hold for every count."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from engine.advise.statistics import (
    RISK,
    beyond_chance,
    chance_of,
    mean_change,
    samples_that_decide,
    student_tail,
)
from engine.analyze.proportions import paired_drop, wilson
from engine.reports_advice import Bounds


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


@given(st.floats(-20.0, 20.0), st.integers(1, 40))
def test_students_tail_is_that_of_the_quantiles(t: float, degrees: int) -> None:
    """scipy.stats has it by another formula."""
    assert student_tail(t, degrees) == pytest.approx(scipy.stats.t.sf(t, degrees), abs=1e-14)


def test_the_chance_of_gains() -> None:
    """Mean 2, standard deviation 1, four samples: t = 4 with three degrees of freedom."""
    gains = [2.0 - math.sqrt(1.5), 2.0, 2.0, 2.0 + math.sqrt(1.5)]
    assert chance_of(gains) == pytest.approx(scipy.stats.t.sf(4.0, 3))
    assert chance_of([-gain for gain in gains]) == pytest.approx(scipy.stats.t.cdf(4.0, 3))
    assert chance_of([3.0]) == chance_of([]) == 1.0, "one sample proves nothing"
    assert chance_of([0.0, 0.0, 0.0]) == 1.0
    assert chance_of([1.0, 1.0]) == 0.0


def test_of_many_gains_the_best_must_be_surer() -> None:
    assert beyond_chance((0.01, 0.02, 0.03), 0.05) == (True, True, True)
    assert beyond_chance((0.02, 0.03, 0.04), 0.05) == (False, False, False)
    assert beyond_chance((0.5, 0.01, 0.026), 0.05) == (False, True, False)
    assert beyond_chance(()) == ()


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60))
def test_what_is_offered_among_many_is_offered_among_few(chances: list[float]) -> None:
    """Holm is between Bonferroni, which it never offers less than, and no correction at all."""
    found = beyond_chance(chances)
    for chance, is_sure in zip(chances, found, strict=True):
        assert is_sure or chance > RISK / len(chances)
        assert not is_sure or chance <= RISK
    fewer = beyond_chance(chances[:-1])
    assert all(is_sure or not was_sure for is_sure, was_sure in zip(fewer, found[:-1], strict=True))


def test_where_nothing_gains_nothing_is_offered() -> None:
    """Sixty plans that change the error at random, 12 samples each, 2,000 times: in 5 % of them something is offered at
    the most, where the best of the sixty by itself would be offered nearly always."""
    generator = np.random.default_rng(5)
    wrong = alone = 0
    for _ in range(2000):
        chances = [chance_of(row) for row in generator.normal(0.0, 0.4, (60, 12)).tolist()]
        wrong += any(beyond_chance(chances))
        alone += min(chances) <= RISK
    assert wrong / 2000 <= RISK + 3 * math.sqrt(RISK * (1 - RISK) / 2000)
    assert alone / 2000 > 0.9


def test_changes_of_shares() -> None:
    change = mean_change((0.0, 0.0, 1.0, 1.0), (1.0, 1.0, 1.0, 0.0))
    drop = paired_drop(1, 2, 4)
    assert (change.value, change.low, change.high) == (0.25, -drop.high, -drop.low)
    parts = mean_change((0.2, 0.4, 0.6), (0.3, 0.5, 0.7))
    assert (parts.value, parts.low, parts.high) == (pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    one = mean_change((0.5,), (0.6,))
    assert (one.low, one.high) == (-0.9, 1.0)
    assert math.copysign(1.0, mean_change((1.0, 0.0), (1.0, 0.0)).value) == 1.0
