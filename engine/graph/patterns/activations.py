"""Activation functions spelled out in arithmetic: GELU, SiLU, HardSwish, HardSigmoid, Mish."""

from __future__ import annotations

import math
from collections.abc import Iterator

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.graph.patterns.matching import Match, recognises
from engine.graph.patterns.polynomial import Expansion, Polynomial, arithmetic_cone, same
from engine.ops import elementwise as ops
from engine.ops.base import Op

_OUTER_STEPS = 3
"""Arithmetic steps after the inner function: two products and a sum."""
_INNER_STEPS = 5
"""Arithmetic steps before it: the cubic inside tanh-GELU takes up to five."""

_HALF_GATE: Polynomial = {"x": 0.5, "tx": 0.5}
_ERF_ARGUMENT: Polynomial = {"x": math.sqrt(0.5)}
_TANH_ARGUMENT: Polynomial = {"x": math.sqrt(2 / math.pi), "xxx": math.sqrt(2 / math.pi) * 0.044715}


@recognises("GELU (erf) recognised", ops.Mul, ops.Affine, ops.Add)
def gelu_erf(draft: Draft, root: Node) -> Match | None:
    """x * (1 + erf(x / sqrt 2)) / 2."""
    return _gated(draft, root, ops.Erf, _ERF_ARGUMENT, _HALF_GATE, ops.Gelu())


@recognises("GELU (tanh) recognised", ops.Mul, ops.Affine, ops.Add)
def gelu_tanh(draft: Draft, root: Node) -> Match | None:
    """x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3))) / 2."""
    return _gated(draft, root, ops.Tanh, _TANH_ARGUMENT, _HALF_GATE, ops.Gelu(approximate=True))


@recognises("SiLU recognised", ops.Mul)
def silu(draft: Draft, root: Node) -> Match | None:
    """x * sigmoid(x)."""
    return _gated(draft, root, ops.Sigmoid, {"x": 1.0}, {"tx": 1.0}, ops.Silu())


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
