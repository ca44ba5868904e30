"""Normalisation layers and softmax."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.graph.graph import TensorType
from engine.graph.lazy import derived
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops.elementwise import Add, Mul
from engine.ops.layout import Reshape
from engine.ops.reduce import InstanceNorm, LayerNorm, LogSoftmax, RMSNorm, Softmax

Array = NDArray[np.floating]
_SOFTMAX_PER_AXIS_OPSET = 13
"""Before it, softmax ran over all axes from ``axis`` on, flattened."""


@converts("BatchNormalization")
def _batch_norm(node: SourceNode) -> Converted:
    """scale * x + offset per channel; a preceding convolution absorbs both later."""
    if any(node.wants(index) for index in range(1, 5)) or not all(node.is_constant(i) for i in range(1, 5)):
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
    """Groups become an axis of their own, normalised whole; then scale and offset per channel.

    Scale and offset have one entry a group in opset 18, one a channel since opset 21.
    """
    shape, groups = node.shape(0), node.integer("num_groups")
    if not (node.is_constant(1) and node.is_constant(2)):
        return None
    grouped, normalised, back, scaled = (node.inner(stem) for stem in ("grouped", "normalised", "back", "scaled"))
    size = math.prod(shape[1:]) // groups
    weight, bias = (_per_channel(node, index, shape) for index in (1, 2))
    return [
        Apply(Reshape((shape[0], groups, size)), node.inputs[:1], (grouped,)),
        Apply(LayerNorm(1, node.real("epsilon", 1e-5)), (grouped,), (normalised,)),
        Apply(Reshape(shape), (normalised,), (back,)),
        Apply(Mul(), (back, weight), (scaled,)),
        Apply(Add(), (scaled, bias)),
    ]


def _per_channel(node: SourceNode, index: int, shape: tuple[int, ...]) -> str:
    """A weight of one entry a channel or a group as [C, 1, ...]."""
    constant = node.constants[node.inputs[index]]
    repeats = shape[1] // constant.type.shape[0]
    kind = TensorType((shape[1], *(1,) * (len(shape) - 2)), constant.type.dtype)

    def compute(array: Array) -> Array:
        return np.repeat(array, repeats).reshape(kind.shape)

    return node.add_constant(f"{node.inputs[index]}/per_channel", derived(kind, compute, constant))


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
