"""Comparison, logic, selection and conversion: truth values in integer programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.ops.elementwise import Where
from engine.ops.layout import Identity
from engine.ops.logic import FLOATS, Cast, Comparison, Equal, Greater, Logic, Not, NumberTest, Xor
from engine.ops.reduce import ArgExtreme, ArgMax
from engine.program.arithmetic import scaling_for
from engine.program.lowering.context import LOWER, UnitContext
from engine.program.lowering.elementwise import LARGEST_FACTOR
from engine.program.types import (
    CompareScaled,
    DataMovement,
    ExtremeIndex,
    Requantise,
    Scaling,
    SelectScaled,
    TruthLogic,
)
from engine.qtype import INTEGER_RANGE, QType

_TRUTH = QType("bool")

_CONSTANT_LIMIT = 2**30
"""Constants are compared as far as this: beyond every activation."""


@LOWER.register(Comparison)
def lower_comparison(context: UnitContext) -> None:
    """Both operands on the coarser of their scales: finer differences than its step are no differences.

    A constant is rounded on the scale of the activation, as that was: numbers that were equal stay so.
    """
    op = context.node.op
    assert isinstance(op, Comparison)
    kinds = [context.types[value] for value in context.node.inputs if not context.is_constant(value)]
    if kinds[0].dtype == "bool":
        _emit_equal_truths(context)
        return
    grid = max(kind.scale for kind in kinds)
    operands = [_compared(context, value, index, grid) for index, value in enumerate(context.node.inputs)]
    (a, a_scaling), (b, b_scaling) = operands
    context.emit(CompareScaled(op, a_scaling, b_scaling), (a, b))


def _emit_equal_truths(context: UnitContext) -> None:
    """Not exactly one of both."""
    names = tuple(_truth(context, value, index) for index, value in enumerate(context.node.inputs))
    differ = context.temporary("differ", _TRUTH)
    context.emit(TruthLogic(Xor()), names, (differ,))
    context.emit(TruthLogic(Not()), (differ,))


def _compared(context: UnitContext, value: str, index: int, grid: float) -> tuple[str, Scaling | None]:
    if not context.is_constant(value):
        scale = context.types[value].scale
        return value, None if scale == grid else scaling_for(scale / grid)
    steps = np.rint(context.constant_of(value, infinite=True) / grid)
    integers = np.clip(steps, -_CONSTANT_LIMIT, _CONSTANT_LIMIT).astype(np.int32)
    return context.constant(f"operand{index}", integers, QType("int32", grid)), None


def _truth(context: UnitContext, value: str, index: int) -> str:
    return context.whole_constant(value, index) if context.is_constant(value) else value


@LOWER.register(Logic)
def lower_logic(context: UnitContext) -> None:
    names = tuple(_truth(context, value, index) for index, value in enumerate(context.node.inputs))
    context.emit(TruthLogic(context.node.op), names)


@LOWER.register(NumberTest)
def lower_number_test(context: UnitContext) -> None:
    """No integer is infinite or undefined: false everywhere, written as x > x."""
    (source,) = context.node.inputs
    context.emit(CompareScaled(Greater(), None, None), (source, source))


@LOWER.register(Where)
def lower_where(context: UnitContext) -> None:
    """Both candidates are brought to the result's scale; constants that no integer reaches are saturated."""
    condition, *candidates = context.node.inputs
    operands = [_candidate(context, value, index) for index, value in enumerate(candidates, start=1)]
    (a, a_scaling), (b, b_scaling) = operands
    op = SelectScaled(a_scaling, b_scaling, context.output())
    context.emit(op, (_truth(context, condition, 0), a, b))


def _candidate(context: UnitContext, value: str, index: int) -> tuple[str, Scaling | None]:
    result = context.result_type
    if context.is_constant(value):
        low, high = INTEGER_RANGE[result.dtype]
        steps = np.rint(context.constant_of(value, infinite=True) / result.scale)
        return context.constant(f"operand{index}", np.clip(steps, low, high).astype(result.dtype), result), None
    incoming = context.types[value]
    if incoming == result:
        return value, None
    return value, scaling_for(min(incoming.scale / result.scale, LARGEST_FACTOR))  # beyond it, one step saturates


@LOWER.register(Cast)
def lower_cast(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, Cast)
    (source,) = context.node.inputs
    if op.between_floats:
        context.emit(DataMovement(Identity()), (source,))
    else:
        CONVERSIONS[op.source, op.to](context, source)


def _truth_to_number(context: UnitContext, source: str) -> None:
    result = context.result_type
    one = np.clip(np.rint(1.0 / result.scale), 0, INTEGER_RANGE[result.dtype][1])
    names = [
        context.constant(name, np.array(value).astype(result.dtype), result) for name, value in (("1", one), ("0", 0))
    ]
    context.emit(SelectScaled(None, None, context.output()), (source, *names))


def _whole_to_number(context: UnitContext, source: str) -> None:
    context.emit(Requantise(scaling_for(1.0 / context.result_type.scale), context.output()), (source,))


def _number_to_truth(context: UnitContext, source: str) -> None:
    """Whether the integer differs from 0."""
    zero = context.constant("zero", np.zeros((), np.int32), QType("int32", context.types[source].scale))
    is_zero = context.temporary("is_zero", _TRUTH)
    context.emit(CompareScaled(Equal(), None, None), (source, zero), (is_zero,))
    context.emit(TruthLogic(Not()), (is_zero,))


CONVERSIONS: Mapping[tuple[str, str], Callable[[UnitContext, str], None]] = {
    **{("bool", dtype): _truth_to_number for dtype in FLOATS},
    **{("int32", dtype): _whole_to_number for dtype in FLOATS},
    **{(dtype, "bool"): _number_to_truth for dtype in (*FLOATS, "int32")},
}
"""Casts with an integer form, by source and target type, beside those between floating-point types."""


@LOWER.register(ArgExtreme)
def lower_arg_extreme(context: UnitContext) -> None:
    op = context.node.op
    assert isinstance(op, ArgExtreme)
    context.emit(ExtremeIndex(op.axis, op.keepdims, isinstance(op, ArgMax), op.last), (context.node.inputs[0],))
