"""Every converter against ONNX Runtime, on one small model per case and opset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.graph.converters import CONVERTERS
from tests.engine.graph.onnx_models import assert_same, build, node, type_names
from tests.engine.graph.test_sequences import RESOLVED

Array = NDArray[Any]
_GENERATOR = np.random.default_rng(7)


def floats(*shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    return _GENERATOR.uniform(low, high, shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def scalar(value: float) -> Array:
    return np.array(value, np.float32)


@dataclass(frozen=True)
class Const:
    """An input that the file holds."""

    array: Array


@dataclass(frozen=True)
class Case:
    """One node. Arrays are fed, ``Const`` is in the file, None is an absent input."""

    op_type: str
    inputs: Sequence[Array | Const | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    opsets: Sequence[int] = (17,)
    becomes: Sequence[str] | None = None
    outputs: int = 1
    note: str = ""

    @property
    def label(self) -> str:
        return "-".join(filter(None, (self.op_type, self.note)))


X = floats(2, 3, 5, 6)
POSITIVE = floats(2, 3, 5, low=0.1, high=3.0)
WEIGHT = Const(floats(4, 3, 3, 3))
BIAS = Const(floats(4))

UNARY = [
    Case(op_type, [X], opsets=opsets, becomes=[op_type])
    for op_type, opsets in {
        "Relu": (11, 14), "Sigmoid": (11, 13), "Softplus": (11,), "Softsign": (11,), "Tanh": (11, 13), "Erf": (11, 13),
        "Exp": (11, 13), "Neg": (11, 13), "Abs": (11, 13), "Sign": (11, 13), "Floor": (11, 13), "Ceil": (11, 13),
        "Round": (11,), "Sin": (11,), "Cos": (11,), "HardSwish": (14,), "Mish": (18,), "Selu": (11,), "Elu": (11,),
        "Tan": (11,), "Atan": (11,), "Sinh": (11,), "Cosh": (11,), "Asinh": (11,),
        "LeakyRelu": (11, 16), "HardSigmoid": (11, 22), "ThresholdedRelu": (11,), "Celu": (12,), "Gelu": (20,),
    }.items()
]  # fmt: skip

FUNCTIONS = [
    Case("Log", [POSITIVE]),
    Case("Sqrt", [POSITIVE]),
    Case("Reciprocal", [POSITIVE]),
    Case("Elu", [X], {"alpha": 0.3}, note="alpha"),
    Case("Celu", [X], {"alpha": 0.7}, note="alpha"),
    Case("Selu", [X], {"alpha": 1.2, "gamma": 1.1}, note="alpha"),
    Case("LeakyRelu", [X], {"alpha": 0.2}, note="alpha"),
    Case("HardSigmoid", [X], {"alpha": 0.3, "beta": 0.4}, note="alpha"),
    Case("ThresholdedRelu", [X], {"alpha": 0.6}, note="alpha"),
    Case("Gelu", [X], {"approximate": "tanh"}, (20,), note="tanh"),
    Case("Swish", [X], {}, (24,), ["Silu"]),
    Case("Swish", [X], {"alpha": 1.5}, (24,), ["Silu"], note="alpha"),
    *(Case(name, [floats(3, 4, low=-0.9, high=0.9)], becomes=[name]) for name in ("Asin", "Acos", "Atanh")),
    Case("Acosh", [floats(3, 4, low=1.1, high=4.0)], becomes=["Acosh"]),
    Case("Shrink", [X], {"lambd": 0.7, "bias": 0.2}, becomes=["Shrink"]),
    Case("Clip", [X, Const(scalar(0)), Const(scalar(6))], {}, (11, 13), ["Clip"]),
    Case("Clip", [X, None, Const(scalar(0.5))], {}, (11,), ["Clip"], note="upper"),
    Case("Clip", [X, Const(scalar(-0.5))], {}, (11,), ["Clip"], note="lower"),
    Case("Clip", [X], {"min": -0.5, "max": 0.5}, (7,), ["Clip"], note="attributes"),
    Case("Clip", [X], {}, (11,), ["Identity"], note="unbounded"),
    Case("Clip", [X, Const(scalar(0))], {}, (11,), ["Relu"], note="relu"),
    Case("Clip", [X, scalar(-0.5), scalar(0.5)], {}, (13,), ["Clip"], note="computed bounds"),
    Case("PRelu", [X, Const(floats(3, 1, 1))], {}, (11, 16), ["PRelu"]),
    Case("PRelu", [X, Const(floats(1))], {}, (11,), ["LeakyRelu"], note="scalar"),
]

ARITHMETIC = [
    Case(op_type, [X, Const(scalar(1.5))], {}, (11, 14), [name], note="scalar right")
    for op_type, name in (("Add", "Add"), ("Sub", "Sub"), ("Mul", "Mul"), ("Div", "Div"))
]
ARITHMETIC += [
    Case(op_type, [Const(np.array([1.5], np.float32)), POSITIVE], {}, (13,), [op_type], note="scalar left")
    for op_type in ("Add", "Sub", "Mul", "Div")
]
ARITHMETIC += [
    Case(op_type, [floats(2, 3, 4), floats(3, 1)], {}, (11, 14), [op_type]) for op_type in ("Add", "Sub", "Mul", "Div")
]
ARITHMETIC += [
    Case("Add", [floats(3), Const(floats(1, 1))], note="scalar that adds an axis"),
    Case("Mul", [X, Const(scalar(1.0))], {}, (17,), ["Identity"], note="by one"),
    Case("Div", [ints(7, -7, 9), Const(ints(2))], {}, (17,), ["Div"], note="integers"),
    Case("Pow", [POSITIVE, Const(scalar(2))], {}, (12, 15), ["Pow"], note="square"),
    Case("Pow", [POSITIVE, Const(scalar(0.5))], note="root"),
    Case("Pow", [POSITIVE, Const(np.array(3, np.int64))], {}, (15,), note="integer exponent"),
    Case("Pow", [POSITIVE, floats(2, 3, 5)], note="tensors"),
    Case("Pow", [Const(scalar(2.5)), X], becomes=["Pow"], note="of a constant"),
    Case("Mod", [X, Const(scalar(0.7))], {"fmod": 1}, (13,), ["Mod"], note="scalar"),
    Case("Mod", [X, floats(6, low=0.5)], {"fmod": 1}, (13,), ["Mod"]),
    Case("Mod", [ints(7, -7, 9, -8), ints(3, 3, -2, 5)], {}, (13,), ["Mod"], note="integers"),
    Case("Min", [X, Const(scalar(0.5))], {}, (13,), ["Clip"], note="scalar"),
    Case("Max", [X, Const(scalar(-0.5))], {}, (13,), ["Clip"], note="scalar"),
    Case("Max", [X, Const(scalar(0))], {}, (13,), ["Relu"], note="zero"),
    Case("Max", [Const(scalar(-np.inf)), X], {}, (13,), ["Identity"], note="no bound"),
    Case("Min", [X, floats(6), floats(5, 1)], {}, (13,), ["Min", "Min"], note="three"),
    Case("Max", [X, floats(6), floats(5, 1)], {}, (13,), ["Max", "Max"], note="three"),
    Case("Sum", [X, floats(6), floats(5, 1)], {}, (13,), ["Add", "Add"], note="three"),
    Case("Sum", [X], {}, (13,), ["Identity"], note="one"),
    Case("Where", [floats(2, 3) > 0, floats(2, 3), floats(3)], {}, (11, 16), ["Where"]),
    Case("Mean", [X, floats(6)], {}, (13,), ["Add", "Mean"]),
    Case("Mean", [X, floats(6), floats(5, 1)], {}, (13,), ["Add", "Add", "Mean"], note="three"),
    Case("Mean", [X], {}, (13,), ["Identity"], note="one"),
]

TRUTH = floats(2, 3) > 0
LOGIC = [
    *(Case(name, [ints(1, 2, 3, 4), ints(3, 2, 1, 4)], {}, (13,), [name]) for name in ("Equal", "Less")),
    *(Case(name, [floats(2, 3), floats(3)], {}, (13,), [name], note="floats")
      for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *(Case(name, [TRUTH, TRUTH[0]], {}, (7, 13), [name]) for name in ("And", "Or", "Xor")),
    Case("Not", [TRUTH], {}, (7, 13), ["Not"]),
    Case("IsNaN", [np.array([1, np.nan, np.inf], np.float32)], {}, (13, 20), ["IsNaN"]),
    Case("IsInf", [np.array([1, np.nan, np.inf, -np.inf], np.float32)], {}, (10, 20), ["IsInf"]),
    Case("IsInf", [np.array([1, np.inf, -np.inf], np.float32)], {"detect_negative": 0}, note="positive"),
    Case("IsInf", [np.array([1, np.inf, -np.inf], np.float32)], {"detect_positive": 0}, note="negative"),
]  # fmt: skip

PRODUCTS = [
    Case("Conv", [X, WEIGHT, BIAS], {"pads": [1, 1, 1, 1]}, (11, 22), ["Conv"]),
    Case("Conv", [X, WEIGHT], {"pads": [0, 1, 2, 0], "strides": [2, 1]}, note="uneven pads"),
    Case("Conv", [X, WEIGHT], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, note="same upper"),
    Case("Conv", [X, WEIGHT], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, note="same lower"),
    Case("Conv", [X, WEIGHT], {"auto_pad": "VALID"}, note="valid"),
    Case("Conv", [X, WEIGHT], {"dilations": [2, 1], "pads": [2, 0, 2, 0]}, note="dilated"),
    Case("Conv", [X, Const(floats(6, 1, 3, 3))], {"group": 3}, note="depthwise"),
    Case("Conv", [floats(2, 3, 9), Const(floats(4, 3, 3))], {"pads": [1, 0]}, note="1-D"),
    Case("Conv", [floats(1, 2, 4, 5, 6), Const(floats(3, 2, 2, 2, 2))], note="3-D"),
    Case("Conv", [X, floats(4, 3, 3, 3)], note="computed weight"),
    Case("ConvTranspose", [X, Const(floats(3, 4, 3, 3)), BIAS], {"strides": [2, 2]}, (11, 22), ["ConvTranspose"]),
    Case(
        "ConvTranspose",
        [X, Const(floats(3, 4, 3, 3)), BIAS],
        {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 1]},
        note="pads",
    ),
    Case("ConvTranspose", [X, Const(floats(3, 2, 3, 3))], {"group": 3, "dilations": [2, 2]}, note="grouped"),
    Case(
        "ConvTranspose",
        [X, Const(floats(3, 4, 3, 3))],
        {"strides": [2, 2], "output_shape": [10, 12]},
        note="output shape",
    ),
    Case("ConvTranspose", [X, Const(floats(3, 4, 3, 3))], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, note="same"),
    Case("ConvTranspose", [floats(1, 3, 7), Const(floats(3, 4, 3))], {"strides": [2]}, note="1-D"),
    Case("MatMul", [floats(2, 4, 5), Const(floats(5, 3))], {}, (11, 13), ["MatMul"], note="constant"),
    Case("MatMul", [floats(2, 4, 5), floats(2, 5, 3)], {}, (13,), ["MatMul"]),
    Case("MatMul", [floats(3, 1, 4, 5), floats(2, 5, 3)], {}, (13,), ["MatMul"], note="broadcast"),
    Case("MatMul", [Const(floats(4, 5)), floats(5, 3)], {}, (13,), ["MatMul"], note="constant left"),
    Case("MatMul", [floats(4, 5), floats(5)], {}, (13,), ["Reshape", "MatMul", "Reshape"], note="vector"),
    Case("MatMul", [floats(5), floats(2, 5, 3)], {}, (13,), ["Reshape", "MatMul", "Reshape"], note="row"),
    Case("MatMul", [floats(5), floats(5)], {}, (13,), ["Reshape", "Reshape", "MatMul", "Reshape"], note="vectors"),
    Case("MatMul", [floats(5), Const(floats(5, 3))], {}, (13,), ["Reshape", "MatMul", "Reshape"], note="constant row"),
    Case("MatMul", [floats(2, 5), Const(floats(1, 5, 3))], {}, (13,), ["MatMul", "Reshape"], note="constant with ones"),
    Case("MatMul", [floats(2, 4, 5), Const(floats(1, 5, 3))], {}, (13,), ["MatMul"], note="constant with one"),
    Case("MatMul", [floats(2, 4, 5), Const(floats(5))], {}, (13,), ["MatMul", "Reshape"], note="constant vector"),
    Case("Gemm", [floats(4, 5), Const(floats(5, 3)), Const(floats(3))], {}, (11, 13), ["Gemm"]),
    Case("Gemm", [floats(4, 5), Const(floats(3, 5)), Const(floats(1, 3))], {"transB": 1}, (13,), ["Gemm"], note="t"),
    Case(
        "Gemm",
        [floats(5, 4), Const(floats(3, 5)), Const(floats(1))],
        {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0},
        (13,),
        ["Transpose", "Gemm"],
        note="scaled",
    ),
    Case("Gemm", [floats(4, 5), Const(floats(5, 3)), floats(4, 3)], {"alpha": 0.5, "beta": 2.0}, note="addend"),
    Case("Gemm", [floats(4, 5), floats(5, 3)], {"alpha": 0.5}, note="two tensors"),
    Case("Gemm", [floats(4, 5), floats(3, 5)], {"transB": 1}, (13,), ["Transpose", "MatMul"], note="two tensors t"),
]

CHANNELS = [Const(floats(3, low=0.5, high=1.5)), Const(floats(3)), Const(floats(3)), Const(floats(3, low=0.1, high=2))]
NORMALISATION = [
    Case("BatchNormalization", [X, *CHANNELS], {"epsilon": 1e-3}, (11, 15), ["BatchNormalization"]),
    Case("BatchNormalization", [floats(4, 3), *CHANNELS], note="2-D"),
    Case("LayerNormalization", [X, Const(floats(6)), Const(floats(6))], {}, (17,), ["LayerNormalization"]),
    Case("LayerNormalization", [X, Const(floats(5, 6))], {"axis": 2, "epsilon": 1e-3}, note="two axes"),
    Case("LayerNormalization", [X, Const(floats(1)), Const(floats(1))], {"axis": -1}, note="broadcast weight"),
    Case("RMSNormalization", [X, Const(floats(6))], {}, (23,), ["RMSNormalization"]),
    Case("InstanceNormalization", [X, Const(floats(3)), Const(floats(3))], {}, (11, 22), ["InstanceNormalization"]),
    Case(
        "GroupNormalization", [floats(2, 4, 5, 6), Const(floats(2)), Const(floats(2))], {"num_groups": 2}, (18,),
        ["GroupNormalization"],
    ),
    Case(
        "GroupNormalization", [floats(2, 4, 5, 6), Const(floats(4)), Const(floats(4))], {"num_groups": 2}, (21,),
        ["GroupNormalization"],
    ),
    Case("LpNormalization", [X], {}, (13, 22), ["RMSNormalization"]),
    Case("LpNormalization", [X], {"axis": 1}, (22,), ["Transpose", "RMSNormalization", "Transpose"], note="channels"),
    Case("LpNormalization", [X], {"axis": 2, "p": 1}, (22,), ["Abs", "ReduceSum", "Div"], note="magnitudes"),
    Case("MeanVarianceNormalization", [X], {}, (13,), ["Transpose", "LayerNormalization", "Transpose"]),
    Case("MeanVarianceNormalization", [X], {"axes": [2, 3]}, (13,), ["LayerNormalization"], note="space"),
    Case("LRN", [floats(2, 7, 3, 4)], {"size": 5, "alpha": 0.3, "beta": 0.6, "bias": 1.5}, (13,)),
    Case("Softmax", [X], {}, (11, 13), note="default axis"),
    Case("Softmax", [X], {"axis": 2}, (11, 13), note="inner axis"),
    Case("Softmax", [X], {"axis": -1}, (11, 13), ["Softmax"], note="last axis"),
    Case("LogSoftmax", [X], {"axis": 1}, (11, 13)),
]

POOLS = [
    Case("MaxPool", [X], {"kernel_shape": [2, 2], "strides": [2, 2]}, (11, 12, 22), ["MaxPool"]),
    Case("MaxPool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, note="pads"),
    Case("MaxPool", [X], {"kernel_shape": [2, 2], "dilations": [2, 2]}, note="dilated"),
    Case("MaxPool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, note="same"),
    Case("MaxPool", [floats(2, 3, 9)], {"kernel_shape": [3], "strides": [2], "ceil_mode": 1}, note="1-D"),
    Case("MaxPool", [X], {"kernel_shape": [2, 2]}, (12,), ["MaxPool"], 2, "indices"),
    Case("AveragePool", [X], {"kernel_shape": [2, 2]}, (11, 19, 22), ["AveragePool"]),
    Case("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, note="pads"),
    Case("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 0, 0, 1], "count_include_pad": 1}, note="counted"),
    Case("AveragePool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, note="same"),
    Case("AveragePool", [X], {"kernel_shape": [2, 2], "dilations": [2, 1]}, (19,), note="dilated"),
    Case("GlobalAveragePool", [X], {}, (11, 22), ["ReduceMean"]),
    Case("GlobalMaxPool", [X], {}, (11, 22), ["ReduceMax"]),
    Case("LpPool", [X], {"kernel_shape": [2, 2]}, (11, 18), ["Pow", "AveragePool", "Mul", "Sqrt"]),
    Case("LpPool", [X], {"kernel_shape": [2, 2], "p": 1, "strides": [2, 2]}, (18,), ["Abs", "AveragePool", "Mul"]),
    Case("LpPool", [X], {"kernel_shape": [3, 2], "p": 3, "pads": [1, 0, 1, 1]}, (18,), note="cubes"),
    Case("LpPool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, (18,), note="ceil"),
    Case("LpPool", [X], {"kernel_shape": [2, 2], "dilations": [2, 1]}, (18,), ["LpPool"], note="dilated"),
]
POOLS += [
    Case(
        op_type,
        [floats(1, 2, height, 8)],
        {"kernel_shape": [3, 2], "strides": [2, 3], "pads": list(pads), "ceil_mode": 1, **extra},
        (22,),
        note=f"ceil {height} {pads} {extra}",
    )
    for height in (6, 7, 8)
    for pads in ((0, 0, 0, 0), (1, 0, 1, 1))
    for op_type, extra in (("MaxPool", {}), ("AveragePool", {}), ("AveragePool", {"count_include_pad": 1}))
]

REDUCTIONS = [
    Case(op_type, [X], {"axes": [1, -1], "keepdims": keep}, (11, 13), [op_type], note=f"attribute {keep}")
    for op_type in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")
    for keep in (0, 1)
]
REDUCTIONS += [
    Case(op_type, [X, Const(ints(2))], {}, (18, 20), [op_type], note="input")
    for op_type in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")
]
REDUCTIONS += [
    Case("ReduceSum", [X], {"axes": [2]}, (11,), note="attribute"),
    Case("ReduceSum", [X, Const(ints(2, 3))], {"keepdims": 0}, (13,), note="input"),
    Case("ReduceSum", [X], {}, (13,), note="all"),
    Case("ReduceSum", [X, Const(np.array([], np.int64))], {"noop_with_empty_axes": 1}, (13,), ["Identity"], note="no"),
    Case("ReduceProd", [X], {"axes": [1]}, (13,), ["ReduceProd"], note="product"),
    Case("ArgMax", [X], {"axis": 1}, (11, 13), ["ArgMax"]),
    Case("ArgMax", [X], {"axis": -1, "keepdims": 0}, note="flat"),
    Case("ArgMax", [ints(3, 1, 3, 2)], {"axis": 0, "select_last_index": 1}, (13,), ["ArgMax"], note="last"),
    Case("ArgMin", [X], {"axis": 1}, (11, 13), ["ArgMin"]),
    Case("ArgMin", [ints(3, 1, 1, 2)], {"axis": 0, "select_last_index": 1}, (13,), ["ArgMin"], note="last"),
    Case("GlobalLpPool", [X], {"p": 2}, becomes=["ReduceL2"]),
    Case("GlobalLpPool", [X], {"p": 1}, becomes=["ReduceL1"], note="magnitudes"),
    *(
        Case(name, [POSITIVE], {"axes": [0, 2], "keepdims": 0}, (11, 13), [name])
        for name in ("ReduceL1", "ReduceSumSquare", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp")
    ),
    Case("TopK", [X, Const(ints(2))], {}, (11,), ["TopK"], 2),
]

IMAGE = floats(1, 2, 4, 5)
NONE = Const(np.array([], np.float32))
RESIZES = [
    Case(
        "Resize",
        [IMAGE, NONE, Const(np.array([1, 1, 2, 1.6], np.float32))],
        {"mode": mode, "coordinate_transformation_mode": coordinates},
        (11, 13, 19) if coordinates == "half_pixel" else (13,),
        ["Resize"],
        note=f"{mode} {coordinates}",
    )
    for mode in ("nearest", "linear", "cubic")
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
]
RESIZES += [
    Case(
        "Resize",
        [IMAGE, NONE, None, Const(ints(1, 2, 3, 9))],
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": rounding},
        (13,),
        note=f"sizes {rounding}",
    )
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
]
RESIZES += [
    Case("Resize", [IMAGE, None, None, Const(ints(2, 3))], {"mode": "linear", "axes": [2, 3]}, (18,), note="axes"),
    Case(
        "Resize",
        [IMAGE, None, Const(np.array([1, 1, 0.5, 0.6], np.float32))],
        {"mode": "linear", "antialias": 1},
        (18,),
        note="antialias",
    ),
    Case(
        "Resize",
        [IMAGE, None, Const(np.array([1, 1, 2, 2], np.float32))],
        {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5},
        (18,),
        note="exclude outside",
    ),
    Case("Resize", [IMAGE, Const(np.array([1, 1, 2, 3], np.float32))], {"mode": "nearest"}, (10,), ["Resize"]),
    Case("Resize", [IMAGE, None, Const(np.array([1, 1, 1, 1], np.float32))], {}, (13,), ["Identity"], note="nothing"),
    Case("Resize", [IMAGE, None, Const(np.array([1, 2, 2, 2], np.float32))], {}, (13,), ["Resize"], note="channels"),
    Case("Upsample", [IMAGE, Const(np.array([1, 1, 2, 3], np.float32))], {"mode": "nearest"}, (9,), ["Resize"]),
    Case("Upsample", [IMAGE], {"mode": "linear", "scales": [1.0, 1.0, 2.0, 2.0]}, (7,), ["Resize"], note="attribute"),
]

TRANSPORT = [
    Case("Reshape", [X, Const(ints(2, 0, -1))], {}, (11, 13, 14, 21), ["Reshape"]),
    Case("Reshape", [X, Const(ints(2, 3, 5, 6))], {}, (13,), ["Identity"], note="nothing"),
    Case("Flatten", [X], {}, (11, 13), ["Flatten"]),
    Case("Flatten", [X], {"axis": -2}, (11,), note="negative"),
    Case("Flatten", [X], {"axis": 0}, (11,), note="all"),
    Case("Squeeze", [floats(2, 1, 3, 1)], {"axes": [1]}, (11,), ["Squeeze"]),
    Case("Squeeze", [floats(2, 1, 3, 1), Const(ints(-1))], {}, (13,), ["Squeeze"]),
    Case("Squeeze", [floats(2, 1, 3, 1)], {}, (11, 13), note="all"),
    Case("Unsqueeze", [floats(2, 3)], {"axes": [0, 3]}, (11,), ["Unsqueeze"]),
    Case("Unsqueeze", [floats(2, 3), Const(ints(-1, 0))], {}, (13,), ["Unsqueeze"]),
    Case("Transpose", [X], {"perm": [0, 2, 3, 1]}, (11, 13), ["Transpose"]),
    Case("Transpose", [X], {}, (13,), note="default"),
    Case("Transpose", [X], {"perm": [0, 1, 2, 3]}, (13,), ["Identity"], note="nothing"),
    Case("Concat", [X, floats(2, 1, 5, 6)], {"axis": -3}, (11, 13), ["Concat"]),
    Case("Concat", [X], {"axis": 1}, (13,), ["Identity"], note="one"),
    Case("Concat", [X, Const(floats(2, 0, 5, 6))], {"axis": 1}, (13,), ["Identity"], note="empty"),
    Case("Split", [X], {"axis": 3, "split": [2, 4]}, (11,), ["Split"], 2),
    Case("Split", [X, Const(ints(1, 2))], {"axis": 1}, (13,), ["Split"], 2),
    Case("Split", [X], {"axis": -1}, (13,), ["Split"], 3, "even"),
    Case("Split", [X], {"axis": 2, "num_outputs": 2}, (18,), ["Split"], 2, "uneven"),
    Case("Slice", [X], {"starts": [1, -3], "ends": [2, 100], "axes": [1, 3]}, (9,), ["Slice"], note="attributes"),
    Case("Slice", [X, Const(ints(1)), Const(ints(3)), Const(ints(-1))], {}, (11, 13), ["Slice"]),
    Case("Slice", [X, Const(ints(-1)), Const(ints(-100)), Const(ints(2)), Const(ints(-2))], note="backwards"),
    Case("Slice", [X, Const(ints(0, 1, 0, 5)), Const(ints(9, 3, 9, 0)), None, Const(ints(1, 1, 2, -1))], note="all"),
    Case("Slice", [X, Const(ints(0)), Const(ints(2**63 - 1)), Const(ints(1))], {}, (13,), ["Identity"], note="nothing"),
    Case("Slice", [X, Const(ints(3)), Const(ints(1)), Const(ints(2))], {}, (13,), ["Slice"], note="empty"),
    Case("Slice", [X, ints(1), ints(3), Const(ints(3))], {}, (13,), None, note="computed bounds"),
    Case("Pad", [X], {"pads": [0, 0, 1, 2, 0, 0, 0, 1], "value": 0.5}, (7,), ["Pad"], note="attributes"),
    Case("Pad", [X, Const(ints(0, 0, 1, 2, 0, 0, 0, 1)), Const(scalar(0.5))], {}, (11, 13, 21), ["Pad"]),
    Case("Pad", [X, Const(ints(0, 0, 1, 2, 0, 0, 0, 1))], {"mode": "reflect"}, (11, 18), ["Pad"], note="reflect"),
    Case("Pad", [X, Const(ints(0, 0, 1, 2, 0, 0, 0, 1))], {"mode": "edge"}, (11, 18), ["Pad"], note="edge"),
    Case("Pad", [X, Const(ints(0, 0, 1, 2, 0, 0, 0, 1))], {"mode": "wrap"}, (19,), ["Pad"], note="wrap"),
    Case("Pad", [X, Const(ints(1, 2)), None, Const(ints(-1))], {}, (18,), ["Pad"], note="axes"),
    Case("Pad", [X, Const(ints(0, 0, -1, 2, 0, 0, 0, -1))], {}, (13,), ["Slice", "Pad"], note="negative"),
    Case("Pad", [X, Const(ints(*[0] * 8))], {}, (13,), ["Identity"], note="nothing"),
    Case("Gather", [X, Const(ints(2, -1, 0))], {"axis": 1}, (11, 13), ["Gather"]),
    Case("Gather", [X, Const(np.array(1, np.int64))], {"axis": -1}, (13,), ["Slice", "Squeeze"], note="scalar"),
    Case("Gather", [X, Const(ints(0, 1, 2, 0).reshape(2, 2))], {"axis": 2}, (13,), ["Gather"], note="matrix"),
    Case("Gather", [Const(floats(7, 4)), ints(1, 6, -1)], {}, (13,), ["Gather"], note="embedding"),
    Case("Gather", [X, np.array([[2], [-3]], np.int32)], {"axis": 1}, (13,), ["Gather"], note="computed"),
    Case("GatherElements", [floats(1, 9), ints(*range(5)).reshape(1, 5)], {"axis": 1}, (13,), ["GatherElements"]),
    Case("Expand", [floats(3, 1), Const(ints(2, 1, 4))], {}, (11, 13), ["Expand"]),
    Case("Expand", [floats(3, 4), Const(ints(1, 4))], {}, (13,), ["Identity"], note="nothing"),
    Case("Tile", [floats(2, 3), Const(ints(2, 3))], {}, (11, 13), ["Tile"]),
    Case("Tile", [floats(2, 3), Const(ints(1, 1))], {}, (13,), ["Identity"], note="nothing"),
    Case("DepthToSpace", [floats(1, 8, 2, 3)], {"blocksize": 2}, (11, 13), ["DepthToSpace"], note="DCR"),
    Case("DepthToSpace", [floats(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}, (11, 13), note="CRD"),
    Case("SpaceToDepth", [floats(1, 2, 4, 6)], {"blocksize": 2}, (11, 13), ["SpaceToDepth"]),
    Case("Identity", [X], {}, (11, 16), ["Identity"]),
    Case("Dropout", [X], {}, (11, 13), ["Identity"]),
    Case("Cast", [X], {"to": 1}, (13,), ["Identity"], note="nothing"),
    Case("Cast", [X], {"to": 7}, (13, 19), ["Cast"], note="to integers"),
    Case("Cast", [X > 0], {"to": 1}, (13,), ["Cast"], note="of truth values"),
    Case("Cast", [ints(0, 3, -1)], {"to": 9}, (13,), ["Cast"], note="to truth values"),
    Case("Cast", [ints(0, 3, 200)], {"to": 2}, (13,), ["Cast"], note="to bytes"),
    Case("CastLike", [X, floats(1)], {}, (15,), ["Identity"]),
    Case("CastLike", [X, ints(1)], {}, (15,), ["Cast"], note="to integers"),
    Case("Shape", [X], {}, (11, 13), ["Identity"]),
    Case("Shape", [X], {"start": 1, "end": -1}, (15,), ["Identity"], note="part"),
    Case("Size", [X], {}, (13,), ["Identity"]),
    Case("ConstantOfShape", [Const(ints(2, 3))], {}, (11,), ["Identity"]),
    Case("ConstantOfShape", [ints(2, 3)], {}, (11,), None, note="computed"),
    Case("Range", [Const(ints(1)[0]), Const(ints(9)[0]), Const(ints(3)[0])], {}, (11,), ["Identity"]),
    Case("Equal", [ints(1, 2), ints(1, 3)], {}, (13,), ["Equal"]),
    Case("Einsum", [ints(1, 2), ints(3, 4)], {"equation": "i,i->"}, (12,), ["Einsum"], note="integers"),
]

COLUMNS = Const(np.array([[1, 3], [1, 3]]))
CELLS = Const(np.array([[1, -1], [0, 2]]))
CORNERS = Const(np.array([[0, 2], [1, -1]]))
SECOND = Const(np.array([[1]]))
PLACES = [
    Case("GatherND", [X, CORNERS], {}, (13,), ["Reshape", "Slice"]),
    Case("GatherND", [X, Const(np.array([[[0, 1]], [[2, -2]]]))], {"batch_dims": 1}, (13,), note="batch"),
    Case("GatherND", [X, Const(np.array([[1], [0], [1]]))], {}, (13,), ["Gather"], note="rows"),
    Case("GatherND", [X, np.array([[1], [0]])], {}, (13,), ["GatherND"], note="computed"),
    Case("GatherElements", [X, Const(np.array([1, -1, 0] * 40).reshape(2, 2, 5, 6))], {"axis": 1}, (13,)),
    Case("GatherElements", [floats(2, 4), COLUMNS], {"axis": 1}, (13,), ["Slice"], note="line"),
    Case("ScatterND", [X, CORNERS, floats(2, 5, 6)], {}, (13, 18)),
    Case("ScatterND", [X, SECOND, Const(floats(1, 3, 5, 6))], {}, (13,), ["Concat", "Slice"], note="row"),
    Case("ScatterND", [X, SECOND, floats(1, 3, 5, 6)], {"reduction": "add"}, (18,), ["ScatterND"]),
    Case("ScatterElements", [floats(3, 4), CELLS, floats(2, 2)], {"axis": 1}, (13, 18)),
    Case("ScatterElements", [floats(2, 4), COLUMNS, floats(2, 2)], {"axis": 1}, (13,), note="line"),
    Case("Scatter", [floats(3, 4), CELLS, floats(2, 2)], {}, (9,)),
    Case("ReverseSequence", [floats(4, 3, 2), Const(ints(1, 4, 2))], {}, (10,), ["Reshape", "Gather"]),
    Case("ReverseSequence", [floats(3, 4), Const(ints(1, 4, 2))], {"time_axis": 1, "batch_axis": 0}, (10,)),
    Case("Trilu", [X], {}, (14,), ["Where"]),
    Case("Trilu", [X, Const(ints(-1)[0])], {"upper": 0}, (14,), ["Where"], note="lower"),
    Case("Trilu", [X, Const(ints(2)[0])], {}, (14,), ["Where"], note="far"),
]

EQUATIONS: dict[str, tuple[list[tuple[int, ...]], Sequence[str] | None]] = {
    "ij,jk->ik": ([(2, 3), (3, 4)], ["MatMul"]),
    "bhid,bhjd->bhij": ([(2, 3, 4, 5), (2, 3, 6, 5)], ["Transpose", "MatMul"]),
    "bhij,bhjd->bhid": ([(2, 3, 4, 6), (2, 3, 6, 5)], ["MatMul"]),
    "bihd,bjhd->bhij": ([(2, 4, 3, 5), (2, 6, 3, 5)], None),
    "bhwc,hkc->bhwk": ([(2, 3, 4, 5), (3, 6, 5)], None),
    "...ij,...jk->...ik": ([(2, 1, 3, 4), (5, 4, 6)], None),
    "ij,jk": ([(2, 3), (3, 4)], ["MatMul"]),
    "...i,ij": ([(2, 5, 3), (3, 4)], None),
    "i,i->": ([(5,), (5,)], None),
    "i,j->ij": ([(3,), (4,)], None),
    "ij,ij->ij": ([(3, 4), (3, 4)], ["Mul"]),
    "bij,b->bij": ([(2, 3, 4), (2,)], None),
    "abc,cd,de->abe": ([(2, 3, 4), (4, 5), (5, 6)], None),
    "ij->ji": ([(3, 4)], ["Transpose"]),
    "ijk->j": ([(2, 3, 4)], ["ReduceSum"]),
    "ii->i": ([(4, 4)], ["Reshape", "Slice"]),
    "bii->b": ([(2, 4, 4)], None),
    "ij->ij": ([(3, 4)], ["Identity"]),
    "ijk,jl->kl": ([(2, 3, 4), (3, 5)], None),
}
EINSUMS = [
    Case("Einsum", [floats(*shape) for shape in shapes], {"equation": equation}, (12,), becomes, note=equation)
    for equation, (shapes, becomes) in EQUATIONS.items()
]
EINSUMS += [
    Case("Einsum", [floats(2, 3, 4), Const(floats(4, 5))], {"equation": "bic,co->bio"}, (12,), ["MatMul"], note="of"),
    Case("Einsum", [Const(floats(5, 4)), floats(2, 3, 4)], {"equation": "oc,bic->bio"}, (12,), ["MatMul"], note="left"),
    Case("Einsum", [floats(2, 3, 8), Const(floats(2, 4, 8))], {"equation": "bic,hdc->bhid"}, (12,), note="heads"),
]

HEADS = [floats(2, 3, 5, 4), floats(2, 3, 7, 4), floats(2, 3, 7, 6)]
FLAT = [floats(2, 5, 12), floats(2, 7, 12), floats(2, 7, 18)]
GROUPED = [floats(2, 5, 24), floats(2, 5, 8), floats(2, 5, 12)]
PAST = [floats(2, 3, 2, 4), floats(2, 3, 2, 6)]
ANGLED, CACHES = floats(2, 3, 5, 8), [Const(floats(50, 4)), Const(floats(50, 4))]
PLACES_IN_TIME = np.array([[0, 1, 2, 3, 4], [7, 8, 9, 10, 49]])
SELECTING = ["Transpose", "MatMul", "Mul", "Where", "Softmax", "Where", "MatMul"]
PARTS = ["Transpose", "MatMul", "Mul", "Softmax", "MatMul"]
ATTENTION = [
    Case("Attention", HEADS, {}, (23,), PARTS),
    Case("Attention", HEADS, {"scale": 0.3, "is_causal": 1}, (23,), [*PARTS[:3], "Add", *PARTS[3:]], note="causal"),
    Case("Attention", [*HEADS, floats(5, 7)], {}, (23,), [*PARTS[:3], "Add", *PARTS[3:]], note="mask"),
    Case("Attention", [*HEADS, Const(np.tri(5, 7, dtype=bool))], {}, (23,), note="boolean mask"),
    Case("Attention", [*HEADS, np.tri(5, 7, dtype=bool)], {}, (23,), SELECTING, note="computed boolean mask"),
    Case("Attention", [*HEADS, floats(5, 7)], {"is_causal": 1}, (23,), note="causal mask"),
    Case("Attention", FLAT, {"q_num_heads": 3, "kv_num_heads": 3}, (23,), note="flat"),
    Case("Attention", [HEADS[0], HEADS[1][:, :1], HEADS[2][:, :1]], {}, (23,), note="shared heads"),
    Case("Attention", GROUPED, {"q_num_heads": 6, "kv_num_heads": 2, "is_causal": 1}, (23, 24), note="grouped"),
    Case("Attention", [*HEADS, None, *PAST], {"is_causal": 1}, (23,), None, 3, "past"),
    Case("Attention", [*HEADS, floats(2, 1, 5, 9), *PAST], {}, (23,), None, 1, "past and mask"),
    Case("Attention", HEADS, {"softcap": 2.0}, (23,), ["Attention"], note="capped"),
    Case("RotaryEmbedding", [ANGLED, CACHES[0], CACHES[1], PLACES_IN_TIME], {}, (23,)),
    Case("RotaryEmbedding", [ANGLED, CACHES[0], CACHES[1], PLACES_IN_TIME], {"interleaved": 1}, (23,), note="pairs"),
    Case("RotaryEmbedding", [ANGLED, floats(2, 5, 4), floats(2, 5, 4)], {}, (23,), note="angles"),
    Case("RotaryEmbedding", [floats(2, 5, 24), *CACHES, PLACES_IN_TIME], {"num_heads": 3}, (23,), note="flat"),
    Case(
        "RotaryEmbedding", [floats(2, 3, 5, 12), *CACHES, PLACES_IN_TIME], {"rotary_embedding_dim": 8}, (23,),
        note="partly",
    ),
]

CASES = [
    *UNARY, *FUNCTIONS, *ARITHMETIC, *PRODUCTS, *NORMALISATION, *POOLS, *REDUCTIONS, *RESIZES, *TRANSPORT, *ATTENTION,
    *LOGIC, *PLACES, *EINSUMS,
]  # fmt: skip

DATA_DEPENDENT = {"ConstantOfShape-computed", "Slice-computed bounds"}
"""Their output shape depends on input data: refused, not computed."""


def _each_opset(cases: Sequence[Case]) -> list[Any]:
    return [pytest.param(case, opset, id=f"{case.label}-{opset}") for case in cases for opset in case.opsets]


def _model(case: Case, opset: int) -> tuple[Any, dict[str, Array]]:
    names = ["" if given is None else f"i{index}" for index, given in enumerate(case.inputs)]
    pairs = list(zip(names, case.inputs, strict=True))
    feeds = {name: given for name, given in pairs if isinstance(given, np.ndarray)}
    constants = {name: given.array for name, given in pairs if isinstance(given, Const)}
    outputs = [f"o{index}" for index in range(case.outputs)]
    only = node(case.op_type, names, outputs, **case.attributes)
    return build([only], feeds, outputs, constants, opset), feeds


@pytest.mark.parametrize(("case", "opset"), _each_opset([c for c in CASES if c.label not in DATA_DEPENDENT]))
def test_like_onnx_runtime(case: Case, opset: int) -> None:
    graph = assert_same(*_model(case, opset))
    if case.becomes is not None:
        assert type_names(graph) == list(case.becomes)


def test_every_converter_is_covered() -> None:
    """Those of ONNX Runtime's own: test_microsoft.py."""
    standard = {op_type for domain, op_type in CONVERTERS if not domain} - {"SimplifiedLayerNormalization"}
    assert standard <= {case.op_type for case in CASES} | RESOLVED
