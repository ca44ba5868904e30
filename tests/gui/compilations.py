"""Compiled models as plain records, for the tests of the panels that show them and for measuring those panels.

The times follow the same rules as the engine's: engines run their jobs in order of issue, a job starts when its engine
is free and what it needs is there, and the critical path leads back from the last job without a gap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from engine.reports import (
    Ceiling,
    Compilation,
    KernelReport,
    MemoryBlock,
    MemoryReport,
    PassReport,
    Timeline,
)

ENGINES = ("load", "store", "mac", "vector", "table", "layout", "cpu", "host")
ERROR = "times of this target are known to within 20 %"
MACS_PER_US = 1_000_000.0
BYTES_PER_US = 50_000.0
CAPACITY = 2_000_000


@dataclass(frozen=True)
class Kernel:
    """What one kernel costs: its nodes, tiles, and for each tile the time on its engines and the bytes it moves."""

    nodes: tuple[str, ...]
    tiles: int
    load_us: float
    compute_us: float
    store_us: float
    engine: str
    macs: int
    ddr_bytes: int
    region: str = ""
    bound: str = ""


@dataclass
class _Columns:
    """The jobs of a timeline while they are being made; ``cause`` is the job that each waited for, −1 for none."""

    engine: list[int] = field(default_factory=list)
    kernel: list[int] = field(default_factory=list)
    tile: list[int] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    cause: list[int] = field(default_factory=list)
    last: dict[int, int] = field(default_factory=dict)

    def add(self, engine: str, kernel: int, tile: int, duration_us: float, size: int, after: Sequence[int]) -> int:
        """Issue a job after the last of its engine and after ``after``; returns its index."""
        number = ENGINES.index(engine)
        waits = [job for job in (self.last.get(number, -1), *after) if job >= 0]
        cause = max(waits, key=lambda job: self.end[job]) if waits else -1
        begin = self.end[cause] if cause >= 0 else 0.0
        for column, value in (
            (self.engine, number),
            (self.kernel, kernel),
            (self.tile, tile),
            (self.size, size),
            (self.cause, cause),
        ):
            column.append(value)
        self.start.append(begin)
        self.end.append(begin + duration_us)
        self.last[number] = len(self.engine) - 1
        return self.last[number]

    def critical(self) -> list[bool]:
        """Whether each job is on the path that leads back from the one that ends last."""
        found = [False] * len(self.end)
        job = max(range(len(self.end)), key=self.end.__getitem__)
        while job >= 0:
            found[job] = True
            job = self.cause[job]
        return found


def compilation_of(kernels: Sequence[Kernel], blocks: Sequence[MemoryBlock] = ()) -> Compilation:
    """The compilation of kernels that run one after the other, double-buffered tile by tile."""
    columns = _issue(kernels)
    critical = columns.critical()
    total = max(columns.end)
    reports = tuple(_report(number, kernel, columns, critical) for number, kernel in enumerate(kernels))
    timeline = Timeline(
        engines=ENGINES,
        kernels=reports,
        engine=tuple(columns.engine),
        kernel=tuple(columns.kernel),
        tile=tuple(columns.tile),
        start_us=tuple(columns.start),
        end_us=tuple(columns.end),
        size_bytes=tuple(columns.size),
        is_critical=tuple(critical),
        total_us=total,
    )
    busy = {name: sum(report.busy_us.get(name, 0.0) for report in reports) / total for name in ENGINES}
    return Compilation(
        target="journey5",
        latency_ms=total / 1000,
        throughput_fps=1e6 / total,
        ddr_bytes=sum(kernel.ddr_bytes for kernel in kernels),
        layout_bytes=(8_000_000, 1_200_000),
        utilisation=busy,
        passes=(PassReport("fusion", "12 kernels of 30 units", "kernels", 30.0, 12.0),),
        timeline=timeline,
        memory=memory_of(blocks, total),
        ceiling=Ceiling(MACS_PER_US, BYTES_PER_US),
        stated_error=ERROR,
    )


def _issue(kernels: Sequence[Kernel]) -> _Columns:
    columns = _Columns()
    columns.add("host", -1, 0, 50.0, 0, ())
    before = 0
    for number, kernel in enumerate(kernels):
        computed: list[int] = []
        ready = before
        if kernel.engine == "cpu":
            before = columns.add("cpu", number, 0, kernel.compute_us, kernel.ddr_bytes, (before,))
            continue
        part = kernel.ddr_bytes // (2 * kernel.tiles)
        for tile in range(kernel.tiles):
            buffer = computed[tile - 2] if tile >= 2 else -1
            loaded = columns.add("load", number, tile, kernel.load_us, part, (ready, buffer))
            computed.append(columns.add(kernel.engine, number, tile, kernel.compute_us, 0, (loaded,)))
            before = columns.add("store", number, tile, kernel.store_us, part, (computed[-1],))
    return columns


def _report(number: int, kernel: Kernel, columns: _Columns, critical: list[bool]) -> KernelReport:
    jobs = range(bisect_left(columns.kernel, number), bisect_right(columns.kernel, number))
    busy: dict[str, float] = {}
    for job in jobs:
        name = ENGINES[columns.engine[job]]
        busy[name] = busy.get(name, 0.0) + columns.end[job] - columns.start[job]
    latency = sum(columns.end[job] - columns.start[job] for job in jobs if critical[job])
    engine = max(busy, key=busy.__getitem__)
    bound = kernel.bound or {"load": "dma", "store": "dma", "table": "lut"}.get(engine, engine)
    return KernelReport(
        anchor=kernel.nodes[0],
        nodes=kernel.nodes,
        region=kernel.region,
        tiles=kernel.tiles,
        latency_us=latency,
        bound=bound,
        why=f"{bound}: {busy[engine]:.1f} µs of {sum(busy.values()):.1f} µs busy",
        busy_us=busy,
        macs=kernel.macs,
        ddr_bytes=kernel.ddr_bytes,
    )


def memory_of(blocks: Sequence[MemoryBlock], total_us: float) -> MemoryReport:
    """The report of blocks that are already placed; an empty chip at the start and the end."""
    on_chip = [block for block in blocks if block.memory == "sram"]
    moments = sorted({0.0, total_us, *(block.start_us for block in on_chip), *(block.end_us for block in on_chip)})
    occupancy = tuple(
        (moment, sum(block.size_bytes for block in on_chip if block.start_us <= moment < block.end_us))
        for moment in moments
    )
    return MemoryReport(
        capacity_bytes=CAPACITY,
        blocks=tuple(blocks),
        occupancy=occupancy,
        peak_bytes=max((block.address + block.size_bytes for block in on_chip), default=0),
        lower_bound_bytes=max(size for _, size in occupancy),
        dram_peak_bytes=max((b.address + b.size_bytes for b in blocks if b.memory == "dram"), default=0),
        planner="greedy by size",
    )


def many(jobs: int) -> Compilation:
    """About ``jobs`` jobs of kernels like those of a vision transformer, from long loads to short vector work."""
    engines = ("mac", "vector", "table", "layout")
    kernels = [
        Kernel(
            (f"/blocks.{number}/{engines[number % 4]}",),
            8,
            0.3 + 0.1 * (number % 7),
            0.4 + 0.2 * (number % 5),
            0.2 + 0.05 * (number % 3),
            engines[number % 4],
            2_000_000 * (number % 4 == 0),
            40_000 + 5_000 * (number % 11),
        )
        for number in range(jobs // 24)
    ]
    return compilation_of(kernels)


def small() -> Compilation:
    """What :mod:`tests.gui.samples` compiles to: two kernels on the chip, a layout one and a CPU one between them."""
    kernels = (
        Kernel(("/stem/Conv", "/stem/Relu"), 4, 2.0, 6.0, 1.0, "mac", 4_000_000, 400_000, region="region 1"),
        Kernel(("/head/Reshape",), 1, 3.0, 1.5, 3.0, "layout", 0, 65_536),
        Kernel(("/head/fc/Gemm",), 1, 40.0, 8.0, 0.5, "mac", 1_000_000, 1_000_000),
    )
    blocks = (
        MemoryBlock("stem tiles", "/stem/Conv", "sram", "tiles", 0, 600_000, 50.0, 78.0),
        MemoryBlock("/stem/Relu_output_0", "/stem/Relu", "sram", "value", 600_000, 300_000, 52.0, 86.0),
        MemoryBlock("/head/Reshape_output_0", "/head/Reshape", "sram", "value", 0, 65_536, 80.0, 130.0),
        MemoryBlock("/head/fc/weight", "/head/fc/Gemm", "sram", "weights", 900_000, 1_000_000, 86.0, 134.0),
        MemoryBlock("image_output_0", "image", "dram", "value", 0, 192, 0.0, 60.0),
        MemoryBlock("/head/fc/Gemm_output_0", "/head/fc/Gemm", "dram", "value", 4096, 10, 130.0, 135.0),
    )
    return compilation_of(kernels, blocks)


def empty() -> Compilation:
    """A model of which nothing takes time."""
    timeline = Timeline(ENGINES, (), (), (), (), (), (), (), (), 0.0)
    return Compilation(
        "journey5", 0.0, 0.0, 0, (0, 0), {}, (), timeline, memory_of((), 0.0), Ceiling(MACS_PER_US, BYTES_PER_US), ERROR
    )


def many_blocks(count: int) -> Compilation:
    """About ``count`` blocks on the chip besides the jobs that they belong to: values that live for some kernels."""
    made = many(count * 8)
    kernels, timeline = made.timeline.kernels, made.timeline
    slot = CAPACITY // 8
    step = timeline.total_us / count
    blocks = tuple(
        MemoryBlock(
            f"value {number}",
            kernels[number * len(kernels) // count].anchor,
            "sram",
            ("value", "tiles", "weights")[number % 3],
            number % 7 * slot,
            slot // 2 + number * 7919 % (slot // 2),
            number * step,
            min((number + 6.5) * step, timeline.total_us),
        )
        for number in range(count)
    )
    return with_blocks(made, blocks)


def with_blocks(compilation: Compilation, blocks: Sequence[MemoryBlock]) -> Compilation:
    """The same compilation with another memory plan."""
    return msgspec.structs.replace(compilation, memory=memory_of(blocks, compilation.timeline.total_us))
