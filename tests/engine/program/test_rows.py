"""Softmax and normalisation in integers against float on the same integers."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import PlanError
from engine.program.arithmetic import rescaled_bound
from engine.program.norm import integer_layernorm, largest_weighted, layernorm_reference
from engine.program.softmax import integer_softmax, softmax_reference
from engine.program.types import Output

LARGEST = {"int8": 127, "int16": 32767}


def output_of(dtype: str) -> Output:
    return Output(dtype, -LARGEST[dtype], LARGEST[dtype])


def quantised(real: np.ndarray, dtype: str) -> tuple[np.ndarray, float]:
    scale = float(np.abs(real).max()) / LARGEST[dtype]
    return np.rint(real / scale).astype(dtype), scale


def float_softmax(x: np.ndarray) -> np.ndarray:
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("in_dtype", ["int8", "int16"])
@pytest.mark.parametrize(("out_dtype", "limit"), [("int8", 0.6 / 127), ("int16", 3e-4)])
@pytest.mark.parametrize("length", [2, 5, 49, 197])
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0, 12.0])
def test_softmax_accuracy(in_dtype: str, out_dtype: str, limit: float, length: int, spread: float) -> None:
    x, scale = quantised(np.random.default_rng(length).normal(size=(60, length)) * spread, in_dtype)
    op = integer_softmax(scale, in_dtype, 1, length, 1 / LARGEST[out_dtype], output_of(out_dtype))
    error = np.abs(softmax_reference(x, op) / LARGEST[out_dtype] - float_softmax(x * scale))
    assert error.max() <= limit


@pytest.mark.parametrize("length", [1000, 4096])
def test_softmax_of_long_rows(length: int) -> None:
    x, scale = quantised(np.random.default_rng(0).normal(size=(20, length)) * 3, "int8")
    op = integer_softmax(scale, "int8", 1, length, 1 / 32767, output_of("int16"))
    assert op.sum_shift == length.bit_length() - 1 - 8 + (length & (length - 1) != 0)
    assert np.abs(softmax_reference(x, op) / 32767 - float_softmax(x * scale)).max() <= 4e-3


def test_masked_elements_are_zero() -> None:
    real = np.zeros((1, 49))
    real[:, 20:] = -100.0
    x, scale = quantised(real, "int8")
    op = integer_softmax(scale, "int8", 1, 49, 1 / 127, output_of("int8"))
    assert softmax_reference(x, op)[0].tolist() == [6] * 20 + [0] * 29


def test_softmax_of_one_element_is_one() -> None:
    op = integer_softmax(0.1, "int8", 1, 1, 1 / 127, output_of("int8"))
    assert softmax_reference(np.array([[-5], [127]], np.int8), op).tolist() == [[127], [127]]


def test_softmax_literals() -> None:
    op = integer_softmax(0.1, "int8", 1, 4, 1 / 32767, output_of("int16"))
    assert softmax_reference(np.array([[0, 10, 20, -127]], np.int8), op).tolist() == [[2951, 8018, 21798, 0]]


@pytest.mark.parametrize("dtype", LARGEST)
def test_softmax_of_values_whose_steps_decide_alone(dtype: str) -> None:
    """However steep, a step below the maximum counts for nothing; the largest difference stays within 32 bits."""
    op = integer_softmax(1e9, dtype, 1, 4, 1 / 127, output_of("int8"))
    high = LARGEST[dtype]
    x = np.array([[high, high - 1, -high, 0], [-high, -high, -high, -high]], dtype)
    assert softmax_reference(x, op).tolist() == [[127, 0, 0, 0], [32, 32, 32, 32]]
    assert rescaled_bound(op.difference_scaling, 2 * high) < 2**31


def float_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, centre: bool) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True) if centre else x
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias


@pytest.mark.parametrize("in_dtype", ["int8", "int16"])
@pytest.mark.parametrize(("out_dtype", "limit_lsb"), [("int8", 0.6), ("int16", 8.0)])
@pytest.mark.parametrize("length", [2, 7, 96, 768, 5000])
@pytest.mark.parametrize("centre", [True, False])
def test_norm_accuracy(in_dtype: str, out_dtype: str, limit_lsb: float, length: int, centre: bool) -> None:
    """Rows of many sizes beside each other: ordinary, almost constant (epsilon dominates), with one outlier."""
    rng = np.random.default_rng(length)
    for size in (1e-3, 0.1, 10.0):
        real = rng.normal(size=(30, length)) * size + rng.normal(size=(30, 1)) * size * 0.3
        real[4] *= 0.02
        real[5, 0] *= 8
        x, scale = quantised(real, in_dtype)
        weight, bias = rng.normal(size=length), rng.normal(size=length) * 0.1
        wanted = float_norm(x * scale, weight, bias, centre)
        out_scale = float(np.abs(wanted).max()) / LARGEST[out_dtype]
        op = integer_layernorm(
            scale, in_dtype, length, 1e-5, weight, bias, out_scale, output_of(out_dtype), centre=centre
        )
        assert np.abs(layernorm_reference(x, op) - wanted / out_scale).max() <= limit_lsb


def test_constant_rows_give_the_bias() -> None:
    bias = np.linspace(-1, 1, 8)
    op = integer_layernorm(0.1, "int8", 8, 1e-5, np.ones(8), bias, 0.01, output_of("int8"), centre=True)
    x = np.repeat(np.array([[-127], [0], [55]], np.int8), 8, axis=1)
    assert layernorm_reference(x, op).tolist() == [np.rint(bias / 0.01).clip(-127, 127).astype(int).tolist()] * 3


def test_norm_literals() -> None:
    op = integer_layernorm(
        0.05, "int8", 4, 1e-5, np.array([1.0, -2.0, 0.0, 0.5]), np.zeros(4), 0.001, output_of("int16"), centre=True
    )
    assert layernorm_reference(np.array([[1, 2, 3, 10]], np.int8), op).tolist() == [[-848, 1131, 0, 848]]


def test_norm_over_too_many_values() -> None:
    ones = np.ones(40000)
    with pytest.raises(PlanError, match="32 bits"):
        integer_layernorm(0.1, "int16", 40000, 1e-5, ones, ones, 0.1, output_of("int8"), centre=True)


def test_norm_whose_weights_exceed_the_output() -> None:
    with pytest.raises(PlanError, match="32 bits"):
        integer_layernorm(0.1, "int8", 16, 1e-5, np.full(16, 1e6), np.zeros(16), 1e-5, output_of("int8"), centre=True)


def test_largest_product_and_largest_bias_in_one_element() -> None:
    """Each takes 30 bits by itself: together they would reach 2^31."""
    weight, bias = np.full(4, 2.0**14), np.full(4, 2.0**15)
    op = integer_layernorm(1.0, "int16", 4, 0.0, weight, bias, 1.0, output_of("int16"), centre=False)
    assert op.out_shift == 14
    assert largest_weighted(op) < 2**31
    one_of_four = np.array([[32767, 0, 0, 0], [-32767, 0, 0, 0]], np.int16)
    assert layernorm_reference(one_of_four, op)[:, 0].tolist() == [32767, 0]


@pytest.mark.parametrize("length", [2, 3, 4, 7, 64, 1500])
@pytest.mark.parametrize("centre", [True, False])
def test_no_normalised_value_exceeds_its_bound(length: int, centre: bool) -> None:
    """The steepest rows: one element that differs, by little or by much."""
    op = integer_layernorm(
        1e-3, "int16", length, 0.0, np.ones(length), np.zeros(length), length**0.5 / 2**14, output_of("int16"),
        centre=centre,
    )  # fmt: skip
    rows = np.zeros((6, length), np.int16)
    rows[:, 0] = [1, -1, 3, 250, 32767, -32767]
    found = np.abs(layernorm_reference(rows, op).astype(np.int64)).max()
    assert found <= (largest_weighted(op) >> op.out_shift) + 1
    assert largest_weighted(op) >> op.out_shift <= 2**14 * 1.001 + 2
