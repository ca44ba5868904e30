"""Local functions in domains of their own, inside one another and inside branches, with attributes handed on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from engine.graph.float_run import FloatModel
from engine.graph.load import load_model

STANDARD = helper.make_opsetid("", 17)
DOMAINS = [STANDARD, helper.make_opsetid("acme", 1), helper.make_opsetid("acme.inner", 2)]


def _calls(op_type: str, inputs: list[str], output: str, attribute: str, outer: str, domain: str = "") -> NodeProto:
    """A node whose attribute is that of the function around it."""
    node = helper.make_node(op_type, inputs, [output], domain=domain)
    node.attribute.append(AttributeProto(name=attribute, ref_attr_name=outer, type=AttributeProto.FLOAT))
    return node


def _nested() -> ModelProto:
    inner = helper.make_function(
        "acme.inner", "Act", ["a"], ["b"], [_calls("LeakyRelu", ["a"], "b", "alpha", "slope")], [STANDARD], ["slope"]
    )
    t, e = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "te")
    call = helper.make_node("Act", ["q"], ["t"], domain="acme.inner", slope=0.5)
    then_branch = helper.make_graph([call], "then", [], [t])
    else_branch = helper.make_graph([helper.make_node("Neg", ["q"], ["e"])], "else", [], [e])
    body = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Sub", ["x", "r"], ["p"]),
        _calls("Act", ["p"], "q", "slope", "k", "acme.inner"),
        helper.make_node("If", ["flag"], ["y"], then_branch=then_branch, else_branch=else_branch),
    ]
    outer = helper.make_function("acme", "Block", ["x", "flag"], ["y"], body, DOMAINS, ["k"])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["flag"]),
        helper.make_node("Block", ["x", "flag"], ["m"], domain="acme", k=0.3),
        helper.make_node("Block", ["m", "flag"], ["y"], domain="acme", k=0.7),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy")
    graph = helper.make_graph(nodes, "nested", [x], [y], [helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])])
    return helper.make_model(graph, opset_imports=DOMAINS, functions=[outer, inner], ir_version=10)


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["then", "else"])
def test_functions_inside_functions_and_branches(sign: float, tmp_path: Path) -> None:
    onnx.save(_nested(), tmp_path / "m.onnx")
    graph = load_model(tmp_path / "m.onnx")
    x = (sign * np.array([[3, -1, 2, -2, 1, 0, 0.5, -0.25]])).astype(np.float32)
    expected = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": x})[0]
    found = FloatModel(graph).run({"x": x}, keep=graph.outputs)["y"]
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    kinds = [node.op.type_name for node in graph.nodes]
    assert kinds.count("LeakyRelu") == 2 and kinds.count("If") == 2 and "Block" not in kinds
