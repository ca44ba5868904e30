"""ONNX models changed so that more of them can be seen: values fed instead of computed, values as outputs."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import onnx
from onnx import helper

from engine.export.onnx_nodes.builder import onnx_type
from engine.graph.graph import TensorType


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with other outputs; what none of them needs is gone. Types are left to the runtime to find."""
    known = {info.name: info for info in (*model.graph.output, *model.graph.value_info)}
    outputs = [known.get(name) or onnx.ValueInfoProto(name=name) for name in names]
    graph = model.graph
    nodes = _needed(graph.node, names)
    read = _read(nodes) | set(names)
    changed = onnx.ModelProto()
    changed.CopyFrom(_without_graph(model))
    changed.graph.name = graph.name
    changed.graph.node.extend(nodes)
    changed.graph.input.extend(info for info in graph.input if info.name in read)
    changed.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in read)
    changed.graph.sparse_initializer.extend(graph.sparse_initializer)
    changed.graph.output.extend(outputs)
    return changed


def with_fed(model: onnx.ModelProto, fed: Mapping[str, TensorType]) -> tuple[onnx.ModelProto, Mapping[str, str]]:
    """The model in which whoever reads a value of ``fed`` reads an input instead; returns the inputs' names by value.

    The values are still computed where something needs them: see :func:`with_outputs`.
    """
    inputs = {name: f"{name}/fed" for name in fed}
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in changed.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = inputs.get(name, name)
    for name, kind in fed.items():
        changed.graph.input.append(helper.make_tensor_value_info(inputs[name], onnx_type(kind.dtype), kind.shape))
    return changed, inputs


def _without_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    bare = onnx.ModelProto(ir_version=model.ir_version)
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    return bare


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Collection[str]) -> list[onnx.NodeProto]:
    """The nodes, in topological order, that the outputs depend on."""
    wanted, kept = set(outputs), list[onnx.NodeProto]()
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= _read([node])
    return kept[::-1]


def _read(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """Names that nodes read, those in their inner graphs included."""
    names: set[str] = set()
    for node in nodes:
        names.update(node.input)
        for attribute in node.attribute:
            inner = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for graph in inner:
                names |= _read(graph.node) | {info.name for info in graph.output}
    names.discard("")
    return names
