"""Kernels on an Ethos-U: their passes one after the other, as Vela runs them, instead of tiles that overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from engine.compile.tiling import JobList
from engine.compile.types import Block, Costed, Engine, Kernel, Tiles
from engine.simulate.cost import Demand, EngineTimes, Explanation, Rates, in_ticks
from engine.simulate.ethos.cost import PassCost
from engine.simulate.ethos.model import EthosModel, UnitCost
from engine.simulate.ethos.passes import Part, Pass
from engine.simulate.timing import Bound

_Portion = tuple[Engine, float, int]
"""An engine, the cycles that a pass takes because of it, and the bytes that it moves."""

_BOUND: Mapping[Engine, Bound] = {
    Engine.MAC: Bound.MAC,
    Engine.VECTOR: Bound.VECTOR,
    Engine.LAYOUT: Bound.LAYOUT,
    Engine.LOAD: Bound.DMA,
}
_NAME: Mapping[Engine, str] = {
    Engine.MAC: "multipliers",
    Engine.VECTOR: "output unit",
    Engine.LAYOUT: "SRAM",
    Engine.LOAD: "memory off the chip",
}


def cost_kernel(
    model: EthosModel, kernel: Kernel, near: Sequence[frozenset[str]], demands: tuple[Demand, ...], rates: Rates
) -> Costed:
    """A kernel with its cost; ``near`` has the values in SRAM for each of its units."""
    costs = [
        model.cost(unit, {value: value in held for value in unit.frame.border})
        for unit, held in zip(kernel.units, near, strict=True)
    ]
    per_us = model.npu.cycles_per_us
    portions = [list(_portions(cost)) for cost in costs]
    seams = [demand.seam_bytes / rates.seam_bytes for demand in demands]
    times = tuple(_times(parts, seam, per_us) for parts, seam in zip(portions, seams, strict=True))
    reasons = tuple(_explained(*each, per_us) for each in zip(costs, portions, demands, strict=True))
    block = _block([part for parts in portions for part in parts], sum(seams), per_us)
    return Costed(kernel, Tiles(1, 1, 1, 1), demands, times, reasons, block)


def _portions(cost: UnitCost) -> Iterator[_Portion]:
    """Each pass on the engine or the memory that it waits for."""
    for item, spent in zip(cost.passes, cost.costs, strict=True):
        moved = spent.far.total_bytes
        yield _slowest(item, spent), spent.cycles, moved


def _slowest(item: Pass, spent: PassCost) -> Engine:
    if spent.is_memory_bound:
        return Engine.LAYOUT if spent.near.cycles >= spent.far.cycles else Engine.LOAD
    if item.part is Part.SHUFFLE:
        return Engine.LAYOUT
    return Engine.MAC if spent.is_mac else Engine.VECTOR


def _times(portions: Sequence[_Portion], seam_us: float, per_us: float) -> EngineTimes:
    """What the unit waits for each engine: the parts of its time, not what overlaps."""
    sums = dict.fromkeys(_BOUND, 0.0)
    for engine, cycles, _ in portions:
        sums[engine] += cycles / per_us
    return EngineTimes(
        mac_us=sums[Engine.MAC],
        vector_us=sums[Engine.VECTOR],
        dma_us=sums[Engine.LOAD],
        layout_us=sums[Engine.LAYOUT],
        cpu_us=seam_us,
    )


def _explained(cost: UnitCost, portions: Sequence[_Portion], demand: Demand, per_us: float) -> Explanation:
    macs = sum(product.macs for product, _ in demand.products)
    if not portions:
        return Explanation(Bound.FREE, "runs with the operator before it", demand.seam_bytes, 0, macs)
    sums: dict[Engine, float] = {}
    for engine, cycles, _ in portions:
        sums[engine] = sums.get(engine, 0.0) + cycles
    ranked = sorted(sums, key=sums.__getitem__, reverse=True)
    shares = ", ".join(f"{_NAME[engine]} {sums[engine] / per_us:.3g} us" for engine in ranked)
    plural = "es" if len(portions) > 1 else ""
    why = (
        f"{len(portions):,} pass{plural}, bound by {shares}; {cost.near_bytes:,} B of SRAM and {cost.far_bytes:,} B "
        f"off the chip, whole bursts counted"
    )
    return Explanation(_BOUND[ranked[0]], why, cost.far_bytes + demand.seam_bytes, cost.near_bytes, macs)


def _block(portions: Sequence[_Portion], seam_us: float, per_us: float) -> Block:
    """One job for what follows each other on an engine; all wait for the one before."""
    jobs = JobList()
    gate = jobs.add(Engine.GATE, 0, 0, 0)
    last = jobs.add(Engine.CPU, 0, in_ticks(seam_us), 0, gate) if seam_us else gate
    start = last = jobs.add(Engine.LAUNCH, 0, 0, 0, last)
    for engine, parts in groupby(portions, key=lambda part: part[0]):
        run = list(parts)
        ticks = in_ticks(sum(cycles for _, cycles, _ in run) / per_us)
        last = jobs.add(engine, 0, ticks, sum(size for _, _, size in run), last)
    return jobs.block(0, -1, start, gate, last, last)
