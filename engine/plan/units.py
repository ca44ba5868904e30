"""Grouping of nodes into units: what one integer kernel computes, quantised once, at its output.

A kernel that multiplies, adds or reduces ends in a requantisation, whose clamp bounds compute a following Relu or Clip
for nothing; a chain of elementwise functions is one table. Quantising such a unit only at its end is also more exact
than quantising inside it (``../shared/peers-measured.md``: 7.5 dB on EfficientNet-Lite0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Add, Affine, Clip, Div, Mul, Relu, Sub, Unary
from engine.ops.linear import Mac
from engine.ops.reduce import BatchNorm, ReduceMean, ReduceSum
from engine.plan.types import Plan, Unit
from engine.precision import Precision

CLAMPING = (Relu, Clip)
"""Functions that the clamp bounds of a requantisation compute exactly."""

REQUANTISING = (Mac, Add, Sub, Mul, Div, BatchNorm, ReduceMean, ReduceSum)
"""Operators whose kernel ends in a requantisation of a wider accumulator."""

_WIDTH = {Precision.INT8: 0, Precision.LUT: 0, Precision.INT16: 1}


def is_scaling(node: Node) -> bool:
    """Whether the node multiplies by a positive constant: free, since only the scale of the value changes."""
    return isinstance(node.op, Affine) and node.op.offset == 0.0 and node.op.multiplier > 0.0


Permits = Callable[[Node, Precision], bool]
"""Whether the target computes a node in a precision."""


def chains_of(graph: Graph) -> tuple[tuple[Node, ...], ...]:
    """The nodes in groups, in graph order, none of which shares a unit with a node of another group under any plan."""
    chain_of: dict[str, list[Node]] = {}
    chains: list[list[Node]] = []
    for node in graph.nodes:
        producer = _only_producer(graph, node) if isinstance(node.op, Unary) else None
        chain = None if producer is None else chain_of[producer.id]
        if chain is None:
            chain = list[Node]()
            chains.append(chain)
        chain.append(node)
        chain_of[node.id] = chain
    return tuple(tuple(chain) for chain in chains)


def _only_producer(graph: Graph, node: Node) -> Node | None:
    """The node whose only reader this is, or None."""
    value = node.inputs[0]
    if len(graph.consumers[value]) > 1 or value in graph.outputs:
        return None
    return graph.producer.get(value)


def build_units(
    graph: Graph, nodes: Iterable[Node], plan: Plan, chosen: Mapping[str, Precision], permits: Permits
) -> tuple[Unit, ...]:
    """Partition nodes (whole chains of :func:`chains_of`), given the precision that each would have alone.

    Returns units in topological order of their last nodes; every node is in exactly one.
    """
    absorbed: dict[str, list[Node]] = {}
    for node in nodes:
        host = _host(graph, plan, chosen, permits, node, absorbed)
        if host is None:
            absorbed[node.id] = [node]
        else:
            absorbed[node.id] = [*absorbed.pop(host.id), node]
    return tuple(_unit(members) for members in absorbed.values())


def _unit(members: list[Node]) -> Unit:
    anchor = members[0] if isinstance(members[0].op, REQUANTISING) else members[-1]
    return Unit(anchor=anchor.id, nodes=tuple(member.id for member in members))


def _host(
    graph: Graph,
    plan: Plan,
    chosen: Mapping[str, Precision],
    permits: Permits,
    node: Node,
    absorbed: Mapping[str, list[Node]],
) -> Node | None:
    """The node whose unit ``node`` continues, or None where it starts one."""
    if not isinstance(node.op, Unary) or chosen[node.id] is Precision.FLOAT:
        return None
    producer = _only_producer(graph, node)
    if producer is None or chosen[producer.id] is Precision.FLOAT or producer.id not in absorbed:
        return None
    members = absorbed[producer.id]
    if not _compatible(plan, chosen, permits, (*members, node)):
        return None
    if isinstance(members[0].op, REQUANTISING):
        return producer if isinstance(node.op, CLAMPING) and len(members) == 1 else None
    if isinstance(producer.op, Unary):
        return producer
    return None


def _compatible(plan: Plan, chosen: Mapping[str, Precision], permits: Permits, members: tuple[Node, ...]) -> bool:
    """Whether all may share one output: of one width, or of the wider one where nobody asked for the narrower one and
    the target computes them all in it.
    """
    if len({_WIDTH[chosen[member.id]] for member in members}) == 1:
        return True
    explicit = {_WIDTH[chosen[member.id]] for member in members if plan.requested(member.id) is not Precision.AUTO}
    return 0 not in explicit and all(permits(member, Precision.INT16) for member in members)


def unit_precision(unit: Unit, plan: Plan, chosen: Mapping[str, Precision]) -> Precision:
    """The precision of the unit's output: the widest that was asked for, else what its last node would have."""
    if any(chosen[node] is Precision.INT16 for node in unit.nodes):
        return Precision.INT16
    return chosen[unit.last]
