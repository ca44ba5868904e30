"""Quantised weights for ONNX, taken from the integer program: its integers, and the scales that its arithmetic implies.

A weight's scale follows from the requantisation: ``multiplier * 2 ** -shift = input scale * weight scale / output
scale``. So the file says what the program computes, down to the rounding of its multipliers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.program.types import Convolution, FullyConnected, Scaling

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Stands for a scale of 0 (a channel that the program scales to nothing): runtimes divide by scales."""

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class Parameters:
    """Integers of weight and bias with their scales.

    Attributes:
        weight: int8 (or int16).
        weight_scales: float32 [size of ``axis``].
        axis: The weight's axis that has one scale an index.
        bias: int32 [O].
        bias_scales: float32 [O]: input scale times weight scale.
    """

    weight: NDArray[np.signedinteger]
    weight_scales: NDArray[np.float32]
    axis: int
    bias: NDArray[np.int32]
    bias_scales: NDArray[np.float32]


def parameters_of(op: Convolution | FullyConnected, in_scale: float, out_scale: float) -> Parameters | None:
    """Weight and bias of a layer for ONNX; None where no single axis of the weight carries the scales.

    That is so for a transposed convolution with several groups of several outputs each.
    """
    outputs = op.bias.shape[0]
    accumulator_scales = np.maximum(_factors(op.scaling, outputs) * out_scale, SMALLEST_SCALE)
    weight_scales = np.maximum(accumulator_scales / in_scale, SMALLEST_SCALE)
    axis = 0
    if isinstance(op, Convolution) and op.transposed:
        inputs, per_group = op.weight.shape[:2]
        if op.groups == 1:
            axis = 1
        elif per_group == 1:
            weight_scales = np.repeat(weight_scales, inputs // op.groups)
        else:
            return None
    bias = np.clip(op.bias, _INT32.min, _INT32.max).astype(np.int32)
    return Parameters(
        op.weight, weight_scales.astype(np.float32), axis, bias, accumulator_scales.astype(np.float32)
    )


def real_weight(op: Convolution, in_scale: float, out_scale: float) -> NDArray[np.float32]:
    """The quantised weight of a transposed convolution [C, O/groups, *K] in real numbers."""
    inputs, per_group = op.weight.shape[:2]
    scales = _factors(op.scaling, op.bias.shape[0]) * out_scale / in_scale
    rows = np.repeat(scales.reshape(op.groups, per_group), inputs // op.groups, axis=0)
    shape = (inputs, per_group, *(1,) * (op.weight.ndim - 2))
    return (op.weight * rows.reshape(shape)).astype(np.float32)


def _factors(scaling: Scaling, channels: int) -> NDArray[np.float64]:
    """The real factor of each channel."""
    factors = np.ldexp(scaling.multiplier.astype(np.float64), -scaling.shift.astype(np.int64))
    return np.broadcast_to(factors, (channels,))
