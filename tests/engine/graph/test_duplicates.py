"""Nodes that compute the same from the same are one, outputs and what may be random excepted."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.graph.onnx_models import assert_same, build, loaded, node, type_names

X = np.random.default_rng(1).standard_normal((1, 3, 4, 4)).astype(np.float32)


def test_what_two_branches_compute_is_computed_once() -> None:
    nodes = [
        node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2]), node("MaxPool", ["x"], ["b"], kernel_shape=[2, 2]),
        node("Sigmoid", ["a"], ["s"]), node("Sigmoid", ["b"], ["t"]), node("Neg", ["t"], ["u"]),
        node("Concat", ["s", "u", "t"], ["y"], axis=1),
    ]  # fmt: skip
    graph = assert_same(build(nodes, {"x": X}, ["y"]), {"x": X})
    assert type_names(graph) == ["MaxPool", "Sigmoid", "Neg", "Concat"]
    assert [n.provenance for n in graph.nodes[1:3]] == [("/net/a", "/net/b"), ("/net/s", "/net/t")]


@pytest.mark.parametrize(("second", "kinds"), [(1.0, ["Mul", "Neg"]), (2.0, ["Mul", "Mul", "Neg"])])
def test_small_constants_are_compared_by_what_they_hold(second: float, kinds: list[str]) -> None:
    ones = np.array([1, 2, 3], np.float32).reshape(3, 1, 1)
    nodes = [
        node("Mul", ["x", "p"], ["a"]), node("Mul", ["x", "q"], ["b"]), node("Neg", ["b"], ["c"]),
        node("Add", ["a", "c"], ["d"]), node("Mul", ["d", "b"], ["y"]),
    ]  # fmt: skip
    graph = assert_same(build(nodes, {"x": X}, ["y"], {"p": ones, "q": ones * second}), {"x": X})
    assert type_names(graph) == [*kinds, "Add", "Mul"]


def test_outputs_keep_nodes_of_their_own() -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["z"])]
    graph = assert_same(build(nodes, {"x": X}, ["y", "z"]), {"x": X})
    assert type_names(graph) == ["Relu", "Relu"]


def test_random_nodes_stay() -> None:
    nodes = [
        node("RandomNormalLike", ["x"], ["a"]), node("RandomNormalLike", ["x"], ["b"]), node("Sub", ["a", "b"], ["y"]),
    ]  # fmt: skip
    assert len(loaded(build(nodes, {"x": X}, ["y"])).nodes) == 4
