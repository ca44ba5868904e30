"""What a pass costs: cycles of the engine, and bytes and cycles of each memory.

The formulas are those that Vela reports with. A block takes the multipliers so long and the output unit so long; each
is taken to last at least a quarter of what both and the memory together do, because commands are issued no faster. A
pass takes as long as the slowest of the engine and the memories; a memory carries whole bursts, of which a short run
fills a part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from engine.simulate.ethos.blocks import Blocks, blocks_of, window_parts
from engine.simulate.ethos.npu import U55, Channel, Memory, Npu, volume
from engine.simulate.ethos.passes import EQUAL_DEPTH, Block, FeatureMap, Part, Pass, Weights

_COMMANDS = 4
_SCALE_BYTES = 10
_SCALE_WORDS = 256
_RUN_LIMIT = 64
_BRICK = 16
_WINDOW_LIMIT = 8
_DELAY = 2
_SHORT_COPY = 1000
"""Cycles of a copy that Vela does not weigh."""
_HIDDEN = 5 / 3
"""Copying weights is hidden by the pass before, taken to be as long as the pass itself, and two thirds of this one;
what it takes beyond that, Vela adds to the engine's cycles."""


@dataclass(frozen=True)
class Traffic:
    """Bytes that a memory carries for a pass, in whole bursts, and the cycles that takes."""

    read_bytes: int = 0
    write_bytes: int = 0
    cycles: float = 0.0

    @property
    def total_bytes(self) -> int:
        return self.read_bytes + self.write_bytes


@dataclass(frozen=True)
class PassCost:
    """What a pass costs, all its repetitions together.

    Attributes:
        engine_cycles: Of multipliers and output unit.
        is_mac: The multipliers are the slower of these two.
        near: SRAM.
        far: The memory off the chip.
    """

    engine_cycles: float
    is_mac: bool
    near: Traffic
    far: Traffic

    @property
    def cycles(self) -> float:
        """The slowest of all: they work at the same time."""
        return max(self.engine_cycles, self.near.cycles, self.far.cycles)

    @property
    def is_memory_bound(self) -> bool:
        return max(self.near.cycles, self.far.cycles) > self.engine_cycles


@dataclass
class _Carried:
    """Bytes of one memory by channel."""

    read: dict[Channel, float]
    written: float = 0.0


@lru_cache(maxsize=8192)
def pass_cost(item: Pass, npu: Npu) -> PassCost:
    """Cycles and bytes of a pass; pure, and remembered."""
    blocks = blocks_of(item, npu)
    carried = {True: _Carried({}), False: _Carried({})}
    is_staged = item.weights is not None and _is_staged(item, item.weights, npu, blocks)
    _carry_maps(item, npu, blocks, carried)
    if item.table_bytes:
        carried[False].read[Channel.COPY] = item.table_bytes
    scale_reads = _carry_weights(item, blocks, carried, is_staged)
    engine, is_mac = _engine_cycles(item, npu, blocks, is_staged)
    if is_staged and item.weights is not None:
        copied = _copy_cycles(item.weights, npu)
        hidden = 0.0 if item.is_first and npu.waits_for_weights else _HIDDEN * engine
        engine += max(0.0, copied - hidden)
    traffic = {is_near: _traffic(npu, is_near, load) for is_near, load in carried.items()}
    far = traffic[False]
    slow = max(far.cycles, scale_reads / npu.channel_bytes(npu.far, Channel.SCALES))
    far = Traffic(far.read_bytes, far.write_bytes, slow)
    times = item.repeats
    return PassCost(engine * times, is_mac, _repeated(traffic[True], times), _repeated(far, times))


def _repeated(traffic: Traffic, times: int) -> Traffic:
    return Traffic(traffic.read_bytes * times, traffic.write_bytes * times, traffic.cycles * times)


# -- memory --------------------------------------------------------------------------------------------------


def _traffic(npu: Npu, is_near: bool, load: _Carried) -> Traffic:
    memory = npu.memory(is_near)
    timed = {channel: size for channel, size in load.read.items() if channel is not Channel.COPY}
    each = [size / npu.channel_bytes(memory, channel) for channel, size in timed.items()]
    written = load.written / npu.channel_bytes(memory, Channel.WRITE)
    total = (sum(timed.values()) + load.written) / memory.bytes_per_cycle
    return Traffic(round(sum(load.read.values())), round(load.written), max([total, written, *each]))


def _carry_maps(item: Pass, npu: Npu, blocks: Blocks, carried: dict[bool, _Carried]) -> None:
    channel = Channel.STREAM if item.part is Part.ELEMENTWISE else Channel.WINDOW
    maps = [(item.ifm, _read_elements(item, blocks))]
    for other in (item.second, *item.others):
        if other is not None:
            maps.append((other, _second_elements(item, npu, other)))
    for source, elements in maps:
        size = in_bursts(source, elements, blocks.ifm, npu.memory(source.is_near), reads=True)
        held = carried[source.is_near].read
        held[channel] = held.get(channel, 0.0) + size
    target = item.ofm
    written = in_bursts(target, target.stored_elements, blocks.ofm, npu.memory(target.is_near), reads=False)
    carried[target.is_near].written += written


