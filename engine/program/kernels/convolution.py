# pyright: reportUnknownMemberType=false
"""Convolutions: as matrix products of patches, as depthwise loops, or, of volumes, exactly in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.program.kernels.dense import DenseWeights, dense_rows
from engine.program.kernels.memory import TORCH_DTYPE, channels_first_view, channels_last
from engine.program.kernels.prepared import Tail, prepared, repeated, tail_of
from engine.program.kernels.products import ZERO_HALVES, int8_product, split_bias, split_int16
from engine.program.kernels.registry import kernel_of
from engine.program.kernels.tails import requantised, requantised_halves
from engine.program.kernels.windows import depthwise, gather_patches
from engine.program.types import Convolution

_PATCH_BYTES = 1 << 22
"""Patches are gathered and multiplied in pieces of about this size: they stay in the cache."""

_DEPTHWISE_TAPS = 512
"""Fewer taps than this cannot overflow 32 bits, even with int16 inputs."""


@dataclass(frozen=True)
class Prepared:
    """What a planar convolution derives from its operator.

    ``groups`` holds one :class:`DenseWeights` per group; ``taps`` [KH * KW, T * O] a depthwise one's weights, T times.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: tuple[DenseWeights, ...]
    taps: NDArray[np.int8] | None
    tail: Tail


