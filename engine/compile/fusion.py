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


def kernels_of(
    graph: Graph,
    placed: Sequence[Placement],
    layout: LayoutPlan,
    regions: Iterable[ResolvedRegion],
    fuses: bool,
) -> tuple[Kernel, ...]:
    """The kernels in an order in which each comes after those that it reads."""
    return _Fuser(graph, placed, layout, regions, fuses).run()


class _Fuser:
    def __init__(
        self,
        graph: Graph,
        placed: Sequence[Placement],
        layout: LayoutPlan,
        regions: Iterable[ResolvedRegion],
        fuses: bool,
    ) -> None:
        self.graph = graph
        self.placed = placed
        self.layout = layout
        self.fuses = fuses
        self.place = {unit.anchor: index for index, unit in enumerate(placed)}
        self.region_of = self._regions(regions)
        self.makers: dict[str, list[int]] = {}
        self.root = layout.root
        self.group_of: dict[int, _Group] = {}
        self.sources: dict[int, Sequence[tuple[str, int]]] = {}
        self.after: list[int] = [0] * len(placed)

    def _regions(self, regions: Iterable[ResolvedRegion]) -> dict[int, _Group]:
        found: dict[int, _Group] = {}
        for region in regions:
            if region.legal:
                places = sorted(self.place[unit.anchor] for unit in region.units)
                group = _Group([], region.name, is_open=False)
                found.update(dict.fromkeys(places, group))
        return found

    def run(self) -> tuple[Kernel, ...]:
        groups: dict[int, _Group] = {}
        last = {id(group): place for place, group in sorted(self.region_of.items())}
        for index, unit in enumerate(self.placed):
            if unit.frame.is_input or unit.anchor in self.layout.eliminated:
                continue
            sources = self.sources[index] = self._sources(unit)
            group = self.region_of.get(index) or self._joined(unit, sources) or _Group([])
            group.members.append(index)
            self._note(group, index, unit, last.get(id(group), index))
            groups[id(group)] = group
        return self._ordered(tuple(groups.values()))

    def _root_of(self, value: str) -> str:
        return self.root.get(value, value)

    def _written(self, unit: Placement) -> Iterable[str]:
        """Roots that a unit writes: of a movement only those of its copies, as its other outputs are views."""
        copies = self.layout.moved.get(unit.anchor)
        if copies is None:
            return map(self._root_of, unit.frame.writes)
        return dict.fromkeys(copy.target.root for copy in copies)

    def _sources(self, unit: Placement) -> list[tuple[str, int]]:
        """Roots of what a unit reads of other units, with the places of these, the last first."""
        roots = dict.fromkeys([self.root.get(value, value) for value in unit.frame.reads])
        found = [(root, place) for root in roots for place in self.makers.get(root, ())]
        return sorted(found, key=_by_place, reverse=True) if len(found) > 1 else found

    def _note(self, group: _Group, index: int, unit: Placement, last: int) -> None:
        """Keep what later units ask of this one."""
        self.after[index] = max([last, *[self.after[place] for _, place in self.sources[index]]])
        group.products += sum(isinstance(node.op, Mac) for node in unit.frame.nodes)
        group.ends_in_softmax = isinstance(unit.frame.nodes[-1].op, Softmax)
        group.is_open = group.is_open and unit.is_on_chip
        self.group_of[index] = group
        for root in self._written(unit):
            self.makers.setdefault(root, []).append(index)
            group.made.add(root)

    def _joined(self, unit: Placement, sources: Sequence[tuple[str, int]]) -> _Group | None:
        """The group that a unit joins, or None where it starts one."""
        if not self.fuses or not unit.is_on_chip or any(work.is_rearranging for work in unit.works):
            return None
        for root, source in sources:
            group = self.group_of[source]
            if group.is_open and len(self.makers[root]) == 1 and self._continues(group, root, unit):
                others = (place for _, place in sources if self.group_of[place] is not group)
                if all(self.after[place] < group.members[0] for place in others):
                    return group
        return None

    def _continues(self, group: _Group, root: str, unit: Placement) -> bool:
        """Whether a unit takes rows of ``root`` as they come and makes as many."""
        first = unit.frame.nodes[0]
        value = next(value for value in unit.frame.reads if self._root_of(value) == root)
        source, seen = self.graph.types[root].shape, self.graph.types[value].shape
        keeps_rows = source[-1:] == seen[-1:]
        if isinstance(first.op, MatMul):
            is_left = first.inputs[0] == value and first.inputs[1] != value
            return is_left and group.products == 1 and group.ends_in_softmax and keeps_rows
        if not all(_is_rowwise(self.graph, node) for node in unit.frame.nodes):
            return False
        made = self.graph.types[unit.frame.writes[-1]]
        if made.element_count != self.graph.types[root].element_count:
            return False
        return keeps_rows or self._is_read_as_it_lies(unit, root, value)

    def _is_read_as_it_lies(self, unit: Placement, root: str, value: str) -> bool:
        """Whether an elementwise unit goes through a buffer from end to end, whatever its axes are called: channels
        that lie last are rows behind a transposition."""
        is_elementwise = all(isinstance(node.op, Elementwise) for node in unit.frame.nodes)
        return is_elementwise and self.layout.runs.get((unit.anchor, value)) == self.layout.sizes.get(root)

    def _ordered(self, groups: Sequence[_Group]) -> tuple[Kernel, ...]:
        """Topological order, the earliest first unit first."""
        number = {id(group): index for index, group in enumerate(groups)}
        readers: dict[int, set[int]] = {index: set() for index in range(len(groups))}
        waits = [0] * len(groups)
        for index, group in enumerate(groups):
            sources = {
                number[id(self.group_of[place])]
                for member in group.members
                for _, place in self.sources[member]
            } - {index}
            waits[index] = len(sources)
            for source in sources:
                readers[source].add(index)
        ready = [(group.members[0], index) for index, group in enumerate(groups) if not waits[index]]
        heapq.heapify(ready)
        order: list[int] = []
        while ready:
            _, index = heapq.heappop(ready)
            order.append(index)
            for reader in readers[index]:
                waits[reader] -= 1
                if not waits[reader]:
                    heapq.heappush(ready, (groups[reader].members[0], reader))
        assert len(order) == len(groups), "kernels wait for each other"
        read_by = self._read_by(groups)
        return tuple(self._kernel(groups[index], read_by) for index in order)

    def _read_by(self, groups: Sequence[_Group]) -> Mapping[str, set[int]]:
        found: dict[str, set[int]] = {}
        for group in groups:
            for member in group.members:
                for value in self.placed[member].frame.reads:
                    found.setdefault(self._root_of(value), set()).add(id(group))
        for value in self.graph.outputs:
            found.setdefault(self._root_of(value), set()).add(0)
        return found

    def _kernel(self, group: _Group, read_by: Mapping[str, set[int]]) -> Kernel:
        units = tuple(self.placed[member] for member in group.members)
        reads = {self._root_of(value): None for unit in units for value in unit.frame.reads}
        inner = frozenset(root for root in group.made if self._is_inner(group, root, read_by))
        return Kernel(
            units=units,
            region=group.region,
            reads=tuple(root for root in reads if root not in group.made),
            writes=tuple(dict.fromkeys(root for unit in units for root in self._written(unit) if root not in inner)),
            inner=inner,
        )

    def _is_inner(self, group: _Group, root: str, read_by: Mapping[str, set[int]]) -> bool:
        """Whether only the group itself makes and reads a value."""
        alone = all(self.group_of[place] is group for place in self.makers[root])
        return alone and read_by.get(root) == {id(group)}


_by_place = operator.itemgetter(1)


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
