"""Float kernels of reductions, pooling, normalisation and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.ops import reduce as ops
from engine.ops.float_kernels.behaviour import FLOAT
from engine.ops.float_kernels.linear import pad_pairs

_MAX_POOLS: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_AVERAGE_POOLS: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


@FLOAT.register(ops.ReduceMean)
def _mean(op: ops.ReduceMean, x: Tensor) -> tuple[Tensor, ...]:
    return (x.mean(op.axes, keepdim=op.keepdims),) if op.axes else (x,)


@FLOAT.register(ops.ReduceSum)
def _sum(op: ops.ReduceSum, x: Tensor) -> tuple[Tensor, ...]:
    return (x.sum(op.axes, keepdim=op.keepdims, dtype=x.dtype),) if op.axes else (x,)


@FLOAT.register(ops.ReduceMax)
def _max(op: ops.ReduceMax, x: Tensor) -> tuple[Tensor, ...]:
    return (x.amax(op.axes, keepdim=op.keepdims),) if op.axes else (x,)


@FLOAT.register(ops.ReduceMin)
def _min(op: ops.ReduceMin, x: Tensor) -> tuple[Tensor, ...]:
    return (x.amin(op.axes, keepdim=op.keepdims),) if op.axes else (x,)


@FLOAT.register(ops.ReduceL2)
def _l2(op: ops.ReduceL2, x: Tensor) -> tuple[Tensor, ...]:
    return (x.square().sum(op.axes, keepdim=op.keepdims).sqrt(),) if op.axes else (x.abs(),)


@FLOAT.register(ops.ReduceL1)
def _l1(op: ops.ReduceL1, x: Tensor) -> tuple[Tensor, ...]:
    return (_summed(op, x.abs()),)


@FLOAT.register(ops.ReduceSumSquare)
def _sum_square(op: ops.ReduceSumSquare, x: Tensor) -> tuple[Tensor, ...]:
    return (_summed(op, x.square()),)


@FLOAT.register(ops.ReduceProd)
def _prod(op: ops.ReduceProd, x: Tensor) -> tuple[Tensor, ...]:
    for axis in sorted(op.axes, reverse=True):
        x = x.prod(axis, keepdim=op.keepdims, dtype=x.dtype)
    return (x,)


@FLOAT.register(ops.ReduceLogSum)
def _log_sum(op: ops.ReduceLogSum, x: Tensor) -> tuple[Tensor, ...]:
    return (_summed(op, x).log(),)


@FLOAT.register(ops.ReduceLogSumExp)
def _log_sum_exp(op: ops.ReduceLogSumExp, x: Tensor) -> tuple[Tensor, ...]:
    return (torch.logsumexp(x, op.axes, keepdim=op.keepdims) if op.axes else x,)


def _summed(op: ops.Reduction, x: Tensor) -> Tensor:
    return x.sum(op.axes, keepdim=op.keepdims, dtype=x.dtype) if op.axes else x


@FLOAT.register(ops.MaxPool)
def _max_pool(op: ops.MaxPool, x: Tensor) -> tuple[Tensor, ...]:
    rank = len(op.kernel)
    padded = functional.pad(x, pad_pairs(op.pads), value=_lowest(x)) if any(op.pads) else x
    return (_MAX_POOLS[rank](padded, op.kernel, op.strides, 0, op.dilations or 1),)


def _lowest(x: Tensor) -> float | int:
    """The value that never wins a maximum."""
    return -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min


@FLOAT.register(ops.AveragePool)
def _average_pool(op: ops.AveragePool, x: Tensor) -> tuple[Tensor, ...]:
    rank = len(op.kernel)
    padded = functional.pad(x, pad_pairs(op.pads)) if any(op.pads) else x
    mean = _AVERAGE_POOLS[rank](padded, op.kernel, op.strides)
    if not any(op.pads):
        return (mean,)
    spatial = tuple(int(size) for size in x.shape[2:])
    counts = average_pool_counts(op, spatial).astype(np.float64)
    correction = torch.as_tensor(math.prod(op.kernel) / counts, dtype=x.dtype, device=x.device)
    return (mean * correction,)


def average_pool_counts(op: ops.AveragePool, spatial: tuple[int, ...]) -> NDArray[np.int64]:
    """How many elements each window's sum is divided by, [*output spatial sizes].

    A window counts its real elements, and with ``count_include_pad`` the padding elements within ``counted_pads``.
    """
    rank = len(op.kernel)
    counted = op.counted_pads if op.count_include_pad else (0,) * (2 * rank)
    counts = np.ones((), dtype=np.int64)
    for axis, size in enumerate(spatial):
        begin, end = op.pads[axis], op.pads[axis + rank]
        outputs = (size + begin + end - op.kernel[axis]) // op.strides[axis] + 1
        starts = np.arange(outputs) * op.strides[axis] - begin
        stops = starts + op.kernel[axis]
        low, high = -counted[axis], size + counted[axis + rank]
        per_axis = np.clip(stops, low, high) - np.clip(starts, low, high)
        counts = counts[..., None] * np.maximum(per_axis, 1)
    return counts


@FLOAT.register(ops.Softmax)
def _softmax(op: ops.Softmax, x: Tensor) -> tuple[Tensor, ...]:
    """In float16 step by step, as ONNX defines it: torch's own rounds once, at the end."""
    if x.dtype == torch.float16:
        exponentials = torch.exp(x - torch.amax(x, op.axis, keepdim=True))
        return (exponentials / exponentials.sum(op.axis, keepdim=True),)
    return (torch.softmax(x, op.axis),)


