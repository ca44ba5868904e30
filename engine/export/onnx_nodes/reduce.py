"""Reductions, pooling, normalisation, softmax and resizing as ONNX nodes."""

from __future__ import annotations

import math

import numpy as np

from engine.export.onnx_nodes.builder import TO_ONNX, Emission
from engine.ops import reduce as ops

GROUP_NORM_OPSET = 21
"""The first opset whose GroupNormalization has a scale per channel."""

RMS_NORM_OPSET = 23
"""The first opset with an operator for RMSNorm."""


@TO_ONNX.register(
    ops.ReduceMean, ops.ReduceSum, ops.ReduceMax, ops.ReduceMin, ops.ReduceL2, ops.ReduceL1, ops.ReduceSumSquare,
    ops.ReduceProd, ops.ReduceLogSum, ops.ReduceLogSumExp,
)  # fmt: skip
def _reduction(op: ops.Reduction, emission: Emission) -> None:
    if not op.axes:
        emission.node("Abs" if isinstance(op, ops.ReduceL2) else "Identity")
        return
    inputs = (emission.inputs[0], emission.integers("axes", op.axes))
    emission.node(op.type_name, inputs, keepdims=int(op.keepdims))


@TO_ONNX.register(ops.MaxPool)
def _max_pool(op: ops.MaxPool, emission: Emission) -> None:
    dilations = op.dilations or (1,) * len(op.kernel)
    emission.node("MaxPool", kernel_shape=op.kernel, strides=op.strides, pads=op.pads, dilations=dilations)


@TO_ONNX.register(ops.AveragePool)
def _average_pool(op: ops.AveragePool, emission: Emission) -> None:
    """Padding that ceil mode alone brought about is never counted: there the file's own pads are written."""
    counted = op.counted_pads or op.pads
    by_ceiling = op.count_include_pad and counted != op.pads
    emission.node(
        "AveragePool",
        kernel_shape=op.kernel,
        strides=op.strides,
        pads=counted if by_ceiling else op.pads,
        count_include_pad=int(op.count_include_pad),
        ceil_mode=int(by_ceiling),
    )


@TO_ONNX.register(ops.Softmax, ops.LogSoftmax)
def _softmax(op: ops.Softmax | ops.LogSoftmax, emission: Emission) -> None:
    emission.node(op.type_name, axis=op.axis)


@TO_ONNX.register(ops.LayerNorm)
def _layer_norm(op: ops.LayerNorm, emission: Emission) -> None:
    weight = emission.inputs[1] if emission.has(1) else _unit_weight(emission, op.axes_count)
    bias = emission.inputs[2] if emission.has(2) else ""
    inputs = (emission.inputs[0], weight, bias)
    emission.node("LayerNormalization", inputs, axis=-op.axes_count, epsilon=op.epsilon)


def _unit_weight(emission: Emission, axes_count: int) -> str:
    shape = emission.shape()
    return emission.ones("weight", shape[len(shape) - axes_count :])


@TO_ONNX.register(ops.RMSNorm)
def _rms_norm(op: ops.RMSNorm, emission: Emission) -> None:
    """One node where the opset has it, otherwise its formula."""
    if emission.builder.opset >= RMS_NORM_OPSET:
        weight = emission.inputs[1] if emission.has(1) else _unit_weight(emission, op.axes_count)
        inputs = (emission.inputs[0], weight)
        emission.node("RMSNormalization", inputs, axis=-op.axes_count, epsilon=op.epsilon)
        return
    x = emission.inputs[0]
    square, mean, shifted, root = (emission.inner(stem) for stem in ("square", "mean", "shifted", "root"))
    rank = len(emission.shape())
    axes = emission.integers("axes", range(rank - op.axes_count, rank))
    emission.node("Mul", (x, x), (square,))
    emission.node("ReduceMean", (square, axes), (mean,), keepdims=1)
    emission.node("Add", (mean, emission.scalar("epsilon", op.epsilon)), (shifted,))
    emission.node("Sqrt", (shifted,), (root,))
    normalised = emission.inner("normalised") if emission.has(1) else emission.outputs[0]
    emission.node("Div", (x, root), (normalised,))
    if emission.has(1):
        emission.node("Mul", (normalised, emission.inputs[1]))


