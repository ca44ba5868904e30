"""Integer arithmetic as ONNX nodes, exact by construction: every step is int32 or int64 and proved not to overflow.

ONNX has no arithmetic right shift. Its integer division truncates, which for numbers that are not negative is a shift;
so values are lifted by a power of two, divided, and lowered by the quotient of that power.

Values are compared (Clip, Max, ReduceMax, GreaterOrEqual) in int32 only: ONNX Runtime's x86 builds order some int64
values beyond 2^31 wrongly (github.com/microsoft/onnxruntime/pull/32475).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExportError
from engine.export.onnx_nodes import Emission
from engine.export.onnx_nodes.builder import Attribute, onnx_type
from engine.program.arithmetic import rescaled_bound
from engine.program.types import Output, Scaling

Operand = str | NDArray[np.generic]
"""A value's name, or a constant."""

_LIFT_BITS = 62
_LIFT = 1 << _LIFT_BITS
_SMALL_LIFT_BITS = 60
_LARGEST_COUNT = 62
_INT32_LIMIT = 2**31

MAGNITUDE = {"int8": 128, "int16": 32768, "int32": 2**31}
"""Largest magnitude of each type."""


def step(emission: Emission, op_type: str, *inputs: Operand, to: str | None = None, **attributes: Attribute) -> str:
    """Append a node with one output, under a new name unless ``to`` gives one; returns the name."""
    names = [item if isinstance(item, str) else constant(emission, item) for item in inputs]
    result = emission.inner(op_type.lower()) if to is None else to
    emission.node(op_type, names, (result,), **attributes)
    return result


def constant(emission: Emission, array: NDArray[np.generic]) -> str:
    """A constant under a new name."""
    return emission.builder.constant(f"{emission.outputs[0]}/constant", array)


def whole(value: int) -> NDArray[np.int64]:
    """An int64 constant of no axes."""
    return np.array(value, dtype=np.int64)


def cast(emission: Emission, x: Operand, dtype: str, to: str | None = None) -> str:
    """The same numbers in another type."""
    name = x if isinstance(x, str) else constant(emission, x)
    result = emission.inner(dtype) if to is None else to
    emission.node("Cast", (name,), (result,), to=onnx_type(dtype))
    return result


def reshape(emission: Emission, x: str, shape: tuple[int, ...], to: str | None = None) -> str:
    """0 keeps an axis as it is, -1 follows from the others."""
    return step(emission, "Reshape", x, np.array(shape, dtype=np.int64), to=to)


def reduce(emission: Emission, op_type: str, x: str, axes: tuple[int, ...], *, keepdims: bool = True) -> str:
    """ReduceSum, ReduceMax or ReduceMin."""
    return step(emission, op_type, x, np.array(axes, dtype=np.int64), keepdims=int(keepdims))


def rescale(emission: Emission, x: str, scaling: Scaling, bound: int, shape: tuple[int, ...] = (-1,)) -> str:
    """``(x * multiplier + (1 << (shift - 1))) >> shift`` for int64 x with |x| <= ``bound``.

    Args:
        emission: Where the nodes go.
        x: Accumulators.
        scaling: One multiplier, or one for each channel.
        bound: Largest magnitude of the accumulators.
        shape: Shape in which multipliers per channel broadcast.

    Raises:
        ExportError: The product may exceed 62 bits.
    """
    multiplier, shift = _parameters(scaling.multiplier, shape), _parameters(scaling.shift, shape)
    largest = bound * int(scaling.multiplier.max())
    if largest >= _LIFT:
        raise ExportError(
            f"accumulators of up to {bound} times {int(scaling.multiplier.max())} exceed 62 bits",
            node=emission.label,
            hint="mark the node float",
        )
    product = step(emission, "Mul", x, multiplier)
    half = np.int64(1) << (shift - 1)
    if largest + int(half.max()) < _LIFT:
        quotient = step(emission, "Div", step(emission, "Add", product, half + _LIFT), np.int64(1) << shift)
    else:  # (p + 2^(s-1)) >> s = ((p >> (s-1)) + 1) >> 1: nothing is added to the product beside the lift
        floor = step(emission, "Div", step(emission, "Add", product, whole(_LIFT)), half)
        quotient = step(emission, "Div", step(emission, "Add", floor, whole(1)), whole(2))
    return step(emission, "Sub", quotient, np.int64(1) << (_LIFT_BITS - shift))


