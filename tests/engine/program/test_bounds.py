"""Bounds of sums: they hold, they are reached, and what has none is refused."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import GraphError
from engine.graph.graph import TensorType
from engine.program.arithmetic import scaling_for
from engine.program.bounds import BOUND, NARROW, NO_SUM, WIDE, Bound, bounds_of, check_sums
from engine.program.kernels import KERNEL
from engine.program.shapes import ValueShapes
from engine.program.softmax import integer_softmax
from engine.program.types import (
    AddScaled,
    AveragePoolInteger,
    Convolution,
    FullyConnected,
    Instruction,
    MatrixProduct,
    MultiplyScaled,
    Output,
    ProgramConstant,
    ProgramOp,
    Requantise,
    ResizeLinear,
    SumReduce,
    WideSum,
)
from engine.qtype import QType

LARGEST = {"int8": 127, "int16": 32767}
INT8 = Output("int8", -127, 127)
ONE = scaling_for(1.0)


def bound_of(op: ProgramOp, *operands: tuple[str, tuple[int, ...]], constants: Mapping[str, np.ndarray] = {}) -> Bound:
    """That of an operator of values ``x0``, ``x1``, ...; ``constants`` replaces some of them."""
    types = {f"x{index}": QType(dtype) for index, (dtype, _) in enumerate(operands)} | {"y": QType("int8")}
    known = {f"x{index}": TensorType(shape, dtype) for index, (dtype, shape) in enumerate(operands)}
    held = {name: ProgramConstant(array, QType(array.dtype.name)) for name, array in constants.items()}
    item = Instruction(op, tuple(known), ("y",), ("node",), "unit")
    ((_, bound),) = bounds_of([item], types, held, ValueShapes([item], known, types, held))
    assert bound is not None
    return bound


def test_every_operator_has_a_bound_or_adds_nothing_up() -> None:
    assert set(KERNEL) == set(BOUND) | NO_SUM
    assert not set(BOUND) & NO_SUM


@settings(max_examples=30)
@given(st.sampled_from(["int8", "int16"]), st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**16))
def test_the_worst_input_reaches_the_bound_of_a_layer(dtype: str, length: int, outputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (outputs, length)).astype(np.int8)
    bias = rng.integers(-(2**20), 2**20, outputs)
    bound = bound_of(FullyConnected(weight, bias, ONE, INT8), (dtype, (1, length)))
    signs = np.sign(weight.astype(np.int64)) * np.where(bias < 0, -1, 1)[:, None]
    reached = np.abs((weight * signs).sum(axis=1) * LARGEST[dtype] + bias)
    assert (bound.largest, bound.bits, bound.proof) == (reached.max(), NARROW if dtype == "int8" else WIDE, "weights")


def test_a_convolution_counts_the_taps_of_its_group() -> None:
    weight = np.ones((4, 3, 2, 2), np.int8)
    weight[1] = -5
    op = Convolution(weight, np.array([0, 7, 0, 0]), ONE, INT8, (1, 1), (0,) * 4, (1, 1), 2)
    assert bound_of(op, ("int8", (1, 6, 8, 8))).largest == 5 * 12 * 127 + 7
    turned = np.ones((6, 2, 2, 2), np.int8)  # [C, O/G, *K]: an output adds up three channels of four taps
    turned[:3, 1] = 9
    op = Convolution(turned, np.zeros(4, np.int64), ONE, INT8, (1, 1), (0,) * 4, (1, 1), 2, transposed=True)
    assert bound_of(op, ("int16", (1, 6, 8, 8))).largest == 9 * 12 * 32767


def test_products_sums_and_windows() -> None:
    product = MatrixProduct(ONE, INT8)
    assert bound_of(product, ("int8", (2, 3, 50)), ("int8", (50, 4))).largest == 50 * 127**2
    mixed = bound_of(product, ("int8", (3, 50)), ("int16", (50, 4)))
    assert (mixed.largest, mixed.bits, mixed.proof) == (50 * 127 * 32767, WIDE, "shape")
    columns = np.array([[1, -3], [2, 4]], np.int8)
    right = bound_of(product, ("int8", (5, 2)), ("int8", (2, 2)), constants={"x1": columns})
    assert (right.largest, right.proof) == (7 * 127, "weights")
    assert bound_of(product, ("int8", (2, 2)), ("int8", (2, 5)), constants={"x0": columns}).largest == 6 * 127
    assert bound_of(MultiplyScaled(ONE, INT8), ("int16", (4,)), ("int16", (4,))).largest == 32767**2
    short = SumReduce((0, 2), True, ONE, INT8)
    assert bound_of(short, ("int8", (3, 9, 5))).largest == 15 * 127
    assert bound_of(AveragePoolInteger((3, 5), (1, 1), (0,) * 4, (0,) * 4), ("int8", (1, 1, 9, 9))).largest == 15 * 127


def test_a_sum_beyond_32_bits_is_wide_where_its_multiplier_is_short() -> None:
    operand = ("int16", (70_000, 2))
    wide = bound_of(SumReduce((0,), True, scaling_for(1e-3, wide=True), INT8), operand)
    assert (wide.largest, wide.bits, wide.holds) == (70_000 * 32767, WIDE, True)
    assert not bound_of(SumReduce((0,), True, scaling_for(1e-3), INT8), operand).holds


def test_an_addition_counts_both_operands_at_the_accumulator_s_scale() -> None:
    op = AddScaled(scaling_for(2.0**20), None, ONE, INT8)
    constant = np.array([-(2**28), 5], np.int32)
    found = bound_of(op, ("int8", (2,)), ("int32", (2,)), constants={"x1": constant})
    assert found.largest == 127 * 2**20 + 1 + 2**28
    assert not bound_of(AddScaled(scaling_for(2.0**24), scaling_for(2.0**24), ONE, INT8), *[("int8", (2,))] * 2).holds


def test_a_value_that_was_limited_counts_with_its_limit() -> None:
    types = {"x": QType("int16"), "short": QType("int16"), "y": QType("int8")}
    items = [
        Instruction(Requantise(ONE, Output("int16", -100, 40)), ("x",), ("short",), ("n",), "u"),
        Instruction(SumReduce((0,), True, ONE, INT8), ("short",), ("y",), ("n",), "u"),
    ]
    shapes = ValueShapes(items, {"x": TensorType((3, 7), "int16")}, types, {})
    ((item, bound),) = bounds_of(items, types, {}, shapes)
    assert item is items[1] and bound is not None
    assert bound.largest == 3 * 100
    assert shapes.of("short") == (3, 7)


def test_the_shape_of_a_value_made_from_a_constant() -> None:
    types = {"x": QType("int8"), "made": QType("int8"), "y": QType("int8")}
    held = {"c": ProgramConstant(np.ones((4, 1), np.int16), QType("int16"))}
    items = [
        Instruction(MultiplyScaled(ONE, INT8), ("x", "c"), ("made",), ("n",), "u"),
        Instruction(SumReduce((0,), True, ONE, INT8), ("made",), ("y",), ("n",), "u"),
    ]
    shapes = ValueShapes(items, {"x": TensorType((7,), "int8")}, types, held)
    found = [bound for _, bound in bounds_of(items, types, held, shapes) if bound is not None]
    assert [bound.largest for bound in found] == [127, 4 * 127]


def test_a_sum_of_squares_counts_each_rounded_shift() -> None:
    assert bound_of(WideSum((1,), True, "square", 3), ("int8", (2, 10))).largest == 10 * ((127**2 + 4) >> 3)
    assert bound_of(WideSum((), True, "magnitude", 0), ("int16", (2, 10))).largest == 32767


def test_resizing_and_softmax() -> None:
    zeros = (np.zeros(4, np.int32),) * 2
    resize = ResizeLinear(zeros, zeros, zeros, ONE, INT8)
    assert bound_of(resize, ("int8", (1, 1, 4, 4))).largest == 127 * 2**22
    assert bound_of(resize, ("int16", (1, 1, 4, 4))).bits == WIDE
    for length in (1, 3, 256, 257, 4097, 10**6):
        assert bound_of(integer_softmax(0.1, "int8", 1, length, 0.01, INT8), ("int8", (1, length))).holds


def test_what_does_not_fit_is_refused_by_name() -> None:
    item = Instruction(Requantise(ONE, INT8), ("x",), ("y",), ("n",), "u")
    check_sums([(item, Bound(2**31 - 1, NARROW, "sum", "shape")), (item, None)], "layer")
    message = "node 'layer': its sum may reach 2147483648, beyond the 32 bits of its accumulator; mark the node float"
    with pytest.raises(GraphError, match=message):
        check_sums([(item, Bound(2**31, NARROW, "sum", "shape"))], "layer")


def test_headroom() -> None:
    assert Bound(2**30, NARROW, "", "").headroom_bits == 1.0
    assert Bound(2**32, NARROW, "", "").headroom_bits == -1.0
    assert Bound(0, WIDE, "", "").headroom_bits == 47.0
