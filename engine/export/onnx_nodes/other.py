"""Model inputs, and operators that came whole from an ONNX file and go back whole."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import onnx
from onnx import helper, version_converter

from engine.errors import ExportError
from engine.export.onnx_nodes.builder import TO_ONNX, Emission, onnx_type
from engine.ops.other import Input, OnnxOp


@TO_ONNX.register(Input)
def _input(op: Input, emission: Emission) -> None:
    emission.node("Identity")


@TO_ONNX.register(OnnxOp)
def _onnx_op(op: OnnxOp, emission: Emission) -> None:
    """The node as it was; where the model has another opset in which it means something else, converted."""
    builder = emission.builder
    if op.domain:
        known = builder.domains.setdefault(op.domain, op.opset)
        if known != op.opset:
            message = f"{op.op_type} needs version {op.opset} of {op.domain}, another operator version {known}"
            raise ExportError(message, node=emission.label, hint="export the source model with one version")
        nodes = [onnx.NodeProto.FromString(op.node_bytes)]
    elif _means_the_same(op, builder.opset):
        nodes = [onnx.NodeProto.FromString(op.node_bytes)]
    else:
        nodes = _converted(op, emission)
    names = _names(nodes, emission)
    for node in nodes:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
        builder.append(node, emission.label)


def _means_the_same(op: OnnxOp, opset: int) -> bool:
    now, then = (onnx.defs.get_schema(op.op_type, version, "") for version in (opset, op.opset))
    return now.since_version == then.since_version


def _converted(op: OnnxOp, emission: Emission) -> list[onnx.NodeProto]:
    """The node by ONNX's own converter between opsets."""
    node = onnx.NodeProto.FromString(op.node_bytes)
    inputs = [
        helper.make_tensor_value_info(f"i{index}", onnx_type(kind.dtype), kind.shape)
        for index, kind in enumerate(emission.types)
        if kind is not None and index < len(node.input) and node.input[index]
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], op.op_type, inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", op.opset)])
    try:
        converted = version_converter.convert_version(model, emission.builder.opset)
    except Exception as error:  # the converter raises whatever its C++ code throws
        raise ExportError(
            f"{op.op_type} of opset {op.opset} cannot be expressed in opset {emission.builder.opset}: {error}",
            node=emission.label,
            hint="export the source model with a newer opset",
        ) from error
    for tensor in converted.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        emission.builder.initializer(f"{emission.outputs[0]}/{tensor.name}", array)
    return list(converted.graph.node)


def _names(nodes: list[onnx.NodeProto], emission: Emission) -> dict[str, str]:
    """Names in the new model for i0, i1, ..., o0, o1, ... and for what the converter added between them."""
    names = {"": ""}
    names |= {f"i{index}": name for index, name in enumerate(emission.inputs)}
    names |= {f"o{index}": name for index, name in enumerate(emission.outputs)}
    for node in nodes:
        for name in (*node.input, *node.output):
            names.setdefault(name, f"{emission.outputs[0]}/{name}")
    return names