def _read_elements(item: Pass, blocks: Blocks) -> int:
    """Elements of the first operand, over and over where blocks of results overlap in it or share it.

    What is written transposed is counted over the blocks of the transposed shape, as Vela does, which may be many more.
    """
    ifm = item.ifm
    if item.part not in (*EQUAL_DEPTH, Part.CONVOLUTION, Part.PRODUCT, Part.SUM) or item.part is Part.ELEMENTWISE:
        return ifm.stored_elements
    if item.part is Part.SHUFFLE:
        return ifm.elements
    block = tuple(map(min, ifm.shape, blocks.ifm))
    area, window = _block_counts(item, blocks)
    pieces = 1 if item.part in EQUAL_DEPTH else window
    return block[0] * block[1] * ifm.stored_depth * window_parts(item) * area * pieces


def _block_counts(item: Pass, blocks: Blocks) -> tuple[int, int]:
    """How many blocks of results there are over the area, and over the depth, of what is written."""
    shape = item.ofm.shape
    block = tuple(map(min, shape, blocks.ofm))
    counts = [-(-size // part) for size, part in zip(shape, block, strict=True)]
    return counts[0] * counts[1], counts[2]


def _second_elements(item: Pass, npu: Npu, other: FeatureMap) -> int:
    """An Ethos-U55 reads an operand that is broadcast as often as there are results. It is padded as the first is."""
    if isinstance(npu, U55) and other.elements > 1:
        return item.ofm.stored_elements
    padded = replace(other, is_brick=other.is_brick or (item.ifm.is_brick and other.depth > 1))
    return padded.stored_elements


def _carry_weights(item: Pass, blocks: Blocks, carried: dict[bool, _Carried], is_staged: bool) -> float:
    """Returns bytes of scales read, which Vela times as if they came from off the chip wherever they are."""
    weights = item.weights
    if weights is None:
        return 0.0
    refetches, _ = _block_counts(item, blocks)
    total = weights.encoded_bytes + weights.scale_bytes
    near, far = carried[True], carried[False]
    if is_staged:
        near.written += total
        near.read[Channel.WEIGHTS] = weights.encoded_bytes * refetches
        near.read[Channel.SCALES] = near.read.get(Channel.SCALES, 0.0) + weights.scale_bytes * refetches
        far.read[Channel.COPY] = total
    else:
        far.read[Channel.WEIGHTS] = weights.encoded_bytes * refetches
        far.read[Channel.SCALES] = weights.scale_bytes * refetches
    return weights.scale_bytes * refetches


def _is_staged(item: Pass, weights: Weights, npu: Npu, blocks: Blocks) -> bool:
    """Whether the weights are copied to SRAM first: where they are read more than once, the copy is short, or takes
    less time than the pass does without."""
    refetches, _ = _block_counts(item, blocks)
    size = weights.encoded_bytes + weights.scale_bytes
    if size > npu.staging_bytes:
        return False
    if refetches > 1 or _copy_cycles(weights, npu) < _SHORT_COPY:
        return True
    near, far = npu.near, npu.far
    copied = _copy_cycles(weights, npu)
    copied += size / npu.channel_bytes(near, Channel.WEIGHTS) + near.read_latency
    read = size / npu.channel_bytes(far, Channel.WEIGHTS) + far.read_latency
    return copied <= max(read, _engine_cycles(item, npu, blocks, False)[0])


def _copy_cycles(weights: Weights, npu: Npu) -> float:
    """Cycles to copy weights and scales to SRAM."""
    size = weights.encoded_bytes + weights.scale_bytes
    return size / npu.channel_bytes(npu.far, Channel.COPY) + npu.far.read_latency


def in_bursts(item: FeatureMap, elements: int, block: Block, memory: Memory, *, reads: bool) -> float:
    """Bytes that a memory carries for so many elements: whole bursts, however little of one a run fills."""
    width = item.width_bytes
    if item.is_brick:
        run = _BRICK * width * block[1]
    elif reads:
        run = width * block[2]
        if item.depth * width == block[2]:
            run *= block[1]
    elif block[2] <= _BRICK and item.depth * width == block[2]:
        run = width * block[2] * block[1]
    else:
        run = min(_RUN_LIMIT, _BRICK * width, block[2] * width)
    return elements * width * memory.burst_bytes / min(memory.burst_bytes, run)


# -- engine --------------------------------------------------------------------------------------------------


def _engine_cycles(item: Pass, npu: Npu, blocks: Blocks, is_staged: bool) -> tuple[float, bool]:
    """Cycles of the engine, and whether the multipliers bound them."""
    if item.part is Part.SHUFFLE:
        return _shuffle_cycles(item, npu, blocks), False
    read, write = _map_cycles(item.ifm, blocks.ifm, npu, True), _map_cycles(item.ofm, blocks.ofm, npu, False)
    if item.part is Part.ELEMENTWISE:
        issued = (max(read, write) / volume(blocks.ofm) + item.output_cycles) / _COMMANDS
        return max(item.output_cycles, issued) * item.ofm.stored_elements, False
    micro = _flat(item, blocks)
    ofm = tuple(map(min, item.ofm.shape, blocks.ofm))
    count = _microblocks(item.ofm.shape, micro) / _microblocks(ofm, micro)
    multiply = _block_cycles(item, npu, blocks, ofm, micro)
    output = max(math.prod(ofm) * item.output_cycles, _scale_cycles(item, npu, ofm[2], is_staged))
    waiting = abs(write - read) if count > 1 else 0.0
    issued = (waiting + multiply + output) / _COMMANDS
    slower, faster = max(multiply, output, issued), max(min(multiply, output), issued)
    return slower * count + faster + read + write, multiply >= output


def _shuffle_cycles(item: Pass, npu: Npu, blocks: Blocks) -> float:
    """The slower of reading and writing all of it."""
    times: list[float] = []
    for source, block, reads in ((item.ifm, blocks.ifm, True), (item.ofm, blocks.ofm, False)):
        memory = npu.memory(source.is_near)
        latency = memory.read_latency if reads else memory.write_latency
        size = in_bursts(source, source.elements, block, memory, reads=reads)
        times.append(latency + size / memory.bytes_per_cycle)
    return max(times)


def _microblocks(shape: tuple[int, ...], micro: Block) -> int:
    return math.prod(-(-size // part) for size, part in zip(shape, micro, strict=True))


def _flat(item: Pass, blocks: Blocks) -> Block:
    """A line of an even number of positions is computed four at a time, where the window is one row."""
    line = item.ofm.height == 1 and item.ofm.width % 2 == 0 and item.kernel[0] == 1
    if line and blocks.micro[0] == 2 and item.part is Part.CONVOLUTION:
        return (1, 4, blocks.micro[2])
    return blocks.micro


def _scale_cycles(item: Pass, npu: Npu, depth: int, is_staged: bool) -> float:
    if item.weights is None:
        return 0.0
    memory = npu.near if is_staged else npu.far
    return _SCALE_BYTES * depth * memory.read_latency / _SCALE_WORDS


def _map_cycles(item: FeatureMap, block: Block, npu: Npu, reads: bool) -> float:
    """Cycles to read or write one block."""
    memory = npu.memory(item.is_near)
    elements = math.prod(map(min, item.shape, block))
    latency = memory.read_latency if reads else memory.write_latency
    return latency + in_bursts(item, elements, block, memory, reads=reads) / memory.bytes_per_cycle


def _block_cycles(item: Pass, npu: Npu, blocks: Blocks, ofm: tuple[int, ...], micro: Block) -> float:
    """Cycles of the multipliers for a block, over all inputs that it depends on."""
    positions = math.ceil(ofm[0] / micro[0]) * math.ceil(ofm[1] / micro[1])
    pieces = math.ceil(ofm[2] / micro[2])
    depth = min(item.ifm.depth, blocks.ifm[2])
    cycles = 0.0
    for rows in _parts(item.kernel[0]):
        for columns in _parts(item.kernel[1]):
            cycles += _part_cycles(item, npu, rows * columns, positions, pieces, depth, blocks.is_part_kernel, micro[2])
    if item.part in (Part.CONVOLUTION, Part.PRODUCT, Part.SUM):
        cycles *= math.ceil(item.ifm.depth / depth)
    return cycles


def _parts(size: int) -> list[int]:
    return [min(_WINDOW_LIMIT, size - start) for start in range(0, size, _WINDOW_LIMIT)]


def _part_cycles(
    item: Pass, npu: Npu, taps: int, positions: int, pieces: int, depth: int, is_part_kernel: bool, micro_depth: int
) -> float:
    """Of a part of the window: ``positions`` microblocks side by side, ``pieces`` in depth."""
    width = item.ifm.width_bytes
    decode = npu.decode_cycles(micro_depth)
    steps = 1
    if item.part in (Part.POOLING, Part.COPY):
        cycles = max(4, taps) * positions * pieces * width * 4
    elif item.part is Part.DEPTHWISE:
        steps = math.ceil(taps / 4)
        cycles = max(decode, 4 * positions * width) * steps * pieces
    elif is_part_kernel:
        steps = math.ceil(taps / (2 if width == 2 else 4))
        groups = math.ceil(depth / 8)
        cycles = max(decode, 4 * positions) * steps * pieces * groups
    else:
        steps = taps
        cycles = max(decode, npu.depth_cycles(depth, width) * positions) * steps * pieces
    delay = 0
    if positions == 1:
        delay = _DELAY * steps if pieces == 1 else _DELAY * (steps - 1) * pieces
    if is_part_kernel:
        delay *= math.ceil(depth / 8)
    return cycles + delay
