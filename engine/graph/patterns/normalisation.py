"""LayerNorm and RMSNorm spelled out in reductions, and the scale and shift after them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

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
RootOf: TypeAlias = Callable[[Draft, str], tuple[str, tuple[Node, ...]] | None]
"""What a value is a root of, or one over the root of, and the nodes that compute it."""


@dataclass(frozen=True)
class _Deviation:
    """sqrt(mean(square of ``squared``) + epsilon) over the last ``axes_count`` axes."""

    squared: str
    axes_count: int
    epsilon: float
    members: tuple[Node, ...]


@dataclass(frozen=True)
class _Scaled:
    """numerator / deviation * weight; the weight a constant over the normalised axes, or absent."""

    numerator: str
    deviation: _Deviation
    weight: Constant | None
    members: tuple[Node, ...]

    def parameters(self, draft: Draft, root: Node) -> tuple[str, ...]:
        """The normalisation's inputs behind x."""
        if self.weight is None:
            return ()
        return (draft.add_constant(f"{root.outputs[0]}/weight", self.weight),)


@recognises("LayerNorm recognised", ops.Div, ops.Mul)
def layer_norm(draft: Draft, root: Node) -> Match | None:
    """(x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + epsilon) [* weight]."""
    for scaled in _scaled(draft, root):
        deviation = scaled.deviation
        centred = _centred(draft, scaled.numerator, deviation.axes_count)
        again = _centred(draft, deviation.squared, deviation.axes_count, either_sign=True)
        if centred is not None and again is not None and centred[0] == again[0]:
            members = (*scaled.members, *centred[1], *again[1])
            op = LayerNorm(deviation.axes_count, deviation.epsilon)
            return Match(op, (centred[0], *scaled.parameters(draft, root)), members)
    return None


@recognises("LayerNorm recognised", ops.Add)
def layer_norm_distributed(draft: Draft, root: Node) -> Match | None:
    """x * gain + (bias - mean(x) * gain) with gain = weight / deviation: TensorFlow's batch_normalization."""
    for product, rest in (root.inputs, root.inputs[::-1]):
        scaled, shift = _made_by(draft, product, ops.Mul), _made_by(draft, rest, ops.Sub)
        if scaled is None or shift is None or shift.inputs[0] not in draft.constants:
            continue
        taken = _made_by(draft, shift.inputs[1], ops.Mul)
        if taken is None:
            continue
        for (x, gain), (mean, other) in _operand_pairs(scaled, taken):
            found = None if gain != other else _distributed(draft, x, gain, mean)
            if found is None:
                continue
            deviation, weight, members = found
            shape = draft.types[x].shape
            normalised = shape[-deviation.axes_count :]
            bias = _spread(draft.constants[shift.inputs[0]], normalised, len(shape))
            if bias is None:
                continue
            weight = weight or Constant.of(np.ones(normalised, bias.type.dtype))
            parameters = {"weight": weight, "bias": bias}
            names = [draft.add_constant(f"{root.outputs[0]}/{part}", value) for part, value in parameters.items()]
            op = LayerNorm(deviation.axes_count, deviation.epsilon)
            return Match(op, (x, *names), (scaled, shift, taken, *members))
    return None


