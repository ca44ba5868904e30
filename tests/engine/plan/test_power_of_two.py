"""Scales that are powers of two: every value's and every weight's, as the program has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.calibrate.result import power_of_two_above
from engine.plan.data import data_of, plan_of
from engine.program.lowering.mac import powers_of_two_above
from engine.program.types import Convolution, Program
from engine.session import Session


def is_power(scale: float) -> bool:
    return math.frexp(scale)[0] == 0.5


@given(st.floats(2.0**-120, 2.0**100))
def test_the_next_power_above(scale: float) -> None:
    found = power_of_two_above(scale)
    assert is_power(found) and found / 2 < scale <= found
    assert power_of_two_above(found) == found
    assert powers_of_two_above(np.array([scale, found])).tolist() == [found, found]


def accumulator_ratios(program: Program) -> list[float]:
    """Rescale factors of convolutions: powers of two where all scales around them are."""
    ratios: list[float] = []
    for item in program.instructions:
        if isinstance(item.op, Convolution):
            scaling = item.op.scaling
            multipliers, shifts = (np.asarray(part, np.float64) for part in (scaling.multiplier, scaling.shift))
            ratios += np.ravel(multipliers * 2.0**-shifts).tolist()
    return ratios


def test_every_scale_of_a_program_is_one(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    plain = session.program()
    assert not all(is_power(kind.scale) for kind in plain.types.values() if kind.is_quantised)
    session.set_plan(replace(session.plan, power_of_two=True))
    program = session.program()
    for value in program.value_of.values():
        kind = program.types[value]
        assert not kind.is_quantised or is_power(kind.scale), value
    ratios = accumulator_ratios(program)
    assert ratios and all(is_power(ratio) for ratio in ratios)
    sample = next(session.samples(1))
    outputs = session.run(sample.inputs)
    expected = session.run_float(sample.inputs)
    for name, found in outputs.items():
        reference = np.asarray(expected[name], np.float64)
        np.testing.assert_allclose(np.asarray(found, np.float64), reference, atol=0.5 * np.abs(reference).max())
    session.set_plan(replace(session.plan, power_of_two=False))
    assert session.program().types == plain.types


def test_it_travels_and_is_saved(open_mobile: Callable[[], Session], tmp_path: Path) -> None:
    session = open_mobile()
    session.set_plan(replace(session.plan, power_of_two=True))
    assert plan_of(data_of(session.plan, "journey5")).power_of_two
    saved = session.save(tmp_path / "p.qscope")
    assert "power_of_two = true" in saved.read_text(encoding="utf-8")
    assert Session.open(saved).plan.power_of_two
