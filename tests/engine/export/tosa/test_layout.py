"""Elementwise forms between transposes: the same bits, and no transposes around them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.export.segments import cut
from engine.export.tosa.segment import TosaSegment, tosa_segment
from engine.ops.layout import Transpose
from engine.program.arithmetic import scaling_for
from engine.program.executor import run_instruction
from engine.program.tables import table8
from engine.program.types import AddScaled, DataMovement, Instruction, Program, ProgramConstant, ProgramOp
from engine.qtype import QType
from engine.verify.tosa_reference import reference_outputs
from tests.engine.export.tosa.cases import INT8, integers
from tests.engine.verify.parties import needs_tosa

TO_FIRST, TO_LAST = Transpose((0, 3, 1, 2)), Transpose((0, 2, 3, 1))
ADD = AddScaled(scaling_for(0.7 * 2**10), scaling_for(0.4 * 2**10), scaling_for(0.9 / 2**10), INT8)
SQUARE = table8(lambda x: x * x / 127, 1.0, 1.0, INT8)
SHAPE = (1, 5, 6, 3)
SECOND = {
    "full": integers(2, (1, 3, 5, 6), "int8"),
    "channels": integers(3, (3, 1, 1), "int8"),
    "one": integers(4, (1,), "int8"),
    "higher rank": integers(5, (2, 1, 3, 5, 6), "int8"),
}


def chain(second: np.ndarray) -> tuple[Program, TosaSegment]:
    """Channels first, a sum with a constant, a table, and channels last again."""
    rank = max(4, second.ndim)
    back = TO_LAST if rank == 4 else Transpose((0, 1, 3, 4, 2))
    ops: list[tuple[ProgramOp, tuple[str, ...]]] = [
        (DataMovement(TO_FIRST), ("x",)),
        (ADD, ("v0", "c")),
        (SQUARE, ("v1",)),
        (DataMovement(back), ("v2",)),
    ]
    items = tuple(Instruction(op, names, (f"v{n}",), (f"n{n}",), f"n{n}") for n, (op, names) in enumerate(ops))
    types = {name: QType("int8") for name in ("x", "c", "v0", "v1", "v2", "v3")}
    program = Program(items, types, {"c": ProgramConstant(second, types["c"])}, {"x": "x"}, {"y": "v3"})
    made = tosa_segment(program, cut(program)[0], lambda _: SHAPE)
    assert made is not None
    return program, made


def transposes(segment: TosaSegment) -> int:
    """How many operators the two transposes became."""
    return sum(unit in ("n0", "n3") for unit in segment.units)


@pytest.mark.parametrize("name", ["full", "channels", "one"])
def test_transposes_around_elementwise_forms_are_gone(name: str) -> None:
    assert transposes(chain(SECOND[name])[1]) == 0


def test_where_the_ranks_differ_they_stay() -> None:
    assert transposes(chain(SECOND["higher rank"])[1]) == 2


@needs_tosa
@pytest.mark.parametrize("name", SECOND)
def test_bits_are_those_of_the_executor(name: str) -> None:
    program, segment = chain(SECOND[name])
    x = integers(1, SHAPE, "int8")
    values = {"x": torch.from_numpy(x), "c": torch.from_numpy(SECOND[name])}
    for item in program.instructions:
        (values[item.outputs[0]],) = run_instruction(item, [values[value] for value in item.inputs])
    (found,) = reference_outputs([(segment, {"x": x})])
    np.testing.assert_array_equal(found["v3"], values["v3"].numpy())