def _parameters(values: NDArray[np.signedinteger], shape: tuple[int, ...]) -> NDArray[np.int64]:
    return values.astype(np.int64).reshape(() if values.size == 1 else shape)


def limited(emission: Emission, x: str, low: int, high: int, bound: int) -> str:
    """int64 x with |x| <= ``bound``, limited to [low, high] within int32; the result's type is left open.

    What may exceed int32 is limited in float64: it holds all that lies between the limits, and rounds nothing from
    beyond a limit to within.
    """
    dtype = "int32" if bound < _INT32_LIMIT else "float64"
    return step(emission, "Clip", cast(emission, x, dtype), np.array(low, dtype), np.array(high, dtype))


def clamp(emission: Emission, x: str, output: Output, bound: int, to: str) -> None:
    """int64 x with |x| <= ``bound``, limited to the output's bounds, in its type, as the value ``to``."""
    cast(emission, limited(emission, x, output.low, output.high, bound), output.dtype, to)


def extreme(emission: Emission, op_type: str, x: str, other: int) -> str:
    """Max or Min with a number, for int64 |x| < 2^31."""
    chosen = step(emission, op_type, cast(emission, x, "int32"), np.array(other, np.int32))
    return cast(emission, chosen, "int64")


def largest_of_rows(emission: Emission, x: str) -> str:
    """Maximum over the last axis, which stays, for int64 |x| < 2^31."""
    return cast(emission, reduce(emission, "ReduceMax", cast(emission, x, "int32"), (-1,)), "int64")


def requantise(
    emission: Emission, x: str, scaling: Scaling, output: Output, bound: int, shape: tuple[int, ...] = (-1,)
) -> None:
    """``clamp(scaling(x))`` as the emission's output; arguments as of :func:`rescale`."""
    scaled = rescale(emission, x, scaling, bound, shape)
    clamp(emission, scaled, output, rescaled_bound(scaling, bound), emission.outputs[0])


def shifted_down(emission: Emission, x: str, count: int) -> str:
    """``x >> count`` with rounding, for int64 |x| < 2^60; x itself where count is 0."""
    if count == 0:
        return x
    lift = 1 << _SMALL_LIFT_BITS
    lifted = step(emission, "Add", x, whole(lift + (1 << (count - 1))))
    return step(emission, "Sub", step(emission, "Div", lifted, whole(1 << count)), whole(lift >> count))


def shifted_down_by(emission: Emission, x: str, count: str) -> str:
    """The same with counts in [0, 62] that the model computes, for int64 |x| < 2^60."""
    divisor = power_of_two(emission, count)
    lift = whole(1 << _SMALL_LIFT_BITS)
    lifted = step(emission, "Add", step(emission, "Add", x, _halves(emission, count)), lift)
    return step(emission, "Sub", step(emission, "Div", lifted, divisor), step(emission, "Div", lift, divisor))


def power_of_two(emission: Emission, exponent: str) -> str:
    """2^exponent for int64 exponents in [0, 62]."""
    powers = np.int64(1) << np.arange(_LARGEST_COUNT + 1, dtype=np.int64)
    return step(emission, "Gather", powers, exponent)


def _halves(emission: Emission, count: str) -> str:
    """Half of 2^count: 0 for 0."""
    powers = np.int64(1) << np.arange(_LARGEST_COUNT + 1, dtype=np.int64)
    return step(emission, "Gather", powers >> 1, count)


def leading_zeros(emission: Emission, x: str) -> str:
    """CLZ of int64 values [..., 1] in [0, 2^31): 32 less the number of powers of two that they reach."""
    powers = np.int32(1) << np.arange(31, dtype=np.int32)
    reached = cast(emission, step(emission, "GreaterOrEqual", cast(emission, x, "int32"), powers), "int64")
    return step(emission, "Sub", whole(32), reduce(emission, "ReduceSum", reached, (-1,)))


def look_up(emission: Emission, table: NDArray[np.int16], index: str) -> str:
    """TOSA int16 TABLE of int64 indices in [-32768, 32767]: interpolated values of 23 bits."""
    entries = table.astype(np.int64)
    position = step(emission, "Add", index, whole(32768))
    place = step(emission, "Div", position, whole(128))
    fraction = step(emission, "Mod", position, whole(128))
    base = step(emission, "Gather", entries[:-1] << 7, place)
    slope = step(emission, "Gather", np.diff(entries), place)
    return step(emission, "Add", base, step(emission, "Mul", slope, fraction))
