"""Small graphs with a trivial resolution: every node a unit of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engine.graph.graph import Constant, Graph, Node, TensorType
from engine.ops.base import Op
from engine.ops.other import Input
from engine.plan.types import Effective, Resolution, Unit
from engine.precision import Precision

Shape = tuple[int, ...]

DTYPES = {
    Precision.INT8: "int8",
    Precision.LUT: "int8",
    Precision.INT16: "int16",
    Precision.FLOAT: "float32",
}


class GraphBuilder:
    """Adds nodes one by one; a node's id is the name of its first output."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._types: dict[str, TensorType] = {}
        self._constants: dict[str, Constant] = {}

    def input(self, name: str, shape: Shape) -> str:
        self._types[name] = TensorType(shape, "float32")
        self._nodes.append(Node(name, Input(), (), (name,)))
        return name

    def constant(self, name: str, shape: Shape) -> str:
        self._types[name] = TensorType(shape, "float32")
        self._constants[name] = Constant(self._types[name], lambda: np.ones(shape, np.float32))
        return name

    def node(self, name: str, op: Op, inputs: Sequence[str], shape: Shape, dtype: str = "float32") -> str:
        self._types[name] = TensorType(shape, dtype)
        self._nodes.append(Node(name, op, tuple(inputs), (name,)))
        return name

    def split(self, names: Sequence[str], op: Op, source: str, shapes: Sequence[Shape]) -> None:
        for name, shape in zip(names, shapes, strict=True):
            self._types[name] = TensorType(shape, "float32")
        self._nodes.append(Node(names[0], op, (source,), tuple(names)))

    def build(self, *outputs: str) -> Graph:
        inputs = tuple(node.outputs[0] for node in self._nodes if isinstance(node.op, Input))
        return Graph("test", tuple(self._nodes), self._types, self._constants, inputs, outputs)


def one_op(op: Op, inputs: Sequence[Shape], output: Shape, constants: Sequence[Shape] = ()) -> Graph:
    """A graph of inputs, constants and one node ``y`` that reads them in this order."""
    builder = GraphBuilder()
    names = [builder.input(f"x{index}", shape) for index, shape in enumerate(inputs)]
    names += [builder.constant(f"w{index}", shape) for index, shape in enumerate(constants)]
    builder.node("y", op, names, output)
    return builder.build("y")


def resolution_of(
    graph: Graph,
    precisions: Mapping[str, Precision] | None = None,
    units: Sequence[Unit] | None = None,
) -> Resolution:
    """int8 everywhere but where ``precisions`` say otherwise."""
    chosen = {node.id: (precisions or {}).get(node.id, Precision.INT8) for node in graph.nodes}
    grouped = tuple(units or (Unit(node.id, (node.id,)) for node in graph.nodes))
    owner = {node: unit.anchor for unit in grouped for node in unit.nodes}
    dtypes = {value: DTYPES[chosen[node.id]] for node in graph.nodes for value in node.outputs}
    effective = {
        node.id: Effective(chosen[node.id], dtypes[node.outputs[0]], "", owner[node.id]) for node in graph.nodes
    }
    return Resolution(effective, grouped, dtypes)
