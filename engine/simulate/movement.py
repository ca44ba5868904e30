"""Geometry of data movement: how long the stretches are that stay contiguous on both sides of a copy.

All functions count elements. A copy is a list of chunks, each contiguous in the source and in the
destination; their mean length decides what share of each memory burst is useful.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod


def merged_transpose(shape: tuple[int, ...], perm: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The permutation without axes of size 1 and with axes that travel together as one: (shape, perm)."""
    order = [axis for axis in perm if shape[axis] != 1]
    groups: list[list[int]] = []
    kept = sorted(order)
    rank = {axis: index for index, axis in enumerate(kept)}
    for axis in order:
        if groups and rank[axis] == rank[groups[-1][-1]] + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    source_order = sorted(range(len(groups)), key=lambda index: groups[index][0])
    merged_shape = tuple(prod(shape[axis] for axis in groups[index]) for index in source_order)
    position = {index: place for place, index in enumerate(source_order)}
    return merged_shape, tuple(position[index] for index in range(len(groups)))


def transpose_chunk(shape: tuple[int, ...], perm: tuple[int, ...]) -> int | None:
    """Elements that stay together; None where nothing moves at all."""
    merged_shape, merged_perm = merged_transpose(shape, perm)
    if len(merged_perm) < 2:
        return None
    return merged_shape[-1] if merged_perm[-1] == len(merged_perm) - 1 else 1


def roll_chunk(shape: tuple[int, ...], shifts: tuple[int, ...], axes: tuple[int, ...]) -> int | None:
    """Mean elements a chunk; None where no axis really shifts. Each shifted axis cuts its rows in two."""
    moving = [axis for shift, axis in zip(shifts, axes, strict=True) if shift % max(shape[axis], 1)]
    if not moving:
        return None
    row = prod(shape[max(moving) :])
    return max(1, row // 2)


def slice_chunk(
    shape: tuple[int, ...], starts: tuple[int, ...], stops: tuple[int, ...], steps: tuple[int, ...]
) -> int | None:
    """Elements a chunk of what is taken; None where everything is taken in order."""
    taken = [len(range(*bounds)) for bounds in zip(starts, stops, steps, strict=True)]
    chunk = 1
    for axis in range(len(shape) - 1, -1, -1):
        if steps[axis] != 1 and taken[axis] > 1:
            return chunk
        chunk *= taken[axis]
        if taken[axis] != shape[axis]:
            return max(chunk, 1)
    return None


def axis_chunk(shape: tuple[int, ...], axis: int) -> int:
    """Elements of one row of ``axis`` with all axes inside it: the chunk of concat, split and gather."""
    return max(1, prod(shape[axis:]))


def pad_chunk(shape: tuple[int, ...], pads: tuple[int, ...]) -> int | None:
    """Elements a chunk of the unpadded tensor; None without padding."""
    rank = len(shape)
    padded = [axis for axis in range(rank) if pads[axis] or pads[rank + axis]]
    return axis_chunk(shape, max(padded)) if padded else None


def expand_chunk(source: tuple[int, ...], target: tuple[int, ...]) -> int | None:
    """Elements of a chunk that is copied as it is; None where the shapes hold the same elements."""
    if prod(source) == prod(target):
        return None
    aligned = (1,) * (len(target) - len(source)) + source
    chunk = 1
    for size, wanted in zip(reversed(aligned), reversed(target), strict=True):
        if size != wanted:
            break
        chunk *= size
    return chunk


def gather_chunk(shape: tuple[int, ...], axis: int, indices: tuple[int, ...]) -> int:
    """Mean elements a chunk: neighbouring indices are copied together."""
    inner = prod(shape[axis + 1 :])
    jumps = sum(1 for a, b in pairwise(indices) if b != a + 1)
    return max(1, inner * len(indices) // (jumps + 1))
