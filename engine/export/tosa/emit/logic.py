"""Comparison, logic, selection, and indices of extremes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engine.export.tosa.emit import steps
from engine.export.tosa.emit.registry import tosa_form
from engine.export.tosa.graph import Tensor, TosaGraph
from engine.export.tosa.schema import NAN_PROPAGATE, TosaOp
from engine.ops.base import Op
from engine.ops.logic import And, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Or, Xor
from engine.program.types import CompareScaled, ExtremeIndex, Output, Scaling, SelectScaled, TruthLogic

_RELATIONS: Mapping[type[Op], tuple[TosaOp, bool]] = {
    Equal: (TosaOp.EQUAL, False),
    Greater: (TosaOp.GREATER, False),
    GreaterOrEqual: (TosaOp.GREATER_EQUAL, False),
    Less: (TosaOp.GREATER, True),
    LessOrEqual: (TosaOp.GREATER_EQUAL, True),
}
"""TOSA's operator for a comparison, and whether the operands change places."""

_CONNECTIVES: Mapping[type[Op], TosaOp] = {
    And: TosaOp.LOGICAL_AND,
    Or: TosaOp.LOGICAL_OR,
    Xor: TosaOp.LOGICAL_XOR,
}


@tosa_form(CompareScaled)
def emit_compare(graph: TosaGraph, op: CompareScaled, operands: Sequence[Tensor]) -> Tensor:
    """RESCALE or CAST to int32, then EQUAL, GREATER or GREATER_EQUAL."""
    a, b = (_wide(graph, x, scaling) for x, scaling in zip(operands, (op.a, op.b), strict=True))
    relation, swapped = _RELATIONS[type(op.op)]
    return steps.compared(graph, relation, *((b, a) if swapped else (a, b)))


def _wide(graph: TosaGraph, x: Tensor, scaling: Scaling | None) -> Tensor:
    if scaling is None:
        return steps.cast(graph, x, "int32")
    return steps.rescale(graph, steps.within_reach(graph, x, scaling), scaling, "int32")


@tosa_form(TruthLogic)
def emit_logic(graph: TosaGraph, op: TruthLogic, operands: Sequence[Tensor]) -> Tensor:
    """LOGICAL_AND, LOGICAL_OR, LOGICAL_XOR or LOGICAL_NOT."""
    connective = _CONNECTIVES.get(type(op.op))
    if connective is None:
        (x,) = operands
        return graph.add(TosaOp.LOGICAL_NOT, (x,), x.shape, "bool")
    a, b = operands
    return steps.binary(graph, connective, a, b)


@tosa_form(SelectScaled)
def emit_select(graph: TosaGraph, op: SelectScaled, operands: Sequence[Tensor]) -> Tensor:
    """RESCALE of both candidates to the result's type, SELECT."""
    condition, a, b = operands
    first, second = _candidate(graph, a, op.a, op.output), _candidate(graph, b, op.b, op.output)
    return steps.selected(graph, condition, first, second)


def _candidate(graph: TosaGraph, x: Tensor, scaling: Scaling | None, output: Output) -> Tensor:
    if scaling is not None:
        return steps.requantise(graph, x, scaling, output)
    if x.dtype == output.dtype:
        return steps.clamp(graph, x, output)
    return steps.narrowed(graph, steps.cast(graph, x, "int32"), output)


@tosa_form(ExtremeIndex)
def emit_index(graph: TosaGraph, op: ExtremeIndex, operands: Sequence[Tensor]) -> Tensor:
    """ARGMAX, which takes the first of equal elements; of the complement for minima, of the reverse for the last."""
    (x,) = operands
    axis = op.axis % x.rank
    if not op.maximum:  # -1 - x turns the order round and stays within the type
        x = graph.add(TosaOp.BITWISE_NOT, (x,), x.shape, x.dtype)
    if op.last:
        x = steps.gather(graph, x, axis, np.arange(x.shape[axis])[::-1])
    gone = (*x.shape[:axis], *x.shape[axis + 1 :])
    found = graph.add(TosaOp.ARGMAX, (x,), gone, "int32", axis=axis, nan_mode=NAN_PROPAGATE)
    if op.last:
        found = steps.minus_from(graph, x.shape[axis] - 1, found)
    return steps.reshape(graph, found, steps.replaced(x.shape, axis, 1)) if op.keepdims else found
