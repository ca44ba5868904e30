"""Float kernels of comparisons, logic and conversions between element types."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.ops import logic as ops
from engine.ops.base import Op
from engine.ops.float_kernels.behaviour import FLOAT
from engine.ops.float_kernels.tensors import TORCH_DTYPES


def _plain(cls: type[Op], function: Callable[..., Tensor]) -> None:
    @FLOAT.register(cls)
    def _kernel(op: Op, *inputs: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportUnusedFunction]
        return (function(*inputs),)


_plain(ops.Equal, torch.eq)
_plain(ops.Greater, torch.gt)
_plain(ops.GreaterOrEqual, torch.ge)
_plain(ops.Less, torch.lt)
_plain(ops.LessOrEqual, torch.le)
_plain(ops.And, torch.logical_and)
_plain(ops.Or, torch.logical_or)
_plain(ops.Xor, torch.logical_xor)
_plain(ops.Not, torch.logical_not)
_plain(ops.IsNaN, torch.isnan)


@FLOAT.register(ops.IsInf)
def _is_inf(op: ops.IsInf, x: Tensor) -> tuple[Tensor, ...]:
    infinite = torch.isinf(x)
    if not op.negative:
        infinite = infinite & (x > 0)
    return (infinite if op.positive else infinite & (x < 0),)


@FLOAT.register(ops.Cast)
def _cast(op: ops.Cast, x: Tensor) -> tuple[Tensor, ...]:
    return (x.to(TORCH_DTYPES[op.to]),)
