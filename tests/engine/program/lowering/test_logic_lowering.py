"""Decisions, selections and reductions by wide sums: lowered, against the float operators on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from engine.errors import GraphError
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph
from engine.ops import logic
from engine.ops.base import Op
from engine.ops.elementwise import Add, Log, Mul, Sqrt, Where
from engine.ops.layout import Concat, Pad, Transpose
from engine.ops.reduce import (
    ArgMax,
    ArgMin,
    LogSoftmax,
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceSumSquare,
    Softmax,
)
from engine.precision import Precision
from engine.program.executor import run_program
from engine.program.lowering.assemble import has_lowering
from engine.program.types import CompareScaled, Dequantise, FloatKernel, Instruction, Logarithm, Program, Quantise
from tests.engine.plan.graphs import SHAPE, Builder

from .cases import compared, everywhere, inputs_of, lowered

DTYPES = ("int8", "int16")
RNG = np.random.default_rng(11)
RELATIONS = (logic.Equal(), logic.Greater(), logic.GreaterOrEqual(), logic.Less(), logic.LessOrEqual())


def values_of(program: Program, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All that the program computes."""
    found: dict[str, np.ndarray] = {}

    def visit(item: Instruction, _: object, outputs: Sequence[torch.Tensor]) -> None:
        found.update((name, tensor.numpy().copy()) for name, tensor in zip(item.outputs, outputs, strict=True))

    run_program(program, {name: torch.from_numpy(array) for name, array in feeds.items()}, visit=visit)
    return found


def on_the_chip(program: Program) -> bool:
    """Whether nothing is computed in float but what enters."""
    return all(not isinstance(item.op, FloatKernel) or item.op.op.type_name == "Input" for item in program.instructions)


@pytest.mark.parametrize("dtypes", [("int8", "int8"), ("int16", "int16"), ("int8", "int16")])
@pytest.mark.parametrize("op", RELATIONS, ids=lambda op: op.type_name)
def test_comparison_of_activations(op: Op, dtypes: tuple[str, str]) -> None:
    """On the coarser scale; where the numbers are more than its step apart, as in float."""
    builder = Builder()
    builder.node("y", op, builder.input("a"), builder.input("b"), dtype="bool")
    graph = builder.build("y")
    feeds = inputs_of(graph)
    feeds["b"] *= 3.0
    program = lowered(graph, feeds, {name: Precision(dtype) for name, dtype in zip("ab", dtypes, strict=True)})
    found = values_of(program, feeds)
    a, b = (found[name] * program.types[name].scale for name in "ab")
    grid = max(program.types[name].scale for name in "ab")
    clear = np.abs(a - b) > grid
    wanted = FloatModel(graph).run({"a": a.astype(np.float32), "b": b.astype(np.float32)})["y"].numpy()
    np.testing.assert_array_equal(found["y"][clear], wanted[clear])
    steps = {name: np.floor(x / grid + 0.5).astype(np.float32) for name, x in (("a", a), ("b", b))}
    np.testing.assert_array_equal(found["y"], FloatModel(graph).run(steps)["y"].numpy())
    assert on_the_chip(program)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_maximum_is_found_where_it_was(dtype: str) -> None:
    """x == max(x): both have one scale, and equal integers stay equal."""
    builder = Builder()
    builder.node("m", ReduceMax((1,), True), builder.input("x"), shape=(1, 1, 6, 6))
    builder.node("y", logic.Equal(), "x", "m", dtype="bool")
    graph = builder.build("y")
    feeds = inputs_of(graph)
    found = values_of(lowered(graph, feeds, everywhere(graph, dtype)), feeds)
    assert (found["y"] | (found["x"] != found["m"])).all()
    assert found["y"].any(axis=1).all()


