"""Float kernels of model inputs and of the operator of last resort."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from engine.errors import GraphError
from engine.ops.float_kernels.behaviour import FLOAT
from engine.ops.float_kernels.reference_fixes import REFERENCE_FIXES
from engine.ops.float_kernels.tensors import to_numpy, to_torch
from engine.ops.other import Input, OnnxOp

_CACHED_EVALUATORS = 256


@FLOAT.register(Input)
def _input(op: Input, *fed: Tensor) -> tuple[Tensor, ...]:
    return fed


def onnx_op_model(op: OnnxOp, opset: int | None = None) -> onnx.ModelProto:
    """The operator as a model of one node, with untyped inputs i0, i1, ... and outputs o0, o1, ...

    ``opset`` overrides the operator's own version.
    """
    node = onnx.NodeProto.FromString(op.node_bytes)
    inputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.input if name]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], op.op_type, inputs, outputs)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(op.domain, opset or op.opset)])


@lru_cache(maxsize=_CACHED_EVALUATORS)
def _evaluator(op: OnnxOp) -> ReferenceEvaluator:
    """The reference's evaluator; it lacks old versions of some operators, whose successors it then uses."""
    newest = max(op.opset, onnx.defs.onnx_opset_version() if not op.domain else op.opset)
    for version in range(op.opset, newest):
        try:
            return ReferenceEvaluator(onnx_op_model(op, version), new_ops=list(REFERENCE_FIXES))
        except RuntimeError:
            continue
    return ReferenceEvaluator(onnx_op_model(op, newest), new_ops=list(REFERENCE_FIXES))


@FLOAT.register(OnnxOp)
def _onnx_op(op: OnnxOp, *inputs: Tensor | None) -> tuple[Tensor, ...]:
    """Through numpy and ``onnx.reference``. On meta tensors it computes with zeros, for the shapes alone."""
    on_meta = any(x is not None and x.is_meta for x in inputs)
    feeds = {f"i{index}": _array(x) for index, x in enumerate(inputs) if x is not None}
    try:
        results = cast("list[object]", _evaluator(op).run(None, feeds))  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:  # the reference evaluator raises whatever its numpy code raises
        raise GraphError(f"{op.op_type} cannot be evaluated by onnx.reference: {error}") from error
    tensors = tuple(to_torch(np.asarray(result)) for result in results)
    return tuple(tensor.to("meta") for tensor in tensors) if on_meta else tensors


def _array(x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return to_numpy(torch.zeros_like(x, device="cpu") if x.is_meta else x.contiguous())
