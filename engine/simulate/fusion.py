"""Fusion regions in the timing: which of them run as one kernel, and how the kernel's time is booked.

One kernel has one launch, its engines overlap over all of its units, and values that only its own units read never go
to DDR: they live tile by tile in the part of the on-chip memory that is kept for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.graph.graph import Graph
from engine.plan.types import ResolvedRegion
from engine.simulate.cost import Demand, Rates, chip_times, chip_timing, in_ticks, microseconds
from engine.simulate.placement import Placement
from engine.simulate.residency import Lifetime
from engine.simulate.timing import Bound, NodeTiming


@dataclass(frozen=True, eq=False)
class Kernel:
    """A legal region among the placed units.

    Attributes:
        anchors: The units, in order.
        made: Values that the units make (reshaped ones by the value whose bytes they are).
        inner: Those that nobody else reads.
        steps: Where its units stand in the order of all units.
    """

    name: str
    anchors: tuple[str, ...]
    made: frozenset[str]
    inner: frozenset[str]
    steps: tuple[int, ...]

    @property
    def first(self) -> int:
        return self.steps[0]

    @property
    def last(self) -> int:
        return self.steps[-1]


def kernels_of(
    graph: Graph, regions: Iterable[ResolvedRegion], placed: Sequence[Placement], alias: Mapping[str, str]
) -> tuple[Kernel, ...]:
    """The legal regions as kernels, in the order of the plan."""
    legal = [region for region in regions if region.legal]
    if not legal:
        return ()
    place = {unit.anchor: index for index, unit in enumerate(placed)}
    return tuple(_kernel(graph, region, placed, place, alias) for region in legal)


def _kernel(
    graph: Graph,
    region: ResolvedRegion,
    placed: Sequence[Placement],
    place: Mapping[str, int],
    alias: Mapping[str, str],
) -> Kernel:
    steps = sorted(place[unit.anchor] for unit in region.units)
    writes = [value for step in steps for value in placed[step].frame.writes]
    made = {value for value in writes if value not in alias}
    members = {node for unit in region.units for node in unit.nodes}
    outside = {alias.get(value, value) for value in writes if _is_read_outside(graph, value, members)}
    return Kernel(
        name=region.name,
        anchors=tuple(placed[step].anchor for step in steps),
        made=frozenset(made),
        inner=frozenset(made - outside),
        steps=tuple(steps),
    )


def _is_read_outside(graph: Graph, value: str, members: set[str]) -> bool:
    readers = graph.consumers.get(value, ())
    return value in graph.outputs or not readers or any(reader.id not in members for reader in readers)


@dataclass(frozen=True)
class Room:
    """Which kernels have room on the chip, and by name why each of the others has none."""

    fused: tuple[Kernel, ...]
    lacking: Mapping[str, str]
    peak_bytes: int


def find_room(kernels: Sequence[Kernel], kept: Sequence[Lifetime], steps: int, capacity_bytes: int) -> Room:
    """Fuse the kernels, in order, whose resident neighbours still fit together.

    A kernel runs at one point of the order of units and so needs its inputs and outputs at once, and what stood between
    its units moves before or behind it. Conservative: everything resident that lives anywhere between its first and its
    last unit, or those of kernels that overlap it, counts at once, but for what stays inside the kernels.
    """
    fused: list[Kernel] = []
    lacking: dict[str, str] = {}
    for kernel in kernels:
        size_bytes = _window_bytes([*fused, kernel], kernel, kept)
        if size_bytes <= capacity_bytes:
            fused.append(kernel)
        else:
            lacking[kernel.name] = (
                f"runs unit by unit: {size_bytes:,} B would have to be on the chip at once, {capacity_bytes:,} B may be"
            )
    inner = frozenset[str]().union(*(kernel.inner for kernel in fused))
    occupied = [0] * steps
    for tensor in kept:
        if tensor.value not in inner:
            for step in range(tensor.first, tensor.last + 1):
                occupied[step] += tensor.size_bytes
    windows = [_window_bytes(fused, kernel, kept) for kernel in fused]
    return Room(tuple(fused), lacking, max([*occupied, *windows], default=0))


def _window_bytes(kernels: Sequence[Kernel], kernel: Kernel, kept: Sequence[Lifetime]) -> int:
    """Resident bytes that live during the kernel, or during kernels that overlap it in the order of units."""
    first, last = kernel.first, kernel.last
    overlapping: list[Kernel] = []
    while True:
        found = [other for other in kernels if other.first <= last and other.last >= first]
        if len(found) == len(overlapping):
            break
        overlapping = found
        first, last = min(other.first for other in found), max(other.last for other in found)
    inner = frozenset[str]().union(*(other.inner for other in overlapping))
    return sum(t.size_bytes for t in kept if t.first <= last and t.last >= first and t.value not in inner)


def nearness_inside(
    kernel: Kernel, unit: Placement, alias: Mapping[str, str], resident: frozenset[str]
) -> dict[str, bool]:
    """For each value of a member's border, whether it lies in on-chip memory: what the kernel makes is read there, and
    only what others read too is written further."""
    near: dict[str, bool] = {}
    for value in unit.frame.reads:
        root = alias.get(value, value)
        near[value] = root in kernel.made or root in resident
    for value in unit.frame.writes:
        root = alias.get(value, value)
        near[value] = root in kernel.inner or root in resident
    return near


def together(demands: Iterable[Demand]) -> Demand:
    """What units that run as one kernel ask of the engines."""
    asked = tuple(demands)
    return Demand(
        products=tuple(entry for demand in asked for entry in demand.products),
        vector=tuple(entry for demand in asked for entry in demand.vector),
        reduction=tuple(entry for demand in asked for entry in demand.reduction),
        lookups=tuple(entry for demand in asked for entry in demand.lookups),
        transfers=tuple(entry for demand in asked for entry in demand.transfers),
        seam_bytes=sum(demand.seam_bytes for demand in asked),
    )


def kernel_timing(demands: Iterable[Demand], rates: Rates) -> NodeTiming:
    """Time of the whole kernel."""
    return chip_timing(together(demands), rates)


def book(kernel: Kernel, whole: NodeTiming, demands: Mapping[str, Demand], rates: Rates) -> dict[str, NodeTiming]:
    """The kernel's time on its units' anchors, in proportion to their own busy time; the parts sum to it exactly.

    ``demands`` are those of the units that ask anything of the chip, in order.
    """
    busy = {anchor: chip_times(demand, rates) for anchor, demand in demands.items()}
    total_us = sum(times.chip_us + times.cpu_us for times in busy.values())
    ticks = in_ticks(whole.latency_us)
    booked: dict[str, NodeTiming] = {}
    elapsed_us, given = 0.0, 0
    for anchor, demand in demands.items():
        elapsed_us += busy[anchor].chip_us + busy[anchor].cpu_us
        is_last = len(booked) == len(demands) - 1
        until = ticks if is_last else min(ticks, round(ticks * elapsed_us / total_us) if total_us > 0.0 else 0)
        own = chip_timing(demand, rates)
        share_us = microseconds(until - given)
        why = f"{share_us:.3g} us of region '{kernel.name}', {len(kernel.anchors)} units as one kernel: {whole.why}"
        engines = replace(busy[anchor], launch_us=0.0 if booked else rates.operator_us)
        booked[anchor] = replace(own, latency_us=share_us, bound=whole.bound, why=why, engines=engines)
        given = until
    return booked


def without_room(timing: NodeTiming, name: str, reason: str) -> NodeTiming:
    """The time of a unit whose region cannot run as one kernel where it stands."""
    if timing.bound in (Bound.FREE, Bound.FUSED):
        return timing
    return replace(timing, why=f"{timing.why}; region '{name}' {reason}")
