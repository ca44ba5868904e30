"""Tables, changes of scale, and arithmetic of two tensors."""

from __future__ import annotations

import numpy as np

from engine.export.integer_onnx.registry import writes
from engine.export.integer_onnx.steps import (
    MAGNITUDE,
    cast,
    limited,
    look_up,
    reduce,
    requantise,
    rescale,
    step,
)
from engine.export.onnx_nodes import Emission
from engine.program.arithmetic import rescaled_bound
from engine.program.types import (
    AddScaled,
    ExtremeReduce,
    ExtremeScaled,
    MultiplyScaled,
    Requantise,
    Scaling,
    SumReduce,
    Table8,
    Table16,
)


def bound_of(emission: Emission, index: int) -> int:
    """Largest magnitude that an integer operand can have."""
    if index in emission.constants:
        return int(np.abs(emission.constants[index].astype(np.int64)).max(initial=0))
    kind = emission.types[index]
    assert kind is not None
    return MAGNITUDE[kind.dtype]


@writes(Table8)
def _table8(op: Table8, emission: Emission) -> None:
    """Indices below 0 count from the table's end, so the table starts with the entry of 0."""
    index = cast(emission, emission.inputs[0], "int32")
    step(emission, "Gather", np.roll(op.table, -128), index, to=emission.outputs[0])


@writes(Table16)
def _table16(op: Table16, emission: Emission) -> None:
    value = look_up(emission, op.table, cast(emission, emission.inputs[0], "int64"))
    largest = int(np.abs(op.table.astype(np.int64)).max()) << 7
    requantise(emission, value, op.scaling, op.output, largest)


@writes(Requantise)
def _requantise(op: Requantise, emission: Emission) -> None:
    x = cast(emission, emission.inputs[0], "int64")
    requantise(emission, x, op.scaling, op.output, bound_of(emission, 0))


def scaled(emission: Emission, index: int, scaling: Scaling | None) -> tuple[str, int]:
    """An operand in int64, scaled unless there is no scaling, and its largest magnitude."""
    bound = bound_of(emission, index)
    x = cast(emission, emission.inputs[index], "int64")
    if scaling is None:
        return x, bound
    return rescale(emission, x, scaling, bound), rescaled_bound(scaling, bound)


@writes(AddScaled)
def _add(op: AddScaled, emission: Emission) -> None:
    (a, bound_a), (b, bound_b) = scaled(emission, 0, op.a), scaled(emission, 1, op.b)
    total = step(emission, "Sub" if op.subtract else "Add", a, b)
    requantise(emission, total, op.out, op.output, bound_a + bound_b)


@writes(MultiplyScaled)
def _multiply(op: MultiplyScaled, emission: Emission) -> None:
    a, b = (cast(emission, name, "int64") for name in emission.inputs)
    bound = bound_of(emission, 0) * bound_of(emission, 1)
    requantise(emission, step(emission, "Mul", a, b), op.scaling, op.output, bound)


@writes(ExtremeScaled)
def _extreme(op: ExtremeScaled, emission: Emission) -> None:
    """Both operands are limited before they are compared, which changes nothing and keeps them within int32."""
    (a, bound_a), (b, bound_b) = scaled(emission, 0, op.a), scaled(emission, 1, op.b)
    low, high = op.output.low, op.output.high
    first = cast(emission, limited(emission, a, low, high, bound_a), "int32")
    second = cast(emission, limited(emission, b, low, high, bound_b), "int32")
    chosen = step(emission, "Max" if op.maximum else "Min", first, second)
    cast(emission, chosen, op.output.dtype, emission.outputs[0])


@writes(SumReduce)
def _sum(op: SumReduce, emission: Emission) -> None:
    count = int(np.prod([emission.shape()[axis] for axis in op.axes], dtype=np.int64))
    x = cast(emission, emission.inputs[0], "int64")
    total = reduce(emission, "ReduceSum", x, op.axes, keepdims=op.keepdims)
    requantise(emission, total, op.scaling, op.output, count * bound_of(emission, 0))


@writes(ExtremeReduce)
def _extreme_reduce(op: ExtremeReduce, emission: Emission) -> None:
    """In int32: ONNX Runtime has no reduction of int16."""
    x = cast(emission, emission.inputs[0], "int32")
    name = "ReduceMax" if op.maximum else "ReduceMin"
    cast(emission, reduce(emission, name, x, op.axes, keepdims=op.keepdims), emission.dtype, emission.outputs[0])