@TO_ONNX.register(ops.InstanceNorm)
def _instance_norm(op: ops.InstanceNorm, emission: Emission) -> None:
    emission.node("InstanceNormalization", epsilon=op.epsilon)


@TO_ONNX.register(ops.GroupNorm)
def _group_norm(op: ops.GroupNorm, emission: Emission) -> None:
    """One node where the opset has it, otherwise an instance norm of the groups, then scale and offset."""
    if emission.builder.opset >= GROUP_NORM_OPSET:
        emission.node("GroupNormalization", num_groups=op.groups, epsilon=op.epsilon)
        return
    shape = emission.shape()
    grouped, normalised, back = (emission.inner(stem) for stem in ("grouped", "normalised", "back"))
    by_group, whole = emission.integers("groups", (0, op.groups, -1)), emission.integers("whole", (0, *shape[1:]))
    ones = emission.ones("ones", (op.groups,))
    zeros = emission.builder.constant(f"{emission.outputs[0]}/zeros", np.zeros(op.groups, np.float32))
    emission.node("Reshape", (emission.inputs[0], by_group), (grouped,))
    emission.node("InstanceNormalization", (grouped, ones, zeros), (normalised,), epsilon=op.epsilon)
    emission.node("Reshape", (normalised, whole), (back,))
    scaled_and_shifted(emission, back)


@TO_ONNX.register(ops.BatchNorm)
def _batch_norm(op: ops.BatchNorm, emission: Emission) -> None:
    scaled_and_shifted(emission, emission.inputs[0])


def scaled_and_shifted(emission: Emission, x: str) -> None:
    """x * inputs[1] + inputs[2] per channel of axis 1, as the operator's output."""
    shape = emission.integers("per_channel", (-1, *(1,) * (len(emission.shape()) - 2)))
    scaled = emission.inner("scaled")
    parts = [emission.inner(stem) for stem in ("scale", "offset")]
    for name, part in zip(emission.inputs[1:], parts, strict=True):
        emission.node("Reshape", (name, shape), (part,))
    emission.node("Mul", (x, parts[0]), (scaled,))
    emission.node("Add", (scaled, parts[1]))


@TO_ONNX.register(ops.ArgMax, ops.ArgMin)
def _arg_extreme(op: ops.ArgExtreme, emission: Emission) -> None:
    emission.node(op.type_name, axis=op.axis, keepdims=int(op.keepdims), select_last_index=int(op.last))


@TO_ONNX.register(ops.Resize)
def _resize(op: ops.Resize, emission: Emission) -> None:
    """By scales where float32 holds them and they give the sizes, otherwise by sizes."""
    shape = emission.shape()
    by_scales = all(
        scale == float(np.float32(scale)) and math.floor(size * scale) == wanted
        for size, scale, wanted in zip(shape[2:], op.scales, op.sizes, strict=True)
    )
    scales = sizes = ""
    if by_scales:
        array = np.array(op.scales, dtype=np.float32)
        scales = emission.builder.constant(f"{emission.outputs[0]}/scales", array)
    else:
        sizes = emission.integers("sizes", op.sizes)
    emission.node(
        "Resize",
        (emission.inputs[0], "", scales, sizes),
        mode=op.mode,
        coordinate_transformation_mode=op.coordinates,
        nearest_mode=op.nearest_rounding,
        cubic_coeff_a=op.cubic_coefficient,
        exclude_outside=int(op.exclude_outside),
        antialias=int(op.antialias),
        axes=tuple(range(2, len(shape))),
    )
