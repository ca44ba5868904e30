# pyright: reportUnknownMemberType=false
"""Elementwise functions by table, and arithmetic of two tensors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import GraphError
from engine.ops.elementwise import Add, Affine, Div, DivInto, Maximum, Minimum, Mul, PRelu, Sub, Unary
from engine.ops.float_kernels.functions import Function, function_of
from engine.ops.layout import Identity
from engine.plan.units import is_scaling
from engine.program.arithmetic import scaling_for
from engine.program.division import integer_division
from engine.program.lowering.context import LOWER, UnitContext
from engine.program.tables import table8, table16
from engine.program.types import AddScaled, DataMovement, ExtremeScaled, MultiplyScaled, Output, Requantise, Scaling
from engine.qtype import INTEGER_RANGE, QType

HEADROOM_BITS = {"int8": 22, "int16": 14}
"""Fraction bits of an addition's int32 accumulator, below its wider operand's step: |a| * 2^bits * 2 < 2^31."""

CONSTANT_LEVELS = 32767

FAR = 16.0
"""A summand this many times beyond what can matter is saturated first: less costs 4 bits of the accumulator at most."""

LARGEST_FACTOR = 2.0**16


@LOWER.register(Unary)
def lower_function(context: UnitContext) -> None:
    source = context.graph.by_id[context.unit.nodes[0]].inputs[0]
    incoming, result = context.types[source], context.result_type
    if _only_rescales(context, incoming, result):
        context.emit(DataMovement(Identity()), (source,))
        return
    ops = tuple(op for op in (context.graph.by_id[node].op for node in context.unit.nodes) if isinstance(op, Unary))
    _emit_table(context, function_of(ops), source, incoming, context.result, result)


def _only_rescales(context: UnitContext, incoming: QType, result: QType) -> bool:
    op = context.node.op
    if len(context.unit.nodes) > 1 or not isinstance(op, Affine) or not is_scaling(context.node):
        return False
    same_scale = bool(np.isclose(incoming.scale * op.multiplier, result.scale, rtol=1e-12))
    return same_scale and incoming.dtype == result.dtype


def _emit_table(
    context: UnitContext, function: Function, source: str, incoming: QType, target: str, result: QType
) -> None:
    output = Output(result.dtype, *INTEGER_RANGE[result.dtype])
    build = table8 if incoming.dtype == "int8" else table16
    context.emit(build(function, incoming.scale, result.scale, output), (source,), (target,))


@LOWER.register(Add)
def lower_add(context: UnitContext) -> None:
    _emit_addition(context, subtract=False)


@LOWER.register(Sub)
def lower_sub(context: UnitContext) -> None:
    _emit_addition(context, subtract=True)


def _emit_addition(context: UnitContext, subtract: bool) -> None:
    """Both operands are brought to one int32 accumulator scale, added, and requantised."""
    operands = [_summand(context, value, index) for index, value in enumerate(context.node.inputs)]
    kinds = [operand for operand in operands if isinstance(operand, QType)]
    wide = any(kind.dtype == "int16" for kind in kinds)
    bits = HEADROOM_BITS["int16" if wide else "int8"]
    limit = (2.0**30 - 1) / 2.0**bits
    step = max(_largest_step(operand, limit) for operand in operands) / 2.0**bits
    names: list[str] = []
    scalings: list[Scaling | None] = []
    for index, (value, operand) in enumerate(zip(context.node.inputs, operands, strict=True)):
        if isinstance(operand, QType):
            names.append(_bounded_activation(context, value, operand, index))
            scalings.append(scaling_for(operand.scale / step))
        else:
            integers = np.rint(operand / step).astype(np.int32)
            names.append(context.constant(f"operand{index}", integers, QType("int32", step)))
            scalings.append(None)
    out = scaling_for(step / context.result_type.scale)
    context.emit(AddScaled(scalings[0], scalings[1], out, context.output(), subtract), tuple(names))


def addition(a: QType, b: QType, result: QType, *, subtract: bool = False) -> AddScaled:
    """The instruction for a + b or a - b of two activations, within the whole range of the result's type."""
    wide = "int16" in (a.dtype, b.dtype)
    step = max(a.scale, b.scale) / 2.0 ** HEADROOM_BITS["int16" if wide else "int8"]
    output = Output(result.dtype, *INTEGER_RANGE[result.dtype])
    out = scaling_for(step / result.scale)
    return AddScaled(scaling_for(a.scale / step), scaling_for(b.scale / step), out, output, subtract)


