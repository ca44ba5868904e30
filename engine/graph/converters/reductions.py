"""Reductions."""

from __future__ import annotations

from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.layout import Identity
from engine.ops.reduce import (
    ArgExtreme,
    ArgMax,
    ArgMin,
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ReduceSumSquare,
    Reduction,
)

_PLAIN = (ReduceMean, ReduceSum, ReduceMax, ReduceMin, ReduceProd)
"""Reductions that leave what they do not reduce as it is; others compute a function of it."""

_OF_FLOATS = (ReduceLogSum, ReduceLogSumExp)
"""Reductions that torch has for floats alone."""


def _reduction(op_type: str, cls: type[Reduction]) -> None:
    @converts(op_type)
    def _convert(node: SourceNode) -> Converted:  # pyright: ignore[reportUnusedFunction]
        if (node.has(1) and not node.is_constant(1)) or (cls in _OF_FLOATS and not node.type(0).is_float):
            return None
        rank = len(node.shape(0))
        listed = node.attribute_or_input("axes", 1)
        if not listed and node.integer("noop_with_empty_axes"):
            return [Apply(Identity(), node.inputs[:1])] if cls in _PLAIN else None
        axes = node.axes(listed, rank) if listed else tuple(range(rank))
        return [Apply(cls(axes, bool(node.integer("keepdims", 1))), node.inputs[:1])]


_reduction("ReduceMean", ReduceMean)
_reduction("ReduceSum", ReduceSum)
_reduction("ReduceMax", ReduceMax)
_reduction("ReduceMin", ReduceMin)
_reduction("ReduceProd", ReduceProd)
_reduction("ReduceL1", ReduceL1)
_reduction("ReduceL2", ReduceL2)
_reduction("ReduceSumSquare", ReduceSumSquare)
_reduction("ReduceLogSum", ReduceLogSum)
_reduction("ReduceLogSumExp", ReduceLogSumExp)


def _index(op_type: str, cls: type[ArgExtreme]) -> None:
    @converts(op_type)
    def _convert(node: SourceNode) -> Converted:  # pyright: ignore[reportUnusedFunction]
        axis = node.axis(node.integer("axis"), len(node.shape(0)))
        op = cls(axis, bool(node.integer("keepdims", 1)), bool(node.integer("select_last_index")))
        return [Apply(op, node.inputs)]


_index("ArgMax", ArgMax)
_index("ArgMin", ArgMin)


@converts("GlobalLpPool")
def _global_lp_pool(node: SourceNode) -> Converted:
    """Of the first and second power, a reduction over space."""
    cls = {1: ReduceL1, 2: ReduceL2}.get(node.integer("p", 2))
    return None if cls is None else [Apply(cls(tuple(range(2, len(node.shape(0))))), node.inputs)]
