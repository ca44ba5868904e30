"""What torch's present exporter writes around attention vanishes, and only where it does nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.graph.onnx_models import assert_same, build, node, type_names

X = np.random.default_rng(3).standard_normal((2, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("order", [("m", "mask"), ("mask", "m")])
@pytest.mark.parametrize(
    ("mask", "left"),
    [
        (np.zeros((1, 1, 4, 5), np.float32), ["Relu", "Sigmoid"]),
        (np.zeros((), np.float32), ["Relu", "Sigmoid"]),
        (np.full((4, 5), 1e-30, np.float32), ["Relu", "Add", "Sigmoid"]),
        (np.zeros((2, 2, 3, 4, 5), np.float32), ["Relu", "Add", "Sigmoid"]),  # it broadcasts
    ],
)
def test_adding_zeros(order: tuple[str, str], mask: np.ndarray, left: list[str]) -> None:
    nodes = [node("Relu", ["x"], ["m"]), node("Add", order, ["a"]), node("Sigmoid", ["a"], ["y"])]
    graph = assert_same(build(nodes, {"x": [2, 3, 4, 5]}, ["y"], {"mask": mask}), {"x": X})
    assert type_names(graph) == left


def transposed(flat: list[int], permutation: list[int], back: list[int]) -> list[str]:
    nodes = [
        node("Reshape", ["x", "flat"], ["f"]),
        node("Transpose", ["f"], ["t"], perm=permutation),
        node("Reshape", ["t", "back"], ["r"]),
        node("Sigmoid", ["r"], ["y"]),
    ]
    shapes = {"flat": np.array(flat, np.int64), "back": np.array(back, np.int64)}
    return type_names(assert_same(build(nodes, {"x": [2, 3, 4, 5]}, ["y"], shapes), {"x": X}))


def test_matrices_transposed_in_a_flat_batch() -> None:
    assert transposed([-1, 4, 5], [0, 2, 1], [2, 3, 5, 4]) == ["Transpose", "Sigmoid"]


@pytest.mark.parametrize(
    ("flat", "permutation", "back"),
    [
        ([-1, 4, 5], [0, 2, 1], [3, 2, 5, 4]),
        ([-1, 4, 5], [0, 2, 1], [2, 3, 4, 5]),
        ([-1, 5, 4], [0, 2, 1], [2, 3, 4, 5]),
        ([-1, 4, 5], [1, 0, 2], [2, 3, 4, 5]),
    ],
)
def test_other_transpositions_stay(flat: list[int], permutation: list[int], back: list[int]) -> None:
    assert transposed(flat, permutation, back) == ["Reshape", "Transpose", "Reshape", "Sigmoid"]
