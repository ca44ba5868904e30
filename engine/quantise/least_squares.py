# pyright: reportUnknownMemberType=false
"""Integers for the weights of one kernel: those with which its outputs, on the integers that it will be fed, come
closest to the float model's.

Rounding each weight to its nearest step minimises the error of the weights; what counts is the error of the outputs,
which weights share. Columns are rounded one after another, and what each leaves over is taken up by those still to come
(GPTQ, Frantar et al., arXiv:2210.17323, after OBQ, arXiv:2208.11580); then single weights change by steps as long as
that helps (coordinate descent). The float target is not the original weights but the least-squares ones for the inputs
that the integer program has, drawn to the original by a ridge that is chosen on rows that were not fitted. The bias
takes up the mean. Outputs that the unit's Relu or Clip flattens have no error as long as they stay flattened: there,
the target follows what is computed.

Shapes: G groups of the convolution, each with O outputs of K weights; N rows (places in samples).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from engine.threads import one_thread

LEVELS = 127
_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
"""Of the mean variance of the inputs, tried for the float target; without any gain on held-out rows it stays."""

_DAMPING = 1e-3
"""Of the mean variance of the inputs, so that directions that never occur do not decide."""

_SWEEPS = 3
_ROUNDS = 2
"""Times that the targets of flattened outputs are set anew."""

_FEW_WEIGHTS = 64
"""Up to so many weights an output, every candidate scale is tried with its own rounding; beyond, by plain rounding."""

_CANDIDATES = 20
_SMALLEST_SCALE = 0.75
"""Of the scale at which no weight is clipped: the smallest of the candidates."""

_CHUNK = 1 << 24
"""Elements of rows in float64 at a time."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What is fitted: ``inputs`` [G, N, K] as the integer program has them and ``outputs`` [G, N, O] as the float model
    has them, in real numbers; ``low`` and ``high`` are where the unit's output is clamped. The last ``held`` rows
    judge."""

    inputs: Tensor
    outputs: Tensor
    low: float
    high: float
    held: int


@dataclass(frozen=True, eq=False)
class Integers:
    """``steps`` [G, O, K] in whole numbers within ±127, ``scales`` [G, O] and ``bias`` [G, O], float64: the weights are
    ``steps * scales``."""

    steps: Tensor
    scales: Tensor
    bias: Tensor

    @property
    def weights(self) -> Tensor:
        """[G, O, K], float64."""
        return self.steps * self.scales[..., None]


@dataclass(frozen=True, eq=False)
class _Moments:
    """Means and second moments about them of inputs x and targets t over rows, float64."""

    mean_x: Tensor
    mean_t: Tensor
    square: Tensor
    cross: Tensor

    @staticmethod
    def of(inputs: Tensor, targets: Tensor, square: Tensor | None = None) -> _Moments:
        """``square`` is given where the inputs are those of other moments."""
        mean_x, mean_t = inputs.mean(1, dtype=torch.float64), targets.mean(1, dtype=torch.float64)
        count = inputs.shape[1]
        centred = inputs - mean_x[:, None].to(inputs.dtype)
        if square is None:
            square = (centred.mT @ centred).double() / count
        return _Moments(mean_x, mean_t, square, (centred.mT @ targets).double() / count)

    def error(self, weights: Tensor) -> Tensor:
        """Mean squared error of centred outputs with weights [G, O, K], but for a constant: [G, O]."""
        return ((weights @ self.square) * weights).sum(-1) - 2.0 * (weights * self.cross.mT).sum(-1)

    @property
    def size(self) -> Tensor:
        """The mean variance of the inputs, [G, 1, 1], never 0."""
        diagonal = self.square.diagonal(dim1=-2, dim2=-1)
        return diagonal.mean(-1).clamp_min(torch.finfo(torch.float32).tiny)[:, None, None]


def fit(rows: Rows, weights: Tensor, bias: Tensor) -> Integers:
    """The integers for ``weights`` [G, O, K] and ``bias`` [G, O] of the float model.

    On the rows their error is at most that of the original weights, rounded to the nearest step of the scale at which
    none is clipped, with the original bias: where it is not, these are the answer.
    """
    with one_thread():
        return _fit(rows, weights.double(), bias.double())


def _fit(rows: Rows, weights: Tensor, bias: Tensor) -> Integers:
    plain = nearest(weights, bias)
    seen = rows.inputs.shape[1] - rows.held
    ridge = _best_ridge(rows, seen, weights) if rows.held else None
    inputs, targets = rows.inputs, rows.outputs
    moments = _Moments.of(inputs, targets)
    wanted = _target(moments, weights, ridge)
    for _ in range(_ROUNDS):
        targets = _followed(rows, wanted, moments.mean_t - _applied(moments.mean_x, wanted))
        moments = _Moments.of(inputs, targets, moments.square)
        wanted = _target(moments, weights, ridge)
    steps, scales = _rounded(moments, wanted)
    found = _with_bias(rows, moments, steps, scales)
    return _better(rows, found, plain)


def nearest(weights: Tensor, bias: Tensor) -> Integers:
    """Weights [G, O, K] rounded to the nearest step of the scale at which none is clipped."""
    scales = _widest(weights)
    return Integers(_nearest_steps(weights / scales[..., None]), scales, bias)


def error(rows: Rows, integers: Integers) -> Tensor:
    """Summed squared error of the clamped outputs over the rows, [G, O], float64."""
    total = torch.zeros(integers.bias.shape, dtype=torch.float64)
    for start, stop in _pieces(rows):
        got = _computed(rows.inputs[:, start:stop], integers.weights, integers.bias)
        wanted = rows.outputs[:, start:stop].clamp(rows.low, rows.high)
        total += (got.clamp(rows.low, rows.high) - wanted).double().square().sum(1)
    return total


def _better(rows: Rows, first: Integers, second: Integers) -> Integers:
    """Of two, output by output the one of smaller error on the rows."""
    keep = error(rows, first) <= error(rows, second)
    steps = torch.where(keep[..., None], first.steps, second.steps)
    return Integers(steps, torch.where(keep, first.scales, second.scales), torch.where(keep, first.bias, second.bias))


def _pieces(rows: Rows) -> list[tuple[int, int]]:
    groups, count, width = rows.outputs.shape
    step = max(1, _CHUNK // max(1, groups * width))
    return [(start, min(count, start + step)) for start in range(0, count, step)]


def _computed(inputs: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """[G, n, K] to [G, n, O], float32."""
    return inputs @ weights.mT.to(inputs.dtype) + bias[:, None].to(inputs.dtype)


def _applied(mean_x: Tensor, weights: Tensor) -> Tensor:
    """[G, K] and [G, O, K] to [G, O]."""
    return (weights @ mean_x[..., None])[..., 0]


def _best_ridge(rows: Rows, seen: int, weights: Tensor) -> float | None:
    """The ridge whose least-squares weights have the least error on the held rows; None: the original has."""
    fitted = _Moments.of(rows.inputs[:, :seen], rows.outputs[:, :seen])
    held = _Moments.of(rows.inputs[:, seen:], rows.outputs[:, seen:])
    best, least = None, float(held.error(weights).sum())
    for ridge in _RIDGES:
        found = float(held.error(_target(fitted, weights, ridge)).sum())
        if found < least:
            best, least = ridge, found
    return best


def _target(moments: _Moments, weights: Tensor, ridge: float | None) -> Tensor:
    """The float weights of least squared error, with a penalty on their distance from ``weights``."""
    if ridge is None:
        return weights
    left = moments.cross - moments.square @ weights.mT
    identity = torch.eye(weights.shape[-1], dtype=torch.float64)
    factor = _cholesky(moments.square + ridge * moments.size * identity)
    return weights + torch.cholesky_solve(left, factor).mT


def _followed(rows: Rows, weights: Tensor, bias: Tensor) -> Tensor:
    """The float model's outputs, but where they are flattened, what is computed if that is flattened as well."""
    targets = rows.outputs.clone()
    for start, stop in _pieces(rows):
        got = _computed(rows.inputs[:, start:stop], weights, bias)
        piece = targets[:, start:stop]
        below, above = piece <= rows.low, piece >= rows.high
        piece[below] = got[below].clamp_max(rows.low)
        piece[above] = got[above].clamp_min(rows.high)
    return targets


