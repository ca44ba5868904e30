"""Models that are hard to quantise on purpose, and in float compute what the demo models compute.

``mobile``: mobile_fmnist with ReLU in place of ReLU6 and its channels multiplied by random factors of 2^-4 to 2^4, the
layers that read them divided. ``swin``: swin_fmnist with a few channels behind every LayerNorm multiplied by a large
factor. int8 steps, one for a whole value, then fit a few channels and lose the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from engine.graph.graph import Graph
from engine.graph.load import load_model
from engine.ops.reduce import LayerNorm
from engine.quantise.channels import Channels, find_channels

BITS = 4.0
OUTLIERS = 2
OUTLIER_FACTOR = 40.0

Factors = Callable[[Graph, Channels], NDArray[np.float64]]


def scaled_channels(seed: int = 5, bits: float = BITS, share: float = 0.5) -> Factors:
    """Factors of 2^±bits, evenly spread in their logarithm, for a share of all channels that can take one."""

    def factors(graph: Graph, channels: Channels) -> NDArray[np.float64]:
        rng = np.random.default_rng(seed)
        drawn = 2.0 ** rng.uniform(-bits, bits, channels.count)
        drawn[rng.uniform(size=channels.count) > share] = 1.0
        drawn[0] = 1.0
        return drawn

    return factors


def planted_outliers(seed: int = 5, count: int = OUTLIERS, factor: float = OUTLIER_FACTOR) -> Factors:
    """A large factor for a few channels behind every LayerNorm that can take one."""

    def factors(graph: Graph, channels: Channels) -> NDArray[np.float64]:
        rng = np.random.default_rng(seed)
        found = np.ones(channels.count)
        for place in channels.places:
            is_weight = isinstance(graph.by_id[place.node].op, LayerNorm) and not place.is_read
            free = np.unique(place.labels[place.labels != 0])
            if is_weight and len(free):
                found[rng.choice(free, count, replace=False)] = factor
        return found

    return factors


def harden(source: Path, target: Path, factors: Factors) -> Path:
    """Write the model with its channels multiplied by factors; ReLU6 becomes ReLU, which lets them through."""
    model = onnx.load(source)
    for node in model.graph.node:
        if node.op_type == "Clip":
            node.op_type = "Relu"
            del node.input[1:]
    onnx.save(model, target)
    graph = load_model(target)
    channels = find_channels(graph)
    _replace(model, channels.rescaled(graph, factors(graph, channels)))
    onnx.save(model, target)
    return target


def _replace(model: onnx.ModelProto, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, array in arrays.items():
        base = name.removesuffix("/transposed")
        values = array.T if base != name else array
        if base not in stored:  # the bias of a matrix product stands in an Add
            base = _added_to(model, name)
        stored[base].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), base))


def _added_to(model: onnx.ModelProto, name: str) -> str:
    product = name.removesuffix("/bias")
    node = next(node for node in model.graph.node if product in node.input)
    return next(value for value in node.input if value != product)