def _summand(context: UnitContext, value: str, index: int) -> NDArray[np.float64] | QType:
    """A constant summand, or the type that an activation is added in.

    Both are limited to where the result is clamped whatever the other operand is: a mask of -10^9 would otherwise take
    all bits of the accumulator.
    """
    if context.is_constant(value):
        reach = 2.0 * _reach(context, [name for name in context.node.inputs if not context.is_constant(name)])
        return np.clip(context.constant_of(value, infinite=True), -reach, reach)
    kind = context.types[value]
    other = context.node.inputs[1 - index]
    if context.is_constant(other):
        return kind
    limit = 2.0 * _reach(context, [other])
    largest = INTEGER_RANGE[kind.dtype][1]
    return kind if kind.scale * largest <= FAR * limit else QType(kind.dtype, limit / largest)


def _reach(context: UnitContext, values: list[str]) -> float:
    """The largest magnitudes of activations and of the unit's result, together."""
    kinds = [context.types[value] for value in values] + [context.result_type]
    return sum(INTEGER_RANGE[kind.dtype][1] * kind.scale for kind in kinds)


def _bounded_activation(context: UnitContext, value: str, kind: QType, index: int) -> str:
    """The operand, saturated beforehand where it is added in a smaller type than its own."""
    incoming = context.types[value]
    if kind == incoming:
        return value
    name = context.temporary(f"bounded{index}", kind)
    factor = min(incoming.scale / kind.scale, LARGEST_FACTOR)  # beyond it, one step saturates already
    context.emit(Requantise(scaling_for(factor), Output(kind.dtype, *INTEGER_RANGE[kind.dtype])), (value,), (name,))
    return name


def _largest_step(operand: NDArray[np.float64] | QType, limit: float) -> float:
    """The accumulator step, times 2^bits, that keeps the operand within 30 bits."""
    return operand.scale if isinstance(operand, QType) else float(np.abs(operand).max(initial=0.0)) / limit


@LOWER.register(Mul)
def lower_mul(context: UnitContext) -> None:
    names: list[str] = []
    factor = 1.0 / context.result_type.scale
    for index, value in enumerate(context.node.inputs):
        name, qtype = _factor(context, value, index)
        names.append(name)
        factor *= qtype.scale
    context.emit(MultiplyScaled(scaling_for(factor), context.output()), tuple(names))


def _factor(context: UnitContext, value: str, index: int) -> tuple[str, QType]:
    """A factor and its type; a constant one is quantised to int16 with one scale."""
    if not context.is_constant(value):
        return value, context.types[value]
    return constant_factor(context, context.constant_of(value), index)


def constant_factor(context: UnitContext, array: NDArray[np.float64], index: int) -> tuple[str, QType]:
    """A constant factor in int16 with one scale, and its type."""
    scale = max(float(np.abs(array).max(initial=0.0)), 1e-30) / CONSTANT_LEVELS
    qtype = QType("int16", scale)
    return context.constant(f"operand{index}", np.rint(array / scale).astype(np.int16), qtype), qtype


