"""Comparison, logic, selection, and indices of extremes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.ops.float_kernels.reduce import index_of_extreme
from engine.ops.float_kernels.run import run_node
from engine.program.kernels.elementwise import rescaled
from engine.program.kernels.memory import TORCH_DTYPE
from engine.program.kernels.registry import kernel_of
from engine.program.types import CompareScaled, ExtremeIndex, Output, Scaling, SelectScaled, TruthLogic

_INT32 = Output("int32", -(2**31), 2**31 - 1)


@kernel_of(CompareScaled)
def compare_scaled(op: CompareScaled, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    operands = [
        # In int32 also where nothing is scaled: torch would wrap a constant without axes into the other's int8.
        x.to(torch.int32) if scaling is None else rescaled(x, scaling, _INT32)
        for x, scaling in zip(inputs, (op.a, op.b), strict=True)
    ]
    return run_node(op.op, operands)


@kernel_of(TruthLogic)
def truth_logic(op: TruthLogic, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return run_node(op.op, inputs)


@kernel_of(SelectScaled)
def select_scaled(op: SelectScaled, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    condition, a, b = inputs
    return (torch.where(condition, _candidate(a, op.a, op.output), _candidate(b, op.b, op.output)),)


def _candidate(x: Tensor, scaling: Scaling | None, output: Output) -> Tensor:
    if scaling is None:
        return x.clamp(output.low, output.high).to(TORCH_DTYPE[output.dtype])
    return rescaled(x, scaling, output)


@kernel_of(ExtremeIndex)
def extreme_index(op: ExtremeIndex, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    find = torch.argmax if op.maximum else torch.argmin
    return (index_of_extreme(inputs[0], op.axis, op.keepdims, op.last, find),)
