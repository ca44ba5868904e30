"""Wide sums and the functions of them: the numbered steps of :mod:`engine.program.functions`, in int64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.export.integer_onnx.registry import writes
from engine.export.integer_onnx.steps import (
    cast,
    extreme,
    leading_zeros,
    limited,
    look_up,
    power_of_two,
    reduce,
    rescale,
    rescaled_bound,
    shifted_down,
    shifted_down_by,
    step,
    whole,
)
from engine.export.onnx_nodes import Emission
from engine.program import functions
from engine.program.types import Logarithm, SquareRoot, WideSum

_LAST = np.array([-1], np.int64)
_TOTAL_BOUND = 2**31


def _value(emission: Emission, x: str) -> str:
    return x


def _magnitude(emission: Emission, x: str) -> str:
    return step(emission, "Abs", x)


def _square(emission: Emission, x: str) -> str:
    return step(emission, "Mul", x, x)


_TERMS: Mapping[str, Callable[[Emission, str], str]] = {"value": _value, "magnitude": _magnitude, "square": _square}


@writes(WideSum)
def _wide_sum(op: WideSum, emission: Emission) -> None:
    terms = _TERMS[op.term](emission, cast(emission, emission.inputs[0], "int64"))
    total = shifted_down(emission, terms, op.shift)
    if op.axes:
        total = reduce(emission, "ReduceSum", total, op.axes, keepdims=op.keepdims)
    cast(emission, total, "int32", emission.outputs[0])


@writes(Logarithm)
def _logarithm(op: Logarithm, emission: Emission) -> None:
    """On [..., 1], along which leading zeros are counted."""
    x = step(emission, "Unsqueeze", cast(emission, emission.inputs[0], "int32"), _LAST)
    positive = extreme(emission, "Max", cast(emission, x, "int64"), 1)
    zeros = leading_zeros(emission, positive)
    lifted = step(emission, "Mul", positive, power_of_two(emission, step(emission, "Sub", zeros, whole(1))))
    index = step(emission, "Div", lifted, whole(1 << functions.LOG_INDEX_SHIFT))
    part = look_up(emission, op.table, step(emission, "Sub", index, whole(functions.LOG_INDEX_OFFSET)))
    digits = step(emission, "Mul", step(emission, "Sub", whole(31), zeros), whole(functions.ONE))
    total = step(emission, "Add", step(emission, "Add", digits, part), whole(op.offset))
    scaled = rescale(emission, total, op.scaling, _TOTAL_BOUND)
    bound = rescaled_bound(op.scaling, _TOTAL_BOUND)
    found = cast(emission, limited(emission, scaled, op.output.low, op.output.high, bound), "int32")
    is_positive = step(emission, "Greater", x, np.array(0, np.int32))
    chosen = step(emission, "Where", is_positive, found, np.array(op.output.low, np.int32))
    cast(emission, step(emission, "Squeeze", chosen, _LAST), op.output.dtype, emission.outputs[0])


@writes(SquareRoot)
def _square_root(op: SquareRoot, emission: Emission) -> None:
    x = step(emission, "Unsqueeze", cast(emission, emission.inputs[0], "int64"), _LAST)
    positive = extreme(emission, "Max", x, 0)
    zeros = leading_zeros(emission, extreme(emission, "Max", positive, 1))
    half = step(emission, "Div", step(emission, "Sub", zeros, whole(1)), whole(2))
    lifted = step(emission, "Mul", positive, power_of_two(emission, step(emission, "Mul", half, whole(2))))
    index = step(emission, "Div", lifted, whole(1 << functions.ROOT_INDEX_SHIFT))
    part = look_up(emission, op.table, step(emission, "Sub", index, whole(functions.ROOT_INDEX_OFFSET)))
    raised = step(emission, "Mul", part, whole(1 << functions.ROOT_LIFT))
    scaled = rescale(emission, shifted_down_by(emission, raised, half), op.scaling, 1 << 30)
    bound = rescaled_bound(op.scaling, 1 << 30)
    result = cast(emission, limited(emission, scaled, op.output.low, op.output.high, bound), op.output.dtype)
    step(emission, "Squeeze", result, _LAST, to=emission.outputs[0])
