"""A memory plan without Qt: what is occupied over time, and which block lies where."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from engine.reports import Compilation, MemoryBlock
from gui.panels import formats
from gui.panels.time_axis import TimeSpan, duration_text, moment_text

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VISIBLE_SHARE = 0.2
"""A plan that needs less than this of its memory is drawn on a scale of its own: else nothing could be seen."""

ROOM_ABOVE = 1.12


class Memory(StrEnum):
    """Where blocks lie, as the engine names it."""

    SRAM = "sram"
    DRAM = "dram"


@dataclass(frozen=True)
class Kind:
    """What a block holds, and its colour on any theme."""

    title: str
    colour: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "value": Kind("values", "#3568b8"),
        "weights": Kind("weights", "#d98c3f"),
        "tiles": Kind("tiles", "#98a3ad"),
    }
)


def kind_of(block: MemoryBlock) -> str:
    """A key of :data:`KINDS`: whatever is neither tiles nor weights is a value."""
    return block.kind if block.kind in KINDS else "value"


@dataclass(frozen=True)
class Level:
    """A height on the axis of bytes, with its name."""

    title: str
    size_bytes: int


class MemoryModel:
    """The blocks of one memory as columns, and its occupancy as steps."""

    def __init__(self, compilation: Compilation, memory: Memory) -> None:
        self.compilation = compilation
        self.memory = memory
        self.total_us = compilation.timeline.total_us
        self.blocks = tuple(block for block in compilation.memory.blocks if block.memory == memory)
        self.address: Floats = np.array([block.address for block in self.blocks], dtype=np.float64)
        self.size: Floats = np.array([block.size_bytes for block in self.blocks], dtype=np.float64)
        self.start: Floats = np.array([block.start_us for block in self.blocks], dtype=np.float64)
        self.end: Floats = np.array([block.end_us for block in self.blocks], dtype=np.float64)
        kinds = list(KINDS)
        self.kind: Ints = np.array([kinds.index(kind_of(block)) for block in self.blocks], dtype=np.int64)
        self.times, self.occupied = self._steps()
        self._anchor_of = {node: kernel.anchor for kernel in compilation.timeline.kernels for node in kernel.nodes}
        self._nodes_of = {kernel.anchor: kernel.nodes for kernel in compilation.timeline.kernels}

    def _steps(self) -> tuple[Floats, Floats]:
        """When the occupancy changes, and to what. Of the chip the engine says it; of DRAM it is the blocks'."""
        if self.memory is Memory.SRAM and self.compilation.memory.occupancy:
            steps = np.array(self.compilation.memory.occupancy, dtype=np.float64)
            return steps[:, 0], steps[:, 1]
        times = np.unique(np.concatenate([[0.0], self.start, self.end]))
        change = np.zeros(len(times))
        np.add.at(change, np.searchsorted(times, self.start), self.size)
        np.add.at(change, np.searchsorted(times, self.end), -self.size)
        return times, np.cumsum(change)

    @property
    def peak_bytes(self) -> int:
        report = self.compilation.memory
        return report.peak_bytes if self.memory is Memory.SRAM else report.dram_peak_bytes

    @property
    def capacity_bytes(self) -> int | None:
        """None where the target states none."""
        return self.compilation.memory.capacity_bytes if self.memory is Memory.SRAM else None

    @property
    def levels(self) -> tuple[Level, ...]:
        """What is marked on the axis of bytes, if it is on the scale."""
        found = [Level("peak", self.peak_bytes)]
        if self.memory is Memory.SRAM:
            bound = self.compilation.memory.lower_bound_bytes
            found = [Level("capacity", self.compilation.memory.capacity_bytes), *found, Level("bound", bound)]
        return tuple(level for level in found if 0 < level.size_bytes <= self.top_bytes)

    @property
    def top_bytes(self) -> float:
        """Where the axis of bytes ends."""
        peak = max(float(self.peak_bytes), float(self.occupied.max(initial=0.0)), 1.0)
        capacity = self.capacity_bytes
        if capacity is not None and peak >= VISIBLE_SHARE * capacity:
            peak = max(peak, float(capacity))
        return peak * ROOM_ABOVE

    def highest(self, span: TimeSpan, pixels: int) -> Floats:
        """The most that is occupied within each pixel column ``[pixels]``."""
        edges = np.linspace(span.first_us, span.last_us, pixels + 1)
        before = np.searchsorted(self.times, edges[:-1], side="right") - 1
        most = np.where(before >= 0, self.occupied[np.maximum(before, 0)], 0.0)
        column = np.searchsorted(edges, self.times, side="right") - 1
        inside = (column >= 0) & (column < pixels)
        np.maximum.at(most, column[inside], self.occupied[inside])
        return most

    def occupied_at(self, time_us: float) -> int:
        """Bytes that are occupied at a time."""
        index = int(np.searchsorted(self.times, time_us, side="right")) - 1
        return int(self.occupied[index]) if index >= 0 else 0

    def block_at(self, time_us: float, address: float, slack_us: float = 0.0) -> int | None:
        """The block at a place of the map; of several the shortest."""
        inside = (self.start - slack_us <= time_us) & (time_us < self.end + slack_us)
        inside &= (self.address <= address) & (address < self.address + self.size)
        found = np.flatnonzero(inside)
        return int(found[np.argmin((self.end - self.start)[found])]) if len(found) else None

    def blocks_of(self, nodes: Iterable[str]) -> Ints:
        """The blocks that the kernels of nodes make."""
        anchors = {self._anchor(node) for node in nodes}
        found = [i for i, block in enumerate(self.blocks) if self._anchor(block.node) in anchors]
        return np.array(found, dtype=np.int64)

    def nodes_of(self, block: int) -> tuple[str, ...]:
        """The nodes of the kernel that makes a block."""
        anchor = self._anchor(self.blocks[block].node)
        return self._nodes_of.get(anchor, (anchor,))

    def _anchor(self, node: str) -> str:
        """The node that the kernel of a node is named after; the node itself where no kernel computes it."""
        return self._anchor_of.get(node, node)

    # What it says

    def card(self, block: int) -> str:
        """A block's read-out, as simple HTML."""
        shown = self.blocks[block]
        end = shown.address + shown.size_bytes
        lines = (
            f"<b>{html.escape(shown.value or shown.node)}</b>",
            f"{formats.size(shown.size_bytes)} of {KINDS[kind_of(shown)].title}, made by {html.escape(shown.node)}",
            f"bytes {shown.address:,} – {end:,}",
            f"{moment_text(shown.start_us)} – {moment_text(shown.end_us)} "
            f"({duration_text(shown.end_us - shown.start_us)})",
        )
        return "<br>".join(lines)

    def occupancy_card(self, time_us: float) -> str:
        """What is occupied at a time, as simple HTML."""
        count = int(((self.start <= time_us) & (time_us < self.end)).sum())
        capacity = self.capacity_bytes
        of = f" of {formats.size(capacity)}" if capacity else ""
        return f"<b>{formats.size(self.occupied_at(time_us))}{of} occupied</b><br>by {count:,} blocks"

    def headline(self) -> str:
        """The figures of the plan."""
        report = self.compilation.memory
        if self.memory is Memory.DRAM:
            return f"Peak {formats.size(self.peak_bytes)} of DDR"
        bound = report.lower_bound_bytes
        ratio = f"{report.peak_bytes / bound:.2f}" if bound else formats.MISSING
        return (
            f"Peak {formats.size(report.peak_bytes)} of {formats.size(report.capacity_bytes)} · "
            f"lower bound {formats.size(bound)} · peak ÷ bound {ratio}"
        )
