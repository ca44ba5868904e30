"""Opening an ONNX file: the graph parsed and checked, the weights left in the file."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from engine.errors import GraphError, ModelFileError
from engine.graph.sparse import make_dense
from engine.graph.weights import WeightFiles
from engine.graph.wire import WireError, without_tensors

_EXPORT_AGAIN = "copy or export the file again"


@dataclass(frozen=True)
class OnnxModel:
    """A parsed model: functions inlined, nodes sorted, and the files that hold its weights."""

    name: str
    model: ir.Model
    weights: WeightFiles
    path: Path | None


def open_onnx(path: Path) -> OnnxModel:
    """Parse an ONNX file without reading its weights.

    Raises:
        ModelFileError: The file cannot be read, is not an ONNX file, or is truncated.
        GraphError: The graph is cyclic, or reads or makes values twice or not at all.
    """
    proto = _parsed(path)
    _check_texts(proto.graph, path)
    check_names(proto.graph, path)
    make_dense(proto.graph, path)
    try:
        model = ir.from_proto(proto)
    except Exception as error:  # the deserialiser raises whatever its malformed input provokes
        raise ModelFileError(f"is not a valid ONNX model: {error}", path=path, hint=_EXPORT_AGAIN) from error
    return prepared(model, path.stem, WeightFiles(path), path)


def prepared(model: ir.Model, name: str, weights: WeightFiles, path: Path | None) -> OnnxModel:
    """The model with local functions inlined and nodes in topological order.

    Raises:
        GraphError: The graph has a cycle.
    """
    if model.functions:
        try:
            model = InlinePass()(model).model
        except Exception as error:  # raised for recursive functions, in several ways
            raise GraphError(f"local functions cannot be inlined: {error}", path=path) from error
    try:
        model.graph.sort()
    except ValueError as error:
        raise GraphError("the graph has a cycle", path=path, hint="export the model again") from error
    return OnnxModel(name, model, weights, path)


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        with path.open("rb") as stream:
            if not path.stat().st_size:
                raise ModelFileError("is empty", path=path, hint=_EXPORT_AGAIN)
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
                proto = onnx.ModelProto.FromString(without_tensors(data))
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", path=path) from error
    except (WireError, google.protobuf.message.DecodeError) as error:
        raise ModelFileError(f"is not an ONNX file or is truncated ({error})", path=path, hint=_EXPORT_AGAIN) from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelFileError("is not an ONNX file: it has no graph", path=path, hint="choose an .onnx or .pt2 file")
    return proto


def _check_texts(graph: onnx.GraphProto, path: Path) -> None:
    """Names must be valid UTF-8; protobuf hands out those that are not as bytes, which nothing else expects."""
    texts: list[object] = [info.name for info in (*graph.input, *graph.output, *graph.initializer)]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
        texts += [attribute.name for attribute in node.attribute]
    for text in texts:
        if not isinstance(text, str):
            raise ModelFileError(f"is damaged: name {text!r} is not valid text", path=path, hint=_EXPORT_AGAIN)


def check_names(graph: onnx.GraphProto, path: Path | None) -> None:
    """Each value is made once, and each value read in the main graph is made somewhere in it.

    Raises:
        GraphError: A value is made twice, or read and never made.
    """
    made = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    made |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        for value in node.output:
            if value and value in made:
                raise GraphError(f"value '{value}' is made twice", path=path, node=_label(node), hint=_EXPORT_AGAIN)
            made.add(value)
    for node in graph.node:
        for value in node.input:
            if value and value not in made:
                raise GraphError(
                    f"input '{value}' is made by no node", path=path, node=_label(node), hint=_EXPORT_AGAIN
                )
    for info in graph.output:
        if info.name not in made:
            raise GraphError(f"graph output '{info.name}' is made by no node", path=path, hint=_EXPORT_AGAIN)


def _label(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type} making {node.output[0] if node.output else 'nothing'}"
