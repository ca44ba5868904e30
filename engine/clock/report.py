"""The compiled model as records for window, command line and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from engine.clock.estimate import Simulation, critical_ticks
from engine.clock.event import Trace, simulate
from engine.clock.frames import repeated
from engine.compile.types import Compiled, Costed, Engine, Schedule
from engine.reports import Ceiling, Compilation, KernelReport, MemoryBlock, MemoryReport, PassReport, Timeline
from engine.simulate.cost import Rates, microseconds
from engine.target.target import Target

HOST = "host"
ENGINE_NAMES = {
    Engine.LOAD: "load",
    Engine.STORE: "store",
    Engine.MAC: "mac",
    Engine.VECTOR: "vector",
    Engine.TABLE: "table",
    Engine.LAYOUT: "layout",
    Engine.CPU: "cpu",
    Engine.LAUNCH: "launch",
    Engine.HOST: HOST,
}


def describe_compilation(target: Target, simulation: Simulation, plain: Simulation) -> Compilation:
    """The compiled model; ``plain`` is the same at level O0, for what the passes save."""
    compiled, trace, timing = simulation.compiled, simulation.trace, simulation.timing
    rates = Rates.of(target)
    return Compilation(
        target=target.name,
        latency_ms=timing.latency_us / 1e3,
        throughput_fps=timing.throughput_fps,
        ddr_bytes=timing.ddr_bytes,
        layout_bytes=(plain.compiled.layout.bytes.after, compiled.layout.bytes.after),
        utilisation=_utilisation(compiled, trace),
        passes=_passes(simulation, plain),
        timeline=_timeline(simulation),
        memory=_memory(target, compiled, trace),
        ceiling=Ceiling(rates.macs[1], rates.ddr_bytes),
        stated_error=target.stated_error.text,
    )


def _utilisation(compiled: Compiled, trace: Trace) -> dict[str, float]:
    total = max(trace.total_ticks, 1)
    busy = np.bincount(compiled.schedule.engine, compiled.schedule.ticks, minlength=len(Engine))
    return {name: float(busy[engine]) / total for engine, name in ENGINE_NAMES.items()}


def _passes(simulation: Simulation, plain: Simulation) -> tuple[PassReport, ...]:
    compiled, before = simulation.compiled, plain.compiled
    units = sum(1 for unit in compiled.placed if not unit.frame.is_input)
    kernels, working = len(compiled.kernels), sum(len(costed.kernel.units) for costed in compiled.kernels)
    sram, resident_bytes = compiled.sram, sum(v.size_bytes for v in compiled.values if v.value in compiled.resident)
    cut = sum(costed.tiles.count for costed in compiled.kernels)
    again = sum(costed.tiles.loads > 1 or costed.tiles.weight_loads > 1 for costed in compiled.kernels)
    saved = (plain.timing.ddr_bytes, simulation.timing.ddr_bytes)
    return (
        PassReport(
            "layout",
            f"{len(compiled.layout.eliminated)} of {units} units move nothing any more, {_copies(compiled)} copy",
            "B",
            before.layout.bytes.after,
            compiled.layout.bytes.after,
        ),
        PassReport("fusion", f"{working} units run as {kernels} kernels", "kernels", working, kernels),
        PassReport(
            "residency",
            f"{len(compiled.resident)} of {len(compiled.values)} values stay on the chip, {resident_bytes:,} B",
            "B of DDR",
            *saved,
        ),
        PassReport("tiling", f"{cut} tiles; {again} kernels read weights or activations again", "tiles", None, cut),
        PassReport(
            "memory",
            f"{sram.plan.planner}: peak {sram.plan.peak_bytes:,} B, {sram.plan.overhead:.3f} of the lower bound; "
            f"{compiled.dram.plan.peak_bytes:,} B of DRAM",
            "B",
            sram.plan.lower_bound_bytes,
            sram.plan.peak_bytes,
        ),
        PassReport(
            "schedule",
            f"{compiled.schedule.size:,} jobs",
            "us",
            plain.timing.latency_us,
            simulation.timing.latency_us,
        ),
    )


def _copies(compiled: Compiled) -> int:
    """Layout operators that still move something."""
    gone = compiled.layout.eliminated
    return sum(unit.anchor not in gone and any(work.is_rearranging for work in unit.works) for unit in compiled.placed)


def describe_frames(simulation: Simulation, one: Timeline, frames: int) -> Timeline:
    """``frames`` frames behind each other on one core; ``one`` is the timeline of one. Job by job, frame by frame."""
    schedule = repeated(simulation.compiled.schedule, frames)
    trace = simulate(schedule)
    return msgspec.structs.replace(one, **_columns(schedule, trace), total_us=microseconds(trace.total_ticks))


def _timeline(simulation: Simulation) -> Timeline:
    compiled, trace = simulation.compiled, simulation.trace
    critical = critical_ticks(compiled, trace)
    return Timeline(
        engines=tuple(ENGINE_NAMES.values()),
        kernels=tuple(
            _kernel(simulation, costed, ticks)
            for costed, ticks in zip(compiled.kernels, critical.sum(axis=1).tolist(), strict=True)
        ),
        **_columns(compiled.schedule, trace),
        total_us=microseconds(trace.total_ticks),
    )


def _columns(schedule: Schedule, trace: Trace) -> dict[str, Any]:
    """The columns of a timeline: the jobs that take time; waiting is not one."""
    shown = (schedule.engine != Engine.GATE) & (schedule.kernel >= 0)
    return {
        "engine": tuple(schedule.engine[shown].tolist()),
        "kernel": tuple(schedule.kernel[shown].tolist()),
        "tile": tuple(schedule.tile[shown].tolist()),
        "start_us": _microseconds(trace.start[shown]),
        "end_us": _microseconds(trace.end[shown]),
        "size_bytes": tuple(schedule.size_bytes[shown].tolist()),
        "is_critical": tuple(trace.is_critical[shown].tolist()),
    }


def _microseconds(ticks: Sequence[int] | np.ndarray) -> tuple[float, ...]:
    return tuple(microseconds(int(value)) for value in ticks)


def _kernel(simulation: Simulation, costed: Costed, ticks: int) -> KernelReport:
    kernel, block = costed.kernel, costed.block
    busy = np.bincount(block.engine, block.ticks, minlength=len(Engine))
    own = simulation.timing.nodes[kernel.anchor]
    return KernelReport(
        anchor=kernel.anchor,
        nodes=tuple(node for unit in kernel.units for node in unit.frame.unit.nodes),
        region=kernel.region,
        tiles=costed.tiles.count,
        latency_us=microseconds(ticks),
        bound=own.bound.value,
        why=own.why,
        busy_us={name: microseconds(int(busy[engine])) for engine, name in ENGINE_NAMES.items() if busy[engine]},
        macs=sum(reason.macs for reason in costed.reasons),
        ddr_bytes=sum(reason.ddr_bytes for reason in costed.reasons),
    )


def _memory(target: Target, compiled: Compiled, trace: Trace) -> MemoryReport:
    """The plan in time: a value is there from the first job of the kernel that makes it to the last of its readers."""
    first, last = _kernel_spans(compiled, trace)
    blocks: list[MemoryBlock] = []
    for memory, planned in (("sram", compiled.sram), ("dram", compiled.dram)):
        for buffer, address in zip(planned.problem.buffers, planned.plan.addresses, strict=True):
            blocks.append(
                MemoryBlock(
                    value=buffer.name,
                    node=compiled.kernels[buffer.first].kernel.anchor,
                    memory=memory,
                    kind="activation",
                    address=address,
                    size_bytes=buffer.size_bytes,
                    start_us=microseconds(int(first[buffer.first])),
                    end_us=microseconds(int(last[buffer.last])),
                )
            )
    return MemoryReport(
        capacity_bytes=int(target.sram.capacity.value * target.sram.activation_share.value),
        blocks=tuple(blocks),
        occupancy=_occupancy([block for block in blocks if block.memory == "sram"]),
        peak_bytes=compiled.sram.plan.peak_bytes,
        lower_bound_bytes=compiled.sram.plan.lower_bound_bytes,
        dram_peak_bytes=compiled.dram.plan.peak_bytes,
        planner=compiled.sram.plan.planner,
    )


def _kernel_spans(compiled: Compiled, trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """[kernels]: when the first tile of each is computed, and when its last job ends."""
    schedule, count = compiled.schedule, len(compiled.kernels)
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.zeros(count, np.int64)
    begins = (schedule.kernel >= 0) & (schedule.engine != Engine.LOAD) & (schedule.engine != Engine.GATE)
    np.minimum.at(first, schedule.kernel[begins], trace.start[begins])
    members = schedule.kernel >= 0
    np.maximum.at(last, schedule.kernel[members], trace.end[members])
    return first, last


def _occupancy(blocks: Sequence[MemoryBlock]) -> tuple[tuple[float, int], ...]:
    changes: dict[float, int] = {0.0: 0}
    for block in blocks:
        changes[block.start_us] = changes.get(block.start_us, 0) + block.size_bytes
        changes[block.end_us] = changes.get(block.end_us, 0) - block.size_bytes
    found: list[tuple[float, int]] = []
    held = 0
    for time_us in sorted(changes):
        held += changes[time_us]
        found.append((time_us, held))
    return tuple(found)
