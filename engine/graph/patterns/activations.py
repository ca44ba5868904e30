"""Activation functions spelled out in arithmetic: GELU, SiLU, HardSwish, Mish, and what these are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, recognises
from engine.graph.patterns.polynomial import Expansion, Polynomial, arithmetic_cone, same, scale
from engine.ops import elementwise as ops
from engine.ops.base import Op

_OUTER_STEPS = 3
"""Arithmetic steps after the inner function: two products and a sum."""
_INNER_STEPS = 5
"""Arithmetic steps before it: the cubic inside tanh-GELU takes up to five."""

_PLUS_ONE = ops.Affine(1.0, 1.0, "Add")

_HALF_GATE: Polynomial = {"x": 0.5, "tx": 0.5}
_ERF_ARGUMENT: Polynomial = {"x": math.sqrt(0.5)}
_TANH_ARGUMENT: Polynomial = {"x": math.sqrt(2 / math.pi), "xxx": math.sqrt(2 / math.pi) * 0.044715}
_TURNED_GATE: Polynomial = {"x": 0.5, "tx": -0.5}
"""The gate of an odd function of the argument's negative."""


@recognises("GELU (erf) recognised", ops.Mul, ops.Affine, ops.Add, ops.Sub)
def gelu_erf(draft: Draft, root: Node) -> Match | None:
    """x * (1 + erf(x / sqrt 2)) / 2, or x * (1 - erf(-x / sqrt 2)) / 2."""
    return _gated(draft, root, ops.Erf, _ERF_ARGUMENT, _HALF_GATE, ops.Gelu()) or _gated(
        draft, root, ops.Erf, scale(_ERF_ARGUMENT, -1.0), _TURNED_GATE, ops.Gelu()
    )


@recognises("GELU (tanh) recognised", ops.Mul, ops.Affine, ops.Add)
def gelu_tanh(draft: Draft, root: Node) -> Match | None:
    """x * (1 + tanh(u)) / 2 of u = sqrt(2 / pi) * (x + 0.044715 * x ** 3), or the same as x * sigmoid(2 * u)."""
    op = ops.Gelu(approximate=True)
    return _gated(draft, root, ops.Tanh, _TANH_ARGUMENT, _HALF_GATE, op) or _gated(
        draft, root, ops.Sigmoid, scale(_TANH_ARGUMENT, 2.0), {"tx": 1.0}, op
    )


@recognises("SiLU recognised", ops.Mul)
def silu(draft: Draft, root: Node) -> Match | None:
    """x * sigmoid(alpha * x); alpha is 1.702 in CLIP's "quick GELU"."""
    for inner in _inner(draft, root, ops.Sigmoid):
        for x in arithmetic_cone(draft, inner.inputs[0], 1):
            before = Expansion(draft, {x: "x"})
            argument = before.of(inner.inputs[0]) or {}
            after = Expansion(draft, {x: "x", inner.outputs[0]: "t"})
            if set(argument) == {"x"} and argument["x"] > 0.0 and same(after.of(root.outputs[0]), {"tx": 1.0}):
                return Match(ops.Silu(argument["x"]), (x,), (*before.members, inner, *_without(after.members, root)))
    return None


@recognises("SiLU recognised", ops.Div)
def silu_by_exponential(draft: Draft, root: Node) -> Match | None:
    """x / (1 + exp(-x))."""
    x, divisor = root.inputs
    found = _one_plus_exponential(draft, divisor)
    if found is None or found[1] != {"x": -1.0} or found[0] != x:
        return None
    return Match(ops.Silu(), (x,), found[2])


@recognises("sigmoid recognised", ops.DivInto, ops.Reciprocal, ops.PowScalar)
def sigmoid(draft: Draft, root: Node) -> Match | None:
    """1 / (1 + exp(-x))."""
    if not is_reciprocal(root):
        return None
    found = _one_plus_exponential(draft, root.inputs[0])
    return None if found is None or found[1] != {"x": -1.0} else Match(ops.Sigmoid(), (found[0],), found[2])


@recognises("sigmoid recognised", ops.Affine)
def sigmoid_by_tanh(draft: Draft, root: Node) -> Match | None:
    """(1 + tanh(x / 2)) / 2."""
    for inner in _inner(draft, root, ops.Tanh):
        found = _around(draft, root, inner, {"x": 0.5}, {"t": 0.5, "": 0.5}, ops.Sigmoid())
        if found is not None:
            return found
    return None


@recognises("softplus recognised", ops.Log)
def softplus(draft: Draft, root: Node) -> Match | None:
    """log(1 + exp(x))."""
    found = _one_plus_exponential(draft, root.inputs[0])
    return None if found is None or found[1] != {"x": 1.0} else Match(ops.Softplus(), (found[0],), found[2])


def is_reciprocal(node: Node) -> bool:
    """Does the node compute 1 / x?"""
    return isinstance(node.op, ops.Reciprocal) or node.op in (ops.DivInto(1.0), ops.PowScalar(-1.0))


def _one_plus_exponential(draft: Draft, value: str) -> tuple[str, Polynomial, tuple[Node, ...]] | None:
    """x, what it is multiplied by, and the nodes, if ``value`` is 1 + exp(x) or 1 + exp(-x)."""
    plus = draft.producer(value)
    exp = None if plus is None or plus.op != _PLUS_ONE else draft.producer(plus.inputs[0])
    if plus is None or exp is None or not isinstance(exp.op, ops.Exp):
        return None
    negated = draft.producer(exp.inputs[0])
    if negated is not None and (isinstance(negated.op, ops.Neg) or _is_scaled(negated, -1.0)):
        return negated.inputs[0], {"x": -1.0}, (plus, exp, negated)
    return exp.inputs[0], {"x": 1.0}, (plus, exp)


