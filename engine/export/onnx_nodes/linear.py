"""Convolution, fully connected and matrix product as ONNX nodes."""

from __future__ import annotations

from engine.export.onnx_nodes.builder import TO_ONNX, Emission
from engine.ops import linear as ops


@TO_ONNX.register(ops.Conv)
def _conv(op: ops.Conv, emission: Emission) -> None:
    emission.node(
        "Conv",
        kernel_shape=emission.shape(1)[2:],
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
        group=op.groups,
    )


@TO_ONNX.register(ops.ConvTranspose)
def _conv_transpose(op: ops.ConvTranspose, emission: Emission) -> None:
    emission.node(
        "ConvTranspose",
        kernel_shape=emission.shape(1)[2:],
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
        output_padding=op.output_padding,
        group=op.groups,
    )


@TO_ONNX.register(ops.Linear)
def _linear(op: ops.Linear, emission: Emission) -> None:
    """A Gemm for a matrix; for more axes a MatMul, whose weight lies the other way round, and an Add.

    A weight that lies column by column in memory is written as it lies, so that whoever reads the file multiplies
    with the same memory layout (and the same rounding in float).
    """
    weight = emission.constants[1]
    columns_first = weight.flags.f_contiguous and not weight.flags.c_contiguous
    if len(emission.shape()) == 2 and not columns_first:
        emission.node("Gemm", transB=1)
        return
    turned = emission.builder.initializer(f"{emission.inputs[1]}/transposed", weight.T)
    product_with_bias(emission, emission.inputs[0], turned, emission.inputs[2] if emission.has(2) else "")


def product_with_bias(emission: Emission, x: str, weight: str, bias: str) -> None:
    """x [..., K] @ weight [K, O] + bias [O] (or none)."""
    product = emission.inner("product") if bias else emission.outputs[0]
    emission.node("MatMul", (x, weight), (product,))
    if bias:
        emission.node("Add", (product, bias))


@TO_ONNX.register(ops.MatMul)
def _matmul(op: ops.MatMul, emission: Emission) -> None:
    emission.node("MatMul")
