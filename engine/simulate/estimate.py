"""The estimate: time of every unit of a resolution on a target, and what the parts add up to.

The units of a frame run one after the other; within a unit the engines of the chip overlap, and so they do within
a fusion region (:mod:`engine.simulate.fusion`). Activations that fit stay in on-chip memory
(:mod:`engine.simulate.residency`), weights always stream from DDR. Where values lie is decided before regions are
fused: fusing never sends to DDR what stays on the chip without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from engine.graph.graph import Graph
from engine.ops.other import Input
from engine.plan.types import Resolution, Unit
from engine.precision import Precision
from engine.simulate.cost import Demand, Rates, chip_timing, cpu_timing, inference_timing
from engine.simulate.fusion import (
    Kernel,
    Room,
    book,
    find_room,
    kernel_timing,
    kernels_of,
    nearness_inside,
    without_room,
)
from engine.simulate.placement import Frame, Placement, demand_of, frame_of, place
from engine.simulate.residency import Lifetime, residents
from engine.simulate.timing import Bound, NodeTiming, Timing
from engine.target.target import Target

_KernelKey = tuple[str, tuple[str, ...], tuple[tuple[Placement, tuple[bool, ...], int], ...]]
"""Name and units of a region; of those that take time, where their borders' values lie and the bytes to convert."""

_FRAMES_PER_NODE = 8
_IDLE = NodeTiming(0.0, Bound.FREE, "a model input: its first reader pays for loading it")
_RENAMED = NodeTiming(0.0, Bound.FREE, "a pure renaming of elements that stay where they are: moves no data")


def estimate(graph: Graph, resolution: Resolution, target: Target) -> Timing:
    """Time of the model under a resolution on a target; needs no calibration.

    Keep an :class:`Estimator` instead where many resolutions of one graph are estimated.
    """
    return Estimator(graph, target).estimate(resolution)


