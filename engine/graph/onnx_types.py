"""Types of values by ONNX's own shape inference, for operators that are kept whole."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx.checker import ValidationError
from onnx.helper import make_tensor_type_proto, np_dtype_to_tensor_dtype, tensor_dtype_to_np_dtype
from onnx.shape_inference import InferenceError

from engine.errors import GraphError
from engine.graph.graph import Constant, TensorType
from engine.ops.float_kernels import numpy_dtype
from engine.ops.float_kernels.other import onnx_op_model
from engine.ops.other import OnnxOp

_KNOWN_INPUT_ELEMENTS = 1024
"""Constant inputs up to this size are shown to the inference: shapes, axes, repeats."""

_TENSOR = "tensor_type"


def proto_of(kind: TensorType) -> onnx.TypeProto:
    """A tensor type as ONNX writes it."""
    return make_tensor_type_proto(np_dtype_to_tensor_dtype(numpy_dtype(kind.dtype)), kind.shape)


def is_numeric(proto: onnx.TypeProto) -> bool:
    """Whether it is a tensor of numbers or truth values: no sequence, optional, map, sparse tensor or text."""
    return proto.WhichOneof("value") == _TENSOR and proto.tensor_type.elem_type != onnx.TensorProto.STRING


def dimensions(proto: onnx.TypeProto | None) -> tuple[int | None, ...] | None:
    """The sizes of a tensor type, None for those that are not known; None where not even their number is."""
    if proto is None or proto.WhichOneof("value") != _TENSOR or not proto.tensor_type.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in proto.tensor_type.shape.dim)


def static_type(proto: onnx.TypeProto | None) -> TensorType | None:
    """The type, if it is a tensor of numbers whose sizes are all known."""
    sizes = dimensions(proto)
    if proto is None or sizes is None or not is_numeric(proto) or not proto.tensor_type.elem_type:
        return None
    known = tuple(size for size in sizes if size is not None)
    return TensorType(known, dtype_name(proto)) if len(known) == len(sizes) else None


def dtype_name(proto: onnx.TypeProto) -> str:
    """The numpy name of a numeric tensor type's elements."""
    return str(tensor_dtype_to_np_dtype(proto.tensor_type.elem_type).name)


def described(proto: onnx.TypeProto) -> str:
    """A type in words: ``text``, ``sequence of float32``, ``optional of sequence of text``."""
    kind = proto.WhichOneof("value")
    if kind == _TENSOR:
        return dtype_name(proto) if is_numeric(proto) and proto.tensor_type.elem_type else "text"
    if kind == "sequence_type":
        return f"sequence of {described(proto.sequence_type.elem_type)}"
    if kind == "optional_type":
        return f"optional {described(proto.optional_type.elem_type)}"
    return {"map_type": "map", "sparse_tensor_type": "sparse tensor"}.get(kind or "", "unknown type")


def inferred_types(
    op: OnnxOp, inputs: Sequence[onnx.TypeProto | None], constants: Mapping[int, Constant]
) -> list[onnx.TypeProto | None]:
    """Types of the operator's outputs, None where ONNX does not say.

    Args:
        op: The operator.
        inputs: Types of its inputs in order, sizes possibly left open.
        constants: Those inputs whose values are known.

    Raises:
        GraphError: The inputs do not fit the operator.
    """
    model = onnx_op_model(op)
    shown = {
        index: constant for index, constant in constants.items() if constant.type.element_count <= _KNOWN_INPUT_ELEMENTS
    }
    del model.graph.input[:]
    for index, proto in enumerate(inputs):
        if index in shown:
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(shown[index].array), f"i{index}"))
        else:
            model.graph.input.append(onnx.ValueInfoProto(name=f"i{index}", type=proto))
    try:
        found = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (InferenceError, ValidationError, ValueError, RuntimeError) as error:
        raise GraphError(f"{op.op_type}: {error}") from error
    return [info.type if info.type.WhichOneof("value") else None for info in found.graph.output]
