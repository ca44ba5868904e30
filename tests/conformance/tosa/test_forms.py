"""TOSA operators as instructions: literal results of the specification's text, and what the exporter itself writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from engine.export.tosa.flatbuffer import serialised
from engine.export.tosa.graph import AttributeValue, Operator, Tensor, TosaGraph
from engine.export.tosa.schema import TosaOp
from engine.program.executor import run_instruction
from tests.conformance.tosa.case import computed
from tests.conformance.tosa.forms import FORMS
from tests.conformance.tosa.forms.elementwise import SHIFT_WITHOUT_ROUNDING
from tests.conformance.tosa.reader import TosaFile, read_tosa
from tests.conformance.tosa.translate import COMPUTED_FIELD, OutsideError, translated
from tests.engine.export.tosa.cases import Case, cases

Given = list[Any]
"""Nested lists of integers."""


def test_every_exported_operator_has_a_form() -> None:
    assert set(FORMS) == set(TosaOp) - {TosaOp.CONST, TosaOp.CONST_SHAPE}


class One:
    """A graph of one operator, its operands inputs or constants."""

    def __init__(self) -> None:
        self.graph = TosaGraph()
        self.fed: dict[str, np.ndarray] = {}

    def input(self, values: Given | int, dtype: str) -> Tensor:
        array = np.array(values, dtype)
        tensor = self.graph.input(array.shape, dtype)
        self.fed[tensor.key] = array
        return tensor

    def constant(self, values: Given, dtype: str) -> Tensor:
        return self.graph.constant(np.array(values, "int64" if dtype == "int48" else dtype), dtype)

    def result(
        self, op: TosaOp, operands: list[Any], shape: tuple[int, ...], dtype: str, **attribute: AttributeValue
    ) -> np.ndarray:
        """What the executor computes for the operator, read back from its bytes."""
        self.graph.outputs = [self.graph.add(op, operands, shape, dtype, **attribute)]
        results = computed(translated(read_tosa(serialised(self.graph)), self.fed))
        (array,) = results.values()
        assert array.shape == shape
        return array


WINDOW = {"stride": (1, 1), "dilation": (1, 1), "local_bound": False, "acc_type": 5}


def test_convolution_with_zero_points() -> None:
    """Elements 0 and 255, weights 255 and 129: nine bits each, and padding is the zero point."""
    one = One()
    x = one.input([[[[-128], [127]], [[0], [5]]]], "int8")
    weight = one.input([[[[127], [-128]], [[1], [0]]]], "int8")
    operands = [x, weight, one.constant([7], "int32"), one.constant([-128], "int8"), one.constant([-128], "int8")]
    found = one.result(TosaOp.CONV2D, operands, (1, 2, 1, 1), "int32", pad=(1, 0, 0, 0), **WINDOW)
    padded = 129 * 0 + 128 * 255 + 7
    whole = 255 * 0 + 0 * 255 + 129 * 128 + 128 * 133 + 7
    assert found.ravel().tolist() == [padded, whole]


def test_convolution_of_48_bits() -> None:
    one = One()
    x = one.input([[[[32767, -32768]]]], "int16")
    weight = one.constant([[[[127, -128]]]], "int8")
    operands = [x, weight, one.constant([2**46], "int48"), one.constant([0], "int16"), one.constant([0], "int8")]
    found = one.result(TosaOp.CONV2D, operands, (1, 1, 1, 1), "int48", pad=(0,) * 4, **(WINDOW | {"acc_type": 6}))
    assert found.ravel().tolist() == [2**46 + 32767 * 127 + 32768 * 128]


def test_depthwise_convolution_with_a_multiplier() -> None:
    """Weights [KH, KW, C, M]; output channel c * M + m."""
    one = One()
    x = one.input([[[[1, 10], [2, 20]]]], "int8")
    weight = one.constant([[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]], "int8")
    operands = [x, weight, one.constant([0, 0, 0, 1], "int32"), one.constant([0], "int8"), one.constant([0], "int8")]
    found = one.result(TosaOp.DEPTHWISE_CONV2D, operands, (1, 1, 1, 4), "int32", pad=(0,) * 4, **WINDOW)
    assert found.ravel().tolist() == [1 + 10, 2 + 12, 30 + 140, 40 + 160 + 1]


def test_transposed_convolution_padded_and_cut() -> None:
    """[1, 2] spread by 2 under a kernel [3, 4] is [3, 4, 6, 8]; one more in front, one less behind."""
    one = One()
    operands = [
        one.input([[[[1], [2]]]], "int8"),
        one.constant([[[[3], [4]]]], "int8"),
        one.constant([5], "int32"),
        one.constant([0], "int8"),
        one.constant([0], "int8"),
    ]
    shape, pad = (1, 1, 4, 1), (0, 0, 1, -1)
    attributes: dict[str, AttributeValue] = {"stride": (1, 2), "local_bound": False, "acc_type": 5}
    found = one.result(TosaOp.TRANSPOSE_CONV2D, operands, shape, "int32", out_pad=pad, **attributes)
    assert found.ravel().tolist() == [5, 8, 9, 11]


def test_matrix_product_with_zero_points() -> None:
    one = One()
    operands = [
        one.input([[[127, -128]]], "int8"),
        one.input([[[-128], [127]]], "int8"),
        one.constant([-128], "int8"),
        one.constant([127], "int8"),
    ]
    assert one.result(TosaOp.MATMUL, operands, (1, 1, 1), "int32").ravel().tolist() == [255 * -255]


def test_average_pool_with_zero_points() -> None:
    """(5 + 6 + 8) / 3 less the zero point -2 is 8.33, and (5 + 6) / 2 is 7.5, rounded up; then 120 more, or 127."""
    one = One()
    operands = [one.input([[[[5], [6], [8]]]], "int8"), one.constant([-2], "int8"), one.constant([120], "int8")]
    attributes: dict[str, AttributeValue] = {"stride": (1, 1), "pad": (0, 0, 1, 0), "acc_type": 5}
    found = one.result(TosaOp.AVG_POOL2D, operands, (1, 1, 2, 1), "int8", kernel=(1, 3), **attributes)
    assert found.ravel().tolist() == [127, 127]
    operands[2] = one.constant([-120], "int8")
    found = one.result(TosaOp.AVG_POOL2D, operands, (1, 1, 2, 1), "int8", kernel=(1, 3), **attributes)
    assert found.ravel().tolist() == [8 - 120, 8 - 120]


RESCALE = {"scale32": True, "rounding_mode": 1, "per_channel": False, "input_unsigned": False, "output_unsigned": False}


def test_rescale_per_channel() -> None:
    """A half of 3 and of -3, a quarter of 6 and of -6, rounded half up, from a zero point of 10."""
    one = One()
    operands = [
        one.input([[3 + 10, 6 + 10], [-3 + 10, -6 + 10]], "int8"),
        one.constant([2**30, 2**30], "int32"),
        one.constant([31, 32], "int8"),
        one.constant([10], "int8"),
        one.constant([0], "int16"),
    ]
    found = one.result(TosaOp.RESCALE, operands, (2, 2), "int16", **(RESCALE | {"per_channel": True}))
    assert found.tolist() == [[2, 2], [-1, -1]]


@pytest.mark.parametrize(("signs", "wanted"), [((True, False), [-128, 22, 127]), ((False, True), [0, 50, 0])])
def test_rescale_of_unsigned_numbers(signs: tuple[bool, bool], wanted: list[int]) -> None:
    """0, 150 and 255 as 8 bits with or without a sign, unchanged but for the zero points."""
    one = One()
    before, after = (0, -128) if signs[0] else (-106, 50)
    operands = [
        one.input(np.array([0, 150, 255], np.uint8).view(np.int8).tolist() if signs[0] else [-128, -106, -128], "int8"),
        one.constant([2**14], "int16"),
        one.constant([14], "int8"),
        one.constant([before], "int8"),
        one.constant([after], "int8"),
    ]
    attributes = RESCALE | {"scale32": False, "input_unsigned": signs[0], "output_unsigned": signs[1]}
    found = one.result(TosaOp.RESCALE, operands, (3,), "int8", **attributes)
    wanted_now = [28, 50, 28] if signs[1] else wanted
    assert found.view(np.uint8 if signs[1] else np.int8).tolist() == wanted_now


@pytest.mark.parametrize(
    ("op", "operands", "attribute", "wanted"),
    [
        (TosaOp.ADD, ([2**31 - 2, -5], [1, -6]), {}, [2**31 - 1, -11]),
        (TosaOp.SUB, ([-(2**31), 7], [-1, 2**31 - 1]), {}, [-(2**31) + 1, 8 - 2**31]),
        (TosaOp.MAXIMUM, ([-(2**31), 7], [-1, 6]), {"nan_mode": 1}, [-1, 7]),
        (TosaOp.MINIMUM, ([-(2**31), 7], [-1, 6]), {"nan_mode": 1}, [-(2**31), 6]),
        (TosaOp.ABS, ([-(2**31) + 1, 7],), {}, [2**31 - 1, 7]),
        (TosaOp.CLZ, ([0, 1], ), {}, [32, 31]),
        (TosaOp.CLZ, ([-1, 2**30], ), {}, [0, 1]),
        (TosaOp.ARITHMETIC_RIGHT_SHIFT, ([-5, 6], [1, 0]), {"round": True}, [-2, 6]),
        (TosaOp.CLAMP, ([-5, 6],), {"min_val": b"\xfd", "max_val": b"\x05", "nan_mode": 1}, [-3, 5]),
        (TosaOp.CAST, ([-5, 6],), {}, [-5, 6]),
        (TosaOp.IDENTITY, ([-5, 6],), {}, [-5, 6]),
    ],
)  # fmt: skip
def test_elementwise(
    op: TosaOp, operands: tuple[Given, ...], attribute: Mapping[str, AttributeValue], wanted: list[int]
) -> None:
    one = One()
    narrow = op in (TosaOp.CLAMP, TosaOp.CAST)
    fed = [one.input(values, "int8" if narrow else "int32") for values in operands]
    dtype = "int8" if op is TosaOp.CLAMP else "int16" if op is TosaOp.CAST else "int32"
    assert one.result(op, fed, (2,), dtype, **attribute).tolist() == wanted


@pytest.mark.parametrize(("shift", "wanted"), [(0, [15, -15]), (1, [8, -7]), (2, [4, -4]), (31, [0, 0]), (62, [0, 0])])
def test_product_shifted(shift: int, wanted: list[int]) -> None:
    """Rounded half up: 7.5 is 8, -7.5 is -7."""
    one = One()
    operands = [one.input([3, -3], "int32"), one.input([5], "int32"), one.constant([shift], "int8")]
    assert one.result(TosaOp.MUL, operands, (2,), "int32").tolist() == wanted


def test_scalars_stay_scalars() -> None:
    one = One()
    operands = [one.input(-3, "int32")]
    assert one.result(TosaOp.ABS, operands, (), "int32").tolist() == 3


def test_narrowing_cast_keeps_the_low_bits() -> None:
    one = One()
    values = [127, 128, -128, -129, 383, 2**31 - 1, -(2**31)]
    found = one.result(TosaOp.CAST, [one.input(values, "int32")], (7,), "int8")
    assert found.tolist() == [127, -128, -128, 127, 127, -1, 0]


def test_tables() -> None:
    """Entry and neighbour interpolated in 128 steps, int16; one entry for each int8."""
    one = One()
    table = np.arange(513) * 2 - 512
    operands = [one.input([-32768, -32767, 32767], "int16"), one.constant(table.tolist(), "int16")]
    wanted = [-512 * 128, -512 * 128 + 2, 510 * 128 + 2 * 127]
    assert one.result(TosaOp.TABLE, operands, (3,), "int32").tolist() == wanted
    one = One()
    operands = [one.input([-128, 0, 127], "int8"), one.constant(list(range(127, -129, -1)), "int8")]
    assert one.result(TosaOp.TABLE, operands, (3,), "int8").tolist() == [127, -1, -128]


@pytest.mark.parametrize(
    ("op", "operands", "wanted"),
    [
        (TosaOp.EQUAL, (("int32", [1, 2, 3]), ("int32", [1, 3, 2])), [True, False, False]),
        (TosaOp.GREATER, (("int32", [1, 2, 3]), ("int32", [1, 3, 2])), [False, False, True]),
        (TosaOp.GREATER_EQUAL, (("int32", [1, 2, 3]), ("int32", [1, 3, 2])), [True, False, True]),
        (TosaOp.LOGICAL_AND, (("bool", [1, 1, 0]), ("bool", [1, 0, 0])), [True, False, False]),
        (TosaOp.LOGICAL_OR, (("bool", [1, 1, 0]), ("bool", [1, 0, 0])), [True, True, False]),
        (TosaOp.LOGICAL_XOR, (("bool", [1, 1, 0]), ("bool", [1, 0, 0])), [False, True, False]),
        (TosaOp.LOGICAL_NOT, (("bool", [1, 1, 0]),), [False, False, True]),
        (TosaOp.SELECT, (("bool", [1, 0, 1]), ("int8", [1, 2, 3]), ("int8", [-128])), [1, -128, 3]),
        (TosaOp.SELECT, (("bool", [1, 0]), ("bool", [0, 0]), ("bool", [1, 1])), [False, True]),
        (TosaOp.BITWISE_NOT, (("int16", [-32768, 0, 32767]),), [32767, -1, -32768]),
    ],
)
def test_logic(op: TosaOp, operands: tuple[tuple[str, Given], ...], wanted: list[int]) -> None:
    one = One()
    fed = [one.input(values, dtype) for dtype, values in operands]
    dtype = "bool" if isinstance(wanted[0], bool) else operands[-1][0]
    assert one.result(op, fed, np.shape(wanted), dtype).tolist() == wanted


def test_index_of_the_first_maximum() -> None:
    one = One()
    x = one.input([[3, 9, 9], [-1, -1, -2]], "int8")
    found = one.result(TosaOp.ARGMAX, [x], (2,), "int32", axis=1, nan_mode=1)
    assert found.dtype == np.int32
    assert found.tolist() == [1, 0]


def test_reductions() -> None:
    values = [[1, -9, 4], [2**20, 3, -4]]
    for op, options, wanted in (
        (TosaOp.REDUCE_SUM, {}, [[-4], [2**20 - 1]]),
        (TosaOp.REDUCE_MAX, {"nan_mode": 1}, [[4], [2**20]]),
        (TosaOp.REDUCE_MIN, {"nan_mode": 1}, [[-9], [-4]]),
    ):
        one = One()
        assert one.result(op, [one.input(values, "int32")], (2, 1), "int32", axis=1, **options).tolist() == wanted


def test_movement() -> None:
    values = [[1, 2, 3], [4, 5, 6]]
    for op, sizes, options, wanted in (
        (TosaOp.REVERSE, (), {"axis": 1}, [[3, 2, 1], [6, 5, 4]]),
        (TosaOp.TRANSPOSE, (), {"perms": (1, 0)}, [[1, 4], [2, 5], [3, 6]]),
        (TosaOp.SLICE, ((0, 1), (2, 2)), {}, [[2, 3], [5, 6]]),
        (TosaOp.TILE, ((1, 2),), {}, [[1, 2, 3, 1, 2, 3], [4, 5, 6, 4, 5, 6]]),
        (TosaOp.RESHAPE, ((3, 2),), {}, [[1, 2], [3, 4], [5, 6]]),
        (TosaOp.PAD, ((0, 0, 1, 2),), {}, [[9, 1, 2, 3, 9, 9], [9, 4, 5, 6, 9, 9]]),
    ):
        one = One()
        operands = [one.input(values, "int8"), *(one.graph.sizes(item) for item in sizes)]
        if op is TosaOp.PAD:
            operands.append(one.constant([9], "int8"))
        assert one.result(op, operands, np.shape(wanted), "int8", **options).tolist() == wanted
    one = One()
    parts = [one.input([[1]], "int16"), one.input([[2, 3]], "int16")]
    assert one.result(TosaOp.CONCAT, parts, (1, 3), "int16", axis=1).tolist() == [[1, 2, 3]]


def test_gather_takes_each_batch_by_its_own_indices() -> None:
    one = One()
    operands = [one.input([[[1], [2]], [[3], [4]]], "int32"), one.input([[1, 0, 1], [0, 0, 1]], "int32")]
    found = one.result(TosaOp.GATHER, operands, (2, 3, 1), "int32")
    assert found[..., 0].tolist() == [[2, 1, 2], [3, 3, 4]]


@pytest.mark.parametrize(
    ("op", "options"), [(TosaOp.ARITHMETIC_RIGHT_SHIFT, {"round": False}), (TosaOp.LOGICAL_LEFT_SHIFT, {})]
)
def test_shifts_without_an_instruction_say_so(op: TosaOp, options: Mapping[str, AttributeValue]) -> None:
    one = One()
    with pytest.raises(OutsideError, match=SHIFT_WITHOUT_ROUNDING):
        one.result(op, [one.input([1], "int32"), one.input([1], "int32")], (1,), "int32", **options)


@pytest.mark.parametrize(
    ("given", "target", "wanted"),
    [(np.array([True, False]), "int8", [1, 0]), (np.array([-7, 0], np.int32), "bool", [True, False])],
)
def test_casts_of_booleans(given: np.ndarray, target: str, wanted: list[int]) -> None:
    tensors = {"x": Tensor("x", (2,), given.dtype.name), "y": Tensor("y", (2,), target)}
    file = TosaFile(tensors, {}, {}, (Operator(TosaOp.CAST, ("x",), ("y",), {}, ""),), ("x",), ("y",))
    results = computed(translated(file, {"x": given}))
    assert results["y"].dtype == target
    assert results["y"].tolist() == wanted


@pytest.mark.parametrize("name", cases())
def test_what_the_exporter_writes_computes_the_same(name: str) -> None:
    """An instruction exported, read back and executed operator by operator has the bits of its own kernel.

    Skipped is what the exporter writes with shifts or indices that the graph itself computes: softmax, norms, look-ups.
    """
    case: Case = cases()[name]
    operands = [torch.from_numpy(operand.copy()) for operand in case.operands]
    wanted = [result.numpy() for result in run_instruction(case.instruction, operands)]
    segment = case.segment(tuple(array.dtype.name for array in wanted))
    try:
        translation = translated(read_tosa(segment.data), case.fed)
    except OutsideError as error:
        assert str(error) in (COMPUTED_FIELD, SHIFT_WITHOUT_ROUNDING)
        pytest.skip(str(error))
    results = computed(translation)
    for array, name_of_output in zip(wanted, segment.outputs, strict=True):
        np.testing.assert_array_equal(results[name_of_output], array)
