"""How large the sums of an instruction can become, proved from its own numbers, against the width they are kept in.

A bound holds for every input: it is made from the largest magnitudes of the operands, the actual weights and the actual
requantisation parameters. Lowering refuses what has none within its accumulator (:func:`check_sums`), so no program
overflows; a report lists the bounds (:func:`engine.analyze.accumulators.describe_accumulators`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import GraphError
from engine.program import norm, softmax
from engine.program.arithmetic import accumulator_bound, rescaled_bound
from engine.program.shapes import Shape, ValueShapes
from engine.program.types import (
    AddScaled,
    AveragePoolInteger,
    CompareScaled,
    Convolution,
    DataMovement,
    Dequantise,
    DivideScaled,
    ExtremeIndex,
    ExtremeReduce,
    ExtremeScaled,
    FloatKernel,
    FullyConnected,
    Instruction,
    IntegerLayerNorm,
    IntegerSoftmax,
    Logarithm,
    MatrixProduct,
    MaximumPool,
    MultiplyScaled,
    ProgramConstant,
    ProgramOp,
    Quantise,
    Requantise,
    ResizeLinear,
    SelectScaled,
    SquareRoot,
    SumReduce,
    Table8,
    Table16,
    TruthLogic,
    WideSum,
)
from engine.qtype import INTEGER_RANGE, QType

NARROW, WIDE = 32, 48
"""Bits of an accumulator: of int8 operands, and of products and sums that an int16 operand takes part in (TOSA 1.0)."""

_INT32_LARGEST = 2**31 - 1

WEIGHTS, CONSTANTS, SHAPE = "weights", "constants", "shape"
"""What a bound is proved from: the weights of the layer, the constants of its arithmetic, or types and sizes alone."""


@dataclass(frozen=True)
class Operand:
    """What a bound knows of an operand: type, shape, largest magnitude, and its values where it is constant."""

    dtype: str
    shape: Callable[[], Shape]
    largest: int
    values: NDArray[np.generic] | None = None


@dataclass(frozen=True)
class Bound:
    """``largest`` is the magnitude that a sum of the instruction can reach at most, ``bits`` the width it is kept in.

    ``stage`` names the sum, ``proof`` what the bound was made from.
    """

    largest: int
    bits: int
    stage: str
    proof: str

    @property
    def holds(self) -> bool:
        """Whether the sum stays within its accumulator."""
        return self.largest < 2 ** (self.bits - 1)

    @property
    def headroom_bits(self) -> float:
        """How many times the sum could double; negative where it does not fit."""
        return self.bits - 1 - math.log2(max(self.largest, 1))


Find = Callable[[Any, Sequence[Operand]], Bound]
"""``(op, operands) -> bound`` of the sum with the least headroom."""

BOUND: dict[type[ProgramOp], Find] = {}
"""Program operator -> what bounds its sums."""

NO_SUM: frozenset[type[ProgramOp]] = frozenset(
    {
        *(CompareScaled, DataMovement, Dequantise, ExtremeIndex, ExtremeReduce, ExtremeScaled, FloatKernel, Logarithm),
        *(MaximumPool, Quantise, Requantise, SelectScaled, SquareRoot, Table8, TruthLogic),
    }
)
"""Operators that add nothing up: they move, look up, compare, select or scale single values."""

F = TypeVar("F", bound=Find)


def bounds(cls: type[ProgramOp]) -> Callable[[F], F]:
    """Decorator that registers what bounds an operator's sums."""

    def add(find: F) -> F:
        BOUND[cls] = find
        return find

    return add


