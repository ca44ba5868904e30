"""The compiler: from a resolution to kernels, their tiles, where values lie, and the schedule of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

from engine.compile.addresses import PlannedMemory, place_residents
from engine.compile.ethos import cost_kernel
from engine.compile.fusion import kernels_of
from engine.compile.layout import LayoutPlan, LayoutPlanner, renamings
from engine.compile.layout import Move as LayoutMove
from engine.compile.residency import Lifetime, residents
from engine.compile.schedule import schedule_of
from engine.compile.tiling import TileRoom, chip_block, cpu_block, crossing_bytes, tiles_of
from engine.compile.types import Compiled, Costed, Kernel, Tiles
from engine.errors import CompileError
from engine.graph.graph import Graph
from engine.plan.compile_options import CompileOptions, Level
from engine.plan.types import Resolution, ResolvedRegion, Unit
from engine.precision import Precision
from engine.simulate.cost import (
    Demand,
    Rates,
    chip_times,
    cpu_times,
    explain_chip,
    explain_cpu,
    in_ticks,
)
from engine.simulate.ethos.model import EthosModel
from engine.simulate.placement import Access, Frame, Placement, demand_of, frame_of, place
from engine.simulate.work import Direction, Move
from engine.target.target import Target

_MEMORY_PER_NODE = 8
"""Remembered placements and kernels for each node of the graph, beyond which all are forgotten."""

_Structure = tuple[tuple[Placement, ...], tuple[ResolvedRegion, ...], Level]
_Border = tuple[tuple[bool, ...], tuple[int | None, ...], tuple[LayoutMove, ...]]
"""What of a unit's border lies near, the runs in which it is read and written, and what the unit copies."""

_KernelKey = tuple[tuple[Placement, ...], tuple[_Border, ...], tuple[int, ...]]


