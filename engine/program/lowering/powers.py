"""Powers and products by way of logarithms, in int16; signs and zeros apart."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.errors import GraphError
from engine.ops.elementwise import Pow
from engine.ops.logic import And, Equal, Greater, Less
from engine.ops.reduce import ReduceProd
from engine.program.arithmetic import scaling_for
from engine.program.functions import logarithm
from engine.program.lowering.context import LOWER, UnitContext
from engine.program.lowering.elementwise import constant_factor
from engine.program.tables import table16
from engine.program.types import (
    AddScaled,
    CompareScaled,
    MultiplyScaled,
    Output,
    Requantise,
    SelectScaled,
    SumReduce,
    TruthLogic,
    WideSum,
)
from engine.qtype import INTEGER_RANGE, QType

_INT16 = Output("int16", -32767, 32767)
_LARGEST = INTEGER_RANGE["int16"][1]
_TRUTH, _BIT = QType("bool"), QType("int8")

_BELOW_A_STEP = 1.0
"""How far (in natural logarithms) below a step of the result a power still is told from 0."""

_LOG_OF_ZERO = 20.0
"""How far below the logarithm of the smallest integer that of 0 is put in a product."""


@LOWER.register(Pow)
def lower_pow(context: UnitContext) -> None:
    """|a| ** b = exp(b * log |a|); 0 ** b apart. Where a constant b is odd, with the sign of a.

    A negative base has a power for whole exponents only: with computed exponents its magnitude counts.
    """
    base, exponent = context.node.inputs
    if context.is_constant(base):
        _emit_power_of_constant(context, base, exponent)
        return
    powers = context.constant_of(exponent) if context.is_constant(exponent) else None
    incoming = context.types[base]
    log, log_type = _emit_log(context, base, incoming, beyond=0.0)
    factor, factor_type = (
        (exponent, context.types[exponent]) if powers is None else constant_factor(context, powers, 1)
    )
    power = _emit_exponential(context, (log, log_type), (factor, factor_type))
    signed = power if powers is None else _emit_sign_of_base(context, base, powers, power)
    _emit_power_of_zero(context, base, powers, signed)


def _emit_log(context: UnitContext, source: str, incoming: QType, *, beyond: float) -> tuple[str, QType]:
    """log |x| in int16 with the range of the input's integers, and ``beyond`` more for that of 0."""
    magnitude = context.temporary("magnitude", QType("int32", incoming.scale))
    context.emit(WideSum((), True, "magnitude", 0), (source,), (magnitude,))
    ends = (math.log(incoming.scale), math.log(incoming.scale * INTEGER_RANGE[incoming.dtype][1]))
    log_type = QType("int16", (max(map(abs, ends)) + beyond) / _LARGEST)
    log = context.temporary("log", log_type)
    context.emit(logarithm(incoming.scale, log_type.scale, _INT16), (magnitude,), (log,))
    return log, log_type


def _exponent_type(result: QType) -> QType:
    """The type of arguments of exp that reaches as far as the result's integers can tell."""
    top = math.log(INTEGER_RANGE[result.dtype][1] * result.scale)
    bottom = math.log(result.scale) - _BELOW_A_STEP
    return QType("int16", max(abs(top), abs(bottom)) / _LARGEST)


def _emit_exponential(context: UnitContext, log: tuple[str, QType], factor: tuple[str, QType]) -> str:
    """exp(log * factor) in the result's type."""
    kind = _exponent_type(context.result_type)
    argument = context.temporary("exponent", kind)
    scaling = scaling_for(log[1].scale * factor[1].scale / kind.scale)
    context.emit(MultiplyScaled(scaling, _INT16), (log[0], factor[0]), (argument,))
    return _emit_exp(context, argument, kind)


def _emit_exp(context: UnitContext, argument: str, kind: QType) -> str:
    power = context.temporary("power", context.result_type)
    output = Output(context.result_type.dtype, *INTEGER_RANGE[context.result_type.dtype])
    context.emit(table16(np.exp, kind.scale, context.result_type.scale, output), (argument,), (power,))
    return power


def _emit_power_of_constant(context: UnitContext, base: str, exponent: str) -> None:
    values = context.constant_of(base)
    if (values <= 0.0).any():
        message = f"constant '{base}' is raised to computed powers and not positive"
        raise GraphError(message, node=context.node.id, hint="mark the node float")
    logs = np.log(values)
    scale = max(float(np.abs(logs).max(initial=0.0)), 1e-30) / _LARGEST
    log = context.constant("log", np.rint(logs / scale).astype(np.int16), QType("int16", scale))
    power = _emit_exponential(context, (log, QType("int16", scale)), (exponent, context.types[exponent]))
    context.emit(Requantise(scaling_for(1.0), context.output()), (power,))


