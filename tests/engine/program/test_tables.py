"""Tables: entries rounded half to even, undefined values, poles, and the accuracy that interpolation reaches."""

from __future__ import annotations

import numpy as np
import pytest

from engine.program.arithmetic import apply_scaling, clamped, look_up
from engine.program.tables import RealFunction, table8, table16
from engine.program.types import Output

INT8, INT16 = Output("int8", -127, 127), Output("int16", -32767, 32767)
EVERY16 = np.arange(-32767, 32768).astype(np.int16)


def test_entries_round_half_to_even() -> None:
    table = table8(lambda x: x, 0.5, 1.0, INT8).table
    assert table.dtype == np.int8
    assert table[[127, 128, 129, 131, 133, 0]].tolist() == [0, 0, 0, 2, 2, -64]


def test_entries_respect_the_bounds_and_type() -> None:
    table = table8(lambda x: x, 1.0, 0.1, Output("int16", 0, 600)).table
    assert table.dtype == np.int16
    assert table[[0, 128, 129, 255]].tolist() == [0, 0, 10, 600]


def test_undefined_values() -> None:
    logarithm = table8(np.log, 0.1, 0.05, INT8).table
    assert logarithm[:128].tolist() == [0] * 128, "the logarithm of negative numbers is not defined"
    assert logarithm[128] == -127, "log(0) saturates"
    assert table8(lambda x: 1 / x, 0.1, 0.1, INT8).table[128] == 127, "1/0 saturates"


def run16(function: RealFunction, in_scale: float, out_scale: float, output: Output) -> np.ndarray:
    op = table16(function, in_scale, out_scale, output)
    assert np.abs(np.diff(op.table.astype(int))).max() < 2**15, "TOSA: neighbours differ by less than 2^15"
    return clamped(apply_scaling(look_up(op.table, EVERY16), op.scaling), output)


@pytest.mark.parametrize(
    ("function", "span", "largest_lsb"),
    [
        (np.tanh, 4.0, 5.0),
        (lambda x: 1 / (1 + np.exp(-x)), 8.0, 4.0),
        (lambda x: x, 3.0, 1.0),
        (lambda x: np.maximum(x, 0), 3.0, 1.0),
        (lambda x: x * x, 2.0, 1.0),
    ],
)
def test_accuracy_for_int16(function: RealFunction, span: float, largest_lsb: float) -> None:
    exact = function(np.multiply(EVERY16, span / 32767, dtype=np.float64))
    out_scale = float(np.abs(exact).max()) / 32767
    error = np.abs(run16(function, span / 32767, out_scale, INT16) - exact / out_scale)
    assert error.max() <= largest_lsb


def test_poles_do_not_spoil_the_rest() -> None:
    """1/x over [-8, 8] with an output of +-4: where neither clipped nor beside the pole, it is accurate."""
    in_scale, out_scale = 8 / 32767, 4 / 32767
    result = run16(lambda x: 1 / x, in_scale, out_scale, INT16)
    x = EVERY16 * in_scale
    far = np.abs(x) > 0.5
    assert np.abs(result[far] * out_scale - 1 / x[far]).max() < 3e-3
    assert set(np.abs(result[(np.abs(x) < 0.1) & (np.abs(x) > 0.035)]).tolist()) == {32767}


def test_a_function_that_is_zero() -> None:
    assert not run16(lambda x: x * 0, 0.001, 0.001, INT16).any()


def test_wide_input_narrow_output() -> None:
    result = run16(np.tanh, 4 / 32767, 1 / 127, INT8)
    assert result.dtype == np.int8
    assert np.abs(result / 127 - np.tanh(EVERY16 * (4 / 32767))).max() <= 0.51 / 127
