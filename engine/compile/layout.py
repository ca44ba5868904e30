"""Layout elimination: where every value lies, which data movement vanishes, how long the runs of each access are.

Every value has a *storage*: the buffer of some kernel's output, and a view of it (:mod:`engine.compile.views`). A
layout operator only changes the view; who reads its output reads the other kernel's buffer in that order. Inputs of a
concatenation are written straight into their part of its buffer. What is left to move is moved once, through the view
that all layout operators before it add up to.

A value is moved into a buffer of its own where

- no view expresses it (padding, irregular indices, a reshape across a factor),
- the CPU reads it or it leaves the model, and it does not lie there as the model has it,
- a window slides over an axis that has more than one stride,
- its readers together would lose more time on short runs than the move costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from math import prod

from engine.compile.orders import (
    IN_OWN_ORDER,
    Order,
    accepts,
    channels_last,
    is_spatial,
    longest_run,
    order_of,
    read_run,
    run_in_step,
)
from engine.compile.view_rules import VIEW
from engine.compile.views import View, is_permutation, joined, ordered, row_major, sliced
from engine.graph.graph import Graph, Node
from engine.ops.layout import Concat, Layout
from engine.ops.logic import Cast
from engine.ops.reduce import Resize, Softmax
from engine.plan.resolve import PASSING
from engine.plan.units import is_scaling
from engine.simulate.placement import Placement

ACCESS_BYTES = 64
GATHER_BYTES = 16
"""What a memory delivers at once, and what of it shorter runs fill together, where no target says so."""

_PASSES = 5


@dataclass(frozen=True)
class Storage:
    """Where a value lies: the value whose buffer it is in (itself, or another), and the view of that buffer."""

    root: str
    view: View


@dataclass(frozen=True)
class Move:
    """One strided copy.

    Attributes:
        value: What it makes (a whole value, or the part of a concatenation that an input is).
        source: The value that is read, where it lies.
        target: Where it is written.
        read_bytes, write_bytes: What crosses.
        read_run_bytes, write_run_bytes: Mean bytes in consecutive addresses.
    """

    value: str
    source: str
    target: Storage
    read_bytes: int
    write_bytes: int
    read_run_bytes: int
    write_run_bytes: int

    @property
    def size_bytes(self) -> int:
        return self.read_bytes + self.write_bytes


@dataclass(frozen=True)
class LayoutBytes:
    """Bytes that layout operators read and write.

    Attributes:
        exported: As the graph has them, each a copy of what it takes: reshapes too.
        before: The same, reshapes and other pure renames of a row-major buffer at zero.
        after: What the remaining moves read and write.
        strided: What kernels fetch beyond what they use, because they read through views in runs shorter than the
            memory delivers at once.
    """

    exported: int
    before: int
    after: int
    strided: int

    @property
    def removed(self) -> float:
        """Share of ``before`` that is gone, 0 to 1."""
        return 1.0 - self.after / self.before if self.before else 0.0


@dataclass(frozen=True, eq=False)
class LayoutPlan:
    """Where values lie and what is left to move.

    Attributes:
        storages: Every value that some unit makes for others.
        eliminated: Anchors of units that vanish: their readers read other buffers.
        moved: Anchors of layout units that remain, with their copies.
        runs: (anchor, value) to the mean bytes in consecutive addresses where the unit reads or writes the value.
        sizes: Bytes of each buffer, by its value.
        written: Values that are written into a part of another value's buffer.
        bytes: What it comes to.
    """

    storages: Mapping[str, Storage]
    eliminated: frozenset[str]
    moved: Mapping[str, tuple[Move, ...]]
    runs: Mapping[tuple[str, str], int]
    sizes: Mapping[str, int]
    written: frozenset[str]
    bytes: LayoutBytes

    @cached_property
    def root(self) -> Mapping[str, str]:
        """The value whose buffer holds each value."""
        return {value: storage.root for value, storage in self.storages.items()}

    def run_bytes(self, anchor: str, value: str) -> int:
        """Mean bytes in consecutive addresses where a unit reads or writes a value. Raises KeyError for constants and
        for values inside the unit."""
        return self.runs[anchor, value]


_Loss = Callable[[int], float]
"""Bytes of a run to the bytes that the memory delivers for each one of them."""


class _Kind(Enum):
    KERNEL = "kernel"
    INPUT = "input"
    CPU = "cpu"
    VIEW = "view"
    JOIN = "join"
    MOVE = "move"


@dataclass(frozen=True, eq=False)
class _Role:
    """What the layout needs to know of a placed unit; ``views`` and ``accesses`` are memos."""

    anchor: str
    node: Node
    kind: _Kind
    order: Order
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    converted: frozenset[str]
    widths: Mapping[str, int]
    exported: int
    before: int
    views: dict[tuple[View, ...], tuple[View | None, ...]] = field(default_factory=lambda: {})
    accesses: dict[tuple[View, ...], tuple[int, ...]] = field(default_factory=lambda: {})


Rescaled = frozenset[tuple[str, str]]
"""(anchor, value) of movements that bring what they read to another scale: these compute, and nothing stands for them.

