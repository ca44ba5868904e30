"""The scale of every value: chosen from calibration where a value is requantised, inherited where it is passed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Affine
from engine.ops.reduce import Softmax
from engine.plan.resolve import passes_through
from engine.plan.types import Plan, Resolution
from engine.plan.units import is_scaling
from engine.program.types import INTEGER_RANGE, QType

ScaleOf = Callable[[str, int], float]
"""(value name, largest integer) -> scale from the calibration's range for that value."""


def assign_types(graph: Graph, plan: Plan, resolution: Resolution, scale_of: ScaleOf) -> Mapping[str, QType]:
    """The program type of every value that some unit materialises.

    Softmax outputs lie in [0, 1] whatever the data, so their scale is 1/largest integer.
    """
    types: dict[str, QType] = {}
    for unit in resolution.units:
        node = graph.by_id[unit.last]
        for value in node.outputs:
            if value:
                types[value] = _type_of(graph, plan, resolution, scale_of, node, value, types)
    return MappingProxyType(types)


def quantised_type(graph: Graph, scale_of: ScaleOf, value: str, dtype: str) -> QType:
    """The type that a float value is quantised to at a seam in front of an integer unit."""
    return QType(dtype, scale_of(value, INTEGER_RANGE[dtype][1]))


def _type_of(
    graph: Graph,
    plan: Plan,
    resolution: Resolution,
    scale_of: ScaleOf,
    node: Node,
    value: str,
    types: Mapping[str, QType],
) -> QType:
    dtype = resolution.dtypes[value]
    if dtype not in INTEGER_RANGE:
        return QType(dtype)
    largest = INTEGER_RANGE[dtype][1]
    precision = resolution.effective[node.id].precision
    sources = graph.activations(node)
    alone = len(resolution.unit_of[node.id].nodes) == 1
    if alone and len(sources) == 1 and passes_through(node, precision, plan.requested(node.id)):
        incoming = types[sources[0]]
        if not incoming.is_quantised:
            incoming = quantised_type(graph, scale_of, sources[0], dtype)
        factor = node.op.multiplier if isinstance(node.op, Affine) and is_scaling(node) else 1.0
        return QType(incoming.dtype, incoming.scale * factor)
    if isinstance(node.op, Softmax):
        return QType(dtype, 1.0 / largest)
    return QType(dtype, scale_of(value, largest))
