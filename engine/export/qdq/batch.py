"""Keeping a model's batch dimension open in an export of its graph, which was bound to one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.export.onnx_nodes.builder import Dimensions
from engine.graph.graph import Graph, Node
from engine.ops.base import Op
from engine.ops.layout import Reshape

if TYPE_CHECKING:
    from engine.session import Session

BATCH = "batch"
_INFERRED = -1
"""What ONNX's Reshape takes for a size that follows from the others."""


@dataclass(frozen=True)
class BatchForm:
    """Operators that an open batch changes, by node id, and the dimensions of the model's inputs and outputs."""

    operators: Mapping[str, Op]
    dimensions: Mapping[str, Dimensions]

    @property
    def is_open(self) -> bool:
        return any(BATCH in dims for dims in self.dimensions.values())


def batch_form(session: Session) -> BatchForm:
    """The open form where the file leaves the batch open and every operator can follow it; else the fixed form.

    The graph bound to twice the batch shows which sizes the batch decides: those that double.
    """
    graph = session.graph
    batch = next((graph.types[name].shape[0] for name in graph.inputs if graph.types[name].shape), 0)
    doubled = session.batched_graph(2 * batch) if batch else None
    operators = None if doubled is None else _followed(graph, doubled)
    if doubled is None or operators is None:
        return BatchForm({}, {name: graph.types[name].shape for name in (*graph.inputs, *graph.outputs)})
    dimensions = {
        name: _named(graph.types[name].shape, doubled.types[name].shape, batch)
        for name in (*graph.inputs, *graph.outputs)
    }
    return BatchForm(operators, dimensions)


def _named(shape: Sequence[int], doubled: Sequence[int], batch: int) -> Dimensions:
    """Sizes, the batch's by name; one that the batch multiplies into has a name of its own."""
    return [
        size if size == twice else BATCH if size == batch else f"{BATCH}_x_{size // batch}"
        for size, twice in zip(shape, doubled, strict=True)
    ]


def _followed(graph: Graph, doubled: Graph) -> Mapping[str, Op] | None:
    """Operators to replace; None where one depends on the batch in a way that cannot be left open."""
    if [node.id for node in graph.nodes] != [node.id for node in doubled.nodes]:
        return None
    if any(graph.constants[name].type != doubled.constants[name].type for name in graph.constants.keys() & doubled.constants):
        return None
    operators: dict[str, Op] = {}
    for node, twin in zip(graph.nodes, doubled.nodes, strict=True):
        if node.op != twin.op:
            opened = _opened(node, twin)
            if opened is None:
                return None
            operators[node.id] = opened
    return operators


def _opened(node: Node, twin: Node) -> Op | None:
    """A Reshape whose one size that depends on the batch is inferred; None for anything else."""
    if not isinstance(node.op, Reshape) or not isinstance(twin.op, Reshape) or 0 in node.op.shape:
        return None
    if len(node.op.shape) != len(twin.op.shape):
        return None
    differing = [axis for axis, sizes in enumerate(zip(node.op.shape, twin.op.shape, strict=True)) if sizes[0] != sizes[1]]
    if len(differing) != 1 or twin.op.shape[differing[0]] != 2 * node.op.shape[differing[0]]:
        return None
    shape = list(node.op.shape)
    shape[differing[0]] = _INFERRED
    return replace(node.op, shape=tuple(shape))
