"""The integer units of a program, each as errors look at it: what it reads, what it makes, and its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.analyze.keys import combine
from engine.graph.graph import Graph
from engine.program.types import DataMovement, Dequantise, FloatKernel, Instruction, Program, Quantise


@dataclass(frozen=True, eq=False)
class UnitWork:
    """The integer instructions of one unit, without the seams around it.

    Attributes:
        unit: Id of the unit: its anchor's.
        instructions: In order.
        operands: Program values that it reads and does not make, constants left out.
        results: Graph values that it makes.
        measured: Those of ``results`` that are numbers: truth values and indices have no error of their own.
        is_exact: Whether it only moves data.
        digest: Content of all that its results follow from, beside the values of its operands.
    """

    unit: str
    instructions: tuple[Instruction, ...]
    operands: tuple[str, ...]
    results: tuple[str, ...]
    measured: tuple[str, ...]
    is_exact: bool
    digest: bytes


def works_of(graph: Graph, program: Program) -> tuple[UnitWork, ...]:
    """The integer units of a program, in its order. Float nodes have none."""
    return tuple(_work(graph, program, unit, items) for unit, items in _by_unit(program).items())


def _by_unit(program: Program) -> Mapping[str, list[Instruction]]:
    units: dict[str, list[Instruction]] = {}
    fed = set(program.inputs.values())
    for item in program.instructions:
        is_seam = isinstance(item.op, Dequantise) or (isinstance(item.op, Quantise) and item.inputs[0] not in fed)
        if not is_seam and not isinstance(item.op, FloatKernel):
            units.setdefault(item.unit, []).append(item)
    return units


def _work(graph: Graph, program: Program, unit: str, items: list[Instruction]) -> UnitWork:
    made = [output for item in items for output in item.outputs if output]
    read = dict.fromkeys(name for item in items for name in item.inputs if name)
    operands = tuple(name for name in read if name not in made and name not in program.constants)
    results = tuple(name for name in made if name in program.value_of)
    measured = tuple(name for name in results if graph.types[name].is_float)
    types = [repr((name, program.types[name])) for name in (*operands, *results)]
    constants = [program.constants[name].digest for name in read if name in program.constants]
    return UnitWork(
        unit=unit,
        instructions=tuple(items),
        operands=operands,
        results=results,
        measured=measured,
        is_exact=all(isinstance(item.op, DataMovement) for item in items),
        digest=combine(*(item.op.digest for item in items), *types, *constants),
    )
