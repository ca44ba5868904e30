"""Constants absorbed by convolutions and fully connected layers: biases, scales (batch normalisation), padding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.graph.draft import Draft
from engine.graph.graph import Constant, Node, TensorType
from engine.graph.lazy import derived
from engine.graph.patterns.matching import Match, Step, recognises
from engine.ops.base import Behaviour, Op
from engine.ops.elementwise import Add, Mul
from engine.ops.layout import Pad, Reshape
from engine.ops.linear import Conv, ConvTranspose, Linear

Array = NDArray[np.floating]
ScaledWeight = Callable[..., Constant]
"""``(op, weight, scale per output channel) -> scaled weight``."""

_CHANNELS: Behaviour[Callable[..., int]] = Behaviour("channels of a weight's output")
_AXIS: Behaviour[Callable[[int], int]] = Behaviour("channel axis of the output of a given rank")
_SCALED: Behaviour[ScaledWeight] = Behaviour("weight times a scale per output channel")


@_AXIS.register(Conv, ConvTranspose)
def _second_axis(rank: int) -> int:
    return 1


@_AXIS.register(Linear)
def _last_axis(rank: int) -> int:
    return rank - 1


@_CHANNELS.register(Conv, Linear)
def _rows(op: Op, weight: tuple[int, ...]) -> int:
    return weight[0]


@_CHANNELS.register(ConvTranspose)
def _columns_of_groups(op: ConvTranspose, weight: tuple[int, ...]) -> int:
    return weight[1] * op.groups


@_SCALED.register(Conv, Linear)
def _rows_scaled(op: Op, weight: Constant, scale: Constant) -> Constant:
    def compute(w: Array, s: Array) -> Array:
        return w * s.reshape(-1, *(1,) * (w.ndim - 1))

    return derived(weight.type, compute, weight, scale)


@_SCALED.register(ConvTranspose)
def _columns_scaled(op: ConvTranspose, weight: Constant, scale: Constant) -> Constant:
    def compute(w: Array, s: Array) -> Array:
        grouped = w.reshape(op.groups, -1, *w.shape[1:])
        return (grouped * s.reshape(op.groups, 1, -1, *(1,) * (w.ndim - 2))).reshape(w.shape)

    return derived(weight.type, compute, weight, scale)


@dataclass(frozen=True)
class _Found:
    """A layer, the constant that its result meets, and a reshape between them that leaves the channels alone."""

    layer: Node
    constant: Constant
    channels: int
    reshape: Node | None

    def match(self, inputs: tuple[str, ...]) -> Match:
        """The layer with other inputs, the reshape behind it."""
        if self.reshape is None:
            return Match(self.layer.op, inputs, (self.layer,), keep=self.layer)
        behind = (Step(self.reshape.op, self.reshape),)
        return Match(self.layer.op, inputs, (self.layer, self.reshape), keep=self.layer, after=behind)


@recognises("bias merged into the layer before it", Add)
def merged_bias(draft: Draft, root: Node) -> Match | None:
    """layer(x) + constant per output channel."""
    found = _layer_and_constant(draft, root)
    if found is None:
        return None
    layer, bias = found.layer, flat(found.constant, found.channels)
    if len(layer.inputs) > 2:
        bias = derived(bias.type, np.add, draft.constants[layer.inputs[2]], bias)
    name = draft.add_constant(f"{layer.outputs[0]}/bias", bias)
    return found.match((*layer.inputs[:2], name))


@recognises("scale merged into the weights before it", Mul)
def merged_scale(draft: Draft, root: Node) -> Match | None:
    """layer(x) * constant per output channel: batch normalisation, layer scale."""
    found = _layer_and_constant(draft, root)
    if found is None or found.layer.inputs[1] not in draft.constants:
        return None
    layer, scale = found.layer, flat(found.constant, found.channels)
    scaled = _SCALED.find(layer.op)
    assert scaled is not None  # every class in _AXIS has an entry
    weight = draft.add_constant(f"{layer.outputs[0]}/weight", scaled(layer.op, draft.constants[layer.inputs[1]], scale))
    inputs = [layer.inputs[0], weight]
    if len(layer.inputs) > 2:
        bias = derived(scale.type, np.multiply, draft.constants[layer.inputs[2]], scale)
        inputs.append(draft.add_constant(f"{layer.outputs[0]}/bias", bias))
    return found.match(tuple(inputs))


def _layer_and_constant(draft: Draft, root: Node) -> _Found | None:
    """The layer that feeds ``root``, and the constant that is root's other operand."""
    for value, other in (root.inputs, root.inputs[::-1]):
        layer, constant = draft.producer(value), draft.constants.get(other)
        if layer is None or constant is None:
            continue
        reshape = layer if isinstance(layer.op, Reshape) else None
        layer = layer if reshape is None else draft.producer(reshape.inputs[0])
        if layer is None:
            continue
        axis, channels = _AXIS.find(layer.op), _CHANNELS.find(layer.op)
        if axis is None or channels is None:
            continue
        if any(name not in draft.constants for name in layer.inputs[2:]):
            continue
        count = channels(layer.op, draft.types[layer.inputs[1]].shape)
        shape, made = draft.types[value].shape, draft.types[layer.outputs[0]].shape
        if reshape is not None and not _same_channels(made, axis(len(made)), shape, axis(len(shape))):
            continue
        if is_per_channel(constant.type.shape, len(shape), axis(len(shape)), count):
            return _Found(layer, constant, count, reshape)
    return None


def _same_channels(before: tuple[int, ...], axis: int, after: tuple[int, ...], other: int) -> bool:
    """Does a reshape leave the channels what they are? ``axis`` and ``other`` are theirs before it and after it."""
    if not 0 <= other < len(after) or before[axis] != after[other]:
        return False
    return math.prod(before[:axis]) == math.prod(after[:other])


def is_per_channel(shape: tuple[int, ...], rank: int, axis: int, channels: int) -> bool:
    """Does a constant of this shape, broadcast to ``rank``, vary along the channel axis alone?"""
    if len(shape) > rank:
        return False
    aligned = (1,) * (rank - len(shape)) + shape
    return all(size == 1 or (at == axis and size == channels) for at, size in enumerate(aligned))


def flat(constant: Constant, channels: int) -> Constant:
    """The constant as [channels]."""
    kind = TensorType((channels,), constant.type.dtype)
    if constant.type == kind:
        return constant

    def compute(array: Array) -> Array:
        return np.broadcast_to(array.reshape(-1), (channels,)).copy()

    return derived(kind, compute, constant)


@recognises("padding merged into the convolution after it", Conv)
def merged_padding(draft: Draft, root: Node) -> Match | None:
    """Conv(Pad(x)) with zeros along spatial axes."""
    pad = draft.producer(root.inputs[0])
    op = root.op
    assert isinstance(op, Conv)
    if pad is None or not isinstance(pad.op, Pad) or pad.op.mode != "constant" or pad.op.value != 0.0:
        return None
    rank = len(pad.op.pads) // 2
    begins, ends = pad.op.pads[:rank], pad.op.pads[rank:]
    if any((*begins[:2], *ends[:2])):
        return None
    total = tuple(a + b for a, b in zip(op.pads, (*begins[2:], *ends[2:]), strict=True))
    return Match(replace(op, pads=total), (pad.inputs[0], *root.inputs[1:]), (pad,), keep=root)
