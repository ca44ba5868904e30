# pyright: reportUnknownMemberType=false
"""Integers for weights: never worse than plain rounding on what they are fitted to, and exact where that can be."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.quantise.least_squares import LEVELS, Integers, Rows, error, fit, nearest


def _layer(
    seed: int, groups: int, outputs: int, weights: int, rows: int, clipped: bool = True
) -> tuple[Rows, torch.Tensor, torch.Tensor]:
    """Correlated rectified inputs in steps, and what float weights make of them as they were before they were rounded
    and ``clipped``."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(groups, weights, weights, generator=generator) / math.sqrt(weights)
    clean = (torch.randn(groups, rows, weights, generator=generator) @ mixing + 0.3).relu()
    scale = float(clean.max()) / LEVELS or 1.0
    weight = torch.randn(groups, outputs, weights, generator=generator).double()
    bias = torch.randn(groups, outputs, generator=generator).double()
    inputs = (clean / scale).round().clamp(max=100 if clipped else LEVELS) * scale
    wanted = (clean if clipped else inputs) @ weight.mT.float() + bias[:, None].float()
    return Rows(inputs, wanted, 0.0, float(wanted.max()) * 0.8 + 0.1, rows // 4), weight, bias


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000),
    groups=st.integers(1, 3),
    outputs=st.integers(1, 4),
    weights=st.integers(1, 80),
    rows=st.integers(1, 200),
)
def test_the_error_on_the_rows_never_rises(seed: int, groups: int, outputs: int, weights: int, rows: int) -> None:
    layer, weight, bias = _layer(seed, groups, outputs, weights, rows)
    found, plain = fit(layer, weight, bias), nearest(weight, bias)
    assert (error(layer, found) <= error(layer, plain)).all()
    assert torch.equal(found.steps, found.steps.round()) and found.steps.abs().max() <= LEVELS
    assert (found.scales > 0.0).all()


@pytest.mark.parametrize(("groups", "outputs", "weights"), [(1, 16, 96), (24, 1, 9)])
def test_most_of_the_error_of_weights_goes(groups: int, outputs: int, weights: int) -> None:
    layer, weight, bias = _layer(7, groups, outputs, weights, 2000, clipped=False)
    found, plain = (float(error(layer, item).sum()) for item in (fit(layer, weight, bias), nearest(weight, bias)))
    assert found < 0.5 * plain


def test_weights_that_are_integers_are_found_again() -> None:
    generator = torch.Generator().manual_seed(1)
    steps = torch.randint(-LEVELS, LEVELS + 1, (2, 3, 12), generator=generator).double()
    steps[..., 0] = LEVELS
    scales = torch.rand(2, 3, generator=generator).double() + 0.5
    bias = torch.randn(2, 3, generator=generator).double()
    exact = Integers(steps, scales, bias)
    inputs = torch.randint(-LEVELS, LEVELS + 1, (2, 400, 12), generator=generator).float()
    outputs = inputs @ exact.weights.mT.float() + bias[:, None].float()
    found = fit(Rows(inputs, outputs, -math.inf, math.inf, 100), exact.weights, bias)
    assert torch.equal(found.steps, steps)
    assert torch.allclose(found.bias, bias, atol=1e-2)


def test_outputs_that_stay_flattened_have_no_error() -> None:
    """A bias that is wrong only below zero, where the Relu cuts, is left alone."""
    inputs = torch.arange(-40.0, 41.0)[None, :, None]
    outputs = inputs.clone()
    outputs[inputs < 0] = -5.0
    weight, bias = torch.ones(1, 1, 1).double(), torch.zeros(1, 1).double()
    found = fit(Rows(inputs, outputs, 0.0, 100.0, 0), weight, bias)
    assert float(error(Rows(inputs, outputs, 0.0, 100.0, 0), found)) < 1e-3
