"""Values followed through the units of a model: the storage of each, until no further one has to be moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from engine.compile.orders import Reach, accepts, channels_last, longest_run, read_run, run_in_step
from engine.compile.roles import Form, Kind, Role
from engine.compile.storages import LayoutBytes, LayoutPlan, Move, Rescaled, Storage
from engine.compile.view_rules import VIEW
from engine.compile.views import View, is_permutation, joined, ordered, row_major, sliced
from engine.graph.graph import Graph
from engine.ops.layout import Concat

_PASSES = 5

_MOST_EDITED = 64
"""Units up to which an edit is taken over instead of planning anew."""

Loss = Callable[[int], float]
"""Bytes of a run to the bytes that the memory delivers for each one of them."""


class Following:
    """A plan and how it came about. ``plan`` is made at once; :meth:`edited` takes it over where little changed."""

    def __init__(self, graph: Graph, roles: Sequence[Role], loss: Loss, reach: Reach, rescaled: Rescaled) -> None:
        self._graph = graph
        self._roles = roles
        self._loss = loss
        self._reach = reach
        self._rescaled = rescaled
        self._producer: dict[str, Role] = {}
        self._readers: dict[str, list[Role]] = {}
        plain = set(graph.outputs)
        for role in roles:
            for value in role.writes:
                self._producer[value] = role
            for value in role.reads:
                self._readers.setdefault(value, []).append(role)
            if role.form.kind is Kind.CPU:
                plain.update(role.reads)
        self._plain = frozenset(plain)
        self._forced: set[str] = set()
        self._dear: set[str] = set()
        self._parts: dict[str, tuple[str, int, int]] = {}
        self._orders: dict[str, tuple[int, ...]] = {}
        self._storages: dict[str, Storage] = {}
        self._joined: set[str] = set()
        self._settle()
        self.plan = self._result()

    def _settle(self) -> None:
        self._follow()
        if self._claim():
            self._follow()
        for _ in range(_PASSES):
            forced = self._forbidden(self._readers)
            if not forced:
                break
            self._forced |= forced
            self._follow()

    # -- storages --------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Give every value its storage, in the order of units."""
        self._storages = {}
        self._joined = set()
        for value in self._parts:
            self._place_part(value)
        for role in self._roles:
            kind = role.form.kind
            if kind is Kind.VIEW and role.rescaling not in self._rescaled:
                self._view(role)
            elif kind is Kind.JOIN and self._join(role):
                self._joined.add(role.anchor)
            else:
                self._store(role)

    def _view(self, role: Role) -> None:
        source = self._storages[role.reads[0]]
        for value, view in zip(role.writes, _views_of(role, source.view), strict=True):
            if view is not None and view.rings and not self._reach.wraps and self._kernels(value):
                self._forced.add(value)  # at once: what follows need not be followed twice
            if view is None or value in self._forced or (value in self._plain and not _is_plain(view)):
                self._storages[value] = Storage(value, self._moved_order(value))
            else:
                self._storages[value] = Storage(source.root, view)

    def _join(self, role: Role) -> bool:
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
        view = joined([source.view for source in sources], _axis_of(role))
        if view is None or not is_permutation(view, self._graph.types[root].element_count):
            return False
        self._storages[result] = Storage(root, view)
        return True

    def _is_scaled_by_range(self, value: str) -> bool:
        """Whether the value's scale follows from its own range: a permutation of it then has the same."""
        form = self._producer[value].form
        return form.kind in (Kind.INPUT, Kind.JOIN) or (form.kind is Kind.KERNEL and form.has_own_scale)

    def _store(self, role: Role) -> None:
        for index, value in enumerate(role.writes):
            if value not in self._storages:
                self._storages[value] = Storage(value, self._own_order(role, index))

    def _own_order(self, role: Role, index: int) -> View:
        """The order of an output in a buffer of its own."""
        form, value = role.form, role.writes[index]
        if value in self._plain and not self._graph.types[value].is_float:
            return row_major(form.writes[index])  # no conversion on the way that could reorder it
        if form.kind is Kind.KERNEL and all(form.writes[index]):
            views = self._read_views(role)
            known = form.views.get(views)
            if known is None:
                known = form.views[views] = tuple([form.order.store(views, shape) for shape in form.writes])
            found = known[index]
            assert found is not None
            return found
        if form.kind is Kind.JOIN:
            return self._join_order(role, value)
        if form.kind in (Kind.MOVE, Kind.INPUT):
            return self._moved_order(value)
        return row_major(form.writes[index])

    def _read_views(self, role: Role) -> tuple[View, ...]:
        return tuple([self._read_view(role, value) for value in role.reads])

    def _read_view(self, role: Role, value: str) -> View:
        """How the unit finds a value: what is converted first comes row by row."""
        return row_major(self._graph.types[value].shape) if value in role.converted else self._storages[value].view

    def _moved_order(self, value: str) -> View:
        """The order that a copy writes: what a spatial reader likes, else row by row."""
        shape = self._graph.types[value].shape
        if value not in self._plain and any(role.form.is_spatial for role in self._readers.get(value, ())):
            return channels_last(shape)
        return row_major(shape)

    # -- concatenation in place ------------------------------------------------------------------------------

    def _join_order(self, role: Role, value: str) -> View:
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
            if role.form.kind is not Kind.JOIN or role.anchor in self._joined:
                continue
            start, result = 0, role.writes[0]
            for name in role.node.inputs:
                size = self._graph.types[name].shape[_axis_of(role)]
                if self._may_write_into(name, role):
                    self._parts[name] = (result, start, size)
                start += size
            order = _axis_order(self._storages[result].view)
            assert order is not None, "an axis of a concatenation's buffer has one stride"
            self._orders[result] = order
        return bool(self._parts)

    def _may_write_into(self, value: str, join: Role) -> bool:
        """Whether a kernel quantises the value as the concatenation does, and nobody else wants it."""
        role = self._producer.get(value)
        if role is None or value in self._parts or value in self._plain or join.node.inputs.count(value) > 1:
            return False
        if (join.anchor, value) in self._rescaled or len(self._readers[value]) > 1:
            return False
        if self._width(value) != join.form.write_bytes[0]:
            return False
        if role.form.kind is Kind.JOIN:
            return role.anchor not in self._joined
        return role.form.kind is Kind.KERNEL and role.form.has_own_scale

    def _place_part(self, value: str) -> Storage:
        """The storage of a part of a concatenation's buffer, or of a whole one."""
        known = self._storages.get(value)
        if known is not None:
            return known
        if value in self._parts:
            target, start, size = self._parts[value]
            found = _part_of(self._place_part(target), _axis_of(self._producer[target]), start, size)
        else:
            found = Storage(value, ordered(self._graph.types[value].shape, self._orders[value]))
        self._storages[value] = found
        return found

    # -- what has to be moved --------------------------------------------------------------------------------

    def _forbidden(self, values: Iterable[str]) -> set[str]:
        """Of ``values``, those read through views that their readers cannot take, or that cost more than a move."""
        found: set[str] = set()
        for value in values:
            storage = self._storages[value]
            if storage.root == value or value in self._parts or value in self._forced:
                continue
            kernels = self._kernels(value)
            if any(not self._accepts(role, storage.view) for role in kernels):
                found.add(value)
            elif len(kernels) > 1 and self._is_dear(value, storage.view, kernels):
                found.add(value)
                self._dear.add(value)
        return found

    def _kernels(self, value: str) -> list[Role]:
        """The readers that compute on the chip with the value as it is."""
        readers = self._readers.get(value, ())
        return [role for role in readers if role.form.kind is Kind.KERNEL and value not in role.converted]

    def _accepts(self, role: Role, view: View) -> bool:
        output = self._storages[role.writes[0]].view if role.writes else view
        return accepts(role.form.order, view, output, self._reach)

    def _is_dear(self, value: str, view: View, kernels: Sequence[Role]) -> bool:
        """Whether short runs cost the readers more than one copy into their order, which they then read in full."""
        folded = sum(self._loss(self._accesses(role)[0][role.reads.index(value)]) for role in kernels)
        copied = self._loss(run_in_step(view, self._moved_order(value)) * self._width(value)) + 1.0 + len(kernels)
        return folded > copied

    def _width(self, value: str) -> int:
        """Bytes of an element."""
        role = self._producer[value]
        return role.form.write_bytes[role.writes.index(value)]

    def _accesses(self, role: Role) -> tuple[tuple[int, ...], int]:
        """Bytes a run of each read, then of each write; and the bytes that are fetched in vain."""
        reads, storages = self._read_views(role), self._storages
        writes = tuple([storages[value].view for value in role.writes])
        known = role.form.runs.get((*reads, *writes))
        if known is None:
            known = role.form.runs[(*reads, *writes)] = _runs_of(role.form, reads, writes, self._loss)
        return known

    # -- the result ------------------------------------------------------------------------------------------

    def _result(self) -> LayoutPlan:
        eliminated: list[str] = []
        moved: dict[str, tuple[Move, ...]] = {}
        runs: dict[tuple[str, str], int] = {}
        exported = before = after = strided = 0
        for role in self._roles:
            form = role.form
            exported += form.exported
            before += form.before
            moves = self._moves(role)
            if moves is None:
                strided += self._book_runs(role, runs)
                after += form.before
            elif moves:
                moved[role.anchor] = moves
                after += _book_moves(role.anchor, moves, runs)
            else:
                eliminated.append(role.anchor)
        root = {value: storage.root for value, storage in self._storages.items()}
        types = self._graph.types
        return LayoutPlan(
            storages=self._storages,
            root=root,
            eliminated=frozenset(eliminated),
            moved=moved,
            runs=runs,
            sizes={value: types[value].element_count * self._width(value) for value in set(root.values())},
            written=frozenset(self._parts),
            bytes=LayoutBytes(exported, before, after, strided),
        )

    def _book_runs(self, role: Role, runs: dict[tuple[str, str], int]) -> int:
        """Record the runs of a kernel; returns the bytes that it fetches in vain."""
        found, lost = self._accesses(role)
        anchor = role.anchor
        for value, run_bytes in zip((*role.reads, *role.writes), found, strict=True):
            runs[anchor, value] = run_bytes
        return lost

    def _moves(self, role: Role) -> tuple[Move, ...] | None:
        """The copies of a layout unit, none where it vanishes; None for a unit that is no movement on the chip."""
        kind = role.form.kind
        if kind is Kind.VIEW:
            source, storages = role.reads[0], self._storages
            return tuple([self._copy(role, v, source, storages[v]) for v in role.writes if storages[v].root == v])
        if kind is Kind.JOIN:
            return self._join_moves(role)
        if kind is Kind.MOVE and role.reads and role.writes:
            value = role.writes[0]
            return (self._copy(role, value, role.reads[0], self._storages[value]),)
        return None

    def _join_moves(self, role: Role) -> tuple[Move, ...]:
        result = role.writes[0]
        if role.anchor in self._joined:
            return ()
        axis, start, moves = _axis_of(role), 0, list[Move]()
        whole = self._storages[result]
        for name in role.node.inputs:
            size = self._graph.types[name].shape[axis]
            if size and self._parts.get(name, ("",))[0] != result:
                moves.append(self._copy(role, result, name, _part_of(whole, axis, start, size)))
            start += size
        return tuple(moves)

    def _copy(self, role: Role, value: str, source: str, target: Storage) -> Move:
        elements, count = target.view.element_count, self._graph.types[source].element_count
        width = self._width(value)
        is_constant = source in self._graph.constants
        view = row_major(self._graph.types[source].shape) if is_constant else self._read_view(role, source)
        taken = _taken(role, value, view)
        read = min(elements, count) if taken is None else elements
        run = longest_run(view) if taken is None else run_in_step(taken, target.view)
        return Move(
            value=value,
            source=source,
            target=target,
            read_bytes=read * width,
            write_bytes=elements * width,
            read_run_bytes=max(1, min(run, read)) * width,
            write_run_bytes=longest_run(target.view) * width,
        )

    # -- edits -----------------------------------------------------------------------------------------------

    def edited(self, roles: Sequence[Role]) -> Following | None:
        """This plan for other roles, where values stay where they are; None where they may not."""
        if len(roles) != len(self._roles):
            return None
        pairs = [(old, new) for old, new in zip(self._roles, roles, strict=True) if old is not new]
        if len(pairs) > _MOST_EDITED or not all(self._only_widths_differ(old, new) for old, new in pairs):
            return None
        changed = {old.anchor: new for old, new in pairs}
        touched = {value for old, _ in pairs for value in (*old.reads, *old.writes)}
        twin = object.__new__(Following)
        twin.__dict__.update(self.__dict__)
        twin._roles = roles
        twin._producer = self._producer | {value: new for _, new in pairs for value in new.writes}
        twin._readers = self._readers | {
            value: [changed.get(reader.anchor, reader) for reader in self._readers[value]]
            for value in touched
            if value in self._readers
        }
        if twin._forbidden(touched):
            return None
        twin.plan = twin._patched(self.plan, pairs)
        return twin

    def _only_widths_differ(self, old: Role, new: Role) -> bool:
        """Whether a unit does with memory what it did, in elements of other widths, and no copy or concatenation that
        depends on widths is near."""
        a, b = old.form, new.form
        same = (old.anchor, old.writes, old.reads, old.converted) == (new.anchor, new.writes, new.reads, new.converted)
        if not same or (a.kind, a.order, a.writes, a.reads) != (b.kind, b.order, b.writes, b.reads):
            return False
        if a.kind in (Kind.JOIN, Kind.MOVE):
            return False
        return not any(
            value in self._dear or any(reader.form.kind is Kind.JOIN for reader in self._readers.get(value, ()))
            for value in (*old.reads, *old.writes)
        )

    def _patched(self, plan: LayoutPlan, pairs: Sequence[tuple[Role, Role]]) -> LayoutPlan:
        runs, sizes, moved, total = dict(plan.runs), dict(plan.sizes), dict(plan.moved), plan.bytes
        exported, before, after, strided = total.exported, total.before, total.after, total.strided
        for old, new in pairs:
            exported += new.form.exported - old.form.exported
            before += new.form.before - old.form.before
            moves = self._moves(new)
            if moves:
                after += _book_moves(new.anchor, moves, runs) - sum(move.size_bytes for move in moved[old.anchor])
                moved[new.anchor] = moves
            elif moves is None:
                after += new.form.before - old.form.before
                strided -= self._accesses(old)[1]
                strided += self._book_runs(new, runs)
            sizes |= {
                value: self._graph.types[value].element_count * self._width(value)
                for value in new.writes
                if value in sizes
            }
        return replace(plan, runs=runs, sizes=sizes, moved=moved, bytes=LayoutBytes(exported, before, after, strided))


