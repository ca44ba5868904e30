"""The compiler: from a resolution to kernels, their tiles, where values lie, and the schedule of jobs."""

from __future__ import annotations

import operator
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import cast

from engine.compile.addresses import PlannedMemory, Planner, place_residents, plan_longer
from engine.compile.ethos import cost_kernel
from engine.compile.fusion import Flow, kernels_of
from engine.compile.layout import LayoutPlan, LayoutPlanner, renamings
from engine.compile.layout import Move as LayoutMove
from engine.compile.memory import plan_greedy
from engine.compile.residency import Lifetime, residents
from engine.compile.schedule import schedule_of
from engine.compile.tiling import TileRoom, chip_block, cpu_block, crossing_bytes, tiles_of
from engine.compile.types import Compiled, Costed, Kernel, Tiles
from engine.errors import CompileError
from engine.graph.graph import Graph
from engine.plan.compile_options import CompileOptions, Level
from engine.plan.types import Resolution, ResolvedRegion, Unit
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
from engine.simulate.placement import Access, Frames, Placement, demand_of, placement_of
from engine.simulate.work import Direction, Move
from engine.target.target import Target

_MEMORY_PER_NODE = 8
"""Remembered placements and kernels for each node of the graph, beyond which all are forgotten."""

_MOST_STATES = 4
"""Compiled models that are kept to start from: levels, and fusions with and without a region that is asked about."""

_StateKey = tuple[Level, tuple[ResolvedRegion, ...]]
_Border = tuple[tuple[bool, ...], tuple[int | None, ...], tuple[LayoutMove, ...]]
"""What of a unit's border lies near, the runs in which it is read and written, and what the unit copies."""

