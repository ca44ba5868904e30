"""Convolutions, fully connected layers and matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.export.tosa.emit import steps
from engine.export.tosa.emit.elementwise import same_type
from engine.export.tosa.emit.registry import tosa_form
from engine.export.tosa.emit.windows import IMAGE_AXES, as_image, fitted, from_image, plane
from engine.export.tosa.graph import Shape, Tensor, TosaGraph
from engine.export.tosa.schema import DTYPE_OF, TosaOp
from engine.program.kernels.convolution import as_plain
from engine.program.types import Convolution, FullyConnected, MatrixProduct, Scaling

_Convolve = Callable[[TosaGraph, Convolution, Tensor, NDArray[np.int8], NDArray[np.int64]], Tensor]

_ACCUMULATOR = {"int8": "int32", "int16": "int48"}


@tosa_form(Convolution)
def emit_convolution(graph: TosaGraph, op: Convolution, operands: Sequence[Tensor]) -> Tensor:
    """CONV2D, CONV3D, DEPTHWISE_CONV2D or TRANSPOSE_CONV2D on channels last, RESCALE per channel.

    TOSA transposes no convolution of volumes: there the input is spread with zeros.
    """
    (x,) = operands
    spatial = x.rank - 2
    image = as_image(graph, x)
    if spatial > IMAGE_AXES:
        plain = as_plain(op) if op.transposed else op
        image = _spread(graph, image, op.strides) if op.transposed else image
        result = _by_group(graph, plain, image, _plain)
    elif op.transposed:
        result = _by_group(graph, op, image, _transposed)
    elif op.groups == image.shape[3] and op.groups > 1:
        result = _depthwise(graph, op, image)
    else:
        result = _by_group(graph, op, image, _plain)
    return from_image(graph, result, spatial)


def _spread(graph: TosaGraph, image: Tensor, strides: Sequence[int]) -> Tensor:
    """[N, D, H, W, C] with ``strides - 1`` zeros between the elements of each spatial axis."""
    for axis, stride in enumerate(strides, 1):
        size = image.shape[axis]
        if stride == 1:
            continue
        shape = (*image.shape[: axis + 1], 1, *image.shape[axis + 1 :])
        after = [stride - 1 if place == axis + 1 else 0 for place in range(len(shape))]
        apart = steps.pad(graph, steps.reshape(graph, image, shape), (0,) * len(shape), after, 0)
        whole = steps.reshape(graph, apart, steps.replaced(image.shape, axis, size * stride))
        image = steps.take_slice(graph, whole, axis, 0, (size - 1) * stride + 1)
    return image


def _by_group(graph: TosaGraph, op: Convolution, image: Tensor, convolve: _Convolve) -> Tensor:
    """Each group by itself, put together along the channels. Weights [first axis by group, ...].

    Requantised first: TOSA moves no tensors of 48 bits.
    """
    weights = np.split(_kernel_of_plane(op.weight), op.groups)
    biases = np.split(op.bias, op.groups)
    last = image.rank - 1
    size = image.shape[last] // op.groups
    parts = [
        convolve(graph, _group_of(op, index), steps.take_slice(graph, image, last, index * size, size), weight, bias)
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True))
    ]
    return steps.concat(graph, parts, last)


def _group_of(op: Convolution, index: int) -> Convolution:
    """The operator with one group's multipliers."""
    multiplier, shift = op.scaling.multiplier, op.scaling.shift
    if multiplier.size == 1:
        return op
    scaling = Scaling(np.split(multiplier, op.groups)[index], np.split(shift, op.groups)[index])
    return replace(op, scaling=scaling)


