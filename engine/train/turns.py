"""How many samples a module is fed at a time, so that neither memory nor the wait for a turn grows with batches."""

from __future__ import annotations

from engine.graph.graph import Graph

TURN_ELEMENTS = 50_000_000
"""Elements of all values of the samples that are fed at a time: what a pass remembers for its way back is some 10 bytes
for each."""


def elements_of(graph: Graph) -> int:
    """Elements of all values of the graph."""
    return sum(graph.types[value].element_count for node in graph.nodes for value in node.outputs if value)


def turn_of(graph: Graph, rows: int, batch: int) -> int:
    """Samples at a time: the largest part of a batch whose values are few enough, in whole inputs of a graph that takes
    ``rows`` samples."""
    each = elements_of(graph) / rows
    sizes = [size for size in range(rows, batch + 1, rows) if batch % size == 0 and size * each <= TURN_ELEMENTS]
    return max(sizes, default=rows)