@kernel_of(Convolution)
def convolution(op: Convolution, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    (x,) = inputs
    if x.dim() > 4:
        return (_in_float64(op, x),)
    plain = as_plain(op) if op.transposed else op
    parts = _prepare(plain)
    image = channels_last(x.unsqueeze(2) if x.dim() == 3 else x)
    if op.transposed:
        image = _spread(image, (1,) * (4 - x.dim()) + op.strides)
    result = _depthwise(plain, parts, image) if parts.taps is not None else _by_product(plain, parts, image)
    out = channels_first_view(result)
    return (out.squeeze(2) if x.dim() == 3 else out,)


@prepared
def as_plain(op: Convolution) -> Convolution:
    """The convolution that a transposed one is once its input is spread by the strides: weights turned round."""
    spatial = op.weight.ndim - 2
    channels, per_group, *kernel = op.weight.shape
    split = op.weight.reshape(op.groups, channels // op.groups, per_group, *kernel)
    weight = np.flip(split, axis=tuple(range(3, 3 + spatial))).swapaxes(1, 2)
    reach = [dilation * (size - 1) for dilation, size in zip(op.dilations, kernel, strict=True)]
    extra = op.output_padding or (0,) * spatial
    begin = [r - pad for r, pad in zip(reach, op.pads[:spatial], strict=True)]
    end = [r - pad + more for r, pad, more in zip(reach, op.pads[spatial:], extra, strict=True)]
    return replace(
        op,
        weight=weight.reshape(op.groups * per_group, channels // op.groups, *kernel),
        strides=(1,) * spatial,
        pads=(*begin, *end),
        transposed=False,
        output_padding=(),
    )


def _spread(image: Tensor, strides: Sequence[int]) -> Tensor:
    """[N, H, W, C] -> the same pixels ``strides`` apart, zeros between them."""
    n, height, width, channels = image.shape
    down, across = strides
    wide = torch.zeros((n, (height - 1) * down + 1, (width - 1) * across + 1, channels), dtype=image.dtype)
    wide[:, ::down, ::across] = image
    return wide


@prepared
def _prepare(op: Convolution) -> Prepared:
    weight = op.weight if op.weight.ndim == 4 else op.weight[:, :, None]
    axes = weight.ndim - op.weight.ndim
    begin, end = op.pads[: len(op.pads) // 2], op.pads[len(op.pads) // 2 :]
    outputs, per_group, kh, kw = weight.shape
    is_depthwise = per_group == 1 and op.groups > 1 and kh * kw < _DEPTHWISE_TAPS
    by_place = weight.transpose(2, 3, 1, 0).reshape(-1, outputs)  # [KH * KW * C/groups, O]
    return Prepared(
        kernel=(kh, kw),
        strides=_pair((1,) * axes + op.strides),
        pads=(*_pair((0,) * axes + begin), *_pair((0,) * axes + end)),
        dilations=_pair((1,) * axes + op.dilations),
        groups=() if is_depthwise else _group_weights(op, by_place),
        taps=repeated(by_place) if is_depthwise else None,
        tail=tail_of(op.bias, op.scaling, op.output),
    )


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values
    return first, second


def _group_weights(op: Convolution, by_place: NDArray[np.int8]) -> tuple[DenseWeights, ...]:
    split = split_bias(op.bias, by_place.astype(np.int64).sum(axis=0))
    width = by_place.shape[1] // op.groups
    groups = [slice(first, first + width) for first in range(0, by_place.shape[1], width)]
    return tuple(
        DenseWeights(
            torch.from_numpy(np.array(by_place[:, group], order="C")),
            tail_of(op.bias, op.scaling, op.output, group),
            tail_of(split, op.scaling, op.output, group),
        )
        for group in groups
    )


def _output_size(parts: Prepared, image: Tensor) -> tuple[int, int]:
    sizes: list[int] = []
    for axis in range(2):
        extent = parts.dilations[axis] * (parts.kernel[axis] - 1) + 1
        room = image.shape[1 + axis] + parts.pads[axis] + parts.pads[axis + 2] - extent
        sizes.append(room // parts.strides[axis] + 1)
    return sizes[0], sizes[1]


def _geometry(parts: Prepared, image: Tensor, size: tuple[int, int]) -> NDArray[np.int64]:
    """What :mod:`.windows` needs to know."""
    return np.array(
        [*image.shape[1:3], *parts.kernel, *parts.strides, *parts.pads[:2], *parts.dilations, *size], dtype=np.int64
    )


def _depthwise(op: Convolution, parts: Prepared, image: Tensor) -> Tensor:
    """[N, H, W, C] -> [N, OH, OW, O]; with several outputs per channel, channels are repeated first."""
    size = _output_size(parts, image)
    outputs = op.weight.shape[0]
    if outputs > image.shape[3]:
        image = image.repeat_interleave(outputs // image.shape[3], dim=3)
    out = torch.empty((image.shape[0], *size, outputs), dtype=TORCH_DTYPE[op.output.dtype])
    tail, pixels, lines = parts.tail, image.view(-1).numpy(), out.view(out.shape[0] * size[0], -1).numpy()
    assert parts.taps is not None
    channels = (tail.bias, tail.multiplier, tail.shift)
    geometry = _geometry(parts, image, size)
    depthwise(pixels, outputs, parts.taps, geometry, *channels, tail.low, tail.high, lines)
    return out


def _by_product(op: Convolution, parts: Prepared, image: Tensor) -> Tensor:
    """[N, H, W, C] -> [N, OH, OW, O] by matrix products of patches, one for each group."""
    size = _output_size(parts, image)
    shape = (image.shape[0], *size, op.weight.shape[0])
    pointwise = parts.kernel == (1, 1) and parts.strides == (1, 1) and not any(parts.pads)
    if pointwise and len(parts.groups) == 1:
        return dense_rows(image.view(-1, image.shape[3]), parts.groups[0]).view(shape)
    geometry = _geometry(parts, image, size)
    row_count = shape[0] * size[0] * size[1]
    pieces = [_group_rows(image, weights, index, geometry, row_count) for index, weights in enumerate(parts.groups)]
    return (pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)).view(shape)


def _group_rows(
    image: Tensor, weights: DenseWeights, group: int, geometry: NDArray[np.int64], row_count: int
) -> Tensor:
    """The requantised rows [N * OH * OW, O/groups] of one group."""
    out = torch.empty((row_count, weights.matrix.shape[1]), dtype=TORCH_DTYPE[weights.tail.dtype])
    length = weights.matrix.shape[0]
    width, channels = length // int(geometry[2] * geometry[3]), image.shape[3]
    halves = _halves(image)
    step = max(1, _PATCH_BYTES // (length * len(halves)))
    for first in range(0, row_count, step):
        count = min(step, row_count - first)
        patches = torch.empty((len(halves), count, length), dtype=torch.int8)
        for index, half in enumerate(halves):
            fill = 0 if len(halves) == 1 else ZERO_HALVES[index]
            gather_patches(
                half, channels, geometry, first, group * width, width, fill, patches[index].numpy()
            )
        product = int8_product(patches.view(-1, length), weights.matrix)
        piece = out[first : first + count]
        if len(halves) == 1:
            requantised(product, weights.tail, piece)
        else:
            requantised_halves(product.view(2, count, -1), weights.split_tail, piece)
    return out


def _halves(image: Tensor) -> list[NDArray[np.int8]]:
    """Flat int8 pixels: the picture's own, or the two halves of an int16 picture."""
    if image.dtype == torch.int8:
        return [image.view(-1).numpy()]
    return list(split_int16(image.view(1, -1).numpy()).reshape(2, -1))


def _in_float64(op: Convolution, x: Tensor) -> Tensor:
    """Convolutions of volumes: float64 holds every partial sum (below 2^48) exactly."""
    spatial = x.dim() - 2
    begin, end = op.pads[:spatial], op.pads[spatial:]
    weight = torch.from_numpy(np.array(op.weight)).double()
    if op.transposed:
        full = F.conv_transpose3d(x.double(), weight, None, op.strides, 0, 0, op.groups, op.dilations)
        extra = op.output_padding or (0,) * spatial
        accumulators = F.pad(full, _pad_list([-b for b in begin], [e - p for e, p in zip(extra, end, strict=True)]))
    else:
        padded = F.pad(x.double(), _pad_list(begin, end))
        accumulators = F.conv3d(padded, weight, None, op.strides, 0, op.dilations, op.groups)
    rows = channels_last(accumulators)
    out = requantised(rows.view(-1, rows.shape[-1]).to(torch.int64), tail_of(op.bias, op.scaling, op.output))
    return channels_first_view(out.view(rows.shape))


def _pad_list(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """torch's order of paddings: the last axis first, (begin, end) for each."""
    return [size for pair in reversed(list(zip(begin, end, strict=True))) for size in pair]
