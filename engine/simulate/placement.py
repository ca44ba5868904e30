"""Units of a resolution as the timing sees them: what crosses their borders, in which types, and what they demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Clip, Relu, Unary
from engine.ops.linear import MatMul
from engine.ops.other import Input
from engine.ops.reduce import GroupNorm, InstanceNorm, LayerNorm, LogSoftmax, RMSNorm, Softmax
from engine.plan.types import Resolution, Unit
from engine.precision import Precision
from engine.simulate.cost import Demand, Path, Transfer
from engine.simulate.timing import Bound, NodeTiming
from engine.simulate.work import Direction, Move, Product, Work, dtype_bytes, work_of

_WIDE = LayerNorm | RMSNorm | InstanceNorm | GroupNorm | Softmax | LogSoftmax
_INTEGER_DTYPES = ("int8", "int16")


@dataclass(frozen=True, eq=False)
class Frame:
    """What of a unit does not depend on precisions.

    Attributes:
        reads: Activations that it reads from other units.
        writes: Values that other units or the caller of the model read.
        values: ``reads``, then everything that its nodes make.
        fused: What is booked on the members other than the anchor.
        placements: Memo of :func:`place`, by the types of ``values`` and whether the CPU computes the unit.
    """

    unit: Unit
    nodes: tuple[Node, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    values: tuple[str, ...]
    border: tuple[str, ...]
    is_input: bool
    fused: NodeTiming
    placements: dict[tuple[tuple[str, ...], bool], Placement] = field(default_factory=lambda: {})


@dataclass(frozen=True, eq=False)
class Placement:
    """A unit with its types: what crosses between chip and CPU is converted before it is read.

    Attributes:
        works: The work of each node, with the converted types.
        widths: For each node, bytes of the widest integer that it reads, and that it reads or writes (1 or
            2).
        stores: Values that leave the unit, with their bytes.
        seams: Values that have to be converted first, with the bytes that the conversion reads and writes.
        is_free: The unit only renames what it reads.
        types: Of ``frame.values``, as the unit sees them: converted.
    """

    frame: Frame
    on_cpu: bool
    works: tuple[Work, ...]
    widths: tuple[tuple[int, int], ...]
    stores: tuple[tuple[str, int], ...]
    seams: tuple[tuple[str, int], ...]
    is_free: bool
    types: tuple[str, ...]

    @cached_property
    def anchor(self) -> str:
        return self.frame.unit.anchor

    @property
    def is_on_chip(self) -> bool:
        """Whether a core spends time on it."""
        return not (self.on_cpu or self.is_free or self.frame.is_input)


def frame_of(graph: Graph, unit: Unit) -> Frame:
    """The frame of a unit of a graph."""
    nodes = tuple(graph.by_id[node_id] for node_id in unit.nodes)
    made = {value: None for node in nodes for value in node.outputs if value}
    reads = tuple({v: None for node in nodes for v in graph.activations(node) if v not in made})
    writes = tuple(value for value in made if _leaves(graph, value, frozenset(unit.nodes)))
    return Frame(
        unit=unit,
        nodes=nodes,
        reads=reads,
        writes=writes,
        values=(*reads, *made),
        border=(*reads, *writes),
        is_input=len(nodes) == 1 and isinstance(nodes[0].op, Input),
        fused=NodeTiming(0.0, Bound.FUSED, f"computed inside '{unit.anchor}'"),
    )


def _leaves(graph: Graph, value: str, members: frozenset[str]) -> bool:
    readers = graph.consumers.get(value, ())
    return value in graph.outputs or not readers or any(reader.id not in members for reader in readers)


Frames = dict[tuple[str, tuple[str, ...]], Frame]
"""Anchor and nodes of a unit to its frame: a memory of :func:`placements_of`."""


def placements_of(graph: Graph, resolution: Resolution, frames: Frames | None = None) -> tuple[Placement, ...]:
    """The placed units of a resolution, in its order; with ``frames``, the same objects as last time where nothing
    changed."""
    frames = {} if frames is None else frames
    dtypes = {value: kind.dtype for value, kind in graph.types.items()} | dict(resolution.dtypes)
    return tuple([placement_of(graph, unit, resolution, dtypes, frames) for unit in resolution.units])


def placement_of(
    graph: Graph, unit: Unit, resolution: Resolution, dtypes: Mapping[str, str], frames: Frames
) -> Placement:
    """One unit of a resolution, placed; ``dtypes`` are those of all values, ``frames`` as for :func:`placements_of`."""
    key = (unit.anchor, unit.nodes)
    frame = frames.get(key)
    if frame is None:
        frame = frames[key] = frame_of(graph, unit)
    is_float = resolution.effective[unit.anchor].precision is Precision.FLOAT
    state = tuple(map(dtypes.__getitem__, frame.values)), is_float and not frame.is_input
    known = frame.placements.get(state)
    if known is None:
        known = frame.placements[state] = place(graph, frame, *state)
    return known


def place(graph: Graph, frame: Frame, types: tuple[str, ...], on_cpu: bool) -> Placement:
    """The unit with ``types``, one a value of the frame."""
    made = types[len(frame.reads) :]
    native = "float32" if on_cpu else "int16" if "int16" in made else "int8"
    foreign = _INTEGER_DTYPES if on_cpu else ("float32",)
    seen = tuple(native if dtype in foreign else dtype for dtype in types[: len(frame.reads)]) + made
    dtypes = dict(zip(frame.values, seen, strict=True))
    works = tuple(work_of(graph, node, dtypes) for node in frame.nodes)
    counts = {value: graph.types[value].element_count for value in frame.values}
    renames = seen == types and len(frame.reads) == 1 and len(frame.writes) == 1 and not frame.is_input
    return Placement(
        frame=frame,
        on_cpu=on_cpu,
        works=works,
        widths=tuple(_widths(graph, node, dtypes) for node in frame.nodes),
        stores=tuple((value, counts[value] * dtype_bytes(dtypes[value])) for value in frame.writes),
        seams=tuple(
            (value, counts[value] * (dtype_bytes(own) + dtype_bytes(native)))
            for value, own, new in zip(frame.values, types, seen, strict=True)
            if own != new
        ),
        is_free=renames and all(work.is_free for work in works),
        types=seen,
    )


def _widths(graph: Graph, node: Node, dtypes: Mapping[str, str]) -> tuple[int, int]:
    """Bytes of an element that products read, and of one in the vector unit. Norms and softmax compute in 16 bits
    whatever they read: sums of squares and exponentials have no use in 8."""
    width_in = 2 if any(dtypes.get(value) == "int16" for value in graph.activations(node)) else 1
    is_wide = isinstance(node.op, _WIDE) or any(dtypes.get(value) == "int16" for value in node.outputs)
    return width_in, 2 if is_wide else width_in


@dataclass(frozen=True)
class Access:
    """How a unit finds its data.

    Attributes:
        near: Values of its border that are in on-chip memory.
        line_bytes: What on-chip memory delivers at once: shorter runs waste the rest.
        operand_run: Elements in which a product of two activations is brought to the array and back; None: as they lie.
        runs: Mean bytes in consecutive addresses where it reads or writes a value, where that is known.
        moves: What it copies, where that is not what its operator says.
    """

    near: frozenset[str]
    line_bytes: int = 1
    operand_run: int | None = None
    runs: Mapping[str, int] = field(default_factory=lambda: {})
    moves: tuple[Move, ...] | None = None


def demand_of(graph: Graph, unit: Placement, access: Access, seam_bytes: int) -> Demand:
    """Sum of the members' work, without what fusion saves. Values inside the unit are always on the chip."""
    products: list[tuple[Product, int]] = []
    vector: list[tuple[int, int]] = []
    reduction: list[tuple[int, int]] = []
    lookups: list[tuple[int, int]] = []
    transfers: list[Transfer] = []
    previous: Node | None = None
    border = frozenset(unit.frame.border)
    for node, work, (width_in, width) in zip(unit.frame.nodes, unit.works, unit.widths, strict=True):
        products.extend((product, width_in) for product in work.products)
        if not is_absorbed(node, previous):
            vector.append((width, work.vector_elements))
            lookups.append((width, work.table_lookups))
        reduction.append((width, work.reduction_elements))
        moves = work.moves if access.moves is None else access.moves
        is_dynamic = isinstance(node.op, MatMul) and not any(value in graph.constants for value in node.inputs)
        longest = _operand_runs(unit, moves, access.operand_run) if is_dynamic else None
        transfers.extend(_transfers(graph, moves, work.is_rearranging, access, border, longest))
        previous = node
    return Demand(
        tuple(products),
        _counted(vector),
        _counted(reduction),
        _counted(lookups),
        tuple(transfers),
        seam_bytes,
    )


