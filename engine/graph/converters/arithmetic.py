"""Binary arithmetic, with scalar constants turned into functions of one tensor; selection."""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.graph.type_rules import broadcast
from engine.ops import elementwise as ops
from engine.ops.layout import Expand, Identity

ScalarForm = Callable[[float], ops.Unary | None]


def _arithmetic(op_type: str, cls: type[ops.Binary], right: ScalarForm, left: ScalarForm) -> None:
    """Register an operator of two tensors; ``right`` and ``left`` make its form with a constant on that side."""

    @converts(op_type)
    def _convert(node: SourceNode) -> Converted:  # pyright: ignore[reportUnusedFunction]
        for index, form in ((1, right), (0, left)):
            value = _scalar_beside(node, index)
            unary = None if value is None else form(value)
            if unary is not None:
                return [Apply(_simplest(unary), (node.inputs[1 - index],))]
        return [Apply(cls(), node.inputs)]


def _scalar_beside(node: SourceNode, index: int) -> float | None:
    """The scalar constant at ``index``, if the other operand is a float tensor that sets the result's shape."""
    other = 1 - index
    if node.is_constant(other) or not node.type(other).is_float:
        return None
    if len(node.shape(index)) > len(node.shape(other)):
        return None
    return node.scalar(index)


_UNCHANGING = (ops.PowScalar(1.0), ops.Clip(-math.inf, math.inf))


def _simplest(op: ops.Unary) -> ops.Unary | Identity:
    unchanged = isinstance(op, ops.Affine) and (op.multiplier, op.offset) == (1.0, 0.0)
    return Identity() if unchanged or op in _UNCHANGING else op


def _divided_by(value: float) -> ops.Unary | None:
    return ops.Affine(1.0 / value, 0.0, "Div") if value else None


_arithmetic("Add", ops.Add, lambda c: ops.Affine(1.0, c, "Add"), lambda c: ops.Affine(1.0, c, "Add"))
_arithmetic("Sub", ops.Sub, lambda c: ops.Affine(1.0, -c, "Sub"), lambda c: ops.Affine(-1.0, c, "Sub"))
_arithmetic("Mul", ops.Mul, lambda c: ops.Affine(c, 0.0, "Mul"), lambda c: ops.Affine(c, 0.0, "Mul"))
_arithmetic("Div", ops.Div, _divided_by, lambda c: ops.DivInto(c))
_arithmetic("Pow", ops.Pow, lambda c: ops.PowScalar(c), lambda c: ops.PowOf(c) if c > 0.0 else None)


@converts("Mod")
def _mod(node: SourceNode) -> Converted:
    """Of floats ONNX has C's remainder alone."""
    truncated = bool(node.integer("fmod"))
    divisor = _scalar_beside(node, 1)
    if divisor and truncated:
        return [Apply(ops.ModScalar(divisor), node.inputs[:1])]
    return [Apply(ops.Mod(truncated), node.inputs)] if node.type(0).dtype in _REMAINDERS else None


_REMAINDERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")
"""Types whose remainders torch computes."""


def _variadic(op_type: str, cls: type[ops.Binary], scalar: ScalarForm) -> None:
    """Register an operator of one or more tensors as a chain of its two-tensor form."""

    @converts(op_type)
    def _convert(node: SourceNode) -> Converted:  # pyright: ignore[reportUnusedFunction]
        if len(node.inputs) == 1:
            return [Apply(Identity(), node.inputs)]
        if len(node.inputs) == 2:
            for index in (1, 0):
                value = _scalar_beside(node, index)
                unary = None if value is None else scalar(value)
                if unary is not None:
                    return [Apply(_simplest(unary), (node.inputs[1 - index],))]
        steps, so_far = _chain(node, cls, op_type.lower())
        return [*steps, Apply(cls(), (so_far, node.inputs[-1]))]


def _chain(node: SourceNode, cls: type[ops.Binary], stem: str) -> tuple[list[Apply], str]:
    """All inputs but the last one combined from left to right, and the value that holds the result."""
    steps: list[Apply] = []
    so_far = node.inputs[0]
    for value in node.inputs[1:-1]:
        partial = node.inner(stem)
        steps.append(Apply(cls(), (so_far, value), (partial,)))
        so_far = partial
    return steps, so_far


_variadic("Min", ops.Minimum, lambda c: ops.Clip(-math.inf, c))
_variadic("Max", ops.Maximum, lambda c: ops.Relu() if c == 0.0 else ops.Clip(c, math.inf))
_variadic("Sum", ops.Add, lambda c: None)


@converts("Mean")
def _mean(node: SourceNode) -> Converted:
    """The sum, divided by how many."""
    if len(node.inputs) == 1:
        return [Apply(Identity(), node.inputs)]
    steps, so_far = _chain(node, ops.Add, "sum")
    total = node.inner("sum")
    steps.append(Apply(ops.Add(), (so_far, node.inputs[-1]), (total,)))
    return [*steps, Apply(ops.Affine(1.0 / len(node.inputs), 0.0, "Mean"), (total,))]


@converts("PRelu")
def _prelu(node: SourceNode) -> Converted:
    slope = node.scalar(1)
    if slope is not None:
        return [Apply(ops.LeakyRelu(slope), node.inputs[:1])]
    return [Apply(ops.PRelu(), node.inputs)]


@converts("Where")
def _where(node: SourceNode) -> Converted:
    return [Apply(ops.Where(), node.inputs)]


@converts("Expand")
def _expand(node: SourceNode) -> Converted:
    wanted = node.integers(1)
    if wanted is None:
        return None
    shape = broadcast(node.shape(0), wanted)
    return [Apply(Identity() if shape == node.shape(0) else Expand(shape), node.inputs[:1])]
