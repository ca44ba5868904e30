"""Small models for the fit, written as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_model(path: Path, channels: int, layers: int, last: str = "Relu") -> None:
    """image [1, 8, 12, 12] -> ``layers`` times (3x3 convolution, a function) -> y; nodes conv0, act0, conv1, ..."""
    rng = np.random.default_rng(channels)
    nodes, weights, value, width = [], [], "image", 8
    for layer in range(layers):
        weight = rng.normal(0.0, 0.1, (channels, width, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [value, f"w{layer}"], [f"c{layer}"], f"conv{layer}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node(last, [f"c{layer}"], [f"a{layer}"], f"act{layer}"))
        value, width = f"a{layer}", channels
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 8, 12, 12])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, width, 12, 12])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path)
