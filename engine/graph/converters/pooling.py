"""Pooling, local and global."""

from __future__ import annotations

from engine.graph.converters.windows import Window, ceil_pads, read_window
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.reduce import AveragePool, MaxPool, ReduceMax, ReduceMean

_MAX_SPATIAL_AXES = 3


def _window(node: SourceNode) -> Window:
    kernel = node.integer_list("kernel_shape") or ()
    return read_window(node, kernel, node.shape(0)[2:])


def _effective_pads(node: SourceNode, window: Window) -> tuple[int, ...]:
    return ceil_pads(window, node.shape(0)[2:]) if node.integer("ceil_mode") else window.pads


@converts("MaxPool")
def _max_pool(node: SourceNode) -> Converted:
    if node.wants(1) or len(node.shape(0)) - 2 > _MAX_SPATIAL_AXES:
        return None
    window = _window(node)
    pads = _effective_pads(node, window)
    return [Apply(MaxPool(window.kernel, window.strides, pads, window.dilations), node.inputs)]


@converts("AveragePool")
def _average_pool(node: SourceNode) -> Converted:
    window = _window(node)
    if set(window.dilations) != {1} or len(window.kernel) > _MAX_SPATIAL_AXES:
        return None
    pads = _effective_pads(node, window)
    includes = bool(node.integer("count_include_pad"))
    return [Apply(AveragePool(window.kernel, window.strides, pads, includes, window.pads), node.inputs)]


@converts("GlobalAveragePool")
def _global_average(node: SourceNode) -> Converted:
    return [Apply(ReduceMean(tuple(range(2, len(node.shape(0))))), node.inputs)]


@converts("GlobalMaxPool")
def _global_max(node: SourceNode) -> Converted:
    return [Apply(ReduceMax(tuple(range(2, len(node.shape(0))))), node.inputs)]
