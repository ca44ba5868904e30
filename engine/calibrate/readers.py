"""Which elementwise functions read a value: what a range of least error behind them is made for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.calibrate.table_range import Function
from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Affine, Clip, Relu, Unary
from engine.ops.float_kernels.functions import function_of


def function_readers(graph: Graph) -> Mapping[str, tuple[Function, ...]]:
    """For every float value that some elementwise function reads, a function for each of its readers.

    A chain of functions that nothing else reads is one function: on the chip it is one table. A reader that is no
    function takes the value as it is. Mere scaling is none, nor is a clamp that the value's producer computes.
    """
    found: dict[str, tuple[Function, ...]] = {}
    for value, readers in graph.consumers.items():
        if value in graph.constants or value not in graph.types or not graph.types[value].is_float:
            continue
        chains = [_chain(graph, reader) for reader in readers]
        clamped = len(readers) == 1 and isinstance(readers[0].op, Relu | Clip) and value not in graph.outputs
        if any(chains) and not clamped:
            whole = [()] if value in graph.outputs else []
            found[value] = tuple(function_of(chain) if chain else _same for chain in (*chains, *whole))
    return found


def _chain(graph: Graph, node: Node | None) -> tuple[Unary, ...]:
    """The functions from a node on, as long as one alone reads what the other makes; none where it is no function."""
    chain: list[Unary] = []
    while node is not None and isinstance(node.op, Unary) and not _is_scaling(node.op):
        chain.append(node.op)
        readers = graph.consumers.get(node.outputs[0], ())
        node = readers[0] if len(readers) == 1 and node.outputs[0] not in graph.outputs else None
    return tuple(chain)


def _is_scaling(op: Unary) -> bool:
    return isinstance(op, Affine) and op.offset == 0.0


def _same(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values
