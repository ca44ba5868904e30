"""If, Loop and Scan: folded where the choice is known, one CPU node otherwise, whatever their bodies read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from engine.graph.float_run import run_float
from tests.engine.graph.onnx_models import Array, assert_same, build, expected, loaded, node, type_names

FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
_GENERATOR = np.random.default_rng(3)


def floats(*shape: int) -> Array:
    return _GENERATOR.normal(size=shape).astype(np.float32)


def branch(nodes: Sequence[onnx.NodeProto], *outputs: str, shape: Sequence[int | str] | None = None) -> onnx.GraphProto:
    infos = [helper.make_tensor_value_info(name, FLOAT, shape) for name in outputs]
    return helper.make_graph(list(nodes), "branch", [], infos)


def body(
    nodes: Sequence[onnx.NodeProto], states: Sequence[str], outputs: Sequence[str], shape: Sequence[int | str]
) -> onnx.GraphProto:
    inputs = [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("go", BOOL, [])]
    inputs += [helper.make_tensor_value_info(name, FLOAT, shape) for name in states]
    made = [helper.make_tensor_value_info("goes", BOOL, [])]
    made += [helper.make_tensor_value_info(name, FLOAT, shape) for name in outputs]
    return helper.make_graph([node("Identity", ["go"], ["goes"]), *nodes], "body", inputs, made)


@pytest.mark.parametrize(("rank", "kept"), [(2, "Relu"), (3, "Abs")])
def test_a_branch_whose_condition_is_known_is_inlined(rank: int, kept: str) -> None:
    x = floats(*range(2, 2 + rank))
    nodes = [
        node("Shape", ["x"], ["s"]), node("Size", ["s"], ["n"]), node("Equal", ["n", "two"], ["c"]),
        node("If", ["c"], ["y"], then_branch=branch([node("Relu", ["x"], ["t"])], "t"),
             else_branch=branch([node("Abs", ["x"], ["e"])], "e")),
    ]  # fmt: skip
    graph = loaded(build(nodes, {"x": x}, ["y"], {"two": np.array(2)}))
    assert type_names(graph) == [kept]
    np.testing.assert_allclose(run_float(graph, {"x": x})["y"], np.maximum(x, 0) if kept == "Relu" else np.abs(x))


def test_inlined_branches_may_use_the_same_names() -> None:
    x = floats(2, 3)
    one = branch([node("Relu", ["x"], ["t"]), node("Neg", ["t"], ["r"])], "r")
    two = branch([node("Exp", ["a"], ["t"]), node("Abs", ["t"], ["r"])], "r")
    nodes = [
        node("If", ["yes"], ["a"], then_branch=one, else_branch=one),
        node("If", ["no"], ["b"], then_branch=one, else_branch=two),
        node("Add", ["a", "b"], ["y"]),
    ]
    graph = loaded(build(nodes, {"x": x}, ["y"], {"yes": np.array(True), "no": np.array(False)}))
    assert type_names(graph) == ["Relu", "Neg", "Exp", "Abs", "Add"]
    a = -np.maximum(x, 0)
    np.testing.assert_allclose(run_float(graph, {"x": x})["y"], a + np.exp(a), rtol=1e-5)


@pytest.mark.parametrize("choice", [True, False])
def test_a_branch_reads_activations_from_outside(choice: bool) -> None:
    x, c = floats(2, 3), np.array(choice)
    nodes = [
        node("Exp", ["x"], ["h"]),
        node("If", ["c"], ["u"], then_branch=branch([node("Mul", ["h", "w"], ["t"])], "t"),
             else_branch=branch([node("Sub", ["x", "h"], ["e"])], "e")),
        node("Relu", ["u"], ["y"]),
    ]  # fmt: skip
    model = build(nodes, {"x": x, "c": c}, ["y"], {"w": floats(3)})
    graph = assert_same(model, {"x": x, "c": c})
    assert type_names(graph) == ["Exp", "If", "Relu"]
    (choosing,) = [item for item in graph.nodes if item.op.type_name == "If"]
    assert choosing.inputs == ("c", "h", "w", "x")


def test_a_branch_that_only_hands_on_a_value_from_outside() -> None:
    x, c = floats(2, 3), np.array(False)
    choice = node(
        "If", ["c"], ["y"], then_branch=branch([node("Relu", ["x"], ["t"])], "t"), else_branch=branch([], "x")
    )
    graph = loaded(build([choice], {"x": x, "c": c}, ["y"]))
    np.testing.assert_array_equal(run_float(graph, {"x": x, "c": c})["y"], x)


@pytest.mark.parametrize(("c", "d"), [(True, True), (True, False), (False, True)])
def test_nested_branches_read_from_every_level(c: bool, d: bool) -> None:
    x = floats(2, 3)
    inner = node(
        "If", ["d"], ["n"], then_branch=branch([node("Add", ["m", "x"], ["p"])], "p"),
        else_branch=branch([node("Mul", ["m", "w"], ["q"])], "q"),
    )  # fmt: skip
    then = branch([node("Neg", ["x"], ["m"]), inner], "n")
    choice = node("If", ["c"], ["y"], then_branch=then, else_branch=branch([node("Abs", ["x"], ["e"])], "e"))
    feeds = {"x": x, "c": np.array(c), "d": np.array(d)}
    graph = loaded(build([choice], feeds, ["y"], {"w": np.float32(3) * np.ones(3, np.float32)}))
    wanted = np.abs(x) if not c else -x + x if d else -x * 3
    np.testing.assert_allclose(run_float(graph, feeds)["y"], wanted, atol=1e-6)


def test_a_loop_keeps_the_sizes_of_its_states_and_stacks_what_it_scans() -> None:
    x = floats(2, 3)
    loop = node(
        "Loop", ["count", "", "x"], ["last", "all"],
        body=body([node("Mul", ["s", "h"], ["n"]), node("Neg", ["n"], ["m"])], ["s"], ["n", "m"], ["a", "b"]),
    )  # fmt: skip
    nodes = [node("Abs", ["x"], ["h"]), loop, node("Relu", ["last"], ["y"]), node("Exp", ["all"], ["z"])]
    model = build(nodes, {"x": x}, ["y", "z"], {"count": np.array(4)})
    graph = assert_same(model, {"x": x})
    assert type_names(graph) == ["Abs", "Loop", "Relu", "Exp"]
    assert graph.types["z"].shape == (4, 2, 3)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_loop_whose_count_is_data(count: int) -> None:
    """What comes behind it has as many rows as the loop had steps."""
    x = floats(3)
    loop = node(
        "Loop",
        ["count", "", "x"],
        ["last", "all"],
        body=body([node("Add", ["s", "s"], ["n"]), node("Neg", ["n"], ["m"])], ["s"], ["n", "m"], [3]),
    )
    nodes = [loop, node("ReduceSum", ["all", "axes"], ["z"], keepdims=0), node("Exp", ["last"], ["y"])]
    feeds = {"x": x, "count": np.array(count)}
    model = build(nodes, feeds, ["y", "z"], {"axes": np.array([0])})
    graph = loaded(model)
    ours = run_float(graph, feeds)
    for name, theirs in expected(model, feeds).items():
        np.testing.assert_allclose(ours[name], theirs, rtol=1e-5)
    assert "sizes that depend on data" in " ".join(graph.notes)


def test_a_loop_with_a_condition_of_its_own() -> None:
    x = np.array([1.0], np.float32)
    info = helper.make_tensor_value_info
    doubling = helper.make_graph(
        [
            node("Add", ["s", "s"], ["n"]),
            node("ReduceSum", ["n"], ["r"], keepdims=0),
            node("Less", ["r", "limit"], ["goes"]),
        ],
        "body",
        [info("i", INT64, []), info("go", BOOL, []), info("s", FLOAT, [1])],
        [info("goes", BOOL, []), info("n", FLOAT, [1])],
    )
    model = build(
        [node("Loop", ["", "yes", "x"], ["y"], body=doubling)],
        {"x": x},
        ["y"],
        {"yes": np.array(True), "limit": np.array(100, np.float32)},
    )
    graph = assert_same(model, {"x": x})
    assert run_float(graph, {"x": x})["y"].item() == 128.0


def scanning(**attributes: Any) -> onnx.NodeProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node("Add", ["s", "e"], ["n"]), node("Mul", ["n", "w"], ["o"])],
        "body",
        [info("s", FLOAT, [2]), info("e", FLOAT, [2])],
        [info("n", FLOAT, [2]), info("o", FLOAT, [2])],
    )
    return node("Scan", ["start", "x"], ["last", "all"], body=graph, num_scan_inputs=1, **attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"scan_input_directions": [1]},
        {"scan_output_directions": [1]},
        {"scan_output_axes": [1]},
        {"scan_input_axes": [1], "scan_input_directions": [1], "scan_output_axes": [-1]},
    ],
    ids=str,
)
def test_scan_along_any_axis_in_any_direction(attributes: dict[str, Any]) -> None:
    x = floats(2, 5) if "scan_input_axes" in attributes else floats(5, 2)
    nodes = [node("Exp", ["v"], ["w"]), scanning(**attributes)]
    feeds = {"start": floats(2), "x": x, "v": floats(2)}
    graph = assert_same(build(nodes, feeds, ["last", "all"]), feeds)
    assert type_names(graph) == ["Exp", "Scan"]


def test_a_loop_over_a_recurrent_cell_reads_weights_and_activations() -> None:
    """The usual form of a decoder: states by position, weights from outside, a slice for each step."""
    x, w = floats(4, 3), floats(3, 3)
    steps = [
        node("Gather", ["h", "i"], ["row"], axis=0), node("MatMul", ["row", "w"], ["p"]),
        node("Add", ["p", "s"], ["q"]), node("Tanh", ["q"], ["n"]), node("Identity", ["n"], ["m"]),
    ]  # fmt: skip
    nodes = [
        node("Relu", ["x"], ["h"]), node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "zero"], ["count"], axis=0),
        node("Loop", ["count", "", "start"], ["last", "y"], body=body(steps, ["s"], ["n", "m"], [3])),
    ]  # fmt: skip
    model = build(nodes, {"x": x}, ["y"], {"w": w, "start": np.zeros(3, np.float32), "zero": np.array(0)})
    graph = assert_same(model, {"x": x})
    assert graph.types["y"].shape == (4, 3)
