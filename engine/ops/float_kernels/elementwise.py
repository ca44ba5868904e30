"""Float kernels of the elementwise operators."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from engine.ops import elementwise as ops
from engine.ops.float_kernels.behaviour import FLOAT


def _unary(cls: type[ops.Unary], function: Callable[[Tensor], Tensor]) -> None:
    @FLOAT.register(cls)
    def _kernel(op: ops.Unary, x: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportUnusedFunction]
        return (function(x),)


def _binary(cls: type[ops.Binary], function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @FLOAT.register(cls)
    def _kernel(op: ops.Binary, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportUnusedFunction]
        return (function(a, b),)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """True division of floats; of integers, division that truncates towards zero, as ONNX says."""
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _power(a: Tensor, b: Tensor) -> Tensor:
    """The result has the element type of the base, whatever that of the exponent."""
    return torch.pow(a, b).to(a.dtype)


_unary(ops.Relu, functional.relu)
_unary(ops.HardSwish, functional.hardswish)
_unary(ops.Sigmoid, torch.sigmoid)
_unary(ops.Mish, functional.mish)
_unary(ops.Softsign, functional.softsign)
_unary(ops.Tanh, torch.tanh)
_unary(ops.Erf, torch.erf)
_unary(ops.Exp, torch.exp)
_unary(ops.Log, torch.log)
_unary(ops.Sqrt, torch.sqrt)
_unary(ops.Reciprocal, torch.reciprocal)
_unary(ops.Neg, torch.neg)
_unary(ops.Abs, torch.abs)
_unary(ops.Sign, torch.sign)
_unary(ops.Floor, torch.floor)
_unary(ops.Ceil, torch.ceil)
_unary(ops.Round, torch.round)
_unary(ops.Sin, torch.sin)
_unary(ops.Cos, torch.cos)
_unary(ops.Tan, torch.tan)
_unary(ops.Asin, torch.asin)
_unary(ops.Acos, torch.acos)
_unary(ops.Atan, torch.atan)
_unary(ops.Sinh, torch.sinh)
_unary(ops.Cosh, torch.cosh)
_unary(ops.Asinh, torch.asinh)
_unary(ops.Acosh, torch.acosh)
_unary(ops.Atanh, torch.atanh)

_binary(ops.Add, torch.add)
_binary(ops.Sub, torch.sub)
_binary(ops.Mul, torch.mul)
_binary(ops.Div, _divide)
_binary(ops.Pow, _power)
_binary(ops.Minimum, torch.minimum)
_binary(ops.Maximum, torch.maximum)


@FLOAT.register(ops.Clip)
def _clip(op: ops.Clip, x: Tensor) -> tuple[Tensor, ...]:
    if x.is_floating_point():
        return (torch.clamp(x, op.low, op.high),)
    low = None if math.isinf(op.low) else int(op.low)
    high = None if math.isinf(op.high) else int(op.high)
    return (x if low is None and high is None else torch.clamp(x, low, high),)


@FLOAT.register(ops.Silu)
def _silu(op: ops.Silu, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.silu(x) if op.alpha == 1.0 else x * torch.sigmoid(x * op.alpha),)


@FLOAT.register(ops.Shrink)
def _shrink(op: ops.Shrink, x: Tensor) -> tuple[Tensor, ...]:
    above = torch.where(x > op.threshold, x - op.bias, torch.zeros((), dtype=x.dtype, device=x.device))
    return (torch.where(x < -op.threshold, x + op.bias, above),)


@FLOAT.register(ops.ModScalar)
def _mod_scalar(op: ops.ModScalar, x: Tensor) -> tuple[Tensor, ...]:
    return (torch.fmod(x, op.divisor),)


@FLOAT.register(ops.Mod)
def _mod(op: ops.Mod, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return ((torch.fmod if op.truncated else torch.remainder)(a, b),)


@FLOAT.register(ops.LeakyRelu)
def _leaky_relu(op: ops.LeakyRelu, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.leaky_relu(x, op.alpha),)


@FLOAT.register(ops.Elu)
def _elu(op: ops.Elu, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.elu(x, op.alpha),)


@FLOAT.register(ops.Celu)
def _celu(op: ops.Celu, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.celu(x, op.alpha),)


@FLOAT.register(ops.Selu)
def _selu(op: ops.Selu, x: Tensor) -> tuple[Tensor, ...]:
    return (op.gamma * functional.elu(x, op.alpha),)


@FLOAT.register(ops.ThresholdedRelu)
def _thresholded_relu(op: ops.ThresholdedRelu, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.threshold(x, op.alpha, 0.0),)


@FLOAT.register(ops.HardSigmoid)
def _hard_sigmoid(op: ops.HardSigmoid, x: Tensor) -> tuple[Tensor, ...]:
    return (torch.clamp(x * op.alpha + op.beta, 0.0, 1.0),)


@FLOAT.register(ops.Gelu)
def _gelu(op: ops.Gelu, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.gelu(x, approximate="tanh" if op.approximate else "none"),)


@FLOAT.register(ops.Softplus)
def _softplus(op: ops.Softplus, x: Tensor) -> tuple[Tensor, ...]:
    return (torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device)),)


@FLOAT.register(ops.Affine)
def _affine(op: ops.Affine, x: Tensor) -> tuple[Tensor, ...]:
    if not x.is_floating_point():
        return (x * int(op.multiplier) + int(op.offset),)
    scaled = x if op.multiplier == 1.0 else x * op.multiplier
    return (scaled if op.offset == 0.0 else scaled + op.offset,)


@FLOAT.register(ops.PowScalar)
def _pow_scalar(op: ops.PowScalar, x: Tensor) -> tuple[Tensor, ...]:
    return (torch.pow(x, op.exponent).to(x.dtype),)


@FLOAT.register(ops.PowOf)
def _pow_of(op: ops.PowOf, x: Tensor) -> tuple[Tensor, ...]:
    return (torch.pow(op.base, x),)


@FLOAT.register(ops.DivInto)
def _div_into(op: ops.DivInto, x: Tensor) -> tuple[Tensor, ...]:
    return (torch.div(op.numerator, x).to(x.dtype),)


@FLOAT.register(ops.PRelu)
def _prelu(op: ops.PRelu, x: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
    return (torch.where(x < 0, x * slope, x),)


@FLOAT.register(ops.Where)
def _where(op: ops.Where, condition: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return (torch.where(condition, a, b),)
