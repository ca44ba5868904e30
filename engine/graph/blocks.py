"""Nodes between which something else than tensors passes: found together, they run as one.

The graph's values are tensors of numbers. Sequences, optionals and text may pass between nodes of a *block*, which
becomes one operator on the CPU; what enters and leaves it are tensors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from engine.graph.onnx_scopes import read_by
from engine.graph.unsupported import Problem


@dataclass(frozen=True)
class Visit:
    """One source node as the import found it: what it reads and makes, subgraphs included, constants left out.

    ``resolved``: sequences that it reads and makes have known elements, and it became typed operators on these.
    """

    node: ir.Node
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    resolved: bool


@dataclass(frozen=True)
class Blocks:
    """Which source nodes run together, and which cannot run because such values enter or leave the model."""

    groups: tuple[frozenset[ir.Node], ...] = ()
    outside: Mapping[ir.Node, Problem] = field(default_factory=dict[ir.Node, Problem])

    def __bool__(self) -> bool:
        return bool(self.groups or self.outside)

    def group_of(self, node: ir.Node) -> frozenset[ir.Node] | None:
        """The block that the node is part of."""
        return next((group for group in self.groups if node in group), None)


def reads_of(node: ir.Node) -> list[str]:
    """The values that a node reads, those that its subgraphs read from outside included."""
    if any(isinstance(attribute.value, ir.Graph | list) for attribute in node.attributes.values()):
        return read_by(ir.to_proto(node))
    return list(dict.fromkeys(value.name for value in node.inputs if value is not None and value.name))


def find_blocks(visits: Sequence[Visit], opaque: Collection[str], outside: Mapping[str, Problem]) -> Blocks:
    """The blocks that ``opaque`` values make necessary; ``outside`` has those that enter or leave the model."""
    groups: list[set[int]] = []
    unsupported: dict[ir.Node, Problem] = {}
    for values, members in _components(visits, opaque):
        if all(visits[index].resolved for index in members) and values.isdisjoint(outside):
            continue
        entering = sorted(values & set(outside))
        if entering:
            unsupported |= {visits[index].node: outside[entering[0]] for index in members}
        else:
            groups.append(members)
    whole = _convex(visits, groups)
    return Blocks(tuple(frozenset(visits[index].node for index in group) for group in whole), unsupported)


def _components(visits: Sequence[Visit], opaque: Collection[str]) -> Iterator[tuple[set[str], set[int]]]:
    """Connected values of opaque types, with the nodes that read or make them."""
    parts: list[tuple[set[str], set[int]]] = []
    for index, visit in enumerate(visits):
        values = {value for value in (*visit.reads, *visit.makes) if value in opaque}
        if not values:
            continue
        members = {index}
        for part in [part for part in parts if part[0] & values]:
            parts.remove(part)
            values |= part[0]
            members |= part[1]
        parts.append((values, members))
    yield from parts


def _convex(visits: Sequence[Visit], groups: Sequence[set[int]]) -> list[set[int]]:
    """The groups with all that lies on paths from one of their nodes to another; those that overlap become one."""
    done: list[set[int]] = []
    pending = [set(group) for group in groups]
    while pending:
        group = pending.pop()
        group |= _behind(visits, group) & _before(visits, group)
        touching = [other for other in done if other & group]
        if touching:
            done = [other for other in done if not other & group]
            pending.append(group.union(*touching))
        else:
            done.append(group)
    return done


def _behind(visits: Sequence[Visit], group: set[int]) -> set[int]:
    """The nodes that read what the group makes, directly or not."""
    values = {value for index in group for value in visits[index].makes}
    found: set[int] = set()
    for index, visit in enumerate(visits):
        if not values.isdisjoint(visit.reads):
            found.add(index)
            values.update(visit.makes)
    return found


def _before(visits: Sequence[Visit], group: set[int]) -> set[int]:
    """The nodes that make what the group reads, directly or not."""
    values = {value for index in group for value in visits[index].reads}
    found: set[int] = set()
    for index in reversed(range(len(visits))):
        if not values.isdisjoint(visits[index].makes):
            found.add(index)
            values.update(visits[index].reads)
    return found


def in_order(visits: Sequence[Visit], blocks: Blocks) -> Iterator[tuple[ir.Node, ...]]:
    """All nodes in topological order, those of a block together."""
    maker = {value: index for index, visit in enumerate(visits) for value in visit.makes}
    place = {visit.node: index for index, visit in enumerate(visits)}
    done: set[int] = set()
    for index, visit in enumerate(visits):
        yield from _with_needs(index, visits, blocks, maker, place, done)
        assert place[visit.node] in done


def _with_needs(
    start: int,
    visits: Sequence[Visit],
    blocks: Blocks,
    maker: Mapping[str, int],
    place: Mapping[ir.Node, int],
    done: set[int],
) -> Iterator[tuple[ir.Node, ...]]:
    """The node or block at ``start``, behind all that it needs and that is not done."""
    stack = [start]
    while stack:
        index = stack[-1]
        group = blocks.group_of(visits[index].node) or frozenset({visits[index].node})
        members = sorted(place[node] for node in group)
        needed = {maker[value] for member in members for value in visits[member].reads if value in maker}
        missing = sorted(needed - done - set(members))
        if index in done:
            stack.pop()
        elif missing:
            stack.extend(reversed(missing))
        else:
            stack.pop()
            done.update(members)
            yield tuple(visits[member].node for member in members)
