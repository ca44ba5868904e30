"""Ranges judged behind the functions that read a tensor."""

from __future__ import annotations

import numpy as np
import pytest

from engine.calibrate.observers import TensorStatistics
from engine.calibrate.ranges import MseRange
from engine.calibrate.result import INT8_LEVELS
from engine.calibrate.table_range import Function, TableRange
from engine.ops.elementwise import Exp, Gelu, HardSwish, Log, Sigmoid, Tanh, Unary
from engine.ops.float_kernels.functions import function_of


def statistics_of(values: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics(signed=True)
    statistics.update(values)
    return statistics


def error_behind(function: Function, values: np.ndarray, threshold: float) -> float:
    scale = threshold / INT8_LEVELS
    levels = np.clip(np.rint(values.astype(np.float64) / scale), -INT8_LEVELS, INT8_LEVELS)
    return float(np.mean((function(levels * scale) - function(values.astype(np.float64))) ** 2))


@pytest.mark.parametrize("op", [Sigmoid(), HardSwish(), Gelu(), Tanh()])
def test_near_the_least_error_behind_a_function(op: Unary) -> None:
    values = (np.random.default_rng(1).standard_normal(20_000) * 6 - 4).astype(np.float32)
    function = function_of((op,))
    statistics = statistics_of(values)
    found = TableRange((function,)).threshold(statistics, INT8_LEVELS)
    best = min(error_behind(function, values, t) for t in statistics.absolute_maximum * np.geomspace(1, 0.02, 40))
    assert error_behind(function, values, found) <= best * 1.05
    by_mse = MseRange().threshold(statistics, INT8_LEVELS)
    assert error_behind(function, values, found) <= error_behind(function, values, by_mse) * 1.001


def test_the_flat_side_of_a_function_is_clipped() -> None:
    values = np.random.default_rng(2).uniform(-40, 3, 20_000).astype(np.float32)
    statistics = statistics_of(values)
    assert MseRange().threshold(statistics, INT8_LEVELS) > 35
    assert TableRange((function_of((HardSwish(),)),)).threshold(statistics, INT8_LEVELS) < 5


def test_other_readers_keep_the_range() -> None:
    values = np.random.default_rng(2).uniform(-40, 3, 20_000).astype(np.float32)
    statistics = statistics_of(values)
    both = TableRange((function_of((HardSwish(),)), lambda x: x)).threshold(statistics, INT8_LEVELS)
    alone = TableRange((function_of((HardSwish(),)),)).threshold(statistics, INT8_LEVELS)
    assert alone < both <= 40


def test_infinite_function_values_do_not_count() -> None:
    values = np.abs(np.random.default_rng(3).standard_normal(10_000)).astype(np.float32)
    threshold = TableRange((function_of((Log(),)),)).threshold(statistics_of(values), INT8_LEVELS)
    assert 0 < threshold <= values.max()
    large = statistics_of(values * np.float32(1000))
    assert 0 < TableRange((function_of((Exp(),)),)).threshold(large, INT8_LEVELS) <= large.absolute_maximum


def test_without_functions_or_signs_it_is_the_mean_squared_error() -> None:
    values = np.random.default_rng(4).laplace(size=20_000).astype(np.float32)
    plain = TensorStatistics()
    plain.update(values)
    expected = MseRange().threshold(plain, INT8_LEVELS)
    assert TableRange((function_of((Sigmoid(),)),)).threshold(plain, INT8_LEVELS) == expected
    assert TableRange().threshold(statistics_of(values), INT8_LEVELS) == expected
    assert TableRange((function_of((Sigmoid(),)),)).threshold(statistics_of(np.zeros(4)), INT8_LEVELS) == 0.0
