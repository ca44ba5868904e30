"""What training changes: which constants of which operators, how they are quantised, and where they start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from engine.plan.corrections import Corrected
from engine.plan.types import Resolution
from engine.precision import Precision
from engine.program.lowering.mac import WEIGHT_LEVELS

Shape: TypeAlias = tuple[int, ...]
ScaleIndex: TypeAlias = Callable[[Shape], NDArray[np.int64]]
"""Weight's shape -> the number of each element's scale, of a shape that broadcasts with the weight's."""

LEARNED: Behaviour[Callable[[Any], Mapping[int, ScaleIndex | None]]] = Behaviour("what training changes")
"""Operator -> the inputs that are trained where they are constants, with their scales; None for those that lowering
keeps in more than 8 bits."""

BIASED = (Conv, ConvTranspose, Linear)
_FLOATS = ("float32", "float64", "float16", "bfloat16")


def by_output(shape: Shape) -> NDArray[np.int64]:
    """A scale for each index of the first axis: weights [O, ...]."""
    return np.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1))


def of_transposed(groups: int) -> ScaleIndex:
    """A scale for each output channel of weights [C, O / groups, *K]."""

    def index(shape: Shape) -> NDArray[np.int64]:
        inputs, per_group, *kernel = shape
        first = np.arange(groups).repeat(inputs // groups)[:, None] * per_group
        return (first + np.arange(per_group)).reshape(inputs, per_group, *(1,) * len(kernel))

    return index


def as_whole(shape: Shape) -> NDArray[np.int64]:
    """One scale for all elements."""
    return np.zeros((1,) * len(shape), np.int64)


@LEARNED.register(Conv, Linear)
def _weights(op: Conv | Linear) -> Mapping[int, ScaleIndex | None]:
    return {1: by_output}


@LEARNED.register(ConvTranspose)
def _transposed_weights(op: ConvTranspose) -> Mapping[int, ScaleIndex | None]:
    return {1: of_transposed(op.groups)}


@LEARNED.register(MatMul)
def _operands(op: MatMul) -> Mapping[int, ScaleIndex | None]:
    return {0: as_whole, 1: as_whole}


@LEARNED.register(LayerNorm, RMSNorm, GroupNorm, InstanceNorm, BatchNorm)
def _parameters(op: object) -> Mapping[int, ScaleIndex | None]:
    return {1: None, 2: None}


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant that training changes: its values, and the index of each element's scale with the scales to start
    from (None: it has no scale of its own)."""

    name: str
    values: NDArray[np.float32]
    index: NDArray[np.int64] | None
    scales: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Bias:
    """The bias of a node, [channels]."""

    node: str
    values: NDArray[np.float64]


def learned_weights(
    graph: Graph, resolution: Resolution, corrected: Corrected, nodes: Collection[str]
) -> tuple[Weight, ...]:
    """The trained constants of integer units that only ``nodes`` read, in the order of these.

    One that several nodes read in different ways, or that a float node reads too, stays as it is.
    """
    found: dict[str, Weight] = {}
    for node in graph.nodes:
        for name, index in _candidates(graph, node):
            if name not in found and _is_read_alike(graph, resolution, name, index, nodes):
                found[name] = _weight(graph, corrected, name, index)
    return tuple(found.values())


def learned_biases(
    graph: Graph, resolution: Resolution, corrected: Corrected, nodes: Collection[str]
) -> tuple[Bias, ...]:
    """The biases of convolutions and linear layers among ``nodes`` that run in integers, zeros where there is none."""
    own = (node for node in graph.nodes if node.id in nodes)
    layers = (node for node in own if isinstance(node.op, BIASED) and _is_integer(resolution, node))
    return tuple(Bias(node.id, _bias(graph, corrected, node)) for node in layers)


def _candidates(graph: Graph, node: Node) -> Iterator[tuple[str, ScaleIndex | None]]:
    roles = LEARNED.find(node.op)
    for place, index in roles(node.op).items() if roles is not None else ():
        name = node.inputs[place] if place < len(node.inputs) else ""
        if name in graph.constants and graph.types[name].dtype in _FLOATS:
            yield name, index


def _is_read_alike(
    graph: Graph, resolution: Resolution, name: str, index: ScaleIndex | None, nodes: Collection[str]
) -> bool:
    shape = graph.types[name].shape
    for reader in graph.consumers[name]:
        others = [other for constant, other in _candidates(graph, reader) if constant == name]
        reads = sum(value == name for value in reader.inputs)
        if reader.id not in nodes or not _is_integer(resolution, reader) or len(others) != reads:
            return False
        if not all(_same(index, other, shape) for other in others):
            return False
    return True


def _same(one: ScaleIndex | None, other: ScaleIndex | None, shape: Shape) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one(shape), other(shape))


def _is_integer(resolution: Resolution, node: Node) -> bool:
    last = resolution.unit_of[node.id].last
    return resolution.effective[last].precision is not Precision.FLOAT


def _weight(graph: Graph, corrected: Corrected, name: str, index: ScaleIndex | None) -> Weight:
    stored = corrected.weights.get(name)
    values = np.asarray(graph.constants[name].once() if stored is None else stored).astype(np.float32)
    if index is None:
        return Weight(name, values, None, None)
    places = index(values.shape)
    scales = corrected.weight_scales.get(name)
    return Weight(name, values, places, _largest(values, places) if scales is None else np.asarray(scales, np.float64))


def _largest(values: NDArray[np.float32], index: NDArray[np.int64]) -> NDArray[np.float64]:
    """The scale of each channel at which nothing is clipped; for a channel of zeros 1 / 127."""
    largest = np.zeros(int(index.max()) + 1)
    places = np.broadcast_to(index, values.shape).reshape(-1)
    np.maximum.at(largest, places, np.abs(values).reshape(-1))
    return np.where(largest > 0.0, largest, 1.0) / WEIGHT_LEVELS


def _bias(graph: Graph, corrected: Corrected, node: Node) -> NDArray[np.float64]:
    stored = corrected.biases.get(node.id)
    _, weight, bias = (*node.inputs, "")[:3]
    if stored is None and bias:
        stored = graph.constants[bias].once()
    if stored is not None:
        return np.asarray(stored, np.float64).reshape(-1)
    roles = LEARNED.find(node.op)
    index = None if roles is None else roles(node.op)[1]
    assert index is not None
    return np.zeros(int(index(graph.types[weight].shape).max()) + 1)
