"""Comparisons, logic and conversions between element types as ONNX nodes."""

from __future__ import annotations

from engine.export.onnx_nodes.builder import TO_ONNX, Emission, onnx_type
from engine.ops import logic as ops
from engine.ops.elementwise import Elementwise


@TO_ONNX.register(
    ops.Equal, ops.Greater, ops.GreaterOrEqual, ops.Less, ops.LessOrEqual, ops.And, ops.Or, ops.Xor, ops.Not, ops.IsNaN,
)  # fmt: skip
def _same_name(op: Elementwise, emission: Emission) -> None:
    emission.node(op.type_name)


@TO_ONNX.register(ops.IsInf)
def _is_inf(op: ops.IsInf, emission: Emission) -> None:
    emission.node("IsInf", detect_negative=int(op.negative), detect_positive=int(op.positive))


@TO_ONNX.register(ops.Cast)
def _cast(op: ops.Cast, emission: Emission) -> None:
    emission.node("Cast", to=onnx_type(op.to))