@LOWER.register(Div)
def lower_div(context: UnitContext) -> None:
    """a / b = a * (1 / b): the reciprocal by table, in int16; a constant divisor is inverted beforehand.

    An int8 divisor has 127 magnitudes, whose reciprocals 16 bits tell apart. An int16 divisor spans more than 16 bits
    can: it has an instruction of its own, which normalises it.
    """
    dividend, divisor = context.node.inputs
    a_name, a_type = _factor(context, dividend, 0)
    if context.is_constant(divisor):
        inverse = _inverse(context, divisor)
        scale = max(float(np.abs(inverse).max(initial=0.0)), 1e-30) / CONSTANT_LEVELS
        b_type = QType("int16", scale)
        b_name = context.constant("operand1", np.rint(inverse / scale).astype(np.int16), b_type)
    else:
        incoming = context.types[divisor]
        if incoming.dtype == "int16":
            op = integer_division(a_type.scale, incoming.scale, context.result_type.scale, context.output())
            context.emit(op, (a_name, divisor))
            return
        b_type = QType("int16", 1.0 / incoming.scale / CONSTANT_LEVELS)
        b_name = context.temporary("reciprocal", b_type)
        _emit_table(context, function_of((DivInto(1.0),)), divisor, incoming, b_name, b_type)
    factor = a_type.scale * b_type.scale / context.result_type.scale
    context.emit(MultiplyScaled(scaling_for(factor), context.output()), (a_name, b_name))


def _inverse(context: UnitContext, divisor: str) -> NDArray[np.float64]:
    array = context.constant_of(divisor)
    if not array.all():
        raise GraphError(
            f"constant '{divisor}' divides by 0",
            node=context.node.id,
            hint="repair the model, or mark the node float",
        )
    return 1.0 / array


@LOWER.register(Maximum)
def lower_maximum(context: UnitContext) -> None:
    _emit_extreme(context, maximum=True)


@LOWER.register(Minimum)
def lower_minimum(context: UnitContext) -> None:
    _emit_extreme(context, maximum=False)


def _emit_extreme(context: UnitContext, maximum: bool) -> None:
    operands = [_candidate(context, value, index) for index, value in enumerate(context.node.inputs)]
    scalings = [scaling_for(qtype.scale / context.result_type.scale) for _, qtype in operands]
    op = ExtremeScaled(scalings[0], scalings[1], context.output(), maximum)
    context.emit(op, (operands[0][0], operands[1][0]))


def _candidate(context: UnitContext, value: str, index: int) -> tuple[str, QType]:
    """An operand of a maximum or minimum and its type; a constant is limited to just beyond what the result shows."""
    if not context.is_constant(value):
        return value, context.types[value]
    reach = 2.0 * _reach(context, [])
    array = np.clip(context.constant_of(value, infinite=True), -reach, reach)
    return constant_factor(context, array, index)


@LOWER.register(PRelu)
def lower_prelu(context: UnitContext) -> None:
    """x where x >= 0, slope * x elsewhere = max(x, 0) + slope * min(x, 0), both halves in the input's scale."""
    source, slope_value = context.node.inputs
    incoming = context.types[source]
    largest = INTEGER_RANGE[incoming.dtype][1]
    same = QType(incoming.dtype, incoming.scale)
    names = [context.temporary(half, same) for half in ("positive", "negative")]
    bounds = ((0, largest), (-largest, 0))
    for name, (low, high) in zip(names, bounds, strict=True):
        context.emit(Requantise(scaling_for(1.0), Output(incoming.dtype, low, high)), (source,), (name,))
    slope, slope_type = _factor(context, slope_value, 1)
    headroom = 128.0 if context.result_type.dtype == "int8" else 1.0
    scaled_type = QType("int16", context.result_type.scale / headroom)
    scaled = context.temporary("scaled", scaled_type)
    factor = incoming.scale * slope_type.scale / scaled_type.scale
    context.emit(MultiplyScaled(scaling_for(factor), Output("int16", -32767, 32767)), (names[1], slope), (scaled,))
    step = max(incoming.scale, scaled_type.scale) / 2.0 ** HEADROOM_BITS["int16"]
    context.emit(
        AddScaled(
            scaling_for(incoming.scale / step),
            scaling_for(scaled_type.scale / step),
            scaling_for(step / context.result_type.scale),
            context.output(),
        ),
        (names[0], scaled),
    )
