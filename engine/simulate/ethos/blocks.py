"""Blocks: into which pieces the engine cuts a pass. It takes the ones that make it read least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.simulate.ethos.npu import U55, U85, Npu, Sizes, round_up, volume
from engine.simulate.ethos.passes import EQUAL_DEPTH, Block, Part, Pass

_WINDOW_LIMIT = 8
"""Larger windows are computed in parts of at most so many rows and columns."""
_DEPTH_STEP = 16
_SMALL = 4


@dataclass(frozen=True)
class Blocks:
    """Shapes of the blocks of a pass: results, the inputs of one, and the microblock.

    ``is_part_kernel`` says that a convolution runs over its window first, a few channels at a time.
    """

    ofm: Block
    ifm: Block
    micro: Block
    is_part_kernel: bool = False


@lru_cache(maxsize=4096)
def blocks_of(item: Pass, npu: Npu) -> Blocks:
    """The blocks of a pass; pure, and remembered."""
    micro = npu.microblock(item)
    part_kernel = item.part is Part.CONVOLUTION and npu.takes_part_kernel(item)
    if item.part is Part.ELEMENTWISE:
        return _elementwise(item, npu, micro)
    if not isinstance(npu, U55) and item.part in (Part.DEPTHWISE, Part.POOLING, Part.SUM):
        return _covering(item, npu, micro)
    return _searched(item, npu, micro, part_kernel)


_Count = TypeVar("_Count", int, Sizes)


def needed(results: _Count, stride: int, window: int, dilation: int) -> _Count:
    """Inputs along an axis for so many results, of one part of the window."""
    return (results - 1) * stride + min((window - 1) * dilation + 1, _WINDOW_LIMIT)


def window_parts(item: Pass) -> int:
    """In how many parts the window is computed."""
    return math.prod(-(-size // _WINDOW_LIMIT) for size in item.kernel)


def _ifm_block(item: Pass, npu: Npu, micro: Block, ofm: Block, depth: int) -> Block:
    granule = npu.ifm_granule(item, micro, depth)
    height, width = (
        round_up(needed(ofm[axis], item.strides[axis], item.kernel[axis], item.dilations[axis]), granule[axis])
        for axis in range(2)
    )
    return height, width, round_up(depth, granule[2])


def _elementwise(item: Pass, npu: Npu, micro: Block) -> Blocks:
    """As much as the buffers hold: width first, then height, then depth."""
    shape = item.result
    limits = [min(round_up(size, part), most) for size, part, most in zip(shape, micro, npu.largest_block, strict=True)]
    block = [micro[0], micro[1], min(round_up(shape[2], micro[2]), _DEPTH_STEP)]
    for axis in (1, 0, 2):
        while True:
            larger = [*block]
            larger[axis] = min(2 * block[axis], round_up(limits[axis], micro[axis]))
            size = (larger[0], larger[1], larger[2])
            if larger == block or not npu.fits(item, size, size):
                break
            block = larger
    size = (block[0], block[1], block[2])
    return Blocks(size, size, micro)


def _searched(item: Pass, npu: Npu, micro: Block, part_kernel: bool) -> Blocks:
    """The block that reads fewest inputs and weights for each result; among equal ones, a small one.

    Of equal ones the first, by depth, height and width, unless later ones are small: then the last of those that cover
    the inputs in fewest pieces.
    """
    depths = _depths(item.result[2], micro[2], npu.largest_block[2])
    tried = [_of_depth(item, npu, micro, depth, part_kernel) for depth in depths]
    least = min(found.cost.min() for found in tried)
    chosen: _Tried | None = None
    place = (-1, -1)
    cover = math.inf
    for found in tried:
        for row, column in np.argwhere(found.cost == least).tolist():
            if chosen is None:
                chosen, place = found, (row, column)
                continue
            height, width, _ = found.block(row, column)
            pieces = _pieces(item, found.ifm_block(row, column))
            if height <= _SMALL and width <= _SMALL and pieces <= cover:
                chosen, place, cover = found, (row, column), pieces
    assert chosen is not None, f"no block of {item}"
    return Blocks(chosen.block(*place), chosen.ifm_block(*place), micro, part_kernel)


@dataclass(frozen=True)
class _Tried:
    """Blocks of one depth: [heights, widths] of what each costs, infinite where the buffers do not take it."""

    heights: Sizes
    widths: Sizes
    depth: int
    ifm_heights: Sizes
    ifm_widths: Sizes
    ifm_depth: int
    cost: NDArray[np.float32]

    def block(self, row: int, column: int) -> Block:
        return int(self.heights[row, 0]), int(self.widths[0, column]), self.depth

    def ifm_block(self, row: int, column: int) -> Block:
        return int(self.ifm_heights[row, 0]), int(self.ifm_widths[0, column]), self.ifm_depth


def _pieces(item: Pass, ifm: Block) -> int:
    return -(-item.ifm.height // ifm[0]) * -(-item.ifm.width // ifm[1])


def _of_depth(item: Pass, npu: Npu, micro: Block, depth: int, part_kernel: bool) -> _Tried:
    """All heights and widths of blocks of a depth."""
    shape = item.result
    equal = item.part in EQUAL_DEPTH
    ifm_depth = depth if equal else npu.ifm_block_depth(item, part_kernel)
    granule = npu.ifm_granule(item, micro, ifm_depth)
    extents: list[Sizes] = []
    inputs: list[Sizes] = []
    for axis in range(2):
        step, most = micro[axis], _limit(shape[axis], micro[axis], npu.largest_block[axis])
        sizes = np.arange(step, most + 1, step, dtype=np.int64).reshape((-1, 1) if axis == 0 else (1, -1))
        least = needed(sizes, item.strides[axis], item.kernel[axis], item.dilations[axis])
        extents.append(sizes)
        inputs.append(-(-least // granule[axis]) * granule[axis])
    ifm_depth = round_up(ifm_depth, granule[2])
    cost = _read_per_result(item, extents, depth, inputs, ifm_depth)
    fits = npu.takes(item, extents[0] * extents[1], depth, inputs[0] * inputs[1], ifm_depth)
    cost = np.where(fits, cost, np.float32(np.inf)).astype(np.float32)
    return _Tried(extents[0], extents[1], depth, inputs[0], inputs[1], ifm_depth, cost)


def _read_per_result(
    item: Pass, sizes: Sequence[Sizes], depth: int, inputs: Sequence[Sizes], ifm_depth: int
) -> NDArray[np.float32]:
    """Elements read for each result. In 32 bits, as Vela computes it: which of equal blocks it takes is chance."""
    single = np.float32
    shape, channels = item.result, item.ifm.depth
    height, width = (size.astype(single) for size in sizes)
    if item.part is Part.PRODUCT:
        return single(1.0) / (height * width * single(depth))
    area = inputs[0] * inputs[1]
    rows, columns = single(shape[0]) / height, single(shape[1]) / width
    read = (area * (channels * window_parts(item))).astype(single) * rows * columns
    if item.part not in EQUAL_DEPTH:
        read *= single(-(-shape[2] // depth))
    if item.part in (Part.CONVOLUTION, Part.DEPTHWISE):
        blocks = -(-shape[0] // sizes[0]) * -(-shape[1] // sizes[1])
        weights = (blocks * (item.kernel[0] * item.kernel[1] * channels)).astype(single)
        pieces = single(shape[2]) / single(depth) * single(depth)
        read += weights if item.part is Part.DEPTHWISE else weights * pieces
    cost = read / single(math.prod(shape))
    return np.where(item.ifm.elements < 2 * area * ifm_depth, cost / single(2.0), cost)


def _limit(size: int, granule: int, most: int) -> int:
    return round_up(min(size, most), granule)


def _depths(size: int, granule: int, most: int) -> list[int]:
    """Depths of blocks: multiples of 16 as long as the results are deeper."""
    end = round_up(min(size, most), granule)
    depth, found = max(granule, min(end, _DEPTH_STEP)), list[int]()
    while depth <= end:
        depth = round_up(depth, _DEPTH_STEP) if depth < size else depth
        found.append(depth)
        depth += granule
    return [depth for depth in found if depth <= end] or [end]


def _covering(item: Pass, npu: Npu, micro: Block) -> Blocks:
    """The block, of the proportions of the results, that covers most of them; the buffers are used once."""
    granule = (micro[0], micro[1], _DEPTH_STEP)
    shape = _rounded(item.result, granule)
    limit = tuple(map(min, shape, npu.largest_block))
    fixed = npu.ifm_block_depth(item, False) if item.part is Part.SUM else 0
    by_depth = item.kernel == (1, 1)
    area = shape[1] * (shape[2] if by_depth else shape[0])
    best: tuple[float, Block] | None = None
    for depth in range(_DEPTH_STEP, limit[2] + 1, _DEPTH_STEP):
        ofm = _fitted(item, npu, micro, shape, limit, depth, fixed)
        if ofm is None:
            break
        if all(map(int.__ge__, ofm, shape)):
            best = (0.0, shape)
            break
        covered = 1 + abs(1 - area / (ofm[1] * (depth if by_depth else ofm[0])))
        deep = 1 + abs(1 - limit[2] / depth) / 10
        if best is None or covered * deep < best[0]:
            best = (covered * deep, ofm)
    ofm = best[1] if best else granule
    ofm = _with_room(item, npu, micro, shape, ofm, fixed)
    return Blocks(ofm, _ifm_block(item, npu, micro, ofm, fixed or ofm[2]), micro)


def _rounded(shape: Block, granule: Block) -> Block:
    return round_up(shape[0], granule[0]), round_up(shape[1], granule[1]), round_up(shape[2], granule[2])


def _fitted(
    item: Pass, npu: Npu, micro: Block, shape: Block, limit: tuple[int, ...], depth: int, fixed: int
) -> Block | None:
    """The largest block of a depth that the buffers take, about as high to its width as the results."""
    least = micro[0] * micro[1] * _DEPTH_STEP
    elements = U85.SUM_BYTES // 4
    aspect = shape[0] / shape[1]
    while elements >= least:
        width = math.sqrt(max(elements // depth, 1) / aspect)
        height = width * aspect
        if height < 1.0:
            width, height = width * height, 1.0
        elif width < 1.0:
            width, height = 1.0, height * width
        across = min(max(int(width), micro[1]) // micro[1] * micro[1], limit[1])
        down = min(max(int(height), micro[0]) // micro[0] * micro[0], limit[0])
        total = across * down
        across = _even(shape[1], micro[1], across)
        down = max(total // across // micro[0] * micro[0], micro[0])
        ofm = (down, across, depth)
        ifm = _ifm_block(item, npu, micro, ofm, fixed or depth)
        sums, inputs = volume(ofm) * 4, min(volume(ifm), item.ifm.elements) * item.ifm.width_bytes
        ratio = min(U85.SUM_BYTES / sums, U85.IFM_BYTES / inputs)
        if ratio >= 1.0:
            return ofm
        scaled = int(min(elements, total * depth) * ratio) // least * least
        elements = min(scaled, elements - least)
    return None


def _even(size: int, granule: int, tile: int) -> int:
    """A tile of at most ``tile`` that leaves the largest rest, so that the tiles are even."""
    if tile >= size or size % tile == 0:
        return tile
    even = max(round_up(size // (size // tile + 1), granule), granule)
    first = max(even - 2 * granule, (even + 1) // 2, granule)
    return max(range(tile, first - 1, -granule), key=lambda width: (size % width or width, width))


def _with_room(item: Pass, npu: Npu, micro: Block, shape: Block, ofm: Block, fixed: int) -> Block:
    """A block so much smaller that the inputs of another row of it can be read meanwhile."""
    while ofm != shape:
        ifm = volume(_ifm_block(item, npu, micro, ofm, fixed or ofm[2]))
        row = volume(_ifm_block(item, npu, micro, (micro[0], ofm[1], ofm[2]), fixed or ofm[2]))
        if (ifm + row) * item.ifm.width_bytes <= U85.IFM_BYTES:
            return ofm
        height, width, depth = ofm
        if height > micro[0] and height != shape[0]:
            height -= micro[0]
        elif depth > width and depth > _DEPTH_STEP:
            depth -= _DEPTH_STEP
        elif width > micro[1]:
            width -= micro[1]
        elif height > micro[0]:
            height -= micro[0]
        elif depth > _DEPTH_STEP:
            depth -= _DEPTH_STEP
        else:
            return ofm
        ofm = (height, width, depth)
    return ofm
