"""An integer segment of a program as a TOSA graph. Quantising and dequantising stay outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.export.segments import Segment
from engine.export.tosa.emit import emit
from engine.export.tosa.flatbuffer import serialised
from engine.export.tosa.graph import Shape, Tensor, TosaGraph
from engine.export.tosa.schema import TYPE_IN_FILE, TosaOp
from engine.program.types import Dequantise, Instruction, Program, Quantise

ShapeOf = Callable[[str], Shape]
"""Shape of a program value that is no temporary of a unit."""


@dataclass(frozen=True)
class TosaSegment:
    """The bytes of a ``.tosa`` file, and the program values that are its inputs and outputs, in the file's order.

    ``units`` has the unit of every operator of the file ("" for constants), in its order; ``widened`` the program's
    element type of inputs and outputs that the file has in a narrower one (int64 indices as int32).
    """

    data: bytes
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    units: tuple[str, ...]
    widened: Mapping[str, str]

    @property
    def operators(self) -> int:
        return len(self.units)


def tosa_segment(
    program: Program, segment: Segment, shape_of: ShapeOf, *, intermediates: bool = False
) -> TosaSegment | None:
    """A segment's integer instructions as TOSA, or None where it only quantises and dequantises.

    Args:
        program: The program that the segment is of.
        segment: Consecutive integer instructions.
        shape_of: Shapes of the values that enter.
        intermediates: Make every value that an instruction computes an output, to compare them all.

    Raises:
        ExportError: An instruction has no TOSA form with the same bits; the node is named.
    """
    assembly = _Assembly(program, shape_of)
    for item in segment.instructions:
        if not isinstance(item.op, Quantise | Dequantise):
            assembly.add(item)
    if not assembly.made:
        return None
    wanted = assembly.made if intermediates else _leaving(segment, assembly.made)
    graph = assembly.graph
    graph.outputs = [assembly.values[name] for name in wanted]
    graph.prune()
    inputs = {name: assembly.values[name] for name in assembly.inputs}
    outputs = {name: assembly.values[name] for name in wanted}
    kinds = {name: program.types[name].dtype for name in (*inputs, *outputs)}
    widened = {name: dtype for name, dtype in kinds.items() if dtype in TYPE_IN_FILE}
    return TosaSegment(serialised(graph), inputs, outputs, tuple(item.unit for item in graph.operators), widened)


def _leaving(segment: Segment, made: list[str]) -> list[str]:
    """The computed values that are dequantised here or read behind the segment."""
    dequantised = {item.inputs[0] for item in segment.instructions if isinstance(item.op, Dequantise)}
    return [name for name in made if name in dequantised or name in segment.outputs]


def _type_in_file(program: Program, name: str) -> str:
    dtype = program.types[name].dtype
    return TYPE_IN_FILE.get(dtype, dtype)


@dataclass
class _Assembly:
    """The graph so far, and which tensor each program value is."""

    program: Program
    shape_of: ShapeOf
    graph: TosaGraph = field(default_factory=TosaGraph)
    values: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    inputs: list[str] = field(default_factory=list[str])
    made: list[str] = field(default_factory=list[str])

    def add(self, item: Instruction) -> None:
        self.graph.node = item.nodes[-1] if item.nodes else item.unit
        self.graph.location = ", ".join(item.nodes)
        self.graph.unit = item.unit
        results = emit(self.graph, item.op, [self._operand(name) for name in item.inputs])
        for name, tensor in zip(item.outputs, results, strict=True):
            assert tensor.dtype == _type_in_file(self.program, name), f"{name} is {tensor.dtype}"
            self.made.append(name)
            self._name(name, tensor)

    def _operand(self, name: str) -> Tensor:
        found = self.values.get(name)
        if found is not None:
            return found
        constant = self.program.constants.get(name)
        if constant is not None:
            return self.graph.constant(constant.array)  # type: ignore[arg-type]
        tensor = self.graph.input(self.shape_of(name), _type_in_file(self.program, name))
        self.inputs.append(name)
        self._name(name, tensor)
        return self.values[name]

    def _name(self, name: str, tensor: Tensor) -> None:
        """Call the tensor what the program calls the value; one that has a name already is copied."""
        if tensor.key in self.graph.names or tensor.key in self.graph.arrays:
            tensor = self.graph.add(TosaOp.IDENTITY, (tensor,), tensor.shape, tensor.dtype)
        self.graph.names[tensor.key] = name
        self.values[name] = tensor
