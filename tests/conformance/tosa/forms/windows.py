"""Pooling, and the order of axes: TOSA has channels last, the engine's instructions second."""

from __future__ import annotations

from collections.abc import Sequence

from engine.export.tosa.graph import Operator
from engine.export.tosa.schema import TosaOp
from engine.ops.layout import Transpose
from engine.program.types import AveragePoolInteger, MaximumPool
from tests.conformance.tosa.forms.movement import moved
from tests.conformance.tosa.forms.scale import WHOLE, less_zero_point, plus_zero_point
from tests.conformance.tosa.translate import Translation, Value, attribute_list, form_of


def as_image(t: Translation, x: Value, spatial: int = 2) -> Value:
    """[N, *S, C] as [N, C, *S]."""
    return moved(t, Transpose((0, spatial + 1, *range(1, spatial + 1))), x)


def from_image(t: Translation, x: Value, spatial: int = 2) -> Value:
    """[N, C, *S] as [N, *S, C]."""
    return moved(t, Transpose((0, *range(2, spatial + 2), 1)), x)


def paired_pads(pads: Sequence[int]) -> tuple[int, ...]:
    """TOSA's (before, after) of each axis as all before and then all after."""
    return (*pads[::2], *pads[1::2])


@form_of(TosaOp.MAX_POOL2D)
def _maximum(t: Translation, operator: Operator) -> Value:
    op = MaximumPool(
        attribute_list(operator, "kernel"),
        attribute_list(operator, "stride"),
        paired_pads(attribute_list(operator, "pad")),
        (1, 1),
    )
    x = as_image(t, t.value(operator.inputs[0]))
    return from_image(t, t.add(op, (x,), x.dtype))


@form_of(TosaOp.AVG_POOL2D)
def _average(t: Translation, operator: Operator) -> Value:
    """Padding is not counted. The average is taken of ``x - zero point``, which int16 holds."""
    source, before, after = operator.inputs
    op = AveragePoolInteger(
        attribute_list(operator, "kernel"),
        attribute_list(operator, "stride"),
        paired_pads(attribute_list(operator, "pad")),
        (0, 0, 0, 0),
    )
    x = as_image(t, less_zero_point(t, t.value(source), t.number(before)))
    average = from_image(t, t.add(op, (x,), x.dtype))
    zero_point, dtype = t.number(after), t.dtype(source)
    if zero_point == 0 and average.dtype == dtype:
        return average
    return plus_zero_point(t, average, zero_point, WHOLE[dtype])