def _is_scaled(node: Node, factor: float) -> bool:
    return isinstance(node.op, ops.Affine) and (node.op.multiplier, node.op.offset) == (factor, 0.0)


@recognises("HardSwish recognised", ops.Mul, ops.Affine)
def hard_swish(draft: Draft, root: Node) -> Match | None:
    """x * clip(x + 3, 0, 6) / 6, or x times the HardSigmoid that is its gate."""
    for inner in _inner(draft, root, ops.Clip):
        if inner.op == ops.Clip(0.0, 6.0):
            return _around(draft, root, inner, {"x": 1.0, "": 3.0}, {"tx": 1 / 6}, ops.HardSwish())
    for inner in _inner(draft, root, ops.HardSigmoid):
        gate = inner.op
        assert isinstance(gate, ops.HardSigmoid)
        if math.isclose(gate.alpha, 1 / 6, rel_tol=1e-4) and gate.beta == 0.5:
            return _around(draft, root, inner, {"x": 1.0}, {"tx": 1.0}, ops.HardSwish())
    return None


@recognises("HardSigmoid recognised", ops.Affine)
def hard_sigmoid(draft: Draft, root: Node) -> Match | None:
    """clip(x + 3, 0, 6) / 6."""
    for inner in _inner(draft, root, ops.Clip):
        if inner.op == ops.Clip(0.0, 6.0):
            return _around(draft, root, inner, {"x": 1.0, "": 3.0}, {"t": 1 / 6}, ops.HardSigmoid(1 / 6, 0.5))
    return None


@recognises("HardSigmoid recognised", ops.Clip)
def hard_sigmoid_of_one(draft: Draft, root: Node) -> Match | None:
    """clip(x / 6 + 1 / 2, 0, 1), or Keras' clip(0.2 * x + 1 / 2, 0, 1)."""
    if root.op != ops.Clip(0.0, 1.0):
        return None
    for slope, x in product((1 / 6, 0.2), arithmetic_cone(draft, root.inputs[0], 2)):
        before = Expansion(draft, {x: "x"})
        if same(before.of(root.inputs[0]), {"x": slope, "": 0.5}):
            return Match(ops.HardSigmoid(slope, 0.5), (x,), tuple(before.members))
    return None


@recognises("clamps merged", ops.Clip, ops.Relu)
def merged_clamps(draft: Draft, root: Node) -> Match | None:
    """min(max(x, 0), 6) and the like."""
    first = draft.producer(root.inputs[0])
    inner, outer = None if first is None else _bounds(first.op), _bounds(root.op)
    if first is None or inner is None or outer is None:
        return None
    low, high = max(inner[0], outer[0]), min(inner[1], outer[1])
    if low > high:
        return None
    op = ops.Relu() if (low, high) == (0.0, math.inf) else ops.Clip(low, high)
    return Match(op, first.inputs, (first,), keep=root)


def _bounds(op: Op) -> tuple[float, float] | None:
    if isinstance(op, ops.Clip):
        return op.low, op.high
    return (0.0, math.inf) if isinstance(op, ops.Relu) else None


@recognises("LeakyReLU recognised", ops.Maximum)
def leaky_relu(draft: Draft, root: Node) -> Match | None:
    """max(x, alpha * x) with alpha between 0 and 1."""
    for x, scaled in (root.inputs, root.inputs[::-1]):
        node = draft.producer(scaled)
        if node is None or not isinstance(node.op, ops.Affine) or node.inputs[0] != x:
            continue
        if node.op.offset == 0.0 and 0.0 < node.op.multiplier < 1.0:
            return Match(ops.LeakyRelu(node.op.multiplier), (x,), (node,))
    return None


@recognises("Mish recognised", ops.Mul)
def mish(draft: Draft, root: Node) -> Match | None:
    """x * tanh(softplus(x))."""
    for tanh in _inner(draft, root, ops.Tanh):
        softplus = draft.producer(tanh.inputs[0])
        if softplus is None or not isinstance(softplus.op, ops.Softplus):
            continue
        outer = Expansion(draft, {softplus.inputs[0]: "x", tanh.outputs[0]: "t"})
        if same(outer.of(root.outputs[0]), {"tx": 1.0}):
            return Match(ops.Mish(), softplus.inputs, (softplus, tanh, *_without(outer.members, root)))
    return None


def _gated(
    draft: Draft, root: Node, function: type[Op], argument: Polynomial, result: Polynomial, op: Op
) -> Match | None:
    """A match for ``result`` in x and t, where t is ``function`` of ``argument`` in x."""
    for inner in _inner(draft, root, function):
        match = _around(draft, root, inner, argument, result, op)
        if match is not None:
            return match
    return None


def _inner(draft: Draft, root: Node, function: type[Op]) -> Iterator[Node]:
    """Nodes of class ``function`` that feed the arithmetic that ends in ``root``."""
    for value in arithmetic_cone(draft, root.outputs[0], _OUTER_STEPS):
        node = draft.producer(value)
        if node is not None and isinstance(node.op, function):
            yield node


def _around(draft: Draft, root: Node, inner: Node, argument: Polynomial, result: Polynomial, op: Op) -> Match | None:
    """Try every value that ``inner``'s argument is computed from as the x of the formula."""
    for x in arithmetic_cone(draft, inner.inputs[0], _INNER_STEPS):
        before = Expansion(draft, {x: "x"})
        if not same(before.of(inner.inputs[0]), argument):
            continue
        after = Expansion(draft, {x: "x", inner.outputs[0]: "t"})
        if same(after.of(root.outputs[0]), result):
            return Match(op, (x,), (*before.members, inner, *_without(after.members, root)))
    return None


def _without(members: list[Node], root: Node) -> list[Node]:
    return [node for node in members if node.id != root.id]
