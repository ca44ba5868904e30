"""Pooling, local and global."""

from __future__ import annotations

import math

import numpy as np

from engine.graph.converters.windows import Window, ceil_pads, read_window
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.elementwise import Abs, Affine, PowScalar, Sqrt, Unary
from engine.ops.linear import Conv
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
    if len(window.kernel) > _MAX_SPATIAL_AXES:
        return None
    pads = _effective_pads(node, window)
    includes = bool(node.integer("count_include_pad"))
    if set(window.dilations) != {1}:
        return _spread_mean(node, window) if pads == window.pads and (includes or not any(pads)) else None
    return [Apply(AveragePool(window.kernel, window.strides, pads, includes, window.pads), node.inputs)]


def _spread_mean(node: SourceNode, window: Window) -> Converted:
    """A mean over windows with holes, in which padding counts, is a depthwise convolution."""
    channels, elements = node.shape(0)[1], math.prod(window.kernel)
    weight = np.full((channels, 1, *window.kernel), 1.0 / elements, node.type(0).dtype)
    op = Conv(window.strides, window.pads, window.dilations, channels)
    return [Apply(op, (node.inputs[0], node.constant(weight, "weight")))]


@converts("LpPool")
def _lp_pool(node: SourceNode) -> Converted:
    """(sum of |x| ** p) ** (1 / p) of each window; padding is zeros, which add nothing."""
    window, power = _window(node), node.integer("p", 2)
    if set(window.dilations) != {1} or len(window.kernel) > _MAX_SPATIAL_AXES:
        return None
    pads = _effective_pads(node, window)
    powers, mean, total = (node.inner(name) for name in ("powers", "mean", "total"))
    elements = float(math.prod(window.kernel))
    first: Unary = Abs() if power == 1 else PowScalar(float(power))
    steps = [
        Apply(first, node.inputs, (powers,)),
        Apply(AveragePool(window.kernel, window.strides, pads, True, pads), (powers,), (mean,)),
    ]
    if power % 2 and power != 1:
        magnitudes = node.inner("magnitudes")
        steps = [Apply(Abs(), node.inputs, (magnitudes,)), Apply(first, (magnitudes,), (powers,)), steps[1]]
    if power == 1:
        return [*steps, Apply(Affine(elements, 0.0), (mean,))]
    root = Sqrt() if power == 2 else PowScalar(1.0 / power)
    return [*steps, Apply(Affine(elements, 0.0), (mean,), (total,)), Apply(root, (total,))]


@converts("GlobalAveragePool")
def _global_average(node: SourceNode) -> Converted:
    return [Apply(ReduceMean(tuple(range(2, len(node.shape(0))))), node.inputs)]


@converts("GlobalMaxPool")
def _global_max(node: SourceNode) -> Converted:
    return [Apply(ReduceMax(tuple(range(2, len(node.shape(0))))), node.inputs)]
