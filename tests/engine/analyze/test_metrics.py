"""Sums and metrics against numpy's formulas, whatever the memory layout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.analyze.errors import interval_of
from engine.analyze.metrics import ErrorSums, error_sums

SHAPES = ((7,), (3, 5), (2, 3, 4, 5), (1, 64, 33, 31), (2, 0, 3, 3), ())


def tensors(seed: int, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, float]:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(shape, generator=generator)
    scale = 3.0 / 127 if dtype is not torch.float32 else 1.0
    value = reference + 0.1 * torch.randn(shape, generator=generator)
    return reference, value if dtype is torch.float32 else (value / scale).round().clamp(-127, 127).to(dtype), scale


def arranged(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    """The same elements in another order of memory."""
    if layout == "last" and tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "transposed" and tensor.dim() > 1:
        return tensor.transpose(0, 1).contiguous().transpose(0, 1)
    if layout == "part" and tensor.dim():
        wide = torch.zeros((*tensor.shape[:-1], tensor.shape[-1] + 3), dtype=tensor.dtype)
        wide[..., 1 : 1 + tensor.shape[-1]] = tensor
        return wide[..., 1 : 1 + tensor.shape[-1]]
    return tensor


layouts = st.sampled_from(("first", "last", "transposed", "part"))


@given(
    st.integers(0, 1000),
    st.sampled_from(SHAPES),
    st.sampled_from((torch.int8, torch.int16, torch.float32)),
    layouts,
    layouts,
)
def test_metrics_are_numpys(seed: int, shape: tuple[int, ...], dtype: torch.dtype, one: str, other: str) -> None:
    reference, value, scale = tensors(seed, shape, dtype)
    sums = error_sums(arranged(reference, one), arranged(value, other), scale)
    r, v = reference.double().numpy(), value.double().numpy() * scale
    assert sums.count == r.size
    if not r.size:
        assert (sums.mse, sums.max_abs, sums.cosine, sums.sqnr_db) == (0.0, 0.0, 1.0, math.inf)
        return
    assert sums.mse == pytest.approx(((r - v) ** 2).mean(), rel=1e-4)
    assert sums.max_abs == pytest.approx(np.abs(r - v).max(), rel=1e-4)
    assert sums.cosine == pytest.approx((r * v).sum() / np.sqrt((r**2).sum() * (v**2).sum()), rel=1e-4)
    assert sums.sqnr_db == pytest.approx(10 * np.log10((r**2).sum() / ((r - v) ** 2).sum()), abs=1e-3)


@given(st.integers(0, 1000), st.integers(1, 400))
def test_sums_of_parts_are_the_sums_of_the_whole(seed: int, cut: int) -> None:
    reference, value, scale = tensors(seed, (401, 3), torch.int8)
    whole = error_sums(reference, value, scale)
    parts = error_sums(reference[:cut], value[:cut], scale) + error_sums(reference[cut:], value[cut:], scale)
    assert (parts.count, parts.max_abs) == (whole.count, whole.max_abs)
    assert parts.error_squared == pytest.approx(whole.error_squared, rel=1e-5)
    assert parts.product == pytest.approx(whole.product, rel=1e-5)


def test_sums_over_many_elements_keep_their_precision() -> None:
    reference = torch.full((3_000_000,), 0.1)
    sums = error_sums(reference, torch.zeros(3_000_000), 1.0)
    assert sums.reference_squared == pytest.approx(3_000_000 * float(np.float32(0.1)) ** 2, rel=1e-4)


def test_exact_and_vanished_values() -> None:
    ones, zeros = torch.ones(4), torch.zeros(4)
    exact = error_sums(ones, ones, 1.0)
    assert (exact.sqnr_db, exact.mse, exact.cosine) == (math.inf, 0.0, 1.0)
    vanished = error_sums(zeros, ones, 1.0)
    assert (vanished.sqnr_db, vanished.cosine) == (-math.inf, 0.0)
    assert error_sums(zeros, zeros, 1.0).cosine == 1.0


def test_scaled_sums() -> None:
    sums = ErrorSums(2, 1.0, 4.0, 9.0, 6.0, 0.5).scaled(-2.0)
    assert sums == ErrorSums(2, 4.0, 16.0, 36.0, 24.0, 1.0)


def test_intervals() -> None:
    assert interval_of([]).mean is None
    assert interval_of([math.inf, -math.inf]).mean is None
    one = interval_of([3.0, math.inf])
    assert (one.mean, one.half_width) == (3.0, None)
    # mean 2, deviation 1, t(2 degrees) = 4.303
    three = interval_of([1.0, 2.0, 3.0])
    assert three.mean == 2.0
    assert three.half_width == pytest.approx(4.303 / math.sqrt(3), rel=1e-6)
    many = interval_of([float(i % 2) for i in range(100)])
    assert many.half_width == pytest.approx(1.96 * np.std([0, 1] * 50, ddof=1) / 10, rel=1e-6)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40))
def test_intervals_are_student_t(values: list[float]) -> None:
    from scipy import stats

    found = interval_of(values)
    exact = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    assert found.half_width == pytest.approx(exact, rel=0.09, abs=1e-9)
