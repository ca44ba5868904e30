"""LayerNorm spelled by the first two moments, along any one axis: (x - m) / sqrt(max(E[x^2] - m^2, 0) + epsilon).

Flax spells it so. In integers it must not stay so: the difference of two moments cancels what it is about.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.graph.draft import Draft
from engine.graph.graph import Node, TensorType
from engine.graph.lazy import derived
from engine.graph.patterns.matching import Match, Step, recognises
from engine.graph.patterns.normalisation import RootOf, inverse_root, square_root
from engine.ops import elementwise as ops
from engine.ops.layout import Reshape, Transpose
from engine.ops.reduce import LayerNorm, ReduceMean, ReduceSum

Array = NDArray[np.floating]


@dataclass
class _Walk:
    """A walk against the edges that collects the nodes it passes."""

    draft: Draft
    members: list[Node] = field(default_factory=list[Node])

    def producer(self, value: str) -> Node | None:
        """The node that makes ``value``, reshapes aside: they keep the order of elements."""
        node = self.draft.producer(value)
        while node is not None and isinstance(node.op, Reshape):
            self.members.append(node)
            node = self.draft.producer(node.inputs[0])
        if node is not None:
            self.members.append(node)
        return node

    def mean(self, value: str) -> tuple[str, int] | None:
        """What ``value`` is the mean of, and along which axis; written as a mean, or as a sum over its count."""
        node = self.producer(value)
        scale = 1.0
        if node is not None and isinstance(node.op, ops.Affine) and node.op.offset == 0.0:
            scale = node.op.multiplier
            node = self.producer(node.inputs[0])
        if node is None or not isinstance(node.op, ReduceMean | ReduceSum) or len(node.op.axes) != 1:
            return None
        (axis,) = node.op.axes
        count = self.draft.types[node.inputs[0]].shape[axis] if isinstance(node.op, ReduceSum) else 1
        return (node.inputs[0], axis) if np.isclose(scale * count, 1.0, rtol=1e-6) else None

    def squared(self, value: str) -> str | None:
        """What ``value`` is the square of."""
        node = self.producer(value)
        if node is None:
            return None
        is_square = isinstance(node.op, ops.Mul) and node.inputs[0] == node.inputs[1]
        return node.inputs[0] if is_square or node.op == ops.PowScalar(2.0) else None


@recognises("LayerNorm by moments recognised", ops.Mul, ops.Div)
def layer_norm_by_moments(draft: Draft, root: Node) -> Match | None:
    """(x - mean) * (rsqrt(max(mean of squares - mean ** 2, 0) + epsilon) [* weight]), or a division by the root."""
    if isinstance(root.op, ops.Div):
        centred, deviation = root.inputs
        return _normalised(draft, centred, deviation, square_root)
    for centred, gain in (root.inputs, root.inputs[::-1]):
        found = _normalised(draft, centred, gain, inverse_root)
        if found is not None:
            return found
    return None


def _normalised(draft: Draft, centred: str, gain: str, root_of: RootOf) -> Match | None:
    walk = _Walk(draft)
    difference = draft.producer(centred)
    if difference is None or not isinstance(difference.op, ops.Sub):
        return None
    x, mean = difference.inputs
    first = walk.mean(mean)
    inverse, weight = _gain(draft, gain, walk)
    root = root_of(draft, inverse)
    if first is None or first[0] != x or root is None:
        return None
    epsilon = _variance_of(walk, root[0], first)
    axis, shape = first[1], draft.types[x].shape
    kept = tuple(1 if index == axis else size for index, size in enumerate(shape))
    # Reshapes were passed over: what counts is that mean and variance stand where they are broadcast from.
    if epsilon is None or draft.types[mean].shape != kept or draft.types[inverse].shape != kept:
        return None
    inputs = [x]
    if weight is not None:
        name = _weight_along(draft, weight, axis, shape)
        if name is None:
            return None
        inputs.append(name)
    members = (difference, *walk.members, *root[1])
    if axis == len(shape) - 1:
        return Match(LayerNorm(1, epsilon), tuple(inputs), members)
    last = (*(index for index in range(len(shape)) if index != axis), axis)
    turned, back = Transpose(last), Transpose(tuple(map(last.index, range(len(shape)))))
    return Match(LayerNorm(1, epsilon), tuple(inputs), members, before=(turned,), after=(Step(back),))


def _gain(draft: Draft, value: str, walk: _Walk) -> tuple[str, str | None]:
    """The factor that depends on x, and the constant one beside it if there is one."""
    node = draft.producer(value)
    if node is not None and isinstance(node.op, ops.Mul):
        for inverse, weight in (node.inputs, node.inputs[::-1]):
            if weight in draft.constants:
                walk.members.append(node)
                return inverse, weight
    return value, None


def _variance_of(walk: _Walk, value: str, first: tuple[str, int]) -> float | None:
    """Epsilon, if ``value`` is the variance beside the mean ``first`` (of what, along which axis) plus epsilon."""
    plus = walk.producer(value)
    if plus is None or not isinstance(plus.op, ops.Affine) or plus.op.multiplier != 1.0 or plus.op.offset < 0.0:
        return None
    epsilon = plus.op.offset
    node = walk.producer(plus.inputs[0])
    if node is not None and isinstance(node.op, ops.Relu):
        node = walk.producer(node.inputs[0])
    if node is None or not isinstance(node.op, ops.Sub):
        return None
    second, mean = walk.mean(node.inputs[0]), walk.squared(node.inputs[1])
    if second is None or mean is None or second[1] != first[1]:
        return None
    same = walk.squared(second[0]) == first[0] and walk.mean(mean) == first
    return epsilon if same else None


def _weight_along(draft: Draft, value: str, axis: int, shape: tuple[int, ...]) -> str | None:
    """The constant as a vector along ``axis``; None if it varies along others."""
    constant = draft.constants[value]
    given = (1,) * (len(shape) - len(constant.type.shape)) + constant.type.shape
    if given != tuple(size if index == axis else 1 for index, size in enumerate(shape)):
        return None

    def flat(array: Array) -> Array:
        return array.reshape(-1)

    kind = TensorType((shape[axis],), constant.type.dtype)
    return draft.add_constant(f"{value}/weight", derived(kind, flat, constant))
