# pyright: reportUnknownMemberType=false
"""The integer program: instructions over typed values. What the chip computes, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from engine.ops.base import Op
from engine.qtype import QType


def _digest_of(value: object) -> bytes:
    if isinstance(value, ProgramOp):
        return value.digest.encode()
    if isinstance(value, tuple):
        return b"(" + b",".join(_digest_of(item) for item in cast("tuple[object, ...]", value)) + b")"
    if isinstance(value, np.ndarray):
        array = cast("NDArray[np.generic]", value)
        header = f"{array.dtype}{array.shape}".encode()
        return header + hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).digest()
    return repr(value).encode()


@dataclass(frozen=True, eq=False)
class ProgramOp:
    """Base of program operators. Fields are scalars, tuples, operators of the graph, or read-only numpy arrays."""

    @cached_property
    def digest(self) -> str:
        """Content hash over the class and every field."""
        hasher = hashlib.blake2b(type(self).__name__.encode(), digest_size=16)
        for entry in fields(self):
            hasher.update(entry.name.encode())
            hasher.update(_digest_of(getattr(self, entry.name)))
        return hasher.hexdigest()


@dataclass(frozen=True, eq=False)
class Scaling(ProgramOp):
    """TOSA 1.0 RESCALE parameters, 32-bit multiplier, SINGLE_ROUND.

    ``apply(x) = (x * multiplier + (1 << (shift - 1))) >> shift`` in 64-bit arithmetic (arithmetic shift).
    ``multiplier`` int32 [C] or [1] in [2^30, 2^31) (or 0; in [2^14, 2^15) for int48 accumulators), ``shift`` int8 [C]
    or [1] in [2, 62].
    """

    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]


@dataclass(frozen=True)
class Output:
    """Where the requantised result goes: integer type and clamp bounds (a fused Relu or Clip narrows them)."""

    dtype: str
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Convolution(ProgramOp):
    """x int8/int16 [N, C, *S] * weight int8 [O, C/groups, *K] + bias int64 [O] -> accumulator -> scaling [O] -> clamp.

    The accumulator is int32 for int8 inputs and int48 for int16 inputs; lowering proves that it cannot overflow.
    ``transposed``: weight is [C, O/groups, *K] and the operator is ConvTranspose with ``output_padding``.
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int64]
    scaling: Scaling
    output: Output
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int
    transposed: bool = False
    output_padding: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class FullyConnected(ProgramOp):
    """x int8/int16 [..., K] @ weight int8 [O, K].T + bias int64 [O] -> accumulator -> scaling [O] -> clamp."""

    weight: NDArray[np.int8]
    bias: NDArray[np.int64]
    scaling: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class MatrixProduct(ProgramOp):
    """a [..., M, K] @ b [..., K, N], each int8 or int16, numpy broadcasting -> accumulator -> scaling [1] -> clamp."""

    scaling: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class AddScaled(ProgramOp):
    """clamp(out(a_scaling(a) + b_scaling(b))); inputs int8, int16 or int32, sums exact in 64 bits.

    ``subtract``: a - b. The scaling of an int32 operand that is in accumulator units already (a constant) is None.
    """

    a: Scaling | None
    b: Scaling | None
    out: Scaling
    output: Output
    subtract: bool = False


@dataclass(frozen=True, eq=False)
class MultiplyScaled(ProgramOp):
    """clamp(scaling(a * b)), numpy broadcasting; a, b int8 or int16 in any mixture, product exact in int32.

    Of int32 the kernel takes what stays within 64 bits once multiplied.
    """

    scaling: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class DivideScaled(ProgramOp):
    """a / b, each int8 or int16, numpy broadcasting; the steps are in :mod:`engine.program.division`."""

    reciprocal_table: NDArray[np.int16]
    pivot: int
    scaling: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class ExtremeScaled(ProgramOp):
    """clamp(max or min (a_scaling(a), b_scaling(b))), numpy broadcasting."""

    a: Scaling
    b: Scaling
    output: Output
    maximum: bool


