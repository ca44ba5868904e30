"""From a model that fails to the smallest part of it that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from tests.conformance.sketch import Array, RandomModel

Fails = Callable[[RandomModel], bool]


def reduced(model: RandomModel, fails: Fails) -> RandomModel:
    """The smallest part found: some value with the fewest steps before it at which ``fails`` still holds.

    What is cut off is fed as an input, with the values that it has in the whole model.
    """
    values = _every_value(model)
    for steps in range(1, len(model.proto.graph.node)):
        for part in _parts(model, values, steps):
            if fails(part):
                return part
    return model


def _every_value(model: RandomModel) -> list[dict[str, Array]]:
    """What ONNX Runtime computes for each sample, every value of the model."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    names = [name for node in proto.graph.node for name in node.output]
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runner = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = [runner.run(names, dict(sample)) for sample in model.samples]
    return [
        {**sample, **dict(zip(names, map(np.asarray, arrays), strict=True))}
        for sample, arrays in zip(model.samples, found, strict=True)
    ]


def _parts(model: RandomModel, values: Sequence[dict[str, Array]], steps: int) -> Iterator[RandomModel]:
    """For every node, the part that ends in it and begins ``steps`` nodes before."""
    producer = {name: node for node in model.proto.graph.node for name in node.output}
    for last in model.proto.graph.node:
        kept: dict[str, onnx.NodeProto] = {last.name: last}
        for _ in range(steps - 1):
            before = [producer[name] for node in kept.values() for name in node.input if name in producer]
            kept |= {node.name: node for node in before}
        yield _part(model, values, [node for node in model.proto.graph.node if node.name in kept], list(last.output))


def _part(
    model: RandomModel, values: Sequence[dict[str, Array]], nodes: Sequence[onnx.NodeProto], ends: Sequence[str]
) -> RandomModel:
    made = {name for node in nodes for name in node.output}
    read = dict.fromkeys(name for node in nodes for name in node.input if name)
    constants = [tensor for tensor in model.proto.graph.initializer if tensor.name in read]
    held = {tensor.name for tensor in constants}
    fed = [name for name in read if name not in made and name not in held]
    # A leading axis of 1 is the batch that samples are stacked along.
    samples = tuple({name: sample[name] for name in fed} for sample in values)
    graph = helper.make_graph(
        nodes,
        f"{model.proto.graph.name}_part",
        [_info(model, name, values[0][name]) for name in fed],
        [_info(model, name, values[0][name]) for name in ends],
        constants,
    )
    proto = helper.make_model(graph, opset_imports=model.proto.opset_import, ir_version=model.proto.ir_version)
    return RandomModel(model.seed, proto, samples)


def _info(model: RandomModel, name: str, array: Array) -> onnx.ValueInfoProto:
    """An open batch stays open."""
    is_open = any(port.type.tensor_type.shape.dim[0].dim_param for port in model.proto.graph.input)
    shape = ["batch", *array.shape[1:]] if is_open and array.ndim else list(array.shape)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)
