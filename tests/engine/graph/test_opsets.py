"""Operators whose spelling or meaning changed between opsets, at every opset from 7 to 24 where they did.

What the file holds is compared with the runtime twice: once as constants, which converters resolve, and once fed, which
leaves the sizes to the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest

from engine.graph.float_run import run_float
from tests.engine.graph.onnx_models import Array, assert_same, build, expected, loaded, node

OLDEST, NEWEST = 7, 24
_GENERATOR = np.random.default_rng(11)


def floats(*shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    return _GENERATOR.uniform(low, high, shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def scalar(value: float, dtype: Any = np.float32) -> Array:
    return np.array(value, dtype)


X = floats(2, 3, 4, 5)
POSITIVE = floats(2, 3, 4, low=0.2)
IMAGE = floats(1, 2, 4, 6)
NO_AXES = np.array([], np.int64)


@dataclass(frozen=True)
class Era:
    """One spelling of an operator, from opset ``first`` to ``last``. The first input is fed, the others are constants
    (None: absent); ``fed`` says that they may also be fed."""

    op_type: str
    first: int
    last: int
    inputs: Sequence[Array | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    fed: bool = True
    note: str = ""

    def opsets(self) -> Iterator[int]:
        """The first of the era, the last, and those between at which the operator has a new version."""
        for opset in range(self.first, self.last + 1):
            version = onnx.defs.get_schema(self.op_type, opset).since_version
            if opset in (self.first, self.last) or version == opset:
                yield opset

    def model(self, opset: int, constant: bool) -> tuple[onnx.ModelProto, dict[str, Array]]:
        names = ["" if array is None else f"i{index}" for index, array in enumerate(self.inputs)]
        while names and not names[-1]:
            names.pop()
        arrays = {name: array for name, array in zip(names, self.inputs, strict=False) if array is not None}
        constants = {name: array for name, array in arrays.items() if constant and name != "i0"}
        feeds = {name: array for name, array in arrays.items() if name not in constants}
        outputs = [f"o{index}" for index in range(self.outputs)]
        return build([node(self.op_type, names, outputs, **self.attributes)], feeds, outputs, constants, opset), feeds


def reductions() -> Iterator[Era]:
    for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare", "Sum"):
        change = 13 if name == "Sum" else 18
        for keep in (0, 1):
            yield Era(f"Reduce{name}", 7, change - 1, [POSITIVE], {"axes": [0, 2], "keepdims": keep})
            yield Era(f"Reduce{name}", change, NEWEST, [POSITIVE, ints(0, -1)], {"keepdims": keep})
        yield Era(f"Reduce{name}", 7, NEWEST, [POSITIVE], {"keepdims": 0}, note="all")
        yield Era(
            f"Reduce{name}", change, NEWEST, [POSITIVE, NO_AXES], {"noop_with_empty_axes": 1}, fed=False, note="none"
        )


def quantised() -> Iterator[Era]:
    scale, zero = scalar(0.05), np.array(3, np.int8)
    scales, zeros = floats(3, low=0.02, high=0.1), np.array([0, 2, -3], np.int8)
    yield Era("QuantizeLinear", 10, NEWEST, [X, scale, zero])
    yield Era("QuantizeLinear", 13, NEWEST, [X, scales, zeros], {"axis": 1}, note="by channel")
    yield Era(
        "QuantizeLinear",
        21,
        NEWEST,
        [floats(4, 6), floats(4, 3, low=0.02, high=0.1)],
        {"axis": 1, "block_size": 2, "output_dtype": 3},
        note="by block",
    )
    yield Era("DequantizeLinear", 10, NEWEST, [_GENERATOR.integers(-9, 9, (2, 3)).astype(np.int8), scale, zero])
    yield Era(
        "DequantizeLinear",
        13,
        NEWEST,
        [_GENERATOR.integers(-9, 9, (2, 3)).astype(np.int8), scales, zeros],
        {"axis": 1},
        note="by channel",
    )


RECURRENT = [floats(3, 2, 4), floats(1, 3, 4), floats(1, 3, 3)]

ERAS = [
    Era("Squeeze", 7, 12, [floats(1, 3, 1, 2)], {"axes": [0, 2]}),
    Era("Squeeze", 13, NEWEST, [floats(1, 3, 1, 2), ints(0, -2)]),
    Era("Squeeze", 7, NEWEST, [floats(1, 3, 1, 2)], note="all"),
    Era("Unsqueeze", 7, 12, [floats(3, 2)], {"axes": [0, 3]}),
    Era("Unsqueeze", 13, NEWEST, [floats(3, 2), ints(-1, 0)]),
    Era("Clip", 7, 10, [X], {"min": -0.5, "max": 0.7}),
    Era("Clip", 7, 10, [X], {"max": 0.7}, note="upper"),
    Era("Clip", 11, NEWEST, [X, scalar(-0.5), scalar(0.7)]),
    Era("Clip", 11, NEWEST, [X, None, scalar(0.7)], note="upper"),
    *(
        Era("Pad", 7, 10, [X], {"pads": [0, 1, 0, 2, 0, 0, 1, 1], "mode": mode}, note=mode)
        for mode in ("constant", "reflect", "edge")
    ),
    Era("Pad", 7, 10, [X], {"pads": [0, 1, -1, 2, 0, 0, 1, -1], "value": 1.5}, note="value"),
    *(
        Era("Pad", 11, NEWEST, [X, ints(0, 1, 0, 2, 0, 0, 1, 1)], {"mode": mode}, note=mode)
        for mode in ("constant", "reflect", "edge")
    ),
    Era("Pad", 11, NEWEST, [X, ints(0, 1, -1, 2, 0, 0, 1, -1), scalar(1.5)], note="value"),
    Era("Pad", 18, NEWEST, [X, ints(1, 2, 0, 1), None, ints(1, -1)], note="axes"),
    Era("Pad", 19, NEWEST, [X, ints(0, 1, 0, 2, 0, 0, 1, 1)], {"mode": "wrap"}, note="wrap"),
    Era("Slice", 7, 9, [X], {"starts": [1, -3], "ends": [9, -1], "axes": [1, 3]}),
    Era("Slice", 7, 9, [X], {"starts": [0, 1], "ends": [1, 3]}, note="first axes"),
    Era("Slice", 10, NEWEST, [X, ints(1, -3), ints(9, -1), ints(1, 3)]),
    Era("Slice", 10, NEWEST, [X, ints(-1, 0), ints(-9, 5), ints(1, 3), ints(-1, 2)], note="steps"),
    Era("Split", 7, 12, [X], {"axis": 3, "split": [2, 3]}, 2),
    Era("Split", 7, 17, [X], {"axis": 2}, 2, note="even"),
    Era("Split", 13, NEWEST, [X, ints(2, 3)], {"axis": 3}, 2),
    Era("Split", 18, NEWEST, [X], {"axis": 3, "num_outputs": 2}, 2, note="uneven"),
    Era("TopK", 7, 9, [X], {"k": 2, "axis": 2}, 2),
    Era("TopK", 10, NEWEST, [X, ints(2)], {"axis": 2}, 2),
    Era("TopK", 11, NEWEST, [X, ints(3)], {"axis": -1, "largest": 0}, 2, note="smallest"),
    *(Era("Cast", 7, NEWEST, [X], {"to": to}, note=str(to)) for to in (1, 6, 7, 9, 10, 11)),
    Era("Upsample", 7, 8, [IMAGE], {"scales": [1.0, 1.0, 2.0, 3.0], "mode": "nearest"}),
    Era("Upsample", 7, 8, [IMAGE], {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "linear"}, note="linear"),
    Era("Upsample", 9, 9, [IMAGE, np.array([1, 1, 2, 3], np.float32)], {"mode": "nearest"}),
    Era("Resize", 10, 10, [IMAGE, np.array([1, 1, 2, 1.5], np.float32)], {"mode": "nearest"}),
    Era("Resize", 10, 10, [IMAGE, np.array([1, 1, 2, 1.5], np.float32)], {"mode": "linear"}, note="linear"),
    *(
        Era(
            "Resize",
            11,
            NEWEST,
            [IMAGE, None if opset > 12 else np.array([], np.float32), np.array([1, 1, 2, 1.5], np.float32)],
            {"mode": mode, "coordinate_transformation_mode": how, "nearest_mode": "floor"},
            note=f"{mode} {how}",
        )
        for opset in (13,)
        for mode in ("nearest", "linear", "cubic")
        for how in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
        if mode != "cubic" or how != "pytorch_half_pixel"
    ),
    Era("Resize", 13, NEWEST, [IMAGE, None, None, ints(1, 2, 7, 5)], {"mode": "linear"}, note="sizes"),
    Era("Resize", 18, NEWEST, [IMAGE, None, None, ints(7, 5)], {"mode": "nearest", "axes": [2, 3]}, note="axes"),
    Era(
        "Resize",
        18,
        NEWEST,
        [IMAGE, None, np.array([0.6, 0.5], np.float32)],
        {"mode": "linear", "axes": [2, 3], "antialias": 1},
        note="antialias",
    ),
    Era(
        "Resize",
        18,
        NEWEST,
        [IMAGE, None, None, ints(7, 7)],
        {"mode": "nearest", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"},
        note="aspect",
    ),
    Era("Dropout", 7, 11, [X], {"ratio": 0.3}),
    Era("Dropout", 12, NEWEST, [X, scalar(0.3)]),
    Era("Dropout", 12, NEWEST, [X, scalar(0.3), np.array(False)], note="told not to train"),
    Era("Dropout", 12, NEWEST, [X], {}, 2, note="mask"),
    *(
        Era(name, 7, 10, [X], {"axis": axis}, note=str(axis))
        for name in ("Softmax", "LogSoftmax", "Hardmax")
        for axis in (0, 1, 2, 3)
    ),
    *(
        Era(name, 11, NEWEST, [X], {"axis": axis}, note=str(axis))
        for name in ("Softmax", "LogSoftmax", "Hardmax")
        for axis in (1, -1, -2)
    ),
    *(Era(name, 7, NEWEST, [X], note="default") for name in ("Softmax", "LogSoftmax", "Hardmax")),
    Era("BatchNormalization", 7, NEWEST, [X, floats(3), floats(3), floats(3), floats(3, low=0.5)], {"epsilon": 1e-3}),
    Era("Gemm", 7, NEWEST, [floats(2, 3), floats(3, 4), floats(4)], {"alpha": 0.5, "beta": 2.0}),
    Era("Gemm", 11, NEWEST, [floats(3, 2), floats(4, 3)], {"transA": 1, "transB": 1}, note="no bias"),
    Era("Reshape", 7, NEWEST, [X, ints(0, -1, 10)]),
    Era("Flatten", 7, NEWEST, [X], {"axis": 2}),
    Era("Flatten", 11, NEWEST, [X], {"axis": -1}, note="negative"),
    Era("Expand", 8, NEWEST, [floats(3, 1), ints(2, 3, 4)]),
    Era("Tile", 7, NEWEST, [floats(2, 3), ints(2, 1)]),
    Era("OneHot", 9, NEWEST, [ints(1, 0, 3), ints(4), np.array([0.5, 2.0], np.float32)], {"axis": 0}),
    Era(
        "OneHot", 11, NEWEST, [ints(1, 0, -1), ints(4), np.array([0.5, 2.0], np.float32)], {"axis": -1}, note="negative"
    ),
    Era("MaxPool", 7, NEWEST, [X], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1], "strides": [1, 2]}),
    Era("MaxPool", 8, NEWEST, [X], {"kernel_shape": [2, 2]}, 2, note="indices"),
    Era(
        "MaxPool",
        10,
        NEWEST,
        [X],
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "dilations": [1, 2]},
        note="ceil",
    ),
    Era("AveragePool", 7, NEWEST, [X], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1], "count_include_pad": 1}),
    Era("AveragePool", 10, NEWEST, [X], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, note="ceil"),
    Era("AveragePool", 19, NEWEST, [X], {"kernel_shape": [2, 2], "dilations": [1, 2]}, note="dilated"),
    Era("LpPool", 7, NEWEST, [X], {"kernel_shape": [2, 2], "p": 2}),
    Era("Scatter", 9, 10, [floats(3, 4), np.array([[1, 0, 2, 2]]), floats(1, 4)], {"axis": 0}),
    Era("ScatterElements", 11, NEWEST, [floats(3, 4), np.array([[1, 0, 2, 2]]), floats(1, 4)], {"axis": 0}),
    Era(
        "ScatterElements",
        16,
        NEWEST,
        [floats(3, 4), np.array([[1, 1], [0, 0], [2, 2]]), floats(3, 2)],
        {"axis": 1, "reduction": "add"},
        note="add",
    ),
    Era(
        "ScatterElements",
        18,
        NEWEST,
        [floats(3, 4), np.array([[1, 1], [0, 0], [2, 2]]), floats(3, 2)],
        {"axis": 1, "reduction": "max"},
        note="max",
    ),
    Era("ScatterND", 11, NEWEST, [floats(3, 4), np.array([[2], [0]]), floats(2, 4)]),
    Era("ScatterND", 16, NEWEST, [floats(3, 4), np.array([[2], [2]]), floats(2, 4)], {"reduction": "mul"}, note="mul"),
    Era("Gather", 7, NEWEST, [X, np.array([[0, 2], [1, 1]])], {"axis": 1}),
    Era("Gather", 11, NEWEST, [X, ints(-1, 0)], {"axis": -1}, note="negative"),
    Era("GatherElements", 11, NEWEST, [floats(3, 4), np.array([[0, -1], [2, 2], [1, 0]])], {"axis": 1}),
    Era("GatherND", 11, NEWEST, [floats(3, 4, 2), np.array([[0, 1], [2, 3]])]),
    Era("GatherND", 12, NEWEST, [floats(3, 4, 2), np.array([[1], [3], [0]])], {"batch_dims": 1}, note="batch"),
    Era("CumSum", 11, NEWEST, [X, scalar(2, np.int64)], {"exclusive": 1, "reverse": 1}),
    Era("Mod", 10, NEWEST, [ints(7, -7, 9), ints(3, 3, -2)]),
    *(Era(name, 7, NEWEST, [X], {"axis": 2, "keepdims": 0}) for name in ("ArgMax", "ArgMin")),
    *(
        Era(
            name,
            12,
            NEWEST,
            [np.array([[1, 3, 3], [2, 2, 0]], np.float32)],
            {"axis": 1, "select_last_index": 1},
            note="last",
        )
        for name in ("ArgMax", "ArgMin")
    ),
    *(
        Era(name, 7, NEWEST, [floats(2, 3), floats(3)])
        for name in ("Greater", "Less", "Add", "Sub", "Mul", "Div", "PRelu")
    ),
    *(Era(name, 12, NEWEST, [floats(2, 3), floats(3)]) for name in ("GreaterOrEqual", "LessOrEqual")),
    *(Era(name, 8, NEWEST, [floats(2, 3), floats(3), floats(1)]) for name in ("Min", "Max", "Sum", "Mean")),
    Era("Equal", 7, NEWEST, [ints(1, 2, 3), ints(1, 3, 3)]),
    Era("Pow", 7, NEWEST, [POSITIVE, floats(4)]),
    Era("Pow", 12, NEWEST, [POSITIVE, ints(2)], note="integer power"),
    *(
        Era(name, 7, NEWEST, [X])
        for name in ("LeakyRelu", "Elu", "Selu", "HardSigmoid", "Softplus", "Softsign", "InstanceNormalization")
        if name != "InstanceNormalization"
    ),
    Era("InstanceNormalization", 7, NEWEST, [X, floats(3), floats(3)]),
    Era("ThresholdedRelu", 10, NEWEST, [X], {"alpha": 0.5}),
    Era("LRN", 7, NEWEST, [X], {"size": 3}),
    Era("LpNormalization", 7, NEWEST, [X], {"axis": 1, "p": 1}),
    Era("MeanVarianceNormalization", 9, NEWEST, [X]),
    Era("LayerNormalization", 17, NEWEST, [X, floats(5), floats(5)]),
    Era("GroupNormalization", 18, 20, [floats(2, 4, 3), floats(2), floats(2)], {"num_groups": 2}),
    Era("GroupNormalization", 21, NEWEST, [floats(2, 4, 3), floats(4), floats(4)], {"num_groups": 2}),
    Era("RMSNormalization", 23, NEWEST, [X, floats(5)]),
    Era("DepthToSpace", 7, NEWEST, [floats(1, 8, 2, 3)], {"blocksize": 2}),
    Era("DepthToSpace", 11, NEWEST, [floats(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}, note="CRD"),
    Era("SpaceToDepth", 7, NEWEST, [floats(1, 2, 4, 6)], {"blocksize": 2}),
    Era("Transpose", 7, NEWEST, [X], {"perm": [0, 2, 3, 1]}),
    Era("Concat", 7, NEWEST, [floats(2, 3), floats(2, 1)], {"axis": 1}),
    Era("Concat", 11, NEWEST, [floats(2, 3), floats(2, 1)], {"axis": -1}, note="negative"),
    Era("Shape", 7, NEWEST, [X]),
    Era("Shape", 15, NEWEST, [X], {"start": 1, "end": -1}, note="part"),
    Era("IsInf", 10, NEWEST, [np.array([1, np.inf, -np.inf], np.float32)], {"detect_negative": 0}),
    Era("NonZero", 9, NEWEST, [np.array([[1, 0], [2, 3]], np.float32)]),
    Era("Compress", 9, NEWEST, [floats(3, 2), np.array([True, False, True])], {"axis": 0}),
    Era("Unique", 11, NEWEST, [np.array([2, 1, 1, 3], np.float32)], {}, 4),
    Era("ReverseSequence", 10, NEWEST, [floats(3, 2), ints(1, 3)], {"time_axis": 0, "batch_axis": 1}),
    Era("EyeLike", 9, NEWEST, [floats(3, 4)], {"k": 1}),
    Era("Trilu", 14, NEWEST, [floats(3, 4), scalar(1, np.int64)], {"upper": 0}),
    Era("Einsum", 12, NEWEST, [floats(2, 3), floats(3, 4)], {"equation": "ij,jk->ki"}),
    Era("Where", 9, NEWEST, [np.array([True, False, True]), floats(2, 3), floats(3)]),
    Era("Range", 11, NEWEST, [scalar(1), scalar(9), scalar(2.5)]),
    Era("ConstantOfShape", 9, NEWEST, [ints(2, 3)]),
    Era(
        "NonMaxSuppression",
        10,
        NEWEST,
        [
            floats(1, 4, 4, low=0, high=1),
            floats(1, 2, 4, low=0, high=1),
            ints(2),
            np.array([0.5], np.float32),
            np.array([0.1], np.float32),
        ],
    ),
    Era(
        "RoiAlign",
        10,
        15,
        [IMAGE, np.array([[0, 0, 4, 3]], np.float32), ints(0)],
        {"output_height": 2, "output_width": 2, "sampling_ratio": 2},
    ),
    Era(
        "RoiAlign",
        16,
        NEWEST,
        [IMAGE, np.array([[0, 0, 4, 3]], np.float32), ints(0)],
        {"output_height": 2, "output_width": 2, "sampling_ratio": 2},
        note="half pixel",
    ),
    Era("GridSample", 16, 19, [IMAGE, floats(1, 3, 3, 2, low=-1, high=1)], {"mode": "bilinear"}),
    Era("GridSample", 20, NEWEST, [IMAGE, floats(1, 3, 3, 2, low=-1, high=1)], {"mode": "linear"}),
    Era("RNN", 7, NEWEST, RECURRENT, {"hidden_size": 3}, 2),
    Era("GRU", 7, NEWEST, [floats(3, 2, 4), floats(1, 9, 4), floats(1, 9, 3)], {"hidden_size": 3}, 2),
    Era("LSTM", 7, NEWEST, [floats(3, 2, 4), floats(1, 12, 4), floats(1, 12, 3)], {"hidden_size": 3}, 3),
    Era(
        "LSTM",
        14,
        NEWEST,
        [floats(2, 3, 4), floats(1, 12, 4), floats(1, 12, 3)],
        {"hidden_size": 3, "layout": 1},
        3,
        note="batch first",
    ),
    Era(
        "LSTM",
        7,
        NEWEST,
        [floats(3, 2, 4), floats(2, 12, 4), floats(2, 12, 3)],
        {"hidden_size": 3, "direction": "bidirectional"},
        3,
        note="both ways",
    ),
    Era(
        "GRU",
        7,
        NEWEST,
        [floats(3, 2, 4), floats(1, 9, 4), floats(1, 9, 3), floats(1, 18)],
        {"hidden_size": 3, "linear_before_reset": 1},
        2,
        note="linear",
    ),
    *reductions(),
    *quantised(),
]


def _each(constant: bool) -> list[Any]:
    return [
        pytest.param(era, opset, id=f"{era.op_type} {era.note} {index} opset {opset}")
        for index, era in enumerate(ERAS)
        if constant or (era.fed and len(era.inputs) > 1)
        for opset in era.opsets()
    ]


@pytest.mark.parametrize(("era", "opset"), _each(constant=True))
def test_constants_are_resolved_as_the_opset_means_them(era: Era, opset: int) -> None:
    model, feeds = era.model(opset, constant=True)
    if era.op_type in SIZED_BY_DATA:
        assert_same_values(model, feeds)
    else:
        assert_same(model, feeds)


@pytest.mark.parametrize(("era", "opset"), _each(constant=False))
def test_inputs_are_read_as_the_opset_means_them(era: Era, opset: int) -> None:
    assert_same_values(*era.model(opset, constant=False))


SIZED_BY_DATA = frozenset({"NonZero", "Compress", "Unique", "NonMaxSuppression", "Range", "ConstantOfShape"})


def assert_same_values(model: onnx.ModelProto, feeds: dict[str, Array]) -> None:
    """As ``assert_same``; the sizes that the graph shows are estimates."""
    ours = run_float(loaded(model), feeds)
    for name, theirs in expected(model, feeds).items():
        result = ours[name].numpy()
        assert (result.shape, result.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(result, theirs, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("opset", [7, 8])
def test_batch_normalisation_by_position(opset: int) -> None:
    """Until opset 8 ``spatial = 0`` gave every position its own statistics; ONNX Runtime does not know it."""
    weights = [floats(3, 4), floats(3, 4), floats(3, 4), floats(3, 4, low=0.5)]
    x = floats(2, 3, 4)
    names = ["gamma", "beta", "mean", "variance"]
    batch_norm = node("BatchNormalization", ["x", *names], ["y"], epsilon=1e-3, spatial=0)
    model = build([batch_norm], {"x": x}, ["y"], dict(zip(names, weights, strict=True)), opset)
    gamma, beta, mean, variance = weights
    wanted = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(run_float(loaded(model), {"x": x})["y"], wanted, rtol=1e-4, atol=1e-5)