class Estimator:
    """Estimates resolutions of one graph on one target.

    It remembers each unit's time under everything that the time depends on, so an edit costs only the units
    that it changes. The memory is bounded by the number of different units: beyond it, all is forgotten.
    """

    def __init__(self, graph: Graph, target: Target) -> None:
        self._graph = graph
        self._target = target
        self._rates = Rates.of(target)
        self._capacity_bytes = int(target.sram.capacity.value * target.sram.activation_share.value)
        self._declared = {value: kind.dtype for value, kind in graph.types.items()}
        self._frames: dict[tuple[str, tuple[str, ...]], Frame] = {}
        self._kernels: dict[_KernelKey, tuple[NodeTiming, dict[str, NodeTiming]]] = {}
        self._inference = inference_timing(self._rates)

    def estimate(self, resolution: Resolution) -> Timing:
        """Time of every node, and totals. Pure: equal resolutions give equal timings."""
        placed = self._placed(resolution)
        alias = _aliases(placed)
        kept, peak_bytes = self._residents(placed, alias)
        resident = frozenset(tensor.value for tensor in kept)
        seams = _seam_bytes(placed)
        nodes: dict[str, NodeTiming] = dict.fromkeys(self._graph.by_id, _IDLE)
        booked: dict[str, NodeTiming] = {}
        chip_us = cpu_us = 0.0
        kernels = kernels_of(self._graph, resolution.regions, placed, alias)
        room = find_room(kernels, kept, len(placed), self._capacity_bytes) if kernels else None
        for kernel in room.fused if room else ():
            whole = self._kernel(kernel, placed, alias, resident, seams, booked)
            chip_us += whole.engines.on_chip_us(False)
            cpu_us += whole.engines.on_cpu_us(False)
        for unit in placed:
            timing = booked.get(unit.anchor)
            if timing is None:
                timing = self._time(unit, alias, resident, seams)
                chip_us += timing.engines.on_chip_us(unit.on_cpu)
                cpu_us += timing.engines.on_cpu_us(unit.on_cpu)
            for node_id in unit.frame.unit.nodes:
                nodes[node_id] = unit.frame.fused
            nodes[unit.anchor] = timing
        if room:
            peak_bytes = room.peak_bytes
            _explain_lack(nodes, kernels, room)
        self._book_inference(nodes)
        totals = self._totals(nodes, chip_us, cpu_us, peak_bytes)
        return replace(totals, unfused=MappingProxyType(dict(room.lacking))) if room else totals

    def _kernel(
        self,
        kernel: Kernel,
        placed: list[Placement],
        alias: Mapping[str, str],
        resident: frozenset[str],
        seams: Mapping[str, int],
        booked: dict[str, NodeTiming],
    ) -> NodeTiming:
        """Time of a fusion region as a whole; its units' parts go to ``booked``."""
        members: list[tuple[Placement, tuple[bool, ...], int]] = []
        for step in kernel.steps:
            unit = placed[step]
            if not unit.is_free:
                near = nearness_inside(kernel, unit, alias, resident)
                members.append((unit, tuple(near.values()), seams.get(unit.anchor, 0)))
        key = (kernel.name, kernel.anchors, tuple(members))
        known = self._kernels.get(key)
        if known is None:
            demands = {
                unit.anchor: demand_of(self._graph, unit, dict(zip(unit.frame.border, near, strict=True)), seam_bytes)
                for unit, near, seam_bytes in members
            }
            whole = kernel_timing(demands.values(), self._rates)
            known = self._kernels[key] = whole, book(kernel, whole, demands, self._rates)
        booked.update(known[1])
        return known[0]

    def demands(self, resolution: Resolution) -> tuple[Demand, ...]:
        """What each unit that occupies the chip asks of its engines, in order, quantise seams left out."""
        placed = self._placed(resolution)
        alias = _aliases(placed)
        resident = frozenset(tensor.value for tensor in self._residents(placed, alias)[0])
        return tuple(
            demand_of(self._graph, unit, _nearness(unit, alias, resident), 0) for unit in placed if unit.is_on_chip
        )

    def _book_inference(self, nodes: dict[str, NodeTiming]) -> None:
        """Add the host's overhead to the first input (to the first node of a model without inputs)."""
        order = self._graph.nodes
        first = next((node for node in order if isinstance(node.op, Input)), order[0] if order else None)
        if first is None:
            return
        own, overhead = nodes[first.id], self._inference
        if own.latency_us > 0.0:
            why = f"{own.why}; {overhead.why}"
            overhead = replace(own, latency_us=own.latency_us + overhead.latency_us, why=why)
        nodes[first.id] = overhead

    def _totals(self, nodes: dict[str, NodeTiming], chip_us: float, cpu_us: float, peak_bytes: int) -> Timing:
        pace_us = max(chip_us / self._target.core_count, cpu_us / self._target.cpu.cores.value)
        return Timing(
            nodes=MappingProxyType(nodes),
            latency_us=sum([node.latency_us for node in nodes.values()]),
            chip_us=chip_us,
            cpu_us=cpu_us,
            host_us=self._inference.latency_us if nodes else 0.0,
            throughput_fps=1e6 / pace_us if pace_us > 0.0 else 0.0,
            ddr_bytes=sum([node.dma_bytes for node in nodes.values()]),
            macs=sum([node.macs for node in nodes.values()]),
            sram_peak_bytes=peak_bytes,
        )

    def _placed(self, resolution: Resolution) -> list[Placement]:
        """The units of the resolution, placed; the same objects as last time where nothing changed."""
        if len(self._frames) > _FRAMES_PER_NODE * max(len(self._graph.nodes), 1):
            self._frames.clear()
        if len(self._kernels) > _FRAMES_PER_NODE * max(len(self._graph.nodes), 1):
            self._kernels.clear()
        dtypes = {**self._declared, **resolution.dtypes}
        return [self._place(unit, resolution, dtypes) for unit in resolution.units]

    def _place(self, unit: Unit, resolution: Resolution, dtypes: dict[str, str]) -> Placement:
        frame_key = (unit.anchor, unit.nodes)
        frame = self._frames.get(frame_key)
        if frame is None:
            frame = self._frames[frame_key] = frame_of(self._graph, unit)
        is_float = resolution.effective[unit.anchor].precision is Precision.FLOAT
        key = (tuple(map(dtypes.__getitem__, frame.values)), is_float and not frame.is_input)
        known = frame.placements.get(key)
        if known is None:
            known = frame.placements[key] = place(self._graph, frame, *key)
        return known

    def _residents(self, placed: list[Placement], alias: Mapping[str, str]) -> tuple[list[Lifetime], int]:
        """Values that stay on the chip, and the most bytes of them at once: never a model input or output, nor what the
        CPU reads or writes.
        """
        barred = {alias.get(value, value) for value in self._graph.outputs}
        last: dict[str, int] = {}
        for step, unit in enumerate(placed):
            for value in unit.frame.reads:
                root = alias.get(value, value)
                last[root] = step
                if unit.on_cpu and not unit.is_free:
                    barred.add(root)
        lifetimes = [
            Lifetime(value, size_bytes, step, last.get(value, step))
            for step, unit in enumerate(placed)
            if unit.is_on_chip
            for value, size_bytes in unit.stores
            if value not in barred
        ]
        names, peak_bytes = residents(lifetimes, len(placed), self._capacity_bytes)
        return [tensor for tensor in lifetimes if tensor.value in names], peak_bytes

    def _time(
        self, unit: Placement, alias: Mapping[str, str], resident: frozenset[str], seams: Mapping[str, int]
    ) -> NodeTiming:
        if unit.is_free:
            return _RENAMED
        if unit.frame.is_input:
            return _IDLE
        near = _nearness(unit, alias, resident)
        seam_bytes = seams.get(unit.anchor, 0)
        key = (tuple(near.values()), seam_bytes)
        known = unit.timings.get(key)
        if known is None:
            known = unit.timings[key] = self._cost(unit, near, seam_bytes)
        return known

    def _cost(self, unit: Placement, near: Mapping[str, bool], seam_bytes: int) -> NodeTiming:
        if unit.on_cpu:
            flops = sum(work.cpu_flops for work in unit.works)
            size_bytes = sum(work.moved_bytes for work in unit.works)
            macs = sum(work.macs for work in unit.works)
            return cpu_timing(flops, size_bytes, seam_bytes, macs, self._rates)
        return chip_timing(demand_of(self._graph, unit, near, seam_bytes), self._rates)


