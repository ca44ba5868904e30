"""Comparison, selection, indices and functions of wide integers in ONNX Runtime, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from engine.ops import layout
from engine.program.types import (
    CompareScaled,
    DataMovement,
    ExtremeIndex,
    Logarithm,
    SelectScaled,
    SquareRoot,
    TruthLogic,
    WideSum,
)
from tests.engine.export.integer_onnx.runtime import check
from tests.engine.export.tosa.cases import cases

CHECKED = (CompareScaled, ExtremeIndex, Logarithm, SelectScaled, SquareRoot, TruthLogic, WideSum)
SAME_AS_TOSA = {name: case for name, case in cases().items() if isinstance(case.op, CHECKED)}


@pytest.mark.parametrize("name", SAME_AS_TOSA)
def test_computes_the_same_bits(name: str) -> None:
    case = SAME_AS_TOSA[name]
    constants = [i for i, x in enumerate(case.operands) if x.dtype == np.int32 and not case.feeds_wide]
    check(case.op, *case.operands, constants=constants)


MOVED = {name: case for name, case in cases().items() if name.endswith("-truth")}


@pytest.mark.parametrize("name", MOVED)
def test_truth_values_move(name: str) -> None:
    check(MOVED[name].op, *MOVED[name].operands)


def test_int32_moves() -> None:
    check(DataMovement(layout.Transpose((1, 0))), np.arange(12, dtype=np.int32).reshape(3, 4) - 2**30)