def bounds_of(
    instructions: Iterable[Instruction],
    types: Mapping[str, QType],
    constants: Mapping[str, ProgramConstant],
    shapes: ValueShapes,
) -> list[tuple[Instruction, Bound | None]]:
    """The bound of every instruction that adds values up; None where there is no proof."""
    largest: dict[str, int] = {}

    def operand(value: str) -> Operand:
        constant = constants.get(value)
        if constant is not None:
            magnitude = int(np.abs(constant.array.astype(np.int64)).max(initial=0))
            return Operand(constant.array.dtype.name, lambda: shapes.of(value), magnitude, constant.array)
        dtype = types[value].dtype
        magnitude = largest.get(value, INTEGER_RANGE.get(dtype, (0, _INT32_LARGEST))[1])
        return Operand(dtype, lambda: shapes.of(value), magnitude)

    found: list[tuple[Instruction, Bound | None]] = []
    for item in instructions:
        if isinstance(item.op, Requantise):  # it may limit a value more than its type does
            largest[item.outputs[0]] = max(abs(item.op.output.low), abs(item.op.output.high))
        if type(item.op) in NO_SUM:
            continue
        find = BOUND.get(type(item.op))
        bound = None if find is None else find(item.op, [operand(value) for value in item.inputs])
        if isinstance(item.op, WideSum) and bound is not None:
            largest[item.outputs[0]] = bound.largest
        found.append((item, bound))
    return found


def check_sums(found: Iterable[tuple[Instruction, Bound | None]], node: str) -> None:
    """Refuse instructions whose sums may overflow.

    Raises:
        GraphError: A bound does not fit its accumulator; the node is named.
    """
    for _, bound in found:
        if bound is not None and not bound.holds:
            raise GraphError(
                f"its {bound.stage} may reach {bound.largest}, beyond the {bound.bits} bits of its accumulator",
                node=node,
                hint="mark the node float",
            )


def _width(*dtypes: str) -> int:
    return WIDE if "int16" in dtypes else NARROW


