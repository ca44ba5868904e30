"""The estimate: a resolution compiled for a target and simulated, and what the parts add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from engine.clock.event import Trace, pace_ticks, simulate
from engine.clock.search import Merges, search
from engine.compile.compiler import Compiler
from engine.compile.types import Compiled, Costed, Engine
from engine.graph.graph import Graph
from engine.ops.other import Input
from engine.plan.compile_options import CompileOptions, Level
from engine.plan.regions import UnitGraph, check_region
from engine.plan.types import Resolution
from engine.simulate.cost import inference_text, microseconds
from engine.simulate.placement import Placement
from engine.simulate.timing import Bound, EngineTimes, NodeTiming, Timing
from engine.target.target import Target

_DEFAULTS = CompileOptions()
_IDLE = NodeTiming(0.0, Bound.FREE, "a model input: its first reader pays for loading it")
_RENAMED = NodeTiming(0.0, Bound.FREE, "a pure renaming of elements that stay where they are: moves no data")

_BOUND = {
    Engine.LOAD: Bound.DMA,
    Engine.STORE: Bound.DMA,
    Engine.MAC: Bound.MAC,
    Engine.VECTOR: Bound.VECTOR,
    Engine.TABLE: Bound.LUT,
    Engine.LAYOUT: Bound.LAYOUT,
    Engine.CPU: Bound.CPU,
    Engine.LAUNCH: Bound.LAUNCH,
}
_NAME = {
    Engine.LOAD: "loading",
    Engine.STORE: "storing",
    Engine.MAC: "MAC",
    Engine.VECTOR: "vector",
    Engine.TABLE: "LUT",
    Engine.LAYOUT: "layout",
    Engine.CPU: "CPU",
    Engine.LAUNCH: "launch",
}


@dataclass(frozen=True, eq=False)
class Simulation:
    """A compiled model, when its jobs run, and the time of every node."""

    compiled: Compiled
    trace: Trace
    timing: Timing


def estimate(graph: Graph, resolution: Resolution, target: Target, options: CompileOptions = _DEFAULTS) -> Timing:
    """Time of the model under a resolution on a target; needs no calibration.

    Keep an :class:`Estimator` instead where many resolutions of one graph are estimated.
    """
    return Estimator(graph, target).estimate(resolution, options)


class Estimator:
    """Compiles and simulates resolutions of one graph on one target; an edit costs only what it changes."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self._graph = graph
        self._target = target
        self._compiler = Compiler(graph, target)
        self._elsewhere: dict[str, NodeTiming] = {}
        self._free: tuple[Mapping[str, str], frozenset[str], list[bool], dict[str, NodeTiming]] | None = None
        self._booked: dict[str, tuple[Costed, list[int], dict[str, NodeTiming]]] = {}
        self._newest: tuple[Resolution, CompileOptions, Simulation] | None = None

    def estimate(self, resolution: Resolution, options: CompileOptions = _DEFAULTS) -> Timing:
        """Time of every node, and totals. Pure: equal resolutions give equal timings."""
        return self.simulate(resolution, options).timing

    def simulate(self, resolution: Resolution, options: CompileOptions = _DEFAULTS) -> Simulation:
        """The compiled model, the trace of one frame, and the times of its nodes."""
        known = self._newest
        if known is None or known[0] is not resolution or known[1] != options:
            found = self._simulated(resolution, options, ())
            if options.level is Level.O3:
                found = self._searched(resolution, options, found)
            self._newest = known = (resolution, options, found)
        return known[2]

    def _simulated(self, resolution: Resolution, options: CompileOptions, merges: Merges) -> Simulation:
        compiled = self._compiler.compile(resolution, options, merges)
        trace = simulate(compiled.schedule)
        return Simulation(compiled, trace, self._timing(compiled, trace, options))

    def _searched(self, resolution: Resolution, options: CompileOptions, start: Simulation) -> Simulation:
        """With the fusions that a search finds."""

        def is_legal(nodes: Sequence[str]) -> bool:
            return check_region(self._graph, resolution, self._target, nodes, units=units).legal

        def trial(merges: Merges) -> tuple[Compiled, Timing]:
            found = self._simulated(resolution, options, merges)
            return found.compiled, found.timing

        units = UnitGraph(self._graph, resolution)
        merges = search(start.compiled, start.timing, options, is_legal, trial)
        return self._simulated(resolution, options, merges) if merges else start

    def _timing(self, compiled: Compiled, trace: Trace, options: CompileOptions) -> Timing:
        nodes = self._free_nodes(compiled)
        critical = critical_ticks(compiled, trace)
        for costed, ticks in zip(compiled.kernels, critical.tolist(), strict=True):
            known = self._booked.get(costed.kernel.anchor)
            if known is None or known[0] is not costed or known[1] != ticks:
                known = self._booked[costed.kernel.anchor] = (costed, ticks, _booked(costed, ticks))
            nodes.update(known[2])
        host_us = microseconds(int(compiled.schedule.ticks[0]))
        self._book_inference(nodes, host_us)
        cpu_us = microseconds(int(compiled.schedule.ticks[compiled.schedule.engine == Engine.CPU].sum()))
        chip_us = microseconds(pace_ticks(compiled.schedule))
        cores = min(self._target.core_count, options.cores or self._target.core_count)
        pace_us = max(chip_us / cores, cpu_us / self._target.cpu.cores.value)
        return Timing(
            nodes=MappingProxyType(nodes),
            latency_us=microseconds(trace.total_ticks) if nodes else 0.0,
            chip_us=chip_us,
            cpu_us=cpu_us,
            host_us=host_us if nodes else 0.0,
            throughput_fps=1e6 / pace_us if pace_us > 0.0 else 0.0,
            ddr_bytes=sum([node.dma_bytes for node in nodes.values()]),
            macs=sum([node.macs for node in nodes.values()]),
            sram_peak_bytes=compiled.sram.plan.peak_bytes,
        )

    def _free_nodes(self, compiled: Compiled) -> dict[str, NodeTiming]:
        """All nodes, with the time of those that take none."""
        layout, renames = compiled.layout, [unit.is_free for unit in compiled.placed]
        known = self._free
        if known is None or known[0] is not layout.root or known[1] != layout.eliminated or known[2] != renames:
            nodes: dict[str, NodeTiming] = dict.fromkeys(self._graph.by_id, _IDLE)
            for unit in compiled.placed:
                if unit.anchor in layout.eliminated:
                    gone = _RENAMED if unit.is_free else self._read_elsewhere(compiled, unit)
                    nodes.update(dict.fromkeys(unit.frame.unit.nodes, gone))
            self._free = known = (layout.root, layout.eliminated, renames, nodes)
        return dict(known[3])

    def _read_elsewhere(self, compiled: Compiled, unit: Placement) -> NodeTiming:
        """The time of movement that vanished."""
        root = compiled.layout.root[unit.frame.writes[0]]
        known = self._elsewhere.get(root)
        if known is None:
            maker = self._graph.producer[root].id
            why = f"moves no data: each reader takes it in its own order where '{maker}' stored it"
            known = self._elsewhere[root] = NodeTiming(0.0, Bound.FREE, why)
        return known

    def _book_inference(self, nodes: dict[str, NodeTiming], host_us: float) -> None:
        """Add the host's overhead to the first input (to the first node of a model without inputs)."""
        order = self._graph.nodes
        first = next((node for node in order if isinstance(node.op, Input)), order[0] if order else None)
        if first is None:
            return
        own, why = nodes[first.id], inference_text(self._compiler.rates)
        if own.latency_us == 0.0:
            nodes[first.id] = NodeTiming(host_us, Bound.LAUNCH, why, engines=EngineTimes(launch_us=host_us))
        else:
            nodes[first.id] = NodeTiming(
                own.latency_us + host_us,
                own.bound,
                f"{own.why}; {why}",
                own.dma_bytes,
                own.sram_bytes,
                own.macs,
                own.engines,
            )


