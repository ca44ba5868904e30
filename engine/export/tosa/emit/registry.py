"""Dispatch from operators to the functions that write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.export.tosa.graph import Tensor, TosaGraph
from engine.ops.base import Behaviour
from engine.program.types import DataMovement, ProgramOp

Emitter = Callable[[TosaGraph, Any, Sequence[Tensor]], Tensor]
MovementEmitter = Callable[[TosaGraph, Any, int, Sequence[Tensor]], tuple[Tensor, ...]]

TO_TOSA: dict[type[ProgramOp], Emitter] = {}
"""Program operator -> ``(graph, op, operands) -> result``. Data movement has a table of its own."""

MOVEMENT: Behaviour[MovementEmitter] = Behaviour("TOSA data movement")
"""Layout operator -> ``(graph, op, fill, operands) -> results``."""


def tosa_form(cls: type[ProgramOp]) -> Callable[[Emitter], Emitter]:
    """Decorator that registers how a program operator is written."""

    def add(emitter: Emitter) -> Emitter:
        TO_TOSA[cls] = emitter
        return emitter

    return add


def emit(graph: TosaGraph, op: ProgramOp, operands: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Add the TOSA operators that compute ``op``.

    Raises:
        ExportError: There is no TOSA form with the same bits; the graph's node is named.
    """
    if isinstance(op, DataMovement):
        movement = MOVEMENT.find(op.op)
        if movement is None:
            raise graph.refuse(op.op.type_name)
        return movement(graph, op.op, op.fill, operands)
    emitter = TO_TOSA.get(type(op))
    if emitter is None:
        raise graph.refuse(type(op).__name__)
    return (emitter(graph, op, operands),)
