"""Reductions by way of wide sums: norms, logarithms of sums; and the logarithm of a softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.ops.elementwise import Log, Sqrt
from engine.ops.reduce import (
    LogSoftmax,
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceSumSquare,
    Reduction,
)
from engine.program.arithmetic import scaling_for
from engine.program.functions import logarithm, square_root
from engine.program.lowering.context import LOWER, UnitContext
from engine.program.lowering.elementwise import addition, lower_function
from engine.program.softmax import EXP_RANGE
from engine.program.tables import table16
from engine.program.types import ExtremeReduce, Output, ProgramOp, Requantise, WideSum
from engine.qtype import INTEGER_RANGE, QType

_SUM_LIMIT = 2**31 - 1
_INT16 = Output("int16", -32767, 32767)
_LARGEST_TERM = {"value": 1, "magnitude": 1, "square": 2}
"""Power of the input's largest magnitude that a term can reach."""


def emit_wide_sum(
    context: UnitContext, source: str, incoming: QType, axes: tuple[int, ...], keepdims: bool, term: str, name: str
) -> QType:
    """Sum the terms of an activation into the temporary ``name``; returns its type, whose scale is the terms'."""
    shape = context.graph.types[context.node.inputs[0]].shape
    shift = _sum_shift(math.prod(shape[axis] for axis in axes), incoming.dtype, term)
    scale = incoming.scale ** _LARGEST_TERM[term] * 2.0**shift
    qtype = QType("int32", scale)
    target = context.temporary(name, qtype)
    context.emit(WideSum(axes, keepdims, term, shift), (source,), (target,))
    return qtype


def _sum_shift(count: int, dtype: str, term: str) -> int:
    """The smallest shift at which ``count`` terms stay within 31 bits, each rounded up."""
    largest = (INTEGER_RANGE[dtype][1] + 1) ** _LARGEST_TERM[term]
    shift = 0
    while count * ((largest + (1 << shift) // 2) >> shift) > _SUM_LIMIT:
        shift += 1
    return shift


def _reduction_of(context: UnitContext) -> tuple[Reduction, str, QType]:
    op = context.node.op
    assert isinstance(op, Reduction)
    source = context.node.inputs[0]
    return op, source, context.types[source]


@LOWER.register(ReduceL1)
def lower_l1(context: UnitContext) -> None:
    _emit_scaled_sum(context, "magnitude")


@LOWER.register(ReduceSumSquare)
def lower_sum_square(context: UnitContext) -> None:
    _emit_scaled_sum(context, "square")


def _emit_scaled_sum(context: UnitContext, term: str) -> None:
    op, source, incoming = _reduction_of(context)
    total = emit_wide_sum(context, source, incoming, op.axes, op.keepdims, term, "sum")
    scaling = scaling_for(total.scale / context.result_type.scale)
    context.emit(Requantise(scaling, context.output()), (_named(context, "sum"),))


@LOWER.register(ReduceL2)
def lower_l2(context: UnitContext) -> None:
    op, source, incoming = _reduction_of(context)
    total = emit_wide_sum(context, source, incoming, op.axes, op.keepdims, "square", "sum")
    root = square_root(total.scale, context.result_type.scale, context.output())
    context.emit(root, (_named(context, "sum"),))


@LOWER.register(ReduceLogSum)
def lower_log_sum(context: UnitContext) -> None:
    """Sums that are not positive give the result's lower bound."""
    op, source, incoming = _reduction_of(context)
    total = emit_wide_sum(context, source, incoming, op.axes, op.keepdims, "value", "sum")
    context.emit(logarithm(total.scale, context.result_type.scale, context.output()), (_named(context, "sum"),))


def _named(context: UnitContext, suffix: str) -> str:
    """The temporary that was made with this suffix."""
    return f"{context.result}#{suffix}"


@LOWER.register(ReduceLogSumExp)
def lower_log_sum_exp(context: UnitContext) -> None:
    """max + log(sum(exp(x - max)))."""
    op, source, incoming = _reduction_of(context)
    log_type = _emit_log_of_exponentials(context, source, incoming, op.axes, op.keepdims)
    maximum = _named(context, "maximum")
    if not op.keepdims:
        maximum = context.temporary("reduced", incoming)
        context.emit(ExtremeReduce(op.axes, False, maximum=True), (source,), (maximum,))
    context.emit(addition(incoming, log_type, context.result_type), (maximum, _named(context, "log")))


@LOWER.register(LogSoftmax)
def lower_log_softmax(context: UnitContext) -> None:
    """x - (max + log(sum(exp(x - max)))), all behind x in int16."""
    op = context.node.op
    assert isinstance(op, LogSoftmax)
    source = context.node.inputs[0]
    incoming = context.types[source]
    log_type = _emit_log_of_exponentials(context, source, incoming, (op.axis,), True)
    reach = INTEGER_RANGE[incoming.dtype][1] * incoming.scale + INTEGER_RANGE["int16"][1] * log_type.scale
    total_type = QType("int16", reach / INTEGER_RANGE["int16"][1])
    total = context.temporary("total", total_type)
    maximum, log = _named(context, "maximum"), _named(context, "log")
    context.emit(addition(incoming, log_type, total_type), (maximum, log), (total,))
    context.emit(addition(incoming, total_type, context.result_type, subtract=True), (source, total))


def _emit_log_of_exponentials(
    context: UnitContext, source: str, incoming: QType, axes: tuple[int, ...], keepdims: bool
) -> QType:
    """log(sum(exp(x - max))) as the temporary ``log``, whose type is returned, and the maximum as ``maximum``.

    Differences of more than EXP_RANGE count as that, and exp of it as 0.
    """
    maximum = context.temporary("maximum", incoming)
    context.emit(ExtremeReduce(axes, True, maximum=True), (source,), (maximum,))
    difference_type = QType("int16", EXP_RANGE / INTEGER_RANGE["int16"][1])
    difference = context.temporary("difference", difference_type)
    context.emit(addition(incoming, incoming, difference_type, subtract=True), (source, maximum), (difference,))
    exponential_type = QType("int16", 1.0 / INTEGER_RANGE["int16"][1])
    exponential = context.temporary("exponential", exponential_type)
    exp = table16(_falling_exp, difference_type.scale, exponential_type.scale, _INT16)
    context.emit(exp, (difference,), (exponential,))
    total = emit_wide_sum(context, exponential, exponential_type, axes, keepdims, "value", "sum")
    count = math.prod(context.graph.types[source].shape[axis] for axis in axes)
    log_type = QType("int16", max(math.log(count), 1.0) / INTEGER_RANGE["int16"][1])
    log = context.temporary("log", log_type)
    context.emit(logarithm(total.scale, log_type.scale, _INT16), (_named(context, "sum"),), (log,))
    return log_type


def _falling_exp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp of what is not positive; 0 is the largest that is looked up."""
    return np.exp(np.minimum(x, 0.0))


@LOWER.register(Log)
def lower_log(context: UnitContext) -> None:
    _lower_normalised(context, logarithm)


@LOWER.register(Sqrt)
def lower_sqrt(context: UnitContext) -> None:
    _lower_normalised(context, square_root)


def _lower_normalised(context: UnitContext, instruction: Callable[[float, float, Output], ProgramOp]) -> None:
    """A function of int16 values not by a table of even steps, which is coarse close to 0."""
    source = context.node.inputs[0]
    if len(context.unit.nodes) > 1 or context.types[source].dtype == "int8":
        lower_function(context)
        return
    context.emit(instruction(context.types[source].scale, context.result_type.scale, context.output()), (source,))
