"""Steps: what operators become in TOSA, before an engine runs them as passes.

:mod:`engine.simulate.ethos.forms` adds them. A step is one operator of the TOSA export with the requantisation that the
engine does along with it. Only shapes and widths matter here, not numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import count

from engine.simulate.ethos.passes import Weights

Shape = tuple[int, ...]
WIDE = 4
"""Bytes of an int32."""


class Kind(Enum):
    """What a step computes; the engines' rates differ between these."""

    CONVOLUTION = auto()
    DEPTHWISE = auto()
    PRODUCT = auto()
    POOL = auto()
    ADD = auto()
    """Also a subtraction, and a change of width."""
    MULTIPLY = auto()
    OTHER = auto()
    """Any other function of two tensors: shifts, extremes, comparisons."""
    UNARY = auto()
    RESCALE = auto()
    TABLE8 = auto()
    TABLE16 = auto()
    SUM = auto()
    LARGEST = auto()
    SMALLEST = auto()
    TRANSPOSE = auto()
    COPY = auto()
    CLAMP = auto()
    ADD_SCALED = auto()
    """The sum of two tensors of different scales."""


@dataclass(frozen=True)
class Value:
    """A tensor between steps; ``name`` is the graph's, "" of what only the unit knows.

    ``key`` stays the same where the tensor is only reshaped.
    """

    shape: Shape
    width_bytes: int
    name: str = ""
    is_constant: bool = False
    is_image: bool = False
    key: int = field(default_factory=count().__next__)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.elements * self.width_bytes


@dataclass(frozen=True, eq=False)
class Step:
    """One step.

    Attributes:
        kernel: Height and width of a window, with its ``strides`` and ``dilations``.
        weights: Of a convolution.
        perm: Of a transposition: output axis i is input axis ``perm[i]``.
        is_per_channel: A RESCALE has a multiplier for each channel.
        repeats: How often it runs, on as many parts.
        added: What is added to the results of a convolution before they are written.
        is_first: Of a convolution: what it reads is not what another one makes.
    """

    kind: Kind
    inputs: tuple[Value, ...]
    output: Value
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    weights: Weights | None = None
    perm: tuple[int, ...] = ()
    is_per_channel: bool = False
    repeats: int = 1
    added: tuple[Value, ...] = ()
    is_first: bool = False


@dataclass
class Steps:
    """Steps in order, and how often each value is read by them."""

    items: list[Step] = field(default_factory=list[Step])
    readers: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, step: Step) -> Value:
        self.items.append(step)
        for value in step.inputs:
            self.readers[value.key] = self.readers.get(value.key, 0) + 1
        return step.output

    def of(self, kind: Kind, inputs: Sequence[Value], shape: Shape, width: int) -> Value:
        """A step without attributes."""
        return self.add(Step(kind, tuple(inputs), Value(shape, width, is_image=inputs[0].is_image)))

    def binary(self, kind: Kind, a: Value, b: Value | None = None, width: int = WIDE) -> Value:
        """A function of two tensors, broadcast; None is a number."""
        inputs = (a,) if b is None else (a, b)
        return self.of(kind, inputs, _broadcast(*(value.shape for value in inputs)), width)

    def unary(self, x: Value, width: int = WIDE) -> Value:
        return self.of(Kind.UNARY, (x,), x.shape, width)

    def wide(self, x: Value) -> Value:
        """CAST to int32."""
        return x if x.width_bytes == WIDE else self.of(Kind.ADD, (x,), x.shape, WIDE)

    def rescale(self, x: Value, width: int, *, per_channel: bool = False) -> Value:
        output = Value(x.shape, width, is_image=x.is_image)
        return self.add(Step(Kind.RESCALE, (x,), output, is_per_channel=per_channel))

    def table16(self, x: Value) -> Value:
        """TABLE of int16 to int32."""
        return self.of(Kind.TABLE16, (x,), x.shape, WIDE)

    def looked_up(self, x: Value) -> Value:
        """A function of int32 by table: its upper bits are looked up."""
        return self.table16(self.binary(Kind.ADD, x, width=2))

    def reduced(self, kind: Kind, x: Value, axis: int, width: int) -> Value:
        """A reduction along one axis, which a sum has last: another one is transposed to there."""
        axis %= len(x.shape)
        outer, size, inner = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
        rows = x
        if inner > 1:
            apart = replace(x, shape=(outer, size, inner))
            rows = self.transpose(apart, (0, 2, 1)) if kind is Kind.SUM else replace(x, shape=(outer * inner, size))
        result = self.of(kind, (rows,), (*rows.shape[:-1], 1), width)
        return replace(result, shape=tuple(1 if place == axis else each for place, each in enumerate(x.shape)))

    def transpose(self, x: Value, perm: Sequence[int], name: str = "") -> Value:
        output = Value(tuple(x.shape[axis] for axis in perm), x.width_bytes, name)
        return self.add(Step(Kind.TRANSPOSE, (x,), output, perm=tuple(perm)))


def _broadcast(*shapes: Shape) -> Shape:
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(max(sizes) for sizes in zip(*padded, strict=True))