@bounds(Convolution)
def _convolution(op: Convolution, operands: Sequence[Operand]) -> Bound:
    """``sum |w| * max |x| + |b|`` of the worst output channel; every tap counts for every output."""
    (x,) = operands
    first, second, *kernel = op.weight.shape
    weight = op.weight
    if op.transposed:  # [C, O/G, *K] -> [O, C/G, *K]
        weight = weight.reshape(op.groups, first // op.groups, second, *kernel).swapaxes(1, 2)
        weight = weight.reshape(op.groups * second, first // op.groups, *kernel)
    largest = int(accumulator_bound(weight, op.bias, x.largest).max(initial=0))
    return Bound(largest, _width(x.dtype), "sum of products and bias", WEIGHTS)


@bounds(FullyConnected)
def _fully_connected(op: FullyConnected, operands: Sequence[Operand]) -> Bound:
    (x,) = operands
    largest = int(accumulator_bound(op.weight, op.bias, x.largest).max(initial=0))
    return Bound(largest, _width(x.dtype), "sum of products and bias", WEIGHTS)


@bounds(MatrixProduct)
def _matrix_product(_op: MatrixProduct, operands: Sequence[Operand]) -> Bound:
    """``K max |a| max |b|``; of a constant, the actual magnitudes of its worst row or column."""
    a, b = operands
    width, stage = _width(a.dtype, b.dtype), "sum of products"
    if b.values is not None:
        return Bound(_worst_sum(b.values, max(b.values.ndim - 2, 0)) * a.largest, width, stage, WEIGHTS)
    if a.values is not None:
        return Bound(_worst_sum(a.values, a.values.ndim - 1) * b.largest, width, stage, WEIGHTS)
    return Bound(a.shape()[-1] * a.largest * b.largest, width, stage, SHAPE)


def _worst_sum(values: NDArray[np.generic], axis: int) -> int:
    return int(np.abs(values.astype(np.int64)).sum(axis=axis).max(initial=0))


@bounds(AddScaled)
def _add(op: AddScaled, operands: Sequence[Operand]) -> Bound:
    scalings = (op.a, op.b)
    parts = [
        operand.largest if scaling is None else rescaled_bound(scaling, operand.largest)
        for operand, scaling in zip(operands, scalings, strict=True)
    ]
    return Bound(sum(parts), NARROW, "sum of both operands", CONSTANTS)


@bounds(MultiplyScaled)
def _multiply(_op: MultiplyScaled, operands: Sequence[Operand]) -> Bound:
    return Bound(operands[0].largest * operands[1].largest, NARROW, "product", SHAPE)


@bounds(DivideScaled)
def _divide(op: DivideScaled, operands: Sequence[Operand]) -> Bound:
    """Step 4 of :mod:`engine.program.division`, whose rounding adds 1; the later ones are shorter by construction."""
    largest = operands[0].largest * int(op.reciprocal_table.max()) + 1
    return Bound(largest, NARROW, "product with the reciprocal", SHAPE)


@bounds(SumReduce)
def _sum(op: SumReduce, operands: Sequence[Operand]) -> Bound:
    """48 bits where 32 do not hold it: its multiplier is then one of 15 bits."""
    (x,) = operands
    shape = x.shape()
    largest = math.prod(shape[axis] for axis in op.axes) * x.largest
    wide = bool(op.scaling.multiplier.max(initial=0) < 2**15)
    return Bound(largest, WIDE if wide and largest >= 2**31 else NARROW, "sum", SHAPE)


@bounds(WideSum)
def _wide_sum(op: WideSum, operands: Sequence[Operand]) -> Bound:
    (x,) = operands
    shape, half = x.shape(), (1 << op.shift) >> 1
    term = x.largest**2 if op.term == "square" else x.largest
    count = math.prod(shape[axis] for axis in op.axes)
    return Bound(count * ((term + half) >> op.shift), NARROW, "sum", SHAPE)


@bounds(Table16)
def _table(op: Table16, _operands: Sequence[Operand]) -> Bound:
    return Bound(int(np.abs(op.table.astype(np.int64)).max()) << 7, NARROW, "interpolation", CONSTANTS)


@bounds(AveragePoolInteger)
def _average_pool(op: AveragePoolInteger, operands: Sequence[Operand]) -> Bound:
    return Bound(math.prod(op.kernel) * operands[0].largest, NARROW, "sum of a window", SHAPE)


@bounds(ResizeLinear)
def _resize(op: ResizeLinear, operands: Sequence[Operand]) -> Bound:
    """The weights of an output's neighbours add up to 2^11 along each axis."""
    (x,) = operands
    largest = (x.largest << (11 * len(op.low))) >> op.row_shift
    return Bound(largest, NARROW if op.row_shift else _width(x.dtype), "weighted sum of neighbours", SHAPE)


@bounds(IntegerSoftmax)
def _softmax(op: IntegerSoftmax, operands: Sequence[Operand]) -> Bound:
    """Steps 1 (scaled) and 4 of :mod:`engine.program.softmax`; the later ones are shorter by construction."""
    (x,) = operands
    return _tightest(
        Bound(rescaled_bound(op.difference_scaling, 2 * x.largest), NARROW, "scaled difference", CONSTANTS),
        Bound(softmax.largest_sum(op, x.shape()[op.axis]), NARROW, "sum of exponentials", SHAPE),
    )


@bounds(IntegerLayerNorm)
def _layernorm(op: IntegerLayerNorm, operands: Sequence[Operand]) -> Bound:
    """Steps 1, 5 and 10 of :mod:`engine.program.norm`; the others are shorter by construction."""
    (x,) = operands
    length = op.bias.size * op.channel_size // op.groups
    centred = 2 * length * x.largest if op.centre else x.largest
    return _tightest(
        Bound(centred, NARROW, "centred value", SHAPE),
        Bound(norm.largest_variance(op, length), NARROW, "sum of squares", SHAPE),
        Bound(norm.largest_weighted(op), NARROW, "weighted value and bias", WEIGHTS),
    )


def _tightest(*found: Bound) -> Bound:
    return min(found, key=lambda bound: bound.headroom_bits)