def critical_ticks(compiled: Compiled, trace: Trace) -> np.ndarray:
    """[kernels, engines]: ticks of each kernel's jobs on the critical path, by engine."""
    schedule, engines = compiled.schedule, len(Engine)
    chosen = trace.is_critical & (schedule.kernel >= 0)
    place = schedule.kernel[chosen].astype(np.int64) * engines + schedule.engine[chosen]
    sums = np.zeros(len(compiled.kernels) * engines, np.int64)
    np.add.at(sums, place, schedule.ticks[chosen])
    return sums.reshape(len(compiled.kernels), engines)


def _booked(costed: Costed, critical: Sequence[int]) -> dict[str, NodeTiming]:
    """The kernel's part of the critical path on its units' anchors, each engine's by the units' own use of it."""
    nodes: dict[str, NodeTiming] = {}
    kernel_bound = _BOUND[Engine(max(range(len(_BOUND)), key=critical.__getitem__))]
    on_path = any(critical)
    where = _path_text(costed, critical)
    shares = _shares(costed, critical)
    for unit, ticks, times, reason in zip(costed.kernel.units, shares, costed.times, costed.reasons, strict=True):
        nodes.update(dict.fromkeys(unit.frame.unit.nodes, unit.frame.fused))
        nodes[unit.anchor] = NodeTiming(
            microseconds(ticks),
            kernel_bound if on_path else reason.bound,
            f"{where}; {reason.why}",
            reason.ddr_bytes,
            reason.sram_bytes,
            reason.macs,
            times,
        )
    return nodes


def _path_text(costed: Costed, critical: Sequence[int]) -> str:
    """What of the kernel the frame waits for."""
    parts = [f"{_NAME[Engine(e)]} {microseconds(ticks):.3g} us" for e, ticks in enumerate(critical) if ticks]
    text = f"on the critical path: {', '.join(parts)}" if parts else "hidden behind other work"
    units = len(costed.kernel.units)
    if units == 1:
        return text
    name = f"region '{costed.kernel.region}'" if costed.kernel.region else f"kernel of '{costed.kernel.anchor}'"
    return f"{name}, {units} units as one, {text}"


def _shares(costed: Costed, critical: Sequence[int]) -> Sequence[int]:
    """Ticks of each unit; they sum to those of the kernel."""
    if len(costed.times) == 1:
        return (sum(critical),)
    given = [0] * len(costed.times)
    uses = [_uses(times) for times in costed.times]
    for engine, ticks in enumerate(critical):
        if ticks:
            whole, elapsed, spent = sum([use[engine] for use in uses]), 0.0, 0
            for place, use in enumerate(uses):
                elapsed += use[engine]
                until = round(ticks * elapsed / whole) if whole else ticks
                until = ticks if place == len(uses) - 1 else min(until, ticks)
                given[place] += until - spent
                spent = until
    return given


def _uses(times: EngineTimes) -> tuple[float, ...]:
    """Time that a unit occupies each engine, in their order; what it moves from and to DDR for the two that do that."""
    dma_us, launch_us = times.dma_us, times.launch_us
    own = (times.mac_us, times.vector_us, times.lut_us, times.layout_us, times.cpu_us)
    return (dma_us, dma_us, *own, launch_us, launch_us, launch_us)