@pytest.mark.parametrize("first", [False, True], ids=["x op k", "k op x"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", RELATIONS, ids=lambda op: op.type_name)
def test_comparison_with_a_constant(op: Op, dtype: str, first: bool) -> None:
    """Numbers that are on the constant stay on it, however coarse the scale; infinities are beyond all."""
    builder = Builder()
    constant = builder.constant("k", np.array([-2.0, 0.0, 1.0, 2.0, np.inf, -np.inf]))
    operands = [builder.input("x"), constant]
    builder.node("y", op, *(reversed(operands) if first else operands), dtype="bool")
    graph = builder.build("y")
    feeds = {"x": RNG.integers(-3, 4, SHAPE).astype(np.float32)}
    found = values_of(lowered(graph, feeds, everywhere(graph, dtype)), feeds)
    np.testing.assert_array_equal(found["y"], FloatModel(graph).run(feeds)["y"].numpy())


def test_an_undefined_constant_is_refused() -> None:
    builder = Builder()
    builder.node("y", logic.Less(), builder.input("x"), builder.constant("k", np.nan), dtype="bool")
    graph = builder.build("y")
    with pytest.raises(GraphError, match="node 'y': constant 'k' holds NaN"):
        lowered(graph, inputs_of(graph))


def decided() -> Builder:
    builder = Builder()
    builder.node("p", logic.Greater(), builder.input("x"), builder.constant("zero", 0.0), dtype="bool")
    builder.node("q", logic.Less(), "x", builder.constant("one", 1.0), dtype="bool")
    return builder


@pytest.mark.parametrize("op", [logic.And(), logic.Or(), logic.Xor(), logic.Equal()], ids=lambda op: op.type_name)
def test_logic(op: Op) -> None:
    builder = decided()
    builder.node("y", op, "p", "q", dtype="bool")
    builder.node("z", op, builder.constant("mask", RNG.random((6, 6)) < 0.5), "y", dtype="bool")
    builder.node("n", logic.Not(), "z", dtype="bool")
    graph = builder.build("n")
    feeds = inputs_of(graph)
    program = lowered(graph, feeds)
    found = values_of(program, feeds)
    rounded = {"x": (found["x"] * program.types["x"].scale).astype(np.float32)}
    wanted = FloatModel(graph).run(rounded, keep=["y", "z", "n"])
    for name in "yzn":
        np.testing.assert_array_equal(found[name], wanted[name].numpy())
    assert on_the_chip(program)


@pytest.mark.parametrize("dtype", DTYPES)
def test_selection(dtype: str) -> None:
    builder = decided()
    builder.node("y", Where(), "p", "x", builder.input("b"))
    graph = builder.build("y")
    feeds = inputs_of(graph)
    feeds["b"] *= 5.0
    program = lowered(graph, feeds, everywhere(graph, dtype))
    assert on_the_chip(program)
    assert compared(graph, feeds, everywhere(graph, dtype)).steps() <= (0.51 if dtype == "int8" else 0.6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [False, True])
def test_selection_of_constants(dtype: str, first: bool) -> None:
    builder = decided()
    operands = ["x", builder.constant("k", RNG.uniform(-3, 3, (4, 1, 1)))]
    builder.node("y", Where(), "p", *(operands[::-1] if first else operands))
    builder.node("z", Where(), builder.constant("mask", RNG.random((1, 6)) < 0.5), "y", "x")
    graph = builder.build("z")
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert max(case.steps("y"), case.steps("z")) <= (1.01 if dtype == "int8" else 1.2)


@pytest.mark.parametrize("value", [-100.0, -3.4e38, -np.inf])
def test_a_selected_mask_leaves_the_logits_their_bits(value: float) -> None:
    builder = decided()
    builder.node("m", Where(), "q", "x", builder.constant("k", value))
    builder.node("y", Softmax(3), "m")
    graph = builder.build("y")
    feeds = inputs_of(graph)
    feeds["x"][..., 0] = 0.0  # no row is masked as a whole
    case = compared(graph, feeds)
    masked = ~np.asarray(FloatModel(graph).run(feeds, keep=["q"])["q"])
    assert (case.values["y"][masked] == 0.0).all()
    assert case.sqnr_db() > 28.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_truth_values_become_exact_numbers(dtype: str) -> None:
    builder = decided()
    builder.node("y", logic.Cast("bool", "float32"), "p")
    builder.node("z", Mul(), "y", "x")
    graph = builder.build("z")
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert set(np.unique(case.values["y"].round(9))) == {0.0, 1.0}
    assert case.steps("z") <= (0.51 if dtype == "int8" else 0.6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_become_truth_values(dtype: str) -> None:
    builder = Builder()
    builder.node("y", logic.Cast("float32", "bool"), builder.input("x"), dtype="bool")
    graph = builder.build("y")
    feeds = {"x": RNG.integers(-2, 3, SHAPE).astype(np.float32)}
    program = lowered(graph, feeds, everywhere(graph, dtype))
    np.testing.assert_array_equal(values_of(program, feeds)["y"], feeds["x"] != 0)
    assert on_the_chip(program)


def test_whole_numbers_are_told_apart_exactly_and_become_numbers() -> None:
    """A one-hot encoding by comparison with int32 constants, as frameworks write it."""
    builder = Builder()
    ids = builder.input("ids", (1, 5, 1), "int32")
    builder.node("turned", Transpose((0, 2, 1)), ids, shape=(1, 1, 5), dtype="int32")
    builder.node("hot", logic.Equal(), ids, builder.constant("all", np.arange(300, dtype=np.int32)[None, None]),
                 shape=(1, 5, 300), dtype="bool")  # fmt: skip
    builder.node("y", logic.Cast("bool", "float32"), "hot", shape=(1, 5, 300))
    builder.node("near", logic.Less(), "turned", ids, shape=(1, 5, 5), dtype="bool")
    builder.node("number", logic.Cast("int32", "float32"), "turned", shape=(1, 1, 5))
    builder.node("set", logic.Cast("int32", "bool"), ids, shape=(1, 5, 1), dtype="bool")
    graph = builder.build("y", "near", "number", "set")
    feeds = {"ids": np.array([0, 299, 17, 256, 17], np.int32).reshape(1, 5, 1)}
    program = lowered(graph, feeds)
    wanted = FloatModel(graph).run(feeds)
    found = run_program(program, {"ids": torch.from_numpy(feeds["ids"])})
    for name in ("y", "near", "set"):
        np.testing.assert_array_equal(found[name].numpy(), wanted[name].numpy())
    assert np.abs(found["number"].numpy() - wanted["number"].numpy()).max() <= 0.51 * program.types["number"].scale
    assert on_the_chip(program)


def test_floating_point_types_are_one_in_integers() -> None:
    builder = Builder()
    builder.node("h", logic.Cast("float32", "float16"), builder.input("x"), dtype="float16")
    builder.node("y", logic.Cast("float16", "float32"), "h")
    graph = builder.build("y")
    program = lowered(graph, inputs_of(graph))
    assert [type(item.op) for item in program.instructions].count(Quantise) == 1
    assert program.types["y"] == program.types["x"]


def test_conversions_without_an_integer_form() -> None:
    for source, target in (("int64", "float32"), ("float32", "int64"), ("float32", "int32"), ("bool", "int64")):
        assert not has_lowering(logic.Cast(source, target))


def test_no_integer_is_undefined() -> None:
    builder = Builder()
    for name, op in (("n", logic.IsNaN()), ("i", logic.IsInf())):
        builder.node(name, op, builder.input("x") if name == "n" else "x", dtype="bool")
    graph = builder.build("n", "i")
    program = lowered(graph, inputs_of(graph))
    found = values_of(program, inputs_of(graph))
    assert not found["n"].any()
    assert not found["i"].any()
    assert sum(isinstance(item.op, CompareScaled) for item in program.instructions) == 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [ArgMax(1, False), ArgMax(1, False, True), ArgMin(1, False), ArgMin(1, False, True)])
def test_index_of_extremes(op: Op, dtype: str) -> None:
    builder = Builder()
    builder.node("y", op, builder.input("x"), shape=(1, 6, 6), dtype="int64")
    graph = builder.build("y")
    feeds = inputs_of(graph)
    program = lowered(graph, feeds, everywhere(graph, dtype))
    found = values_of(program, feeds)
    wanted = FloatModel(graph).run({"x": found["x"].astype(np.float32)})["y"].numpy()
    np.testing.assert_array_equal(found["y"], wanted)
    assert on_the_chip(program)
    assert not any(isinstance(item.op, Dequantise) for item in program.instructions)


def test_truth_values_are_padded_and_joined() -> None:
    builder = decided()
    builder.node("padded", Pad((0, 0, 0, 1, 0, 0, 0, 0), "constant", 1.0), "p", shape=(1, 4, 6, 7), dtype="bool")
    constant = builder.constant("mask", np.zeros((1, 4, 6, 2), np.bool_))
    builder.node("y", Concat(3), "padded", constant, shape=(1, 4, 6, 9), dtype="bool")
    graph = builder.build("y")
    feeds = inputs_of(graph)
    program = lowered(graph, feeds)
    found = values_of(program, feeds)
    assert found["y"].dtype == np.bool_
    assert found["y"][..., 0].all()
    np.testing.assert_array_equal(found["y"][..., 1:7], found["p"])
    assert on_the_chip(program)


REDUCTIONS = {
    "L1": ReduceL1, "L2": ReduceL2, "SumSquare": ReduceSumSquare, "LogSum": ReduceLogSum, "LogSumExp": ReduceLogSumExp,
}  # fmt: skip


def reduced(name: str, axes: tuple[int, ...], keepdims: bool) -> tuple[Graph, dict[str, np.ndarray]]:
    builder = Builder()
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(SHAPE) if keepdims or axis not in axes)
    builder.node("y", REDUCTIONS[name](axes, keepdims), builder.input("x"), shape=shape)
    graph = builder.build("y")
    low = 0.1 if name == "LogSum" else -2.0
    return graph, inputs_of(graph, low=low)


@pytest.mark.parametrize(("axes", "keepdims"), [((1,), True), ((2, 3), False), ((1, 2, 3), True)])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str, axes: tuple[int, ...], keepdims: bool) -> None:
    graph, feeds = reduced(name, axes, keepdims)
    case = compared(graph, feeds)
    assert case.steps() <= 0.56
    wide = compared(graph, feeds, everywhere(graph, "int16"))
    assert wide.sqnr_db() > 75.0
    assert on_the_chip(wide.program)


