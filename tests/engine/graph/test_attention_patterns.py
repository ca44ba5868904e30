"""What exporters write around attention vanishes, and only where it does nothing."""

from __future__ import annotations

import numpy as np
import pytest

from engine.ops.elementwise import Affine
from tests.engine.graph.onnx_models import Node, assert_same, build, node, operators, type_names

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


@pytest.mark.parametrize("scaled", [("x",), ("k",), ("x", "k")], ids="+".join)
def test_scales_move_behind_the_product(scaled: tuple[str, ...]) -> None:
    k = np.random.default_rng(4).standard_normal((2, 3, 5, 4)).astype(np.float32)
    factors = {"x": np.array(0.5, np.float32), "k": np.array(0.75, np.float32)}
    nodes = [node("Mul", [name, f"by_{name}"], [f"scaled_{name}"]) for name in scaled]
    nodes.append(node("MatMul", [f"scaled_{name}" if name in scaled else name for name in ("x", "k")], ["m"]))
    nodes.append(node("Softmax", ["m"], ["y"], axis=-1))
    model = build(nodes, {"x": X, "k": k}, ["y"], {f"by_{name}": factor for name, factor in factors.items()})
    graph = assert_same(model, {"x": X, "k": k})
    assert type_names(graph) == ["MatMul", "Mul", "Softmax"]
    (scale,) = (op for op in operators(graph) if isinstance(op, Affine))
    assert scale.multiplier == pytest.approx(np.prod([factors[name] for name in scaled]))
    assert [n.id for n in graph.nodes][-3:] == ["/net/m", f"/net/scaled_{scaled[0]}", "/net/y"]


@pytest.mark.parametrize(
    ("factor", "reader"), [(-0.5, []), (0.5, [node("Ceil", ["s"], ["z"])])], ids=["negative", "read elsewhere"]
)
def test_other_factors_stay_before_the_product(factor: float, reader: list[Node]) -> None:
    nodes = [node("Mul", ["x", "by"], ["s"]), node("MatMul", ["s", "k"], ["y"]), *reader]
    k = np.random.default_rng(4).standard_normal((2, 3, 5, 4)).astype(np.float32)
    outputs = ["y", *(name for item in reader for name in item.output)]
    model = build(nodes, {"x": X, "k": k}, outputs, {"by": np.array(factor, np.float32)})
    assert type_names(assert_same(model, {"x": X, "k": k}))[:2] == ["Mul", "MatMul"]


def test_half_precision_keeps_its_scales_where_they_are() -> None:
    x, k = (np.ones(shape, np.float16) for shape in ((2, 4, 5), (2, 5, 4)))
    nodes = [node("Mul", ["x", "by"], ["s"]), node("MatMul", ["s", "k"], ["y"])]
    model = build(nodes, {"x": x, "k": k}, ["y"], {"by": np.array(0.5, np.float16)})
    assert type_names(assert_same(model, {"x": x, "k": k})) == ["Mul", "MatMul"]
