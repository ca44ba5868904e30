"""Weight scales: none has a larger error than the largest weight's, and those that are chosen have the least."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.quantise.step import Work
from engine.quantise.weights import LEVELS, WeightScales, best_scales
from engine.session import Session

Floats = NDArray[np.float64]


def error(weight: Floats, scale: float, importance: Floats) -> float:
    rounded = np.clip(np.rint(weight / scale), -LEVELS, LEVELS) * scale
    return float((importance * (weight - rounded) ** 2).sum())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 4), inputs=st.integers(1, 60), tail=st.floats(0.5, 8.0))
def test_no_row_is_worse_than_unclipped(seed: int, rows: int, inputs: int, tail: float) -> None:
    rng = np.random.default_rng(seed)
    weight = np.sign(rng.normal(size=(rows, inputs))) * np.abs(rng.normal(size=(rows, inputs))) ** tail
    importance = rng.uniform(0.0, 1.0, (1, inputs)) ** 4
    found = best_scales(weight, importance)
    for row in range(rows if found is not None else 0):
        assert found is not None
        whole = np.abs(weight[row]).max() / LEVELS
        assert error(weight[row], found[row], importance[0]) <= error(weight[row], whole, importance[0])


def test_an_outlier_that_nothing_multiplies_is_clipped() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(1, 400))
    weight[0, 0] = 7.0
    importance = np.ones((1, 400))
    importance[0, 0] = 1e-9
    found = best_scales(weight, importance)
    assert found is not None and found[0] <= 0.55 * 7.0 / LEVELS
    assert best_scales(np.array([[1.0, -1.0]]), np.ones((1, 2))) is None


def test_the_program_takes_the_scales(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    plan = WeightScales()(session, Work(tuple(session.samples(4))))
    scales = session.corrections.get(plan.corrections[0]).weight_scales
    assert scales
    assert session.with_plan(plan).program().instructions != session.program().instructions
    again = WeightScales()(session.with_plan(plan), Work(tuple(session.samples(4))))
    if again.corrections != plan.corrections:
        assert not scales.keys() & session.corrections.get(again.corrections[-1]).weight_scales.keys()
