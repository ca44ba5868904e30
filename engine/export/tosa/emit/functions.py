"""Wide sums and the functions of them: the numbered steps of :mod:`engine.program.functions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from engine.export.tosa.emit import steps
from engine.export.tosa.emit.reduce import summed
from engine.export.tosa.emit.registry import tosa_form
from engine.export.tosa.graph import Tensor, TosaGraph
from engine.export.tosa.schema import TosaOp
from engine.program import functions
from engine.program.types import Logarithm, SquareRoot, WideSum


def _value(graph: TosaGraph, x: Tensor) -> Tensor:
    return x


def _square(graph: TosaGraph, x: Tensor) -> Tensor:
    return steps.multiply(graph, x, x)


_TERMS: Mapping[str, Callable[[TosaGraph, Tensor], Tensor]] = {
    "value": _value,
    "magnitude": steps.absolute,
    "square": _square,
}


@tosa_form(WideSum)
def emit_wide_sum(graph: TosaGraph, op: WideSum, operands: Sequence[Tensor]) -> Tensor:
    """CAST to int32, ABS or MUL, a rounding shift, REDUCE_SUM for each axis."""
    (x,) = operands
    terms = _TERMS[op.term](graph, steps.cast(graph, x, "int32"))
    if op.shift:
        terms = steps.shift_right(graph, terms, op.shift)
    return summed(graph, terms, op.axes, op.keepdims)


def _looked_up(graph: TosaGraph, x: Tensor, shift: int, offset: int, table: np.ndarray) -> Tensor:
    """``TABLE((x >> shift) - offset)``."""
    place = steps.plus(graph, steps.shift_right(graph, x, shift, rounded=False), -offset)
    return steps.table16(graph, steps.cast(graph, place, "int16"), table)


@tosa_form(Logarithm)
def emit_logarithm(graph: TosaGraph, op: Logarithm, operands: Sequence[Tensor]) -> Tensor:
    """CLZ, LOGICAL_LEFT_SHIFT, TABLE, MUL, ADD and RESCALE; SELECT where x is not positive."""
    x = steps.cast(graph, operands[0], "int32")
    positive = steps.at_least(graph, x, 1)
    zeros = steps.leading_zeros(graph, positive)
    lifted = steps.shift_left(graph, positive, steps.plus(graph, zeros, -1))
    part = _looked_up(graph, lifted, functions.LOG_INDEX_SHIFT, functions.LOG_INDEX_OFFSET, op.table)
    ones = graph.scalar(functions.ONE, "int32", x.rank)
    whole = steps.multiply(graph, steps.minus_from(graph, 31, zeros), ones)
    total = steps.plus(graph, steps.binary(graph, TosaOp.ADD, whole, part), op.offset)
    found = steps.requantise(graph, total, op.scaling, op.output)
    is_positive = steps.compared(graph, TosaOp.GREATER, x, graph.scalar(0, "int32", x.rank))
    return steps.selected(graph, is_positive, found, graph.scalar(op.output.low, op.output.dtype, x.rank))


@tosa_form(SquareRoot)
def emit_square_root(graph: TosaGraph, op: SquareRoot, operands: Sequence[Tensor]) -> Tensor:
    """CLZ, shifts, TABLE, a rounding shift, RESCALE."""
    positive = steps.at_least(graph, steps.cast(graph, operands[0], "int32"), 0)
    zeros = steps.leading_zeros(graph, steps.at_least(graph, positive, 1))
    half = steps.shift_right(graph, steps.plus(graph, zeros, -1), 1, rounded=False)
    lifted = steps.shift_left(graph, positive, steps.binary(graph, TosaOp.ADD, half, half))
    part = _looked_up(graph, lifted, functions.ROOT_INDEX_SHIFT, functions.ROOT_INDEX_OFFSET, op.table)
    raised = steps.shift_left(graph, part, graph.scalar(functions.ROOT_LIFT, "int32", part.rank))
    return steps.requantise(graph, steps.shift_right(graph, raised, half), op.scaling, op.output)
