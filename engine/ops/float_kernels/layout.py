"""Float kernels of the layout operators. They move any element type, so the integer executor uses them too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import DataError
from engine.ops import layout as ops
from engine.ops.float_kernels.behaviour import FLOAT


@FLOAT.register(ops.Reshape)
def _reshape(op: ops.Reshape, x: Tensor) -> tuple[Tensor, ...]:
    return (x.reshape(op.shape),)


@FLOAT.register(ops.Transpose)
def _transpose(op: ops.Transpose, x: Tensor) -> tuple[Tensor, ...]:
    return (x.permute(op.perm),)


@FLOAT.register(ops.Concat)
def _concat(op: ops.Concat, *inputs: Tensor) -> tuple[Tensor, ...]:
    return (torch.cat(inputs, dim=op.axis),)


@FLOAT.register(ops.Split)
def _split(op: ops.Split, x: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.split(x, list(op.sizes), dim=op.axis))


@FLOAT.register(ops.Slice)
def _slice(op: ops.Slice, x: Tensor) -> tuple[Tensor, ...]:
    flipped = [axis for axis, step in enumerate(op.steps) if step < 0]
    for axis, (start, stop, step) in enumerate(zip(op.starts, op.stops, op.steps, strict=True)):
        size = x.shape[axis]
        if step < 0:  # the same elements in ascending order, turned round below; torch has no negative steps
            count = max(0, -((start - stop) // step))
            start, stop, step = start + (count - 1) * step, start + 1, -step
            if count == 0:
                start = stop = 0
        if start == 0 and stop >= size and step == 1:
            continue
        index = (slice(None),) * axis
        x = x[(*index, slice(start, max(start, stop), step))]
    return (x.flip(flipped) if flipped else x,)


@FLOAT.register(ops.Pad)
def _pad(op: ops.Pad, x: Tensor) -> tuple[Tensor, ...]:
    rank = x.dim()
    begins, ends = op.pads[:rank], op.pads[rank:]
    if op.mode == "constant":
        pairs = [amount for axis in reversed(range(rank)) for amount in (begins[axis], ends[axis])]
        return (functional.pad(x, pairs, value=_fill(op.value, x)),)
    for axis in range(rank):
        if begins[axis] or ends[axis]:
            x = x.index_select(axis, _pad_indices(x, axis, begins[axis], ends[axis], op.mode))
    return (x,)


def _fill(value: float, x: Tensor) -> float | int | bool:
    """The padding value in the tensor's own kind of number."""
    if x.is_floating_point():
        return value
    return bool(value) if x.dtype == torch.bool else int(value)


def _pad_indices(x: Tensor, axis: int, begin: int, end: int, mode: str) -> Tensor:
    """Which input element stands at each place of the padded axis."""
    indices = np.pad(np.arange(x.shape[axis]), (begin, end), mode=mode)  # type: ignore[call-overload]
    return torch.as_tensor(indices, device=x.device)


@FLOAT.register(ops.Gather)
def _gather(op: ops.Gather, x: Tensor) -> tuple[Tensor, ...]:
    if not op.indices_shape:
        return (x.select(op.axis, op.indices[0]),)
    picked = x.index_select(op.axis, torch.tensor(op.indices, dtype=torch.int64, device=x.device))
    return (picked.reshape((*x.shape[: op.axis], *op.indices_shape, *x.shape[op.axis + 1 :])),)


@FLOAT.register(ops.LookUp)
def _look_up(op: ops.LookUp, data: Tensor, indices: Tensor) -> tuple[Tensor, ...]:
    count = data.shape[op.axis]
    places = indices.reshape(-1).to(torch.int64)
    known = places.numel() and not places.is_meta
    if known and not (-count <= int(places.min()) and int(places.max()) < count):
        raise DataError(f"an index is out of range for {count} rows", hint="feed indices that the table has")
    picked = data.index_select(op.axis, torch.where(places < 0, places + count, places))
    return (picked.reshape((*data.shape[: op.axis], *indices.shape, *data.shape[op.axis + 1 :])),)


@FLOAT.register(ops.Expand)
def _expand(op: ops.Expand, x: Tensor) -> tuple[Tensor, ...]:
    return (x.expand(op.shape),)


@FLOAT.register(ops.Tile)
def _tile(op: ops.Tile, x: Tensor) -> tuple[Tensor, ...]:
    return (x.repeat(op.repeats),)


@FLOAT.register(ops.Roll)
def _roll(op: ops.Roll, x: Tensor) -> tuple[Tensor, ...]:
    return (torch.roll(x, op.shifts, op.axes),)


@FLOAT.register(ops.DepthToSpace)
def _depth_to_space(op: ops.DepthToSpace, x: Tensor) -> tuple[Tensor, ...]:
    n, c, h, w = x.shape
    block, depth = op.block, c // (op.block * op.block)
    split, perm = _DEPTH_TO_SPACE[op.mode]
    x = x.reshape([n, *(depth if size == "depth" else block for size in split), h, w]).permute(perm)
    return (x.reshape(n, depth, h * block, w * block),)


_DEPTH_TO_SPACE: dict[str, tuple[Sequence[str], tuple[int, ...]]] = {
    "DCR": (("block", "block", "depth"), (0, 3, 4, 1, 5, 2)),
    "CRD": (("depth", "block", "block"), (0, 1, 4, 2, 5, 3)),
}
"""How the channels split, and the permutation that brings [N, D, H, B, W, B] about, for each mode."""


SPACE_TO_DEPTH: dict[str, tuple[int, ...]] = {"DCR": (0, 3, 5, 1, 2, 4), "CRD": (0, 1, 3, 5, 2, 4)}
"""The permutation of [N, C, H', B, W', B] for each mode."""


@FLOAT.register(ops.SpaceToDepth)
def _space_to_depth(op: ops.SpaceToDepth, x: Tensor) -> tuple[Tensor, ...]:
    n, c, h, w = x.shape
    block = op.block
    x = x.reshape(n, c, h // block, block, w // block, block).permute(SPACE_TO_DEPTH[op.mode])
    return (x.reshape(n, c * block * block, h // block, w // block),)


@FLOAT.register(ops.Identity)
def _identity(op: ops.Identity, x: Tensor) -> tuple[Tensor, ...]:
    return (x,)
