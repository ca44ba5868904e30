"""Range search: against brute force, and the properties that every method has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calibrate.methods import METHODS
from engine.calibrate.observers import TensorStatistics
from engine.calibrate.ranges import (
    INT16_LEVELS,
    KlRange,
    MaxRange,
    MovingAverageRange,
    MseRange,
    PercentileRange,
    choose_scale,
)
from engine.calibrate.result import INT8_LEVELS, METHOD_NAMES
from engine.errors import CalibrationError, PlanError

COUNT = 200_000


def statistics_of(values: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics()
    statistics.update(values)
    return statistics


def quantisation_error(values: np.ndarray, threshold: float, level_count: int) -> float:
    scale = threshold / level_count
    levels = np.clip(np.round(values.astype(np.float64) / scale), -level_count, level_count)
    return float(np.mean((values - levels * scale) ** 2))


def samples(kind: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    values = {
        "normal": rng.standard_normal(COUNT),
        "laplace": rng.laplace(size=COUNT),
        "student": rng.standard_t(4, COUNT),
        "relu": np.maximum(rng.standard_normal(COUNT), 0),
        "relu6": np.clip(rng.standard_normal(COUNT) * 4, 0, 6),
        "uniform": rng.uniform(-1, 1, COUNT),
        "gelu-like": np.where(rng.random(COUNT) < 0.8, -0.17 * rng.random(COUNT), rng.gamma(1.0, 1.0, COUNT)),
        "outlier": np.append(rng.standard_normal(COUNT), 60.0),
    }
    return values[kind].astype(np.float32)


KINDS = ["normal", "laplace", "student", "relu", "relu6", "uniform", "gelu-like", "outlier"]


def test_registry_has_every_name_that_files_may_use() -> None:
    assert tuple(METHODS) == METHOD_NAMES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level_count", [INT8_LEVELS, INT16_LEVELS])
def test_mse_is_as_good_as_brute_force(kind: str, level_count: int) -> None:
    values = samples(kind)
    maximum = float(np.abs(values).max())
    found = quantisation_error(values, MseRange().threshold(statistics_of(values), level_count), level_count)
    best = min(
        quantisation_error(values, threshold, level_count) for threshold in maximum * np.geomspace(1, 0.05, 60)
    )
    assert found <= best * 1.03


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level_count", [INT8_LEVELS, INT16_LEVELS])
def test_mse_is_the_plain_search_to_the_bit(kind: str, level_count: int) -> None:
    statistics, method = statistics_of(samples(kind)), MseRange()
    histogram = statistics.histogram[: int(np.flatnonzero(statistics.histogram)[-1]) + 1]
    edges = np.arange(len(histogram) + 1) * statistics.bin_width
    edges[-1] = max(statistics.absolute_maximum, edges[-2] + statistics.bin_width / 1024)
    steps = -np.diff(histogram / np.diff(edges), prepend=0.0, append=0.0)

    def error(thresholds: np.ndarray) -> np.ndarray:
        scales = (thresholds / level_count)[:, None]
        levels = np.minimum(np.floor(edges / scales + 0.5), level_count)
        errors = edges - levels * scales
        return (levels * (scales * scales * scales / 12) + errors * errors * errors / 3) @ steps

    coarse = statistics.absolute_maximum * np.geomspace(1.0, method.smallest, method.coarse_steps)
    best = int(np.argmin(error(coarse)))
    around = coarse[min(best + 1, len(coarse) - 1)], coarse[max(best - 1, 0)]
    fine = np.append(np.linspace(*around, method.fine_steps), coarse[best])
    assert method.threshold(statistics, level_count) == fine[np.argmin(error(fine))]


@pytest.mark.parametrize("kind", KINDS)
def test_percentile_against_numpy(kind: str) -> None:
    values = samples(kind)
    statistics = statistics_of(values)
    for percentile in (90.0, 99.9, 99.99):
        below, above = (np.percentile(np.abs(values), percentile, method=m) for m in ("lower", "higher"))
        found = PercentileRange(percentile).threshold(statistics, INT8_LEVELS)
        assert below - statistics.bin_width <= found <= above + statistics.bin_width
    assert PercentileRange(100.0).threshold(statistics, INT8_LEVELS) == statistics.absolute_maximum


def test_kl_clips_a_long_thin_tail_and_nothing_of_a_uniform() -> None:
    rng = np.random.default_rng(3)
    tail = np.append(rng.standard_normal(COUNT), rng.uniform(20, 40, 20)).astype(np.float32)
    threshold = KlRange().threshold(statistics_of(tail), INT8_LEVELS)
    assert 3.0 < threshold < 15.0
    uniform = statistics_of(samples("uniform"))
    assert KlRange().threshold(uniform, INT8_LEVELS) > 0.95
    assert KlRange().threshold(statistics_of(tail), INT16_LEVELS) == pytest.approx(float(tail.max()))


def kl_by_the_book(histogram: np.ndarray, end: int, groups: int) -> float:
    """KL divergence of one clipping, written out bin by bin."""
    reference = histogram[:end].astype(np.float64)
    quantised = np.zeros(end)
    for group in range(groups):
        part = slice(group * end // groups, (group + 1) * end // groups)
        filled = reference[part] > 0
        if filled.any():
            quantised[part] = np.where(filled, reference[part].sum() / filled.sum(), 0.0)
    reference[-1] += histogram[end:].sum()
    p, q = reference / reference.sum(), quantised / quantised.sum()
    if np.any((p > 0) & (q == 0)):
        return float("inf")
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


@pytest.mark.parametrize("kind", KINDS)
def test_kl_against_the_definition(kind: str) -> None:
    statistics = statistics_of(samples(kind))
    used = int(np.flatnonzero(statistics.histogram)[-1]) + 1
    ends = np.arange(used, INT8_LEVELS + 1, -64)
    divergences = [kl_by_the_book(statistics.histogram[:used], int(end), INT8_LEVELS + 1) for end in ends]
    expected = min(float(ends[int(np.argmin(divergences))]) * statistics.bin_width, statistics.absolute_maximum)
    assert KlRange(stride=64).threshold(statistics, INT8_LEVELS) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=50),
    st.sampled_from([INT8_LEVELS, INT16_LEVELS]),
)
def test_thresholds_lie_within_the_data_and_scales_are_never_zero(numbers: list[float], level_count: int) -> None:
    statistics = statistics_of(np.array(numbers, np.float32))
    for method in METHODS.values():
        threshold = method().threshold(statistics, level_count)
        assert 0 <= threshold <= statistics.absolute_maximum
        assert (threshold == 0) == (statistics.absolute_maximum == 0)
        scale = choose_scale(statistics, method(), level_count)
        assert np.isfinite(np.float32(scale)) and np.float32(scale) > 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(50, 100), min_size=2, max_size=5), st.sampled_from(KINDS))
def test_percentile_is_monotone(percentiles: list[float], kind: str) -> None:
    statistics = STATISTICS[kind]
    found = [PercentileRange(p).threshold(statistics, INT8_LEVELS) for p in sorted(percentiles)]
    if kind not in ("relu",):  # where most values are zero, low percentiles say nothing and the maximum is taken
        assert found == sorted(found)


@settings(max_examples=25, deadline=None)
@given(st.integers(-40, 40), st.sampled_from(KINDS), st.sampled_from(list(METHODS)))
def test_scaling_the_data_by_a_power_of_two_scales_the_threshold(power: int, kind: str, name: str) -> None:
    method = METHODS[name]()
    scaled = statistics_of(samples(kind)[:20_000] * np.float32(2.0**power))
    plain = statistics_of(samples(kind)[:20_000])
    expected = method.threshold(plain, INT8_LEVELS) * 2.0**power
    assert method.threshold(scaled, INT8_LEVELS) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(KINDS), st.floats(1.0, 50.0))
def test_a_new_maximum_never_lowers_the_max_threshold(kind: str, factor: float) -> None:
    values = samples(kind)[:1000]
    grown = statistics_of(np.append(values, np.float32(np.abs(values).max() * factor)))
    before = MaxRange().threshold(statistics_of(values), INT8_LEVELS)
    assert MaxRange().threshold(grown, INT8_LEVELS) >= before


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("value", [3.0, -0.37, 1e-20, 1e30])
def test_constant_tensor_is_kept(name: str, value: float) -> None:
    statistics = statistics_of(np.full(1000, value, np.float32))
    threshold = METHODS[name]().threshold(statistics, INT8_LEVELS)
    assert threshold == pytest.approx(abs(np.float32(value)), rel=1e-6)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_zero_tensor_and_unseen_tensor(name: str) -> None:
    method = METHODS[name]()
    assert choose_scale(statistics_of(np.zeros(10, np.float32)), method, INT8_LEVELS) == 1 / 127
    with pytest.raises(CalibrationError, match="no value was observed"):
        choose_scale(TensorStatistics(), method, INT8_LEVELS)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_rare_values_among_zeros_are_kept(name: str) -> None:
    values = np.zeros(1_000_000, np.float32)
    values[::50_000] = 1.0
    assert METHODS[name]().threshold(statistics_of(values), INT8_LEVELS) == pytest.approx(1.0)


def test_one_odd_sample_hardly_moves_the_average() -> None:
    statistics = TensorStatistics()
    samples_of_one = np.random.default_rng(9).uniform(-1, 1, (30, 500)).astype(np.float32)
    samples_of_one[10] *= 50
    statistics.update(samples_of_one, 30)
    assert MaxRange().threshold(statistics, INT8_LEVELS) > 45
    assert 1 < MovingAverageRange().threshold(statistics, INT8_LEVELS) < 4


def test_options_are_checked() -> None:
    for percentile in (0.0, -1.0, 100.5, float("nan")):
        with pytest.raises(PlanError, match="percentile"):
            PercentileRange(percentile)


STATISTICS = {kind: statistics_of(samples(kind)) for kind in KINDS}
