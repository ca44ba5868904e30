# pyright: reportUnknownMemberType=false
"""The slopes of rounding and clipping, against the formulas of LSQ written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.train.gradients import lsq_factor, passed, rounded, snapped
from engine.train.slopes import clipped_gradient

LARGEST = 127


def levels_of(x: torch.Tensor, step: float, largest: int = LARGEST) -> torch.Tensor:
    return torch.clamp(torch.round(x / step), -largest, largest).to(torch.int8)


def lsq(x: torch.Tensor, step: float, gradient: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Equation 3 of arXiv:1902.08153, and the straight-through estimate of equation 5, element by element."""
    to_x = torch.zeros_like(x)
    to_step = 0.0
    for place, value in enumerate(x.tolist()):
        position, slope = value / step, float(gradient[place])
        if -LARGEST - 0.5 <= position <= LARGEST + 0.5:
            to_x[place] = slope
            to_step += slope * (min(max(round(position), -LARGEST), LARGEST) - position)
        else:
            to_step += slope * (LARGEST if position > 0 else -LARGEST)
    return to_x, to_step


def test_values_and_their_scale_have_the_slopes_of_lsq() -> None:
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(500, generator=generator) * 80).requires_grad_()
    gradient = torch.randn(500, generator=generator)
    step = 0.75
    scale = torch.tensor([step], requires_grad=True)
    result = snapped(x, scale, levels_of(x, step), step, LARGEST)
    assert torch.equal(result, levels_of(x, step) * step)
    result.backward(gradient)
    to_x, to_step = lsq(x.detach(), step, gradient)
    assert x.grad is not None and scale.grad is not None
    assert (to_x == 0).sum() > 50  # some are clipped
    torch.testing.assert_close(x.grad, to_x)
    assert float(scale.grad) == pytest.approx(to_step * lsq_factor(500, LARGEST), rel=1e-4)


def test_a_weight_and_the_scale_of_its_channel_have_the_slopes_of_lsq() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 60, generator=generator).requires_grad_()
    scales = torch.tensor([[0.02], [0.005]], dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(2, 60, generator=generator)
    rounded(weight, scales, LARGEST).backward(gradient)
    assert weight.grad is not None and scales.grad is not None
    for channel, step in enumerate((0.02, 0.005)):
        to_x, to_step = lsq(weight.detach()[channel], step, gradient[channel])
        torch.testing.assert_close(weight.grad[channel], to_x)
        assert float(scales.grad[channel]) == pytest.approx(to_step * lsq_factor(60, LARGEST), rel=1e-4)
    assert (weight.grad[1] == 0).any()


def test_rounded_weights_are_exact_multiples_with_ties_to_even() -> None:
    scales = torch.tensor([[0.125]], dtype=torch.float64)
    weight = torch.tensor([[0.3125, -0.3125, 0.4375, 100.0, -100.0]], dtype=torch.float64)
    levels = rounded(weight, scales, LARGEST) / 0.125
    assert levels.tolist() == [[2.0, -2.0, 4.0, 127.0, -127.0]]


@settings(max_examples=12, deadline=None)
@given(
    count=st.sampled_from((1, 7, 16_384, 16_385, 40_000)),
    step=st.floats(1e-3, 10.0),
    largest=st.sampled_from((127, 32767)),
    seed=st.integers(0, 1000),
)
def test_the_fused_form_is_the_plain_one(count: int, step: float, largest: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, generator=generator) * step * largest
    levels = torch.clamp(torch.round(x / step), -largest, largest).to(torch.int16)
    gradient = torch.randn(count, generator=generator)
    gradient[seed % count] = float("nan")
    found, slope = clipped_gradient(gradient, x, levels, step, largest)
    position = x.double() / step
    sound = torch.nan_to_num(gradient).double()
    clear = (position.abs() - largest - 0.5).abs() > 1e-3 * largest  # not at the very edge, in float32
    inside = position.abs() <= largest + 0.5
    assert torch.equal(found[clear], (sound * inside).float()[clear])
    terms = sound * torch.where(inside, levels - position, levels.double())
    if bool(clear.all()):
        # Positions are float32: each differs by as much as its last digit.
        assert slope == pytest.approx(float(terms.sum()), abs=float(sound.abs().sum()) * largest * 1e-6 + 1e-6)


def test_threads_do_not_change_a_sum() -> None:
    x, gradient = torch.randn(200_000), torch.randn(200_000)
    levels = levels_of(x, 0.01)
    threads = torch.get_num_threads()
    found: list[float] = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(clipped_gradient(gradient, x, levels, 0.01, LARGEST)[1])
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_a_pole_has_no_slope() -> None:
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    levels = torch.tensor([-127, 0], dtype=torch.int8)
    inner = passed(x, x.detach())
    snapped(torch.log(inner), torch.tensor([0.1]), levels, 0.1, LARGEST).sum().backward()
    assert x.grad is not None
    assert np.array_equal(x.grad.numpy(), [0.0, 1.0])
