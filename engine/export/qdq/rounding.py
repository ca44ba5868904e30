"""By how many integer steps the float operators of a QDQ model may differ from the program's, and why.

It holds for an operator that is fed the program's own values. What follows from a difference is as the model amplifies
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from engine.program.types import (
    DataMovement,
    ExtremeReduce,
    FloatKernel,
    IntegerLayerNorm,
    IntegerSoftmax,
    Logarithm,
    MaximumPool,
    Program,
    ProgramOp,
    ResizeLinear,
    SquareRoot,
    Table8,
    Table16,
)


@dataclass(frozen=True)
class Rounding:
    """What to expect of a kind of operator: its name, the most steps that an int8 and an int16 result differ by, and
    the reason."""

    kind: str
    int8_steps: int
    int16_steps: int
    reason: str


MOVEMENT = Rounding("data movement and maxima", 0, 0, "nothing is computed")
ARITHMETIC = Rounding(
    "products, sums, averages and rescaling",
    1,
    1,
    "runtimes round to nearest even in float and saturate at -128 (int16 -32768), the program rounds half up and "
    "saturates at -127 (-32767)",
)
TABLES = Rounding(
    "functions, softmax, normalisation and resizing",
    1,
    16,
    "float operators here, tables and integer weights in the program: in int16 these have 513 entries and interpolate",
)

_MOVING: tuple[type[ProgramOp], ...] = (DataMovement, ExtremeReduce, MaximumPool)
_BY_TABLES: tuple[type[ProgramOp], ...] = (
    Table8,
    Table16,
    Logarithm,
    SquareRoot,
    IntegerSoftmax,
    IntegerLayerNorm,
    ResizeLinear,
)

ROUNDING: Mapping[type[ProgramOp], Rounding] = MappingProxyType(
    {**dict.fromkeys(_MOVING, MOVEMENT), **dict.fromkeys(_BY_TABLES, TABLES)}
)
"""By instruction class; what is not here is ``ARITHMETIC``."""


def rounding_of(op: ProgramOp) -> Rounding:
    """What to expect of an instruction."""
    return ROUNDING.get(type(op), ARITHMETIC)


def tolerated_steps(program: Program) -> Mapping[str, int]:
    """By value that an integer instruction makes, the most steps that its unit's operators may differ by."""
    units: dict[str, list[Rounding]] = {}
    for item in program.instructions:
        units.setdefault(item.unit, []).append(rounding_of(item.op))
    steps: dict[str, int] = {}
    for item in program.instructions:
        for value in filter(None, item.outputs):
            is_wide = program.types[value].dtype == "int16"
            steps[value] = max(r.int16_steps if is_wide else r.int8_steps for r in units[item.unit])
    return steps


def rounding_notes(program: Program) -> Iterator[str]:
    """A line for each kind of operator in the program."""
    found: dict[Rounding, int] = {}
    wide: set[Rounding] = set()
    for item in program.instructions:
        if not isinstance(item.op, FloatKernel) and item.nodes:
            kind = rounding_of(item.op)
            found[kind] = found.get(kind, 0) + 1
            if any(value and program.types[value].dtype == "int16" for value in item.outputs):
                wide.add(kind)
    for kind in (MOVEMENT, ARITHMETIC, TABLES):
        if kind in found:
            yield f"{kind.kind} ({found[kind]}): {_most(kind, kind in wide)}; {kind.reason}"


def _most(kind: Rounding, is_wide: bool) -> str:
    if not kind.int8_steps:
        return "no difference"
    same = kind.int8_steps == kind.int16_steps or not is_wide
    return "one step at most" if same else f"one step at most, in int16 {kind.int16_steps}"
