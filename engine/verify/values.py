# pyright: reportUnknownMemberType=false
"""What the integer program computes, value by value, and which node of the graph each value belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from engine.errors import Cancelled
from engine.graph.graph import Graph
from engine.program.executor import run_program
from engine.program.types import FloatKernel, Instruction, Program
from engine.verify.processes import Watch, never
from engine.verify.tally import Array

Arrays = Mapping[str, Array]


def program_values(program: Program, inputs: Arrays, cancelled: Watch = never) -> Arrays:
    """Every value that a program computes, by its name.

    Raises:
        Cancelled: The user stopped.
    """
    values: dict[str, Array] = {}

    def keep(item: Instruction, _operands: Sequence[torch.Tensor | None], results: Sequence[torch.Tensor]) -> None:
        if cancelled():
            raise Cancelled
        values.update((name, x.numpy().copy()) for name, x in zip(item.outputs, results, strict=True) if name)

    run_program(program, {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}, visit=keep)
    return values


def from_float(program: Program) -> frozenset[str]:
    """Values that a float node computes, or that are computed from one: other runtimes may round them otherwise."""
    reached: set[str] = set()
    for item in program.instructions:
        if isinstance(item.op, FloatKernel) or reached.intersection(item.inputs):
            reached.update(item.outputs)
    return frozenset(reached)


def nodes_of(graph: Graph, program: Program) -> Mapping[str, str]:
    """The graph node that each program value belongs to, by id."""
    found: dict[str, str] = {}
    for item in program.instructions:
        for value in item.outputs:
            maker = graph.producer.get(value.partition("#")[0]) or graph.producer.get(value.rpartition("@")[0])
            found[value] = maker.id if maker is not None else item.nodes[-1] if item.nodes else item.unit
    return found
