"""The least on-chip memory that an operator needs: what is left of it when it is cut wherever it can be.

A product is cut to one position and to as many channels as the array takes at once; its sums stay in the array. A
softmax or a normalisation over the last axes reads a row more than once, so that a whole row is there. What is not
registered here streams through, however little memory there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from engine.ops.base import Behaviour, Op
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import LayerNorm, LogSoftmax, RMSNorm, Softmax
from engine.target.target import MacArray

Shape = tuple[int, ...]

_BUFFERS = 2
"""A tile is loaded or stored while the next one is computed."""


@dataclass(frozen=True)
class TileCase:
    """An operator with the shapes of its inputs and the bytes of one of its elements."""

    op: Op
    shapes: Sequence[Shape]
    width: int
    array: MacArray


SMALLEST: Behaviour[Callable[[TileCase], int]] = Behaviour("smallest tile")
"""Operator class to the bytes of its smallest tile."""


def smallest_tile_bytes(case: TileCase) -> int:
    """Bytes of the smallest tile; 0 for what streams through."""
    find = SMALLEST.find(case.op)
    return 0 if find is None else find(case)


def _product(case: TileCase, inputs: int, outputs: int, taps: int) -> int:
    """Inputs under one position, int8 weights, and results of that position."""
    inputs = min(inputs, int(case.array.input_channel_alignment.value))
    outputs = min(outputs, int(case.array.output_channel_alignment.value))
    return _BUFFERS * (taps * inputs * case.width + taps * inputs * outputs + outputs * case.width)


@SMALLEST.register(Conv)
def _conv(case: TileCase) -> int:
    outputs, inputs, *kernel = case.shapes[1]
    return _product(case, inputs, outputs, prod(kernel))


@SMALLEST.register(ConvTranspose)
def _conv_transpose(case: TileCase) -> int:
    inputs, outputs, *kernel = case.shapes[1]
    return _product(case, inputs, outputs, prod(kernel))


@SMALLEST.register(Linear)
def _linear(case: TileCase) -> int:
    outputs, inputs = case.shapes[1]
    return _product(case, inputs, outputs, 1)


@SMALLEST.register(MatMul)
def _matmul(case: TileCase) -> int:
    return _product(case, case.shapes[0][-1], case.shapes[1][-1], 1)


@SMALLEST.register(Softmax, LogSoftmax)
def _softmax(case: TileCase) -> int:
    assert isinstance(case.op, Softmax | LogSoftmax)
    return _rows(case, case.shapes[0][case.op.axis])


@SMALLEST.register(LayerNorm, RMSNorm)
def _norm(case: TileCase) -> int:
    assert isinstance(case.op, LayerNorm | RMSNorm)
    shape = case.shapes[0]
    return _rows(case, prod(shape[len(shape) - case.op.axes_count :]))


def _rows(case: TileCase, elements: int) -> int:
    """A row that is read and a row that is written."""
    return _BUFFERS * 2 * elements * case.width
