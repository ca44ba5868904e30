# pyright: reportUnknownMemberType=false
"""Units in float arithmetic, with some of their numbers as the integer program has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.analyze.units import UnitWork
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Div
from engine.ops.float_kernels import run_node
from engine.ops.linear import ConvTranspose
from engine.ops.other import Input
from engine.ops.reduce import BatchNorm
from engine.program.types import Convolution, FullyConnected, Instruction, Program, ProgramOp, Scaling
from engine.qtype import INTEGER_RANGE, QType

Values = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class FloatUnit:
    """One unit as the float model computes it.

    Attributes:
        inputs: Graph values that it reads, constants left out, with the program's type of each.
    """

    model: FloatModel
    program: Program
    work: UnitWork
    inputs: Mapping[str, QType]

    @staticmethod
    def of(model: FloatModel, program: Program, work: UnitWork) -> FloatUnit:
        types = model.graph.types
        sources = {name if name in types else name.rpartition("@")[0]: program.types[name] for name in work.operands}
        return FloatUnit(model, program, work, sources)

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(self.model.graph.by_id[node] for node in self.work.instructions[0].nodes)

    def run(self, inputs: Values, constants: Values) -> Values:
        """The unit's results for the given inputs; ``constants`` stand in for the model's own of these names.

        A bias that the node does not have stands under its id.
        """
        values = dict(inputs)
        with torch.inference_mode():
            for node in self.nodes:
                if isinstance(node.op, Input):
                    continue
                operands = [self._operand(value, values, constants) for value in node.inputs]
                if node.id in constants:
                    operands = [*operands[:2], constants[node.id]]
                results = run_node(node.op, operands)
                values.update(zip(node.outputs, results, strict=False))
        return {value: values[value] for value in self.work.results}

    def clipped(self, values: Values) -> Values:
        """Values limited to what their integers can stand for."""
        return {value: _clipped(tensor, self._type(value)) for value, tensor in values.items()}

    def rounded(self, values: Values) -> Values:
        """Values as their integers stand for them, ties to even."""
        return {value: _rounded(tensor, self._type(value)) for value, tensor in values.items()}

    def integer_constants(self) -> Values:
        """The unit's constants as the integer program has them, by their names in the graph."""
        graph, found = self.model.graph, dict[str, torch.Tensor]()
        for item in self.work.instructions:
            weights = WEIGHTS.get(type(item.op))
            if weights is not None:
                found.update(weights(graph, self.program, item))
        anchor = graph.by_id[self.work.unit]
        for index, value in enumerate(anchor.inputs):
            held = self.program.constants.get(f"{self.work.results[0]}#operand{index}")
            # A quotient's divisor is kept as its inverse, in 16 bits.
            if held is not None and graph.types[value].is_float and not isinstance(anchor.op, Div):
                found[value] = _tensor(held.array.astype(np.float64) * held.type.scale)
        return found

    def _operand(self, value: str, values: Values, constants: Values) -> torch.Tensor | None:
        if not value:
            return None
        found = constants.get(value, values.get(value))
        return self.model.weight(value) if found is None else found

    def _type(self, value: str) -> QType:
        found = self.inputs.get(value)
        return self.program.types[value] if found is None else found


def _clipped(tensor: torch.Tensor, qtype: QType) -> torch.Tensor:
    if not qtype.is_quantised:
        return tensor
    limit = INTEGER_RANGE[qtype.dtype][1] * qtype.scale
    return tensor.clamp(-limit, limit)


def _rounded(tensor: torch.Tensor, qtype: QType) -> torch.Tensor:
    if not qtype.is_quantised:
        return tensor
    largest = INTEGER_RANGE[qtype.dtype][1]
    return (tensor / qtype.scale).round().clamp(-largest, largest) * qtype.scale


def _tensor(array: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _factors(scaling: Scaling) -> NDArray[np.float64]:
    """The real factors that a scaling multiplies by."""
    return scaling.multiplier.astype(np.float64) * 2.0 ** -scaling.shift.astype(np.float64)


def _of_convolution(graph: Graph, program: Program, item: Instruction) -> Values:
    op, node = item.op, graph.by_id[item.unit]
    assert isinstance(op, Convolution)
    incoming, result = program.types[item.inputs[0]].scale, program.types[item.outputs[0]].scale
    steps = np.broadcast_to(_factors(op.scaling) * result, op.bias.shape)
    bias = op.bias * steps
    if isinstance(node.op, BatchNorm):
        scale = op.weight.reshape(-1) * steps / incoming
        shape = graph.types[node.inputs[1]].shape
        _, scale_name, bias_name = node.inputs
        return {scale_name: _tensor(scale.reshape(shape)), bias_name: _tensor(bias.reshape(shape))}
    per_channel = steps / incoming
    if isinstance(node.op, ConvTranspose):
        inputs, per_group, *kernel = op.weight.shape
        split = op.weight.reshape(op.groups, inputs // op.groups, per_group, *kernel)
        scaled = split * per_channel.reshape(op.groups, 1, per_group, *(1,) * len(kernel))
        weight = scaled.reshape(op.weight.shape)
    else:
        weight = op.weight * per_channel.reshape(-1, *(1,) * (op.weight.ndim - 1))
    return {node.inputs[1]: _tensor(weight), **_bias(node, bias)}


def _of_linear(graph: Graph, program: Program, item: Instruction) -> Values:
    op, node = item.op, graph.by_id[item.unit]
    assert isinstance(op, FullyConnected)
    incoming, result = program.types[item.inputs[0]].scale, program.types[item.outputs[0]].scale
    steps = np.broadcast_to(_factors(op.scaling) * result, op.bias.shape)
    return {node.inputs[1]: _tensor(op.weight * (steps / incoming)[:, None]), **_bias(node, op.bias * steps)}


def _bias(node: Node, bias: NDArray[np.float64]) -> Values:
    own = node.inputs[2:3]
    return {own[0] if own and own[0] else node.id: _tensor(bias)}


WEIGHTS: Mapping[type[ProgramOp], Callable[[Graph, Program, Instruction], Values]] = {
    Convolution: _of_convolution,
    FullyConnected: _of_linear,
}
"""The constants of the graph that an instruction holds as integers, as real numbers."""
