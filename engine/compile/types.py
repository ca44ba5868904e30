"""The compiled form of a model: kernels, the jobs of their tiles, and where values lie."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.compile.addresses import PlannedMemory, place_in_dram
from engine.compile.layout import LayoutPlan
from engine.compile.residency import Lifetime
from engine.simulate.cost import Demand, Explanation
from engine.simulate.placement import Placement
from engine.simulate.timing import EngineTimes

Integers = NDArray[np.signedinteger[Any]]


class Engine(IntEnum):
    """What a job occupies. Each of the first eight works through its jobs one by one, in the order of issue; ``LOAD``
    and ``STORE`` share the DDR interface and are one queue.

    ``LAUNCH`` is the sequencer that starts kernels; ``HOST`` prepares an inference and ``GATE`` only waits: neither
    keeps another job waiting.
    """

    LOAD = 0
    STORE = 1
    MAC = 2
    VECTOR = 3
    TABLE = 4
    LAYOUT = 5
    CPU = 6
    LAUNCH = 7
    HOST = 8
    GATE = 9


QUEUES = (0, 0, 1, 2, 3, 4, 5, 6, -1, -1)
"""The queue of each engine; -1: none, its jobs keep no other waiting."""

CHIP_COMPUTE = (Engine.MAC, Engine.VECTOR, Engine.TABLE, Engine.LAYOUT)
"""Engines that a tile passes through between its load and its store, in this order."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """What is launched as one: the units of a fusion, or one unit.

    Attributes:
        units: In topological order. Those that only rename what they read belong to no kernel.
        region: Name of the user's region that it is; "" for what the compiler decided.
        reads: Roots of the values that it reads from other kernels or from the model's inputs.
        writes: Roots of the values that it makes and that others read.
        inner: Roots of the values that only its own units read: they live tile by tile.
    """

    units: tuple[Placement, ...]
    region: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    inner: frozenset[str]

    @property
    def border(self) -> tuple[str, tuple[str, ...], tuple[str, ...], frozenset[str]]:
        """All but the units: kernels of the same units with the same border are the same."""
        return self.region, self.reads, self.writes, self.inner

    @cached_property
    def has_seams(self) -> bool:
        """Whether something is converted in front of it."""
        return any(unit.seams for unit in self.units)

    @cached_property
    def anchor(self) -> str:
        """The unit that gives the kernel its name: the first with a product, else the last."""
        for unit in self.units:
            if any(work.products for work in unit.works):
                return unit.anchor
        return self.units[-1].anchor

    @property
    def on_cpu(self) -> bool:
        return self.units[0].on_cpu


@dataclass(frozen=True, eq=False)
class Tiles:
    """How a kernel is cut: ``count`` tiles; its weights arrive in ``weight_chunks`` pieces, 1 where all of them are in
    their buffer before the first tile. Where weights and activations do not fit together, what it loads is read
    ``loads`` times, or its weights are ``weight_loads`` times."""

    count: int
    weight_chunks: int
    loads: int
    weight_loads: int


@dataclass(frozen=True, eq=False)
class Block:
    """The jobs of one kernel; dependencies are places within the block.

    The first ``prefetch`` jobs only bring weights: they are issued before the jobs of the kernel in front. Job
    ``weight_gate`` waits for room in the weights' buffer, ``start`` for the kernel in front and for what is read on the
    chip, ``data_gate`` for what is read from DDR. ``done`` is the last job that computes, ``stored`` the last that
    stores. (-1: there is none.)

    Attributes:
        engine, tile, ticks, size_bytes: One entry a job; ticks of 2**-20 us.
        dep_counts: [jobs]: how many of ``deps``, in order, are a job's.
    """

    engine: Integers
    tile: Integers
    ticks: Integers
    size_bytes: Integers
    dep_counts: Integers
    deps: Integers
    prefetch: int
    weight_gate: int
    start: int
    data_gate: int
    done: int
    stored: int

    @cached_property
    def first_weights_bytes(self) -> int:
        """What the jobs bring that are issued before those of the kernel in front."""
        return int(self.size_bytes[: self.prefetch].sum())

    @cached_property
    def crosses_later(self) -> bool:
        """Whether other jobs cross the DDR interface too."""
        part = slice(self.prefetch, None)
        return bool(np.any((self.engine[part] <= Engine.STORE) & (self.size_bytes[part] > 0)))


@dataclass(frozen=True, eq=False)
class Costed:
    """A kernel with its cost: where the values of its border lie decides it.

    Attributes:
        demands: Of each unit.
        times: Busy times of the engines for each unit.
        reasons: What bounds each unit by itself.
    """

    kernel: Kernel
    tiles: Tiles
    demands: tuple[Demand, ...]
    times: tuple[EngineTimes, ...]
    reasons: tuple[Explanation, ...]
    block: Block


@dataclass(frozen=True, eq=False)
class Schedule:
    """All jobs of a frame in order of issue.

    Attributes:
        engine, kernel, tile, ticks, size_bytes: One entry a job; ``kernel`` is an index, -1 for the host's job.
        dep_ends: [jobs]: where the dependencies of a job end in ``deps``. A job depends on earlier jobs only.
    """

    engine: Integers
    kernel: Integers
    tile: Integers
    ticks: Integers
    size_bytes: Integers
    dep_ends: Integers
    deps: Integers

    @property
    def size(self) -> int:
        return len(self.engine)


@dataclass(frozen=True, eq=False)
class Compiled:
    """A model as the target runs it.

    Attributes:
        placed: All units, in order.
        layout: Which data movement vanished.
        kernels: In order of execution.
        values: What kernels make for others, with the places in ``kernels`` between which it is needed.
        resident: Roots of those that stay on the chip.
        sram: Where these lie.
    """

    placed: tuple[Placement, ...]
    layout: LayoutPlan
    kernels: tuple[Costed, ...]
    values: tuple[Lifetime, ...]
    resident: frozenset[str]
    sram: PlannedMemory
    schedule: Schedule

    @cached_property
    def dram(self) -> PlannedMemory:
        """Where the values lie that do not stay on the chip."""
        return place_in_dram([value for value in self.values if value.value not in self.resident])
