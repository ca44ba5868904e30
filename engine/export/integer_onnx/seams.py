"""Where float meets integer, operators that stay in float, and data movement on integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from engine.export.integer_onnx.registry import writes
from engine.export.integer_onnx.steps import cast, reshape, step
from engine.export.onnx_nodes import Emission, emit
from engine.graph.graph import TensorType
from engine.ops.base import Behaviour, Op
from engine.ops.layout import DepthToSpace, Pad, SpaceToDepth
from engine.program.types import DataMovement, Dequantise, FloatKernel, Quantise


@writes(Quantise)
def _quantise(op: Quantise, emission: Emission) -> None:
    """NaN becomes 0 (or the bound next to it), infinities saturate."""
    x = emission.inputs[0] if emission.dtype == "float32" else cast(emission, emission.inputs[0], "float32")
    rounded = step(emission, "Round", step(emission, "Div", x, np.array(op.scale, np.float32)))
    zero = np.zeros((), np.float32)
    finite = step(emission, "Where", step(emission, "IsNaN", rounded), zero, rounded)
    bounds = (np.array(bound, np.float32) for bound in (op.output.low, op.output.high))
    cast(emission, step(emission, "Clip", finite, *bounds), op.output.dtype, emission.outputs[0])


@writes(Dequantise)
def _dequantise(op: Dequantise, emission: Emission) -> None:
    x = cast(emission, emission.inputs[0], "float32")
    step(emission, "Mul", x, np.array(op.scale, np.float32), to=emission.outputs[0])


@writes(FloatKernel)
def _float_kernel(op: FloatKernel, emission: Emission) -> None:
    emit(op.op, emission)


@writes(DataMovement)
def _data_movement(op: DataMovement, emission: Emission) -> None:
    special = _MOVES.find(op.op)
    if special is None:
        emit(op.op, emission)
    else:
        special(op.op, op.fill, emission)


_MOVES: Behaviour[Callable[[Any, int, Emission], None]] = Behaviour("movement of integers as ONNX nodes")
"""``(op, fill, emission) -> None``, for movement that ONNX Runtime has for few types only."""


@_MOVES.register(Pad)
def _pad(op: Pad, fill: int, emission: Emission) -> None:
    """In int32: ONNX Runtime does not pad int16."""
    wide, padded = cast(emission, emission.inputs[0], "int32"), emission.inner("padded")
    kind = TensorType(emission.shape(), "int32")
    moved: Op = replace(op, value=float(fill))
    emit(moved, replace(emission, inputs=(wide,), outputs=(padded,), types=(kind,)))
    cast(emission, padded, emission.dtype, emission.outputs[0])


@_MOVES.register(DepthToSpace)
def _depth_to_space(op: DepthToSpace, _fill: int, emission: Emission) -> None:
    """[N, C, H, W] -> [N, C/b^2, H*b, W*b] by taking axes apart and putting them together."""
    _, channels, height, width = emission.shape()
    b = op.block
    left = channels // b**2
    apart = (0, b, b, left, height, width) if op.mode == "DCR" else (0, left, b, b, height, width)
    perm = (0, 3, 4, 1, 5, 2) if op.mode == "DCR" else (0, 1, 4, 2, 5, 3)
    turned = step(emission, "Transpose", reshape(emission, emission.inputs[0], apart), perm=perm)
    reshape(emission, turned, (0, left, height * b, width * b), emission.outputs[0])


@_MOVES.register(SpaceToDepth)
def _space_to_depth(op: SpaceToDepth, _fill: int, emission: Emission) -> None:
    """[N, C, H, W] -> [N, C*b^2, H/b, W/b]."""
    _, channels, height, width = emission.shape()
    b = op.block
    apart = reshape(emission, emission.inputs[0], (0, channels, height // b, b, width // b, b))
    turned = step(emission, "Transpose", apart, perm=(0, 1, 3, 5, 2, 4) if op.mode == "CRD" else (0, 3, 5, 1, 2, 4))
    reshape(emission, turned, (0, channels * b * b, height // b, width // b), emission.outputs[0])
