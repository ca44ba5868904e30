"""Where float meets integer: quantise, dequantise, operators in float, and data movement on any type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from engine.ops.float_kernels.run import run_node
from engine.ops.layout import Pad
from engine.program.kernels.compiled import Array, Integer, compiled, prange
from engine.program.kernels.memory import dense, empty_like, flat
from engine.program.kernels.registry import kernel_of
from engine.program.types import DataMovement, Dequantise, FloatKernel, Quantise

_BLOCK = 4096


@kernel_of(Quantise)
def quantise(op: Quantise, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    x = dense(inputs[0].to(torch.float32))
    out = empty_like(x, op.output.dtype)
    _quantise(flat(x), np.float32(op.scale), op.output.low, op.output.high, flat(out))
    return (out,)


@kernel_of(Dequantise)
def dequantise(op: Dequantise, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (inputs[0].to(torch.float32) * torch.tensor(op.scale, dtype=torch.float32),)


@kernel_of(DataMovement)
def data_movement(op: DataMovement, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    moved = replace(op.op, value=op.fill) if isinstance(op.op, Pad) else op.op
    return run_node(moved, inputs)


@kernel_of(FloatKernel)
def float_kernel(op: FloatKernel, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return run_node(op.op, inputs)


@compiled
def _quantise(x: Array, scale: Integer, low: Integer, high: Integer, out: Array) -> None:
    """NaN becomes the lower bound or 0, whichever is greater; infinities saturate."""
    for block in prange((x.size + _BLOCK - 1) // _BLOCK):
        source, target = x[block * _BLOCK : (block + 1) * _BLOCK], out[block * _BLOCK : (block + 1) * _BLOCK]
        for i in range(source.size):
            value = np.rint(source[i] / scale)
            value = value if value == value else np.float32(0)
            target[i] = np.int32(min(max(value, np.float32(low)), np.float32(high)))
