"""Reductions."""

from __future__ import annotations

from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.layout import Identity
from engine.ops.reduce import ArgMax, ReduceL2, ReduceMax, ReduceMean, ReduceMin, ReduceSum, Reduction


def _reduction(op_type: str, cls: type[Reduction]) -> None:
    @converts(op_type)
    def _convert(node: SourceNode) -> Converted:  # pyright: ignore[reportUnusedFunction]
        if node.has(1) and not node.is_constant(1):
            return None
        rank = len(node.shape(0))
        listed = node.attribute_or_input("axes", 1)
        if not listed and node.integer("noop_with_empty_axes"):
            return [Apply(Identity(), node.inputs[:1])] if cls is not ReduceL2 else None
        axes = node.axes(listed, rank) if listed else tuple(range(rank))
        return [Apply(cls(axes, bool(node.integer("keepdims", 1))), node.inputs[:1])]


_reduction("ReduceMean", ReduceMean)
_reduction("ReduceSum", ReduceSum)
_reduction("ReduceMax", ReduceMax)
_reduction("ReduceMin", ReduceMin)
_reduction("ReduceL2", ReduceL2)


@converts("ArgMax")
def _arg_max(node: SourceNode) -> Converted:
    if node.integer("select_last_index"):
        return None
    axis = node.axis(node.integer("axis"), len(node.shape(0)))
    return [Apply(ArgMax(axis, bool(node.integer("keepdims", 1))), node.inputs)]