@FLOAT.register(ops.LogSoftmax)
def _log_softmax(op: ops.LogSoftmax, x: Tensor) -> tuple[Tensor, ...]:
    return (torch.log_softmax(x, op.axis),)


@FLOAT.register(ops.LayerNorm)
def _layer_norm(
    op: ops.LayerNorm, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, ...]:
    return (functional.layer_norm(x, x.shape[-op.axes_count :], weight, bias, op.epsilon),)


@FLOAT.register(ops.RMSNorm)
def _rms_norm(op: ops.RMSNorm, x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, ...]:
    return (functional.rms_norm(x, x.shape[-op.axes_count :], weight, op.epsilon),)


@FLOAT.register(ops.InstanceNorm)
def _instance_norm(op: ops.InstanceNorm, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    spatial = tuple(range(2, x.dim()))
    variance, mean = torch.var_mean(x, spatial, correction=0, keepdim=True)
    per_channel = (1, -1, *(1,) * len(spatial))
    scaled = (x - mean) * torch.rsqrt(variance + op.epsilon)
    return (scaled * weight.reshape(per_channel) + bias.reshape(per_channel),)


@FLOAT.register(ops.GroupNorm)
def _group_norm(op: ops.GroupNorm, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    return (functional.group_norm(x, op.groups, weight, bias, op.epsilon),)


@FLOAT.register(ops.BatchNorm)
def _batch_norm(op: ops.BatchNorm, x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, ...]:
    per_channel = (-1, *(1,) * (x.dim() - 2))
    return (x * scale.reshape(per_channel) + offset.reshape(per_channel),)


@FLOAT.register(ops.ArgMax)
def _arg_max(op: ops.ArgMax, x: Tensor) -> tuple[Tensor, ...]:
    return (index_of_extreme(x, op.axis, op.keepdims, op.last, torch.argmax),)


@FLOAT.register(ops.ArgMin)
def _arg_min(op: ops.ArgMin, x: Tensor) -> tuple[Tensor, ...]:
    return (index_of_extreme(x, op.axis, op.keepdims, op.last, torch.argmin),)


def index_of_extreme(x: Tensor, axis: int, keepdims: bool, last: bool, find: Callable[..., Tensor]) -> Tensor:
    """int64 indices of extremes along an axis. ``find`` is torch's argmax or argmin: of equal elements the first."""
    if not last:
        return find(x, axis, keepdim=keepdims)
    return x.shape[axis] - 1 - find(x.flip(axis), axis, keepdim=keepdims)
