"""Where each output position of a Resize samples its input (ONNX Resize, all coordinate modes that need no ROI)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from engine.ops.layout import Gather
from engine.ops.reduce import Resize

_Coordinates = Callable[[NDArray[np.float64], int, int, float], NDArray[np.float64]]


def _half_pixel(x: NDArray[np.float64], _in: int, _out: int, scale: float) -> NDArray[np.float64]:
    return (x + 0.5) / scale - 0.5


def _pytorch_half_pixel(x: NDArray[np.float64], _in: int, out: int, scale: float) -> NDArray[np.float64]:
    return (x + 0.5) / scale - 0.5 if out > 1 else np.zeros_like(x)


def _half_pixel_symmetric(x: NDArray[np.float64], size: int, out: int, scale: float) -> NDArray[np.float64]:
    adjustment = out / (scale * size)
    return size / 2.0 * (1.0 - adjustment) + (x + 0.5) / scale - 0.5


def _asymmetric(x: NDArray[np.float64], _in: int, _out: int, scale: float) -> NDArray[np.float64]:
    return x / scale


def _align_corners(x: NDArray[np.float64], size: int, out: int, _scale: float) -> NDArray[np.float64]:
    return x * (size - 1) / (out - 1) if out > 1 else np.zeros_like(x)


_COORDINATES: Mapping[str, _Coordinates] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "asymmetric": _asymmetric,
    "align_corners": _align_corners,
}

_ROUNDING: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def source_positions(op: Resize, axis: int, size: int) -> NDArray[np.float64]:
    """Real source coordinate of every output position on a spatial axis of ``size`` elements."""
    x = np.arange(op.sizes[axis], dtype=np.float64)
    return _COORDINATES[op.coordinates](x, size, op.sizes[axis], op.scales[axis])


def nearest_indices(op: Resize, axis: int, size: int) -> Gather:
    """The gather on tensor axis ``axis + 2`` that a nearest Resize is."""
    positions = _ROUNDING[op.nearest_rounding](source_positions(op, axis, size))
    indices = np.clip(positions, 0, size - 1).astype(np.int64)
    return Gather(axis + 2, tuple(int(i) for i in indices), (len(indices),))


def linear_weights(
    op: Resize, axis: int, size: int, fraction_bits: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Lower and upper source index and the upper one's weight in ``fraction_bits`` fixed point, half to even."""
    positions = np.clip(source_positions(op, axis, size), 0, size - 1)
    low = np.floor(positions).astype(np.int32)
    high = np.minimum(low + 1, size - 1).astype(np.int32)
    fraction = np.rint((positions - low) * 2.0**fraction_bits).astype(np.int32)
    return low, high, fraction
