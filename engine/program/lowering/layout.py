"""Data movement: the integers as they are, in other places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.ops.layout import Concat, Layout, LookUp, Pad
from engine.program.arithmetic import scaling_for
from engine.program.lowering.context import LOWER, UnitContext
from engine.program.types import DataMovement, Output, Requantise
from engine.qtype import INTEGER_RANGE, QType


@LOWER.register(Layout)
def lower_movement(context: UnitContext) -> None:
    node = context.node
    outputs = tuple(value for value in node.outputs if value)
    context.emit(DataMovement(node.op), context.graph.activations(node), outputs)


@LOWER.register(Pad)
def lower_pad(context: UnitContext) -> None:
    node = context.node
    assert isinstance(node.op, Pad)
    if not context.result_type.is_quantised:
        context.emit(DataMovement(node.op, int(node.op.value)), context.graph.activations(node))
        return
    low, high = INTEGER_RANGE[context.result_type.dtype]
    fill = int(np.clip(np.rint(node.op.value / context.result_type.scale), low, high))
    context.emit(DataMovement(replace(node.op, value=float(fill)), fill), context.graph.activations(node))


@LOWER.register(Concat)
def lower_concat(context: UnitContext) -> None:
    """Every input is brought to the output's scale first."""
    names = tuple(_aligned(context, value, index) for index, value in enumerate(context.node.inputs))
    context.emit(DataMovement(context.node.op), names)


@LOWER.register(LookUp)
def lower_look_up(context: UnitContext) -> None:
    """Rows of a table in the result's scale; rows of data are taken first and brought to it after."""
    op, (data, indices) = context.node.op, context.node.inputs
    result = context.result_type
    if context.is_constant(data) or context.types[data] == result:
        context.emit(DataMovement(op), (_aligned(context, data, 0), indices))
        return
    incoming = context.types[data]
    taken = context.temporary("taken", incoming)
    context.emit(DataMovement(op), (data, indices), (taken,))
    output = Output(result.dtype, *INTEGER_RANGE[result.dtype])
    context.emit(Requantise(scaling_for(incoming.scale / result.scale), output), (taken,))


def _aligned(context: UnitContext, value: str, index: int) -> str:
    result = context.result_type
    if not result.is_quantised:
        return context.whole_constant(value, index) if context.is_constant(value) else value
    if context.is_constant(value):
        low, high = INTEGER_RANGE[result.dtype]
        integers = np.clip(np.rint(context.constant_of(value) / result.scale), low, high).astype(result.dtype)
        return context.constant(f"operand{index}", integers, result)
    incoming = context.types[value]
    if incoming == result:
        return value
    name = context.temporary(f"operand{index}", QType(result.dtype, result.scale))
    output = Output(result.dtype, *INTEGER_RANGE[result.dtype])
    context.emit(Requantise(scaling_for(incoming.scale / result.scale), output), (value,), (name,))
    return name
