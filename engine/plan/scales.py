"""The scale of every value: chosen from calibration where a value is requantised, inherited where it is passed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Add, Affine
from engine.ops.layout import Concat, Layout
from engine.ops.reduce import Softmax
from engine.plan.resolve import passes_through
from engine.plan.types import Plan, Resolution
from engine.plan.units import is_scaling
from engine.qtype import INTEGER_RANGE, QType

ScaleOf = Callable[[str, int], float]
"""(value name, largest integer) -> scale from the calibration's range for that value."""


def assign_types(graph: Graph, plan: Plan, resolution: Resolution, scale_of: ScaleOf) -> Mapping[str, QType]:
    """The program type of every value that some unit materialises.

    Softmax outputs never exceed 1, whatever a histogram's bin says.
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
    moves = alone and len(sources) == 1 and not _adds_values(node)
    if moves and passes_through(node, precision, plan.requested(node.id)):
        incoming = types[sources[0]]
        if not incoming.is_quantised:
            incoming = quantised_type(graph, scale_of, sources[0], dtype)
        factor = node.op.multiplier if isinstance(node.op, Affine) and is_scaling(node) else 1.0
        return QType(incoming.dtype, incoming.scale * factor)
    scale = scale_of(value, largest)
    if isinstance(node.op, Softmax):
        scale = min(scale, 1.0 / largest)
    if is_masked_logits(graph, value, node):
        unmasked = max(scale_of(source, largest) * largest for source in sources)
        scale = min(scale, (unmasked + MASK_MARGIN) / largest)
    return QType(dtype, scale)


def _adds_values(node: Node) -> bool:
    """Whether constants join the values that the node passes on (a class token before the patches)."""
    return isinstance(node.op, Concat) and len(node.inputs) > 1


MASK_MARGIN = 8.0
"""Distance below every logit at which a masked one may be clipped: e^-8 is a tenth of an int8 softmax's step."""

_MASK_VALUE = -30.0
"""A constant operand this low is a mask: e^-30 vanishes in any output type."""


def is_masked_logits(graph: Graph, value: str, node: Node) -> bool:
    """Whether the value is attention logits plus a constant mask, read by a softmax alone.

    The mask (-100 in Swin) would take the range of the logits; the softmax cannot tell it from any value that lies far
    enough below the others, so the mask may be clipped.
    """
    if not isinstance(node.op, Add):
        return False
    constants = [graph.constants[name].array for name in node.inputs if name in graph.constants]
    if not any(float(np.asarray(array, np.float64).min(initial=0.0)) <= _MASK_VALUE for array in constants):
        return False
    return _only_softmax_reads(graph, value)


def _only_softmax_reads(graph: Graph, value: str) -> bool:
    """Whether every reader is a softmax, or data movement whose result only a softmax reads."""
    if value in graph.outputs:
        return False
    readers = graph.consumers.get(value, ())
    return all(
        isinstance(reader.op, Softmax)
        or (isinstance(reader.op, Layout) and all(_only_softmax_reads(graph, name) for name in reader.outputs))
        for reader in readers
    )