@dataclass(frozen=True, eq=False)
class CompareScaled(ProgramOp):
    """Whether ``op`` (a Comparison of the graph) holds for a_scaling(a) and b_scaling(b): bool, numpy broadcasting.

    a, b int8, int16 or int32; an operand without a scaling is compared as it is. Scaled operands stay within int32.
    """

    op: Op
    a: Scaling | None
    b: Scaling | None


@dataclass(frozen=True, eq=False)
class TruthLogic(ProgramOp):
    """A Logic operator of the graph on truth values, numpy broadcasting: bool."""

    op: Op


@dataclass(frozen=True, eq=False)
class SelectScaled(ProgramOp):
    """clamp(a_scaling(a)) where the condition holds, else clamp(b_scaling(b)); inputs (condition bool, a, b), numpy
    broadcasting of all three.

    a, b int8, int16 or int32; an operand without a scaling is only clamped.
    """

    a: Scaling | None
    b: Scaling | None
    output: Output


@dataclass(frozen=True, eq=False)
class Table8(ProgramOp):
    """table[x + 128] for int8 x; ``table`` [256] has the output's dtype (int8 or int16)."""

    table: NDArray[np.signedinteger]


@dataclass(frozen=True, eq=False)
class Table16(ProgramOp):
    """TOSA int16 TABLE and requantisation, for int16 x.

    index = (x + 32768) >> 7, fraction = x & 127, value = (table[index] << 7) + (table[index + 1] - table[index]) *
    fraction (int32), result = clamp(scaling(value)). ``table`` int16 [513].
    """

    table: NDArray[np.int16]
    scaling: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class Requantise(ProgramOp):
    """clamp(scaling(x)): a change of scale or of width. Multipliers [C] belong to the last axis."""

    scaling: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class SumReduce(ProgramOp):
    """clamp(scaling(sum of x over axes)): ReduceSum and ReduceMean (1/count is part of the scaling)."""

    axes: tuple[int, ...]
    keepdims: bool
    scaling: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class ExtremeReduce(ProgramOp):
    """Maximum or minimum over axes; keeps type and scale."""

    axes: tuple[int, ...]
    keepdims: bool
    maximum: bool


@dataclass(frozen=True, eq=False)
class ExtremeIndex(ProgramOp):
    """int64 index of the maximum or minimum along ``axis``: of equal elements the first, or the ``last``."""

    axis: int
    keepdims: bool
    maximum: bool
    last: bool


@dataclass(frozen=True, eq=False)
class WideSum(ProgramOp):
    """int32 sum over ``axes`` of ``term(x) >> shift``, each rounded half up; lowering proves that it stays below 2^31.

    x int8 or int16; ``term`` is "value" (x), "magnitude" (|x|) or "square" (x * x). Without axes, the terms themselves.
    """

    axes: tuple[int, ...]
    keepdims: bool
    term: str
    shift: int


@dataclass(frozen=True, eq=False)
class Logarithm(ProgramOp):
    """Logarithm of positive int8, int16 or int32 integers; the steps are in :mod:`engine.program.functions`."""

    table: NDArray[np.int16]
    offset: int
    scaling: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class SquareRoot(ProgramOp):
    """Square root of int8, int16 or int32 integers; the steps are in :mod:`engine.program.functions`."""

    table: NDArray[np.int16]
    scaling: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class IntegerSoftmax(ProgramOp):
    """Softmax along ``axis`` in integers; the steps are in :mod:`engine.program.softmax`."""

    axis: int
    difference_scaling: Scaling
    exp_table: NDArray[np.int16]
    reciprocal_table: NDArray[np.int16]
    sum_shift: int
    out: Scaling
    output: Output


