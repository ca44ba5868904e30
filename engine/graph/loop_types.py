"""Types of a Loop's results, where its states keep their sizes.

ONNX's own inference gives up on the sizes of states, which a body may change at each step. Here the body is inferred
with the sizes that the states begin with: if it hands them on with the same ones, they stay.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx.checker import ValidationError
from onnx.helper import make_model, make_tensor_type_proto
from onnx.shape_inference import InferenceError

from engine.graph.graph import Constant
from engine.graph.onnx_types import static_type
from engine.ops.other import OnnxOp

_COUNT, _CONDITION, _STATES = 0, 1, 2


def loop_types(
    op: OnnxOp, inputs: Sequence[onnx.TypeProto | None], constants: Mapping[int, Constant]
) -> list[onnx.TypeProto | None] | None:
    """Types of the outputs; None where the operator is no Loop or its states change their sizes."""
    function = onnx.FunctionProto.FromString(op.body)
    if len(function.node) != 1 or function.node[0].op_type != "Loop":
        return None
    loop = function.node[0]
    places = {name: index for index, name in enumerate(function.input)}
    body = onnx.helper.get_node_attr_value(loop, "body")
    begun = [inputs[places[name]] for name in loop.input[_STATES:] if name]
    initial = [proto for proto in begun if proto is not None and static_type(proto) is not None]
    if len(initial) != len(begun):
        return None
    found = _body_outputs(function, body, inputs, initial)
    if found is None:
        return None
    states, scanned = found[1 : 1 + len(initial)], found[1 + len(initial) :]
    if [static_type(proto) for proto in states] != [static_type(proto) for proto in initial]:
        return None
    steps = _steps(loop, body, places, constants)
    types = [*initial, *(_stacked(proto, steps) for proto in scanned)]
    made = [kind for name, kind in zip(loop.output, types, strict=False) if name]
    return made


def _body_outputs(
    function: onnx.FunctionProto,
    body: onnx.GraphProto,
    inputs: Sequence[onnx.TypeProto | None],
    initial: Sequence[onnx.TypeProto],
) -> list[onnx.TypeProto] | None:
    """Types that the body's outputs have when its states are as at the beginning."""
    graph = onnx.GraphProto()
    graph.CopyFrom(body)
    numbers = [make_tensor_type_proto(kind, []) for kind in (onnx.TensorProto.INT64, onnx.TensorProto.BOOL)]
    for info, kind in zip(graph.input, (*numbers, *initial), strict=True):
        info.type.CopyFrom(kind)
    for name, kind in zip(function.input, inputs, strict=True):
        graph.input.append(onnx.ValueInfoProto(name=name, type=kind))
    for info in graph.output:
        info.ClearField("type")
    graph.name = graph.name or "body"
    model = make_model(graph, opset_imports=list(function.opset_import))
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (InferenceError, ValidationError, ValueError, RuntimeError):
        return None
    return [info.type for info in inferred.graph.output]


def _steps(
    loop: onnx.NodeProto, body: onnx.GraphProto, places: Mapping[str, int], constants: Mapping[int, Constant]
) -> int | None:
    """How often the body runs, if that is known: a constant count, and a condition that stays true."""

    def known(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
        constant = constants.get(places[name]) if name else None
        return None if constant is None else constant.array

    condition = known(loop.input[_CONDITION])
    starts = not loop.input[_CONDITION] or (condition is not None and bool(np.all(condition)))
    count = known(loop.input[_COUNT])
    return int(np.ravel(count)[0]) if count is not None and starts and _goes_on(body) else None


def _goes_on(body: onnx.GraphProto) -> bool:
    """Whether the body's condition is the one that it was given, or true."""
    makers = {name: node for node in body.node for name in node.output}
    name = body.output[0].name
    while name in makers and makers[name].op_type in ("Identity", "Cast"):
        name = makers[name].input[0]
    if name == body.input[_CONDITION].name:
        return True
    maker = makers.get(name)
    values = [a.t for a in maker.attribute if a.name == "value"] if maker and maker.op_type == "Constant" else []
    values += [tensor for tensor in body.initializer if tensor.name == name]
    return len(values) == 1 and bool(np.all(onnx.numpy_helper.to_array(values[0])))


def _stacked(proto: onnx.TypeProto, steps: int | None) -> onnx.TypeProto | None:
    """The type of one result for each step, stacked in front."""
    kind = static_type(proto)
    if kind is None:
        return None
    return make_tensor_type_proto(proto.tensor_type.elem_type, [steps, *kind.shape])
