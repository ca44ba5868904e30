"""CPU segments: float operators of a program as an ONNX model, and back.

A package computes its float nodes with the same kernels as the session, reached through the segment's ONNX file: the
file is what travels, and importing it must give back kernels with the same bits. The export checks that by computing
every segment both ways.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import google.protobuf.message
import numpy as np
import onnx
import onnx_ir as ir
import torch

from engine.errors import ExportError, PackageError, QuantscopeError
from engine.export.onnx_nodes import Emission, OnnxBuilder, emit
from engine.export.onnx_nodes.builder import serialised
from engine.export.segments import Segment
from engine.graph.graph import Graph, Node, TensorType
from engine.graph.onnx_file import check_names, prepared
from engine.graph.onnx_import import import_onnx
from engine.graph.weights import WeightFiles
from engine.ops.float_kernels import TORCH_DTYPES, to_numpy
from engine.ops.other import Input
from engine.program.executor import run_program
from engine.program.types import FloatKernel, Instruction, Program, ProgramConstant
from engine.qtype import model_type

TypeOf = Callable[[str], TensorType]
"""Shape and element type of a program value."""

_CHECK_SEED = 20


Sizes = Mapping[str, tuple[int | str, ...]]
"""The sizes of values that have some that depend on data, with names for these."""


def segment_model(
    program: Program, segment: Segment, type_of: TypeOf, name: str, open_sizes: Sizes | None = None
) -> bytes:
    """The segment as a serialised ONNX model, with fixed shapes but for ``open_sizes``.

    Raises:
        ExportError: An operator has no ONNX form, or its ONNX form does not compute the same bits.
    """
    builder = OnnxBuilder(segment.opset)
    builder.reserve([n for item in segment.instructions for n in (*item.inputs, *item.outputs) if n])
    for item in segment.instructions:
        _emit_instruction(builder, program, item, type_of)
    sizes = open_sizes or {}
    infos = {value: type_of(value) for value in (*segment.inputs, *segment.outputs)}
    model = builder.model(
        name,
        {value: (infos[value].dtype, sizes.get(value, infos[value].shape)) for value in segment.inputs},
        {value: (infos[value].dtype, sizes.get(value, infos[value].shape)) for value in segment.outputs},
        {},
    )
    data = serialised(model)
    _check_bits(program, segment, type_of, data, any(value in sizes for value in segment.inputs))
    return data


def _emit_instruction(builder: OnnxBuilder, program: Program, item: Instruction, type_of: TypeOf) -> None:
    assert isinstance(item.op, FloatKernel)
    constants = {
        index: program.constants[value].array for index, value in enumerate(item.inputs) if value in program.constants
    }
    for index, array in constants.items():
        builder.initializer(item.inputs[index], array)
    types = tuple(type_of(value) if value else None for value in item.inputs)
    label = item.nodes[-1] if item.nodes else item.unit
    emit(item.op.op, Emission(builder, label, item.inputs, item.outputs, types, constants))


def segment_instructions(
    data: bytes, prefix: str, path: Path
) -> tuple[tuple[Instruction, ...], Mapping[str, ProgramConstant], Graph]:
    """The instructions and constants of a serialised segment, inner names made unique by ``prefix``.

    ``path`` is the package, for messages.

    Raises:
        PackageError: The bytes are not a self-contained ONNX model that this engine can run.
    """
    try:
        graph = _imported(data, path)
    except PackageError:
        raise
    except QuantscopeError as error:
        raise PackageError(f"a CPU segment cannot be used: {error.message}", path=path, node=error.node) from error
    outside = {*graph.inputs, *graph.outputs}

    def renamed(value: str) -> str:
        return value if value in outside or not value else f"{prefix}:{value}"

    def instruction(node: Node) -> Instruction:
        names, made = tuple(map(renamed, node.inputs)), tuple(map(renamed, node.outputs))
        return Instruction(FloatKernel(node.op), names, made, (node.id,), node.id)

    instructions = tuple(instruction(node) for node in graph.nodes if not isinstance(node.op, Input))
    constants = {
        renamed(name): ProgramConstant(constant.array, model_type(constant.type.dtype))
        for name, constant in graph.constants.items()
    }
    return instructions, constants, graph


def _imported(data: bytes, path: Path) -> Graph:
    try:
        proto = onnx.ModelProto.FromString(data)
    except google.protobuf.message.DecodeError as error:
        raise PackageError("a CPU segment is not an ONNX model", path=path, hint="export the package again") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer):
        raise PackageError("a CPU segment keeps weights outside the package", path=path, hint="export it again")
    check_names(proto.graph, path)
    try:
        model = ir.from_proto(proto)
    except Exception as error:  # the deserialiser raises whatever its malformed input provokes
        raise PackageError(f"a CPU segment is not a valid ONNX model: {error}", path=path) from error
    return import_onnx(prepared(model, path.stem, WeightFiles(path), path), {}, 1, open_inputs=True)


def _check_bits(program: Program, segment: Segment, type_of: TypeOf, data: bytes, guessed: bool) -> None:
    """Compute the segment on random numbers as the session does and from its ONNX file, and compare all bits.

    ``guessed``: sizes of inputs are estimates, with which the session may not be able to compute either.
    """
    generator = np.random.default_rng(_CHECK_SEED)
    inputs = {value: _random(type_of(value), generator) for value in segment.inputs}
    instructions, constants, _ = segment_instructions(data, "check", Path("segment"))
    ours = _whole(segment.instructions, program.constants, segment)
    theirs = _whole(instructions, constants, segment)
    try:
        expected = run_program(ours, inputs)
    except QuantscopeError:
        if guessed:
            return
        raise
    found = run_program(theirs, inputs)
    for value in segment.outputs:
        if _bits(expected[value]) != _bits(found[value]):
            node = next(item for item in segment.instructions if value in item.outputs)
            raise ExportError(
                "its ONNX form does not compute the same bits as the session",
                node=node.nodes[-1] if node.nodes else node.unit,
                hint="mark the node or its neighbours int8 or int16",
            )


def _whole(
    instructions: tuple[Instruction, ...], constants: Mapping[str, ProgramConstant], segment: Segment
) -> Program:
    inputs, outputs = ({value: value for value in names} for names in (segment.inputs, segment.outputs))
    return Program(instructions, {}, constants, inputs, outputs)


def _random(kind: TensorType, generator: np.random.Generator) -> torch.Tensor:
    """Normally distributed numbers; zeros where the type is an index or a truth value."""
    dtype = TORCH_DTYPES[kind.dtype]
    if not kind.is_float:
        return torch.zeros(kind.shape, dtype=dtype)
    return torch.from_numpy(generator.normal(size=kind.shape)).to(dtype)


def _bits(tensor: torch.Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    return tensor.dtype, tuple(tensor.shape), to_numpy(tensor).tobytes()
