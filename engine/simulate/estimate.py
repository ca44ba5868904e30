"""The estimate: time of every unit of a resolution on a target, and what the parts add up to.

The units of a frame run one after the other; within a unit the engines of the chip overlap. Activations that
fit stay in on-chip memory (:mod:`engine.simulate.residency`), weights always stream from DDR.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Clip, Relu, Unary
from engine.ops.other import Input
from engine.plan.types import Precision, Resolution, Unit
from engine.simulate.cost import (
    Demand,
    Rates,
    Transfer,
    chip_timing,
    cpu_timing,
    inference_timing,
)
from engine.simulate.residency import Lifetime, residents
from engine.simulate.timing import Bound, NodeTiming, Timing
from engine.simulate.work import Product, Work, dtype_bytes, work_of
from engine.target.target import Target

_INTEGER_DTYPES = ("int8", "int16")
_MEMO_LIMIT_PER_NODE = 64
_IDLE = NodeTiming(0.0, Bound.FREE, "a model input: its first reader pays for loading it")
_RENAMED = NodeTiming(0.0, Bound.FREE, "a pure renaming of elements that stay where they are: moves no data")


def estimate(graph: Graph, resolution: Resolution, target: Target) -> Timing:
    """Time of the model under a resolution on a target; needs no calibration.

    Keep an :class:`Estimator` instead where many resolutions of one graph are estimated.
    """
    return Estimator(graph, target).estimate(resolution)


@dataclass(frozen=True)
class _Frame:
    """What of a unit does not depend on precisions: its nodes, and the values that cross its border."""

    unit: Unit
    nodes: tuple[Node, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    values: tuple[str, ...]
    fused: NodeTiming

    @cached_property
    def border(self) -> tuple[str, ...]:
        return (*self.reads, *self.writes)

    @cached_property
    def is_input(self) -> bool:
        return len(self.nodes) == 1 and isinstance(self.nodes[0].op, Input)


@dataclass(frozen=True)
class _Placed:
    """A unit of one resolution.

    ``types`` are the dtypes of the frame's values as they are made, ``seen`` as the unit works with them
    (after conversion at a seam). A free unit only renames what it reads.
    """

    frame: _Frame
    types: tuple[str, ...]
    seen: tuple[str, ...]
    works: tuple[Work, ...]
    on_cpu: bool
    is_free: bool

    @property
    def anchor(self) -> str:
        return self.frame.unit.anchor

    def written(self) -> Iterator[tuple[str, str]]:
        """Values that leave the unit, with their dtypes."""
        dtypes = dict(zip(self.frame.values, self.types, strict=True))
        return ((value, dtypes[value]) for value in self.frame.writes)


class Estimator:
    """Estimates resolutions of one graph on one target. What a unit's time depends on is its key in a bounded
    memo, so an edit costs only the units that it changes.
    """

    def __init__(self, graph: Graph, target: Target) -> None:
        self._graph = graph
        self._target = target
        self._rates = Rates.of(target)
        self._capacity_bytes = int(target.sram.capacity.value * target.sram.activation_share.value)
        self._counts = {value: kind.element_count for value, kind in graph.types.items()}
        self._frames: dict[tuple[str, tuple[str, ...]], _Frame] = {}
        self._works: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Work, ...]] = {}
        self._memo: dict[object, NodeTiming] = {}

    def estimate(self, resolution: Resolution) -> Timing:
        """Time of every node, and totals. Pure: equal resolutions give equal timings."""
        self._bound_memo()
        placed = [self._place(unit, resolution) for unit in resolution.units]
        alias = _aliases(placed)
        resident, peak_bytes = self._residents(placed, alias)
        nodes: dict[str, NodeTiming] = dict.fromkeys(self._graph.by_id, _IDLE)
        converted: set[str] = set()
        for unit in placed:
            timing = self._time(unit, alias, resident, converted)
            for node_id in unit.frame.unit.nodes:
                nodes[node_id] = unit.frame.fused
            nodes[unit.frame.unit.anchor] = timing
        chip_us = sum(nodes[u.anchor].engines.on_chip_us(u.on_cpu) for u in placed)
        cpu_us = sum(nodes[u.anchor].engines.on_cpu_us(u.on_cpu) for u in placed)
        self._book_inference(nodes)
        return self._totals(nodes, chip_us, cpu_us, peak_bytes)

    def _bound_memo(self) -> None:
        """Forget everything once the memo has grown far beyond the graph."""
        if len(self._memo) > _MEMO_LIMIT_PER_NODE * max(len(self._graph.nodes), 1):
            self._memo.clear()
            self._works.clear()
            self._frames.clear()

    def _book_inference(self, nodes: dict[str, NodeTiming]) -> None:
        """Add the host's overhead to the first input (to the first node of a model without inputs)."""
        if not self._graph.nodes:
            return
        first = next((node.id for node in self._graph.nodes if isinstance(node.op, Input)), None)
        node_id = self._graph.nodes[0].id if first is None else first
        overhead, own = inference_timing(self._rates), nodes[node_id]
        if own.latency_us > 0.0:
            why = f"{own.why}; {overhead.why}"
            overhead = replace(own, latency_us=own.latency_us + overhead.latency_us, why=why)
        nodes[node_id] = overhead

    def _totals(self, nodes: dict[str, NodeTiming], chip_us: float, cpu_us: float, peak_bytes: int) -> Timing:
        pace_us = max(chip_us / self._target.core_count, cpu_us / self._target.cpu.cores.value)
        return Timing(
            nodes=MappingProxyType(nodes),
            latency_us=sum(node.latency_us for node in nodes.values()),
            chip_us=chip_us,
            cpu_us=cpu_us,
            throughput_fps=1e6 / pace_us if pace_us > 0.0 else 0.0,
            ddr_bytes=sum(node.dma_bytes for node in nodes.values()),
            macs=sum(node.macs for node in nodes.values()),
            sram_peak_bytes=peak_bytes,
        )

    # -- units -----------------------------------------------------------------------------------------------

    def _frame(self, unit: Unit) -> _Frame:
        key = (unit.anchor, unit.nodes)
        known = self._frames.get(key)
        if known is None:
            known = self._frames[key] = _frame(self._graph, unit)
        return known

    def _place(self, unit: Unit, resolution: Resolution) -> _Placed:
        """The unit with its types: what crosses between chip and CPU is converted before it is read."""
        frame = self._frame(unit)
        is_float = resolution.effective[unit.anchor].precision is Precision.FLOAT
        on_cpu = is_float and not frame.is_input
        types = tuple(resolution.dtypes.get(v) or self._graph.types[v].dtype for v in frame.values)
        inside = types[len(frame.reads) :]
        native = "float32" if on_cpu else _integer_type(inside)
        foreign = _INTEGER_DTYPES if on_cpu else ("float32",)
        seen = tuple(native if dtype in foreign else dtype for dtype in types[: len(frame.reads)]) + inside
        key = (unit.nodes, seen)
        works = self._works.get(key)
        if works is None:
            dtypes = dict(zip(frame.values, seen, strict=True))
            works = self._works[key] = tuple(work_of(self._graph, node, dtypes) for node in frame.nodes)
        renames = seen == types and len(frame.reads) == 1 == len(frame.writes)
        is_free = renames and not frame.is_input and all(work.is_free for work in works)
        return _Placed(frame, types, seen, works, on_cpu, is_free)

    def _residents(self, placed: list[_Placed], alias: Mapping[str, str]) -> tuple[frozenset[str], int]:
        """Values that stay on the chip: never a model input or output, nor what the CPU reads or writes."""
        barred = {alias.get(value, value) for value in self._graph.outputs}
        last: dict[str, int] = {}
        for step, unit in enumerate(placed):
            for value in unit.frame.reads:
                root = alias.get(value, value)
                last[root] = step
                if unit.on_cpu and not unit.is_free:
                    barred.add(root)
        lifetimes = [
            Lifetime(value, self._counts[value] * dtype_bytes(dtype), step, last.get(value, step))
            for step, unit in enumerate(placed)
            if not (unit.on_cpu or unit.is_free or unit.frame.is_input)
            for value, dtype in unit.written()
            if value not in barred
        ]
        return residents(lifetimes, len(placed), self._capacity_bytes)

    def _time(
        self, unit: _Placed, alias: Mapping[str, str], resident: frozenset[str], converted: set[str]
    ) -> NodeTiming:
        if unit.is_free:
            return _RENAMED
        if unit.frame.is_input:
            return _IDLE
        near = tuple(alias.get(value, value) in resident for value in unit.frame.border)
        seam_bytes = self._seam_bytes(unit, converted)
        key = (unit.frame.unit.nodes, unit.types, unit.on_cpu, near, seam_bytes)
        known = self._memo.get(key)
        if known is None:
            known = self._memo[key] = self._cost(
                unit, dict(zip(unit.frame.border, near, strict=True)), seam_bytes
            )
        return known

    def _seam_bytes(self, unit: _Placed, converted: set[str]) -> int:
        """Bytes read and written by converting what arrives in the other world's type; each value is
        converted once.
        """
        total = 0
        for value, own, seen in zip(unit.frame.reads, unit.types, unit.seen, strict=False):
            if own != seen and value not in converted:
                converted.add(value)
                total += self._counts[value] * (dtype_bytes(own) + dtype_bytes(seen))
        return total

    def _cost(self, unit: _Placed, near: Mapping[str, bool], seam_bytes: int) -> NodeTiming:
        if unit.on_cpu:
            flops = sum(work.cpu_flops for work in unit.works)
            size_bytes = sum(work.moved_bytes for work in unit.works)
            macs = sum(work.macs for work in unit.works)
            return cpu_timing(flops, size_bytes, seam_bytes, macs, self._rates)
        return chip_timing(self._demand(unit, near, seam_bytes), self._rates)

    def _demand(self, unit: _Placed, near: Mapping[str, bool], seam_bytes: int) -> Demand:
        """Sum of the members' work, without what fusion saves."""
        dtypes = dict(zip(unit.frame.values, unit.seen, strict=True))
        fusion = _Fusion()
        products: list[tuple[Product, int]] = []
        vector: list[tuple[int, int]] = []
        reduction: list[tuple[int, int]] = []
        lookups: list[tuple[int, int]] = []
        transfers: list[Transfer] = []
        for node, work in zip(unit.frame.nodes, unit.works, strict=True):
            width_in, width = _widths(self._graph, node, dtypes)
            products.extend((product, width_in) for product in work.products)
            if not fusion.absorbs(node):
                vector.append((width, work.vector_elements))
                lookups.append((width, work.table_lookups))
            reduction.append((width, work.reduction_elements))
            transfers.extend(self._transfers(work, near))
        return Demand(
            tuple(products),
            _counted(vector),
            _counted(reduction),
            _counted(lookups),
            tuple(transfers),
            seam_bytes,
        )

    def _transfers(self, work: Work, near: Mapping[str, bool]) -> list[Transfer]:
        """Constants and values that are not resident cross from or to DDR; rearranging costs time on the chip
        too.
        """
        transfers: list[Transfer] = []
        for move in work.moves:
            is_ddr = move.value in self._graph.constants or not near.get(move.value, True)
            if is_ddr or work.is_rearranging:
                transfers.append(Transfer(move.size_bytes, move.run_bytes, is_ddr))
        return transfers


