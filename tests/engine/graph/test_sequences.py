"""Sequences, optionals and text between nodes: resolved where the elements are known, else one CPU node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from engine.graph.float_run import run_float
from engine.graph.graph import Graph
from tests.engine.graph.onnx_models import Array, assert_same, build, expected, loaded, node, type_names

RESOLVED = {
    "SequenceConstruct", "SequenceEmpty", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength",
    "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalHasElement", "OptionalGetElement",
}  # fmt: skip
"""Operators whose converters are tested here, in chains: alone they have nothing to become."""

FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
_GENERATOR = np.random.default_rng(4)


def floats(*shape: int) -> Array:
    return _GENERATOR.normal(size=shape).astype(np.float32)


def number(value: int) -> Array:
    return np.array(value, np.int64)


def checked(
    nodes: Sequence[onnx.NodeProto],
    feeds: Mapping[str, Array],
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
) -> Graph:
    """The output, named y, equals that of ONNX Runtime; returns our graph. Sizes that depend on data may differ."""
    model = build(nodes, feeds, ["y"], constants, opset=opset)
    graph = loaded(model)
    wanted = expected(model, feeds)["y"]
    found = run_float(graph, feeds)["y"].numpy()
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    return graph


@pytest.mark.parametrize("split", [None, number(2), np.array([1, 3, 1])], ids=str)
@pytest.mark.parametrize("place", [0, 1, -1])
def test_pieces_at_known_places(split: Array | None, place: int) -> None:
    x = floats(2, 5)
    inputs = ["x"] if split is None else ["x", "split"]
    nodes = [
        node("SplitToSequence", inputs, ["s"], axis=1, keepdims=0), node("SequenceAt", ["s", "place"], ["a"]),
        node("Relu", ["a"], ["y"]),
    ]  # fmt: skip
    constants = {"place": number(place)} | ({} if split is None else {"split": split})
    model = build(nodes, {"x": x}, ["y"], constants)
    graph = assert_same(model, {"x": x})
    assert set(type_names(graph)) <= {"Split", "Squeeze", "Relu"}


@pytest.mark.parametrize("new_axis", [0, 1])
def test_stacking_and_joining(new_axis: int) -> None:
    x = floats(2, 3)
    nodes = [
        node("Relu", ["x"], ["a"]), node("Neg", ["x"], ["b"]), node("SequenceConstruct", ["a", "b", "x"], ["s"]),
        node("ConcatFromSequence", ["s"], ["y"], axis=-1, new_axis=new_axis),
    ]  # fmt: skip
    graph = assert_same(build(nodes, {"x": x}, ["y"]), {"x": x})
    assert set(type_names(graph)) == {"Relu", "Neg", "Concat"} | ({"Unsqueeze"} if new_axis else set())


def test_inserting_and_erasing_at_known_places() -> None:
    x = floats(2, 3)
    nodes = [
        node("SequenceEmpty", [], ["s0"]), node("SequenceInsert", ["s0", "x"], ["s1"]), node("Neg", ["x"], ["a"]),
        node("SequenceInsert", ["s1", "a", "zero"], ["s2"]), node("Exp", ["x"], ["b"]),
        node("SequenceInsert", ["s2", "b"], ["s3"]), node("SequenceErase", ["s3", "one"], ["s4"]),
        node("SequenceLength", ["s4"], ["n"]), node("ConcatFromSequence", ["s4"], ["c"], axis=0),
        node("Cast", ["n"], ["f"], to=1), node("Mul", ["c", "f"], ["y"]),
    ]  # fmt: skip
    graph = checked(nodes, {"x": x}, {"zero": number(0), "one": number(1)})
    assert type_names(graph) == ["Neg", "Exp", "Concat", "Mul"]


def test_an_optional_that_is_known() -> None:
    x = floats(2, 3)
    nodes = [
        node("Optional", ["x"], ["o"]), node("OptionalHasElement", ["o"], ["has"]),
        node("OptionalGetElement", ["o"], ["e"]), node("Where", ["has", "e", "zero"], ["y"]),
    ]  # fmt: skip
    assert "Optional" not in type_names(checked(nodes, {"x": x}, {"zero": np.float32(0)}, opset=18))


def test_a_place_that_is_data_makes_a_block() -> None:
    x, at = floats(3, 4), number(2)
    nodes = [
        node("Relu", ["x"], ["h"]), node("SplitToSequence", ["h"], ["s"], axis=0),
        node("SequenceAt", ["s", "at"], ["a"]), node("Neg", ["a"], ["y"]),
    ]  # fmt: skip
    graph = checked(nodes, {"x": x, "at": at})
    assert type_names(graph)[:2] == ["Relu", "SplitToSequence+SequenceAt"]


def test_what_lies_between_the_nodes_of_a_block_is_in_it() -> None:
    """The Exp reads from the sequence and goes back into it; the Abs hangs aside and stays outside."""
    x, at = floats(3, 4), number(1)
    nodes = [
        node("SplitToSequence", ["x"], ["s"], axis=0), node("SequenceAt", ["s", "at"], ["a"]),
        node("Exp", ["a"], ["b"]), node("Abs", ["x"], ["c"]), node("SequenceInsert", ["s", "b"], ["t"]),
        node("ConcatFromSequence", ["t"], ["d"], axis=0), node("Add", ["d", "first"], ["e"]),
        node("ReduceSum", ["c"], ["f"]), node("Mul", ["e", "f"], ["y"]),
    ]  # fmt: skip
    graph = checked(nodes, {"x": x, "at": at}, {"first": floats(4)})
    names = type_names(graph)
    assert "Exp" not in names and "Abs" in names
    assert sum("Sequence" in name for name in names) == 1


def test_two_blocks_stay_two() -> None:
    x, at = floats(3, 4), number(1)
    nodes = [
        node("SplitToSequence", ["x"], ["s"], axis=0), node("SequenceAt", ["s", "at"], ["a"]),
        node("Reshape", ["a", "shape"], ["b"]), node("Exp", ["b"], ["c"]),
        node("SplitToSequence", ["c"], ["t"], axis=1), node("SequenceAt", ["t", "at"], ["y"]),
    ]  # fmt: skip
    names = type_names(checked(nodes, {"x": x, "at": at}, {"shape": np.array([2, 2])}))
    assert names.count("SplitToSequence+SequenceAt") == 2


def test_a_loop_that_fills_a_sequence() -> None:
    x = floats(4, 3)
    info, sequence = helper.make_tensor_value_info, helper.make_tensor_sequence_value_info
    body = helper.make_graph(
        [
            node("Gather", ["h", "i"], ["row"], axis=0), node("SequenceInsert", ["s", "row"], ["n"]),
            node("Identity", ["go"], ["goes"]),
        ],
        "body",
        [info("i", INT64, []), info("go", BOOL, []), sequence("s", FLOAT, None)],
        [info("goes", BOOL, []), sequence("n", FLOAT, None)],
    )  # fmt: skip
    nodes = [
        node("Relu", ["x"], ["h"]), node("SequenceEmpty", [], ["e"]),
        node("Loop", ["count", "", "e"], ["s"], body=body),
        node("ConcatFromSequence", ["s"], ["y"], axis=0, new_axis=1),
    ]  # fmt: skip
    graph = checked(nodes, {"x": x}, {"count": number(4)})
    assert type_names(graph) == ["Relu", "SequenceEmpty+Loop+ConcatFromSequence"]


def test_sequence_map_is_a_block() -> None:
    x = floats(3, 4)
    body = helper.make_graph(
        [node("Mul", ["e", "w"], ["f"])],
        "body",
        [helper.make_tensor_value_info("e", FLOAT, None)],
        [helper.make_tensor_value_info("f", FLOAT, None)],
    )
    nodes = [
        node("Exp", ["x"], ["w0"]), node("ReduceMax", ["w0"], ["w"]),
        node("SplitToSequence", ["x"], ["s"], axis=0), node("SequenceMap", ["s"], ["t"], body=body),
        node("ConcatFromSequence", ["t"], ["y"], axis=0),
    ]  # fmt: skip
    graph = checked(nodes, {"x": x}, opset=17)
    assert type_names(graph) == ["Exp", "ReduceMax", "SplitToSequence+SequenceMap+ConcatFromSequence"]


def test_text_between_nodes_is_a_block() -> None:
    x = np.array([3, 14, 15], np.int64)
    nodes = [
        node("Cast", ["x"], ["t"], to=onnx.TensorProto.STRING), node("StringConcat", ["t", "zero"], ["u"]),
        node("Cast", ["u"], ["v"], to=onnx.TensorProto.INT64), node("Cast", ["v"], ["y"], to=1),
    ]  # fmt: skip
    model = build(nodes, {"x": x}, ["y"], opset=20)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(["0"], object), "zero"))
    graph = loaded(model)
    assert type_names(graph) == ["Cast+StringConcat", "Cast"]
    np.testing.assert_array_equal(run_float(graph, {"x": x})["y"], [30, 140, 150])
