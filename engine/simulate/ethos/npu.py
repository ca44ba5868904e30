"""The two generations of the engine: their microblocks, buffers and rates.

Facts of the hardware, as Arm's Vela (ethos-u-vela 5.2, Apache-2.0) has them in its configuration file and its reports
of compiled networks (``--verbose-performance --enable-debug-db``: blocks, cycles and bytes of each pass).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engine.simulate.ethos.passes import Block, Part, Pass

Sizes = NDArray[np.int64]

_KIB = 1024
_BUS_BYTES = 16
_IN_FLIGHT = 0.8
"""Share of the requests that may be in flight, and of what they could carry, that Vela counts on."""


class Channel(StrEnum):
    """Ways into the engine and out of it; each has a buffer of its own."""

    WINDOW = "window"
    STREAM = "stream"
    WEIGHTS = "weights"
    COPY = "copy"
    SCALES = "scales"
    WRITE = "write"


@dataclass(frozen=True)
class Memory:
    """A memory as the engine sees it, in cycles of the engine; requests are those in flight over all ports."""

    bytes_per_cycle: float
    burst_bytes: int
    read_latency: float
    write_latency: float
    reads: float
    writes: float

    @property
    def is_read_only(self) -> bool:
        return self.writes == 0.0


@dataclass(frozen=True)
class Npu(ABC):
    """An engine and its memories: ``near`` is SRAM, ``far`` the flash or DRAM off the chip; weights are copied into at
    most ``staging_bytes`` of SRAM."""

    near: Memory
    far: Memory
    staging_bytes: int
    cycles_per_us: float

    @property
    @abstractmethod
    def largest_block(self) -> Block:
        """Of results."""

    @abstractmethod
    def microblock(self, item: Pass) -> Block:
        """[height, width, depth] of results that are computed at a time."""

    @abstractmethod
    def ifm_granule(self, item: Pass, micro: Block, depth: int) -> Block:
        """What the sizes of a block of inputs are multiples of."""

    @abstractmethod
    def ifm_block_depth(self, item: Pass, is_part_kernel: bool) -> int:
        """Input channels of a block, of passes whose results depend on all of them."""

    @abstractmethod
    def takes_part_kernel(self, item: Pass) -> bool:
        """Whether a convolution runs over its window first, a few channels at a time, because that wastes less."""

    def fits(self, item: Pass, block: Block, ifm_block: Block) -> bool:
        """Whether the buffers take a block of results and its inputs."""
        areas = (np.array([height * width]) for height, width, _ in (block, ifm_block))
        return bool(self.takes(item, next(areas), block[2], next(areas), ifm_block[2])[0])

    @abstractmethod
    def takes(self, item: Pass, area: Sizes, depth: int, ifm_area: Sizes, ifm_depth: int) -> NDArray[np.bool_]:
        """The same of many blocks of a depth, by the positions of each."""

    @abstractmethod
    def channel_bytes(self, memory: Memory, channel: Channel) -> float:
        """Bytes a cycle that a channel gets of a memory."""

    @property
    @abstractmethod
    def scale_channels(self) -> int:
        """Scales are stored for a multiple of so many channels."""

    @property
    @abstractmethod
    def waits_for_weights(self) -> bool:
        """Weights are copied to SRAM before a convolution that does not follow another one, not during what does."""

    @property
    @abstractmethod
    def chains(self) -> bool:
        """What is computed of each result of a convolution runs with it, where it reads another tensor too."""

    @property
    @abstractmethod
    def stream_bytes(self) -> int:
        """Bytes that encoded weights take beside the weights, by pass (fitted)."""

    @abstractmethod
    def weight_depth(self, is_part_kernel: bool) -> int:
        """Weights are padded to a multiple of so many input channels."""

    @abstractmethod
    def decode_cycles(self, depth: int) -> int:
        """Cycles to decode the weights of a microblock of so many channels."""

    @abstractmethod
    def depth_cycles(self, depth: int, width_bytes: int) -> int:
        """Cycles of a microblock over so many input channels, one element of the window."""

    def memory(self, is_near: bool) -> Memory:
        return self.near if is_near else self.far


@dataclass(frozen=True)
class U55(Npu):
    """Ethos-U55 with 256 multiply-accumulates a cycle: 2 x 2 positions by 8 channels by 8 input channels.

    One buffer of 48 banks of 1 KiB holds inputs and sums, twice each; 2 banks are for results, 2 for tables.
    """

    BANKS = 48
    KEPT_BANKS = 4
    BANK_GRANULE = 8
    WIDE_GRANULE = 16
    WIDE_BYTES = 4

    @property
    def largest_block(self) -> Block:
        return (32, 64, 128)

    def microblock(self, item: Pass) -> Block:
        return (2, 2, 8)

    def ifm_granule(self, item: Pass, micro: Block, depth: int) -> Block:
        return (2, 2, 8)

    def ifm_block_depth(self, item: Pass, is_part_kernel: bool) -> int:
        if item.ifm.width_bytes == 2:
            return round_up(min(item.ifm.depth, 16), 4)
        return round_up(min(item.ifm.depth, 16 if is_part_kernel else 32), 8)

    def takes_part_kernel(self, item: Pass) -> bool:
        depth, taps = item.ifm.depth, item.kernel[0] * item.kernel[1]
        if depth <= 8:
            return True
        narrow = item.ifm.width_bytes == 1
        by_depth = depth / round_up(depth, 32 if narrow else 16)
        return depth / round_up(depth, 8) * taps / round_up(taps, 4 if narrow else 2) >= by_depth

    def takes(self, item: Pass, area: Sizes, depth: int, ifm_area: Sizes, ifm_depth: int) -> NDArray[np.bool_]:
        width = item.ifm.width_bytes
        granule = self.WIDE_GRANULE if width == self.WIDE_BYTES else self.BANK_GRANULE
        banks = self._banks(ifm_area * round_up(ifm_depth * width, 8), granule)
        if item.part is Part.ELEMENTWISE:
            halves = 2 if item.second is not None or width == self.WIDE_BYTES else 1
            return banks * halves <= self.BANKS - self.KEPT_BANKS
        sums = self._banks(area * round_up(depth, 8) * 4, self.WIDE_GRANULE)
        return banks + sums <= self.BANKS - self.KEPT_BANKS

    def _banks(self, size_bytes: Sizes, granule: int) -> Sizes:
        """Banks for two of so many bytes."""
        return -(-2 * -(-size_bytes // _KIB) // granule) * granule

    def channel_bytes(self, memory: Memory, channel: Channel) -> float:
        return memory.bytes_per_cycle

    @property
    def scale_channels(self) -> int:
        return 1

    @property
    def waits_for_weights(self) -> bool:
        return False

    @property
    def chains(self) -> bool:
        return False

    @property
    def stream_bytes(self) -> int:
        return 64

    def weight_depth(self, is_part_kernel: bool) -> int:
        return 8 if is_part_kernel else 32

    def decode_cycles(self, depth: int) -> int:
        return 4 * depth

    def depth_cycles(self, depth: int, width_bytes: int) -> int:
        return 4


@dataclass(frozen=True)
class U85(Npu):
    """Ethos-U85 with 1024 multiply-accumulates a cycle: one of three microblocks of 128 results by 8 input channels.

    16 KiB hold inputs, 64 KiB sums; convolutions use them twice at a time. Channels have buffers for so many words in
    flight.
    """

    IFM_BYTES = 16 * _KIB
    SUM_BYTES = 64 * _KIB
    RESULT_BYTES = 6 * _KIB
    WORDS = {  # noqa: RUF012 - a constant table
        Channel.WINDOW: 256,
        Channel.STREAM: 256,
        Channel.WEIGHTS: 416,
        Channel.COPY: 256,
        Channel.SCALES: 16,
    }
    ALLOCATION = {  # noqa: RUF012
        (2, 2, 32): ((2, 4, 1), (2, 2, 2), (1, 2, 4)),
        (1, 4, 32): ((2, 4, 1), (1, 4, 2), (1, 2, 4)),
        (2, 4, 16): ((2, 4, 1), (2, 2, 2), (1, 2, 4)),
    }
    """Height, width, depth in units of 128 bits of inputs, for at most 128, 256 and more bits of depth."""

    @property
    def largest_block(self) -> Block:
        return (128, 128, 1024)

    def microblock(self, item: Pass) -> Block:
        wide = ((2, 2, 32), (1, 4, 32))
        kinds: tuple[Block, ...] = ((2, 4, 16),)
        if item.part is Part.PRODUCT:
            kinds = wide
        elif item.part in (Part.CONVOLUTION, Part.ELEMENTWISE):
            kinds = (*wide, (2, 4, 16))
        shape = item.result
        return min(kinds, key=lambda kind: volume(tuple(map(round_up, shape, kind))))

    def ifm_granule(self, item: Pass, micro: Block, depth: int) -> Block:
        bits = depth * item.ifm.width_bytes * 8
        height, width, units = self.ALLOCATION[micro][2 if bits > 256 else 1 if bits > 128 else 0]
        return (height, width, units * 16 // item.ifm.width_bytes)

    def ifm_block_depth(self, item: Pass, is_part_kernel: bool) -> int:
        if is_part_kernel:
            return 16
        return 32 if item.ifm.width_bytes == 4 else 64

    def takes_part_kernel(self, item: Pass) -> bool:
        depth, taps = item.ifm.depth, item.kernel[0] * item.kernel[1]
        rounded = taps // 5 * 5 + max(taps % 5, 2)
        return depth / round_up(depth, 16) * taps / rounded >= depth / round_up(depth, 64)

    def takes(self, item: Pass, area: Sizes, depth: int, ifm_area: Sizes, ifm_depth: int) -> NDArray[np.bool_]:
        width = item.ifm.width_bytes
        if item.part is Part.ELEMENTWISE:
            return area * (depth * width) <= self.RESULT_BYTES
        copies = 2 if item.part in (Part.CONVOLUTION, Part.PRODUCT, Part.COPY) else 1
        sums = area * (round_up(depth, 16) * 4 * copies)
        return (sums <= self.SUM_BYTES) & (ifm_area * (ifm_depth * width * copies) <= self.IFM_BYTES)

    @property
    def scale_channels(self) -> int:
        return 32

    @property
    def waits_for_weights(self) -> bool:
        return True

    @property
    def chains(self) -> bool:
        return True

    @property
    def stream_bytes(self) -> int:
        return 208

    def weight_depth(self, is_part_kernel: bool) -> int:
        return 16 if is_part_kernel else 64

    def decode_cycles(self, depth: int) -> int:
        return depth

    def depth_cycles(self, depth: int, width_bytes: int) -> int:
        return depth // 8 * width_bytes

    def channel_bytes(self, memory: Memory, channel: Channel) -> float:
        requests = memory.reads * _IN_FLIGHT
        latency = memory.read_latency
        if channel is Channel.WRITE:
            requests, latency = memory.writes * _IN_FLIGHT, memory.write_latency
        else:
            words = max(memory.burst_bytes // _BUS_BYTES, 1)
            requests = min(requests, self.WORDS[channel] / words)
        if latency == 0.0:
            return memory.bytes_per_cycle
        return min(memory.bytes_per_cycle, memory.burst_bytes * requests / latency * _IN_FLIGHT)


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def volume(block: tuple[int, ...]) -> int:
    return block[0] * block[1] * block[2]
