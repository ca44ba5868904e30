"""Counting differences: what counts as one, and what is tolerated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.verify.tally import Difference, Measure, Tally, exact, relative, steps

FLOATS = arrays.arrays(np.float32, arrays.array_shapes(max_dims=3), elements=st.floats(width=32))
INTEGERS = arrays.arrays(np.int8, 12)


@given(FLOATS)
@pytest.mark.parametrize("measure", [exact, relative])
def test_an_array_is_itself(measure: Measure, x: np.ndarray) -> None:
    """NaN and infinities included."""
    assert measure(x, x.copy()) == Difference(0, 0, 0.0)


@given(INTEGERS, INTEGERS)
def test_steps_are_counted_without_wrapping(x: np.ndarray, y: np.ndarray) -> None:
    distances = [abs(int(a) - int(b)) for a, b in zip(x, y, strict=True)]
    for tolerated in (1, 16):
        beyond = sum(distance > tolerated for distance in distances)
        assert steps(tolerated)(x, y) == Difference(sum(d > 0 for d in distances), beyond, max(distances))


@given(INTEGERS, INTEGERS)
def test_exact_tolerates_nothing(x: np.ndarray, y: np.ndarray) -> None:
    found = exact(x, y)
    assert found.differing == found.beyond == (x != y).sum()
    assert found.worst == np.abs(x.astype(int) - y).max()


def test_floats_are_tolerated_as_a_whole() -> None:
    """1000 elements of 1 and -inf: an error of e in one of them lies 30 dB - 20 log10(e) below the value."""
    wanted = np.append(np.ones(1000, np.float32), np.float32(-np.inf))
    for error, differing in ((0.03, 0), (0.04, 1)):
        found = wanted.copy()
        found[3] += error
        result = relative(found, wanted)
        assert (result.differing, result.beyond) == (differing, differing)
        assert result.worst == pytest.approx(error, rel=1e-4)
    assert relative(np.full(3, 1e-9), np.zeros(3)) == Difference(3, 3, 1e-9)


@pytest.mark.parametrize("other", [np.nan, -np.inf, 1.0])
def test_no_number_is_near_an_infinity(other: float) -> None:
    assert relative(np.array([other]), np.array([np.inf])) == Difference(1, 1, math.inf)
    assert relative(np.array([np.inf]), np.array([other])).beyond == 1


def test_indices_must_be_equal() -> None:
    assert relative(np.array([3, 4]), np.array([3, 5])) == Difference(1, 1, 1.0)
    assert relative(np.array([True]), np.array([False])) == Difference(1, 1, 1.0)


def test_a_tally_adds_up_and_names_the_first_beyond_the_tolerance() -> None:
    tally = Tally(steps(1))
    ones = np.ones(4, np.int8)
    for value, shift in (("a", 0), ("b", 1), ("c", 2), ("a", 0)):
        tally.add(value, ones + np.int8(shift), ones)
    assert (tally.elements, tally.differing, tally.beyond, tally.worst) == (16, 8, 4, 2.0)
    assert tally.first() == "c"
    assert tally.sqnr_db == pytest.approx(10 * math.log10(16 / (4 + 16)))
    assert list(tally.values) == ["a", "b", "c"]


def test_another_type_or_shape_differs_everywhere() -> None:
    tally = Tally(exact)
    tally.add("x", np.zeros(3, np.int16), np.zeros(3, np.int8))
    tally.add("y", np.zeros((1, 3), np.int8), np.zeros(3, np.int8))
    assert [count.beyond for count in tally.values.values()] == [3, 3]
    assert tally.sqnr_db == math.inf
    assert Tally(exact).first() == ""
