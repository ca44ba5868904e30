"""What cannot run opens all the same, is marked, and says what to do when it is asked to run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from engine.errors import GraphError
from engine.graph.float_run import run_float
from engine.graph.graph import Graph
from engine.ops.other import Unsupported
from tests.engine.graph.onnx_models import build, loaded, node, type_names

X = np.ones((1, 4), np.float32)


def marked(graph: Graph) -> dict[str, str]:
    """Reasons by operator name."""
    return {item.op.op_type: item.op.reason for item in graph.nodes if isinstance(item.op, Unsupported)}


def unknown_operator() -> onnx.ModelProto:
    return build([node("Relu", ["x"], ["a"]), node("Frobnicate", ["a"], ["y"])], {"x": X}, ["y"])


def too_new() -> onnx.ModelProto:
    return build([node("GridSample", ["x", "x"], ["y"])], {"x": X}, ["y"], opset=13)


def unknown_domain() -> onnx.ModelProto:
    return build([node("Fancy", ["x"], ["y"], domain="acme")], {"x": X}, ["y"], domains=["acme"])


def domain_not_imported() -> onnx.ModelProto:
    return build([node("Fancy", ["x"], ["y"], domain="acme")], {"x": X}, ["y"])


def text_input() -> onnx.ModelProto:
    model = build([node("StringNormalizer", ["t"], ["y"])], {"x": X}, ["y"])
    model.graph.input.append(helper.make_tensor_value_info("t", onnx.TensorProto.STRING, [3]))
    return model


def text_output() -> onnx.ModelProto:
    return build([node("Cast", ["x"], ["y"], to=onnx.TensorProto.STRING)], {"x": X}, ["y"])


def text_constant_output() -> onnx.ModelProto:
    model = build([node("Identity", ["s"], ["y"])], {"x": X}, ["y"])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(["text"], object), "s"))
    return model


def sequence_input() -> onnx.ModelProto:
    model = build([node("ConcatFromSequence", ["s"], ["y"], axis=0)], {"x": X}, ["y"])
    model.graph.input.append(helper.make_tensor_sequence_value_info("s", onnx.TensorProto.FLOAT, [2]))
    return model


def sequence_output() -> onnx.ModelProto:
    return build([node("SplitToSequence", ["x"], ["y"], axis=1)], {"x": X}, ["y"])


def sparse_input() -> onnx.ModelProto:
    model = build([node("Identity", ["s"], ["y"])], {"x": X}, ["y"])
    model.graph.input.append(
        onnx.ValueInfoProto(name="s", type=helper.make_sparse_tensor_type_proto(onnx.TensorProto.FLOAT, [2, 2]))
    )
    return model


CASES: dict[Callable[[], onnx.ModelProto], tuple[str, str]] = {
    unknown_operator: ("Frobnicate", "ONNX opset 17 has no operator Frobnicate"),
    too_new: ("GridSample", "ONNX opset 13 has no operator GridSample"),
    unknown_domain: ("Fancy", "domain 'acme' has no operator Fancy"),
    domain_not_imported: ("Fancy", "does not import the domain 'acme'"),
    text_input: ("StringNormalizer", "model input 't', which is text"),
    text_output: ("Cast", "model output 'y', which is text"),
    text_constant_output: ("Identity", "model output 'y', which is text"),
    sequence_input: ("ConcatFromSequence", "model input 's', which is sequence of float32"),
    sequence_output: ("SplitToSequence", "model output 'y', which is sequence of float32"),
    sparse_input: ("Identity", "model input 's', which is sparse tensor"),
}


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_opens_and_is_marked(make: Callable[[], onnx.ModelProto]) -> None:
    op_type, reason = CASES[make]
    graph = loaded(make())
    assert reason in marked(graph)[op_type]
    assert "cannot run" in graph.notes[1]
    with pytest.raises(GraphError, match=r"node '.*': \w+ cannot run: .*; (export|cut)") as caught:
        run_float(graph, {"x": X})
    assert op_type in str(caught.value) and "\n" not in str(caught.value)


def test_sparse_constants_are_made_dense() -> None:
    values = helper.make_tensor("s", onnx.TensorProto.FLOAT, [2], [3.0, 5.0])
    indices = helper.make_tensor("s_indices", onnx.TensorProto.INT64, [2], [1, 6])
    model = build([node("Add", ["x", "s"], ["y"])], {"x": np.ones((2, 4), np.float32)}, ["y"])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 4]))
    wanted = np.ones((2, 4), np.float32)
    wanted[0, 1], wanted[1, 2] = 4, 6
    np.testing.assert_array_equal(run_float(loaded(model), {"x": np.ones((2, 4), np.float32)})["y"], wanted)


def test_what_follows_an_unknown_operator_is_typed_where_the_file_says() -> None:
    nodes = [node("Fancy", ["x"], ["a"], domain="acme"), node("Relu", ["a"], ["y"])]
    model = build(nodes, {"x": X}, ["y"], domains=["acme"])
    model.graph.value_info.append(helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [1, 7]))
    graph = loaded(model)
    assert type_names(graph) == ["Fancy", "Relu"]
    assert graph.types["y"].shape == (1, 7)
    assert list(marked(graph)) == ["Fancy"]


def test_what_follows_an_unknown_operator_waits_for_it_where_the_file_does_not_say() -> None:
    nodes = [node("Fancy", ["x"], ["a"], domain="acme"), node("Relu", ["a"], ["y"])]
    graph = loaded(build(nodes, {"x": X}, ["y"], domains=["acme"]))
    assert "input 'a', made by Fancy" in marked(graph)["Relu"]
    with pytest.raises(GraphError, match="node '/net/a': Fancy cannot run"):
        run_float(graph, {"x": X})
