"""From a session's integer program to an ONNX graph with QuantizeLinear and DequantizeLinear around every quantised value.

Between dequantise and quantise stands the float operator (or the chain of them that one integer kernel computes); the
runtime rounds once, where the program requantises. Scales are the program's, zero points are 0.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray

from engine.errors import ExportError
from engine.export.onnx_nodes import Emission, OnnxBuilder, emit
from engine.export.onnx_nodes.builder import numpy_type, serialised
from engine.export.onnx_nodes.linear import product_with_bias
from engine.export.qdq.batch import BatchForm, batch_form
from engine.export.qdq.parameters import parameters_of, real_weight
from engine.graph.graph import Graph, Node, TensorType
from engine.ops.base import Behaviour, Op
from engine.ops.elementwise import Div
from engine.ops.linear import Conv, ConvTranspose, Linear
from engine.ops.other import Input
from engine.plan.types import Precision, Resolution, Unit
from engine.program.types import Convolution, FullyConnected, Instruction, Program
from engine.qtype import QType

if TYPE_CHECKING:
    from engine.session import Session

OPSET = 21
"""The first one whose quantise and dequantise nodes know int16."""

_MOST_BYTES = 2**31 - 1
"""Largest message that protobuf writes."""


def write_qdq(session: Session, stream: BinaryIO) -> tuple[str, ...]:
    """Write the ONNX model of the session's present plan; returns notes for people.

    Raises:
        CalibrationError: The session is not calibrated.
        ExportError: A node cannot be expressed in opset 21, or the model exceeds 2 GB.
    """
    form = batch_form(session)
    writer = _Writer(session.graph, session.resolve(), session.program(), form)
    model = writer.model({"target": session.target.name, "source_digest": session.graph.digest})
    if model.ByteSize() > _MOST_BYTES:
        raise ExportError(f"the model has {model.ByteSize()} bytes, an ONNX file holds 2 GB", hint="export a package")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the plan cannot be expressed in ONNX opset {OPSET}: {error}") from error
    stream.write(serialised(model))
    return writer.notes()


_QUANTISED: Behaviour[Callable[[_Writer, Any, _Layer], None]] = Behaviour("ONNX nodes with quantised weights")
"""For operators whose weights are integers: ``(writer, op, layer) -> None`` adds the nodes."""


class _Layer:
    """A node with weights inside its unit: what :data:`_QUANTISED` functions see."""

    def __init__(
        self,
        node: Node,
        integer: Convolution | FullyConnected,
        scales: tuple[float, float],
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
    ) -> None:
        self.node = node
        self.integer = integer
        self.in_scale, self.out_scale = scales
        self.inputs = inputs
        self.outputs = outputs
        self.has_bias = len(node.inputs) > 2 and bool(node.inputs[2])


class _Writer:
    """The walk over units. ``real`` maps a graph value to the ONNX value with its float (dequantised) form."""

    def __init__(self, graph: Graph, resolution: Resolution, program: Program, form: BatchForm) -> None:
        self.graph = graph
        self.resolution = resolution
        self.program = program
        self.form = form
        self.builder = OnnxBuilder(OPSET)
        self.builder.reserve([*graph.types])
        self.real: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._layers = {
            item.unit: item for item in program.instructions if isinstance(item.op, Convolution | FullyConnected)
        }
        for unit in resolution.units:
            self._add_unit(unit)

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
            f"{counts['quantise']} QuantizeLinear and {counts['dequantise']} DequantizeLinear nodes, opset {OPSET}",
            f"{counts['float']} nodes stay in float",
            "runtimes round to nearest even in float and saturate at -128 (int16 -32768), the integer program rounds "
            "half up and saturates at -127 (-32767): single integers may differ by one step",
            "softmax, normalisation and functions stand as float operators; the program computes them by tables",
        ]
        if self.graph.symbolic_batch and not self.form.is_open:
            notes.append("the batch is fixed: an operator depends on it in a way that cannot be left open")
        if counts["real weight"]:
            notes.append(f"{counts['real weight']} transposed convolutions have quantised weights written as float")
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
        else:
            self._add_integer(unit)

    def _add_input(self, node: Node) -> None:
        value = node.outputs[0]
        qtype = self.program.types[value]
        self.real[value] = value
        if qtype.is_quantised:
            self.real[value] = self.builder.fresh(f"{value}/dequantised")
            self._quantise_dequantise(value, value, qtype, self.real[value])

    def _float_operand(self, value: str) -> str:
        if value in self.graph.constants:
            return self.builder.initializer(value, self.graph.constants[value].array)
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
                    self._quantise_dequantise(source, value, qtype, value)

    def _add_member(self, unit: Unit, node: Node, outputs: tuple[str, ...]) -> None:
        quantised = _QUANTISED.find(node.op)
        layer = self._layers.get(unit.anchor)
        if quantised is None or layer is None:
            names = tuple(self._operand(unit, node, index) for index in range(len(node.inputs)))
            self._emit(node, names, outputs)
            return
        source = self._activation(unit, node.inputs[0])
        assert isinstance(layer.op, Convolution | FullyConnected)
        scales = self._scales(layer)
        quantised(self, node.op, _Layer(node, layer.op, scales, (source,), outputs))

    def _scales(self, layer: Instruction) -> tuple[float, float]:
        """Scales of a layer's input and output."""
        return self.program.types[layer.inputs[0]].scale, self.program.types[layer.outputs[0]].scale

    # --- operands

    def _operand(self, unit: Unit, node: Node, index: int) -> str:
        value = node.inputs[index]
        if not value:
            return ""
        if value not in self.graph.constants:
            return self._activation(unit, value)
        return self._constant(unit, node, index)

    def _constant(self, unit: Unit, node: Node, index: int) -> str:
        """A constant as the program has it: quantised where it is int8 or int16, otherwise in real numbers."""
        value = node.inputs[index]
        name = f"{self.graph.by_id[unit.last].outputs[0]}#operand{index}"
        constant = self.program.constants.get(name)
        if constant is None or (isinstance(node.op, Div) and index == 1):  # the program holds a divisor's inverse
            return self._float_operand(value)
        stem = f"{node.outputs[0]}/operand{index}"
        if constant.type.is_quantised:
            integers = constant.array.astype(constant.type.dtype)
            return self.dequantised(stem, integers, np.float32(constant.type.scale), None)
        return self.builder.constant(stem, (constant.array * constant.type.scale).astype(np.float32))

    def _activation(self, unit: Unit, value: str) -> str:
        """A value as the unit sees it: a float one through the seam that the program has for it."""
        last = self.graph.by_id[unit.last].outputs[0]
        seam = f"{value}@{self.resolution.dtypes[last]}"
        inside = any(value in self.graph.by_id[node].outputs for node in unit.nodes)
        if inside or self.program.types[value].dtype != "float32" or seam not in self.program.types:
            return self.real[value]
        if seam not in self.real:
            self.real[seam] = self.builder.fresh(f"{seam}/dequantised")
            self._quantise_dequantise(self.real[value], seam, self.program.types[seam], self.real[seam])
        return self.real[seam]

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

    def emission(self, layer: _Layer, weight: NDArray[np.generic], names: tuple[str, ...]) -> Emission:
        """A layer's emission with other weights than the graph's."""
        x = self.graph.types[layer.node.inputs[0]]
        types = (x, TensorType(tuple(weight.shape), weight.dtype.name), None)
        return Emission(self.builder, layer.node.id, names, layer.outputs, types, {1: weight})

    def _quantise_dequantise(self, source: str, stem: str, qtype: QType, result: str) -> None:
        kind = self.graph.types.get(stem.rpartition("@")[0] or stem) or self.graph.types[stem]
        scale = self.builder.constant(f"{stem}/scale", np.array(qtype.scale).astype(numpy_type(kind.dtype)))
        zero = self.builder.constant(f"{stem}/zero_point", np.zeros((), qtype.dtype))
        integers = self.builder.fresh(f"{stem}/{qtype.dtype}")
        self.builder.node("QuantizeLinear", (source, scale, zero), (integers,), f"{stem}/quantise")
        self.builder.node("DequantizeLinear", (integers, scale, zero), (result,), f"{stem}/dequantise")
        self.counts["quantise"] += 1
        self.counts["dequantise"] += 1

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


