# pyright: reportUnknownMemberType=false, reportMissingTypeArgument=false
"""Gradients through integers: forward what the program computes, backward as if nothing had been rounded.

The gradient of a scale is that of LSQ (S. K. Esser et al., "Learned Step Size Quantization", arXiv:1902.08153): for
``y = scale * clamp(round(x / scale))``

    dy/dx     = 1 within the range, 0 where x is clipped
    dy/dscale = round(x / scale) - x / scale within the range, the lowest or highest level where x is clipped
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from engine.train.slopes import clipped_gradient

HALF_STEP = 0.5


class _Passed(torch.autograd.Function):
    """Forward ``exact``, backward to ``x`` unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, exact: Tensor) -> Tensor:
        return exact.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _finite(gradients[0]), None


class _Snapped(torch.autograd.Function):
    """Forward ``levels * step``; backward to ``x`` where it is not clipped, and to ``scale`` as LSQ has it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, levels: Tensor, step: float, largest: int) -> Tensor:
        ctx.save_for_backward(x, levels)
        ctx.step, ctx.largest, ctx.learned, ctx.kind = step, largest, scale.requires_grad, scale.dtype
        return levels.to(x.dtype) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        x, levels = ctx.saved_tensors
        to_x, slope = _clipped(gradients[0], x, levels, ctx.step, ctx.largest)
        if not ctx.learned:
            return to_x, None, None, None, None
        to_scale = torch.full((1,), 1.0, dtype=ctx.kind, device=x.device) * slope
        return to_x, to_scale * lsq_factor(x.numel(), ctx.largest), None, None, None


def _clipped(gradient: Tensor, x: Tensor, levels: Tensor, step: float, largest: int) -> tuple[Tensor, Tensor | float]:
    """The gradients of ``levels * step`` to x and to the scale."""
    if x.device.type == "cpu" and x.dtype == gradient.dtype == torch.float32:
        return clipped_gradient(gradient, x, levels, step, largest)
    gradient, position = _finite(gradient), x / step
    inside = position.abs() <= largest + HALF_STEP
    slope = torch.where(inside, levels - position, levels.to(x.dtype))
    return gradient * inside, (gradient * slope).sum()


class _Rounded(torch.autograd.Function):
    """Forward ``scale * clamp(round(x / scale))``, one scale a channel; backward to both."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, largest: int) -> Tensor:
        position = x.to(scale.dtype) / scale
        levels = torch.clamp(torch.round(position), -largest, largest)
        ctx.save_for_backward(position.to(x.dtype), levels.to(x.dtype))
        ctx.largest, ctx.shape, ctx.kind = largest, scale.shape, scale.dtype
        return (levels * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        position, levels = ctx.saved_tensors
        gradient = _finite(gradients[0])
        inside = position.abs() <= ctx.largest + HALF_STEP
        slope = torch.where(inside, levels - position, levels)
        shared = position.numel() // max(1, ctx.shape.numel())
        to_scale = (gradient * slope).sum_to_size(ctx.shape) * lsq_factor(shared, ctx.largest)
        return gradient * inside, to_scale.to(ctx.kind), None


def passed(x: Tensor, exact: Tensor) -> Tensor:
    """``exact`` (the same shape) with the gradient of ``x``: for values whose scale is inherited, and for floats."""
    return _call(_Passed, x, exact)


def snapped(x: Tensor, scale: Tensor, levels: Tensor, step: float, largest: int) -> Tensor:
    """The float value ``levels * step`` of integers that stand for ``x``.

    Args:
        x: The float operator's result, of any shape.
        scale: [1], the learned scale, whose value is ``step``.
        levels: What the integer program has for x, of its shape.
        step: The scale that the program was made with.
        largest: The largest level (127 or 32767).
    """
    return _call(_Snapped, x, scale, levels, step, largest)


def rounded(x: Tensor, scale: Tensor, largest: int) -> Tensor:
    """Weights on their grid: ``scale * clamp(round(x / scale))``, computed in the scale's type; ``scale`` is broadcast
    over x. Ties go to even."""
    return _call(_Rounded, x, scale, largest)


def lsq_factor(count: int, largest: int) -> float:
    """What LSQ multiplies a scale's gradient by, so that its updates are as large relative to it as a weight's."""
    return float((max(1, count) * largest) ** -0.5)


def _call(function: type[torch.autograd.Function], *arguments: object) -> Tensor:
    return cast("Tensor", function.apply(*arguments))


def _finite(gradient: Tensor) -> Tensor:
    """A function that has a pole at a level (1 / x, log x at 0) has no slope there."""
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
