"""Arithmetic of one and two tensors, tables, changes of scale, reductions."""

from __future__ import annotations

import numpy as np

from engine.export.tosa.graph import Operator
from engine.export.tosa.schema import TosaOp
from engine.ops.logic import Cast
from engine.program.arithmetic import frozen, leading_zeros, rounding_shift
from engine.program.types import (
    AddScaled,
    ExtremeReduce,
    ExtremeScaled,
    FloatKernel,
    MultiplyScaled,
    Output,
    ProgramOp,
    Requantise,
    Scaling,
    SumReduce,
    Table8,
    Table16,
)
from tests.conformance.tosa.forms.scale import (
    UNCHANGED,
    WHOLE,
    less_zero_point,
    narrowed,
    plus_zero_point,
    scaling,
)
from tests.conformance.tosa.reader import array_of
from tests.conformance.tosa.translate import CONTAINER, OutsideError, Translation, Value, attribute, form_of

SHIFT_WITHOUT_ROUNDING = "a step of softmax, norms and roots by Python's own operator: no instruction shifts alone"

_SMALLEST_SHIFT = 2
_WIDTH = {"int8": 8, "int16": 16, "int32": 32}


def _binary(t: Translation, operator: Operator, op: ProgramOp, dtype: str) -> Value:
    first, second = (t.value(key) for key in operator.inputs[:2])
    return t.add(op, (first, second), dtype)


@form_of(TosaOp.ADD, TosaOp.SUB)
def _add(t: Translation, operator: Operator) -> Value:
    subtract = operator.op is TosaOp.SUB
    return _binary(t, operator, AddScaled(UNCHANGED, UNCHANGED, UNCHANGED, WHOLE["int32"], subtract), "int32")


@form_of(TosaOp.MAXIMUM, TosaOp.MINIMUM)
def _extreme(t: Translation, operator: Operator) -> Value:
    maximum = operator.op is TosaOp.MAXIMUM
    return _binary(t, operator, ExtremeScaled(UNCHANGED, UNCHANGED, WHOLE["int32"], maximum), "int32")


@form_of(TosaOp.MUL)
def _multiply(t: Translation, operator: Operator) -> Value:
    """``(a * b) >> shift``, rounded: a multiplier that is a power of two where the shift is too small for RESCALE."""
    shift = t.number(operator.inputs[2])
    more = max(_SMALLEST_SHIFT - shift, 0)
    return _binary(t, operator, MultiplyScaled(scaling(1 << more, shift + more), WHOLE["int32"]), "int32")


@form_of(TosaOp.ABS)
def _absolute(t: Translation, operator: Operator) -> Value:
    """The greater of x and 0 - x."""
    x = t.value(operator.inputs[0])
    zero = t.constant(np.zeros((), np.int32))
    negative = t.add(AddScaled(None, UNCHANGED, UNCHANGED, WHOLE["int32"], subtract=True), (zero, x), "int32")
    return t.add(ExtremeScaled(UNCHANGED, UNCHANGED, WHOLE["int32"], maximum=True), (x, negative), "int32")


@form_of(TosaOp.ARITHMETIC_RIGHT_SHIFT)
def _shift_right(t: Translation, operator: Operator) -> Value:
    """The function that defines this step of softmax and norms, on the case's numbers."""
    if not operator.attribute["round"]:
        raise OutsideError(SHIFT_WITHOUT_ROUNDING)
    x, count = (t.array(key) for key in operator.inputs)
    shifted = rounding_shift(x.astype(np.int64), count.astype(np.int64))
    return t.constant(shifted.astype(t.dtype(operator.outputs[0])))


@form_of(TosaOp.LOGICAL_LEFT_SHIFT)
def _shift_left(_t: Translation, _operator: Operator) -> Value:
    raise OutsideError(SHIFT_WITHOUT_ROUNDING)


@form_of(TosaOp.CLZ)
def _leading_zeros(t: Translation, operator: Operator) -> Value:
    """The function that defines this step of softmax and norms, on the case's numbers."""
    return t.constant(leading_zeros(t.array(operator.inputs[0]).astype(np.int64)).astype(np.int32))


