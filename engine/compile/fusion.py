"""Kernels: which units run as one.

A user's legal region is a kernel as it stands; the compiler adds nothing to it and takes nothing away. Of the other
units, what only follows a product row by row joins it: clamps, functions, residual sums, softmax, norms; and the second
product of an attention joins the first through its softmax. What is computed in a kernel is the same, when is not.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from engine.compile.layout import LayoutPlan
from engine.compile.types import Kernel
from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour
from engine.ops.elementwise import Elementwise
from engine.ops.linear import Mac, MatMul
from engine.ops.reduce import BatchNorm, LayerNorm, LogSoftmax, RMSNorm, Softmax
from engine.plan.types import ResolvedRegion
from engine.simulate.placement import Placement

ROWWISE: Behaviour[Callable[[Node, int], bool]] = Behaviour("rowwise")
"""(node, axes of its result) -> whether it computes each row (the last axis) of it from the same row of its inputs."""


@dataclass(eq=False)
class _Group:
    """A kernel in the making: places of its units in the order of units."""

    members: list[int]
    region: str = ""
    products: int = 0
    is_open: bool = True
    ends_in_softmax: bool = False
    made: set[str] = field(default_factory=lambda: set[str]())


class _Continuation(Enum):
    """How a unit follows the kernel that makes what it reads."""

    NONE = "none"
    ROWS = "rows"
    ATTENTION = "attention"


@dataclass(frozen=True, eq=False)
class Flow:
    """Who passes buffers to whom among placed units, whatever is fused.

    Attributes:
        working: Places of the units that do something.
        sources: For each of them, the roots that it reads of other units with the places of these, the last first.
        written: For each, the roots that it writes: of a movement only those of its copies.
        reads: For each, the roots that it reads, of the model's inputs too.
        products: For each, how many of its nodes are products.
        readers: Places of the units that read a root.
        shared: Roots that several units write, with their places.
        continuations: Memo of how units follow those that they read, by anchor and root.
    """

    placed: Sequence[Placement]
    layout: LayoutPlan
    working: tuple[int, ...]
    sources: Mapping[int, Sequence[tuple[str, int]]]
    written: Mapping[int, tuple[str, ...]]
    reads: Mapping[int, tuple[str, ...]]
    products: Mapping[int, int]
    readers: Mapping[str, list[int]]
    shared: Mapping[str, list[int]]
    continuations: dict[tuple[str, str], _Continuation] = field(default_factory=lambda: {})

    @staticmethod
    def of(placed: Sequence[Placement], layout: LayoutPlan) -> Flow:
        """The flow among placed units that are laid out."""
        root_of, eliminated = layout.root, layout.eliminated
        working = [i for i, unit in enumerate(placed) if not unit.frame.is_input and unit.anchor not in eliminated]
        sources: dict[int, Sequence[tuple[str, int]]] = {}
        written: dict[int, tuple[str, ...]] = {}
        reads: dict[int, tuple[str, ...]] = {}
        makers: dict[str, list[int]] = {}
        readers: dict[str, list[int]] = {}
        for index in working:
            unit = placed[index]
            roots = tuple(dict.fromkeys([root_of.get(value, value) for value in unit.frame.reads]))
            reads[index] = roots
            for root in roots:
                readers.setdefault(root, []).append(index)
            found = [(root, place) for root in roots for place in makers.get(root, ())]
            sources[index] = sorted(found, key=_by_place, reverse=True)
            copies = layout.moved.get(unit.anchor)
            values = unit.frame.writes if copies is None else [copy.target.root for copy in copies]
            written[index] = tuple(dict.fromkeys([root_of.get(value, value) for value in values]))
            for root in written[index]:
                makers.setdefault(root, []).append(index)
        return Flow(
            placed,
            layout,
            tuple(working),
            sources,
            written,
            reads,
            {index: sum(isinstance(node.op, Mac) for node in placed[index].frame.nodes) for index in working},
            readers,
            {root: places for root, places in makers.items() if len(places) > 1},
        )


def kernels_of(graph: Graph, flow: Flow, regions: Iterable[ResolvedRegion], fuses: bool) -> tuple[Kernel, ...]:
    """The kernels in an order in which each comes after those that it reads."""
    return _Fuser(graph, flow, regions, fuses).run()


class _Fuser:
    def __init__(self, graph: Graph, flow: Flow, regions: Iterable[ResolvedRegion], fuses: bool) -> None:
        self.graph = graph
        self.flow = flow
        self.placed = flow.placed
        self.layout = flow.layout
        self.root = flow.layout.root
        self.fuses = fuses
        self.region_of = self._regions(regions)
        self.group_of: dict[int, _Group] = {}
        self.after: dict[int, int] = {}
        self.outputs = frozenset(map(self._root_of, graph.outputs))

    def _regions(self, regions: Iterable[ResolvedRegion]) -> dict[int, _Group]:
        """Place of a unit to the group that is its region."""
        found: dict[str, _Group] = {}
        for region in regions:
            if region.legal:
                group = _Group([], region.name, is_open=False)
                found.update(dict.fromkeys([unit.anchor for unit in region.units], group))
        if not found:
            return {}
        return {index: found[unit.anchor] for index, unit in enumerate(self.placed) if unit.anchor in found}

    def run(self) -> tuple[Kernel, ...]:
        groups: dict[int, _Group] = {}
        last = {id(group): place for place, group in sorted(self.region_of.items())}
        for index in self.flow.working:
            sources = self.flow.sources[index]
            group = self.region_of.get(index) or self._joined(self.placed[index], sources) or _Group([])
            group.members.append(index)
            self._note(group, index, last.get(id(group), index))
            groups[id(group)] = group
        return self._ordered(tuple(groups.values()))

    def _root_of(self, value: str) -> str:
        return self.root.get(value, value)

    def _note(self, group: _Group, index: int, last: int) -> None:
        """Keep what later units ask of this one."""
        unit, sources = self.placed[index], self.flow.sources[index]
        self.after[index] = max([last, *[self.after[place] for _, place in sources]])
        group.products += self.flow.products[index]
        group.ends_in_softmax = isinstance(unit.frame.nodes[-1].op, Softmax)
        group.is_open = group.is_open and unit.is_on_chip
        self.group_of[index] = group
        group.made.update(self.flow.written[index])

    def _joined(self, unit: Placement, sources: Sequence[tuple[str, int]]) -> _Group | None:
        """The group that a unit joins, or None where it starts one."""
        if not self.fuses or not unit.is_on_chip or any(work.is_rearranging for work in unit.works):
            return None
        for root, source in sources:
            group = self.group_of[source]
            if group.is_open and root not in self.flow.shared and self._continues(group, root, unit):
                others = (place for _, place in sources if self.group_of[place] is not group)
                if all(self.after[place] < group.members[0] for place in others):
                    return group
        return None

    def _continues(self, group: _Group, root: str, unit: Placement) -> bool:
        """Whether a unit takes rows of ``root`` as they come and makes as many, or is the second product of an
        attention."""
        known = self.flow.continuations.get((unit.anchor, root))
        if known is None:
            known = self.flow.continuations[unit.anchor, root] = self._continuation(root, unit)
        if known is _Continuation.ATTENTION:
            return group.products == 1 and group.ends_in_softmax
        return known is _Continuation.ROWS

    def _continuation(self, root: str, unit: Placement) -> _Continuation:
        first = unit.frame.nodes[0]
        value = next(value for value in unit.frame.reads if self._root_of(value) == root)
        source, seen = self.graph.types[root].shape, self.graph.types[value].shape
        keeps_rows = source[-1:] == seen[-1:]
        if isinstance(first.op, MatMul):
            is_left = first.inputs[0] == value and first.inputs[1] != value
            return _Continuation.ATTENTION if is_left and keeps_rows else _Continuation.NONE
        made = self.graph.types[unit.frame.writes[-1]]
        if made.element_count != self.graph.types[root].element_count:
            return _Continuation.NONE
        is_rowwise = all(_is_rowwise(self.graph, node) for node in unit.frame.nodes)
        if is_rowwise and (keeps_rows or self._is_read_as_it_lies(unit, root, value)):
            return _Continuation.ROWS
        return _Continuation.NONE

    def _is_read_as_it_lies(self, unit: Placement, root: str, value: str) -> bool:
        """Whether an elementwise unit goes through a buffer from end to end, whatever its axes are called: channels
        that lie last are rows behind a transposition."""
        is_elementwise = all(isinstance(node.op, Elementwise) for node in unit.frame.nodes)
        return is_elementwise and self.layout.runs.get((unit.anchor, value)) == self.layout.sizes.get(root)

    def _ordered(self, groups: Sequence[_Group]) -> tuple[Kernel, ...]:
        """Topological order, the earliest first unit first."""
        groups = sorted(groups, key=_first_member)
        number = {id(group): index for index, group in enumerate(groups)}
        sources = [self._sources(group, number) - {index} for index, group in enumerate(groups)]
        in_order = all(max(found, default=-1) < index for index, found in enumerate(sources))
        order = range(len(groups)) if in_order else _topological(sources)
        return tuple([self._kernel(groups[index]) for index in order])

    def _sources(self, group: _Group, number: Mapping[int, int]) -> set[int]:
        """Numbers of the groups that a group reads."""
        flow = self.flow
        return {number[id(self.group_of[place])] for member in group.members for _, place in flow.sources[member]}

    def _kernel(self, group: _Group) -> Kernel:
        flow = self.flow
        reads = dict.fromkeys([root for member in group.members for root in flow.reads[member]])
        inner = frozenset([root for root in group.made if self._is_inner(group, root)])
        written = dict.fromkeys([root for member in group.members for root in flow.written[member]])
        return Kernel(
            units=tuple([self.placed[member] for member in group.members]),
            region=group.region,
            reads=tuple([root for root in reads if root not in group.made]),
            writes=tuple([root for root in written if root not in inner]),
            inner=inner,
        )

    def _is_inner(self, group: _Group, root: str) -> bool:
        """Whether only the group itself makes and reads a value."""
        readers = self.flow.readers.get(root)
        if not readers or root in self.outputs:
            return False
        places = (*readers, *self.flow.shared.get(root, ()))
        return all(self.group_of[place] is group for place in places)


_by_place = operator.itemgetter(1)


def _first_member(group: _Group) -> int:
    return group.members[0]


def _topological(sources: Sequence[set[int]]) -> list[int]:
    """Numbers in an order in which each comes after those that it needs, the smallest first."""
    readers: list[list[int]] = [[] for _ in sources]
    waits = [len(found) for found in sources]
    for number, found in enumerate(sources):
        for source in found:
            readers[source].append(number)
    ready = [number for number, count in enumerate(waits) if not count]
    order: list[int] = []
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for reader in readers[number]:
            waits[reader] -= 1
            if not waits[reader]:
                heapq.heappush(ready, reader)
    assert len(order) == len(sources), "kernels wait for each other"
    return order


def _is_rowwise(graph: Graph, node: Node) -> bool:
    found = ROWWISE.find(node.op)
    return found is not None and found(node, len(graph.types[node.outputs[0]].shape))


@ROWWISE.register(Elementwise, BatchNorm)
def _elementwise(node: Node, axes: int) -> bool:
    return True


@ROWWISE.register(Softmax, LogSoftmax)
def _softmax(node: Node, axes: int) -> bool:
    assert isinstance(node.op, Softmax | LogSoftmax)
    return node.op.axis % axes == axes - 1


@ROWWISE.register(LayerNorm, RMSNorm)
def _norm(node: Node, axes: int) -> bool:
    assert isinstance(node.op, LayerNorm | RMSNorm)
    return node.op.axes_count == 1
