"""Sums and extremes over axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.program.kernels.prepared import single
from engine.program.kernels.registry import kernel_of
from engine.program.kernels.tails import requantised_flat
from engine.program.types import ExtremeReduce, SumReduce


@kernel_of(SumReduce)
def sum_reduce(op: SumReduce, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    sums = inputs[0].sum(dim=op.axes, keepdim=op.keepdims, dtype=torch.int64).contiguous()
    multiplier, shift = single(op.scaling)
    return (requantised_flat(sums, multiplier, shift, op.output.low, op.output.high, op.output.dtype),)


@kernel_of(ExtremeReduce)
def extreme_reduce(op: ExtremeReduce, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    reduce = torch.amax if op.maximum else torch.amin
    return (reduce(inputs[0], dim=op.axes, keepdim=op.keepdims),)