_KernelKey = tuple[tuple[Placement, ...], tuple[_Border, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class _Uses:
    """Which kernels need which values, for kernels in an order.

    Attributes:
        made, last: First and last place of the kernels that need a value that one of them makes.
        readers: How many kernels read it.
        barred: Values that never stay on the chip: model outputs, and what the CPU reads or makes.
    """

    made: dict[str, int]
    last: dict[str, int]
    readers: dict[str, int]
    barred: frozenset[str]


@dataclass(frozen=True, eq=False)
class _State:
    """A compiled model to start from: where an edit leaves a part alone, that part is taken over.

    Attributes:
        place: Node to the place of its unit in ``placed``.
        kernel_of: Place of a unit to the place of its kernel; absent for what belongs to none.
    """

    resolution: Resolution
    placed: tuple[Placement, ...]
    place: Mapping[str, int]
    layout: LayoutPlan
    kernels: tuple[Kernel, ...]
    kernel_of: Mapping[int, int]
    uses: _Uses
    values: tuple[Lifetime, ...]
    compiled: Compiled


class Compiler:
    """Compiles resolutions of one graph for one target.

    It remembers what it made of each kernel under everything that its cost depends on, and starts from the newest
    model of the same kind: an edit costs little more than what it changes. Pure: equal resolutions and options give
    equal results.
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
        self._frames: Frames = {}
        self._costed: dict[_KernelKey, Costed] = {}
        self._newest_flow: Flow | None = None
        self._states: dict[_StateKey, _State] = {}
        self._stored: tuple[tuple[tuple[Lifetime, ...], Planner], frozenset[str], PlannedMemory] | None = None

    def compile(
        self, resolution: Resolution, options: CompileOptions, merges: tuple[ResolvedRegion, ...] = ()
    ) -> Compiled:
        """The compiled form of the model under a resolution; ``merges`` are units that are one kernel beside the user's
        regions.

        Raises:
            CompileError: A kernel takes absurdly long, or is cut into absurdly many tiles, by the target's figures.
        """
        regions = (*resolution.regions, *merges)
        key = (options.level, regions)
        base = self._states.pop(key, None)
        start = base or next((known for (level, _), known in self._states.items() if level is options.level), None)
        placed, place = self._placed(resolution, start)
        layout = self._layout(placed, options)
        if base is not None and _keeps_kernels(base, placed, layout):
            kernels, kernel_of, uses = _with_placements(base, placed), base.kernel_of, base.uses
        else:
            base = None
            found = kernels_of(self._graph, self._flow(placed, layout), regions, self._fuses(options))
            kernels = found if start is None else _taken_over(found, start.kernels)
            kernel_of = _kernel_of(kernels, place)
            uses = _uses(self._graph, layout, kernels)
        values = _values(uses, layout, base)
        resident, sram = self._resident(uses, len(kernels), values, options)
        costed = self._costs(kernels, layout, resident, start)
        schedule = schedule_of(costed, resident, in_ticks(self.rates.inference_us), self._room.weights_bytes)
        compiled = Compiled(placed, layout, costed, values, resident, sram, schedule)
        while len(self._states) >= _MOST_STATES:
            self._states.pop(next(iter(self._states)))
        self._states[key] = _State(resolution, placed, place, layout, kernels, kernel_of, uses, values, compiled)
        return compiled

    def _flow(self, placed: Sequence[Placement], layout: LayoutPlan) -> Flow:
        """Who passes buffers to whom; as last time for the same units and layout."""
        known = self._newest_flow
        if known is None or known.layout is not layout or not _are_same(known.placed, placed):
            known = self._newest_flow = Flow.of(placed, layout)
        return known

    def _fuses(self, options: CompileOptions) -> bool:
        return options.level in (Level.O2, Level.O3) and self._ethos is None

    def _layout(self, placed: tuple[Placement, ...], options: CompileOptions) -> LayoutPlan:
        """Vela compiles for an Ethos-U: what it does not fuse or eliminate is left as it is."""
        plain = options.level is Level.O0 or self._ethos is not None
        return renamings(self._graph, placed) if plain else self._planner.plan(placed)

    def _placed(self, resolution: Resolution, start: _State | None) -> tuple[tuple[Placement, ...], Mapping[str, int]]:
        """The units of the resolution, placed, and the place of each node's unit; the same objects as in ``start``
        where nothing changed."""
        most = _MEMORY_PER_NODE * max(len(self._graph.nodes), 1)
        if len(self._frames) > most:
            self._frames.clear()
        if len(self._costed) > most:
            self._costed.clear()
        units = resolution.units
        if start is not None and _are_same(units, start.resolution.units):
            return self._placed_again(resolution, start), start.place
        dtypes = {**self._declared, **resolution.dtypes}
        place = {node: index for index, unit in enumerate(units) for node in unit.nodes}
        return tuple([self._place(unit, resolution, dtypes) for unit in units]), place

    def _placed_again(self, resolution: Resolution, start: _State) -> tuple[Placement, ...]:
        """The same units under other types: those whose nodes changed, and those that read these, are placed anew."""
        if resolution.effective is start.resolution.effective:
            return start.placed
        before = start.resolution.effective
        changed = [node for node, effective in resolution.effective.items() if before[node] is not effective]
        touched = {start.place[node] for node in changed}
        for node in changed:
            for value in self._graph.by_id[node].outputs:
                touched.update(start.place[reader.id] for reader in self._graph.consumers.get(value, ()))
        dtypes = ChainMap(cast("dict[str, str]", resolution.dtypes), self._declared)
        placed = list(start.placed)
        for index in touched:
            placed[index] = self._place(resolution.units[index], resolution, dtypes)
        return tuple(placed)

    def _place(self, unit: Unit, resolution: Resolution, dtypes: Mapping[str, str]) -> Placement:
        return placement_of(self._graph, unit, resolution, dtypes, self._frames)

    def _resident(
        self, uses: _Uses, kernels: int, values: tuple[Lifetime, ...], options: CompileOptions
    ) -> tuple[frozenset[str], PlannedMemory]:
        """Values that stay on the chip, and where."""
        stays, barred = options.level is not Level.O0, uses.barred
        candidates = tuple([value for value in values if stays and value.value not in barred])
        planner = plan_longer if options.level is Level.O3 else plan_greedy
        if self._stored is None or self._stored[0] != (candidates, planner):
            kept = residents(candidates, kernels, self._capacity_bytes)
            alignment = self.rates.access_bytes
            self._stored = (candidates, planner), *place_residents(kept, self._capacity_bytes, alignment, planner)
        return self._stored[1:]

    def _costs(
        self, kernels: Sequence[Kernel], layout: LayoutPlan, resident: frozenset[str], start: _State | None
    ) -> tuple[Costed, ...]:
        # What a kernel's cost depends on is its placements, what is near, seams in front of it, and the runs of its
        # units, which are others only where placements or the layout are.
        known: dict[int, Costed] = {}
        if start is not None and _are_laid_out_alike(start.layout, layout):
            moved = start.compiled.resident ^ resident
            known = {id(old.kernel): old for old in start.compiled.kernels if _is_untouched(old.kernel, moved)}
        converted: set[str] = set()
        return tuple([known.get(id(kernel)) or self._cost(kernel, layout, resident, converted) for kernel in kernels])

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
        accesses = [_access(unit, border, self.rates) for unit, border in zip(kernel.units, borders, strict=True)]
        demands = tuple(
            demand_of(self._graph, unit, access, seam_bytes)
            for unit, access, seam_bytes in zip(kernel.units, accesses, seams, strict=True)
        )
        if self._ethos is not None:
            return cost_kernel(self._ethos, kernel, [access.near for access in accesses], demands, self.rates)
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


def _are_same(units: Sequence[object], others: Sequence[object]) -> bool:
    return len(units) == len(others) and all(map(operator.is_, units, others))


def _are_laid_out_alike(one: LayoutPlan, other: LayoutPlan) -> bool:
    return one is other or (one.root is other.root and one.eliminated == other.eliminated)


def _is_untouched(kernel: Kernel, moved: frozenset[str]) -> bool:
    """Whether nothing is converted in front of a kernel, and none of the values that it reads or makes has moved."""
    return not kernel.has_seams and moved.isdisjoint(kernel.reads) and moved.isdisjoint(kernel.writes)


def _taken_over(kernels: Sequence[Kernel], known: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """The kernels; those that are as known ones are these."""
    by_units = {kernel.units: kernel for kernel in known}
    found: list[Kernel] = []
    for kernel in kernels:
        old = by_units.get(kernel.units)
        same = old is not None and old.border == kernel.border
        found.append(old if old is not None and same else kernel)
    return tuple(found)


def _keeps_kernels(base: _State, placed: Sequence[Placement], layout: LayoutPlan) -> bool:
    """Whether units would be fused as they were: types alone differ."""
    if layout.root is not base.layout.root and layout.root != base.layout.root:
        return False
    if layout.eliminated != base.layout.eliminated or len(placed) != len(base.placed):
        return False
    return all(old is new or _is_alike(old, new) for old, new in zip(base.placed, placed, strict=True))


def _is_alike(old: Placement, new: Placement) -> bool:
    if old.frame is not new.frame or old.is_on_chip != new.is_on_chip or old.is_free != new.is_free:
        return False
    return all(a.is_rearranging == b.is_rearranging for a, b in zip(old.works, new.works, strict=True))


def _with_placements(base: _State, placed: Sequence[Placement]) -> tuple[Kernel, ...]:
    """The same kernels with other placements of their units; a unit whose runs or seams may differ has another."""
    changed = [index for index, unit in enumerate(placed) if unit is not base.placed[index]]
    kernels = list(base.kernels)
    for number in {base.kernel_of[index] for index in changed if index in base.kernel_of}:
        units = tuple(placed[base.place[unit.anchor]] for unit in kernels[number].units)
        kernels[number] = replace(kernels[number], units=units)
    return tuple(kernels)


def _kernel_of(kernels: Sequence[Kernel], place: Mapping[str, int]) -> dict[int, int]:
    return {place[unit.anchor]: index for index, kernel in enumerate(kernels) for unit in kernel.units}


def _uses(graph: Graph, layout: LayoutPlan, kernels: Sequence[Kernel]) -> _Uses:
    """The caller of the model needs its outputs to the end."""
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
    outputs = [layout.root.get(value, value) for value in graph.outputs]
    last.update((root, len(kernels) - 1) for root in outputs if root in made)
    on_cpu = (root for kernel in kernels if kernel.on_cpu for root in (*kernel.reads, *kernel.writes))
    return _Uses(made, last, readers, frozenset((*outputs, *on_cpu)))


def _values(uses: _Uses, layout: LayoutPlan, base: _State | None) -> tuple[Lifetime, ...]:
    """What kernels make for others; the same objects as in ``base`` where the size is the same."""
    sizes = layout.sizes
    if base is not None:
        known = base.values
        size = sizes.__getitem__
        return tuple([v if size(v.value) == v.size_bytes else _resized(v, size(v.value), uses) for v in known])
    return tuple(
        [
            Lifetime(root, sizes[root], first, uses.last[root], sizes[root] * (1 + uses.readers[root]))
            for root, first in uses.made.items()
        ]
    )


def _resized(old: Lifetime, size_bytes: int, uses: _Uses) -> Lifetime:
    return replace(old, size_bytes=size_bytes, traffic_bytes=size_bytes * (1 + uses.readers[old.value]))


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


def _access(unit: Placement, border: _Border, rates: Rates) -> Access:
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
        line_bytes=rates.access_bytes,
        operand_run=rates.operand_run,
        runs={value: run for value, run in zip(unit.frame.border, runs, strict=True) if run is not None and not copies},
        moves=tuple(moves) if copies else None,
    )