class _Fusion:
    """What members of one unit share: an anchor's clamp costs nothing, a chain of functions is one table."""

    def __init__(self) -> None:
        self._previous: Node | None = None

    def absorbs(self, node: Node) -> bool:
        """Whether the previous member does this one's elementwise work along with its own."""
        previous, self._previous = self._previous, node
        if previous is None:
            return False
        return isinstance(node.op, Relu | Clip) or (
            isinstance(node.op, Unary) and isinstance(previous.op, Unary)
        )


def _frame(graph: Graph, unit: Unit) -> _Frame:
    nodes = tuple(graph.by_id[node_id] for node_id in unit.nodes)
    made = {value: None for node in nodes for value in node.outputs if value}
    read = {value: None for node in nodes for value in graph.activations(node) if value not in made}
    members = set(unit.nodes)
    writes = tuple(value for value in made if _leaves(graph, value, members))
    reads = tuple(read)
    fused = NodeTiming(0.0, Bound.FUSED, f"computed inside '{unit.anchor}'")
    return _Frame(unit, nodes, reads, writes, (*reads, *made), fused)


def _leaves(graph: Graph, value: str, members: set[str]) -> bool:
    readers = graph.consumers.get(value, ())
    return value in graph.outputs or not readers or any(reader.id not in members for reader in readers)


def _integer_type(dtypes: tuple[str, ...]) -> str:
    return "int16" if "int16" in dtypes else "int8"


def _widths(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> tuple[int, int]:
    """Bytes of the widest integer activation that a node reads, and of the widest that it reads or writes (1
    or 2).
    """
    width_in = 2 if any(dtypes.get(value) == "int16" for value in graph.activations(node)) else 1
    width_out = 2 if any(dtypes.get(value) == "int16" for value in node.outputs) else 1
    return width_in, max(width_in, width_out)


def _counted(entries: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple(entry for entry in entries if entry[1])


def _aliases(placed: list[_Placed]) -> Mapping[str, str]:
    """The value whose bytes each renamed value is."""
    alias: dict[str, str] = {}
    for unit in placed:
        if unit.is_free:
            source = unit.frame.reads[0]
            alias[unit.frame.writes[0]] = alias.get(source, source)
    return alias
