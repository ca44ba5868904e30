"""Comparison, logic on truth values, selection, and indices of extremes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.export.tosa.graph import Operator
from engine.export.tosa.schema import TosaOp
from engine.ops.logic import And, Comparison, Equal, Greater, GreaterOrEqual, Logic, Not, Or, Xor
from engine.program.types import AddScaled, CompareScaled, ExtremeIndex, SelectScaled, TruthLogic
from tests.conformance.tosa.forms.scale import UNCHANGED, WHOLE, narrowed
from tests.conformance.tosa.translate import Translation, Value, attribute, form_of

_COMPARISONS: Mapping[TosaOp, Comparison] = {
    TosaOp.EQUAL: Equal(),
    TosaOp.GREATER: Greater(),
    TosaOp.GREATER_EQUAL: GreaterOrEqual(),
}
_CONNECTIVES: Mapping[TosaOp, Logic] = {
    TosaOp.LOGICAL_AND: And(),
    TosaOp.LOGICAL_NOT: Not(),
    TosaOp.LOGICAL_OR: Or(),
    TosaOp.LOGICAL_XOR: Xor(),
}


@form_of(*_COMPARISONS)
def _compare(t: Translation, operator: Operator) -> Value:
    a, b = (t.value(key) for key in operator.inputs)
    return t.add(CompareScaled(_COMPARISONS[operator.op], None, None), (a, b), "bool")


@form_of(*_CONNECTIVES)
def _connect(t: Translation, operator: Operator) -> Value:
    return _logic(t, _CONNECTIVES[operator.op], *(t.value(key) for key in operator.inputs))


def _logic(t: Translation, op: Logic, *operands: Value) -> Value:
    return t.add(TruthLogic(op), operands, "bool")


@form_of(TosaOp.SELECT)
def _select(t: Translation, operator: Operator) -> Value:
    """Of truth values: a where the condition holds, or b where it does not."""
    condition, a, b = (t.value(key) for key in operator.inputs)
    if a.dtype == "bool":
        first = _logic(t, And(), condition, a)
        return _logic(t, Or(), first, _logic(t, And(), _logic(t, Not(), condition), b))
    return t.add(SelectScaled(None, None, WHOLE[a.dtype]), (condition, a, b), a.dtype)


@form_of(TosaOp.BITWISE_NOT)
def _complement(t: Translation, operator: Operator) -> Value:
    """-1 - x."""
    x = t.value(operator.inputs[0])
    ones = t.constant(np.array(-1, np.int32))
    return t.add(AddScaled(None, UNCHANGED, UNCHANGED, WHOLE[x.dtype], subtract=True), (ones, x), x.dtype)


@form_of(TosaOp.ARGMAX)
def _index(t: Translation, operator: Operator) -> Value:
    """The first of equal elements; programs have indices in int64."""
    op = ExtremeIndex(attribute(operator, "axis"), keepdims=False, maximum=True, last=False)
    return narrowed(t, t.add(op, (t.value(operator.inputs[0]),), "int64"), WHOLE["int32"])
