"""Normalisation of channels and groups spelled in several nodes, and scale and offset per channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.graph.draft import Draft
from engine.graph.graph import Constant, Node, TensorType
from engine.graph.lazy import derived
from engine.graph.patterns.constants import flat, is_per_channel
from engine.graph.patterns.matching import Match, recognises
from engine.ops.elementwise import Add, Mul
from engine.ops.layout import Reshape
from engine.ops.reduce import BatchNorm, GroupNorm, InstanceNorm, LayerNorm

Array = NDArray[np.floating]


@recognises("group norm recognised", Reshape)
def group_norm(draft: Draft, root: Node) -> Match | None:
    """reshape(norm(reshape(x))) of [N, C, ...] as [N, G, ...], each group normalised whole, and back."""
    norm = draft.producer(root.inputs[0])
    if norm is None or not isinstance(norm.op, InstanceNorm | LayerNorm):
        return None
    apart = draft.producer(norm.inputs[0])
    if apart is None or not isinstance(apart.op, Reshape):
        return None
    x = apart.inputs[0]
    shape, grouped = draft.types[x].shape, draft.types[norm.inputs[0]].shape
    normalised = len(grouped) - 2 if isinstance(norm.op, InstanceNorm) else norm.op.axes_count
    if len(shape) < 3 or draft.types[root.outputs[0]].shape != shape or len(grouped) - normalised != 2:
        return None
    if shape[0] != grouped[0] or shape[1] % grouped[1]:
        return None
    parameters = _of_channels(draft, norm, shape[1])
    if parameters is None:
        return None
    inputs = (x, *(draft.add_constant(f"{root.outputs[0]}/{part}", item) for part, item in parameters.items()))
    return Match(GroupNorm(grouped[1], norm.op.epsilon), inputs, (apart, norm))


def _of_channels(draft: Draft, norm: Node, channels: int) -> dict[str, Constant] | None:
    """Weight and bias [C] of a norm without any, or of an instance norm of groups; None for others."""
    if len(norm.inputs) == 1:
        return _neutral(channels, draft.types[norm.inputs[0]].dtype)
    if not isinstance(norm.op, InstanceNorm) or not all(name in draft.constants for name in norm.inputs[1:]):
        return None
    given = [draft.constants[name] for name in norm.inputs[1:]]
    repeats = channels // given[0].type.element_count
    kind = TensorType((channels,), given[0].type.dtype)

    def compute(array: Array) -> Array:
        return np.repeat(array, repeats)

    weight, bias = (derived(kind, compute, constant) for constant in given)
    return {"weight": weight, "bias": bias}


def _neutral(channels: int, dtype: str) -> dict[str, Constant]:
    return {"weight": Constant.of(np.ones(channels, dtype)), "bias": Constant.of(np.zeros(channels, dtype))}


@recognises("scale merged into the normalisation of channels before it", Mul)
def merged_scale(draft: Draft, root: Node) -> Match | None:
    """norm(x) * constant per channel."""
    found = _norm_and_constant(draft, root)
    if found is None:
        return None
    norm, parameters, factor = found
    inputs = [norm.inputs[0]]
    for part, constant in parameters.items():
        scaled = derived(factor.type, np.multiply, constant, factor)
        inputs.append(draft.add_constant(f"{root.outputs[0]}/{part}", scaled))
    return Match(_by_channel(norm), tuple(inputs), (norm,), keep=norm)


@recognises("shift merged into the normalisation of channels before it", Add)
def merged_shift(draft: Draft, root: Node) -> Match | None:
    """norm(x) + constant per channel."""
    found = _norm_and_constant(draft, root)
    if found is None:
        return None
    norm, parameters, addend = found
    bias = derived(addend.type, np.add, parameters["bias"], addend)
    names = [
        draft.add_constant(f"{root.outputs[0]}/{part}", constant)
        for part, constant in (parameters | {"bias": bias}).items()
    ]
    return Match(_by_channel(norm), (norm.inputs[0], *names), (norm,), keep=norm)


def _by_channel(norm: Node) -> GroupNorm | InstanceNorm:
    """The norm as one with weight and bias per channel: a bare LayerNorm over space is an instance norm."""
    if isinstance(norm.op, LayerNorm):
        return InstanceNorm(norm.op.epsilon)
    assert isinstance(norm.op, GroupNorm | InstanceNorm)
    return norm.op


def _norm_and_constant(draft: Draft, root: Node) -> tuple[Node, dict[str, Constant], Constant] | None:
    """The norm before ``root`` with its weight and bias [C], and root's other operand, a constant, as [C]."""
    for value, other in (root.inputs, root.inputs[::-1]):
        norm, constant = draft.producer(value), draft.constants.get(other)
        if norm is None or constant is None:
            continue
        shape = draft.types[value].shape
        parameters = _parameters(draft, norm, shape)
        if parameters is not None and is_per_channel(constant.type.shape, len(shape), 1, shape[1]):
            return norm, parameters, flat(constant, shape[1])
    return None


def _parameters(draft: Draft, norm: Node, shape: tuple[int, ...]) -> dict[str, Constant] | None:
    if isinstance(norm.op, LayerNorm):
        bare = len(norm.inputs) == 1 and norm.op.axes_count == len(shape) - 2
        return _neutral(shape[1], draft.types[norm.inputs[0]].dtype) if bare else None
    known = all(name in draft.constants for name in norm.inputs[1:])
    if not known or not isinstance(norm.op, GroupNorm | InstanceNorm):
        return None
    return dict(zip(("weight", "bias"), (draft.constants[name] for name in norm.inputs[1:]), strict=True))


@recognises("scale and offset per channel are one", Add)
def batch_norm(draft: Draft, root: Node) -> Match | None:
    """x * constant + constant per channel, which no layer before it has absorbed."""
    for value, other in (root.inputs, root.inputs[::-1]):
        scaled, offset = draft.producer(value), draft.constants.get(other)
        if scaled is None or offset is None or not isinstance(scaled.op, Mul):
            continue
        for x, factor in (scaled.inputs, scaled.inputs[::-1]):
            shape, scale = draft.types[x].shape, draft.constants.get(factor)
            if scale is None or x in draft.constants or len(shape) < 2 or not draft.types[x].is_float:
                continue
            if all(is_per_channel(item.type.shape, len(shape), 1, shape[1]) for item in (scale, offset)):
                parts = {"scale": scale, "offset": offset}
                names = [
                    draft.add_constant(f"{root.outputs[0]}/{part}", flat(item, shape[1]))
                    for part, item in parts.items()
                ]
                return Match(BatchNorm(), (x, *names), (scaled,))
    return None
