"""Nodes that take the place of one node of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.graph.graph import Constant, Graph, Node, TensorType
from engine.ops.base import Op
from engine.ops.elementwise import Add
from engine.ops.layout import Concat, Slice

Shape = tuple[int, ...]
Array = NDArray[np.generic]


@dataclass(eq=False)
class Patch:
    """What computes the outputs of ``node`` instead of it; built node by node.

    The first output of the last node is the node's own; all others have names of their own.
    """

    graph: Graph
    node: Node
    nodes: list[Node] = field(default_factory=list[Node])
    types: dict[str, TensorType] = field(default_factory=dict[str, TensorType])
    constants: dict[str, Constant] = field(default_factory=dict[str, Constant])

    @property
    def result(self) -> TensorType:
        return self.graph.types[self.node.outputs[0]]

    def shape(self, index: int) -> Shape:
        """Shape of an input of the node."""
        return self.graph.types[self.node.inputs[index]].shape

    def input(self, index: int) -> str:
        """An input of the node; "" where it is absent."""
        return self.node.inputs[index] if index < len(self.node.inputs) else ""

    def add(self, op: Op, inputs: Sequence[str], shape: Shape) -> str:
        """A node; the value that it makes."""
        name = f"{self.node.id}/part{len(self.nodes)}"
        self.types[name] = TensorType(shape, self.result.dtype)
        self.nodes.append(Node(name, op, tuple(inputs), (name,), self.node.namespace, self.node.provenance))
        return name

    def part_of(self, value: str, cut: Callable[[Array], Array], shape: Shape) -> str:
        """A constant that is a part of another (read when it is needed); "" stays absent."""
        if not value:
            return ""
        whole = self.graph.constants[value]
        name = f"{self.node.id}/constant{len(self.constants)}"
        self.types[name] = TensorType(shape, whole.type.dtype)
        self.constants[name] = Constant(self.types[name], lambda: cut(whole.once()))
        return name

    def slice(self, value: str, shape: Shape, axis: int, start: int, stop: int) -> str:
        """Elements ``start`` to ``stop`` of a value of the graph along an axis."""
        if (start, stop) == (0, shape[axis]):
            return value
        starts = tuple(start if place == axis else 0 for place in range(len(shape)))
        stops = tuple(stop if place == axis else size for place, size in enumerate(shape))
        return self.add(Slice(starts, stops, (1,) * len(shape)), (value,), with_size(shape, axis, stop - start))

    def sum(self, values: Sequence[str], shape: Shape) -> str:
        """The sum of values of one shape."""
        total = values[0]
        for value in values[1:]:
            total = self.add(Add(), (total, value), shape)
        return total

    def concat(self, values: Sequence[str], axis: int, shape: Shape) -> str:
        """Values behind each other along an axis; ``shape`` is that of the result."""
        return values[0] if len(values) == 1 else self.add(Concat(axis), values, shape)

    def applied(self) -> Graph:
        """The graph with the nodes in place of the node."""
        return applied((self,))


def applied(patches: Sequence[Patch]) -> Graph:
    """The graph that the patches (one or more, each for another node) are of, with all of them in place."""
    graph = patches[0].graph
    types, constants = dict(graph.types), dict(graph.constants)
    placed: dict[str, tuple[Node, ...]] = {}
    for patch in patches:
        *first, last = patch.nodes
        placed[patch.node.id] = (*first, replace(last, outputs=(patch.node.outputs[0],)))
        types.update(patch.types)
        del types[last.outputs[0]]
        constants.update(patch.constants)
    nodes = tuple(new for node in graph.nodes for new in placed.get(node.id, (node,)))
    return replace(graph, nodes=nodes, types=types, constants=constants)


def with_size(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def pieces(total: int, parts: int) -> list[tuple[int, int]]:
    """``parts`` ranges that cover ``total`` elements and differ by one at the most."""
    ends = [total * part // parts for part in range(parts + 1)]
    return list(pairwise(ends))


def parts_for(total: int, limit: float) -> int:
    """The least number of pieces of which none is larger than the limit."""
    return -(-total // int(limit))
