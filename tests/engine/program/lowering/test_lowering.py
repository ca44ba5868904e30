"""Every lowering against the float operator on the same quantised inputs, within a bound in output steps."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from engine.errors import GraphError
from engine.graph.graph import Graph, Node, TensorType
from engine.ops.base import Op
from engine.ops.elementwise import (
    Add,
    Affine,
    Clip,
    Div,
    Exp,
    Gelu,
    HardSwish,
    LeakyRelu,
    Maximum,
    Minimum,
    Mul,
    PRelu,
    Relu,
    Sigmoid,
    Silu,
    Sub,
    Tanh,
)
from engine.ops.layout import Concat, DepthToSpace, Gather, Pad, Reshape, Roll, Slice, Split, Transpose
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import (
    AveragePool,
    LayerNorm,
    MaxPool,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceSum,
    Resize,
    RMSNorm,
    Softmax,
)
from engine.plan.resolve import resolve
from engine.plan.types import Plan
from engine.precision import Precision
from engine.program.executor import run_program
from engine.program.lowering.assemble import UnitCache, has_lowering
from engine.program.lowering.context import LOWER
from engine.program.lowering.mac import quantise_weight
from engine.program.types import Convolution, DataMovement, FullyConnected, Program, Quantise, Requantise, Table8
from engine.qtype import INTEGER_RANGE
from tests.engine.plan.graphs import SHAPE, Builder

from .cases import TARGET, compared, everywhere, inputs_of, lowered, lowered_with

DTYPES = ("int8", "int16")
RNG = np.random.default_rng(7)


def unary(op: Op, shape: tuple[int, ...] = SHAPE, source: tuple[int, ...] = SHAPE) -> Graph:
    builder = Builder()
    builder.node("y", op, builder.input("x", source), shape=shape)
    return builder.build("y")


def binary(op: Op) -> Graph:
    builder = Builder()
    builder.node("y", op, builder.input("a"), builder.input("b"))
    return builder.build("y")


def with_constant(op: Op, constant: np.ndarray, first: bool) -> Graph:
    builder = Builder()
    operands = [builder.input("x"), builder.constant("k", constant)]
    builder.node("y", op, *(reversed(operands) if first else operands))
    return builder.build("y")


def mac(op: Op, weight: np.ndarray, bias: np.ndarray | None, source: tuple[int, ...], result: tuple[int, ...]) -> Graph:
    builder = Builder()
    names = [builder.input("x", source), builder.constant("w", weight)]
    if bias is not None:
        names.append(builder.constant("b", bias))
    builder.node("y", op, *names, shape=result)
    return builder.build("y")


def weight_rounding(graph: Graph, case_scale: float, feeds: dict[str, np.ndarray]) -> float:
    """Bound, in output steps, of half a weight step at every tap and input of the largest magnitude."""
    weight = np.asarray(graph.constants["w"].array)
    peak = max(float(np.abs(array).max()) for array in feeds.values())
    taps = weight.size // max(weight.shape[0], 1)
    return 0.5 * np.abs(weight).max() / 127 * taps * peak / case_scale


CONVOLUTIONS = {
    "plain": (Conv((1, 1), (1, 1, 1, 1), (1, 1)), (6, 4, 3, 3), (1, 6, 6, 6)),
    "strided": (Conv((2, 1), (0, 1, 1, 2), (1, 2)), (6, 4, 3, 2), (1, 6, 3, 7)),
    "grouped": (Conv((1, 1), (0, 0, 0, 0), (1, 1), 2), (6, 2, 1, 1), (1, 6, 6, 6)),
    "depthwise": (Conv((1, 1), (1, 1, 1, 1), (1, 1), 4), (4, 1, 3, 3), (1, 4, 6, 6)),
    "transposed": (ConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), (0, 0)), (4, 6, 2, 2), (1, 6, 12, 12)),
    "transposed grouped": (
        ConvTranspose((2, 2), (1, 1, 1, 1), (1, 1), (1, 1), 2), (4, 3, 3, 3), (1, 6, 12, 12)
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str, dtype: str) -> None:
    op, kernel, result = CONVOLUTIONS[name]
    graph = mac(op, RNG.normal(0, 0.3, kernel), RNG.normal(0, 1, result[1]), SHAPE, result)
    feeds = inputs_of(graph)
    case = compared(graph, feeds, everywhere(graph, dtype))
    scale = case.program.types["y"].scale
    assert case.steps() <= 1.0 + weight_rounding(graph, scale, feeds)
    assert case.sqnr_db() > 38.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_fully_connected(dtype: str) -> None:
    graph = mac(Linear(), RNG.normal(0, 0.3, (5, 16)), RNG.normal(0, 1, 5), (2, 3, 16), (2, 3, 5))
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.sqnr_db() > 38.0


def test_transposed_convolution_quantises_each_output_channel_by_itself() -> None:
    weight = np.ones((4, 2, 1, 1))
    weight[:, 1] = 0.001
    graph = mac(ConvTranspose((1, 1), (0,) * 4, (1, 1), (0, 0)), weight, None, SHAPE, (1, 2, 6, 6))
    (op,) = (item.op for item in lowered(graph, inputs_of(graph)).instructions if isinstance(item.op, Convolution))
    assert np.abs(op.weight).min() == 127


def test_sums_of_int16_products_are_exact_where_31_bit_multipliers_would_overflow() -> None:
    """All-positive operands make accumulators of 2^38: times 2^31 they would leave 64 bits."""
    builder = Builder()
    a, b = builder.input("a", (1, 4, 256)), builder.input("b", (1, 256, 4))
    builder.node("y", MatMul(), a, b, shape=(1, 4, 4))
    graph = builder.build("y")
    case = compared(graph, inputs_of(graph, low=0.9, high=1.0), everywhere(graph, "int16"))
    assert case.steps() <= 2.0

    graph = mac(Linear(), RNG.uniform(0.9, 1.0, (4, 4096)), None, (1, 4096), (1, 4))
    case = compared(graph, inputs_of(graph, low=0.9, high=1.0), everywhere(graph, "int16"))
    assert case.sqnr_db() > 45.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrix_product_of_activations(dtype: str) -> None:
    builder = Builder()
    builder.node("y", MatMul(), builder.input("a", (2, 3, 8)), builder.input("b", (8, 5)), shape=(2, 3, 5))
    graph = builder.build("y")
    assert compared(graph, inputs_of(graph), everywhere(graph, dtype)).steps() <= (0.51 if dtype == "int8" else 1.6)


@pytest.mark.parametrize("first", [False, True])
def test_matrix_product_with_a_constant(first: bool) -> None:
    builder = Builder()
    x, k = builder.input("x", (2, 8, 8)), builder.constant("k", RNG.normal(0, 1, (8, 8)))
    builder.node("y", MatMul(), *((k, x) if first else (x, k)), shape=(2, 8, 8))
    graph = builder.build("y")
    assert compared(graph, inputs_of(graph)).sqnr_db() > 38.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [Add(), Sub(), Mul(), Maximum(), Minimum()], ids=lambda op: op.type_name)
def test_arithmetic_of_two_tensors(op: Op, dtype: str) -> None:
    graph = binary(op)
    feeds = inputs_of(graph)
    feeds["b"] *= 7.0
    # The error of a 31-bit multiplier is far below a step; two operands of Max are rounded once each.
    assert compared(graph, feeds, everywhere(graph, dtype)).steps() <= (0.51 if dtype == "int8" else 0.6)


@pytest.mark.parametrize("first", [False, True], ids=["x op k", "k op x"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [Add(), Sub(), Mul(), Maximum(), Minimum()], ids=lambda op: op.type_name)
def test_arithmetic_with_a_constant_on_either_side(op: Op, dtype: str, first: bool) -> None:
    graph = with_constant(op, RNG.uniform(-3, 3, SHAPE[1:]), first)
    # Constant factors have 16 bits: half of their step is up to half a step of an int16 result.
    assert compared(graph, inputs_of(graph), everywhere(graph, dtype)).steps() <= (0.51 if dtype == "int8" else 1.6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operands_of_different_width(dtype: str) -> None:
    builder = Builder()
    builder.conv("c", builder.input("a"))
    builder.node("y", Add(), "c", builder.input("b"))
    graph = builder.build("y")
    marks = {"c": Precision.INT16, "y": Precision(dtype)}
    case = compared(graph, inputs_of(graph), marks)
    assert [case.program.types[name].dtype for name in "cy"] == ["int16", dtype]
    assert case.sqnr_db() > 36.0


@pytest.mark.parametrize("value", [-100.0, -1e9, -3e38])
def test_masks_before_softmax_leave_the_logits_their_bits(value: float) -> None:
    mask = np.zeros(SHAPE)
    mask[..., 4:] = value
    builder = Builder()
    builder.node("m", Add(), builder.input("x"), builder.constant("mask", mask))
    builder.node("y", Softmax(3), "m")
    graph = builder.build("y")
    case = compared(graph, inputs_of(graph))
    assert (case.values["y"][..., 4:] == 0.0).all()
    assert case.sqnr_db() > 28.0


def test_a_huge_constant_does_not_take_the_accumulators_bits() -> None:
    mask = np.zeros(SHAPE)
    mask[..., 4:] = -1e9
    builder = Builder()
    builder.node("m", Add(), builder.input("x"), builder.constant("mask", mask))
    builder.node("y", Clip(-2.0, 2.0), "m")
    graph = builder.build("y")
    assert compared(graph, inputs_of(graph)).steps() <= 0.51


@pytest.mark.parametrize(("dtype", "sqnr_db"), [("int8", 35.0), ("int16", 55.0)])
def test_quotient(dtype: str, sqnr_db: float) -> None:
    graph = binary(Div())
    feeds = inputs_of(graph, low=0.3, high=3.0)
    feeds["a"] -= 1.5
    marks = {"a": Precision(dtype), "b": Precision(dtype), "y": Precision.INT16}
    case = compared(graph, feeds, marks)
    assert case.program.types["y"].dtype == "int16"
    assert case.sqnr_db() > sqnr_db


def test_quotient_by_a_constant() -> None:
    graph = with_constant(Div(), RNG.uniform(0.5, 2.0, SHAPE[1:]), first=False)
    assert compared(graph, inputs_of(graph), everywhere(graph, "int16")).steps() <= 3.0
    graph = with_constant(Div(), np.zeros(SHAPE[1:]), first=False)
    with pytest.raises(GraphError, match=r"node 'y': constant 'k' divides by 0; .* mark the node float"):
        lower_with_ones(graph)


def lower_with_ones(graph: Graph) -> object:
    """Lower with a range of 1 for every value: for constants that the float model cannot compute with."""
    plan = Plan(MappingProxyType({}))
    return lowered_with(graph, plan, resolve(graph, plan, TARGET, has_lowering), lambda value, largest: 1.0 / largest)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slopes", [RNG.uniform(0.05, 0.3, (4, 1, 1)), RNG.uniform(-2, 2, (4, 1, 1)), np.array([0.25])])
def test_prelu(slopes: np.ndarray, dtype: str) -> None:
    graph = with_constant(PRelu(), slopes, first=False)
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.steps() <= (0.55 if dtype == "int8" else 2.6)


FUNCTIONS = (
    Relu(), Clip(-0.5, 1.0), LeakyRelu(0.1), Gelu(), Silu(), Sigmoid(), Tanh(), Exp(), HardSwish(), Affine(-0.7, 0.2),
)  # fmt: skip


@pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: type(op).__name__)
def test_functions_by_table(op: Op) -> None:
    graph = unary(op)
    assert compared(graph, inputs_of(graph)).steps() <= 0.51
    # 513 interpolated entries: the error is that of the chords (largest at the corners of piecewise functions).
    assert compared(graph, inputs_of(graph), everywhere(graph, "int16")).sqnr_db() > 60.0


def test_a_chain_of_functions_is_rounded_once() -> None:
    builder = Builder()
    builder.node("t", Tanh(), builder.input("x"))
    builder.node("y", Affine(3.0, 1.0), "t")
    case = compared(builder.build("y"), inputs_of(builder.build("y")))
    assert [type(item.op) for item in case.program.instructions[1:-1]] == [Table8]
    assert case.steps() <= 0.51


@pytest.mark.parametrize("clamp", [Relu(), Clip(0.0, 1.5), Clip(-0.5, 0.5), Clip(0.25, float("inf"))])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_clamps(clamp: Op, dtype: str) -> None:
    builder = Builder()
    builder.node("s", Add(), builder.input("a"), builder.input("b"))
    builder.node("y", clamp, "s")
    graph = builder.build("y")
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert len(case.program.instructions) == 4
    assert case.steps() <= (0.51 if dtype == "int8" else 0.6)


def test_a_scaling_moves_no_integer() -> None:
    graph = unary(Affine(0.125, 0.0))
    case = compared(graph, inputs_of(graph))
    assert isinstance(case.program.instructions[1].op, DataMovement)
    assert case.program.types["y"].scale == case.program.types["x"].scale * 0.125
    assert case.steps() < 1e-4


MOVEMENTS: tuple[tuple[Op, tuple[int, ...]], ...] = (
    (Reshape((4, 36)), (4, 36)),
    (Transpose((0, 2, 3, 1)), (1, 6, 6, 4)),
    (Slice((0, 1, 5, 0), (1, 4, -1, 6), (1, 2, -2, 1)), (1, 2, 3, 6)),
    (Roll((2, -1), (2, 3)), SHAPE),
    (Gather(1, (3, 0, 0), (3,)), (1, 3, 6, 6)),
    (DepthToSpace(2), (1, 1, 12, 12)),
    (MaxPool((3, 2), (2, 1), (1, 0, 1, 1)), (1, 4, 3, 6)),
    (MaxPool((2, 2), (1, 1), (0, 0, 0, 0), (2, 3)), (1, 4, 4, 3)),
    (ReduceMax((2, 3)), (1, 4, 1, 1)),
    (ReduceMin((1,), False), (1, 6, 6)),
    (Resize((12, 3), (2.0, 0.5), "nearest", "asymmetric", "floor"), (1, 4, 12, 3)),
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "shape"), MOVEMENTS, ids=lambda item: type(item).__name__)
def test_movement_is_exact(op: Op, shape: tuple[int, ...], dtype: str) -> None:
    graph = unary(op, shape)
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.values["y"].shape == shape
    assert case.steps() < 0.01


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("mode", "value", "fill"),
    [("constant", 0.0, 0.0), ("constant", 1.3, 1.3), ("constant", -99.0, None), ("edge", 0.0, 0.0)],
)
def test_pad_fills_with_the_nearest_integer(mode: str, value: float, fill: float | None, dtype: str) -> None:
    graph = unary(Pad((0, 0, 1, 0, 0, 0, 0, 2), mode, value), (1, 4, 7, 8))
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.steps() <= 0.51
    if mode == "constant":
        kind = case.program.types["y"]
        expected = INTEGER_RANGE[dtype][0] * kind.scale if fill is None else fill
        assert case.values["y"][0, 0, 0, 0] == pytest.approx(expected, abs=0.51 * kind.scale)


def test_split_has_the_scale_of_its_input() -> None:
    builder = Builder()
    builder.input("x")
    for name in ("p", "q"):
        builder.types[name] = TensorType((1, 2, 6, 6), "float32")
    builder.nodes.append(Node("s", Split(1, (2, 2)), ("x",), ("p", "q")))
    graph = builder.build("p", "q")
    case = compared(graph, inputs_of(graph))
    assert max(case.steps("p"), case.steps("q")) < 0.01


@pytest.mark.parametrize("dtype", DTYPES)
def test_concatenation_aligns_scales(dtype: str) -> None:
    builder = Builder()
    a, b = builder.input("a"), builder.input("b")
    token = builder.constant("token", np.full((1, 1, 6, 6), 30.0))
    builder.node("y", Concat(1), a, token, b, shape=(1, 9, 6, 6))
    builder.node("z", Add(), a, b)
    graph = builder.build("y", "z")
    feeds = inputs_of(graph)
    feeds["a"] *= 10.0
    case = compared(graph, feeds, everywhere(graph, dtype))
    assert case.steps() <= 0.51
    assert case.values["y"].max() == pytest.approx(30.0)
    assert sum(isinstance(item.op, Requantise) for item in case.program.instructions) == 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_only_concatenated_is_rounded_once(dtype: str) -> None:
    builder = Builder()
    a, b = builder.input("a"), builder.input("b")
    builder.node("small", Gelu(), a)
    builder.node("inner", Concat(1), "small", b, shape=(1, 8, 6, 6))
    builder.node("y", Concat(1), "inner", b, shape=(1, 12, 6, 6))
    graph = builder.build("y")
    feeds = inputs_of(graph)
    feeds["b"] *= 3.0
    case = compared(graph, feeds, everywhere(graph, dtype))
    scales = {name: case.program.types[name].scale for name in ("small", "inner", "y")}
    assert scales["small"] == scales["inner"] == scales["y"]
    assert case.steps("small") <= (0.51 if dtype == "int8" else 2.0)
    assert not any(isinstance(item.op, Requantise) and "small" in item.inputs for item in case.program.instructions)


def test_a_constant_joined_to_one_value_is_not_clipped_to_its_range() -> None:
    builder = Builder()
    token = builder.constant("t", np.full((1, 1, 6, 6), 30.0))
    builder.node("y", Concat(1), token, builder.input("x"), shape=(1, 5, 6, 6))
    case = compared(builder.build("y"), inputs_of(builder.build("y")))
    assert case.values["y"].max() == pytest.approx(30.0)
    assert case.steps() <= 0.51


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "op", [ReduceMean((2, 3)), ReduceMean((1,), False), ReduceSum((3,)), ReduceSum((1, 2, 3), False)]
)
def test_sums_and_means(op: Op, dtype: str) -> None:
    assert isinstance(op, ReduceMean | ReduceSum)
    kept = [1 if axis in op.axes else size for axis, size in enumerate(SHAPE)]
    shape = tuple(kept) if op.keepdims else tuple(s for a, s in enumerate(SHAPE) if a not in op.axes)
    graph = unary(op, shape)
    assert compared(graph, inputs_of(graph), everywhere(graph, dtype)).steps() <= 0.6


def test_means_over_many_int16_elements_do_not_overflow() -> None:
    size = 400
    graph = unary(ReduceMean((2, 3)), (1, 1, 1, 1), (1, 1, size, size))
    case = compared(graph, inputs_of(graph, low=0.99, high=1.0), everywhere(graph, "int16"))
    assert case.steps() <= 1.6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("include", [False, True])
def test_average_pool_counts(include: bool, dtype: str) -> None:
    counted = (1, 0, 1, 1) if include else ()
    graph = unary(AveragePool((3, 2), (2, 1), (1, 0, 2, 1), include, counted), (1, 4, 4, 6))
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.steps() <= 0.51


@pytest.mark.parametrize(("dtype", "sqnr_db"), [("int8", 30.0), ("int16", 60.0)])
@pytest.mark.parametrize("op", [Softmax(3), Softmax(1), LayerNorm(1), RMSNorm(1)], ids=lambda op: op.type_name)
def test_rows(op: Op, dtype: str, sqnr_db: float) -> None:
    builder = Builder()
    names = [builder.input("x")]
    if not isinstance(op, Softmax):
        names.append(builder.constant("w", RNG.uniform(0.5, 1.5, 6)))
    if isinstance(op, LayerNorm):
        names.append(builder.constant("b", RNG.normal(0, 0.3, 6)))
    builder.node("y", op, *names)
    graph = builder.build("y")
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.sqnr_db() > sqnr_db


MODES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("coordinates", MODES)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_follows_the_onnx_reference(mode: str, coordinates: str, dtype: str) -> None:
    for sizes in ((9, 4), (12, 12), (1, 5)):
        graph = unary(Resize(sizes, (sizes[0] / 6, sizes[1] / 6), mode, coordinates), (1, 4, *sizes))
        feeds = inputs_of(graph)
        case = compared(graph, feeds, everywhere(graph, dtype))
        attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": "round_prefer_floor"}
        node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)
        kinds = [helper.make_tensor_value_info("x", TensorProto.DOUBLE, SHAPE)]
        kinds.append(helper.make_tensor_value_info("sizes", TensorProto.INT64, [4]))
        result = helper.make_tensor_value_info("y", TensorProto.DOUBLE, [1, 4, *sizes])
        opset = helper.make_opsetid("", 19)
        model = helper.make_model(helper.make_graph([node], "g", kinds, [result]), opset_imports=[opset])
        fed = {"x": case.values["x"], "sizes": np.array([1, 4, *sizes])}
        (expected,) = ReferenceEvaluator(model).run(None, fed)
        steps = np.abs(case.values["y"] - expected).max() / case.program.types["y"].scale
        # Weights of 11 bits: off by 2^-12 of the largest difference of neighbours, on either axis.
        assert steps <= (0.6 if dtype == "int8" else 0.5 + 2 * 32767 / 2**11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(9,), (4, 9, 3), (5, 7, 12)], ids=len)
def test_linear_resize_of_lines_and_volumes(sizes: tuple[int, ...], dtype: str) -> None:
    source = (6,) if len(sizes) == 1 else (3, 7, 6)
    scales = tuple(size / before for size, before in zip(sizes, source, strict=True))
    graph = unary(Resize(sizes, scales, "linear"), (2, 4, *sizes), (2, 4, *source))
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.steps() <= (0.6 if dtype == "int8" else 0.5 + 3 * 32767 / 2**11)


def test_resize_has_two_modes() -> None:
    assert has_lowering(Resize((4,), (2.0,), "nearest"))
    assert not has_lowering(Resize((4, 4), (2.0, 2.0), "cubic"))
    assert not has_lowering(Resize((4, 4), (2.0, 2.0), "linear", antialias=True))


def test_every_lowering_is_compared_here() -> None:
    """Whoever registers a lowering adds its comparison, here or in another file of this folder."""
    compared_here = {
        "ArgExtreme", "Cast", "Comparison", "Log", "LogSoftmax", "Logic", "NumberTest", "ReduceL1", "ReduceL2",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "Sqrt", "Where", "BatchNorm", "GroupNorm", "InstanceNorm",
        "LookUp", "Pow", "ReduceProd",
        "Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "Div", "Layout", "LayerNorm", "Linear", "MatMul",
        "MaxPool", "Maximum", "Minimum", "Mul", "PRelu", "Pad", "RMSNorm", "ReduceMax", "ReduceMean", "ReduceMin",
        "ReduceSum", "Resize", "Softmax", "Sub", "Unary",
    }  # fmt: skip
    assert {cls.__name__ for cls in LOWER} == compared_here


def test_weights_are_quantised_per_output_channel() -> None:
    weight = np.array([[1.0, -0.5, 0.25], [0.01, 0.02, -0.04], [0.0, 0.0, 0.0]])
    integers, scales = quantise_weight(weight, np.zeros(3), 0.1, axis=0)
    np.testing.assert_array_equal(integers, [[127, -64, 32], [32, 64, -127], [0, 0, 0]])
    np.testing.assert_allclose(scales, [1 / 127, 0.04 / 127, 1 / 127])
    assert integers.dtype == np.int8


def test_a_bias_on_almost_zero_weights_keeps_within_30_bits() -> None:
    integers, scales = quantise_weight(np.array([[1e-12, 0.0]]), np.array([5.0]), 0.1, axis=0)
    assert round(5.0 / (0.1 * scales[0])) == 2**30
    np.testing.assert_array_equal(integers, [[0, 0]])


@pytest.mark.parametrize("bias", [None, np.array([-1e6, 1e6])])
def test_a_layer_whose_sums_could_overflow_stays_on_the_cpu(bias: np.ndarray | None) -> None:
    """Every input at its largest and of the weights' sign, a bias as large: the plan says why, and sums are right."""
    graph = mac(Linear(), np.ones((2, 140_000), np.float32), bias, (1, 140_000), (1, 2))
    effective = resolve(graph, Plan(), TARGET, has_lowering).effective["y"]
    assert effective.precision is Precision.FLOAT
    assert effective.reason.startswith("the worst sum of int8 products")
    case = compared(graph, {"x": np.ones((1, 140_000), np.float32)})
    expected = 140_000 + (np.zeros(2) if bias is None else bias)
    np.testing.assert_allclose(case.reference["x"].sum(), 140_000, rtol=1e-2)
    outputs = run_program(case.program, {"x": torch.ones(1, 140_000)})
    np.testing.assert_allclose(outputs["y"].numpy()[0], expected, rtol=1e-2)