class Compiler:
    """Compiles resolutions of one graph for one target.

    It remembers what it made of each kernel under everything that its cost depends on, so an edit costs only what it
    changes. Pure: equal resolutions and options give equal results.
    """

    def __init__(self, graph: Graph, target: Target) -> None:
        self._graph = graph
        self._target = target
        self.rates = Rates.of(target)
        self._capacity_bytes = int(target.sram.capacity.value * target.sram.activation_share.value)
        self._room = TileRoom.of(target)
        self._planner = LayoutPlanner(graph, self.rates.access_bytes, self.rates.gather_bytes)
        self._ethos = EthosModel.of(graph, target)
        self._declared = {value: kind.dtype for value, kind in graph.types.items()}
        self._frames: dict[tuple[str, tuple[str, ...]], Frame] = {}
        self._costed: dict[_KernelKey, Costed] = {}
        self._newest: tuple[_Structure, LayoutPlan, tuple[Kernel, ...]] | None = None
        self._stored: tuple[tuple[Lifetime, ...], frozenset[str], PlannedMemory] | None = None

    def compile(self, resolution: Resolution, options: CompileOptions) -> Compiled:
        """The compiled form of the model under a resolution.

        Raises:
            CompileError: A kernel takes absurdly long, or is cut into absurdly many tiles, by the target's figures.
        """
        placed = self._placed(resolution)
        layout, kernels = self._structure(placed, resolution.regions, options)
        values = self._values(layout, kernels)
        resident, sram = self._resident(layout, kernels, values, options)
        costed = self._costs(kernels, layout, resident)
        schedule = schedule_of(costed, resident, in_ticks(self.rates.inference_us))
        return Compiled(placed, layout, costed, values, resident, sram, schedule)

    def _placed(self, resolution: Resolution) -> tuple[Placement, ...]:
        """The units of the resolution, placed; the same objects as last time where nothing changed."""
        most = _MEMORY_PER_NODE * max(len(self._graph.nodes), 1)
        if len(self._frames) > most:
            self._frames.clear()
        if len(self._costed) > most:
            self._costed.clear()
        dtypes = {**self._declared, **resolution.dtypes}
        return tuple([self._place(unit, resolution, dtypes) for unit in resolution.units])

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

    def _structure(
        self, placed: tuple[Placement, ...], regions: tuple[ResolvedRegion, ...], options: CompileOptions
    ) -> tuple[LayoutPlan, tuple[Kernel, ...]]:
        """Layout and kernels; those of last time where nothing changed. Vela compiles for an Ethos-U: what it does not
        fuse or eliminate is left as it is."""
        key = (placed, regions, options.level)
        if self._newest is None or self._newest[0] != key:
            plain = options.level is Level.O0 or self._ethos is not None
            layout = renamings(self._graph, placed) if plain else self._planner.plan(placed)
            fuses = options.level in (Level.O2, Level.O3) and self._ethos is None
            self._newest = key, layout, kernels_of(self._graph, placed, layout, regions, fuses)
        return self._newest[1], self._newest[2]

    def _values(self, layout: LayoutPlan, kernels: Sequence[Kernel]) -> tuple[Lifetime, ...]:
        """What kernels make for others; the caller of the model needs its outputs to the end."""
        made: dict[str, int] = {}
        last: dict[str, int] = {}
        readers: dict[str, int] = {}
        for index, kernel in enumerate(kernels):
            for root in kernel.writes:
                made.setdefault(root, index)
                last[root], readers[root] = index, 0
        for index, kernel in enumerate(kernels):
            for root in kernel.reads:
                if root in made:
                    last[root], readers[root] = max(last[root], index), readers[root] + 1
        outputs = (layout.root.get(value, value) for value in self._graph.outputs)
        last.update((root, len(kernels) - 1) for root in outputs if root in made)
        sizes = layout.sizes
        return tuple(
            Lifetime(root, sizes[root], first, last[root], sizes[root] * (1 + readers[root]))
            for root, first in made.items()
        )

    def _resident(
        self, layout: LayoutPlan, kernels: Sequence[Kernel], values: tuple[Lifetime, ...], options: CompileOptions
    ) -> tuple[frozenset[str], PlannedMemory]:
        """Values that stay on the chip, and where: never a model output, nor what the CPU reads or makes."""
        barred = {layout.root.get(value, value) for value in self._graph.outputs}
        for kernel in kernels:
            if kernel.on_cpu:
                barred.update(kernel.reads, kernel.writes)
        stays = options.level is not Level.O0
        candidates = tuple(value for value in values if stays and value.value not in barred)
        if self._stored is None or self._stored[0] != candidates:
            kept = residents(candidates, len(kernels), self._capacity_bytes)
            alignment = self.rates.access_bytes
            self._stored = candidates, *place_residents(kept, self._capacity_bytes, alignment)
        return self._stored[1:]

    def _costs(self, kernels: Iterable[Kernel], layout: LayoutPlan, resident: frozenset[str]) -> tuple[Costed, ...]:
        converted: set[str] = set()
        return tuple([self._cost(kernel, layout, resident, converted) for kernel in kernels])

    def _cost(self, kernel: Kernel, layout: LayoutPlan, resident: frozenset[str], converted: set[str]) -> Costed:
        """The kernel with its cost. A value is converted for the CPU or the chip once, for its first reader."""
        seams = tuple(sum(size for value, size in unit.seams if value not in converted) for unit in kernel.units)
        converted.update(value for unit in kernel.units for value, _ in unit.seams)
        borders = _borders(kernel, layout, resident)
        key = (kernel.units, borders, seams)
        known = self._costed.get(key)
        if known is None:
            known = self._costed[key] = self._located(kernel, borders, seams)
        return known if known.kernel is kernel else replace(known, kernel=kernel)

    def _located(self, kernel: Kernel, borders: Sequence[_Border], seams: Sequence[int]) -> Costed:
        """The kernel with its cost. What goes wrong names it."""
        try:
            return self._costed_anew(kernel, borders, seams)
        except CompileError as error:
            text = f"{error.message} on {self._target.name}"
            raise CompileError(text, node=kernel.anchor, hint=error.hint) from error

    def _costed_anew(self, kernel: Kernel, borders: Sequence[_Border], seams: Sequence[int]) -> Costed:
        if kernel.on_cpu:
            return self._costed_on_cpu(kernel, seams)
        demands = tuple(
            demand_of(self._graph, unit, _access(unit, border, self.rates.access_bytes), seam_bytes)
            for unit, border, seam_bytes in zip(kernel.units, borders, seams, strict=True)
        )
        if self._ethos is not None:
            near = [_access(unit, border, 1).near for unit, border in zip(kernel.units, borders, strict=True)]
            return cost_kernel(self._ethos, kernel, near, demands, self.rates)
        times = tuple(chip_times(demand, self.rates) for demand in demands)
        tiles = tiles_of(demands, self._positions(kernel), self._room)
        reasons = tuple(
            replace(explain_chip(demand, spent, self.rates), ddr_bytes=crossing_bytes(demand, tiles))
            for demand, spent in zip(demands, times, strict=True)
        )
        return Costed(kernel, tiles, demands, times, reasons, chip_block(demands, times, tiles, self.rates))

    def _costed_on_cpu(self, kernel: Kernel, seams: Sequence[int]) -> Costed:
        pairs = tuple(zip((unit.works for unit in kernel.units), seams, strict=True))
        times = tuple(cpu_times(*pair, self.rates) for pair in pairs)
        reasons = tuple(explain_cpu(*pair, self.rates) for pair in pairs)
        demands = tuple(Demand(seam_bytes=seam_bytes) for seam_bytes in seams)
        block = cpu_block(times, sum(reason.ddr_bytes for reason in reasons))
        return Costed(kernel, Tiles(1, 1, 1, 1), demands, times, reasons, block)

    def _positions(self, kernel: Kernel) -> int:
        """Rows of the largest result: a kernel can be cut between any two."""
        shapes = [self._graph.types[unit.frame.writes[-1]].shape for unit in kernel.units]
        return max(prod(shape[:-1]) for shape in shapes)


def _borders(kernel: Kernel, layout: LayoutPlan, resident: frozenset[str]) -> tuple[_Border, ...]:
    """Where the units find their data. What the kernel makes is read on the chip, and what one of its units has loaded
    the others find there."""
    made = {*kernel.inner, *kernel.writes}
    present = set[str]()
    root_of, runs = layout.root, layout.runs
    found: list[_Border] = []
    for unit in kernel.units:
        anchor, frame = unit.anchor, unit.frame
        reads = [root_of.get(value, value) for value in frame.reads]
        writes = [root_of.get(value, value) for value in frame.writes]
        near = (
            *(root in made or root in resident or root in present for root in reads),
            *(root in kernel.inner or root in resident for root in writes),
        )
        found.append((near, tuple([runs.get((anchor, value)) for value in frame.border]), layout.moved.get(anchor, ())))
        present.update(reads)
    return tuple(found)


def _access(unit: Placement, border: _Border, line_bytes: int) -> Access:
    near, runs, copies = border
    moves = [
        move
        for copy in copies
        for move in (
            Move(copy.source, copy.read_bytes, copy.read_run_bytes, Direction.LOAD),
            Move(copy.value, copy.write_bytes, copy.write_run_bytes, Direction.STORE),
        )
    ]
    return Access(
        near=frozenset(value for value, is_near in zip(unit.frame.border, near, strict=True) if is_near),
        line_bytes=line_bytes,
        runs={value: run for value, run in zip(unit.frame.border, runs, strict=True) if run is not None and not copies},
        moves=tuple(moves) if copies else None,
    )
