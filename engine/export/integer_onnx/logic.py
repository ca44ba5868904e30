"""Comparison, logic, selection, and indices of extremes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.export.integer_onnx.elementwise import scaled
from engine.export.integer_onnx.registry import writes
from engine.export.integer_onnx.steps import MAGNITUDE, cast, limited, step
from engine.export.onnx_nodes import Emission, emit
from engine.graph.graph import TensorType
from engine.program.types import CompareScaled, ExtremeIndex, Output, Scaling, SelectScaled, TruthLogic


@writes(CompareScaled)
def _compare(op: CompareScaled, emission: Emission) -> None:
    """In int32, within which scaled operands stay."""
    names = tuple(_as_int32(emission, index, scaling) for index, scaling in enumerate((op.a, op.b)))
    types = tuple(kind and TensorType(kind.shape, "int32") for kind in emission.types)
    emit(op.op, replace(emission, inputs=names, types=types))


def _as_int32(emission: Emission, index: int, scaling: Scaling | None) -> str:
    if scaling is None:
        return cast(emission, emission.inputs[index], "int32")
    x, bound = scaled(emission, index, scaling)
    largest = MAGNITUDE["int32"] - 1
    return cast(emission, limited(emission, x, -largest - 1, largest, bound), "int32")


@writes(TruthLogic)
def _logic(op: TruthLogic, emission: Emission) -> None:
    emit(op.op, emission)


@writes(SelectScaled)
def _select(op: SelectScaled, emission: Emission) -> None:
    """In int32: ONNX Runtime selects few types."""
    a, b = (_candidate(emission, index, scaling, op.output) for index, scaling in ((1, op.a), (2, op.b)))
    cast(emission, step(emission, "Where", emission.inputs[0], a, b), op.output.dtype, emission.outputs[0])


def _candidate(emission: Emission, index: int, scaling: Scaling | None, output: Output) -> str:
    x, bound = scaled(emission, index, scaling)
    return cast(emission, limited(emission, x, output.low, output.high, bound), "int32")


@writes(ExtremeIndex)
def _index(op: ExtremeIndex, emission: Emission) -> None:
    """In int32; the last of equal elements is the first from the end."""
    x, size = cast(emission, emission.inputs[0], "int32"), emission.shape()[op.axis]
    name, keepdims = "ArgMax" if op.maximum else "ArgMin", int(op.keepdims)
    if not op.last:
        step(emission, name, x, to=emission.outputs[0], axis=op.axis, keepdims=keepdims)
        return
    ends = (np.array([value], np.int64) for value in (-1, -size - 1, op.axis, -1))
    found = step(emission, name, step(emission, "Slice", x, *ends), axis=op.axis, keepdims=keepdims)
    step(emission, "Sub", np.array(size - 1, np.int64), found, to=emission.outputs[0])
