"""How exact the integer division is, and its corners."""

from __future__ import annotations

import numpy as np
import pytest

from engine.program.division import division_reference, integer_division
from engine.program.types import Output

INT16, INT8 = Output("int16", -32767, 32767), Output("int8", -127, 127)


@pytest.mark.parametrize(("output", "limit_steps"), [(INT8, 0.51), (INT16, 2.6)])
@pytest.mark.parametrize("largest", [1e-3, 0.7, 40.0, 3e4])
def test_off_by_little_at_divisors_of_every_size(output: Output, limit_steps: float, largest: float) -> None:
    """Quotients within the output's range, of all magnitudes of the divisor: none saturates early."""
    rng = np.random.default_rng(0)
    b = (2.0 ** rng.uniform(0, 14.99, 20000) * rng.choice((-1, 1), 20000)).astype(np.int16)
    a = np.rint(np.clip(b * rng.uniform(-largest, largest, b.size), -32767, 32767)).astype(np.int16)
    scale = largest / output.high
    op = integer_division(1.0, 1.0, scale, output)
    wanted = np.clip(a / b.astype(np.float64) / scale, output.low, output.high)
    assert np.abs(division_reference(a, b, op) - wanted).max() <= limit_steps


def test_division_literals() -> None:
    op = integer_division(1.0, 1.0, 0.01, INT16)
    a, b = np.array([1, 1, -7, 100, 32767, 0, 5], np.int16), np.array([1, -3, 2, 0, 1, 9, -32767], np.int16)
    assert division_reference(a, b, op).tolist() == [100, -33, -350, 10000, 32767, 0, 0]