@_QUANTISED.register(Conv, ConvTranspose)
def _convolution(writer: _Writer, op: Conv | ConvTranspose, layer: _Layer) -> None:
    found = parameters_of(layer.integer, layer.in_scale, layer.out_scale)
    stem = layer.node.outputs[0]
    if found is None:
        assert isinstance(layer.integer, Convolution)
        weight = real_weight(layer.integer, layer.in_scale, layer.out_scale)
        names = [*layer.inputs, writer.builder.constant(f"{stem}/weight", weight)]
        writer.counts["real weight"] += 1
        found_bias = None
    else:
        weight = found.weight
        names = [*layer.inputs, writer.dequantised(f"{stem}/weight", weight, found.weight_scales, found.axis)]
        found_bias = found
    if layer.has_bias and found_bias is not None:
        names.append(writer.dequantised(f"{stem}/bias", found_bias.bias, found_bias.bias_scales, 0))
    elif layer.has_bias:
        names.append(writer.builder.initializer(layer.node.inputs[2], writer.graph.constants[layer.node.inputs[2]].array))
    emit(op, writer.emission(layer, weight, tuple(names)))


@_QUANTISED.register(Linear)
def _fully_connected(writer: _Writer, op: Linear, layer: _Layer) -> None:
    """A Gemm for a matrix, a MatMul and an Add for more axes."""
    found = parameters_of(layer.integer, layer.in_scale, layer.out_scale)
    assert found is not None  # only transposed convolutions have none
    stem = layer.node.outputs[0]
    bias = writer.dequantised(f"{stem}/bias", found.bias, found.bias_scales, 0) if layer.has_bias else ""
    rank = len(writer.graph.types[layer.node.inputs[0]].shape)
    weight = found.weight if rank == 2 else found.weight.T
    name = writer.dequantised(f"{stem}/weight", weight, found.weight_scales, 0 if rank == 2 else 1)
    emission = writer.emission(layer, weight, (*layer.inputs, name, bias))
    if rank == 2:
        emission.node("Gemm", transB=1)
    else:
        product_with_bias(emission, layer.inputs[0], name, bias)
