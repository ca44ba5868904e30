"""Sums and extremes over axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from engine.program.kernels.prepared import single
from engine.program.kernels.registry import kernel_of
from engine.program.kernels.tails import requantised_flat
from engine.program.types import ExtremeReduce, SumReduce, WideSum


@kernel_of(SumReduce)
def sum_reduce(op: SumReduce, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    sums = inputs[0].sum(dim=op.axes, keepdim=op.keepdims, dtype=torch.int64).contiguous()
    multiplier, shift = single(op.scaling)
    return (requantised_flat(sums, multiplier, shift, op.output.low, op.output.high, op.output.dtype),)


@kernel_of(ExtremeReduce)
def extreme_reduce(op: ExtremeReduce, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    reduce = torch.amax if op.maximum else torch.amin
    return (reduce(inputs[0], dim=op.axes, keepdim=op.keepdims),)


_TERMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "value": lambda x: x,
    "magnitude": torch.abs,
    "square": torch.square,
}


@kernel_of(WideSum)
def wide_sum(op: WideSum, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    terms = _TERMS[op.term](inputs[0].to(torch.int32))
    if op.shift:
        terms = (terms + (1 << (op.shift - 1))) >> op.shift
    return (terms.sum(dim=op.axes, keepdim=op.keepdims, dtype=torch.int32) if op.axes else terms,)
