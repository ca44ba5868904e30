"""Where noise is felt: in front of the last softmax or sigmoid, where errors add up and every sample tells of them."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from engine.ops.elementwise import Sigmoid
from engine.ops.layout import Layout
from engine.ops.reduce import Softmax

if TYPE_CHECKING:
    from engine.graph.graph import Graph

SQUASHING = (Softmax, Sigmoid)


def felt_values(graph: Graph, made: Container[str]) -> tuple[str, ...]:
    """The values at which noise is measured: the outputs that are numbers, or what the softmax or sigmoid in front of
    them reads, if that is ``made``. Behind these a class either flips or does not, and noises no longer add up."""
    found = (_before_squashing(graph, value, made) for value in graph.outputs)
    return tuple(dict.fromkeys(value for value in found if value in made and graph.types[value].is_float))


def _before_squashing(graph: Graph, output: str, made: Container[str]) -> str:
    value = output
    while (node := graph.producer.get(value)) is not None and len(graph.activations(node)) == 1:
        source = graph.activations(node)[0]
        if isinstance(node.op, SQUASHING):
            return source if source in made else output
        if not isinstance(node.op, Layout):
            break
        value = source
    return output
