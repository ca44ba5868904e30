"""LayerNorm and RMSNorm spelled out in reductions, and the scale and shift after them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.graph.draft import Draft
from engine.graph.graph import Constant, Node, TensorType
from engine.graph.lazy import derived
from engine.graph.patterns.matching import Match, recognises
from engine.ops import elementwise as ops
from engine.ops.base import Op
from engine.ops.reduce import LayerNorm, ReduceMean, RMSNorm

Array = NDArray[np.floating]


@dataclass(frozen=True)
class _Scaled:
    """numerator / sqrt(mean(square of ``squared``) + epsilon), over the last ``axes_count`` axes."""

    numerator: str
    squared: str
    axes_count: int
    epsilon: float
    members: tuple[Node, ...]


@recognises("LayerNorm recognised", ops.Div, ops.Mul)
def layer_norm(draft: Draft, root: Node) -> Match | None:
    """(x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + epsilon)."""
    for scaled in _scaled(draft, root):
        centred = _centred(draft, scaled.numerator, scaled.axes_count)
        again = _centred(draft, scaled.squared, scaled.axes_count)
        if centred is not None and again is not None and centred[0] == again[0]:
            members = (*scaled.members, *centred[1], *again[1])
            return Match(LayerNorm(scaled.axes_count, scaled.epsilon), (centred[0],), members)
    return None


@recognises("RMSNorm recognised", ops.Div, ops.Mul)
def rms_norm(draft: Draft, root: Node) -> Match | None:
    """x / sqrt(mean(x ** 2) + epsilon)."""
    for scaled in _scaled(draft, root):
        if scaled.numerator == scaled.squared:
            return Match(RMSNorm(scaled.axes_count, scaled.epsilon), (scaled.numerator,), scaled.members)
    return None


def _scaled(draft: Draft, root: Node) -> list[_Scaled]:
    """The readings of ``root`` as a division by a root of a mean square: one for Div, up to two for Mul."""
    numerator, divisor = root.inputs
    if isinstance(root.op, ops.Div):
        readings = [(numerator, square_root(draft, divisor))]
    else:
        readings = [(a, inverse_root(draft, b)) for a, b in (root.inputs, root.inputs[::-1])]
    found = [(a, _mean_square(draft, *under)) for a, under in readings if under is not None]
    return [
        _Scaled(a, squared, count, epsilon, members)
        for a, result in found
        if result is not None
        for squared, count, epsilon, members in [result]
    ]


def _made_by(draft: Draft, value: str, cls: type[Op]) -> Node | None:
    node = draft.producer(value)
    return node if node is not None and isinstance(node.op, cls) else None


def square_root(draft: Draft, value: str) -> tuple[str, tuple[Node, ...]] | None:
    """What ``value`` is the square root of."""
    node = draft.producer(value)
    if node is not None and (isinstance(node.op, ops.Sqrt) or node.op == ops.PowScalar(0.5)):
        return node.inputs[0], (node,)
    return None


def inverse_root(draft: Draft, value: str) -> tuple[str, tuple[Node, ...]] | None:
    """What ``value`` is one over the square root of."""
    node = draft.producer(value)
    if node is None:
        return None
    if node.op == ops.PowScalar(-0.5):
        return node.inputs[0], (node,)
    if isinstance(node.op, ops.Reciprocal) or node.op in (ops.DivInto(1.0), ops.PowScalar(-1.0)):
        under = square_root(draft, node.inputs[0])
        return None if under is None else (under[0], (node, *under[1]))
    return None


def _mean_square(draft: Draft, value: str, above: tuple[Node, ...]) -> tuple[str, int, float, tuple[Node, ...]] | None:
    """``value`` as mean(y ** 2) + epsilon: y, how many trailing axes the mean takes, epsilon, and the nodes."""
    plus = _made_by(draft, value, ops.Affine)
    if plus is None or not isinstance(plus.op, ops.Affine) or plus.op.multiplier != 1.0 or plus.op.offset < 0:
        return None
    mean = _trailing_mean(draft, plus.inputs[0])
    if mean is None:
        return None
    square = draft.producer(mean[0].inputs[0])
    if square is None:
        return None
    is_square = square.op == ops.PowScalar(2.0) or (
        isinstance(square.op, ops.Mul) and square.inputs[0] == square.inputs[1]
    )
    if not is_square:
        return None
    return square.inputs[0], mean[1], plus.op.offset, (*above, plus, mean[0], square)


def _trailing_mean(draft: Draft, value: str) -> tuple[Node, int] | None:
    """The mean that makes ``value``, if it runs over the last axes and keeps them; and how many they are."""
    node = _made_by(draft, value, ReduceMean)
    if node is None or not isinstance(node.op, ReduceMean) or not node.op.keepdims:
        return None
    rank = len(draft.types[node.inputs[0]].shape)
    count = len(node.op.axes)
    return (node, count) if count and node.op.axes == tuple(range(rank - count, rank)) else None


def _centred(draft: Draft, value: str, axes_count: int) -> tuple[str, tuple[Node, ...]] | None:
    """x, if ``value`` is x - mean(x) over the last ``axes_count`` axes."""
    difference = _made_by(draft, value, ops.Sub)
    if difference is None:
        return None
    mean = _trailing_mean(draft, difference.inputs[1])
    if mean is None or mean[1] != axes_count or mean[0].inputs[0] != difference.inputs[0]:
        return None
    return difference.inputs[0], (difference, mean[0])


@recognises("scale merged into the normalisation before it", ops.Mul)
def merged_scale(draft: Draft, root: Node) -> Match | None:
    """norm(x) * constant over the normalised axes; an existing weight and bias are scaled."""
    found = _norm_and_constant(draft, root)
    if found is None:
        return None
    norm, factor = found
    inputs = [norm.inputs[0]]
    for index, value in enumerate(norm.inputs[1:]):
        scaled = derived(factor.type, np.multiply, factor, draft.constants[value])
        inputs.append(draft.add_constant(f"{root.outputs[0]}/{('weight', 'bias')[index]}", scaled))
    if len(inputs) == 1:
        inputs.append(draft.add_constant(f"{root.outputs[0]}/weight", factor))
    return Match(norm.op, tuple(inputs), (norm,), keep=norm)


@recognises("shift merged into the LayerNorm before it", ops.Add)
def merged_shift(draft: Draft, root: Node) -> Match | None:
    """LayerNorm(x) + constant over the normalised axes; an existing bias is shifted."""
    found = _norm_and_constant(draft, root)
    if found is None or not isinstance(found[0].op, LayerNorm):
        return None
    norm, addend = found
    x, *parameters = norm.inputs
    if not parameters:
        parameters = [_ones(draft, root, addend.type)]
    for existing in parameters[1:]:
        addend = derived(addend.type, np.add, addend, draft.constants[existing])
    bias = draft.add_constant(f"{root.outputs[0]}/bias", addend)
    return Match(norm.op, (x, parameters[0], bias), (norm,), keep=norm)


def _ones(draft: Draft, root: Node, kind: TensorType) -> str:
    return draft.add_constant(f"{root.outputs[0]}/weight", Constant.of(np.ones(kind.shape, kind.dtype)))


def _norm_and_constant(draft: Draft, root: Node) -> tuple[Node, Constant] | None:
    """The normalisation that feeds ``root`` and root's other operand, a constant, in the normalised axes' shape."""
    for value, other in (root.inputs, root.inputs[::-1]):
        norm, constant = draft.producer(value), draft.constants.get(other)
        if norm is None or constant is None or not isinstance(norm.op, LayerNorm | RMSNorm):
            continue
        if not all(name in draft.constants for name in norm.inputs[1:]):
            continue
        shape = draft.types[value].shape
        normalised = shape[-norm.op.axes_count :]
        spread = _spread(constant, normalised, len(shape))
        if spread is not None:
            return norm, spread
    return None


def _spread(constant: Constant, shape: tuple[int, ...], rank: int) -> Constant | None:
    """The constant broadcast to ``shape``; None if it varies along other axes or adds axes."""
    given = constant.type.shape
    if given == shape:
        return constant
    leading, trailing = given[: max(0, len(given) - len(shape))], given[-len(shape) :]
    aligned = (1,) * (len(shape) - len(trailing)) + trailing
    fits = all(size in (1, wanted) for size, wanted in zip(aligned, shape, strict=True))
    if len(given) > rank or set(leading) - {1} or not fits:
        return None

    def compute(array: Array) -> Array:
        return np.broadcast_to(array.reshape(aligned), shape).copy()

    return derived(TensorType(shape, constant.type.dtype), compute, constant)