def _explain_lack(nodes: dict[str, NodeTiming], kernels: tuple[Kernel, ...], room: Room) -> None:
    """Say at its units why a region does not run as one kernel."""
    for kernel in kernels:
        if kernel.name in room.lacking:
            for anchor in kernel.anchors:
                nodes[anchor] = without_room(nodes[anchor], kernel.name, room.lacking[kernel.name])


def _nearness(unit: Placement, alias: Mapping[str, str], resident: frozenset[str]) -> dict[str, bool]:
    """For each value of the unit's border, whether it lies in on-chip memory."""
    return {value: alias.get(value, value) in resident for value in unit.frame.border}


def _seam_bytes(placed: list[Placement]) -> Mapping[str, int]:
    """Anchor to bytes to convert before the unit; each value is converted once, for the first unit that needs it."""
    converted: set[str] = set()
    found: dict[str, int] = {}
    for unit in placed:
        if unit.seams:
            found[unit.anchor] = sum(size_bytes for value, size_bytes in unit.seams if value not in converted)
            converted.update(value for value, _ in unit.seams)
    return found


def _aliases(placed: list[Placement]) -> Mapping[str, str]:
    """The value whose bytes each renamed value is."""
    alias: dict[str, str] = {}
    for unit in placed:
        if unit.is_free:
            source = unit.frame.reads[0]
            alias[unit.frame.writes[0]] = alias.get(source, source)
    return alias
