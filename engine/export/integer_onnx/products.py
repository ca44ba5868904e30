"""Convolutions, fully connected layers and matrix products: MatMul in int32 or int64, whichever holds every sum.

Not MatMulInteger and ConvInteger: on processors without int8 dot products runtimes compute them with sums of 16 bits
that saturate.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.export.integer_onnx.elementwise import bound_of
from engine.export.integer_onnx.registry import writes
from engine.export.integer_onnx.steps import MAGNITUDE, cast, requantise, reshape, step
from engine.export.integer_onnx.windows import gathered, transposed_windows, windows
from engine.export.onnx_nodes import Emission
from engine.program.arithmetic import accumulator_bound
from engine.program.types import Convolution, FullyConnected, MatrixProduct

_INT32_LIMIT = 2**31


def _sum_type(bound: int) -> str:
    """The type that holds every partial sum of products whose magnitudes add up to ``bound``."""
    return "int32" if bound < _INT32_LIMIT else "int64"


def _largest(weight: NDArray[np.int8], dtype: str) -> int:
    """Bound of the sums of products, without bias; ``weight`` is [..., O, K]."""
    rows = weight.reshape(-1, weight.shape[-1])
    return int(accumulator_bound(rows, np.zeros(len(rows), np.int64), MAGNITUDE[dtype]).max(initial=0))


def _finish(emission: Emission, product: str, op: Convolution | FullyConnected, bound: int, axes: int) -> None:
    """Bias and requantisation per channel, with ``axes`` axes behind that of the channels."""
    shape = (-1, *(1,) * axes)
    total = step(emission, "Add", cast(emission, product, "int64"), op.bias.reshape(shape))
    bound += int(np.abs(op.bias).max(initial=0))
    requantise(emission, total, op.scaling, op.output, bound, shape)


@writes(FullyConnected)
def _fully_connected(op: FullyConnected, emission: Emission) -> None:
    bound = _largest(op.weight, emission.dtype)
    dtype = _sum_type(bound)
    x, weight = cast(emission, emission.inputs[0], dtype), cast(emission, op.weight.T, dtype)
    _finish(emission, step(emission, "MatMul", x, weight), op, bound, 0)


@writes(MatrixProduct)
def _matrix_product(op: MatrixProduct, emission: Emission) -> None:
    bound = emission.shape()[-1] * bound_of(emission, 0) * bound_of(emission, 1)
    a, b = (cast(emission, name, _sum_type(bound)) for name in emission.inputs)
    product = cast(emission, step(emission, "MatMul", a, b), "int64")
    requantise(emission, product, op.scaling, op.output, bound)


@writes(Convolution)
def _convolution(op: Convolution, emission: Emission) -> None:
    """Weights [G, O/G, C/G * K] times windows [N, G, C/G * K, L]."""
    shape, kernel = emission.shape()[2:], op.weight.shape[2:]
    if op.transposed:
        seen = transposed_windows(shape, kernel, op.strides, op.pads, op.dilations, op.output_padding)
    else:
        seen = windows(shape, kernel, op.strides, op.pads, op.dilations)
    matrices = _matrices(op)
    bound = _largest(matrices, emission.dtype)
    dtype = _sum_type(bound)
    x = cast(emission, emission.inputs[0], dtype)
    places = x if seen.is_picture else gathered(emission, x, seen, 0, dtype)
    length = math.prod(seen.size)
    columns = reshape(emission, places, (0, op.groups, matrices.shape[2], length))
    product = step(emission, "MatMul", cast(emission, matrices, dtype), columns)
    pictures = reshape(emission, product, (0, op.groups * matrices.shape[1], *seen.size))
    _finish(emission, pictures, op, bound, len(shape))


def _matrices(op: Convolution) -> NDArray[np.int8]:
    """The weights of each group as a matrix, [G, O/G, C/G * K]."""
    first, second, *kernel = op.weight.shape
    grouped = op.weight.reshape(op.groups, first // op.groups, second, math.prod(kernel))
    if op.transposed:  # [G, C/G, O/G, K]
        grouped = grouped.swapaxes(1, 2)
    return np.ascontiguousarray(grouped.reshape(op.groups, grouped.shape[1], -1))
