"""What layout elimination needs to know of a placed unit. Units that are alike share one form, with its memos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from engine.compile.orders import IN_OWN_ORDER, Order, is_spatial, order_of
from engine.compile.view_rules import VIEW
from engine.compile.views import Shape, View
from engine.graph.graph import Graph, Node
from engine.ops.layout import Concat, Layout
from engine.ops.logic import Cast
from engine.ops.reduce import Resize, Softmax
from engine.plan.resolve import PASSING
from engine.plan.units import is_scaling
from engine.simulate.placement import Placement


class Kind(Enum):
    """What a unit does with memory."""

    KERNEL = "kernel"
    INPUT = "input"
    CPU = "cpu"
    VIEW = "view"
    """A movement that views can stand for."""
    JOIN = "join"
    """A concatenation."""
    MOVE = "move"
    """A movement that no view stands for."""


@dataclass(frozen=True, eq=False, slots=True)
class Form:
    """What units of one operator, shapes and types have in common.

    Attributes:
        reads, writes: Shapes of the values that cross the unit's border.
        read_bytes, write_bytes: Bytes of one element of each.
        exported, before: Bytes of a layout operator as :class:`engine.compile.storages.LayoutBytes` counts them.
        has_own_scale: Whether a kernel's output takes the scale of the concatenation that alone reads it
            (:func:`engine.plan.scales.assign_types`): what passes integers on keeps theirs, and probabilities have
            one of their own.
        views: Memo of the outputs' views, by those of what is read.
        runs: Memo of runs and lost bytes, by the views of what is read and written.
    """

    kind: Kind
    order: Order
    reads: tuple[Shape, ...]
    writes: tuple[Shape, ...]
    read_bytes: tuple[int, ...]
    write_bytes: tuple[int, ...]
    exported: int
    before: int
    has_own_scale: bool
    is_spatial: bool
    views: dict[tuple[View, ...], tuple[View | None, ...]] = field(default_factory=lambda: {})
    runs: dict[tuple[View, ...], tuple[tuple[int, ...], int]] = field(default_factory=lambda: {})


@dataclass(frozen=True, eq=False, slots=True)
class Role:
    """A placed unit: its anchor, what it reads (``converted``: quantised or dequantised for it first) and writes."""

    anchor: str
    node: Node
    form: Form
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    converted: frozenset[str]

    @property
    def kind(self) -> Kind:
        return self.form.kind

    @property
    def rescaling(self) -> tuple[str, str]:
        """The key of a movement of one input in :data:`engine.compile.storages.Rescaled`."""
        return self.anchor, self.reads[0]


_NONE: frozenset[str] = frozenset()


class Roles:
    """The roles of one graph's placed units, remembered."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._roles: dict[Placement, Role] = {}
        self._forms: dict[tuple[object, ...], Form] = {}

    def of(self, unit: Placement, widths: Mapping[str, int]) -> Role:
        """The role of a unit; ``widths`` are bytes of one element of each value that units before it write."""
        known = self._roles.get(unit)
        if known is None:
            known = self._roles[unit] = self._made(unit, widths)
        return known

    def trim(self, most: int) -> None:
        """Forget all where more than ``most`` units are remembered."""
        if len(self._roles) > most:
            self._roles.clear()
            self._forms.clear()

    def _made(self, unit: Placement, widths: Mapping[str, int]) -> Role:
        frame, types = unit.frame, self._graph.types
        node = self._graph.by_id[unit.anchor]
        reads = tuple([types[value].shape for value in frame.reads])
        writes = tuple([types[value].shape for value in frame.writes])
        weights = tuple([types[value].shape for value in node.inputs if value in self._graph.constants])
        sizes = tuple([size for _, size in unit.stores])
        flags = (unit.on_cpu, unit.is_free, frame.is_input, bool(unit.seams), len(frame.nodes))
        read_bytes = tuple([widths.get(value, 1) for value in frame.reads])
        key = (node.op, reads, writes, weights, read_bytes, sizes, flags)
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = _form_of(self._graph, unit, node, reads, writes, read_bytes)
        converted = frozenset([value for value, _ in unit.seams]) if unit.seams else _NONE
        return Role(unit.anchor, node, form, frame.reads, frame.writes, converted)


def _form_of(
    graph: Graph,
    unit: Placement,
    node: Node,
    reads: tuple[Shape, ...],
    writes: tuple[Shape, ...],
    read_bytes: tuple[int, ...],
) -> Form:
    counts = [graph.types[value].element_count for value in unit.frame.border]
    made = counts[len(reads) :]
    write_bytes = tuple(max(1, size // max(count, 1)) for (_, size), count in zip(unit.stores, made, strict=True))
    kind = _kind_of(unit, node, all(counts))
    moved = copied = 0
    if isinstance(node.op, Layout) and writes:
        moved = sum(work.moved_bytes for work in unit.works)
        copied = sum(counts) * write_bytes[0]
    return Form(
        kind=kind,
        order=IN_OWN_ORDER if kind in (Kind.CPU, Kind.INPUT) else order_of(graph, node),
        reads=reads,
        writes=writes,
        read_bytes=read_bytes,
        write_bytes=write_bytes,
        exported=moved or copied,
        before=moved,
        has_own_scale=_has_own_scale(node),
        is_spatial=kind is Kind.KERNEL and is_spatial(node.op),
    )


def _kind_of(unit: Placement, node: Node, has_data: bool) -> Kind:
    if unit.frame.is_input:
        return Kind.INPUT
    renames = unit.is_free or (isinstance(node.op, Layout) and not unit.on_cpu)
    is_alone = len(unit.frame.reads) == len(unit.frame.nodes) == 1
    if renames and has_data and is_alone and not unit.seams and VIEW.find(node.op) is not None:
        return Kind.VIEW
    if unit.on_cpu:
        return Kind.CPU
    if isinstance(node.op, Concat) and any(size for _, size in unit.stores):
        return Kind.JOIN
    return Kind.MOVE if isinstance(node.op, Layout) else Kind.KERNEL


def _has_own_scale(node: Node) -> bool:
    op = node.op
    if isinstance(op, (*PASSING, Softmax, Cast)) or (isinstance(op, Resize) and op.mode == "nearest"):
        return False
    return not is_scaling(node)