def test_the_largest_layer_that_is_proved_computes_its_worst_input() -> None:
    """As many weights of 127 as may be, the largest bias beside them, and all inputs at their largest."""
    length = (2**30 - 1) // 127**2
    graph = mac(Linear(), np.ones((1, length), np.float32), np.array([1.0]) * length, (1, length), (1, 1))
    case = compared(graph, {"x": np.ones((1, length), np.float32)})
    assert case.program.types["y"].dtype == "int8"
    assert case.values["y"] == pytest.approx(2 * length, rel=1e-2)


def test_an_accumulator_that_could_overflow_is_refused_whatever_the_plan() -> None:
    """Lowering proves for itself what the target's rules have kept out."""
    graph = mac(Linear(), np.ones((1, 140_000), np.float32), None, (1, 140_000), (1, 1))
    resolution = resolve(
        mac(Linear(), np.ones((1, 10), np.float32), None, (1, 10), (1, 1)), Plan(), TARGET, has_lowering
    )
    message = (
        r"node 'y': its sum of products and bias may reach 2258060000, beyond the 32 bits of its accumulator; mark"
    )
    with pytest.raises(GraphError, match=message):
        lowered_with(graph, Plan(), resolution, lambda value, largest: 1.0 / largest)


def test_scales_that_no_multiplier_bridges_are_refused_by_name() -> None:
    graph = mac(Linear(), np.ones((2, 4)), None, (1, 4), (1, 2))
    scales = {"x": 1e6, "y": 1e-9}
    plan = Plan(MappingProxyType({}))
    resolution = resolve(graph, plan, TARGET, has_lowering)
    with pytest.raises(GraphError, match=r"node 'y': cannot be requantised: scaling factor .* too large"):
        lowered_with(graph, plan, resolution, lambda value, largest: scales[value])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    weight = np.ones((2, 4))
    weight[1, 2] = bad
    graph = mac(Linear(), weight, None, (1, 4), (1, 2))
    with pytest.raises(GraphError, match=r"node 'y': constant 'w' holds NaN or infinity; repair the weights"):
        lower_with_ones(graph)


