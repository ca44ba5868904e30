# pyright: reportUnknownMemberType=false
"""One pass of a program with gradients: the integers by its instructions, the slopes by the float operators."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from engine.graph.graph import Graph, Node
from engine.ops.float_kernels import run_node
from engine.ops.layout import Pad
from engine.ops.other import Input
from engine.program.executor import run_instruction
from engine.program.types import DataMovement, Dequantise, FloatKernel, Instruction, Program, Quantise
from engine.qtype import INTEGER_RANGE
from engine.train.gradients import passed, snapped
from engine.train.learned import BIASED

SEAMS = (Quantise, Dequantise, FloatKernel)


class Operands(Protocol):
    """What a pass asks for beside the program."""

    def constant(self, node: Node, place: int) -> Tensor | None:
        """A node's constant input as the program has it, float, with its gradient; None where it is absent."""
        ...

    def scale(self, value: str, step: float) -> Tensor:
        """[1]: ``step``, the scale of a program value, with its gradient if it is trained."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """The instructions of one integer unit; or one seam or float operator, alone."""

    instructions: tuple[Instruction, ...]

    @property
    def is_unit(self) -> bool:
        return not isinstance(self.instructions[0].op, SEAMS)

    @property
    def nodes(self) -> tuple[str, ...]:
        return self.instructions[0].nodes

    def reads(self, value: str) -> str:
        """The program value that holds a graph value for these instructions: itself, or what a seam made of it."""
        names = {name for item in self.instructions for name in item.inputs}
        return next((name for name in (f"{value}@int8", f"{value}@int16") if name in names), value)


def steps_of(program: Program) -> tuple[Step, ...]:
    """The program's instructions by units, in order."""
    groups: list[list[Instruction]] = []
    for item in program.instructions:
        joins = groups and not isinstance(item.op, SEAMS) and not isinstance(groups[-1][0].op, SEAMS)
        if joins and groups[-1][0].unit == item.unit:
            groups[-1].append(item)
        else:
            groups.append([item])
    return tuple(Step(tuple(group)) for group in groups)


@dataclass(eq=False)
class ForwardPass:
    """One pass over a program that was lowered from ``graph``.

    ``exact`` has program values as the program has them, on the CPU; ``smooth`` the same as floats with gradients, on
    ``device``.
    """

    graph: Graph
    program: Program
    operands: Operands
    device: torch.device
    exact: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    smooth: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's outputs by name, the program's bits, for inputs of the graph's shapes.

        Raises:
            QuantscopeError: A kernel cannot compute (the message names the node).
        """
        for name, value in self.program.inputs.items():
            self.smooth[value] = inputs[name].to(self.device)
            self.exact[value] = inputs[name].detach().cpu()
        self.follow(steps_of(self.program), set(self.program.outputs.values()))
        return {name: self._output(value) for name, value in self.program.outputs.items()}

    def follow(self, steps: Sequence[Step], kept: Collection[str]) -> None:
        """Compute some of the program's steps, in order; what they read is in ``exact`` and ``smooth`` already. Of all
        values that they use, these have the ``kept`` ones in the end.

        Raises:
            QuantscopeError: A kernel cannot compute (the message names the node).
        """
        last_use = {value: place for place, step in enumerate(steps) for value in self._used(step)}
        for place, step in enumerate(steps):
            self._compute(step)
            (self._follow_unit if step.is_unit else self._follow_seam)(step)
            for value in self._used(step):
                if last_use[value] == place and value not in kept:
                    self.exact.pop(value, None)
                    self.smooth.pop(value, None)

    def _used(self, step: Step) -> set[str]:
        """Program values that a step reads or makes."""
        made = {name for item in step.instructions for name in (*item.inputs, *item.outputs) if name}
        if not step.is_unit:
            return made
        read = (value for node in step.nodes for value in self.graph.activations(self.graph.by_id[node]))
        return made | {step.reads(value) for value in read}

    def _compute(self, step: Step) -> None:
        with torch.no_grad():
            for item in step.instructions:
                results = run_instruction(item, [self._exact(name) for name in item.inputs])
                self.exact.update(zip(item.outputs, results, strict=True))

    def _exact(self, name: str) -> Tensor | None:
        if not name:
            return None
        constant = self.program.constants.get(name)
        return self.exact[name] if constant is None else constant.tensor

    def _follow_seam(self, step: Step) -> None:
        (item,) = step.instructions
        if isinstance(item.op, Quantise):
            self._snap(item.outputs[0], self.smooth[item.inputs[0]])
        elif isinstance(item.op, Dequantise):
            self.smooth[item.outputs[0]] = self.smooth[item.inputs[0]]
        else:
            self._follow_float(item)

    def _follow_float(self, item: Instruction) -> None:
        assert isinstance(item.op, FloatKernel)
        operands = [self._float_operand(name) for name in item.inputs]
        results = operands if isinstance(item.op.op, Input) else run_node(item.op.op, operands)
        for name, result in zip(item.outputs, results, strict=False):
            if name and result is not None:
                self._pass(name, result)

    def _float_operand(self, name: str) -> Tensor | None:
        constant = self.program.constants.get(name)
        if constant is not None:
            return constant.tensor.to(self.device)
        return self.smooth[name] if name else None

    def _follow_unit(self, step: Step) -> None:
        nodes = [self.graph.by_id[node] for node in step.nodes]
        inner: dict[str, Tensor] = {}
        for node in nodes:
            operands = [self._operand(step, inner, node, place) for place in range(_arity(node))]
            inner.update(zip(node.outputs, run_node(node.op, operands), strict=False))
        moves = len(nodes) == 1 and all(self._moves(item) for item in step.instructions)
        for value in filter(None, nodes[-1].outputs):
            if moves:
                self.smooth[value] = inner[value]
            elif self.program.types[value].is_quantised:
                self._snap(value, inner[value])
            else:
                self._pass(value, inner[value])

    def _operand(self, step: Step, inner: Mapping[str, Tensor], node: Node, place: int) -> Tensor | None:
        value = node.inputs[place] if place < len(node.inputs) else ""
        if not value or value in self.graph.constants:
            return self.operands.constant(node, place)
        return inner[value] if value in inner else self.smooth[step.reads(value)]

    def _moves(self, item: Instruction) -> bool:
        """Whether the instruction only moves elements, so that the float operator gives its values already."""
        is_movement = isinstance(item.op, DataMovement) and not isinstance(item.op.op, Pad)
        return is_movement and not any(name in self.program.constants for name in item.inputs)

    def _snap(self, name: str, x: Tensor) -> None:
        qtype, levels = self.program.types[name], self.exact[name].to(self.device)
        largest = INTEGER_RANGE[qtype.dtype][1]
        scale = self.operands.scale(name, qtype.scale)
        self.smooth[name] = snapped(x, scale, levels.reshape(x.shape), qtype.scale, largest)

    def _pass(self, name: str, x: Tensor) -> None:
        exact = self.exact[name].to(self.device)
        self.smooth[name] = passed(x, exact) if x.is_floating_point() else exact

    def _output(self, value: str) -> Tensor:
        exact = self._exact(value)
        assert exact is not None
        smooth = self.smooth.get(value)
        if smooth is None or not exact.is_floating_point():
            return exact.to(self.device)
        return passed(smooth, exact.to(self.device))


def _arity(node: Node) -> int:
    """Inputs of the node, with a place for the bias that training may give it."""
    return max(len(node.inputs), 3) if isinstance(node.op, BIASED) else len(node.inputs)
