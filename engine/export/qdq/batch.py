"""Keeping a model's batch dimension open in an export of its graph, which was bound to one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.export.onnx_nodes.builder import Dimensions
from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour, Op
from engine.ops.layout import Reshape, Slice

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
        return BatchForm({}, {name: graph.dimensions(name) for name in (*graph.inputs, *graph.outputs)})
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
    common = graph.constants.keys() & doubled.constants
    if any(graph.constants[name].type != doubled.constants[name].type for name in common):
        return None
    operators: dict[str, Op] = {}
    for node, twin in zip(graph.nodes, doubled.nodes, strict=True):
        if node.op != twin.op:
            opened = _opened(graph, node, twin)
            if opened is None:
                return None
            operators[node.id] = opened
    return operators


def _opened(graph: Graph, node: Node, twin: Node) -> Op | None:
    """The operator without the batch's size; None where its class has no such form."""
    function = _OPENED.find(node.op)
    if function is None or type(node.op) is not type(twin.op):
        return None
    return function(node.op, twin.op, graph.types[node.inputs[0]].shape)


_OPENED: Behaviour[Callable[[Any, Any, tuple[int, ...]], Op | None]] = Behaviour("form for any batch")
"""``(op, the same for twice the batch, shape of its input) -> op`` without the batch's size, or None."""


@_OPENED.register(Reshape)
def _open_reshape(op: Reshape, twin: Reshape, shape: tuple[int, ...]) -> Op | None:
    """The one size that depends on the batch is inferred from the others."""
    if 0 in op.shape or len(op.shape) != len(twin.shape):
        return None
    axes = [axis for axis, sizes in enumerate(zip(op.shape, twin.shape, strict=True)) if sizes[0] != sizes[1]]
    if len(axes) != 1 or twin.shape[axes[0]] != 2 * op.shape[axes[0]]:
        return None
    sizes = list(op.shape)
    sizes[axes[0]] = _INFERRED
    return replace(op, shape=tuple(sizes))


@_OPENED.register(Slice)
def _open_slice(op: Slice, twin: Slice, shape: tuple[int, ...]) -> Op | None:
    """An axis that is kept whole is not written at all, so its size does not matter."""
    bounds, others = (tuple(zip(o.starts, o.stops, o.steps, strict=True)) for o in (op, twin))
    for axis, size in enumerate(shape):
        is_whole = bounds[axis] == (0, size, 1) and others[axis] == (0, 2 * size, 1)
        if bounds[axis] != others[axis] and not is_whole:
            return None
    return op
