"""From a session's integer program to a model of standard ONNX operators that computes the same bits.

Every value of the program is a value of the model, in the same type. The arithmetic is that of whole numbers in int32
and int64, proved not to overflow, so it does not depend on runtime, processor or optimisation.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

import onnx
import torch
from onnx import helper

from engine.errors import ExportError
from engine.export.integer_onnx import elementwise, functions, logic, products, rows, seams, windows
from engine.export.integer_onnx.registry import INTEGER_NODES
from engine.export.onnx_nodes import Emission, OnnxBuilder
from engine.export.onnx_nodes.builder import onnx_type, serialised
from engine.export.qdq.batch import BatchForm, batch_form
from engine.graph.graph import TensorType
from engine.ops.float_kernels import TORCH_DTYPES
from engine.program.executor import run_instruction
from engine.program.types import (
    DataMovement,
    FloatKernel,
    Instruction,
    IntegerLayerNorm,
    IntegerSoftmax,
    Program,
    ProgramOp,
    SumReduce,
    WideSum,
)

if TYPE_CHECKING:
    from engine.session import Session

OPSET = 21

_REGISTERING = (elementwise, functions, logic, products, rows, seams, windows)
"""Imported for the registrations they make."""

_MOST_BYTES = 2**31 - 1
"""Largest message that protobuf writes."""


@dataclass(frozen=True)
class IntegerModel:
    """An exported model; ``names`` maps every computed value of the program to the model's value with its bits."""

    proto: onnx.ModelProto
    names: Mapping[str, str]
    notes: tuple[str, ...]


