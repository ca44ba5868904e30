"""Float kernel of Resize: one small interpolation matrix per spatial axis, applied axis by axis.

The taps (which input elements, with which weights, make each output element) are plain numpy, so the integer
lowering uses the same ones. Formulas: the ONNX operator specification of Resize.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.ops.float_kernels.behaviour import FLOAT
from engine.ops.reduce import Resize

Floats = NDArray[np.float64]


def _half_pixel(out: Floats, scale: float, in_size: int, out_size: int) -> Floats:
    return (out + 0.5) / scale - 0.5


def _pytorch_half_pixel(out: Floats, scale: float, in_size: int, out_size: int) -> Floats:
    return _half_pixel(out, scale, in_size, out_size) if out_size > 1 else np.zeros_like(out)


def _half_pixel_symmetric(out: Floats, scale: float, in_size: int, out_size: int) -> Floats:
    adjustment = out_size / (scale * in_size)
    return in_size / 2 * (1 - adjustment) + _half_pixel(out, scale, in_size, out_size)


def _align_corners(out: Floats, scale: float, in_size: int, out_size: int) -> Floats:
    return out * (in_size - 1) / (out_size - 1) if out_size > 1 else np.zeros_like(out)


def _asymmetric(out: Floats, scale: float, in_size: int, out_size: int) -> Floats:
    return out / scale


COORDINATES: dict[str, Callable[[Floats, float, int, int], Floats]] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
}
"""Where each output element's centre lies on the input axis, by ONNX's ``coordinate_transformation_mode``."""

NEAREST: dict[str, Callable[[Floats], Floats]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
"""ONNX's ``nearest_mode``."""


def _triangle(distance: Floats, coefficient: float) -> Floats:
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _cubic(distance: Floats, a: float) -> Floats:
    """Keys' cubic convolution kernel with coefficient ``a``."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


_KERNELS: dict[str, tuple[int, Callable[[Floats, float], Floats]]] = {"linear": (1, _triangle), "cubic": (2, _cubic)}
"""Half width and weight function of each interpolating mode."""


def resize_taps(op: Resize, axis: int, in_size: int) -> tuple[NDArray[np.int64], Floats]:
    """Input indices and weights, both [outputs, taps], of spatial axis ``axis``; weights of a row sum to 1."""
    out_size, scale = op.sizes[axis], op.scales[axis]
    centres = COORDINATES[op.coordinates](np.arange(out_size, dtype=np.float64), scale, in_size, out_size)
    if op.mode == "nearest":
        indices = NEAREST[op.nearest_rounding](centres).astype(np.int64)[:, None]
        return np.clip(indices, 0, in_size - 1), np.ones((out_size, 1))
    half_width, kernel = _KERNELS[op.mode]
    shrink = min(scale, 1.0) if op.antialias else 1.0
    reach = math.ceil(half_width / shrink)
    indices = np.floor(centres)[:, None] + np.arange(1 - reach, reach + 1)
    weights = kernel((centres[:, None] - indices) * shrink, op.cubic_coefficient)
    inside = (indices >= 0) & (indices < in_size)
    if op.exclude_outside:
        weights = np.where(inside, weights, 0.0)
    if op.exclude_outside or op.antialias:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(indices, 0, in_size - 1).astype(np.int64), weights


@FLOAT.register(Resize)
def _resize(op: Resize, x: Tensor) -> tuple[Tensor, ...]:
    for axis, out_size in enumerate(op.sizes):
        in_size = int(x.shape[axis + 2])
        if out_size == in_size and op.scales[axis] == 1.0:
            continue
        x = _resize_axis(op, x, axis, in_size)
    return (x,)


def _resize_axis(op: Resize, x: Tensor, axis: int, in_size: int) -> Tensor:
    indices, weights = resize_taps(op, axis, in_size)
    if weights.shape[1] == 1:
        return x.index_select(axis + 2, torch.as_tensor(indices[:, 0], device=x.device))
    matrix = np.zeros((indices.shape[0], in_size))
    rows: NDArray[np.int64] = np.indices(indices.shape, dtype=np.int64)[0]
    np.add.at(matrix, (rows, indices), weights)
    weight = torch.as_tensor(matrix, dtype=x.dtype, device=x.device)
    return torch.matmul(x.movedim(axis + 2, -1), weight.T).movedim(-1, axis + 2)