@dataclass(frozen=True, eq=False)
class IntegerLayerNorm(ProgramOp):
    """LayerNorm (``centre``) or RMSNorm over the last ``axes_count`` axes, as in :mod:`engine.program.norm`.

    The first of these axes is normalised in ``groups`` equal parts, each by itself. Element e of the tensor in
    row-major order has entry ``e // channel_size % entries`` of weight and bias.
    """

    axes_count: int
    centre: bool
    square_shift: int
    epsilon_mantissa: int
    epsilon_exponent: int
    rsqrt_table: NDArray[np.int16]
    weight: Scaling
    weight_sign: NDArray[np.int8]
    bias: NDArray[np.int32]
    out_shift: int
    output: Output
    groups: int = 1
    channel_size: int = 1


@dataclass(frozen=True, eq=False)
class MaximumPool(ProgramOp):
    """Maximum of each window of [N, C, *S]; keeps type and scale; padding never wins."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AveragePoolInteger(ProgramOp):
    """TOSA AVG_POOL2D: sum of each window times the reciprocal of its element count; keeps type and scale.

    count = window elements inside the input extended by ``counted_pads`` (all zero: padding is not counted).
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    counted_pads: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ResizeLinear(ProgramOp):
    """Bilinear resize of the last two axes with integer weights.

    Per axis and output position: ``low`` and ``high`` source index int32 [size], ``fraction`` int32 [size] in
    [0, 2^11]. Rows (the last axis) are blended first, ``x[low] * (2^11 - fraction) + x[high] * fraction``, and shifted
    right by ``row_shift``, rounded (0 for int8, 7 for int16: all sums then fit int32); then columns likewise, without a
    shift; the sum is requantised by ``scaling``.
    """

    low: tuple[NDArray[np.int32], ...]
    high: tuple[NDArray[np.int32], ...]
    fraction: tuple[NDArray[np.int32], ...]
    scaling: Scaling
    output: Output
    row_shift: int = 0


@dataclass(frozen=True, eq=False)
class DataMovement(ProgramOp):
    """A layout operator (or look-up) of the graph applied to integers as they are: values that enter and leave have one
    scale.

    ``fill`` is the integer that a constant Pad writes.
    """

    op: Op
    fill: int = 0


@dataclass(frozen=True, eq=False)
class Quantise(ProgramOp):
    """float32 -> integer: clamp(round half to even (x / scale)). A seam, or a model input."""

    scale: float
    output: Output


@dataclass(frozen=True, eq=False)
class Dequantise(ProgramOp):
    """integer -> float32: float32(x) * float32(scale). A seam, or a model output."""

    scale: float


@dataclass(frozen=True, eq=False)
class FloatKernel(ProgramOp):
    """A graph operator on the CPU in float32 (or on indices and booleans)."""

    op: Op


@dataclass(frozen=True)
class Instruction:
    """One program operator applied to values.

    ``nodes`` are the graph nodes it computes (provenance); ``unit`` the id of their unit.
    """

    op: ProgramOp
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]
    unit: str


@dataclass(frozen=True, eq=False)
class ProgramConstant:
    """A constant operand: an integer (or, for float kernels, float) array with its type."""

    array: NDArray[np.generic]
    type: QType

    @cached_property
    def digest(self) -> str:
        hasher = hashlib.blake2b(_digest_of(self.array), digest_size=16)
        hasher.update(repr(self.type).encode())
        return hasher.hexdigest()

    @cached_property
    def tensor(self) -> torch.Tensor:
        """The values as a torch tensor, converted once."""
        return torch.from_numpy(np.array(self.array))


@dataclass(frozen=True, eq=False)
class Program:
    """Instructions in order, the type of every value, constants, and what enters and leaves.

    ``inputs`` maps the model's input names to the program values they are fed to, ``outputs`` its output names to
    program values (float32 after a Dequantise, or indices). ``value_of`` maps a graph value to the program value that
    holds it, where one does.
    """

    instructions: tuple[Instruction, ...]
    types: Mapping[str, QType]
    constants: Mapping[str, ProgramConstant]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    value_of: Mapping[str, str] = field(default_factory=dict[str, str])
