"""Float kernels of model inputs and of the operators of last resort."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from engine.errors import GraphError
from engine.ops.float_kernels.behaviour import FLOAT
from engine.ops.float_kernels.reference_fixes import REFERENCE_FIXES
from engine.ops.float_kernels.tensors import DTYPE_NAMES, numpy_dtype, to_numpy, to_torch
from engine.ops.other import Input, OnnxOp, Unsupported

_CACHED_EVALUATORS = 256


@FLOAT.register(Input)
def _input(op: Input, *fed: Tensor) -> tuple[Tensor, ...]:
    return fed


def onnx_op_model(op: OnnxOp, opset: int | None = None) -> onnx.ModelProto:
    """The operator as a model, with untyped inputs i0, i1, ... and outputs o0, o1, ...

    ``opset`` overrides the version of the operator's domain.
    """
    body = onnx.FunctionProto.FromString(op.body)
    inputs = [onnx.helper.make_empty_tensor_value_info(name) for name in body.input]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in body.output]
    graph = onnx.helper.make_graph(list(body.node), op.op_type, inputs, outputs)
    versions = {item.domain: item.version for item in body.opset_import} | {op.domain: opset or op.opset}
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in versions.items()]
    return onnx.helper.make_model(graph, opset_imports=opsets)


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
        with np.errstate(all="ignore"):  # what overflows or divides by zero is the model's own affair
            results = cast("list[object]", _evaluator(op).run(None, feeds))  # pyright: ignore[reportUnknownMemberType]
        tensors = tuple(to_torch(np.asarray(result)) for result in results)
    except Exception as error:  # the reference evaluator raises whatever its numpy code raises
        raise GraphError(f"{op.op_type} cannot be evaluated by onnx.reference: {error}") from error
    return tuple(tensor.to("meta") for tensor in tensors) if on_meta else tensors


def _array(x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    if x.is_meta:
        return np.zeros(x.shape, numpy_dtype(DTYPE_NAMES[x.dtype]))
    return to_numpy(x.contiguous())


@FLOAT.register(Unsupported)
def _unsupported(op: Unsupported, *inputs: Tensor | None) -> tuple[Tensor, ...]:
    raise GraphError(f"{op.op_type} cannot run: {op.reason}", hint=op.hint)
