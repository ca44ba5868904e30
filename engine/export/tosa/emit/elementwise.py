"""Arithmetic of one and two tensors, tables and changes of scale."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps

import numpy as np

from engine.export.tosa.emit import steps
from engine.export.tosa.emit.registry import Emitter, tosa_form
from engine.export.tosa.graph import Shape, Tensor, TosaGraph
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


def before_transpose(emitter: Emitter) -> Emitter:
    """An elementwise form that is applied to what its operands are transposes of, and transposed after that.

    Convolutions transpose what they read to channels last and what they give back: with this, the two cancel also where
    functions and sums stand between convolutions. Constants are transposed here and now.
    """

    @wraps(emitter)
    def emit(graph: TosaGraph, op: object, operands: Sequence[Tensor]) -> Tensor:
        perm = _common_transpose(graph, operands)
        if perm is None:
            return emitter(graph, op, operands)
        sources = [_source(graph, operand, perm) for operand in operands]
        return steps.transpose(graph, emitter(graph, op, sources), perm)

    return emit


def _common_transpose(graph: TosaGraph, operands: Sequence[Tensor]) -> Shape | None:
    """The permutation that all operands but constants are transposed by, if there is one."""
    variable = [operand for operand in operands if operand.key not in graph.arrays]
    perms = {graph.transposed[item.key][1] if item.key in graph.transposed else None for item in variable}
    perm = perms.pop() if len(perms) == 1 else None
    return perm if perm and all(operand.rank <= len(perm) for operand in operands) else None


def _source(graph: TosaGraph, operand: Tensor, perm: Shape) -> Tensor:
    array = graph.arrays.get(operand.key)
    if array is None:
        return graph.transposed[operand.key][0]
    whole = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
    return graph.constant(np.ascontiguousarray(whole.transpose(np.argsort(perm))), operand.dtype)


@tosa_form(AddScaled)
@before_transpose
def emit_add(graph: TosaGraph, op: AddScaled, operands: Sequence[Tensor]) -> Tensor:
    """RESCALE to int32, ADD or SUB, RESCALE back."""
    a, b = (_wide(graph, x, scaling) for x, scaling in zip(operands, (op.a, op.b), strict=True))
    total = steps.binary(graph, TosaOp.SUB if op.subtract else TosaOp.ADD, a, b)
    return steps.requantise(graph, total, op.out, op.output)


def _wide(graph: TosaGraph, x: Tensor, scaling: Scaling | None) -> Tensor:
    return x if scaling is None else steps.rescale(graph, x, scaling, "int32")


@tosa_form(MultiplyScaled)
@before_transpose
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
@before_transpose
def emit_extreme(graph: TosaGraph, op: ExtremeScaled, operands: Sequence[Tensor]) -> Tensor:
    """RESCALE to int32, MAXIMUM or MINIMUM, clamp."""
    a, b = (
        steps.rescale(graph, steps.within_reach(graph, x, scaling), scaling, "int32")
        for x, scaling in zip(operands, (op.a, op.b), strict=True)
    )
    return steps.narrowed(graph, steps.extreme(graph, a, b, maximum=op.maximum), op.output)


@tosa_form(Table8)
@before_transpose
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
@before_transpose
def emit_table16(graph: TosaGraph, op: Table16, operands: Sequence[Tensor]) -> Tensor:
    """TABLE of 513 interpolated entries, RESCALE."""
    (x,) = operands
    return steps.requantise(graph, steps.table16(graph, x, op.table), op.scaling, op.output)


@tosa_form(Requantise)
@before_transpose
def emit_requantise(graph: TosaGraph, op: Requantise, operands: Sequence[Tensor]) -> Tensor:
    """RESCALE."""
    (x,) = operands
    return steps.requantise(graph, x, op.scaling, op.output)
