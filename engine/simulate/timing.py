"""The result of a timing estimate, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Bound(StrEnum):
    """What a node's time is spent on most."""

    MAC = "mac"
    VECTOR = "vector"
    LUT = "lut"
    DMA = "dma"
    LAYOUT = "layout"
    CPU = "cpu"
    LAUNCH = "launch"
    FUSED = "fused"
    FREE = "free"


@dataclass(frozen=True)
class EngineTimes:
    """Busy time of each engine for one unit, in microseconds. Vector includes reductions, CPU the seams."""

    mac_us: float = 0.0
    vector_us: float = 0.0
    lut_us: float = 0.0
    dma_us: float = 0.0
    layout_us: float = 0.0
    cpu_us: float = 0.0
    launch_us: float = 0.0

    @property
    def chip_us(self) -> float:
        """The five chip engines work at the same time on parts of a unit: the slowest sets the pace."""
        return max(self.mac_us, self.vector_us, self.lut_us, self.dma_us, self.layout_us)

    @property
    def total_us(self) -> float:
        return self.chip_us + self.cpu_us + self.launch_us

    def on_chip_us(self, on_cpu: bool) -> float:
        """What the unit occupies a core for; ``on_cpu`` says that it is computed on the CPU."""
        return 0.0 if on_cpu else self.chip_us + self.launch_us

    def on_cpu_us(self, on_cpu: bool) -> float:
        """What the unit occupies a CPU core for: all of it, or the seams in front of it."""
        return self.total_us if on_cpu else self.cpu_us


@dataclass(frozen=True)
class NodeTiming:
    """Time of one node. A unit's time is booked on its anchor; its other nodes have 0 and the bound
    ``fused``.

    ``dma_bytes`` go to or come from DDR; ``sram_bytes`` are rearranged within the chip. ``why`` is one line
    of numbers.
    """

    latency_us: float
    bound: Bound
    why: str
    dma_bytes: int = 0
    sram_bytes: int = 0
    macs: int = 0
    engines: EngineTimes = EngineTimes()


@dataclass(frozen=True)
class Timing:
    """Timing of a model under a resolution on a target.

    Attributes:
        nodes: Node id to its time, in graph order. Times are multiples of 2**-20 us, so that they sum to
            ``latency_us`` exactly, in any order.
        latency_us: One frame on one core, the host's overhead included.
        chip_us: What one frame occupies a core for.
        cpu_us: What one frame occupies a CPU core for: float nodes and the seams around them.
        host_us: The part of the latency that is the host's overhead of an inference, booked on the first
            input; a heat map of the chip leaves it out.
        throughput_fps: Inferences a second with enough frames in flight: all cores busy, the host's overhead
        of an
            inference hidden; the CPU's cores where they are the slower side.
        ddr_bytes: Traffic to and from DDR, of one frame.
        macs: Multiply-accumulates of one frame, alignment not counted.
        sram_peak_bytes: Most bytes that activations occupy on the chip between operators.
    """

    nodes: Mapping[str, NodeTiming]
    latency_us: float
    chip_us: float
    cpu_us: float
    host_us: float
    throughput_fps: float
    ddr_bytes: int
    macs: int
    sram_peak_bytes: int

    def share_by_bound(self) -> dict[Bound, float]:
        """Fraction of the latency by what bounds it, largest first; empty for a model that takes no time."""
        sums: dict[Bound, float] = {}
        for node in self.nodes.values():
            sums[node.bound] = sums.get(node.bound, 0.0) + node.latency_us
        ranked = sorted(sums.items(), key=lambda item: -item[1])
        return {bound: us / self.latency_us for bound, us in ranked if us > 0.0}
