"""Elementwise operators as ONNX nodes."""

from __future__ import annotations

import math

from engine.export.onnx_nodes.builder import TO_ONNX, Emission
from engine.ops import elementwise as ops

SWISH_OPSET = 24
"""The first opset with an operator for x * sigmoid(x)."""


@TO_ONNX.register(
    ops.Relu, ops.HardSwish, ops.Sigmoid, ops.Mish, ops.Softplus, ops.Softsign, ops.Tanh, ops.Erf, ops.Exp, ops.Log,
    ops.Sqrt, ops.Reciprocal, ops.Neg, ops.Abs, ops.Sign, ops.Floor, ops.Ceil, ops.Round, ops.Sin, ops.Cos,
    ops.Tan, ops.Asin, ops.Acos, ops.Atan, ops.Sinh, ops.Cosh, ops.Asinh, ops.Acosh, ops.Atanh,
    ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Pow, ops.Minimum, ops.Maximum, ops.Where,
)  # fmt: skip
def _same_name(op: ops.Elementwise, emission: Emission) -> None:
    emission.node(op.type_name)


@TO_ONNX.register(ops.PRelu)
def _prelu(op: ops.PRelu, emission: Emission) -> None:
    emission.node("PRelu")


@TO_ONNX.register(ops.LeakyRelu, ops.Elu, ops.Celu, ops.ThresholdedRelu)
def _with_alpha(op: ops.LeakyRelu | ops.Elu | ops.Celu | ops.ThresholdedRelu, emission: Emission) -> None:
    emission.node(op.type_name, alpha=op.alpha)


@TO_ONNX.register(ops.Selu)
def _selu(op: ops.Selu, emission: Emission) -> None:
    emission.node("Selu", alpha=op.alpha, gamma=op.gamma)


@TO_ONNX.register(ops.HardSigmoid)
def _hard_sigmoid(op: ops.HardSigmoid, emission: Emission) -> None:
    emission.node("HardSigmoid", alpha=op.alpha, beta=op.beta)


@TO_ONNX.register(ops.Gelu)
def _gelu(op: ops.Gelu, emission: Emission) -> None:
    emission.node("Gelu", approximate="tanh" if op.approximate else "none")


@TO_ONNX.register(ops.Silu)
def _silu(op: ops.Silu, emission: Emission) -> None:
    if emission.builder.opset >= SWISH_OPSET:
        emission.node("Swish", alpha=op.alpha)
        return
    x, gate = emission.inputs[0], emission.inner("gate")
    scaled = x
    if op.alpha != 1.0:
        scaled = emission.inner("scaled")
        emission.node("Mul", (x, emission.scalar("alpha", op.alpha)), (scaled,))
    emission.node("Sigmoid", (scaled,), (gate,))
    emission.node("Mul", (x, gate))


@TO_ONNX.register(ops.Shrink)
def _shrink(op: ops.Shrink, emission: Emission) -> None:
    emission.node("Shrink", bias=op.bias, lambd=op.threshold)


@TO_ONNX.register(ops.ModScalar)
def _mod_scalar(op: ops.ModScalar, emission: Emission) -> None:
    emission.node("Mod", (emission.inputs[0], emission.scalar("divisor", op.divisor)), fmod=1)


@TO_ONNX.register(ops.Mod)
def _mod(op: ops.Mod, emission: Emission) -> None:
    emission.node("Mod", fmod=int(op.truncated))


@TO_ONNX.register(ops.PowOf)
def _pow_of(op: ops.PowOf, emission: Emission) -> None:
    emission.node("Pow", (emission.scalar("base", op.base), emission.inputs[0]))


@TO_ONNX.register(ops.Clip)
def _clip(op: ops.Clip, emission: Emission) -> None:
    low = "" if math.isinf(op.low) else emission.scalar("low", op.low)
    high = "" if math.isinf(op.high) else emission.scalar("high", op.high)
    emission.node("Clip", (emission.inputs[0], low, high))


@TO_ONNX.register(ops.Affine)
def _affine(op: ops.Affine, emission: Emission) -> None:
    """As few nodes as the two numbers need; they compute in the order in which the float kernel does."""
    x = emission.inputs[0]
    if op.multiplier == 1.0:
        emission.node("Add", (x, emission.scalar("offset", op.offset)))
    elif op.offset == 0.0:
        emission.node("Mul", (x, emission.scalar("multiplier", op.multiplier)))
    elif op.multiplier == -1.0:
        emission.node("Sub", (emission.scalar("offset", op.offset), x))
    else:
        scaled = emission.inner("scaled")
        emission.node("Mul", (x, emission.scalar("multiplier", op.multiplier)), (scaled,))
        emission.node("Add", (scaled, emission.scalar("offset", op.offset)))


@TO_ONNX.register(ops.PowScalar)
def _pow_scalar(op: ops.PowScalar, emission: Emission) -> None:
    emission.node("Pow", (emission.inputs[0], emission.scalar("exponent", op.exponent, "float32")))


@TO_ONNX.register(ops.DivInto)
def _div_into(op: ops.DivInto, emission: Emission) -> None:
    emission.node("Div", (emission.scalar("numerator", op.numerator), emission.inputs[0]))
