"""Comparisons, logic, and questions about numbers."""

from __future__ import annotations

from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops import logic as ops

_COMPARED = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
"""Types that torch compares; strings and wide unsigned integers are left to the reference."""

_COMPARISONS: dict[str, type[ops.Comparison]] = {
    "Equal": ops.Equal,
    "Greater": ops.Greater,
    "GreaterOrEqual": ops.GreaterOrEqual,
    "Less": ops.Less,
    "LessOrEqual": ops.LessOrEqual,
}
_LOGIC: dict[str, type[ops.Logic]] = {"And": ops.And, "Or": ops.Or, "Xor": ops.Xor, "Not": ops.Not}


def _comparison(op_type: str, cls: type[ops.Comparison]) -> None:
    @converts(op_type)
    def _convert(node: SourceNode) -> Converted:  # pyright: ignore[reportUnusedFunction]
        return [Apply(cls(), node.inputs)] if node.type(0).dtype in _COMPARED else None


def _logic(op_type: str, cls: type[ops.Logic]) -> None:
    @converts(op_type)
    def _convert(node: SourceNode) -> Converted:  # pyright: ignore[reportUnusedFunction]
        return [Apply(cls(), node.inputs)]


for _op_type, _cls in _COMPARISONS.items():
    _comparison(_op_type, _cls)
for _op_type, _class in _LOGIC.items():
    _logic(_op_type, _class)


@converts("IsNaN")
def _is_nan(node: SourceNode) -> Converted:
    return [Apply(ops.IsNaN(), node.inputs)] if node.type(0).dtype in _COMPARED else None


@converts("IsInf")
def _is_inf(node: SourceNode) -> Converted:
    if node.type(0).dtype not in _COMPARED:
        return None
    op = ops.IsInf(bool(node.integer("detect_negative", 1)), bool(node.integer("detect_positive", 1)))
    return [Apply(op, node.inputs)]