def _operand_pairs(a: Node, b: Node) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The operands of two products, in every order of each."""
    return itertools.product((a.inputs, a.inputs[::-1]), (b.inputs, b.inputs[::-1]))


def _distributed(
    draft: Draft, x: str, gain: str, mean: str
) -> tuple[_Deviation, Constant | None, tuple[Node, ...]] | None:
    """What ``gain`` divides by and multiplies with, if it normalises x around ``mean``; and the nodes."""
    found = _gain(draft, gain, len(draft.types[x].shape))
    if found is None:
        return None
    deviation, weight, members = found
    averaged = _trailing_mean(draft, mean)
    centred = _centred(draft, deviation.squared, deviation.axes_count, either_sign=True)
    if averaged is None or averaged[1] != deviation.axes_count or averaged[0].inputs[0] != x:
        return None
    if centred is None or centred[0] != x:
        return None
    return deviation, weight, (*members, averaged[0], *centred[1])


@recognises("RMSNorm recognised", ops.Div, ops.Mul)
def rms_norm(draft: Draft, root: Node) -> Match | None:
    """x / sqrt(mean(x ** 2) + epsilon) [* weight]."""
    for scaled in _scaled(draft, root):
        deviation = scaled.deviation
        if scaled.numerator == deviation.squared:
            inputs = (scaled.numerator, *scaled.parameters(draft, root))
            return Match(RMSNorm(deviation.axes_count, deviation.epsilon), inputs, scaled.members)
    return None


def _scaled(draft: Draft, root: Node) -> Iterator[_Scaled]:
    """The readings of ``root`` as a division by a root of a mean square: one for Div, up to two for Mul."""
    if isinstance(root.op, ops.Div):
        numerator, divisor = root.inputs
        deviation = _deviation(draft, square_root(draft, divisor))
        if deviation is not None:
            yield _Scaled(numerator, deviation, None, deviation.members)
            yield from _weighted(draft, numerator, deviation)
        return
    for numerator, factor in (root.inputs, root.inputs[::-1]):
        found = _gain(draft, factor, len(draft.types[root.outputs[0]].shape))
        if found is not None:
            yield _Scaled(numerator, *found)


def _weighted(draft: Draft, numerator: str, deviation: _Deviation) -> Iterator[_Scaled]:
    """The reading of a division whose numerator has the weight already."""
    product = _made_by(draft, numerator, ops.Mul)
    shape = draft.types[numerator].shape
    for value, other in () if product is None else (product.inputs, product.inputs[::-1]):
        constant = draft.constants.get(other)
        weight = None if constant is None else _spread(constant, shape[-deviation.axes_count :], len(shape))
        if product is not None and weight is not None:
            yield _Scaled(value, deviation, weight, (*deviation.members, product))


def _gain(draft: Draft, value: str, rank: int) -> tuple[_Deviation, Constant | None, tuple[Node, ...]] | None:
    """``value`` as weight / deviation: the deviation, the weight over the normalised axes if any, the nodes."""
    deviation = _deviation(draft, inverse_root(draft, value))
    if deviation is not None:
        return deviation, None, deviation.members
    product = _made_by(draft, value, ops.Mul)
    if product is None:
        return None
    for inverse, other in (product.inputs, product.inputs[::-1]):
        deviation, constant = _deviation(draft, inverse_root(draft, inverse)), draft.constants.get(other)
        if deviation is None or constant is None:
            continue
        weight = _spread(constant, draft.types[deviation.squared].shape[-deviation.axes_count :], rank)
        if weight is not None:
            return deviation, weight, (*deviation.members, product)
    return None


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


def _deviation(draft: Draft, under: tuple[str, tuple[Node, ...]] | None) -> _Deviation | None:
    """The deviation of which ``under`` is the square, a mean of squares plus epsilon, with the nodes above that."""
    if under is None:
        return None
    value, above = under
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
    return _Deviation(square.inputs[0], mean[1], plus.op.offset, (*above, plus, mean[0], square))


def _trailing_mean(draft: Draft, value: str) -> tuple[Node, int] | None:
    """The mean that makes ``value``, if it runs over the last axes and keeps them; and how many they are."""
    node = _made_by(draft, value, ReduceMean)
    if node is None or not isinstance(node.op, ReduceMean) or not node.op.keepdims:
        return None
    rank = len(draft.types[node.inputs[0]].shape)
    count = len(node.op.axes)
    return (node, count) if count and node.op.axes == tuple(range(rank - count, rank)) else None


def _centred(
    draft: Draft, value: str, axes_count: int, *, either_sign: bool = False
) -> tuple[str, tuple[Node, ...]] | None:
    """x, if ``value`` is x - mean(x) over the last ``axes_count`` axes, or its negative where that is as good."""
    difference = _made_by(draft, value, ops.Sub)
    if difference is None:
        return None
    for x, subtracted in (difference.inputs, difference.inputs[::-1])[: 2 if either_sign else 1]:
        mean = _trailing_mean(draft, subtracted)
        if mean is not None and mean[1] == axes_count and mean[0].inputs[0] == x:
            return x, (difference, mean[0])
    return None


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