def write_integer_onnx(session: Session, stream: BinaryIO, *, intermediates: bool = False) -> tuple[str, ...]:
    """Write the ONNX model of the session's present plan; returns notes for people.

    Args:
        session: A calibrated session.
        stream: Where the file goes; nothing is written unless the whole model can be expressed.
        intermediates: Make every value of the program an output of the model, behind its own.

    Raises:
        CalibrationError: The session is not calibrated.
        ExportError: An instruction cannot be expressed in ONNX, or the model exceeds 2 GB.
    """
    model = integer_model(session, intermediates=intermediates)
    if model.proto.ByteSize() > _MOST_BYTES:
        raise ExportError(
            f"the model has {model.proto.ByteSize()} bytes, an ONNX file holds 2 GB", hint="export a package"
        )
    try:
        onnx.checker.check_model(model.proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the plan cannot be expressed in ONNX opset {OPSET}: {error}") from error
    stream.write(serialised(model.proto))
    return model.notes


def integer_model(session: Session, *, intermediates: bool = False) -> IntegerModel:
    """The model of the session's present plan; arguments and errors as of :func:`write_integer_onnx`."""
    graph, program, form = session.graph, session.program(), batch_form(session)
    if form.is_open and _combines_batch(program, graph.types):
        form = BatchForm({}, {name: graph.dimensions(name) for name in (*graph.inputs, *graph.outputs)})
    metadata = {"target": session.target.name, "source_digest": graph.digest}
    model = program_model(program, graph.types, form, name=graph.name, metadata=metadata, intermediates=intermediates)
    if graph.symbolic_batch and not form.is_open:
        note = "the batch is fixed: an operator depends on it in a way that cannot be left open"
        return replace(model, notes=(*model.notes, note))
    return model


def program_model(
    program: Program,
    known: Mapping[str, TensorType],
    form: BatchForm,
    *,
    name: str = "program",
    metadata: Mapping[str, str] | None = None,
    intermediates: bool = False,
) -> IntegerModel:
    """The model of a program.

    Args:
        program: What the model computes.
        known: Shapes of the values that are not inside units; types are the program's.
        form: Dimensions of inputs and outputs, and operators by node that an open batch changes.
        name: Name of the ONNX graph.
        metadata: Properties of the file.
        intermediates: Make every value of the program an output of the model, behind its own.

    Raises:
        ExportError: An instruction cannot be expressed in ONNX; it names the node and the reason.
    """
    writer = _Writer(program, known, form)
    for item in program.instructions:
        writer.add(item)
    proto = writer.model(name, metadata or {})
    if intermediates:
        writer.expose(proto)
    return IntegerModel(proto, writer.names, writer.notes())


def _combines_batch(program: Program, known: Mapping[str, TensorType]) -> bool:
    """Whether an instruction sums over the first axis: what it divides by then holds for one batch only."""
    return any(0 in _summed_axes(item, known) for item in program.instructions)


def _summed_axes(item: Instruction, known: Mapping[str, TensorType]) -> set[int]:
    kind = known.get(item.inputs[0].rpartition("@")[0] or item.inputs[0]) if item.inputs else None
    if kind is None:
        return set()
    rank = len(kind.shape)
    if isinstance(item.op, SumReduce | WideSum):
        return {axis % rank for axis in item.op.axes}
    if isinstance(item.op, IntegerSoftmax):
        return {item.op.axis % rank}
    if isinstance(item.op, IntegerLayerNorm):
        return set(range(rank - item.op.axes_count, rank))
    return set()


class _Writer:
    """The walk over instructions. ``names`` maps a program value to the ONNX value that holds it."""

    def __init__(self, program: Program, known: Mapping[str, TensorType], form: BatchForm) -> None:
        self.program = program
        self.known = known
        self.form = form
        self.builder = OnnxBuilder(OPSET)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.names: dict[str, str] = {}
        taken = {*program.inputs, *program.outputs}
        self.builder.reserve([*taken, *program.types, *program.constants])
        self._taken = taken
        for model_input, value in program.inputs.items():
            self.names[value] = model_input

    def add(self, item: Instruction) -> None:
        """The nodes of one instruction."""
        write = INTEGER_NODES.get(type(item.op))
        label = item.nodes[-1] if item.nodes else item.unit
        if write is None:
            raise ExportError(f"{type(item.op).__name__} has no form in standard ONNX operators", node=label)
        constants = {
            index: self.program.constants[value].array
            for index, value in enumerate(item.inputs)
            if value in self.program.constants
        }
        types = tuple(self.type_of(value) if value else None for value in item.inputs)
        inputs = tuple(self._operand(value) for value in item.inputs)
        outputs = tuple(self._named(value, self.program.types[value].dtype) if value else "" for value in item.outputs)
        self._note_shapes(item)
        write(self._opened(item), Emission(self.builder, label, inputs, outputs, types, constants))

    def type_of(self, value: str) -> TensorType:
        """Shape (for one batch) and element type of a program value."""
        constant = self.program.constants.get(value)
        if constant is not None:
            return TensorType(tuple(constant.array.shape), constant.array.dtype.name)
        shape = self._known_shape(value)
        return TensorType(self.shapes[value] if shape is None else shape, self.program.types[value].dtype)

    def _known_shape(self, value: str) -> tuple[int, ...] | None:
        """That of a graph value, perhaps seen as another type (``NAME@float32``) or as it is fed (``NAME@input``)."""
        kind = self.known.get(value) or self.known.get(value.rpartition("@")[0])
        return None if kind is None else kind.shape

    def _note_shapes(self, item: Instruction) -> None:
        """Shapes of values inside units, by computing the instruction on zeros."""
        if all(not value or self._known_shape(value) is not None for value in item.outputs):
            return
        kinds = [self.type_of(value) if value else None for value in item.inputs]
        zeros = [None if kind is None else torch.zeros(kind.shape, dtype=TORCH_DTYPES[kind.dtype]) for kind in kinds]
        for value, result in zip(item.outputs, run_instruction(item, zeros), strict=True):
            self.shapes[value] = tuple(result.shape)

    def _operand(self, value: str) -> str:
        constant = self.program.constants.get(value)
        if constant is None:
            return self.names[value] if value else ""
        if value not in self.names:
            return self.builder.initializer(self._named(value, constant.array.dtype.name), constant.array)
        return self.names[value]

    def _named(self, value: str, dtype: str) -> str:
        """The value's own name, unless an input or output of the model has it."""
        self.names[value] = self.builder.fresh(f"{value}/{dtype}") if value in self._taken else value
        return self.names[value]

    def _opened(self, item: Instruction) -> ProgramOp:
        """The instruction's operator; a graph operator inside it without the batch's size, where that is left open."""
        op = item.op
        if not isinstance(op, DataMovement | FloatKernel):
            return op
        for node in item.nodes:
            opened = self.form.operators.get(node)
            if opened is not None and type(opened) is type(op.op):
                return replace(op, op=opened)
        return op

    def model(self, name: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The finished model with the program's inputs and outputs."""
        for model_output, value in self.program.outputs.items():
            self.builder.node("Identity", (self._operand(value),), (model_output,), model_output)
        inputs, outputs = (
            {port: (self.type_of(value).dtype, self.form.dimensions[port]) for port, value in ports.items()}
            for ports in (self.program.inputs, self.program.outputs)
        )
        return self.builder.model(name, inputs, outputs, metadata)

    def expose(self, proto: onnx.ModelProto) -> None:
        """Every computed value of the program as an output of the model."""
        for item in self.program.instructions:
            for value in filter(None, item.outputs):
                kind = self.type_of(value)
                sizes = [None if self.form.is_open else size for size in kind.shape]
                info = helper.make_tensor_value_info(self.names[value], onnx_type(kind.dtype), sizes)
                proto.graph.output.append(info)

    def notes(self) -> tuple[str, ...]:
        """What was written, for people."""
        items = self.program.instructions
        floats = sum(isinstance(item.op, FloatKernel) for item in items)
        first = (
            f"{len(items) - floats} integer instructions in {len(self.builder.nodes)} standard ONNX nodes, "
            f"opset {OPSET}: the same bits as the integer program"
        )
        if not floats:
            return (first,)
        second = f"{floats} nodes stay in float: their last bits, and what is computed from them, depend on the runtime"
        return first, second
