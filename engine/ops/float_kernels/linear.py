"""Float kernels of convolution, fully connected and matrix product."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from engine.ops import linear as ops
from engine.ops.float_kernels.behaviour import FLOAT

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def pad_pairs(pads: Sequence[int]) -> list[int]:
    """ONNX pads (begins, then ends) in torch's order: last axis first, begin and end side by side."""
    rank = len(pads) // 2
    return [amount for axis in reversed(range(rank)) for amount in (pads[axis], pads[axis + rank])]


@FLOAT.register(ops.Conv)
def _conv(op: ops.Conv, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    rank = len(op.strides)
    begins, ends = op.pads[:rank], op.pads[rank:]
    if begins != ends:  # torch pads both sides alike
        x, begins = functional.pad(x, pad_pairs(op.pads)), (0,) * rank
    if _takes_one_dnn(x, weight):
        return (torch.mkldnn_convolution(x, weight, bias, begins, op.strides, op.dilations, op.groups),)
    return (_CONVOLUTIONS[rank](x, weight, bias, op.strides, begins, op.dilations, op.groups),)


def _takes_one_dnn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN computes the convolution. On one thread torch passes it over for convolutions of one tap, which
    take it half the time."""
    is_planar = x.dim() == 4 and x.dtype == weight.dtype == torch.float32
    return is_planar and x.device.type == "cpu" and x.numel() > 0 and torch.backends.mkldnn.is_available()


@FLOAT.register(ops.ConvTranspose)
def _conv_transpose(op: ops.ConvTranspose, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    rank = len(op.strides)
    full = _TRANSPOSED[rank](x, weight, bias, op.strides, 0, 0, op.groups, op.dilations)
    # Output padding adds positions that no product reaches: they hold the bias alone.
    extra = [amount for axis in reversed(range(rank)) for amount in (0, op.output_padding[axis])]
    if any(extra):
        unbiased = full if bias is None else full - bias.reshape(1, -1, *(1,) * rank)
        full = functional.pad(unbiased, extra)
        full = full if bias is None else full + bias.reshape(1, -1, *(1,) * rank)
    for axis in range(rank):
        size = full.shape[axis + 2]
        full = full.narrow(axis + 2, op.pads[axis], size - op.pads[axis] - op.pads[axis + rank])
    return (full,)


@FLOAT.register(ops.Linear)
def _linear(op: ops.Linear, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    return (functional.linear(x, weight, bias),)


@FLOAT.register(ops.MatMul)
def _matmul(op: ops.MatMul, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return (torch.matmul(a, b),)
