"""Arithmetic read as a polynomial, so that a formula is recognised however its terms are associated.

``0.5 * x * (1 + t)``, ``x * (0.5 * t + 0.5)`` and ``(x + x * t) / 2`` are all the polynomial {x: 0.5, x t: 0.5}.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from engine.graph.draft import Draft
from engine.graph.graph import Node
from engine.ops import elementwise as ops
from engine.ops.base import Behaviour, Op

Monomial: TypeAlias = str
"""The symbols of a product, sorted and with repetition: ``xxx`` is x cubed, the empty string is 1."""

Polynomial: TypeAlias = Mapping[Monomial, float]

_MAX_NODES = 16
_MAX_TERMS = 16
_MAX_POWER = 4
_RELATIVE_TOLERANCE = 2e-4
"""Wide enough for constants written with five digits or in half precision, as exporters do."""


def add(a: Polynomial, b: Polynomial) -> Polynomial:
    """a + b."""
    return {term: a.get(term, 0.0) + b.get(term, 0.0) for term in {**a, **b}}


def multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    """a * b."""
    product: dict[Monomial, float] = {}
    for left, x in a.items():
        for right, y in b.items():
            term = "".join(sorted(left + right))
            product[term] = product.get(term, 0.0) + x * y
    return product


def scale(a: Polynomial, factor: float) -> Polynomial:
    """a times a number."""
    return {term: value * factor for term, value in a.items()}


def same(a: Polynomial | None, b: Polynomial) -> bool:
    """Equal within the tolerance of written constants."""
    if a is None:
        return False
    largest = max(abs(value) for value in b.values())
    return all(
        math.isclose(a.get(term, 0.0), b.get(term, 0.0), rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-7 * largest)
        for term in {**a, **b}
    )


_EXPANDS: Behaviour[Callable[..., Polynomial | None]] = Behaviour("polynomial of an operator")


@_EXPANDS.register(ops.Affine)
def _affine(op: ops.Affine, x: Polynomial) -> Polynomial:
    return add(scale(x, op.multiplier), {"": op.offset} if op.offset else {})


@_EXPANDS.register(ops.Neg)
def _neg(op: ops.Neg, x: Polynomial) -> Polynomial:
    return scale(x, -1.0)


@_EXPANDS.register(ops.Add)
def _add(op: ops.Add, a: Polynomial, b: Polynomial) -> Polynomial:
    return add(a, b)


@_EXPANDS.register(ops.Sub)
def _sub(op: ops.Sub, a: Polynomial, b: Polynomial) -> Polynomial:
    return add(a, scale(b, -1.0))


@_EXPANDS.register(ops.Mul)
def _mul(op: ops.Mul, a: Polynomial, b: Polynomial) -> Polynomial:
    return multiply(a, b)


@_EXPANDS.register(ops.PowScalar)
def _power(op: ops.PowScalar, x: Polynomial) -> Polynomial | None:
    if not op.exponent.is_integer() or not 1 <= op.exponent <= _MAX_POWER:
        return None
    result = x
    for _ in range(int(op.exponent) - 1):
        result = multiply(result, x)
    return result


def is_arithmetic(op: Op) -> bool:
    """Can the operator be part of a polynomial?"""
    return _EXPANDS.find(op) is not None


@dataclass
class Expansion:
    """Expands values in terms of ``symbols`` (value name to one letter), collecting the nodes it passes through."""

    draft: Draft
    symbols: Mapping[str, str]
    members: list[Node] = field(default_factory=list[Node])

    def of(self, value: str) -> Polynomial | None:
        """The value as a polynomial; None where something other than arithmetic comes before the symbols."""
        if value in self.symbols:
            return {self.symbols[value]: 1.0}
        node = self.draft.producer(value)
        expands = None if node is None else _EXPANDS.find(node.op)
        if node is None or expands is None or len(self.members) >= _MAX_NODES:
            return None
        self.members.append(node)
        operands = [self.of(name) for name in node.inputs]
        if any(operand is None for operand in operands):
            return None
        result = expands(node.op, *operands)
        return result if result is not None and len(result) <= _MAX_TERMS else None


def arithmetic_cone(draft: Draft, value: str, depth: int) -> Iterator[str]:
    """The values that ``value`` is computed from by at most ``depth`` arithmetic steps, itself first, each once."""
    seen = {value}
    layer = [value]
    for _ in range(depth + 1):
        yield from layer
        below: list[str] = []
        for name in layer:
            node = draft.producer(name)
            if node is not None and is_arithmetic(node.op):
                below += [operand for operand in node.inputs if operand and operand not in seen]
                seen.update(node.inputs)
        layer = list(dict.fromkeys(below))
        if not layer:
            return