def test_float_nodes_run_between_integer_segments() -> None:
    builder = Builder()
    builder.conv("c", builder.input("x"))
    builder.node("g", Gelu(), "c")
    builder.conv("d", "g")
    builder.conv("e", "g", seed=3)
    builder.node("y", Add(), "d", "e")
    graph = builder.build("y")
    program = lowered(graph, inputs_of(graph), {"g": Precision.FLOAT})
    kinds = [type(item.op).__name__ for item in program.instructions]
    # One dequantise and one quantise at the seams, shared by both readers.
    expected = ["Quantise", "Convolution", "Dequantise", "FloatKernel", "Quantise", "Convolution", "Convolution"]
    assert kinds == [*expected, "AddScaled", "Dequantise"]
    assert program.types["g"].dtype == "float32"
    assert compared(graph, inputs_of(graph), {"g": Precision.FLOAT}).sqnr_db() > 30.0


def test_a_mark_and_its_undo_give_the_same_instructions_with_cached_units() -> None:
    builder = Builder()
    builder.conv("c", builder.input("x"))
    builder.conv("d", "c")
    graph = builder.build("d")
    cache = UnitCache()

    def program(marks: dict[str, Precision]) -> Program:
        plan = Plan(MappingProxyType(marks))
        resolution = resolve(graph, plan, TARGET, has_lowering)
        return lowered_with(graph, plan, resolution, lambda value, largest: 1.0 / largest, cache)

    before = program({})
    between = program({"c": Precision.FLOAT})
    after = program({})
    made = {name for item in between.instructions for name in item.outputs} | set(between.inputs.values())
    assert all(name in made | set(between.constants) for item in between.instructions for name in item.inputs)
    assert [item.op.digest for item in before.instructions] == [item.op.digest for item in after.instructions]
    assert [item.inputs for item in before.instructions] == [item.inputs for item in after.instructions]
    layers = [item.op for item in (*before.instructions, *after.instructions) if isinstance(item.op, Convolution)]
    assert layers[0] is layers[2]


def test_inputs_are_quantised_where_they_enter() -> None:
    graph = mac(Linear(), np.ones((2, 4)), None, (1, 4), (1, 2))
    program = lowered(graph, inputs_of(graph))
    first, second, *_ = program.instructions
    assert isinstance(first.op, Quantise)
    assert isinstance(second.op, FullyConnected)
    assert program.inputs == {"x": "x@input"}
    floating = lowered(graph, inputs_of(graph), {"x": Precision.FLOAT})
    assert floating.types["x"].dtype == "float32"
