"""How tensors lie in memory: flat views that compiled loops can walk, whatever the strides.

4-D activations keep their channels last in memory ("channels_last" in torch), so that a 1x1 convolution is a matrix
product and every loop over channels is contiguous; logically they stay [N, C, H, W].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TORCH_DTYPE = {
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "float32": torch.float32,
    "bool": torch.bool,
}


def memory_order(x: Tensor) -> list[int]:
    """Axes from the largest stride to the smallest; axes of size 1 keep their place among equals."""
    return sorted(range(x.dim()), key=lambda axis: (-x.stride(axis), axis))


def is_dense(x: Tensor) -> bool:
    """Whether the elements fill one block of memory in some order of axes."""
    if x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)):
        return True
    return x.permute(memory_order(x)).is_contiguous()


def dense(x: Tensor) -> Tensor:
    """The tensor itself if it is dense, else a contiguous copy."""
    return x if is_dense(x) else x.contiguous()


def flat(x: Tensor) -> NDArray[np.generic]:
    """The elements of a dense tensor in memory order, [elements], sharing its memory."""
    return x.as_strided((x.numel(),), (1,)).numpy()


def empty_like(x: Tensor, dtype: str) -> Tensor:
    """An uninitialised tensor with the shape and memory order of a dense tensor."""
    return torch.empty_like(x, dtype=TORCH_DTYPE[dtype])


def rows_of(x: Tensor, trailing: int = 1) -> Tensor:
    """[..., *last] -> [R, product of the last ``trailing`` sizes], contiguous; a copy only where strides need it."""
    width = 1
    for size in x.shape[x.dim() - trailing :]:
        width *= size
    return x.reshape(-1, width).contiguous()


def channels_last(x: Tensor) -> Tensor:
    """[N, C, *S] -> [N, *S, C] contiguous; a view where the memory already has that order."""
    return x.movedim(1, -1).contiguous()


def channels_first_view(x: Tensor) -> Tensor:
    """[N, *S, C] -> [N, C, *S], a view."""
    return x.movedim(-1, 1)


@dataclass(frozen=True)
class Walk:
    """A loop of four nested levels over one output and operands that broadcast to it.

    ``sizes`` int64 [4], outermost first; ``strides`` int64 [operands, 4] in elements, 0 where an operand repeats. The
    output is dense in the order of the walk. ``order`` is set where operands must first be copied, with their axes in
    that order, because more than four levels would be needed.
    """

    sizes: NDArray[np.int64]
    strides: NDArray[np.int64]
    order: tuple[int, ...] | None


LEVELS = 4


def broadcast_walk(output: Tensor, operands: Sequence[Tensor]) -> tuple[Walk, list[NDArray[np.generic]]]:
    """The shortest walk over ``output`` (dense) and operands that broadcast to its shape, and the operands' memory.

    Neighbouring axes that every operand steps through evenly become one level.
    """
    walk = _plan(output.shape, output.stride(), tuple((x.shape, x.stride()) for x in operands))
    if walk.order is not None:
        copies = [x.expand(output.shape).permute(walk.order).contiguous() for x in operands]
        return walk, [x.view(-1).numpy() for x in copies]
    return walk, [_storage_of(x) for x in operands]


@lru_cache(maxsize=4096)
def _plan(
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    operands: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...],
) -> Walk:
    order = sorted(range(len(shape)), key=lambda axis: (-stride[axis], axis))
    sizes = [shape[axis] for axis in order]
    strides = [_strides_in(sizes_in, steps, order) for sizes_in, steps in operands]
    merged_sizes, merged_strides = _merged(sizes, strides)
    if len(merged_sizes) > LEVELS:
        return Walk(*_padded([math.prod(shape)], [[1] for _ in operands]), tuple(order))
    return Walk(*_padded(merged_sizes, merged_strides), None)


def _strides_in(shape: tuple[int, ...], stride: tuple[int, ...], order: Sequence[int]) -> list[int]:
    """Strides of an operand along the output's axes, in the walk's order; 0 where it is repeated."""
    missing = len(order) - len(shape)
    steps = [0] * missing + [step if size != 1 else 0 for size, step in zip(shape, stride, strict=True)]
    return [steps[axis] for axis in order]


def _merged(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Drop levels of size 1 and join neighbours where, for every operand, outer stride = inner stride * inner size."""
    out_sizes: list[int] = []
    out_strides: list[list[int]] = [[] for _ in strides]
    for level, size in enumerate(sizes):
        if size == 1:
            continue
        joins = bool(out_sizes) and all(
            out[-1] == operand[level] * size for out, operand in zip(out_strides, strides, strict=True)
        )
        if joins:
            out_sizes[-1] *= size
        else:
            out_sizes.append(size)
        for out, operand in zip(out_strides, strides, strict=True):
            if joins:
                out[-1] = operand[level]
            else:
                out.append(operand[level])
    return out_sizes, out_strides


def _padded(
    sizes: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    missing = LEVELS - len(sizes)
    whole = np.array([1] * missing + list(sizes), dtype=np.int64)
    steps = np.array([[0] * missing + list(operand) for operand in strides], dtype=np.int64)
    return whole, steps.reshape(len(strides), LEVELS)


def _storage_of(x: Tensor) -> NDArray[np.generic]:
    """The block of memory that the tensor's elements lie in, from its first element to its last, [extent]."""
    if x.is_contiguous():
        return x.view(-1).numpy()
    extent = 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return x.as_strided((extent if x.numel() else 0,), (1,)).numpy()