def _operand_runs(unit: Placement, moves: Sequence[Move], operand_run: int | None) -> Mapping[str, int] | None:
    """Bytes in which each value of a product of two activations is brought to the array or back: so many elements, each
    as wide as its own type. (One operand in int16 makes the other's no wider.)"""
    if operand_run is None:
        return None
    types = dict(zip(unit.frame.values, unit.types, strict=True))
    return {move.value: operand_run * dtype_bytes(types[move.value]) for move in moves}


def is_absorbed(node: Node, previous: Node | None) -> bool:
    """Whether a member's elementwise work is done along with the previous member's: a clamp by any kernel's
    requantisation, a chain of functions by one table.
    """
    if previous is None:
        return False
    is_chain = isinstance(node.op, Unary) and isinstance(previous.op, Unary)
    return is_chain or isinstance(node.op, Relu | Clip)


def _transfers(
    graph: Graph,
    moves: Sequence[Move],
    is_rearranging: bool,
    access: Access,
    border: frozenset[str],
    longest: Mapping[str, int] | None,
) -> list[Transfer]:
    """Constants and values that are not on the chip cross from or to DDR. What lies there takes time only where it is
    rearranged, or read in runs too short for the memory. ``longest`` bounds the runs, by value."""
    transfers: list[Transfer] = []
    for move in moves:
        known = access.runs.get(move.value)
        run_bytes = move.run_bytes if known is None else min(known, move.size_bytes)
        if longest is not None:
            transfers.append(Transfer(move.size_bytes, min(run_bytes, longest[move.value]), Path.ON_CHIP))
        if move.value in graph.constants:
            path = Path.WEIGHTS
        elif move.value not in border or move.value in access.near:
            path = Path.ON_CHIP
        else:
            path = Path.LOAD if move.direction is Direction.LOAD else Path.STORE
        if path is Path.ON_CHIP and longest is not None:
            continue
        if path is not Path.ON_CHIP or is_rearranging or run_bytes < min(move.size_bytes, access.line_bytes):
            transfers.append(Transfer(move.size_bytes, run_bytes, path))
    return transfers


def _counted(entries: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple(entry for entry in entries if entry[1])
