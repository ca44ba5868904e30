"""Layout operators: elements in other places."""

from __future__ import annotations

from engine.export.tosa.graph import Operator
from engine.export.tosa.schema import TosaOp
from engine.ops.base import Op
from engine.ops.layout import Concat, Identity, LookUp, Pad, Reshape, Slice, Tile, Transpose
from engine.program.types import DataMovement
from tests.conformance.tosa.translate import Translation, Value, attribute, attribute_list, form_of


def moved(t: Translation, op: Op, *operands: Value, fill: int = 0) -> Value:
    """The operands moved by a layout operator of the graph."""
    return t.add(DataMovement(op, fill), operands, operands[0].dtype)


@form_of(TosaOp.IDENTITY)
def _identity(t: Translation, operator: Operator) -> Value:
    return moved(t, Identity(), t.value(operator.inputs[0]))


@form_of(TosaOp.RESHAPE)
def _reshape(t: Translation, operator: Operator) -> Value:
    return moved(t, Reshape(t.file.sizes[operator.inputs[1]]), t.value(operator.inputs[0]))


@form_of(TosaOp.TRANSPOSE)
def _transpose(t: Translation, operator: Operator) -> Value:
    return moved(t, Transpose(attribute_list(operator, "perms")), t.value(operator.inputs[0]))


@form_of(TosaOp.CONCAT)
def _concat(t: Translation, operator: Operator) -> Value:
    return moved(t, Concat(attribute(operator, "axis")), *(t.value(key) for key in operator.inputs))


@form_of(TosaOp.PAD)
def _pad(t: Translation, operator: Operator) -> Value:
    """TOSA's amounts are (before, after) for each axis, the engine's all before and then all after."""
    source, amounts, fill = operator.inputs
    pairs = t.file.sizes[amounts]
    return moved(t, Pad((*pairs[::2], *pairs[1::2])), t.value(source), fill=t.number(fill))


@form_of(TosaOp.REVERSE)
def _reverse(t: Translation, operator: Operator) -> Value:
    (source,) = operator.inputs
    shape, axis = t.shape(source), attribute(operator, "axis")
    starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[axis], stops[axis], steps[axis] = shape[axis] - 1, -1, -1
    return moved(t, Slice(tuple(starts), tuple(stops), tuple(steps)), t.value(source))


@form_of(TosaOp.SLICE)
def _slice(t: Translation, operator: Operator) -> Value:
    source, first, count = operator.inputs
    starts, sizes = t.file.sizes[first], t.file.sizes[count]
    stops = tuple(start + size for start, size in zip(starts, sizes, strict=True))
    return moved(t, Slice(starts, stops, (1,) * len(starts)), t.value(source))


@form_of(TosaOp.TILE)
def _tile(t: Translation, operator: Operator) -> Value:
    return moved(t, Tile(t.file.sizes[operator.inputs[1]]), t.value(operator.inputs[0]))


@form_of(TosaOp.GATHER)
def _gather(t: Translation, operator: Operator) -> Value:
    """Each batch of [N, K, C] by its own row of the indices [N, W]."""
    source, index_key = operator.inputs
    batches, length, channels = t.shape(source)
    _, count = t.shape(index_key)
    x, indices = t.value(source), t.value(index_key)
    parts: list[Value] = []
    for batch in range(batches):
        rows = moved(t, Slice((batch, 0, 0), (batch + 1, length, channels), (1, 1, 1)), x)
        places = moved(t, Reshape((count,)), moved(t, Slice((batch, 0), (batch + 1, count), (1, 1)), indices))
        parts.append(moved(t, LookUp(1), rows, places))
    return moved(t, Concat(0), *parts)
