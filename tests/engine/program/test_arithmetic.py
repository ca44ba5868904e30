"""Requantisation pinned by literals, and the properties that everything else relies on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.program.arithmetic import (
    accumulator_bound,
    apply_scaling,
    leading_zeros,
    look_up,
    rounding_shift,
    scaling_for,
)
from engine.program.types import Scaling


@pytest.mark.parametrize(
    ("factor", "multiplier", "shift"),
    [
        (1.0, 1 << 30, 30),
        (0.5, 1 << 30, 31),
        (2.0, 1 << 30, 29),
        (0.75, 1610612736, 31),
        (0.1, 1717986918, 34),
        (0.0012345, 1357347104, 40),
        (1 / 3, 1431655765, 32),
        (2.0**28 * 1.5, 1610612736, 2),
        (2.0**-32, 1 << 30, 62),
        (1 - 2.0**-40, 1 << 30, 30),
        (0.0, 0, 31),
        (2.0**-33, 0, 31),
    ],
)
def test_multiplier_and_shift(factor: float, multiplier: int, shift: int) -> None:
    scaling = scaling_for(factor)
    assert (scaling.multiplier.tolist(), scaling.shift.tolist()) == ([multiplier], [shift])
    assert (scaling.multiplier.dtype, scaling.shift.dtype) == (np.int32, np.int8)
    assert not scaling.multiplier.flags.writeable


@pytest.mark.parametrize(
    ("factor", "multiplier", "shift"),
    [(1.0, 1 << 14, 14), (0.1, 26214, 18), (1 - 2.0**-20, 1 << 14, 14), (2.0**-48, 1 << 14, 62), (2.0**-50, 0, 15)],
)
def test_multiplier_for_wide_accumulators(factor: float, multiplier: int, shift: int) -> None:
    scaling = scaling_for(factor, wide=True)
    assert (scaling.multiplier.tolist(), scaling.shift.tolist()) == ([multiplier], [shift])


@pytest.mark.parametrize("factor", [-1.0, float("nan"), float("inf"), 2.0**29])
def test_factors_that_cannot_be_expressed(factor: float) -> None:
    with pytest.raises(ValueError, match="factor"):
        scaling_for(factor)


@given(st.floats(2.0**-31, 2.0**28))
def test_scaling_is_close_to_its_factor(factor: float) -> None:
    narrow, wide = scaling_for(factor), scaling_for(min(factor, 1000.0), wide=True)
    assert (1 << 30) <= narrow.multiplier[0] < (1 << 31)
    assert narrow.multiplier[0] * 2.0 ** -int(narrow.shift[0]) == pytest.approx(factor, rel=2.0**-31)
    assert wide.multiplier[0] * 2.0 ** -int(wide.shift[0]) == pytest.approx(min(factor, 1000.0), rel=2.0**-15)


def test_one_factor_per_channel() -> None:
    scaling = scaling_for([0.5, 0.25])
    x = np.array([[10, 10], [3, 3], [-3, -3]])
    assert apply_scaling(x, scaling).tolist() == [[5, 3], [2, 1], [-1, -1]]
    assert apply_scaling(x.T, scaling, channel_axis=0).tolist() == [[5, 2, -1], [3, 1, -1]]


@pytest.mark.parametrize(
    ("value", "factor", "result"),
    [(1, 0.5, 1), (-1, 0.5, 0), (3, 0.5, 2), (-3, 0.5, -1), (5, 0.5, 3), (-5, 0.5, -2), (2**31 - 1, 1.0, 2**31 - 1),
     (-(2**31), 1.0, -(2**31)), (1000, 0.0012345, 1), (123456, 0.0012345, 152), (-123456, 0.0012345, -152)],
)  # fmt: skip
def test_halves_round_upwards(value: int, factor: float, result: int) -> None:
    assert apply_scaling(np.array([value]), scaling_for(factor)).tolist() == [result]


@given(st.integers(-(2**31), 2**31 - 1), st.integers(1 << 30, (1 << 31) - 1), st.integers(2, 62))
def test_apply_scaling_against_unbounded_integers(value: int, multiplier: int, shift: int) -> None:
    scaling = Scaling(np.array([multiplier], np.int32), np.array([shift], np.int8))
    exact = (value * multiplier + (1 << (shift - 1))) >> shift
    assert int(apply_scaling(np.array([value]), scaling)[0]) == exact


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 31))
def test_rounding_shift(value: int, count: int) -> None:
    exact = (value + ((1 << count) >> 1)) >> count
    assert int(rounding_shift(np.array([value]), count)[0]) == exact


def test_leading_zeros() -> None:
    values = np.array([0, 1, 2, 3, 2**30 - 1, 2**30, 2**31 - 1])
    assert leading_zeros(values).tolist() == [32, 31, 30, 30, 2, 1, 1]


def test_interpolated_look_up() -> None:
    table = np.arange(513, dtype=np.int16) * 3 - 700
    places = np.array([-32768, -32767, 0, 127, 128, 32767])
    assert look_up(table, places).tolist() == [-89600, -89597, 8704, 9085, 9088, 107005]


def test_accumulator_bound() -> None:
    weight = np.array([[[1, -2]], [[127, 127]]], np.int8)
    assert accumulator_bound(weight, np.array([-5, 0]), 127).tolist() == [386, 32258]
    assert accumulator_bound(weight, np.array([1, 0]), 32767, channel_axis=2).tolist() == [32767 * 128 + 1, 32767 * 129]