def _with_bias(rows: Rows, moments: _Moments, steps: Tensor, scales: Tensor) -> Integers:
    """The integers with the bias that leaves no mean error where outputs are not flattened."""
    weights = steps * scales[..., None]
    bias = moments.mean_t - _applied(moments.mean_x, weights)
    for _ in range(_ROUNDS):
        targets = _followed(rows, weights, bias)
        bias = targets.mean(1, dtype=torch.float64) - _applied(moments.mean_x, weights)
    return Integers(steps, scales, bias)


def _widest(weights: Tensor) -> Tensor:
    """The scale of each output at which no weight is clipped, [G, O], float64, never 0."""
    largest = weights.abs().amax(-1)
    return torch.where(largest > 0.0, largest, 1.0).double() / LEVELS


def _rounded(moments: _Moments, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Steps [G, O, K] and scales [G, O] for float weights."""
    square = moments.square + _DAMPING * moments.size * torch.eye(wanted.shape[-1], dtype=torch.float64)
    shrunk = torch.linspace(1.0, _SMALLEST_SCALE, _CANDIDATES, dtype=torch.float64)
    candidates = _widest(wanted)[..., None] * shrunk  # [G, O, candidates]
    if wanted.shape[-1] > _FEW_WEIGHTS:
        scales = _best_scales(square, wanted, candidates)
        return _steps(square, wanted / scales[..., None]), scales
    in_steps = wanted[:, :, None] / candidates[..., None]  # [G, O, candidates, K]
    steps = _steps(square, in_steps.flatten(1, 2)).view(in_steps.shape)
    apart = ((steps - in_steps) * candidates[..., None]).flatten(1, 2)
    least = ((apart @ square) * apart).sum(-1).view(candidates.shape).argmin(-1, keepdim=True)
    chosen = steps.gather(2, least[..., None].expand(*least.shape, wanted.shape[-1]))
    return chosen[:, :, 0], candidates.gather(2, least)[..., 0]


def _best_scales(square: Tensor, wanted: Tensor, candidates: Tensor) -> Tensor:
    """For each output that of its candidates [G, O, candidates] with which plain rounding, input by input, has the
    least error."""
    power = square.diagonal(dim1=-2, dim2=-1)[:, None]
    found = [
        ((_nearest_steps(wanted / scales[..., None]) * scales[..., None] - wanted).square() * power).sum(-1)
        for scales in candidates.unbind(-1)
    ]
    least = torch.stack(found, -1).argmin(-1, keepdim=True)
    return candidates.gather(2, least)[..., 0]


def _nearest_steps(in_steps: Tensor) -> Tensor:
    return in_steps.round().clamp_(-LEVELS, LEVELS)


def _steps(square: Tensor, in_steps: Tensor) -> Tensor:
    """Whole steps within ±127 for weights [G, O, K] in steps, with small error of the outputs: GPTQ, then coordinate
    descent. The inputs of most power come first."""
    order = square.diagonal(dim1=-2, dim2=-1).argsort(-1, descending=True)
    rows = square.gather(1, order[:, :, None].expand_as(square))
    ordered = rows.gather(2, order[:, None].expand_as(square))
    places = order[:, None].expand_as(in_steps)
    wanted = in_steps.gather(2, places).permute(2, 0, 1).float().contiguous()
    steps = _descended(ordered.float(), wanted, _propagated(ordered, wanted))
    return torch.empty_like(in_steps).scatter_(2, places, steps.permute(1, 2, 0).double())


def _propagated(square: Tensor, wanted: Tensor) -> Tensor:
    """GPTQ on ``wanted`` [K, G, O], in steps: each input's weights are rounded, and their errors divided among those of
    the inputs behind it, by the rows of the Cholesky factor of the inverse of ``square`` [G, K, K]."""
    factor = _cholesky(torch.cholesky_inverse(_cholesky(square))).mT
    shares = (factor / factor.diagonal(dim1=-2, dim2=-1)[..., None]).permute(1, 2, 0).float().contiguous()
    left, steps = wanted.clone(), torch.empty_like(wanted)
    for place in range(len(wanted)):
        steps[place] = _nearest_steps(left[place])
        missed = left[place] - steps[place]
        left[place + 1 :] -= shares[place, place + 1 :, :, None] * missed
    return steps


def _descended(square: Tensor, wanted: Tensor, steps: Tensor) -> Tensor:
    """Coordinate descent from ``steps`` [K, G, O]: each weight in turn goes to where the error is least, the others as
    they are."""
    rows = square.permute(1, 2, 0).contiguous()  # [K, K, G]
    slope = torch.einsum("ijg,jgo->igo", rows, steps - wanted)
    for _ in range(_SWEEPS):
        changed = False
        for place in range(len(wanted)):
            best = _nearest_steps(steps[place] - slope[place] / rows[place, place, :, None])
            change = best - steps[place]
            if change.any():
                changed = True
                slope += rows[place, :, :, None] * change
                steps[place] = best
        if not changed:
            break
    return steps


def _cholesky(square: Tensor) -> Tensor:
    """The lower Cholesky factor of matrices [G, K, K]."""
    return cast("Tensor", torch.linalg.cholesky(square))  # pyright: ignore[reportUnknownArgumentType]
