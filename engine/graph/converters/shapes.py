"""Constants, and operators on shapes: with static shapes their results are known at once."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from engine.graph.source import Apply, Converted, Known, SourceNode, converts
from engine.ops.layout import Identity
from engine.ops.logic import Cast


@converts("Shape")
def _shape(node: SourceNode) -> Converted:
    shape = node.shape(0)
    start, end = node.integer("start", 0), node.integer("end", len(shape))
    return Known.of(np.array(shape[slice(start, end)], dtype=np.int64))


@converts("Size")
def _size(node: SourceNode) -> Converted:
    return Known.of(np.array(math.prod(node.shape(0)), dtype=np.int64))


@converts("ConstantOfShape")
def _constant_of_shape(node: SourceNode) -> Converted:
    shape = node.integers(0)
    if shape is None:
        return None
    attribute = node.attributes.get("value")
    value = np.zeros(1, np.float32) if attribute is None else attribute.as_tensor().numpy()
    return Known.of(np.full(shape, value.ravel()[0], dtype=value.dtype))


@converts("Cast")
def _cast(node: SourceNode) -> Converted:
    return _converted_to(node, ir.DataType(node.integer("to", int(ir.DataType.FLOAT))))


@converts("CastLike")
def _cast_like(node: SourceNode) -> Converted:
    return _to_type(node, node.type(1).dtype)


def _converted_to(node: SourceNode, target: ir.DataType) -> Converted:
    if target == ir.DataType.STRING:
        return None
    dtype = np.dtype(target.numpy())
    array = node.array(0)
    if array is not None and target.bitwidth >= 8 and array.dtype.kind in "fiub" and array.dtype != dtype:
        with np.errstate(invalid="ignore"):  # infinity as an integer: as the processor has it
            return Known.of(array.astype(dtype))
    return _to_type(node, dtype.name)


_WHOLE = ("bool", "uint8", "int8", "int16", "int32", "int64")
_REAL = ("float16", "float32", "float64", "bfloat16")
_FROM_REAL = (*_REAL, "bool", "int32", "int64")
"""What floats are converted to; beyond narrower integers' ranges, libraries disagree."""


def _to_type(node: SourceNode, dtype: str) -> Converted:
    source = node.type(0).dtype
    if source == dtype:
        return [Apply(Identity(), node.inputs[:1])]
    known = dtype in _FROM_REAL if source in _REAL else source in _WHOLE and dtype in (*_WHOLE, *_REAL)
    return [Apply(Cast(source, dtype), node.inputs[:1])] if known else None


@converts("Range")
def _range(node: SourceNode) -> Converted:
    start, limit, delta = (node.array(index) for index in range(3))
    if start is None or limit is None or delta is None:
        return None
    return Known.of(np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype))


@converts("Identity")
def _identity(node: SourceNode) -> Converted:
    return [Apply(Identity(), node.inputs)]


@converts("Dropout")
def _dropout(node: SourceNode) -> Converted:
    """It does nothing unless the model says to train (since opset 12); its mask output would be all true."""
    if node.wants(1) or (node.has(2) and (node.array(2) is None or np.any(node.array(2)))):
        return None
    return [Apply(Identity(), node.inputs[:1], node.outputs[:1])]
