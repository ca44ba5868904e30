"""Shapes of a program's values, those inside units too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from engine.graph.graph import TensorType
from engine.ops.float_kernels import TORCH_DTYPES
from engine.program.executor import run_instruction
from engine.program.types import Instruction, ProgramConstant
from engine.qtype import QType

Shape = tuple[int, ...]


class ValueShapes:
    """Shapes of program values: those of graph values are known, those inside units are found when asked for, by
    computing the instruction that makes them on zeros (and on its constants).

    Args:
        instructions: What makes the values.
        known: Types of the graph's values; a program value may be one seen as another type (``NAME@float32``).
        types: Types of the program's values.
        constants: Constant operands.
    """

    def __init__(
        self,
        instructions: Iterable[Instruction],
        known: Mapping[str, TensorType],
        types: Mapping[str, QType],
        constants: Mapping[str, ProgramConstant],
    ) -> None:
        self._maker = {value: item for item in instructions for value in item.outputs if value}
        self._known = known
        self._types = types
        self._constants = constants
        self._found: dict[str, Shape] = {}

    def of(self, value: str) -> Shape:
        """The shape of one value."""
        constant = self._constants.get(value)
        if constant is not None:
            return tuple(constant.array.shape)
        kind = self._known.get(value) or self._known.get(value.rpartition("@")[0])
        if kind is not None:
            return kind.shape
        if value not in self._found:
            self._compute(self._maker[value])
        return self._found[value]

    def _compute(self, item: Instruction) -> None:
        operands = [self._operand(value) if value else None for value in item.inputs]
        for value, result in zip(item.outputs, run_instruction(item, operands), strict=True):
            self._found[value] = tuple(result.shape)

    def _operand(self, value: str) -> torch.Tensor:
        constant = self._constants.get(value)
        if constant is not None:
            return constant.tensor
        return torch.zeros(self.of(value), dtype=TORCH_DTYPES[self._types[value].dtype])
