"""Which values the TOSA export keeps with channels last: what convolutions and windows make, and functions of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Add, Affine, Binary, Clip, PRelu, Relu, Unary
from engine.ops.layout import Transpose
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import BatchNorm, LayerNorm, MaxPool, Pool, Softmax

_WINDOWS = (BatchNorm, Conv, ConvTranspose, Pool)
_FUNCTIONS = (Unary, Binary, Affine, PRelu)
_RANKS = (3, 4)


@dataclass(frozen=True)
class Images:
    """Values with channels last, those of them that something reads with channels first, what makes each value and
    when."""

    last: frozenset[str]
    also_first: frozenset[str]
    producers: Mapping[str, Node]
    places: Mapping[str, int]

    def is_brick(self, graph: Graph, name: str, *, chains: bool) -> bool:
        """Whether a value is stored in bricks: an image, or what functions make for functions in the same shape.

        An engine that ``chains`` reads bricks for products of tensors too.
        """
        if name in self.last:
            return True
        producer, readers = self.producers.get(name), graph.consumers.get(name, ())
        makers = (*_FUNCTIONS, MatMul, Softmax) if chains else (*_FUNCTIONS, MatMul)
        if producer is None or name in graph.outputs or not isinstance(producer.op, makers):
            return False
        takers = (*_FUNCTIONS, LayerNorm) if len(readers) > 1 else _FUNCTIONS
        return all(
            isinstance(each.op, takers) or (chains and isinstance(each.op, MatMul) and each.inputs[1] != name)
            for each in readers
        )

    def follows_product(self, node: Node) -> bool:
        """Whether a node reads what a convolution or fully connected layer makes, or a sum or clamp of that."""
        producer = self.producers.get(node.inputs[0])
        while producer is not None and isinstance(producer.op, Add | Relu | Clip):
            found = [name for name in producer.inputs if name in self.producers]
            newest = max(found, key=self.places.__getitem__, default="")
            producer = self.producers.get(newest)
        return producer is not None and isinstance(producer.op, Conv | ConvTranspose | Linear)

    @staticmethod
    def of(graph: Graph) -> Images:
        last: set[str] = set()
        for node in graph.nodes:
            if _makes_image(graph, node, last):
                last.update(value for value in node.outputs if value)
        first = {value for value in last if value in graph.outputs}
        for value in last:
            for reader in graph.consumers.get(value, ()):
                if not _takes_image(graph, reader, last):
                    first.add(value)
        producers = {value: node for node in graph.nodes for value in node.outputs if value}
        places = {value: place for place, node in enumerate(graph.nodes) for value in node.outputs if value}
        return Images(frozenset(last), frozenset(first), producers, places)


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[N, C, W] or [N, C, H, W] as [N, H, W, C]."""
    if len(shape) == max(_RANKS) - 1:
        return shape[0], 1, shape[2], shape[1]
    return shape[0], *shape[2:], shape[1]


def is_window(node: Node) -> bool:
    """Whether the export gives the node an image."""
    return isinstance(node.op, _WINDOWS)


def _makes_image(graph: Graph, node: Node, last: set[str]) -> bool:
    if not node.outputs or len(graph.types[node.outputs[0]].shape) not in _RANKS:
        return False
    return is_window(node) or _is_function_of(graph, node, last)


def _is_function_of(graph: Graph, node: Node, last: set[str]) -> bool:
    if not isinstance(node.op, _FUNCTIONS):
        return False
    operands = graph.activations(node)
    return bool(operands) and all(value in last for value in operands)


def _takes_image(graph: Graph, node: Node, last: set[str]) -> bool:
    dilated = isinstance(node.op, MaxPool) and any(step != 1 for step in node.op.dilations)
    return not dilated and (is_window(node) or isinstance(node.op, Transpose) or _is_function_of(graph, node, last))