Which ones do follows from scales, which only a calibrated model has. Without them: concatenations do but for inputs
that are quantised with their scale, and products with a constant never do.
"""


def plan_layout(
    graph: Graph,
    placed: Sequence[Placement],
    access_bytes: int = ACCESS_BYTES,
    gather_bytes: int = GATHER_BYTES,
    rescaled: Rescaled = frozenset(),
) -> LayoutPlan:
    """The layout of placed units. Keep a :class:`LayoutPlanner` where many plans of one graph are made."""
    return LayoutPlanner(graph, access_bytes, gather_bytes).plan(placed, rescaled)


def renamings(graph: Graph, placed: Sequence[Placement]) -> LayoutPlan:
    """The plan that only drops the units that rename what they read: every other value has a row-major buffer."""
    roots: dict[str, str] = {}
    sizes: dict[str, int] = {}
    eliminated: list[str] = []
    copied = 0
    for unit in placed:
        if unit.is_free:
            source = unit.frame.reads[0]
            roots[unit.frame.writes[0]] = roots.get(source, source)
            eliminated.append(unit.anchor)
            continue
        roots.update((value, value) for value in unit.frame.writes)
        sizes.update(unit.stores)
        copied += sum(work.moved_bytes for work in unit.works if work.is_rearranging)
    return LayoutPlan(
        storages={value: Storage(root, row_major(graph.types[value].shape)) for value, root in roots.items()},
        eliminated=frozenset(eliminated),
        moved={},
        runs={},
        sizes=sizes,
        written=frozenset(),
        bytes=LayoutBytes(copied, copied, copied, 0),
    )


class LayoutPlanner:
    """Plans the layout of one graph's placed units.

    It remembers what it found for each unit by the views that the unit reads, so an edit costs little more than a walk
    over the units. ``access_bytes`` is what the memory delivers at once, ``gather_bytes`` what shorter runs are worth.
    """

    def __init__(self, graph: Graph, access_bytes: int = ACCESS_BYTES, gather_bytes: int = GATHER_BYTES) -> None:
        self._graph = graph
        self._access_bytes = access_bytes
        self._gather_bytes = gather_bytes
        self._roles: dict[Placement, _Role] = {}
        self._last: tuple[tuple[object, ...], LayoutPlan] | None = None

    def plan(self, placed: Sequence[Placement], rescaled: Rescaled = frozenset()) -> LayoutPlan:
        """The layout; the same object as last time for the same placements."""
        key = (rescaled, *placed)
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        if len(self._roles) > 8 * max(len(placed), 1):
            self._roles.clear()
        roles = [self._role(unit) for unit in placed]
        found = _Pass(self._graph, roles, self._loss, rescaled).run()
        self._last = (key, found)
        return found

    def _loss(self, run_bytes: int) -> float:
        """Bytes that the memory delivers for each one of a run."""
        return max(1.0, self._access_bytes / max(run_bytes, self._gather_bytes))

    def _role(self, unit: Placement) -> _Role:
        known = self._roles.get(unit)
        if known is None:
            known = self._roles[unit] = _role_of(self._graph, unit)
        return known


def _role_of(graph: Graph, unit: Placement) -> _Role:
    frame = unit.frame
    node = graph.by_id[unit.anchor]
    kind = _kind_of(graph, unit, node)
    widths = {value: max(1, size // max(graph.types[value].element_count, 1)) for value, size in unit.stores}
    moved = sum(work.moved_bytes for work in unit.works) if isinstance(node.op, Layout) else 0
    copied = 0
    if isinstance(node.op, Layout) and frame.writes:
        values = (*frame.reads, *frame.writes)
        copied = sum(graph.types[value].element_count for value in values) * widths[frame.writes[0]]
    return _Role(
        anchor=unit.anchor,
        node=node,
        kind=kind,
        order=IN_OWN_ORDER if kind in (_Kind.CPU, _Kind.INPUT) else order_of(graph, node),
        reads=frame.reads,
        writes=frame.writes,
        converted=frozenset(value for value, _ in unit.seams),
        widths=widths,
        exported=moved or copied,
        before=moved,
    )


def _kind_of(graph: Graph, unit: Placement, node: Node) -> _Kind:
    if unit.frame.is_input:
        return _Kind.INPUT
    is_view = VIEW.find(node.op) is not None and len(unit.frame.nodes) == 1 and len(unit.frame.reads) == 1
    has_data = all(graph.types[value].element_count for value in unit.frame.border)
    renames = unit.is_free or (isinstance(node.op, Layout) and not unit.on_cpu)
    if is_view and has_data and renames and not unit.seams:
        return _Kind.VIEW
    if unit.on_cpu:
        return _Kind.CPU
    if isinstance(node.op, Concat) and graph.types[node.outputs[0]].element_count:
        return _Kind.JOIN
    return _Kind.MOVE if isinstance(node.op, Layout) else _Kind.KERNEL


class _Pass:
    """One plan in the making: values are followed through the units until no further one has to be moved."""

    def __init__(self, graph: Graph, roles: Sequence[_Role], loss: _Loss, rescaled: Rescaled) -> None:
        self._graph = graph
        self._roles = roles
        self._loss = loss
        self._rescaled = rescaled
        self._producer = {value: role for role in roles for value in role.writes}
        self._readers: dict[str, list[_Role]] = {}
        for role in roles:
            for value in role.reads:
                self._readers.setdefault(value, []).append(role)
        self._plain = self._values_for_the_cpu()
        self._forced: set[str] = set()
        self._parts: dict[str, tuple[str, int, int]] = {}
        self._orders: dict[str, tuple[int, ...]] = {}
        self._storages: dict[str, Storage] = {}
        self._joined: set[str] = set()

    def run(self) -> LayoutPlan:
        self._follow()
        if self._claim():
            self._follow()
        for _ in range(_PASSES):
            forced = self._forbidden()
            if not forced:
                break
            self._forced |= forced
            self._follow()
        return self._result()

    def _values_for_the_cpu(self) -> frozenset[str]:
        plain = set(self._graph.outputs)
        for role in self._roles:
            if role.kind is _Kind.CPU:
                plain.update(role.reads)
        return frozenset(plain)

    # -- storages --------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Give every value its storage, in the order of units."""
        self._storages = {}
        self._joined = set()
        for value in self._parts:
            self._place_part(value)
        for role in self._roles:
            if role.kind is _Kind.VIEW and (role.anchor, role.reads[0]) not in self._rescaled:
                self._view(role)
            elif role.kind is _Kind.JOIN and self._join(role):
                self._joined.add(role.anchor)
            else:
                self._store(role)

    def _view(self, role: _Role) -> None:
        source = self._storages[role.reads[0]]
        known = role.views.get((source.view,))
        if known is None:
            rule = VIEW.find(role.node.op)
            assert rule is not None
            found = dict(zip(role.node.outputs, rule(role.node.op, source.view), strict=True))
            known = role.views[(source.view,)] = tuple(found[value] for value in role.writes)
        for value, view in zip(role.writes, known, strict=True):
            if view is None or value in self._forced or (value in self._plain and not _is_plain(view)):
                self._storages[value] = Storage(value, self._moved_order(value))
            else:
                self._storages[value] = Storage(source.root, view)

    def _join(self, role: _Role) -> bool:
        """Whether a concatenation only puts the parts of one buffer into another order."""
        result, names = role.writes[0], role.node.inputs
        if role.converted or result in self._plain or result in self._parts or result in self._forced:
            return False
        if any(name in self._graph.constants or not self._graph.types[name].element_count for name in names):
            return False
        if any((role.anchor, name) in self._rescaled for name in names):
            return False
        sources = [self._storages[name] for name in names]
        root = sources[0].root
        if any(source.root != root for source in sources) or not self._is_scaled_by_range(root):
            return False
        assert isinstance(role.node.op, Concat)
        view = joined([source.view for source in sources], role.node.op.axis)
        if view is None or not is_permutation(view, self._graph.types[root].element_count):
            return False
        self._storages[result] = Storage(root, view)
        return True

    def _is_scaled_by_range(self, value: str) -> bool:
        """Whether the value's scale follows from its own range: a permutation of it then has the same."""
        role = self._producer[value]
        if role.kind in (_Kind.INPUT, _Kind.JOIN):
            return True
        return role.kind is _Kind.KERNEL and _has_scale_of_its_own(role.node)

    def _store(self, role: _Role) -> None:
        for value in role.writes:
            if value not in self._storages:
                self._storages[value] = Storage(value, self._own_order(role, value))

    def _own_order(self, role: _Role, value: str) -> View:
        shape = self._graph.types[value].shape
        if role.kind is _Kind.KERNEL and prod(shape):
            views = self._read_views(role)
            known = role.views.get(views)
            if known is None:
                known = role.views[views] = tuple(
                    role.order.store(views, self._graph.types[name].shape) for name in role.writes
                )
            found = known[role.writes.index(value)]
            assert found is not None
            return found
        if role.kind is _Kind.JOIN:
            return self._join_order(role, value)
        if role.kind in (_Kind.MOVE, _Kind.INPUT):
            return self._moved_order(value)
        return row_major(shape)

    def _read_views(self, role: _Role) -> tuple[View, ...]:
        return tuple([self._read_view(role, value) for value in role.reads])

    def _read_view(self, role: _Role, value: str) -> View:
        """How the unit finds a value: what is converted first comes row by row."""
        return row_major(self._graph.types[value].shape) if value in role.converted else self._storages[value].view

    def _moved_order(self, value: str) -> View:
        """The order that a copy writes: what a spatial reader likes, else row by row."""
        shape = self._graph.types[value].shape
        readers = self._readers.get(value, ())
        if value not in self._plain and any(role.kind is _Kind.KERNEL and is_spatial(role.node.op) for role in readers):
            return channels_last(shape)
        return row_major(shape)

    # -- concatenation in place ------------------------------------------------------------------------------

    def _join_order(self, role: _Role, value: str) -> View:
        """The order of the first input's axes, where each has one stride."""
        shape = self._graph.types[value].shape
        first = next((name for name in role.node.inputs if name not in self._graph.constants), None)
        order = self._orders.get(value)
        if order is None and first is not None and value not in self._plain:
            order = _axis_order(self._storages[first].view)
        return row_major(shape) if order is None else ordered(shape, order)

    def _claim(self) -> bool:
        """Have kernels write into the buffers of the concatenations that they feed; later ones choose first."""
        for role in reversed(self._roles):
            if role.kind is not _Kind.JOIN or role.anchor in self._joined:
                continue
            assert isinstance(role.node.op, Concat)
            start, result = 0, role.writes[0]
            for name in role.node.inputs:
                size = self._graph.types[name].shape[role.node.op.axis]
                if self._may_write_into(name, role):
                    self._parts[name] = (result, start, size)
                start += size
            order = _axis_order(self._storages[result].view)
            assert order is not None, "an axis of a concatenation's buffer has one stride"
            self._orders[result] = order
        return bool(self._parts)

    def _may_write_into(self, value: str, join: _Role) -> bool:
        """Whether a kernel quantises the value as the concatenation does, and nobody else wants it."""
        role = self._producer.get(value)
        if role is None or value in self._parts or value in self._plain or join.node.inputs.count(value) > 1:
            return False
        if (join.anchor, value) in self._rescaled:
            return False
        if len(self._readers[value]) > 1 or role.widths[value] != join.widths[join.writes[0]]:
            return False
        if role.kind is _Kind.JOIN:
            return role.anchor not in self._joined
        return role.kind is _Kind.KERNEL and _has_scale_of_its_own(role.node)

    def _place_part(self, value: str) -> Storage:
        """The storage of a part of a concatenation's buffer, or of a whole one."""
        known = self._storages.get(value)
        if known is not None:
            return known
        if value in self._parts:
            target, start, size = self._parts[value]
            found = _part_of(self._place_part(target), self._axis_of(target), start, size)
        else:
            found = Storage(value, ordered(self._graph.types[value].shape, self._orders[value]))
        self._storages[value] = found
        return found

    def _axis_of(self, joined_value: str) -> int:
        op = self._producer[joined_value].node.op
        assert isinstance(op, Concat)
        return op.axis

    # -- what has to be moved --------------------------------------------------------------------------------

    def _forbidden(self) -> set[str]:
        """Values read through views that their readers cannot take, or that cost more than a move."""
        found: set[str] = set()
        for value, readers in self._readers.items():
            storage = self._storages[value]
            made_by = self._producer[value].kind
            if storage.root == value or made_by is not _Kind.VIEW or value in self._forced:
                continue
            kernels = [role for role in readers if role.kind is _Kind.KERNEL and value not in role.converted]
            refused = any(not accepts(role.order, storage.view) for role in kernels)
            if refused or (len(kernels) > 1 and self._is_dear(value, storage.view, kernels)):
                found.add(value)
        return found

    def _is_dear(self, value: str, view: View, kernels: Sequence[_Role]) -> bool:
        """Whether short runs cost the readers more than one copy into their order, which they then read in full."""
        width = self._width(value)
        folded = sum(self._loss(self._run_of(role, value) * width) for role in kernels)
        copied = self._loss(run_in_step(view, self._moved_order(value)) * width) + 1.0 + len(kernels)
        return folded > copied

    def _width(self, value: str) -> int:
        return self._producer[value].widths.get(value, 1)

    def _run_of(self, role: _Role, value: str) -> int:
        return self._accesses(role)[role.reads.index(value)]

    def _accesses(self, role: _Role) -> tuple[int, ...]:
        """Elements a run of each read, then of each write."""
        reads = self._read_views(role)
        writes = tuple([self._storages[value].view for value in role.writes])
        known = role.accesses.get((*reads, *writes))
        if known is None:
            known = role.accesses[(*reads, *writes)] = (
                *(read_run(role.order, view, writes[0]) if writes else longest_run(view) for view in reads),
                *(longest_run(view) for view in writes),
            )
        return known

    # -- the result ------------------------------------------------------------------------------------------

    def _result(self) -> LayoutPlan:
        eliminated: list[str] = []
        moved: dict[str, tuple[Move, ...]] = {}
        runs: dict[tuple[str, str], int] = {}
        exported = before = after = strided = 0
        for role in self._roles:
            exported += role.exported
            before += role.before
            moves = self._moves(role)
            if moves is None:
                strided += self._book_runs(role, runs)
                after += role.before
            elif moves:
                moved[role.anchor] = moves
                after += sum(move.size_bytes for move in moves)
                for move in moves:
                    runs[role.anchor, move.source] = move.read_run_bytes
                    runs[role.anchor, move.value] = move.write_run_bytes
            else:
                eliminated.append(role.anchor)
        roots = {storage.root for storage in self._storages.values()}
        return LayoutPlan(
            storages=self._storages,
            eliminated=frozenset(eliminated),
            moved=moved,
            runs=runs,
            sizes={root: self._graph.types[root].element_count * self._width(root) for root in roots},
            written=frozenset(self._parts),
            bytes=LayoutBytes(exported, before, after, strided),
        )

    def _moves(self, role: _Role) -> tuple[Move, ...] | None:
        """The copies of a layout unit, none where it vanishes; None for a unit that is no movement on the chip."""
        if role.kind is _Kind.VIEW:
            source = role.reads[0]
            return tuple([self._copy(role, v, source, self._storages[v]) for v in role.writes if self._is_moved(v)])
        if role.kind is _Kind.JOIN:
            return self._join_moves(role)
        if role.kind is _Kind.MOVE and role.reads and role.writes:
            value = role.writes[0]
            return (self._copy(role, value, role.reads[0], self._storages[value]),)
        return None

    def _is_moved(self, value: str) -> bool:
        return self._storages[value].root == value

    def _join_moves(self, role: _Role) -> tuple[Move, ...]:
        result = role.writes[0]
        if role.anchor in self._joined:
            return ()
        assert isinstance(role.node.op, Concat)
        axis, start, moves = role.node.op.axis, 0, list[Move]()
        whole = self._storages[result]
        for name in role.node.inputs:
            size = self._graph.types[name].shape[axis]
            if size and self._parts.get(name, ("",))[0] != result:
                moves.append(self._copy(role, result, name, _part_of(whole, axis, start, size)))
            start += size
        return tuple(moves)

    def _copy(self, role: _Role, value: str, source: str, target: Storage) -> Move:
        elements = target.view.element_count
        width = role.widths[value]
        constant = source in self._graph.constants
        shape = self._graph.types[source].shape
        view = row_major(shape) if constant else self._read_view(role, source)
        part = target.view
        taken = self._taken(role, value, view, part)
        read = elements if taken is not None else min(elements, self._graph.types[source].element_count)
        run = run_in_step(taken, part) if taken is not None else longest_run(view)
        return Move(
            value=value,
            source=source,
            target=target,
            read_bytes=read * width,
            write_bytes=elements * width,
            read_run_bytes=max(1, min(run, read)) * width,
            write_run_bytes=longest_run(part) * width,
        )

    def _taken(self, role: _Role, value: str, view: View, target: View) -> View | None:
        """The elements that a copy reads, in the target's shape; None where they are no view."""
        if role.kind is _Kind.JOIN:
            return view
        known = role.views.get((view,))
        found = None if known is None else known[role.writes.index(value)]
        return found if found is not None and found.shape == target.shape else None

    def _book_runs(self, role: _Role, runs: dict[tuple[str, str], int]) -> int:
        """Record the runs of a kernel; returns the bytes that it fetches in vain."""
        accesses = self._accesses(role)
        lost = 0.0
        for index, value in enumerate((*role.reads, *role.writes)):
            width = self._width(value)
            run_bytes = accesses[index] * width
            runs[role.anchor, value] = run_bytes
            storage = self._storages[value]
            if role.kind is _Kind.KERNEL and index < len(role.reads) and storage.root != value:
                size = storage.view.element_count * width
                lost += size * (self._loss(run_bytes) - 1.0) if run_bytes < size else 0.0
        return round(lost)