def _book_moves(anchor: str, moves: Sequence[Move], runs: dict[tuple[str, str], int]) -> int:
    """Record the runs of a unit's copies; returns their bytes."""
    for move in moves:
        runs[anchor, move.source] = move.read_run_bytes
        runs[anchor, move.value] = move.write_run_bytes
    return sum(move.size_bytes for move in moves)


def _views_of(role: Role, source: View) -> tuple[View | None, ...]:
    """The views of a movement's outputs, given that of what it reads."""
    known = role.form.views.get((source,))
    if known is None:
        rule = VIEW.find(role.node.op)
        assert rule is not None
        found = dict(zip(role.node.outputs, rule(role.node.op, source), strict=True))
        known = role.form.views[(source,)] = tuple([found[value] for value in role.writes])
    return known


def _taken(role: Role, value: str, view: View) -> View | None:
    """The elements that a copy reads, in the order in which it writes them; None where they are no view."""
    if role.form.kind is Kind.VIEW:
        return _views_of(role, view)[role.writes.index(value)]
    return view if role.form.kind is Kind.JOIN else None


def _runs_of(form: Form, reads: tuple[View, ...], writes: tuple[View, ...], loss: Loss) -> tuple[tuple[int, ...], int]:
    """Bytes a run of each read and write, and what a kernel fetches in vain."""
    found: list[int] = []
    lost = 0.0
    for view, width in zip(reads, form.read_bytes, strict=True):
        run_bytes = width * (read_run(form.order, view, writes[0]) if writes else longest_run(view))
        size_bytes = width * view.element_count
        if form.kind is Kind.KERNEL and run_bytes < size_bytes:
            lost += size_bytes * (loss(run_bytes) - 1.0)
        found.append(run_bytes)
    found += [width * longest_run(view) for view, width in zip(writes, form.write_bytes, strict=True)]
    return tuple(found), round(lost)


def _axis_of(join: Role) -> int:
    """The axis of a concatenation."""
    assert isinstance(join.node.op, Concat)
    return join.node.op.axis


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
