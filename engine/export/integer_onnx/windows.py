"""What convolutions and pooling see of [N, C, *S]: the elements of each window, gathered by constant indices.

Padding, and the holes between elements of a transposed convolution, are one more element behind the picture's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.export.integer_onnx.registry import writes
from engine.export.integer_onnx.steps import MAGNITUDE, cast, reduce, rescale, reshape, step
from engine.export.onnx_nodes import Emission
from engine.program.arithmetic import frozen
from engine.program.kernels.pooling import reciprocal_scale
from engine.program.types import AveragePoolInteger, MaximumPool, Scaling

_OUTSIDE = -1


@dataclass(frozen=True)
class Windows:
    """``indices`` [K, L]: which element of the flat picture each of the K places of each of the L windows meets.

    ``size`` is the shape of the L windows; the index ``elements`` stands for padding.
    """

    indices: NDArray[np.int64]
    size: tuple[int, ...]
    elements: int

    @property
    def has_padding(self) -> bool:
        return bool((self.indices == self.elements).any())

    @property
    def is_picture(self) -> bool:
        """Whether the windows are the picture's elements, one by one."""
        return self.indices.shape == (1, self.elements) and bool((self.indices[0] == np.arange(self.elements)).all())


def windows(
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> Windows:
    """Windows of convolution and pooling over a picture of the spatial ``shape``; ``pads`` are begins, then ends."""
    spatial = len(shape)
    axes: list[NDArray[np.int64]] = []
    for axis, (size, width, stride, dilation) in enumerate(zip(shape, kernel, strides, dilations, strict=True)):
        begin, end = pads[axis], pads[axis + spatial]
        count = (size + begin + end - dilation * (width - 1) - 1) // stride + 1
        place = np.arange(count)[None] * stride - begin + np.arange(width)[:, None] * dilation
        axes.append(np.where((place >= 0) & (place < size), place, _OUTSIDE))
    return _combined(axes, shape)


def transposed_windows(
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    output_padding: Sequence[int],
) -> Windows:
    """For each output place of a transposed convolution the input that each place of the kernel carries to it."""
    spatial = len(shape)
    axes: list[NDArray[np.int64]] = []
    for axis, (size, width, stride, dilation) in enumerate(zip(shape, kernel, strides, dilations, strict=True)):
        begin, end = pads[axis], pads[axis + spatial]
        extra = output_padding[axis] if output_padding else 0
        count = stride * (size - 1) + dilation * (width - 1) + 1 + extra - begin - end
        reach = np.arange(count)[None] + begin - np.arange(width)[:, None] * dilation
        source = reach // stride
        axes.append(np.where((reach % stride == 0) & (source >= 0) & (source < size), source, _OUTSIDE))
    return _combined(axes, shape)


def _combined(axes: Sequence[NDArray[np.int64]], shape: Sequence[int]) -> Windows:
    """Flat indices from those of every axis, [places, windows] each."""
    spatial = len(axes)
    flat = np.zeros((1,) * (2 * spatial), np.int64)
    inside = np.ones((1,) * (2 * spatial), np.bool_)
    for axis, source in enumerate(axes):
        spread = [1] * (2 * spatial)
        spread[axis], spread[axis + spatial] = source.shape
        flat = flat * shape[axis] + source.reshape(spread)
        inside = inside & (source.reshape(spread) != _OUTSIDE)
    elements = math.prod(shape)
    size = tuple(source.shape[1] for source in axes)
    return Windows(np.where(inside, flat, elements).reshape(-1, math.prod(size)), size, elements)


def gathered(emission: Emission, x: str, seen: Windows, fill: int, dtype: str) -> str:
    """[N, C, *S] of ``dtype`` (int32 or int64) -> [N, C, K, L]; padding is ``fill``."""
    flat = reshape(emission, x, (0, 0, seen.elements))
    if seen.has_padding:
        pads = np.array([0, 0, 0, 0, 0, 1], np.int64)
        flat = step(emission, "Pad", flat, pads, np.array(fill, dtype))
    return step(emission, "Gather", flat, seen.indices, axis=2)


@writes(MaximumPool)
def _maximum_pool(op: MaximumPool, emission: Emission) -> None:
    dilations = op.dilations or (1,) * len(op.kernel)
    seen = windows(emission.shape()[2:], op.kernel, op.strides, op.pads, dilations)
    x = cast(emission, emission.inputs[0], "int32")
    places = gathered(emission, x, seen, -MAGNITUDE[emission.dtype], "int32")
    _shaped(emission, reduce(emission, "ReduceMax", places, (2,), keepdims=False), seen)


@writes(AveragePoolInteger)
def _average_pool(op: AveragePoolInteger, emission: Emission) -> None:
    shape = emission.shape()[2:]
    seen = windows(shape, op.kernel, op.strides, op.pads, (1,) * len(op.kernel))
    x = cast(emission, emission.inputs[0], "int64")
    total = reduce(emission, "ReduceSum", gathered(emission, x, seen, 0, "int64"), (2,), keepdims=False)
    multiplier, shift = reciprocal_scale(_counts(op, shape))
    scaling = Scaling(frozen(multiplier.astype(np.int32)), frozen(shift.astype(np.int8)))
    bound = math.prod(op.kernel) * MAGNITUDE[emission.dtype]
    _shaped(emission, rescale(emission, total, scaling, bound), seen)


def _counts(op: AveragePoolInteger, shape: Sequence[int]) -> NDArray[np.int64]:
    """How many elements each window counts, [L]: those within the picture extended by ``counted_pads``."""
    spatial = len(shape)
    begins, ends = op.counted_pads[:spatial], op.counted_pads[spatial:]
    extended = [size + begin + end for size, begin, end in zip(shape, begins, ends, strict=True)]
    rest = tuple(pad - counted for pad, counted in zip(op.pads, op.counted_pads, strict=True))
    seen = windows(extended, op.kernel, op.strides, rest, (1,) * spatial)
    return np.maximum((seen.indices != seen.elements).sum(axis=0), 1)


def _shaped(emission: Emission, x: str, seen: Windows) -> None:
    """[N, C, L] as the emission's output [N, C, *size], in the input's type."""
    cast(emission, reshape(emission, x, (0, 0, *seen.size)), emission.dtype, emission.outputs[0])
