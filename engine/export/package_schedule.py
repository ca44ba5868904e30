"""The schedule in a package: kernels, the jobs of their tiles, where values lie. It is what the timing simulates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.clock.estimate import Simulation
from engine.clock.report import ENGINE_NAMES
from engine.compile.addresses import PlannedMemory
from engine.compile.types import Costed, Engine
from engine.plan.compile_options import CompileOptions
from engine.simulate.cost import microseconds
from engine.target.target import Target

Record = dict[str, Any]


def schedule_record(
    simulation: Simulation, target: Target, options: CompileOptions, instructions: Mapping[str, tuple[int, ...]]
) -> Record:
    """The schedule as plain data.

    ``instructions`` gives, for each unit, the places of its instructions in the program. Jobs are columns: job i waits
    for the jobs ``dependencies[dependency_ends[i - 1]:dependency_ends[i]]``, takes ``ticks[i]`` of 2**-20 us of its
    engine, and moves ``size_bytes[i]``; the job of kernel -1 is the host's.
    """
    compiled, timing = simulation.compiled, simulation.timing
    schedule = compiled.schedule
    return {
        "target": target.name,
        "options": msgspec.to_builtins(options),
        "latency_ms": timing.latency_us / 1e3,
        "throughput_fps": timing.throughput_fps,
        "ddr_bytes": timing.ddr_bytes,
        "stated_error": target.stated_error.text,
        "engines": [ENGINE_NAMES.get(engine, "gate") for engine in Engine],
        "kernels": [_kernel(simulation, costed, instructions) for costed in compiled.kernels],
        "jobs": {
            "engine": schedule.engine.tolist(),
            "kernel": schedule.kernel.tolist(),
            "tile": schedule.tile.tolist(),
            "ticks": schedule.ticks.tolist(),
            "size_bytes": schedule.size_bytes.tolist(),
            "start_us": [microseconds(ticks) for ticks in simulation.trace.start.tolist()],
            "dependency_ends": schedule.dep_ends.tolist(),
            "dependencies": schedule.deps.tolist(),
        },
        "memory": {"sram": _memory(compiled.sram), "dram": _memory(compiled.dram)},
        "host_us": timing.host_us,
    }


def _kernel(simulation: Simulation, costed: Costed, instructions: Mapping[str, tuple[int, ...]]) -> Record:
    kernel, tiles = costed.kernel, costed.tiles
    times = [simulation.timing.nodes[unit.anchor] for unit in kernel.units]
    host_us = simulation.timing.host_us
    return {
        "anchor": kernel.anchor,
        "region": kernel.region,
        "units": [unit.anchor for unit in kernel.units],
        "nodes": [node for unit in kernel.units for node in unit.frame.unit.nodes],
        "instructions": [place for unit in kernel.units for place in instructions.get(unit.anchor, ())],
        "reads": list(kernel.reads),
        "writes": list(kernel.writes),
        "tiles": tiles.count,
        "weight_chunks": tiles.weight_chunks,
        "latency_us": sum(time.latency_us for time in times) - (host_us if _has_host(simulation, costed) else 0.0),
        "bound": times[0].bound.value,
        "why": times[0].why,
    }


def _has_host(simulation: Simulation, costed: Costed) -> bool:
    """Whether the host's overhead is booked on the kernel: it is in a model without inputs."""
    first = next(iter(simulation.timing.nodes), "")
    return any(unit.anchor == first and not unit.frame.is_input for unit in costed.kernel.units)


def _memory(planned: PlannedMemory) -> Record:
    """Buffers with the places, in the list of kernels, between which they are needed, both included."""
    rows = zip(planned.problem.buffers, planned.plan.addresses, strict=True)
    return {
        "planner": planned.plan.planner,
        "capacity_bytes": planned.problem.capacity_bytes,
        "peak_bytes": planned.plan.peak_bytes,
        "lower_bound_bytes": planned.plan.lower_bound_bytes,
        "buffers": [
            {
                "value": buffer.name,
                "address": address,
                "size_bytes": buffer.size_bytes,
                "first_kernel": buffer.first,
                "last_kernel": buffer.last,
            }
            for buffer, address in rows
        ],
    }