@form_of(TosaOp.CLAMP)
def _clamp(t: Translation, operator: Operator) -> Value:
    x = t.value(operator.inputs[0])
    bounds: list[int] = []
    for name in ("min_val", "max_val"):
        stored = operator.attribute[name]
        assert isinstance(stored, bytes)
        bounds.append(int(array_of(stored, x.dtype, 1)[0]))
    return narrowed(t, x, Output(x.dtype, *bounds))


@form_of(TosaOp.TABLE)
def _table(t: Translation, operator: Operator) -> Value:
    x, table = t.value(operator.inputs[0]), t.array(operator.inputs[1])
    if x.dtype == "int8":
        return t.add(Table8(table.astype(np.int8)), (x,), "int8")
    return t.add(Table16(table.astype(np.int16), UNCHANGED, WHOLE["int32"]), (x,), "int32")


@form_of(TosaOp.CAST)
def _cast(t: Translation, operator: Operator) -> Value:
    source, target = t.dtype(operator.inputs[0]), t.dtype(operator.outputs[0])
    x = t.value(operator.inputs[0])
    if "bool" in (source, target):  # nodes on booleans are the CPU's
        return t.add(FloatKernel(Cast(source, target)), (x,), target)
    return _wrapped(t, x, target) if _WIDTH[target] < _WIDTH[source] else narrowed(t, x, WHOLE[target])


def _wrapped(t: Translation, x: Value, dtype: str) -> Value:
    """The low bits of x: instructions saturate, so what is above them, ``x / 2^bits`` to the nearest, is subtracted."""
    bits = _WIDTH[dtype]
    above = t.add(Requantise(scaling(1 << 30, 30 + bits), WHOLE["int32"]), (x,), "int32")
    op = AddScaled(UNCHANGED, scaling(1 << 30, 30 - bits), UNCHANGED, WHOLE[dtype], subtract=True)
    return t.add(op, (x, above), dtype)


@form_of(TosaOp.RESCALE)
def _rescale(t: Translation, operator: Operator) -> Value:
    """Requantise; zero points are added and subtracted around it, in integers that hold them."""
    source, multiplier_key, shift_key, *zero_points = operator.inputs
    target = operator.outputs[0]
    signs = "input_unsigned", "output_unsigned"
    for key, name in zip((source, target), signs, strict=True):
        if operator.attribute[name]:
            t.unsigned.add(key)
    before, after = (
        _zero_point(t, key, unsigned=bool(operator.attribute[name]))
        for key, name in zip(zero_points, signs, strict=True)
    )
    factor = Scaling(frozen(t.array(multiplier_key).astype(np.int32)), frozen(t.array(shift_key).astype(np.int8)))
    x = less_zero_point(t, t.value(source), before)
    output = _range_of(t, target)
    if after == 0:
        return t.add(Requantise(factor, output), (x,), output.dtype)
    scaled = t.add(Requantise(factor, WHOLE["int32"]), (x,), "int32")
    return plus_zero_point(t, scaled, after, output)


def _zero_point(t: Translation, key: str, *, unsigned: bool) -> int:
    value = t.number(key)
    return value % (1 << _WIDTH[t.dtype(key)]) if unsigned else value


def _range_of(t: Translation, key: str) -> Output:
    """All numbers of a tensor's type, in the type that holds them here."""
    dtype = t.dtype(key)
    if key not in t.unsigned:
        return WHOLE[CONTAINER[dtype]]
    return Output(CONTAINER[f"u{dtype}"], 0, (1 << _WIDTH[dtype]) - 1)


@form_of(TosaOp.REDUCE_SUM)
def _sum(t: Translation, operator: Operator) -> Value:
    axes = (attribute(operator, "axis"),)
    op = SumReduce(axes, True, UNCHANGED, WHOLE["int32"])
    return t.add(op, (t.value(operator.inputs[0]),), "int32")


@form_of(TosaOp.REDUCE_MAX, TosaOp.REDUCE_MIN)
def _reduced_extreme(t: Translation, operator: Operator) -> Value:
    x = t.value(operator.inputs[0])
    op = ExtremeReduce((attribute(operator, "axis"),), True, operator.op is TosaOp.REDUCE_MAX)
    return t.add(op, (x,), x.dtype)
