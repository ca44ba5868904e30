"""Runs integer programs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from engine.errors import DataError, GraphError, QuantscopeError
from engine.program.kernels import KERNEL
from engine.program.kernels.compiled import kernel_section, set_threads
from engine.program.types import Instruction, Program

Visit = Callable[[Instruction, Sequence[Tensor | None], Sequence[Tensor]], None]
"""Called after each instruction with its inputs and outputs, which it must not write or keep."""


def run_program(
    program: Program,
    inputs: Mapping[str, Tensor],
    *,
    keep: Collection[str] | None = None,
    visit: Visit | None = None,
) -> dict[str, Tensor]:
    """Compute a program.

    Args:
        program: The instructions; shapes are those the graph was bound to, batch included.
        inputs: The model's float inputs by name.
        keep: Program values to return beside the outputs. All others are freed after their last use.
        visit: Called after each instruction.

    Returns:
        The model's outputs by their names, and the kept values by theirs.

    Raises:
        DataError: An input is missing.
        QuantscopeError: A kernel cannot compute (the message names the node).
    """
    missing = [name for name in program.inputs if name not in inputs]
    if missing:
        raise DataError(f"no data for input '{missing[0]}'", hint=f"inputs are {', '.join(program.inputs)}")
    wanted = {*(keep or ()), *program.outputs.values()}
    last_use = last_uses(program)
    values: dict[str, Tensor] = {value: inputs[name] for name, value in program.inputs.items()}
    with torch.inference_mode():
        for place, instruction in enumerate(program.instructions):
            operands = [_value(program, values, name) if name else None for name in instruction.inputs]
            results = run_instruction(instruction, operands)
            values.update(zip(instruction.outputs, results, strict=True))
            if visit is not None:
                visit(instruction, operands, results)
            del operands, results
            for name in last_use[place]:
                if name not in wanted:
                    values.pop(name, None)
    found = {name: _value(program, values, name) for name in keep or ()}
    return found | {name: _value(program, values, value) for name, value in program.outputs.items()}


def run_instruction(instruction: Instruction, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """Compute one instruction. Outputs may be views of the inputs; an absent optional input is None.

    Raises:
        QuantscopeError: The kernel cannot compute; the message names the instruction's first node.
    """
    kernel = KERNEL.get(type(instruction.op))
    node = instruction.nodes[0] if instruction.nodes else None
    if kernel is None:
        raise GraphError(f"{type(instruction.op).__name__} has no kernel", node=node)
    set_threads(inputs[0].numel() if inputs and inputs[0] is not None else 0)
    try:
        with kernel_section():
            return kernel(instruction.op, inputs)
    except QuantscopeError as error:
        if error.node is not None:
            raise
        raise type(error)(error.message, path=error.path, node=node, hint=error.hint) from error


def last_uses(program: Program) -> list[list[str]]:
    """For each instruction, the values that nothing after it reads (its own unread outputs included)."""
    place_of: dict[str, int] = {}
    for place, instruction in enumerate(program.instructions):
        for name in (*instruction.inputs, *instruction.outputs):
            if name:
                place_of[name] = place
    released: list[list[str]] = [[] for _ in program.instructions]
    for name, place in place_of.items():
        released[place].append(name)
    return released


def _value(program: Program, values: Mapping[str, Tensor], name: str) -> Tensor:
    found = values.get(name)
    return program.constants[name].tensor if found is None else found
