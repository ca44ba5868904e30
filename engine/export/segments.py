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


def segment_key(instruction: Instruction, part: int = 0) -> tuple[str, int, int]:
    """Which engine computes an instruction, the opset where that is the CPU, and the number of the part where one
    engine's instructions are to be several segments."""
    if not isinstance(instruction.op, FloatKernel):
        return INTEGER, 0, part
    op = instruction.op.op
    return CPU, op.opset if isinstance(op, OnnxOp) and not op.domain else CPU_OPSET, 0


def cut(
    program: Program, key_of: Callable[[Instruction], tuple[str, int, int]] = segment_key
) -> tuple[Segment, ...]:
    """The program's instructions in order, in as few consecutive segments as their keys allow."""
    runs = [(key, tuple(run)) for key, run in groupby(program.instructions, key=key_of)]
    read_later: set[str] = set(program.outputs.values())
    segments: list[Segment] = []
    for (kind, opset, _), run in reversed(runs):
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
