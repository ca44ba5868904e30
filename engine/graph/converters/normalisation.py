"""Normalisation layers and softmax."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.graph.graph import TensorType
from engine.graph.lazy import derived
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.base import Op
from engine.ops.elementwise import Abs, Add, Affine, Div, Mul, PowScalar
from engine.ops.layout import Reshape, Transpose
from engine.ops.reduce import (
    AveragePool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    ReduceSum,
    RMSNorm,
    Softmax,
)

Array = NDArray[np.floating]
_NO_EPSILON = 1e-24
"""Too small to matter, and large enough that zeros stay zeros."""

_MEAN_VARIANCE_EPSILON = 1e-18
"""ONNX adds 1e-9 to the deviation."""

_SPATIAL_OPSET = 9
"""Before it, batch normalisation could have statistics for each position instead of each channel."""

_SOFTMAX_PER_AXIS_OPSET = 13
"""Before it, softmax ran over all axes from ``axis`` on, flattened."""


@converts("BatchNormalization")
def _batch_norm(node: SourceNode) -> Converted:
    """scale * x + offset per channel; a preceding convolution absorbs both later."""
    if any(node.wants(index) for index in range(1, 5)) or not all(node.is_constant(i) for i in range(1, 5)):
        return None
    if node.integer("training_mode") or (node.version < _SPATIAL_OPSET and not node.integer("spatial", 1)):
        return None
    rank, channels = len(node.shape(0)), node.shape(1)[0]
    epsilon = node.real("epsilon", 1e-5)
    gamma, beta, mean, variance = (node.constants[node.inputs[index]] for index in range(1, 5))
    kind = TensorType((channels, *(1,) * (rank - 2)), gamma.type.dtype)

    def scale(gamma: Array, variance: Array) -> Array:
        return _scale(gamma, variance, epsilon).astype(gamma.dtype).reshape(kind.shape)

    def offset(gamma: Array, variance: Array, beta: Array, mean: Array) -> Array:
        shift = beta.astype(np.float64) - mean * _scale(gamma, variance, epsilon)
        return shift.astype(gamma.dtype).reshape(kind.shape)

    multiplier = node.add_constant(f"{node.outputs[0]}/scale", derived(kind, scale, gamma, variance))
    addend = node.add_constant(f"{node.outputs[0]}/offset", derived(kind, offset, gamma, variance, beta, mean))
    scaled = node.inner("scaled")
    return [Apply(Mul(), (node.inputs[0], multiplier), (scaled,)), Apply(Add(), (scaled, addend))]


def _scale(gamma: Array, variance: Array, epsilon: float) -> NDArray[np.float64]:
    return gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)


@converts("LayerNormalization")
def _layer_norm(node: SourceNode) -> Converted:
    if node.wants(1) or node.wants(2):
        return None
    rank = len(node.shape(0))
    axis = node.axis(node.integer("axis", -1), rank)
    normalised = node.shape(0)[axis:]
    weights = [_normalised_weight(node, index, normalised) for index in (1, 2) if node.has(index)]
    if any(weight is None for weight in weights):
        return None
    inputs = (node.inputs[0], *(weight for weight in weights if weight is not None))
    return [Apply(LayerNorm(rank - axis, node.real("epsilon", 1e-5)), inputs)]


@converts("RMSNormalization")
def _rms_norm(node: SourceNode) -> Converted:
    rank = len(node.shape(0))
    axis = node.axis(node.integer("axis", -1), rank)
    weight = _normalised_weight(node, 1, node.shape(0)[axis:]) if node.has(1) else ""
    if weight is None:
        return None
    inputs = (node.inputs[0], weight) if weight else node.inputs[:1]
    return [Apply(RMSNorm(rank - axis, node.real("epsilon", 1e-5)), inputs)]


def _normalised_weight(node: SourceNode, index: int, shape: tuple[int, ...]) -> str | None:
    """The weight in the shape of the normalised axes; None where it varies along others."""
    given = node.shape(index)
    if given == shape:
        return node.inputs[index]
    if not node.is_constant(index) or math.prod(given[: -len(shape)]) != 1:
        return None
    kept = given[-len(shape) :]

    def compute(array: Array) -> Array:
        return np.ascontiguousarray(np.broadcast_to(array.reshape(kept), shape))

    constant = node.constants[node.inputs[index]]
    kind = TensorType(shape, constant.type.dtype)
    return node.add_constant(f"{node.inputs[index]}/expanded", derived(kind, compute, constant))


@converts("InstanceNormalization")
def _instance_norm(node: SourceNode) -> Converted:
    return [Apply(InstanceNorm(node.real("epsilon", 1e-5)), node.inputs[:3])]


@converts("GroupNormalization")
def _group_norm(node: SourceNode) -> Converted:
    """Scale and offset have one entry a group in opset 18, one a channel since opset 21."""
    if not (node.is_constant(1) and node.is_constant(2)):
        return None
    weight, bias = (_per_channel(node, index) for index in (1, 2))
    return [Apply(GroupNorm(node.integer("num_groups"), node.real("epsilon", 1e-5)), (node.inputs[0], weight, bias))]


def _per_channel(node: SourceNode, index: int) -> str:
    """A weight of one entry a channel or a group as [C]."""
    constant, channels = node.constants[node.inputs[index]], node.shape(0)[1]
    repeats = channels // constant.type.element_count
    if repeats == 1:
        return node.inputs[index]

    def compute(array: Array) -> Array:
        return np.repeat(array, repeats)

    kind = TensorType((channels,), constant.type.dtype)
    return node.add_constant(f"{node.inputs[index]}/per_channel", derived(kind, compute, constant))


@converts("LpNormalization")
def _lp_norm(node: SourceNode) -> Converted:
    """x over its sum of magnitudes (p = 1) or over the root of its sum of squares (p = 2) along an axis."""
    shape = node.shape(0)
    axis = node.axis(node.integer("axis", -1), len(shape))
    if node.integer("p", 2) == 1:
        magnitudes, total = node.inner("magnitudes"), node.inner("total")
        return [
            Apply(Abs(), node.inputs, (magnitudes,)),
            Apply(ReduceSum((axis,), True), (magnitudes,), (total,)),
            Apply(Div(), (node.inputs[0], total)),
        ]
    weight = node.constant(np.full(shape[axis], shape[axis] ** -0.5, node.type(0).dtype), "weight")
    return _over_last_axes(node, (axis,), RMSNorm(1, _NO_EPSILON), weight)


@converts("MeanVarianceNormalization")
def _mean_variance_norm(node: SourceNode) -> Converted:
    rank = len(node.shape(0))
    axes = node.axes(node.integer_list("axes") or (0, 2, 3), rank)
    return _over_last_axes(node, axes, LayerNorm(len(axes), _MEAN_VARIANCE_EPSILON))


def _over_last_axes(node: SourceNode, axes: tuple[int, ...], op: Op, *weights: str) -> Converted:
    """An operator of the last axes applied to others: they are transposed there and back."""
    rank = len(node.shape(0))
    perm = (*(axis for axis in range(rank) if axis not in axes), *axes)
    if perm == tuple(range(rank)):
        return [Apply(op, (node.inputs[0], *weights))]
    turned, result = node.inner("turned"), node.inner("normalised")
    back = tuple(perm.index(axis) for axis in range(rank))
    return [
        Apply(Transpose(perm), node.inputs[:1], (turned,)),
        Apply(op, (turned, *weights), (result,)),
        Apply(Transpose(back), (result,)),
    ]


@converts("LRN")
def _local_response(node: SourceNode) -> Converted:
    """x / (bias + alpha * mean of squares over ``size`` neighbouring channels) ** beta.

    The mean is a pooling along the channels, which counts those that are not there as zeros.
    """
    shape, size = node.shape(0), node.integer("size")
    before = (size - 1) // 2
    pads = (before, 0, size - 1 - before, 0)
    names = ("square", "lines", "mean", "whole", "shifted", "factor")
    square, lines, mean, whole, shifted, factor = (node.inner(name) for name in names)
    pool = AveragePool((size, 1), (1, 1), pads, True, pads)
    return [
        Apply(PowScalar(2.0), node.inputs, (square,)),
        Apply(Reshape((shape[0], 1, shape[1], math.prod(shape[2:]))), (square,), (lines,)),
        Apply(pool, (lines,), (mean,)),
        Apply(Reshape(shape), (mean,), (whole,)),
        Apply(Affine(node.real("alpha", 1e-4), node.real("bias", 1.0), "Mul"), (whole,), (shifted,)),
        Apply(PowScalar(-node.real("beta", 0.75)), (shifted,), (factor,)),
        Apply(Mul(), (node.inputs[0], factor)),
    ]


@converts("Softmax")
def _softmax(node: SourceNode) -> Converted:
    return _along_axis(node, Softmax)


@converts("LogSoftmax")
def _log_softmax(node: SourceNode) -> Converted:
    return _along_axis(node, LogSoftmax)


def _along_axis(node: SourceNode, cls: type[Softmax] | type[LogSoftmax]) -> Converted:
    shape = node.shape(0)
    flattens = node.version < _SOFTMAX_PER_AXIS_OPSET
    axis = node.axis(node.integer("axis", 1 if flattens else -1), len(shape))
    if not flattens or math.prod(shape[axis + 1 :]) == 1:
        return [Apply(cls(axis), node.inputs)]
    flat, result = node.inner("flat"), node.inner("result")
    rows = (math.prod(shape[:axis]), math.prod(shape[axis:]))
    return [
        Apply(Reshape(rows), node.inputs, (flat,)),
        Apply(cls(1), (flat,), (result,)),
        Apply(Reshape(shape), (result,)),
    ]