def test_sums_of_many_squares_stay_within_31_bits() -> None:
    builder = Builder()
    builder.node("y", ReduceL2((1,), True), builder.input("x", (1, 5000)), shape=(1, 1))
    graph = builder.build("y")
    feeds = {"x": np.full((1, 5000), -1.7, np.float32)}
    case = compared(graph, feeds, everywhere(graph, "int16"))
    assert case.steps() < 2.0


@pytest.mark.parametrize("axis", [1, 3])
def test_logarithm_of_softmax(axis: int) -> None:
    builder = Builder()
    builder.node("y", LogSoftmax(axis), builder.input("x"))
    graph = builder.build("y")
    feeds = inputs_of(graph, low=-6.0, high=6.0)
    assert compared(graph, feeds).steps() <= 0.56
    wide = compared(graph, feeds, everywhere(graph, "int16"))
    assert wide.steps() <= 2.5
    assert on_the_chip(wide.program)


@pytest.mark.parametrize("op", [Log(), Sqrt()], ids=lambda op: op.type_name)
def test_steep_functions_of_int16_keep_small_numbers(op: Op) -> None:
    """Where a table of even steps is hundreds of steps off."""
    builder = Builder()
    builder.node("y", op, builder.input("x"))
    graph = builder.build("y")
    feeds = {"x": np.geomspace(1e-3, 2.0, 144).astype(np.float32).reshape(SHAPE)}
    case = compared(graph, feeds, everywhere(graph, "int16"))
    assert case.steps() <= 2.0
    assert any(isinstance(item.op, Logarithm) for item in case.program.instructions) == isinstance(op, Log)


def test_a_decision_about_a_float_value_has_a_seam() -> None:
    builder = Builder()
    builder.node("s", Add(), builder.input("x"), "x")
    builder.node("y", logic.Greater(), "s", builder.constant("k", 1.0), dtype="bool")
    graph = builder.build("y")
    feeds = inputs_of(graph)
    program = lowered(graph, feeds, {"s": Precision.FLOAT, "y": Precision.INT16})
    assert program.types["s@int16"].dtype == "int16"
    assert "s@int16" in values_of(program, feeds)
