"""Elementwise functions of one tensor."""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.ops import elementwise as ops
from engine.ops.layout import Identity


def _plain(op_type: str, make: Callable[[SourceNode], ops.Unary]) -> None:
    @converts(op_type)
    def _convert(node: SourceNode) -> Converted:  # pyright: ignore[reportUnusedFunction]
        return [Apply(make(node), node.inputs[:1])]


_WITHOUT_ATTRIBUTES: dict[str, type[ops.Unary]] = {
    "Relu": ops.Relu,
    "HardSwish": ops.HardSwish,
    "Sigmoid": ops.Sigmoid,
    "Mish": ops.Mish,
    "Softplus": ops.Softplus,
    "Softsign": ops.Softsign,
    "Tanh": ops.Tanh,
    "Erf": ops.Erf,
    "Exp": ops.Exp,
    "Log": ops.Log,
    "Sqrt": ops.Sqrt,
    "Reciprocal": ops.Reciprocal,
    "Neg": ops.Neg,
    "Abs": ops.Abs,
    "Sign": ops.Sign,
    "Floor": ops.Floor,
    "Ceil": ops.Ceil,
    "Round": ops.Round,
    "Sin": ops.Sin,
    "Cos": ops.Cos,
    "Tan": ops.Tan,
    "Asin": ops.Asin,
    "Acos": ops.Acos,
    "Atan": ops.Atan,
    "Sinh": ops.Sinh,
    "Cosh": ops.Cosh,
    "Asinh": ops.Asinh,
    "Acosh": ops.Acosh,
    "Atanh": ops.Atanh,
}

for _op_type, _cls in _WITHOUT_ATTRIBUTES.items():
    _plain(_op_type, lambda node, cls=_cls: cls())

_plain("LeakyRelu", lambda node: ops.LeakyRelu(node.real("alpha", 0.01)))
_plain("Elu", lambda node: ops.Elu(node.real("alpha", 1.0)))
_plain("Celu", lambda node: ops.Celu(node.real("alpha", 1.0)))
_plain("ThresholdedRelu", lambda node: ops.ThresholdedRelu(node.real("alpha", 1.0)))
_plain("HardSigmoid", lambda node: ops.HardSigmoid(node.real("alpha", 0.2), node.real("beta", 0.5)))
_plain("Gelu", lambda node: ops.Gelu(node.text("approximate", "none") == "tanh"))


@converts("Selu")
def _selu(node: SourceNode) -> Converted:
    defaults = ops.Selu()
    return [Apply(ops.Selu(node.real("alpha", defaults.alpha), node.real("gamma", defaults.gamma)), node.inputs[:1])]


_plain("Swish", lambda node: ops.Silu(node.real("alpha", 1.0)))


@converts("Shrink")
def _shrink(node: SourceNode) -> Converted:
    """Integers stay with the reference: their shrinking computes in float and truncates."""
    if not node.type(0).is_float:
        return None
    return [Apply(ops.Shrink(node.real("bias"), node.real("lambd", 0.5)), node.inputs)]


@converts("Clip")
def _clip(node: SourceNode) -> Converted:
    """Bounds are attributes before opset 11, optional inputs since."""
    low, high = node.real("min", -math.inf), node.real("max", math.inf)
    for index in (1, 2):
        if node.has(index) and node.scalar(index) is None:
            return None
    low = low if not node.has(1) else _bound(node, 1)
    high = high if not node.has(2) else _bound(node, 2)
    if math.isinf(low) and math.isinf(high):
        return [Apply(Identity(), node.inputs[:1])]
    if low == 0.0 and math.isinf(high):
        return [Apply(ops.Relu(), node.inputs[:1])]
    return [Apply(ops.Clip(low, high), node.inputs[:1])]


def _bound(node: SourceNode, index: int) -> float:
    value = node.scalar(index)
    assert value is not None  # checked by the caller
    return value
