"""Convolution, transposed convolution, fully connected and matrix product."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engine.graph.converters.windows import read_window, split_same
from engine.graph.graph import Constant, TensorType
from engine.graph.lazy import derived
from engine.graph.source import Apply, Converted, SourceNode, converts
from engine.graph.type_rules import broadcast
from engine.ops.elementwise import Add, Affine
from engine.ops.layout import Reshape, Transpose
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul

Array = NDArray[np.generic]
_MAX_SPATIAL_AXES = 3


@converts("Conv")
def _conv(node: SourceNode) -> Converted:
    spatial, kernel = node.shape(0)[2:], node.shape(1)[2:]
    if not 1 <= len(spatial) <= _MAX_SPATIAL_AXES:
        return None
    window = read_window(node, kernel, spatial)
    op = Conv(window.strides, window.pads, window.dilations, node.integer("group", 1))
    return [Apply(op, node.given(3))]


@converts("ConvTranspose")
def _conv_transpose(node: SourceNode) -> Converted:
    spatial, kernel = node.shape(0)[2:], node.shape(1)[2:]
    rank = len(spatial)
    if not 1 <= rank <= _MAX_SPATIAL_AXES:
        return None
    strides = node.integer_list("strides") or (1,) * rank
    dilations = node.integer_list("dilations") or (1,) * rank
    extra = node.integer_list("output_padding") or (0,) * rank
    full = tuple(
        (size - 1) * stride + (k - 1) * dilation + 1 + more
        for size, stride, k, dilation, more in zip(spatial, strides, kernel, dilations, extra, strict=True)
    )
    pads = _transposed_pads(node, spatial, strides, full)
    if min(pads) < 0:  # an output larger than the products reach
        ends = tuple(max(0, -pad) for pad in pads[rank:])
        extra = tuple(a + b for a, b in zip(extra, ends, strict=True))
        pads = tuple(max(0, pad) for pad in pads)
    return [Apply(ConvTranspose(strides, pads, dilations, extra, node.integer("group", 1)), node.given(3))]


def _transposed_pads(
    node: SourceNode, spatial: tuple[int, ...], strides: tuple[int, ...], full: tuple[int, ...]
) -> tuple[int, ...]:
    """Explicit pads: given, or what makes the output ``output_shape`` or, for SAME, input size times stride."""
    mode = node.text("auto_pad", "NOTSET")
    wanted = node.integer_list("output_shape")
    if wanted is None and mode.startswith("SAME"):
        wanted = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
    if wanted is None:
        explicit = node.integer_list("pads") if mode == "NOTSET" else None
        return explicit or (0,) * (2 * len(spatial))
    totals = [a - b for a, b in zip(full, wanted[-len(spatial) :], strict=True)]
    return split_same(totals, lower=mode != "SAME_UPPER")


def _transposed(weight: Constant) -> Constant:
    rows, columns = weight.type.shape
    return derived(TensorType((columns, rows), weight.type.dtype), np.transpose, weight)


@converts("MatMul")
def _matmul(node: SourceNode) -> Converted:
    """A vector is a matrix of one row or column whose axis goes again; leading ones of a constant matrix go first."""
    a, b = node.shape(0), node.shape(1)
    if not node.type(0).is_float and min(len(a), len(b)) < 2:
        return None
    steps: list[Apply] = []
    left = _reshaped(node, steps, 0, (1, *a) if len(a) == 1 else a)
    constant = node.is_constant(1) and not node.is_constant(0) and len(b) >= 2 and math.prod(b[:-2]) == 1
    if constant:
        weight = _matrix(node.constants[node.inputs[1]])
        right = node.add_constant(f"{node.inputs[1]}/transposed", _transposed(weight))
    else:
        right = _reshaped(node, steps, 1, (*b, 1) if len(b) == 1 else b)
    batch = broadcast(a[:-2], b[:-2], ())
    result = (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
    made = (*(a[:-2] if constant else batch), a[-2] if len(a) > 1 else 1, b[-1] if len(b) > 1 else 1)
    steps.append(Apply(Linear("MatMul") if constant else MatMul(), (left, right)))
    if made == result:
        return steps
    product = node.inner("product")
    return [*steps[:-1], Apply(steps[-1].op, steps[-1].inputs, (product,)), Apply(Reshape(result), (product,))]


def _reshaped(node: SourceNode, steps: list[Apply], index: int, shape: tuple[int, ...]) -> str:
    """An input in another shape."""
    if node.shape(index) == shape:
        return node.inputs[index]
    name = node.inner("matrix")
    steps.append(Apply(Reshape(shape), (node.inputs[index],), (name,)))
    return name


def _matrix(weight: Constant) -> Constant:
    """The weight without leading axes of size 1."""
    shape = weight.type.shape[-2:]
    if weight.type.shape == shape:
        return weight

    def compute(array: Array) -> Array:
        return array.reshape(shape)

    return derived(TensorType(shape, weight.type.dtype), compute, weight)


@converts("Gemm")
def _gemm(node: SourceNode) -> Converted:
    if not node.is_constant(1) or not node.type(1).is_float:
        return _general_gemm(node)
    steps, x = _untransposed(node)
    weight = node.constants[node.inputs[1]]
    outputs = weight.type.shape[0 if node.integer("transB") else 1]
    bias_fits = not node.has(2) or (node.is_constant(2) and _broadcasts_to_row(node.shape(2), outputs))
    if not bias_fits:
        return _general_gemm(node)
    inputs = [x, _scaled_weight(node, weight)]
    beta = node.real("beta", 1.0)
    if node.has(2) and beta:
        inputs.append(_scaled_bias(node, beta, outputs))
    return [*steps, Apply(Linear("Gemm"), tuple(inputs))]


def _broadcasts_to_row(shape: tuple[int, ...], outputs: int) -> bool:
    return shape in ((), (1,), (1, 1), (outputs,), (1, outputs))


def _untransposed(node: SourceNode) -> tuple[list[Apply], str]:
    """The first operand of a Gemm as [M, K]."""
    if not node.integer("transA"):
        return [], node.inputs[0]
    x = node.inner("a")
    return [Apply(Transpose((1, 0)), node.inputs[:1], (x,))], x


def _scaled_weight(node: SourceNode, weight: Constant) -> str:
    """The second operand of a Gemm as [O, K], alpha multiplied in."""
    alpha = node.real("alpha", 1.0)
    if node.integer("transB") and alpha == 1.0:
        return node.inputs[1]
    oriented = weight if node.integer("transB") else _transposed(weight)
    if alpha != 1.0:
        oriented = derived(oriented.type, partial(np.multiply, alpha), oriented)
    return node.add_constant(f"{node.inputs[1]}/weight", oriented)


def _scaled_bias(node: SourceNode, beta: float, outputs: int) -> str:
    bias = node.constants[node.inputs[2]]
    if beta == 1.0 and bias.type.shape == (outputs,):
        return node.inputs[2]

    def compute(array: Array) -> Array:
        return np.ascontiguousarray(np.broadcast_to(array.reshape(-1) * beta, (outputs,)))  # type: ignore[operator]

    kind = TensorType((outputs,), bias.type.dtype)
    return node.add_constant(f"{node.inputs[2]}/bias", derived(kind, compute, bias))


def _general_gemm(node: SourceNode) -> Converted:
    """alpha * A @ B + beta * C, step by step; integers stay with the reference."""
    if not node.type(0).is_float:
        return None
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    steps, a = _untransposed(node)
    b = node.inputs[1]
    if node.integer("transB"):
        b = node.inner("b")
        steps.append(Apply(Transpose((1, 0)), (node.inputs[1],), (b,)))
    product = node.inner("product")
    steps.append(Apply(MatMul(), (a, b), (product,)))
    if alpha != 1.0:
        scaled = node.inner("scaled")
        steps.append(Apply(Affine(alpha, 0.0), (product,), (scaled,)))
        product = scaled
    if not node.has(2) or not beta:
        steps[-1] = Apply(steps[-1].op, steps[-1].inputs)
        return steps
    addend = node.inputs[2]
    if beta != 1.0:
        addend = node.inner("addend")
        steps.append(Apply(Affine(beta, 0.0), (node.inputs[2],), (addend,)))
    return [*steps, Apply(Add(), (product, addend))]
