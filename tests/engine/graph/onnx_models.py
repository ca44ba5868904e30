"""Small ONNX models for tests, and the comparison of our float execution with other people's."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

from engine.graph.float_run import run_float
from engine.graph.graph import Graph
from engine.graph.load import load_model
from engine.ops.base import Op
from engine.ops.other import Input

Array = NDArray[Any]
Node = onnx.NodeProto
TOLERANCE = 2e-5


def node(op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Node:
    """A node whose name is that of its first output, under the scope ``/net``."""
    name = attributes.pop("name", f"/net/{outputs[0]}")
    return helper.make_node(op_type, inputs, outputs, name=name, **attributes)


def build(
    nodes: Sequence[Node],
    inputs: Mapping[str, Array | Sequence[int | str | None]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model; an input is given by an example array or by float32 dimensions, some of them symbolic."""
    infos = []
    for name, given in inputs.items():
        if isinstance(given, np.ndarray):
            kind, shape = helper.np_dtype_to_tensor_dtype(given.dtype), list(given.shape)
        else:
            kind, shape = onnx.TensorProto.FLOAT, list(given)
        infos.append(helper.make_tensor_value_info(name, kind, shape))
    graph = helper.make_graph(
        list(nodes),
        "test",
        infos,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))


def loaded(model: onnx.ModelProto, *, bindings: Mapping[str, int] | None = None, batch: int = 1) -> Graph:
    """Our graph of the model, by way of a file, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.onnx"
        onnx.save(model, path)
        return load_model(path, bindings=bindings, batch=batch)


def operators(graph: Graph) -> list[Op]:
    """The graph's operators in order, inputs left out."""
    return [node.op for node in graph.nodes if not isinstance(node.op, Input)]


def type_names(graph: Graph) -> list[str]:
    """What the graph's operators are called, inputs left out."""
    return [op.type_name for op in operators(graph)]


def expected(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The model's outputs by ONNX Runtime; by ONNX's reference where the runtime lacks an operator."""
    names = [info.name for info in model.graph.output]
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            typed(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        results = session.run(names, dict(feeds))
    except (NotImplemented, InvalidGraph, Fail):
        results = ReferenceEvaluator(model).run(names, dict(feeds))
    return dict(zip(names, results, strict=True))


def typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its output types filled in, which the runtime insists on."""
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {info.name: info for info in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)}
    for info in model.graph.output:
        if not info.HasField("type") and known[info.name].HasField("type"):
            info.CopyFrom(known[info.name])
    return model


def assert_same(model: onnx.ModelProto, feeds: Mapping[str, Array], tolerance: float = TOLERANCE) -> Graph:
    """Our outputs equal ONNX Runtime's in shape, element type and value; returns our graph for further questions."""
    graph = loaded(model)
    ours = run_float(graph, feeds)
    for name, theirs in expected(model, feeds).items():
        result = ours[name].numpy()
        assert result.dtype == theirs.dtype, f"{name}: {result.dtype} for {theirs.dtype}"
        assert graph.types[name].shape == theirs.shape == result.shape
        scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0))) if theirs.size else 1.0
        np.testing.assert_allclose(result, theirs, rtol=tolerance, atol=tolerance * scale)
    return graph
