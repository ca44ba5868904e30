"""From a session's integer program to ONNX with QuantizeLinear and DequantizeLinear around every quantised value.

Between dequantise and quantise stands the float operator (or the chain of them that one integer kernel computes); the
runtime rounds once, where the program requantises. Scales are the program's, zero points are 0.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray

from engine.errors import ExportError
from engine.export.onnx_nodes import Emission, OnnxBuilder, emit
from engine.export.onnx_nodes.builder import serialised
from engine.export.onnx_nodes.linear import product_with_bias
from engine.export.qdq.batch import BatchForm, batch_form
from engine.export.qdq.parameters import parameters_of, real_weight
from engine.export.qdq.rounding import rounding_notes
from engine.graph.graph import Graph, Node, TensorType
from engine.ops.base import Behaviour, Op
from engine.ops.elementwise import Div
from engine.ops.layout import Concat, Roll, Slice
from engine.ops.linear import Conv, ConvTranspose, Linear
from engine.ops.logic import Comparison
from engine.ops.other import Input
from engine.plan.types import Resolution, Unit
from engine.precision import Precision
from engine.program.types import CompareScaled, Convolution, FullyConnected, Instruction, Program
from engine.qtype import QType

if TYPE_CHECKING:
    from engine.session import Session

OPSET, WIDE_OPSET = 20, 21
"""For models without and with int16 values, which quantise and dequantise nodes know since opset 21.

From opset 21 on ONNX Runtime 1.31 refuses models in which data movement stands between an int8 dequantise node and a
float operator: it puts nodes with the attribute ``output_dtype`` there, then turns int8 to uint8, and forgets the
attribute (github.com/microsoft/onnxruntime/issues/25526). So the lower opset is used where it suffices, and in
quantised parts every moved value has quantise and dequantise nodes of its own.
"""

_MOST_BYTES = 2**31 - 1
"""Largest message that protobuf writes."""


@dataclass(frozen=True)
class QdqModel:
    """An exported model.

    Attributes:
        proto: The model.
        integers: By quantised value of the program, the model's value with its integers.
        unquantised: Other values of the program (floats, indices, truth values); the model's of the same names.
        notes: What was written, for people.
    """

    proto: onnx.ModelProto
    integers: Mapping[str, str]
    unquantised: frozenset[str]
    notes: tuple[str, ...]


def write_qdq(session: Session, stream: BinaryIO) -> tuple[str, ...]:
    """Write the ONNX model of the session's present plan; returns notes for people.

    Raises:
        CalibrationError: The session is not calibrated.
        ExportError: A node cannot be expressed in ONNX, or the model exceeds 2 GB.
    """
    model = qdq_model(session)
    proto = model.proto
    if proto.ByteSize() > _MOST_BYTES:
        raise ExportError(f"the model has {proto.ByteSize()} bytes, an ONNX file holds 2 GB", hint="export a package")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        opset = proto.opset_import[0].version
        raise ExportError(f"the plan cannot be expressed in ONNX opset {opset}: {error}") from error
    stream.write(serialised(proto))
    return model.notes


def qdq_model(session: Session) -> QdqModel:
    """The ONNX model of the session's present plan; errors as of :func:`write_qdq`."""
    writer = _Writer(session.graph, session.resolve(), session.program(), batch_form(session))
    proto = writer.model({"target": session.target.name, "source_digest": session.graph.digest})
    return QdqModel(proto, writer.integers, frozenset(writer.unquantised), writer.notes())


@dataclass(frozen=True)
class _Member:
    """A node inside an integer unit: ``source`` is the ONNX value of its first input, ``outputs`` those it makes."""

    unit: Unit
    node: Node
    source: str
    outputs: tuple[str, ...]


_IN_UNIT: Behaviour[Callable[[_Writer, Any, _Member], None]] = Behaviour("ONNX nodes inside an integer unit")
"""For operators that are not written as in float: ``(writer, op, member) -> None`` adds the nodes."""


