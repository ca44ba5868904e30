"""Output types of operators: by a rule where that is trivial, else by running the float kernel without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np
import onnx
import torch
from onnx.checker import ValidationError
from onnx.helper import make_tensor_type_proto, tensor_dtype_to_np_dtype
from onnx.shape_inference import InferenceError, infer_node_outputs

from engine.errors import GraphError
from engine.graph.graph import Constant, TensorType
from engine.graph.type_rules import TYPE_RULES
from engine.ops.base import Op
from engine.ops.float_kernels import DTYPE_NAMES, TORCH_DTYPES, run_node, to_torch
from engine.ops.other import OnnxOp

_KNOWN_INPUT_ELEMENTS = 1024
"""Constant inputs up to this size are shown to ONNX's shape inference: shapes, axes, repeats."""


class TypeInference:
    """Infers output types and remembers them: networks repeat their layers."""

    def __init__(self) -> None:
        self._known: dict[tuple[Op, tuple[TensorType | None, ...]], tuple[TensorType, ...]] = {}

    def __call__(
        self, op: Op, inputs: Sequence[str], types: Mapping[str, TensorType], constants: Mapping[str, Constant]
    ) -> tuple[TensorType, ...]:
        """Types of the operator's outputs.

        Raises:
            GraphError: The inputs do not fit the operator.
        """
        kinds = tuple(types[value] if value else None for value in inputs)
        if isinstance(op, OnnxOp):
            return _onnx_types(op, inputs, kinds, constants)
        key = op, kinds
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _kernel_types(op, kinds)
        return found


def _kernel_types(op: Op, kinds: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
    """By rule; an operator without one is run on tensors without data."""
    rule = TYPE_RULES.find(op)
    try:
        if rule is not None:
            return rule(op, *kinds)
        with torch.inference_mode():
            outputs = run_node(op, [None if kind is None else _without_data(kind) for kind in kinds])
    except (RuntimeError, TypeError, ValueError, IndexError) as error:  # inputs of the wrong number or rank
        listed = ", ".join("absent" if kind is None else f"{kind.dtype}{list(kind.shape)}" for kind in kinds)
        raise GraphError(f"{op.type_name} cannot take inputs {listed}: {error}") from error
    return tuple(TensorType(tuple(output.shape), DTYPE_NAMES[output.dtype]) for output in outputs)


def _without_data(kind: TensorType) -> torch.Tensor:
    return torch.empty(kind.shape, dtype=TORCH_DTYPES[kind.dtype], device="meta")


def _onnx_types(
    op: OnnxOp, inputs: Sequence[str], kinds: Sequence[TensorType | None], constants: Mapping[str, Constant]
) -> tuple[TensorType, ...]:
    """By ONNX's own inference; where that leaves a dimension open, by computing with zeros."""
    node = onnx.NodeProto.FromString(op.node_bytes)
    schema = onnx.defs.get_schema(op.op_type, op.opset, op.domain)
    protos = {
        f"i{index}": make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(_numpy_dtype(kind)), kind.shape)
        for index, kind in enumerate(kinds)
        if kind is not None
    }
    data = {
        f"i{index}": onnx.numpy_helper.from_array(constants[value].array)
        for index, value in enumerate(inputs)
        if value in constants and constants[value].type.element_count <= _KNOWN_INPUT_ELEMENTS
    }
    opsets = [onnx.helper.make_opsetid(op.domain, op.opset)]
    try:
        inferred = infer_node_outputs(schema, node, protos, data, opset_imports=opsets)
    except (InferenceError, ValidationError, ValueError, RuntimeError) as error:
        raise GraphError(f"{op.op_type}: {error}") from error
    types = [_static_type(inferred.get(name)) for name in node.output]
    if all(kind is not None for kind in types):
        return tuple(kind for kind in types if kind is not None)
    return _evaluated_types(op, inputs, kinds, constants)


def _evaluated_types(
    op: OnnxOp, inputs: Sequence[str], kinds: Sequence[TensorType | None], constants: Mapping[str, Constant]
) -> tuple[TensorType, ...]:
    tensors = [
        None
        if kind is None
        else to_torch(constants[value].array)
        if value in constants
        else torch.zeros(kind.shape, dtype=TORCH_DTYPES[kind.dtype])
        for value, kind in zip(inputs, kinds, strict=True)
    ]
    outputs = run_node(op, tensors)
    return tuple(TensorType(tuple(output.shape), DTYPE_NAMES[output.dtype]) for output in outputs)


def _numpy_dtype(kind: TensorType) -> np.dtype[np.generic]:
    return np.dtype(getattr(ml_dtypes, kind.dtype, kind.dtype))


def _static_type(proto: onnx.TypeProto | None) -> TensorType | None:
    """The inferred type, if it is a tensor whose dimensions are all numbers."""
    if proto is None or not proto.HasField("tensor_type") or not proto.tensor_type.HasField("shape"):
        return None
    dimensions = proto.tensor_type.shape.dim
    if not all(dimension.HasField("dim_value") for dimension in dimensions):
        return None
    dtype = tensor_dtype_to_np_dtype(proto.tensor_type.elem_type)
    return TensorType(tuple(dimension.dim_value for dimension in dimensions), dtype.name)