def _kernel_of_plane(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """[O, I, KW] as [O, I, 1, KW]; other weights as they are."""
    return weight[:, :, None, :] if weight.ndim == 3 else weight


def _plain(graph: TosaGraph, op: Convolution, x: Tensor, weight: NDArray[np.int8], bias: NDArray[np.int64]) -> Tensor:
    kernel = weight.shape[2:]
    kind = TosaOp.CONV2D if len(kernel) == IMAGE_AXES else TosaOp.CONV3D
    return _windowed(graph, kind, op, x, np.moveaxis(weight, 1, -1), kernel, bias)


def _depthwise(graph: TosaGraph, op: Convolution, image: Tensor) -> Tensor:
    weight = _kernel_of_plane(op.weight)
    kernel = weight.shape[2:]
    split = weight.reshape(op.groups, -1, *kernel).transpose(2, 3, 0, 1)
    return _windowed(graph, TosaOp.DEPTHWISE_CONV2D, op, image, split, kernel, op.bias)


def _windowed(
    graph: TosaGraph,
    kind: TosaOp,
    op: Convolution,
    image: Tensor,
    weight: NDArray[np.int8],
    kernel: Sequence[int],
    bias: NDArray[np.int64],
) -> Tensor:
    strides, dilations = plane(op.strides, 1), plane(op.dilations, 1)
    image, pads = fitted(graph, image, kernel, strides, dilations, op.pads)
    size = (
        (image.shape[1 + axis] - 1 + sum(pads[2 * axis : 2 * axis + 2]) - (kernel[axis] - 1) * dilations[axis])
        // strides[axis]
        + 1
        for axis in range(len(kernel))
    )
    accumulator = _ACCUMULATOR[image.dtype]
    accumulated = graph.add(
        kind,
        _operands(graph, image, weight, bias),
        (image.shape[0], *size, len(bias)),
        accumulator,
        pad=pads,
        stride=strides,
        dilation=dilations,
        local_bound=False,
        acc_type=int(DTYPE_OF[accumulator]),
    )
    return steps.requantise(graph, accumulated, op.scaling, op.output)


def _operands(graph: TosaGraph, x: Tensor, weight: NDArray[np.int8], bias: NDArray[np.int64]) -> tuple[Tensor, ...]:
    """Input, weight, bias and the zero points of the first two."""
    return (
        x,
        graph.constant(np.ascontiguousarray(weight)),
        graph.constant(bias, _ACCUMULATOR[x.dtype]),
        steps.zero_point(graph, x.dtype),
        steps.zero_point(graph, "int8"),
    )


def _transposed(
    graph: TosaGraph, op: Convolution, x: Tensor, weight: NDArray[np.int8], bias: NDArray[np.int64]
) -> Tensor:
    """TRANSPOSE_CONV2D; a dilated kernel is written with its zeros, and what is cut beyond a kernel is a slice."""
    spread = _dilated(weight, plane(op.dilations, 1)).transpose(1, 2, 3, 0)
    spatial, strides = len(op.strides), plane(op.strides, 1)
    extra = plane(op.output_padding or (0,) * spatial, 0)
    before, after = plane(op.pads[:spatial], 0), plane(op.pads[spatial:], 0)
    edges: list[int] = []
    cuts: list[tuple[int, int]] = []
    sizes: list[int] = []
    for axis in range(IMAGE_AXES):
        kernel = spread.shape[1 + axis]
        wanted = (-before[axis], extra[axis] - after[axis])
        allowed = [max(edge, 1 - kernel) for edge in wanted]
        full = (x.shape[1 + axis] - 1) * strides[axis] + kernel
        edges += allowed
        cuts.append((allowed[0] - wanted[0], full + sum(wanted)))
        sizes.append(full + sum(allowed))
    accumulator = _ACCUMULATOR[x.dtype]
    accumulated = graph.add(
        TosaOp.TRANSPOSE_CONV2D,
        _operands(graph, x, spread, bias),
        (x.shape[0], sizes[0], sizes[1], len(bias)),
        accumulator,
        out_pad=edges,
        stride=strides,
        local_bound=False,
        acc_type=int(DTYPE_OF[accumulator]),
    )
    result = steps.requantise(graph, accumulated, op.scaling, op.output)
    for axis, (start, size) in enumerate(cuts):
        result = steps.take_slice(graph, result, 1 + axis, start, size)
    return result


def _dilated(weight: NDArray[np.int8], dilations: Sequence[int]) -> NDArray[np.int8]:
    """[C, O, KH, KW] with zeros between the taps."""
    height, width = ((size - 1) * dilation + 1 for size, dilation in zip(weight.shape[2:], dilations, strict=True))
    result = np.zeros((*weight.shape[:2], height, width), np.int8)
    result[:, :, :: dilations[0], :: dilations[1]] = weight
    return result


@tosa_form(FullyConnected)
def emit_fully_connected(graph: TosaGraph, op: FullyConnected, operands: Sequence[Tensor]) -> Tensor:
    """CONV2D with a kernel of one element over an image with a row for each vector."""
    (x,) = operands
    outputs, length = op.weight.shape
    rows = math.prod(x.shape[:-1])
    accumulator = _ACCUMULATOR[x.dtype]
    accumulated = graph.add(
        TosaOp.CONV2D,
        _operands(graph, steps.reshape(graph, x, (1, rows, 1, length)), op.weight[:, None, None, :], op.bias),
        (1, rows, 1, outputs),
        accumulator,
        pad=(0, 0, 0, 0),
        stride=(1, 1),
        dilation=(1, 1),
        local_bound=False,
        acc_type=int(DTYPE_OF[accumulator]),
    )
    result = steps.requantise(graph, accumulated, op.scaling, op.output)
    return steps.reshape(graph, result, (*x.shape[:-1], outputs))


@tosa_form(MatrixProduct)
def emit_matrix_product(graph: TosaGraph, op: MatrixProduct, operands: Sequence[Tensor]) -> Tensor:
    """MATMUL of three axes, batches broadcast by TILE, RESCALE."""
    a, b = same_type(graph, operands)
    row, column = a.rank == 1, b.rank == 1
    a = steps.reshape(graph, a, (1, *a.shape)) if row else a
    b = steps.reshape(graph, b, (*b.shape, 1)) if column else b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = (_batched(graph, x, batch) for x in (a, b))
    shape = (left.shape[0], left.shape[1], right.shape[2])
    zeros = (steps.zero_point(graph, a.dtype), steps.zero_point(graph, b.dtype))
    product = graph.add(TosaOp.MATMUL, (left, right, *zeros), shape, _ACCUMULATOR[a.dtype])
    result = steps.requantise(graph, product, op.scaling, op.output)
    matrix = (() if row else (a.shape[-2],)) + (() if column else (b.shape[-1],))
    return steps.reshape(graph, result, (*batch, *matrix))


def _batched(graph: TosaGraph, x: Tensor, batch: Shape) -> Tensor:
    """[..., M, N] broadcast to ``batch`` and flattened to [B, M, N]."""
    spread = steps.expand(graph, x, (*batch, *x.shape[-2:]))
    return steps.reshape(graph, spread, (math.prod(batch), *x.shape[-2:]))
