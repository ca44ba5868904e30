"""Source nodes without a typed operator: kept whole as ``OnnxOp``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
import onnx_ir as ir

from engine.errors import GraphError
from engine.graph.graph import Constant
from engine.graph.weights import WeightFiles
from engine.ops.other import OnnxOp

_MAX_CAPTURED_ELEMENTS = 1 << 20


def as_onnx_op(node: ir.Node, version: int, weights: WeightFiles, constants: Mapping[str, Constant]) -> OnnxOp:
    """The node by itself, inputs and outputs renamed; what its subgraphs read from outside is built in.

    Raises:
        GraphError: A subgraph reads a value from outside that is not a constant.
    """
    proto = ir.to_proto(node)
    proto.name = proto.doc_string = ""
    del proto.metadata_props[:]
    proto.input[:] = [f"i{index}" if name else "" for index, name in enumerate(proto.input)]
    proto.output[:] = [f"o{index}" if name else "" for index, name in enumerate(proto.output)]
    while proto.output and not proto.output[-1]:
        proto.output.pop()
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            array = weights.constant(ir.from_proto(tensor)).array
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for subgraph in _subgraphs(proto):
        for name in sorted(_captured(subgraph)):
            subgraph.initializer.append(_built_in(name, constants, node))
    return OnnxOp(node.op_type, _standard(node.domain), version, proto.SerializeToString(deterministic=True))


def _standard(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _built_in(name: str, constants: Mapping[str, Constant], node: ir.Node) -> onnx.TensorProto:
    constant = constants.get(name)
    if constant is None or constant.type.element_count > _MAX_CAPTURED_ELEMENTS:
        raise GraphError(
            f"control flow operator {node.op_type} reads '{name}' from outside its subgraph",
            node=node.name,
            hint="export the model without control flow (trace it for one input size)",
        )
    return onnx.numpy_helper.from_array(constant.array, name)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    """Every tensor in the node's attributes and, at any depth, in its subgraphs."""
    pending = [node]
    while pending:
        current = pending.pop()
        for attribute in current.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for graph in _subgraphs(current):
            yield from graph.initializer
            pending.extend(graph.node)


def _captured(graph: onnx.GraphProto) -> set[str]:
    """Names that the graph, or a graph inside it, reads and does not make."""
    made = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    read = {info.name for info in graph.output}
    for node in graph.node:
        made.update(node.output)
        read.update(node.input)
        for inner in _subgraphs(node):
            read |= _captured(inner)
    return read - made - {""}