def _emit_sign_of_base(context: UnitContext, base: str, powers: NDArray[np.float64], power: str) -> str:
    """The power, negative where the base is and the exponent is odd."""
    odd = np.asarray(np.mod(powers, 2.0) == 1.0)
    if not odd.any():
        return power
    negative = _emit_test(context, base, Less(), "negative")
    if not odd.all():
        both, mask = context.temporary("odd_negative", _TRUTH), context.constant("odd", odd, _TRUTH)
        context.emit(TruthLogic(And()), (negative, mask), (both,))
        negative = both
    return _emit_negated_where(context, negative, power)


def _emit_test(context: UnitContext, source: str, relation: Equal | Less | Greater, name: str) -> str:
    """Whether integers are in that relation to 0."""
    zero = context.constant("zero", np.zeros((), np.int32), QType("int32"))
    found = context.temporary(name, _TRUTH)
    context.emit(CompareScaled(relation, None, None), (source, zero), (found,))
    return found


def _emit_negated_where(context: UnitContext, negative: str, power: str) -> str:
    """-x where the condition holds, else x: exact."""
    result = context.result_type
    output = Output(result.dtype, *INTEGER_RANGE[result.dtype])
    zero = context.constant("zero", np.zeros((), np.int32), QType("int32"))
    negated, signed = context.temporary("negated", result), context.temporary("signed", result)
    context.emit(AddScaled(None, scaling_for(1.0), scaling_for(1.0), output, subtract=True), (zero, power), (negated,))
    context.emit(SelectScaled(None, None, output), (negative, negated, power), (signed,))
    return signed


def _emit_power_of_zero(context: UnitContext, base: str, powers: NDArray[np.float64] | None, power: str) -> None:
    """The result: 0 ** b where a is 0 (with computed exponents 0), else the power."""
    result = context.result_type
    low, high = INTEGER_RANGE[result.dtype]
    with np.errstate(divide="ignore"):
        values = np.zeros(()) if powers is None else np.power(0.0, powers)
    integers = np.clip(np.rint(values / result.scale), low, high).astype(result.dtype)
    of_zero = context.constant("of_zero", integers, result)
    is_zero = _emit_test(context, base, Equal(), "is_zero")
    context.emit(SelectScaled(None, None, context.output()), (is_zero, of_zero, power))


@LOWER.register(ReduceProd)
def lower_product(context: UnitContext) -> None:
    """exp(sum(log |x|)), negative where an odd number of factors is; the logarithm of 0 is so low that exp makes 0."""
    op = context.node.op
    assert isinstance(op, ReduceProd)
    source = context.node.inputs[0]
    log, log_type = _emit_log(context, source, context.types[source], beyond=_LOG_OF_ZERO)
    kind = _exponent_type(context.result_type)
    argument = context.temporary("exponent", kind)
    scaling = scaling_for(log_type.scale / kind.scale)
    context.emit(SumReduce(op.axes, op.keepdims, scaling, _INT16), (log,), (argument,))
    power = _emit_exp(context, argument, kind)
    signed = _emit_negated_where(context, _emit_is_odd(context, op, source), power)
    context.emit(Requantise(scaling_for(1.0), context.output()), (signed,))


def _emit_is_odd(context: UnitContext, op: ReduceProd, source: str) -> str:
    """Whether the number of negative elements is odd: 2 * (n / 2 rounded up) - n is 1 then, else 0."""
    negative = _emit_test(context, source, Less(), "negative")
    bit, whole = Output("int8", 0, 1), Output("int16", 0, _LARGEST)
    one, zero = (context.constant(f"bit{value}", np.array(value, np.int8), _BIT) for value in (1, 0))
    bits, count, half, parity = (
        context.temporary(name, kind)
        for name, kind in (("bits", _BIT), ("count", QType("int16")), ("half", QType("int16")), ("parity", _BIT))
    )
    context.emit(SelectScaled(None, None, bit), (negative, one, zero), (bits,))
    context.emit(SumReduce(op.axes, op.keepdims, scaling_for(1.0), whole), (bits,), (count,))
    context.emit(Requantise(scaling_for(0.5), whole), (count,), (half,))
    twice, once = scaling_for(2.0), scaling_for(1.0)
    context.emit(AddScaled(twice, once, scaling_for(1.0), bit, subtract=True), (half, count), (parity,))
    return _emit_test(context, parity, Greater(), "odd")
