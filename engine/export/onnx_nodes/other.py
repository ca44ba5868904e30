"""Model inputs, and operators that came whole from an ONNX file and go back whole."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import onnx
from onnx import helper, version_converter

from engine.errors import ExportError
from engine.export.onnx_nodes.builder import TO_ONNX, Emission, onnx_type
from engine.graph.onnx_scopes import nodes_within, rename
from engine.ops.float_kernels.other import onnx_op_model
from engine.ops.other import Input, OnnxOp, Unsupported


@TO_ONNX.register(Input)
def _input(op: Input, emission: Emission) -> None:
    emission.node("Identity")


@TO_ONNX.register(Unsupported)
def _unsupported(op: Unsupported, emission: Emission) -> None:
    raise ExportError(f"{op.op_type} cannot run: {op.reason}", node=emission.label, hint=op.hint)


@TO_ONNX.register(OnnxOp)
def _onnx_op(op: OnnxOp, emission: Emission) -> None:
    """The nodes as they were; where the model has another opset in which they mean something else, converted."""
    body = onnx.FunctionProto.FromString(op.body)
    _import_domains(op, body, emission)
    nodes = list(body.node)
    if not all(_means_the_same(node, body, emission.builder.opset) for node in nodes_within(nodes)):
        nodes = _converted(op, emission)
    names = {name: emission.inputs[index] for index, name in enumerate(body.input)}
    names |= {name: emission.outputs[index] for index, name in enumerate(body.output)}
    rename(nodes, names, lambda name: emission.builder.fresh(f"{emission.outputs[0]}/{name}"))
    for node in nodes:
        emission.builder.append(node, emission.label)


def _import_domains(op: OnnxOp, body: onnx.FunctionProto, emission: Emission) -> None:
    """Versions of the domains that the nodes are of, the standard one aside."""
    used = {node.domain for node in nodes_within(body.node)} - {""}
    for item in body.opset_import:
        if item.domain not in used:
            continue
        known = emission.builder.domains.setdefault(item.domain, item.version)
        if known != item.version:
            message = f"{op.op_type} needs version {item.version} of {item.domain}, another operator version {known}"
            raise ExportError(message, node=emission.label, hint="export the source model with one version")


def _means_the_same(node: onnx.NodeProto, body: onnx.FunctionProto, opset: int) -> bool:
    if node.domain:
        return True
    own = next(item.version for item in body.opset_import if not item.domain)
    if not onnx.defs.has(node.op_type, opset, ""):
        return own == opset
    now, then = (onnx.defs.get_schema(node.op_type, version, "") for version in (opset, own))
    return now.since_version == then.since_version


def _converted(op: OnnxOp, emission: Emission) -> list[onnx.NodeProto]:
    """The nodes by ONNX's own converter between opsets."""
    model = onnx_op_model(op)
    for info, kind in zip(model.graph.input, emission.types, strict=True):
        assert kind is not None
        info.CopyFrom(helper.make_tensor_value_info(info.name, onnx_type(kind.dtype), kind.shape))
    try:
        converted = version_converter.convert_version(model, emission.builder.opset)
    except Exception as error:  # the converter raises whatever its C++ code throws
        raise ExportError(
            f"{op.op_type} of opset {op.opset} cannot be expressed in opset {emission.builder.opset}: {error}",
            node=emission.label,
            hint="export the source model with a newer opset",
        ) from error
    constants = [helper.make_node("Constant", [], [item.name], value=item) for item in converted.graph.initializer]
    return [*constants, *converted.graph.node]