def _part_of(whole: Storage, axis: int, start: int, size: int) -> Storage:
    """A slice of a concatenation's buffer, whose axes have one stride each."""
    view = sliced(whole.view, axis, start, size)
    assert view is not None
    return Storage(whole.root, view)


def _is_plain(view: View) -> bool:
    """Whether a view is a whole buffer in row-major order."""
    return view == row_major(view.shape)


def _axis_order(view: View) -> tuple[int, ...] | None:
    """Axes from outermost to innermost in memory, those of size 1 outermost; None where one has several strides."""
    if view.rings or any(len(axis) > 1 or any(f.stride <= 0 for f in axis) for axis in view.axes):
        return None
    strides = [axis[0].stride if axis else 0 for axis in view.axes]
    single = [place for place, axis in enumerate(view.axes) if not axis]
    others = sorted((place for place, axis in enumerate(view.axes) if axis), key=lambda place: -strides[place])
    return (*single, *others)


def _has_scale_of_its_own(node: Node) -> bool:
    """Whether a kernel's output takes the scale of the concatenation that alone reads it
    (:func:`engine.plan.scales.assign_types`): what passes integers on keeps theirs, probabilities have a scale of their
    own."""
    op = node.op
    if isinstance(op, (*PASSING, Softmax, Cast)) or (isinstance(op, Resize) and op.mode == "nearest"):
        return False
    return not is_scaling(node)
