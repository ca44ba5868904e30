"""Arithmetic of one and two tensors, tables and changes of scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.export.tosa.emit import steps
from engine.export.tosa.emit.registry import tosa_form
from engine.export.tosa.graph import Tensor, TosaGraph
from engine.export.tosa.schema import TosaOp
from engine.program.types import (
    AddScaled,
    ExtremeScaled,
    MultiplyScaled,
    Requantise,
    Scaling,
    Table8,
    Table16,
)

_TABLE8_OFFSET = 128


@tosa_form(AddScaled)
def emit_add(graph: TosaGraph, op: AddScaled, operands: Sequence[Tensor]) -> Tensor:
    """RESCALE to int32, ADD or SUB, RESCALE back."""
    a, b = (_wide(graph, x, scaling) for x, scaling in zip(operands, (op.a, op.b), strict=True))
    total = steps.binary(graph, TosaOp.SUB if op.subtract else TosaOp.ADD, a, b)
    return steps.requantise(graph, total, op.out, op.output)


def _wide(graph: TosaGraph, x: Tensor, scaling: Scaling | None) -> Tensor:
    return x if scaling is None else steps.rescale(graph, x, scaling, "int32")


@tosa_form(MultiplyScaled)
def emit_multiply(graph: TosaGraph, op: MultiplyScaled, operands: Sequence[Tensor]) -> Tensor:
    """MUL of equal types to int32, RESCALE."""
    a, b = same_type(graph, operands)
    return steps.requantise(graph, steps.multiply(graph, a, b), op.scaling, op.output)


def same_type(graph: TosaGraph, operands: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Both operands in the wider of their types."""
    a, b = operands
    dtype = "int16" if "int16" in (a.dtype, b.dtype) else a.dtype
    return steps.cast(graph, a, dtype), steps.cast(graph, b, dtype)


@tosa_form(ExtremeScaled)
def emit_extreme(graph: TosaGraph, op: ExtremeScaled, operands: Sequence[Tensor]) -> Tensor:
    """RESCALE to int32, MAXIMUM or MINIMUM, clamp."""
    a, b = (
        steps.rescale(graph, steps.within_reach(graph, x, scaling), scaling, "int32")
        for x, scaling in zip(operands, (op.a, op.b), strict=True)
    )
    return steps.narrowed(graph, steps.extreme(graph, a, b, maximum=op.maximum), op.output)


@tosa_form(Table8)
def emit_table8(graph: TosaGraph, op: Table8, operands: Sequence[Tensor]) -> Tensor:
    """TABLE of 256 entries; to int16, for which TOSA has no such table, GATHER."""
    (x,) = operands
    if op.table.dtype == np.int8:
        return graph.add(TosaOp.TABLE, (x, graph.constant(op.table)), x.shape, "int8")
    places = steps.plus(graph, steps.cast(graph, x, "int32"), _TABLE8_OFFSET)
    count = int(np.prod(x.shape))
    values = graph.constant(op.table.reshape(1, -1, 1))
    taken = graph.add(TosaOp.GATHER, (values, steps.reshape(graph, places, (1, count))), (1, count, 1), "int16")
    return steps.reshape(graph, taken, x.shape)


@tosa_form(Table16)
def emit_table16(graph: TosaGraph, op: Table16, operands: Sequence[Tensor]) -> Tensor:
    """TABLE of 513 interpolated entries, RESCALE."""
    (x,) = operands
    return steps.requantise(graph, steps.table16(graph, x, op.table), op.scaling, op.output)


@tosa_form(Requantise)
def emit_requantise(graph: TosaGraph, op: Requantise, operands: Sequence[Tensor]) -> Tensor:
    """RESCALE."""
    (x,) = operands
    return steps.requantise(graph, x, op.scaling, op.output)
