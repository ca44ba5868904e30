"""Cutting a program where integers meet float: runs of instructions that one engine executes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from engine.ops.other import OnnxOp
from engine.program.types import FloatKernel, Instruction, Program

INTEGER, CPU = "integer", "cpu"
CPU_OPSET = 24
"""Opset of CPU segments: the first one with an operator of its own for all of ours."""


@dataclass(frozen=True)
class Segment:
    """Consecutive instructions of one kind, and the values that enter and leave.

    ``opset`` is the version of ONNX's standard operators that a CPU segment is written in (0 for integers): operators
    that came whole from a model keep the version that they were written for.
    """

    kind: str
    opset: int
    instructions: tuple[Instruction, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def kind_and_opset(instruction: Instruction) -> tuple[str, int]:
    """Which engine computes an instruction, and the opset where that is the CPU."""
    if not isinstance(instruction.op, FloatKernel):
        return INTEGER, 0
    op = instruction.op.op
    return CPU, op.opset if isinstance(op, OnnxOp) and not op.domain else CPU_OPSET


def cut(
    program: Program, kind_of: Callable[[Instruction], tuple[str, int]] = kind_and_opset
) -> tuple[Segment, ...]:
    """The program's instructions in order, in as few consecutive segments as their kinds (and opsets) allow."""
    runs = [(key, tuple(run)) for key, run in groupby(program.instructions, key=kind_of)]
    read_later: set[str] = set(program.outputs.values())
    segments: list[Segment] = []
    for (kind, opset), run in reversed(runs):
        segments.append(_segment(program, kind, opset, run, read_later))
        read_later.update(segments[-1].inputs)
    return tuple(reversed(segments))


def _segment(
    program: Program, kind: str, opset: int, run: Sequence[Instruction], read_later: set[str]
) -> Segment:
    made = [name for item in run for name in item.outputs if name]
    read = dict.fromkeys(name for item in run for name in item.inputs if name)
    inputs = tuple(name for name in read if name not in program.constants and name not in set(made))
    return Segment(kind, opset, tuple(run), inputs, tuple(name for name in made if name in read_later))