class _Writer:
    """The walk over units.

    ``real`` maps a graph value to the ONNX value with its float (dequantised) form, ``integers`` a program value to the
    one with its integers; ``unquantised`` are the other values that nodes make.
    """

    def __init__(self, graph: Graph, resolution: Resolution, program: Program, form: BatchForm) -> None:
        self.graph = graph
        self.resolution = resolution
        self.program = program
        self.form = form
        self.builder = OnnxBuilder(WIDE_OPSET if self._has_wide_values() else OPSET)
        self.builder.reserve([*graph.types])
        self.real: dict[str, str] = {}
        self.integers: dict[str, str] = {}
        self.unquantised: set[str] = set()
        self.counts: Counter[str] = Counter()
        self._layers = {
            item.unit: item for item in program.instructions if isinstance(item.op, Convolution | FullyConnected)
        }
        self._comparisons = {item.unit: item for item in program.instructions if isinstance(item.op, CompareScaled)}
        for unit in resolution.units:
            self._add_unit(unit)

    def _has_wide_values(self) -> bool:
        """Whether a value that is written is int16; those inside units (``VALUE#...``) are not."""
        wide = {name for name, qtype in self.program.types.items() if qtype.dtype == "int16"}
        return any(name in self.graph.types or name.rpartition("@")[0] in self.graph.types for name in wide)

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        graph = self.graph
        inputs, outputs = (
            {name: (graph.types[name].dtype, self.form.dimensions[name]) for name in names}
            for names in (graph.inputs, graph.outputs)
        )
        return self.builder.model(graph.name, inputs, outputs, metadata)

    def notes(self) -> tuple[str, ...]:
        counts = self.counts
        notes = [
            f"{counts['quantise']} QuantizeLinear and {counts['dequantise']} DequantizeLinear nodes, "
            f"opset {self.builder.opset}",
            f"{counts['float']} nodes stay in float",
            "every scale is written; fed the same integers, operators differ from the integer program by:",
            *rounding_notes(self.program),
        ]
        if self.graph.symbolic_batch and not self.form.is_open:
            notes.append("the batch is fixed: an operator depends on it in a way that cannot be left open")
        if counts["real weight"]:
            notes.append(f"{counts['real weight']} transposed convolutions have quantised weights written as float")
        if counts["wide constant"]:
            notes.append(f"{counts['wide constant']} constants of more than 8 bits are written as float")
        return tuple(notes)

    # --- units

    def _add_unit(self, unit: Unit) -> None:
        node = self.graph.by_id[unit.last]
        if isinstance(node.op, Input):
            self._add_input(node)
        elif self.resolution.effective[node.id].precision is Precision.FLOAT:
            self.counts["float"] += 1
            names = tuple(self._float_operand(value) for value in node.inputs)
            self._emit(node, names, node.outputs)
            self.real.update((value, value) for value in node.outputs)
            self.unquantised.update(filter(None, node.outputs))
        else:
            self._add_integer(unit)

    def _add_input(self, node: Node) -> None:
        value = node.outputs[0]
        qtype = self.program.types[value]
        self.real[value] = value
        if qtype.is_quantised:
            self.real[value] = self.builder.fresh(f"{value}/dequantised")
            self.quantise_dequantise(value, value, qtype, self.real[value])

    def _float_operand(self, value: str) -> str:
        if value in self.graph.constants:
            return self.builder.initializer(value, self.graph.constants[value].once())
        return self.real[value] if value else ""

    def _add_integer(self, unit: Unit) -> None:
        """The unit's operators in float one after the other, and quantise and dequantise after the last."""
        for node_id in unit.nodes:
            node = self.graph.by_id[node_id]
            is_last = node_id == unit.last
            outputs = tuple(self._raw(value) if is_last and value else value for value in node.outputs)
            self._add_member(unit, node, outputs)
            if is_last:
                self._finish(node, outputs)
            else:
                self.real.update((value, value) for value in outputs)

    def _raw(self, value: str) -> str:
        """Name of the value before it is quantised."""
        return self.builder.fresh(f"{value}/float") if self.program.types[value].is_quantised else value

    def _finish(self, node: Node, raw: tuple[str, ...]) -> None:
        for value, source in zip(node.outputs, raw, strict=True):
            if value:
                self.real[value] = value
                qtype = self.program.types[value]
                if qtype.is_quantised:
                    self.quantise_dequantise(source, value, qtype, value)
                else:
                    self.unquantised.add(value)

    def _add_member(self, unit: Unit, node: Node, outputs: tuple[str, ...]) -> None:
        special = _IN_UNIT.find(node.op)
        if special is not None:
            special(self, node.op, _Member(unit, node, self._activation(unit, node.inputs[0]), outputs))
            return
        names = tuple(self._operand(unit, node, index) for index in range(len(node.inputs)))
        self._emit(node, names, outputs)

    def layer_of(self, unit: Unit) -> tuple[Convolution | FullyConnected, float, float]:
        """The unit's integer layer, with the scales of its input and output."""
        layer = self._layers[unit.anchor]
        assert isinstance(layer.op, Convolution | FullyConnected)
        types = self.program.types
        return layer.op, types[layer.inputs[0]].scale, types[layer.outputs[0]].scale

    def comparison_of(self, unit: Unit) -> Instruction | None:
        """The unit's comparison of quantised numbers; None where it compares others."""
        item = self._comparisons.get(unit.anchor)
        return item if item is not None and self.graph.types[self.graph.by_id[unit.anchor].inputs[0]].is_float else None

    def compared(self, member: _Member, item: Instruction, index: int) -> str:
        """An operand of a comparison in the float32 numbers of its scale: a constant, or an activation, which is
        quantised once more where the other one is coarser."""
        assert isinstance(item.op, CompareScaled)
        stem, name = f"{member.node.outputs[0]}/operand{index}", item.inputs[index]
        grid = max(self.program.types[value].scale for value in item.inputs)
        constant = self.program.constants.get(name)
        if constant is not None:
            return self.builder.constant(stem, constant.array.astype(np.float32) * np.float32(grid))
        real = self._activation(member.unit, member.node.inputs[index])
        if (item.op.a, item.op.b)[index] is None:
            return real
        result = self.builder.fresh(f"{stem}/dequantised")
        self.quantise_dequantise(real, stem, QType(self.program.types[name].dtype, grid), result)
        return result

    # --- operands

    def operand(self, member: _Member, index: int) -> str:
        """An input of a member, as the unit sees it."""
        return self._operand(member.unit, member.node, index)

    def _operand(self, unit: Unit, node: Node, index: int) -> str:
        value = node.inputs[index]
        if not value:
            return ""
        if value not in self.graph.constants:
            return self._activation(unit, value)
        return self._constant(unit, node, index)

    def _constant(self, unit: Unit, node: Node, index: int) -> str:
        """A constant with the program's values: quantised where they are int8, in real numbers where they are wider."""
        value = node.inputs[index]
        name = f"{self.graph.by_id[unit.last].outputs[0]}#operand{index}"
        constant = self.program.constants.get(name)
        is_inverse = isinstance(node.op, Div) and index == 1  # the program holds 1 / divisor
        if constant is None or is_inverse or not self.graph.types[value].is_float:
            return self._float_operand(value)
        stem = f"{node.outputs[0]}/operand{index}"
        if constant.type.dtype == "int8":
            return self.dequantised(stem, constant.array, np.float32(constant.type.scale), None)
        self.counts["wide constant"] += 1
        return self.builder.constant(stem, (constant.array.astype(np.float64) * constant.type.scale).astype(np.float32))

    def _activation(self, unit: Unit, value: str) -> str:
        """A value as the unit sees it: a float one through the seam that the program has for it."""
        last = self.graph.by_id[unit.last].outputs[0]
        seam = f"{value}@{self.resolution.dtypes[last]}"
        inside = any(value in self.graph.by_id[node].outputs for node in unit.nodes)
        if inside or self.program.types[value].dtype != "float32" or seam not in self.program.types:
            return self.real[value]
        if seam not in self.real:
            self.real[seam] = self.builder.fresh(f"{seam}/dequantised")
            self.quantise_dequantise(self._kept_float(value), seam, self.program.types[seam], self.real[seam])
        return self.real[seam]

    def _kept_float(self, value: str) -> str:
        """The value behind a sum of one term, which changes nothing.

        Without it ONNX Runtime takes a float node between dequantise and quantise for one to compute in int8, and
        quantises the float weights of a convolution there (its pass WeightBiasQuantization).
        """
        result = self.builder.fresh(f"{value}/kept_float")
        self.builder.node("Sum", (self.real[value],), (result,), f"{value}/kept_float")
        return result

    # --- nodes

    def _emit(self, node: Node, names: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        constants = {
            index: self.graph.constants[value].array
            for index, value in enumerate(node.inputs)
            if value in self.graph.constants
        }
        types = tuple(self.graph.types[value] if value else None for value in node.inputs)
        op: Op = self.form.operators.get(node.id, node.op)
        emit(op, Emission(self.builder, node.id, names, outputs, types, constants))

    def emission(self, member: _Member, weight: NDArray[np.generic], names: tuple[str, ...]) -> Emission:
        """The emission of a node with weights, with other ones than the graph's."""
        x = self.graph.types[member.node.inputs[0]]
        types = (x, TensorType(tuple(weight.shape), weight.dtype.name), None)
        return Emission(self.builder, member.node.id, names, member.outputs, types, {1: weight})

    def move(self, member: _Member, op: Op, names: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        """Data movement of values that have the shape of the member's input."""
        types = (self.graph.types[member.node.inputs[0]],) * len(names)
        emit(op, Emission(self.builder, member.node.id, names, outputs, types, {}))

    def moved(self, member: _Member, stem: str, op: Op, names: tuple[str, ...], qtype: QType) -> str:
        """The same, into a new value that is quantised and dequantised."""
        stem = self.builder.fresh(f"{member.node.outputs[0]}/{stem}")
        raw, result = self.builder.fresh(f"{stem}/float"), self.builder.fresh(f"{stem}/dequantised")
        self.move(member, op, names, (raw,))
        self.quantise_dequantise(raw, stem, qtype, result)
        return result

    def quantise_dequantise(self, source: str, stem: str, qtype: QType, result: str) -> None:
        scale = self.builder.constant(f"{stem}/scale", np.array(qtype.scale, np.float32))
        zero = self.builder.constant(f"{stem}/zero_point", np.zeros((), qtype.dtype))
        integers = self.builder.fresh(f"{stem}/{qtype.dtype}")
        self.builder.node("QuantizeLinear", (source, scale, zero), (integers,), f"{stem}/quantise")
        self.builder.node("DequantizeLinear", (integers, scale, zero), (result,), f"{stem}/dequantise")
        self.counts["quantise"] += 1
        self.counts["dequantise"] += 1
        if stem in self.program.types:
            self.integers[stem] = integers

    def dequantised(
        self,
        stem: str,
        integers: NDArray[np.generic],
        scale: NDArray[np.float32] | np.float32,
        axis: int | None,
    ) -> str:
        """A constant of integers behind a dequantise node; ``scale`` is one, or one for each index of ``axis``."""
        data = self.builder.constant(f"{stem}/{integers.dtype.name}", integers)
        scales = self.builder.constant(f"{stem}/scale", np.asarray(scale))
        zeros = self.builder.constant(f"{stem}/zero_point", np.zeros(np.shape(scale), integers.dtype))
        result = self.builder.fresh(stem)
        attributes = {} if axis is None else {"axis": axis}
        self.builder.node("DequantizeLinear", (data, scales, zeros), (result,), f"{stem}/dequantise", **attributes)
        self.counts["dequantise"] += 1
        return result


def _has_bias(node: Node) -> bool:
    return len(node.inputs) > 2 and bool(node.inputs[2])


@_IN_UNIT.register(Conv, ConvTranspose)
def _convolution(writer: _Writer, op: Conv | ConvTranspose, member: _Member) -> None:
    layer, in_scale, out_scale = writer.layer_of(member.unit)
    found = parameters_of(layer, in_scale, out_scale)
    if found is None:
        assert isinstance(layer, Convolution)
        _with_real_weight(writer, op, member, real_weight(layer, in_scale, out_scale))
        return
    stem = member.node.outputs[0]
    names = [member.source, writer.dequantised(f"{stem}/weight", found.weight, found.weight_scales, found.axis)]
    if _has_bias(member.node):
        names.append(writer.dequantised(f"{stem}/bias", found.bias, found.bias_scales, 0))
    emit(op, writer.emission(member, found.weight, tuple(names)))


def _with_real_weight(writer: _Writer, op: Op, member: _Member, weight: NDArray[np.float32]) -> None:
    """The node with its quantised weight in real numbers, and the model's own bias."""
    writer.counts["real weight"] += 1
    names = [member.source, writer.builder.constant(f"{member.node.outputs[0]}/weight", weight)]
    if _has_bias(member.node):
        bias = member.node.inputs[2]
        names.append(writer.builder.initializer(bias, writer.graph.constants[bias].once()))
    emit(op, writer.emission(member, weight, tuple(names)))


@_IN_UNIT.register(Linear)
def _fully_connected(writer: _Writer, op: Linear, member: _Member) -> None:
    """A Gemm for a matrix; a MatMul and an Add for more axes.

    That Add's bias has as many axes as the product: runtimes then leave the two as they are (see WIDE_OPSET).
    """
    layer, in_scale, out_scale = writer.layer_of(member.unit)
    found = parameters_of(layer, in_scale, out_scale)
    assert found is not None  # only transposed convolutions have none
    stem, rank = member.node.outputs[0], len(writer.graph.types[member.node.inputs[0]].shape)
    is_matrix = rank == 2
    weight = found.weight if is_matrix else found.weight.T
    name = writer.dequantised(f"{stem}/weight", weight, found.weight_scales, 0 if is_matrix else 1)
    bias = ""
    if _has_bias(member.node):
        integers = found.bias if is_matrix else found.bias.reshape((1,) * (rank - 1) + found.bias.shape)
        bias = writer.dequantised(f"{stem}/bias", integers, found.bias_scales, integers.ndim - 1)
    emission = writer.emission(member, weight, (member.source, name, bias))
    if is_matrix:
        emission.node("Gemm", transB=1)
    else:
        product_with_bias(emission, member.source, name, bias)


@_IN_UNIT.register(Roll)
def _roll(writer: _Writer, op: Roll, member: _Member) -> None:
    """As in float, with quantise and dequantise nodes after each slice and between the axes."""
    qtype = writer.program.types[member.node.outputs[0]]
    shape = writer.graph.types[member.node.inputs[0]].shape
    source = member.source
    for index, (shift, axis) in enumerate(zip(op.shifts, op.axes, strict=True)):
        cut = -shift % shape[axis]
        pieces = [
            writer.moved(member, f"{part}{index}", _along(shape, axis, start, stop), (source,), qtype)
            for part, start, stop in (("front", cut, shape[axis]), ("back", 0, cut))
        ]
        if index < len(op.axes) - 1:
            source = writer.moved(member, f"rolled{index}", Concat(axis), tuple(pieces), qtype)
        else:
            writer.move(member, Concat(axis), tuple(pieces), member.outputs)


def _along(shape: tuple[int, ...], axis: int, start: int, stop: int) -> Slice:
    """A slice of one axis."""
    starts = tuple(start if index == axis else 0 for index in range(len(shape)))
    stops = tuple(stop if index == axis else size for index, size in enumerate(shape))
    return Slice(starts, stops, (1,) * len(shape))


@_IN_UNIT.register(Comparison)
def _comparison(writer: _Writer, op: Comparison, member: _Member) -> None:
    """Of quantised numbers, on the scale that the program compares them in."""
    compared = writer.comparison_of(member.unit)
    names = (
        tuple(writer.operand(member, index) for index in range(2))
        if compared is None
        else tuple(writer.compared(member, compared, index) for index in range(2))
    )
    types = tuple(writer.graph.types[value] for value in member.node.inputs)
    emit(op, Emission(writer.builder, member.node.id, names, member.outputs, types, {}))
