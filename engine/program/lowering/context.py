"""What a lowering sees of its unit, and the vocabulary it answers in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from engine.errors import GraphError
from engine.graph.graph import Graph, Node
from engine.ops.base import Behaviour
from engine.ops.elementwise import Clip, Relu
from engine.plan.corrections import Corrected
from engine.plan.types import Unit
from engine.program.types import Instruction, Output, ProgramConstant, ProgramOp
from engine.qtype import INTEGER_RANGE, QType

LOWER: Behaviour[Callable[[UnitContext], None]] = Behaviour("integer lowering")
"""Operator class of a unit's anchor -> function that emits the unit's instructions."""


@dataclass
class UnitContext:
    """One unit being lowered: its nodes, the types around it, and the instructions emitted so far.

    ``types`` has the QType of every activation input as the unit sees it (after any seam) and of its outputs;
    ``names`` the program value that holds each activation input; ``corrected`` what stands in for constants;
    ``power_of_two`` whether the scales of weights are to be powers of two.
    """

    graph: Graph
    unit: Unit
    types: Mapping[str, QType]
    names: Mapping[str, str]
    corrected: Corrected = field(default_factory=Corrected)
    power_of_two: bool = False
    instructions: list[Instruction] = field(default_factory=list[Instruction])
    temporaries: dict[str, QType] = field(default_factory=dict[str, QType])
    constants: dict[str, ProgramConstant] = field(default_factory=dict[str, ProgramConstant])

    @property
    def node(self) -> Node:
        """The anchor node, whose operator chose the lowering."""
        return self.graph.by_id[self.unit.anchor]

    @property
    def result(self) -> str:
        """The first output of the unit's last node: the value that is materialised."""
        return self.graph.by_id[self.unit.last].outputs[0]

    @property
    def result_type(self) -> QType:
        return self.types[self.result]

    def output(self) -> Output:
        """Type and clamp bounds of the result, narrowed by the Relu or Clip fused into the unit."""
        low, high = INTEGER_RANGE[self.result_type.dtype]
        for node_id in self.unit.nodes:
            low, high = _narrowed(self.graph.by_id[node_id], low, high, self.result_type.scale)
        return Output(self.result_type.dtype, low, high)

    def constant_of(self, value: str, *, infinite: bool = False) -> NDArray[np.float64]:
        """A constant input in float64; NaN is refused with the node's name, and infinity unless it may be ``infinite``
        (a mask)."""
        array = np.asarray(self._stored(value), dtype=np.float64)
        self._check_finite(value, ~np.isnan(array) if infinite else np.isfinite(array))
        return array

    def weight_of(self, value: str) -> NDArray[np.floating]:
        """A constant input of a floating-point type as it is stored: a copy in float64 would be the largest thing in
        memory. NaN and infinity are refused."""
        array = self._stored(value)
        if array.dtype.name not in ("float32", "float64"):
            array = array.astype(np.float32)
        self._check_finite(value, np.isfinite(array))
        return cast("NDArray[np.floating]", array)

    def weight_scales_of(self, value: str) -> NDArray[np.float64] | None:
        """The scale of each output channel, [channels], where a correction has chosen them."""
        return self.corrected.weight_scales.get(value)

    def _stored(self, value: str) -> NDArray[np.generic]:
        corrected = self.corrected.weights.get(value)
        return self.graph.constants[value].once() if corrected is None else corrected

    def _check_finite(self, value: str, good: NDArray[np.bool_]) -> None:
        if not good.all():
            raise GraphError(
                f"constant '{value}' holds NaN or infinity",
                node=self.node.id,
                hint="repair the weights in the source model, or mark the node float",
            )

    def is_constant(self, value: str) -> bool:
        return value in self.graph.constants

    def temporary(self, suffix: str, qtype: QType) -> str:
        """A new program value inside this unit."""
        name = f"{self.result}#{suffix}"
        self.temporaries[name] = qtype
        return name

    def constant(self, suffix: str, array: NDArray[np.generic], qtype: QType) -> str:
        """A new constant operand."""
        name = f"{self.result}#{suffix}"
        self.constants[name] = ProgramConstant(array, qtype)
        return name

    def whole_constant(self, value: str, index: int) -> str:
        """A constant operand of truth values or int32, as it is."""
        array = np.asarray(self.graph.constants[value].array)
        return self.constant(f"operand{index}", array, QType(array.dtype.name))

    def emit(self, op: ProgramOp, inputs: tuple[str, ...], outputs: tuple[str, ...] | None = None) -> None:
        """Append an instruction; without ``outputs`` it makes the unit's result."""
        names = tuple(self.names.get(value, value) for value in inputs)
        outputs = outputs or (self.result,)
        self.instructions.append(Instruction(op, names, outputs, self.unit.nodes, self.unit.anchor))


def _narrowed(node: Node, low: int, high: int, scale: float) -> tuple[int, int]:
    if isinstance(node.op, Relu):
        return max(low, 0), high
    if isinstance(node.op, Clip):
        bottom = low if np.isinf(node.op.low) else int(np.rint(node.op.low / scale))
        top = high if np.isinf(node.op.high) else int(np.rint(node.op.high / scale))
        return min(max(low, bottom), high), max(min(high, top), low)
    return low, high
