"""Norms of channels and groups, and batch norms, however a file spells them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import NodeProto

from engine.ops.reduce import BatchNorm, GroupNorm, InstanceNorm
from tests.engine.graph.onnx_models import Array, assert_same, build, node, operators, type_names

RNG = np.random.default_rng(5)


def floats(*shape: int) -> Array:
    return RNG.uniform(0.5, 2, shape).astype(np.float32)


CONSTANTS: dict[str, Array] = {
    "grouped": np.array([0, 2, -1], np.int64),
    "apart": np.array([2, 2, 3, 4, 6], np.int64),
    "back": np.array([2, 6, 4, 6], np.int64),
    "ones": np.ones(2, np.float32),
    "zeros": np.zeros(2, np.float32),
    "w": floats(6, 1, 1),
    "b": floats(1, 6, 1, 1),
    "wc": floats(6),
    "bc": floats(6),
    "eps": np.array(1e-5, np.float32),
    "two": np.array(2, np.float32),
}
APART = node("Reshape", ["x", "grouped"], ["g"])
INSTANCE = node("InstanceNormalization", ["g", "ones", "zeros"], ["n"])
BACK = node("Reshape", ["n", "back"], ["m"])
END = [node("Mul", ["m", "w"], ["s"]), node("Add", ["s", "b"], ["y"])]


def decomposed(source: str, axes: Sequence[int], result: str) -> list[NodeProto]:
    return [
        node("ReduceMean", [source], ["mu"], axes=axes), node("Sub", [source, "mu"], ["d"]),
        node("Pow", ["d", "two"], ["sq"]), node("ReduceMean", ["sq"], ["var"], axes=axes),
        node("Add", ["var", "eps"], ["ve"]), node("Sqrt", ["ve"], ["sd"]), node("Div", ["d", "sd"], [result]),
    ]  # fmt: skip


SPELLINGS: dict[str, tuple[list[NodeProto], type]] = {
    "group norm by instance norm": ([APART, INSTANCE, BACK, *END], GroupNorm),
    "group norm of opset 18, scaled again": (
        [node("GroupNormalization", ["x", "ones", "zeros"], ["m"], num_groups=2), *END], GroupNorm,
    ),
    "group norm by means": ([APART, *decomposed("g", [2], "n"), BACK, *END], GroupNorm),
    "group norm by means of five axes": (
        [node("Reshape", ["x", "apart"], ["g"]), *decomposed("g", [2, 3, 4], "n"), BACK, *END], GroupNorm,
    ),
    "instance norm by means": ([*decomposed("x", [2, 3], "m"), *END], InstanceNorm),
    "instance norm scaled again": ([node("InstanceNormalization", ["x", "wc", "bc"], ["m"]), *END], InstanceNorm),
    "batch norm": ([node("BatchNormalization", ["x", "wc", "bc", "bc", "wc"], ["y"])], BatchNorm),
    "scale and offset": ([node("Mul", ["w", "x"], ["s"]), node("Add", ["b", "s"], ["y"])], BatchNorm),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_becomes_one_node(name: str) -> None:
    nodes, cls = SPELLINGS[name]
    x = floats(2, 6, 4, 6)
    opset = 18 if "opset 18" in name else 17
    graph = assert_same(build(nodes, {"x": x}, ["y"], CONSTANTS, opset=opset), {"x": x})
    assert [type(op) for op in operators(graph)] == [cls]


def test_batch_norm_behind_a_convolution_is_its_weights() -> None:
    nodes = [
        node("Conv", ["x", "k"], ["c"]),
        node("BatchNormalization", ["c", "wc", "bc", "bc", "wc"], ["r"]),
        node("Relu", ["r"], ["y"]),
    ]
    x = floats(2, 6, 4, 6)
    graph = assert_same(build(nodes, {"x": x}, ["y"], CONSTANTS | {"k": floats(6, 6, 1, 1)}), {"x": x})
    assert type_names(graph) == ["Conv", "Relu"]


def test_scale_along_another_axis_is_no_batch_norm() -> None:
    nodes = [node("Mul", ["x", "w"], ["s"]), node("Add", ["s", "b"], ["y"])]
    x = floats(2, 6, 4, 6)
    graph = assert_same(build(nodes, {"x": x}, ["y"], {"w": floats(6), "b": floats(6, 1, 1)}), {"x": x})
    assert type_names(graph) == ["Mul", "Add"]


@pytest.mark.parametrize("steps", [("Mul",), ("Add",), ("Mul", "Add")], ids="+".join)
@pytest.mark.parametrize("layer", ["MatMul", "Conv"])
def test_constants_reach_a_layer_through_a_reshape(layer: str, steps: Sequence[str]) -> None:
    """LeViT's batch norm of tokens stands behind the reshape that lists them."""
    x = floats(2, 6, 4, 6)
    made, shapes = {
        "MatMul": (node("MatMul", ["x", "weight"], ["m"]), ((6, 5), (48, 5), (5,))),
        "Conv": (node("Conv", ["x", "weight"], ["m"]), ((5, 6, 1, 1), (2, 5, 24), (5, 1))),
    }[layer]
    weight, flat, channel = shapes
    nodes, value = [made, node("Reshape", ["m", "flat"], ["r"])], "r"
    for step in steps:
        nodes.append(node(step, [value, step], [f"after_{step}"]))
        value = f"after_{step}"
    nodes.append(node("Sigmoid", [value], ["y"]))
    constants = {"weight": floats(*weight), "flat": np.array(flat), "Mul": floats(*channel), "Add": floats(*channel)}
    graph = assert_same(build(nodes, {"x": x}, ["y"], constants), {"x": x})
    assert type_names(graph) == [layer, "Reshape", "Sigmoid"]
    assert [n.id for n in graph.nodes][1:] == ["/net/m", "/net/r", "/net/y"]


def test_constants_stay_behind_a_reshape_of_the_channels() -> None:
    x = floats(2, 6, 4, 6)
    nodes = [
        node("MatMul", ["x", "weight"], ["m"]), node("Reshape", ["m", "flat"], ["r"]), node("Mul", ["r", "s"], ["y"]),
    ]  # fmt: skip
    constants = {"weight": floats(6, 4), "flat": np.array((2, 6, 8, 2)), "s": floats(2)}
    assert type_names(assert_same(build(nodes, {"x": x}, ["y"], constants), {"x": x})) == ["MatMul", "Reshape", "Mul"]
