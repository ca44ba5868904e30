"""Statistics in one pass: against numpy, in any order and any pieces."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.calibrate.observers import BIN_COUNT, MOVING_SAMPLES, NotFiniteError, TensorStatistics

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def statistics_of(*arrays: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics()
    for array in arrays:
        statistics.update(array)
    return statistics


def expected_histogram(values: np.ndarray, exponent: int) -> np.ndarray:
    magnitudes = np.abs(values[values != 0].astype(np.float64))
    bins = np.floor(np.ldexp(magnitudes, 11 - exponent)).astype(np.int64)
    return np.bincount(bins, minlength=BIN_COUNT)


@given(hnp.arrays(np.float32, st.integers(1, 200), elements=FINITE))
def test_against_numpy(values: np.ndarray) -> None:
    statistics = statistics_of(values)
    assert statistics.count == values.size
    assert statistics.minimum == values.min() and statistics.maximum == values.max()
    assert statistics.absolute_maximum == np.abs(values).max()
    assert statistics.zero_count == np.sum(values == 0)
    # the smallest power of two above all magnitudes, but at least 2**-100
    largest = float(np.abs(values).max())
    assert statistics.exponent == max(math.frexp(largest)[1], -100) if largest else -100
    np.testing.assert_array_equal(statistics.histogram, expected_histogram(values, statistics.exponent))


@given(
    hnp.arrays(np.float32, st.integers(2, 200), elements=FINITE),
    st.lists(st.integers(0, 200), max_size=5),
    st.randoms(use_true_random=False),
)
def test_pieces_and_order_do_not_matter(values: np.ndarray, cuts: list[int], random: object) -> None:
    whole = statistics_of(values)
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    pieces = np.split(shuffled, sorted(min(cut, values.size) for cut in cuts))
    streamed = statistics_of(*pieces)
    merged = TensorStatistics()
    for piece in pieces:
        merged.merge(statistics_of(piece))
    for other in (streamed, merged):
        assert (other.minimum, other.maximum, other.count) == (whole.minimum, whole.maximum, whole.count)
        assert (other.exponent, other.zero_count) == (whole.exponent, whole.zero_count)
        np.testing.assert_array_equal(other.histogram, whole.histogram)


def test_many_blocks_with_a_growing_range() -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(100_003) * np.geomspace(1e-6, 1e6, 100_003)).astype(np.float32)
    statistics = statistics_of(values)
    np.testing.assert_array_equal(statistics.histogram, expected_histogram(values, statistics.exponent))
    assert statistics.histogram.sum() + statistics.zero_count == values.size


def test_any_layout_and_float_type() -> None:
    base = np.random.default_rng(1).standard_normal((4, 6, 10))
    expected = statistics_of(base.astype(np.float32))
    for array in (base, base.T, np.asfortranarray(base), base.astype(np.float32).transpose(1, 2, 0)):
        np.testing.assert_array_equal(statistics_of(array).histogram, expected.histogram)
    strided = base.astype(np.float32)[:, ::2, ::-3]
    np.testing.assert_array_equal(statistics_of(strided).histogram, statistics_of(strided.copy()).histogram)
    assert statistics_of(base.astype(np.float16)).count == base.size
    assert statistics_of(np.array(3.0, np.float32)).maximum == 3.0
    assert statistics_of(np.zeros((0, 3), np.float32)).count == 0


def test_read_only_values() -> None:
    values = np.ones(10, np.float32)
    values.flags.writeable = False
    assert statistics_of(values).count == 10


@pytest.mark.parametrize("wrong", [np.nan, -np.nan, np.inf, -np.inf])
def test_not_finite(wrong: float) -> None:
    values = np.random.default_rng(2).standard_normal(50_000).astype(np.float32)
    values[33_333:] = wrong
    with pytest.raises(NotFiniteError) as caught:
        statistics_of(values)
    assert caught.value.element == 33_333


def test_values_that_are_not_finite_leave_no_trace() -> None:
    values = np.random.default_rng(2).standard_normal(50_000).astype(np.float32)
    statistics, wrong = statistics_of(values), values * 1e6
    wrong[33_333] = np.nan
    with pytest.raises(NotFiniteError):
        statistics.update(wrong)
    same = statistics_of(values)
    assert (statistics.histogram == same.histogram).all()
    assert (statistics.count, statistics.maximum) == (same.count, same.maximum)


def test_float64_beyond_float32_is_not_finite() -> None:
    with pytest.raises(NotFiniteError):
        statistics_of(np.array([1.0, 1e300]))


def test_memory_does_not_grow_with_the_values() -> None:
    values = np.random.default_rng(3).standard_normal(200_000).astype(np.float32)
    statistics = statistics_of(values)
    tracemalloc.start()
    try:
        statistics.update(values)
        first, _ = tracemalloc.get_traced_memory()
        for scale in range(2, 30):
            statistics.update(values)
            statistics.update(values[:1000] * np.float32(2.0**scale))
        last, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last - first < 4_000
    assert peak - first < 100_000  # less than one copy of the values


@given(hnp.arrays(np.float32, st.integers(1, 200), elements=FINITE))
def test_signs_are_told_apart(values: np.ndarray) -> None:
    statistics, plain = TensorStatistics(signed=True), statistics_of(values)
    statistics.update(values)
    np.testing.assert_array_equal(statistics.histogram, plain.histogram)
    negatives = expected_histogram(values[values < 0], statistics.exponent)
    np.testing.assert_array_equal(statistics.negatives, negatives)


@pytest.mark.parametrize("cuts", [(), (3,), (1, 2, 7)])
def test_moving_average_is_one_of_samples_however_they_are_batched(cuts: tuple[int, ...]) -> None:
    samples = np.random.default_rng(2).standard_normal((40, 6, 7)).astype(np.float32)
    samples[25] *= 100
    batches = np.split(samples, cuts)
    statistics = TensorStatistics()
    for batch in batches:
        statistics.update(batch, len(batch))
    expected = 0.0
    for done, sample in enumerate(samples, start=1):
        expected += (float(np.abs(sample).max()) - expected) / min(done, MOVING_SAMPLES)
    assert statistics.samples == 40
    assert math.isclose(statistics.moving_maximum, expected, rel_tol=1e-9)
    assert statistics.moving_maximum < statistics.absolute_maximum / 10


def test_what_is_no_row_of_samples_counts_as_one() -> None:
    statistics = TensorStatistics()
    statistics.update(np.arange(12, dtype=np.float32).reshape(3, 4), 2)  # 3 rows are not 2 samples
    statistics.update(np.arange(12, dtype=np.float32).reshape(4, 3).T, 3)  # samples do not lie behind each other
    statistics.update(np.float32(4), 2)
    assert statistics.samples == 3
    assert math.isclose(statistics.moving_maximum, (11 + 11 + 4) / 3)


@pytest.mark.parametrize("signed", [False, True])
def test_passing_over_values_keeps_the_extrema_and_the_distribution(signed: bool) -> None:
    values = np.random.default_rng(5).laplace(size=500_000).astype(np.float32)
    values[1], values[2] = 41.0, -33.0  # neither is among those that are counted
    sparse, full = TensorStatistics(signed=signed, every=11), TensorStatistics(signed=signed)
    for statistics in (sparse, full):
        statistics.update(values)
    assert (sparse.minimum, sparse.maximum, sparse.exponent) == (full.minimum, full.maximum, full.exponent)
    assert sparse.moving_maximum == full.moving_maximum
    assert sparse.count == sparse.histogram.sum() + sparse.zero_count
    assert values.size / 11 <= sparse.count < values.size / 11 + 100
    shares = [np.cumsum(s.histogram) / s.histogram.sum() for s in (sparse, full)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01
    small = TensorStatistics(every=11)
    small.update(values[:1000])
    assert small.count == 1000
