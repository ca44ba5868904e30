"""Running graphs in float: what is fed, kept, visited and freed."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.errors import DataError, GraphError
from engine.graph.float_run import FloatModel, run_float
from engine.graph.graph import Constant, Node, TensorType
from tests.engine.graph.onnx_models import build, loaded, node

CHAIN = loaded(
    build(
        [
            node("Relu", ["x"], ["a"]),
            node("Mul", ["a", "a"], ["b"]),
            node("MatMul", ["b", "w"], ["c"]),
            node("Abs", ["c"], ["y"]),
        ],
        {"x": [2, 32]},
        ["y"],
        {"w": np.ones((32, 32), np.float32)},
    )
)  # fmt: skip
X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)


def test_outputs_by_default() -> None:
    assert list(run_float(CHAIN, {"x": X})) == ["y"]


def test_arrays_and_tensors_are_fed_alike() -> None:
    assert torch.equal(run_float(CHAIN, {"x": X})["y"], run_float(CHAIN, {"x": torch.from_numpy(X)})["y"])


def test_keep_names_inner_values_inputs_and_constants() -> None:
    (weight,) = CHAIN.constants
    kept = run_float(CHAIN, {"x": X}, keep=["a", "x", weight])
    assert set(kept) == {"a", "x", weight}
    np.testing.assert_array_equal(kept["a"].numpy(), np.maximum(X, 0))
    np.testing.assert_array_equal(kept[weight].numpy(), np.ones((32, 32)))


def test_keep_of_an_unknown_value() -> None:
    with pytest.raises(GraphError, match="no value named nothing"):
        run_float(CHAIN, {"x": X}, keep=["nothing"])


def test_every_node_is_visited_in_order() -> None:
    seen: list[str] = []

    def visit(visited: Node, outputs: tuple[Tensor, ...]) -> None:
        assert tuple(outputs[0].shape) == CHAIN.types[visited.outputs[0]].shape
        seen.append(visited.id)

    run_float(CHAIN, {"x": X}, visit=visit)
    assert seen == [n.id for n in CHAIN.nodes]


def test_values_are_freed_after_their_last_use() -> None:
    alive: dict[str, weakref.ref[Tensor]] = {}

    def visit(visited: Node, outputs: tuple[Tensor, ...]) -> None:
        if visited.id == "/net/y":
            assert alive["/net/a"]() is None
            assert alive["/net/b"]() is None
        alive[visited.id] = weakref.ref(outputs[0])

    run_float(CHAIN, {"x": X}, visit=visit)


def test_weights_are_made_once() -> None:
    model = FloatModel(CHAIN)
    (name,) = CHAIN.constants
    model.run({"x": X})
    assert model.weight(name) is model.weight(name)


def test_values_that_are_wanted_once_are_not_kept() -> None:
    stored = Constant(TensorType((2,), "float32"), lambda: np.ones(2, np.float32))
    assert stored.once() is not stored.once()
    kept = stored.array
    assert stored.once() is kept is stored.array


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": X[:, :5]}, r"input 'x' is float32\[2, 5\], the model takes float32\[2, 32\]"),
        ({"x": X.astype(np.float64)}, r"input 'x' is float64\[2, 32\]"),
    ],
)
def test_wrong_inputs(feeds: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run_float(CHAIN, feeds)


def test_a_result_does_not_track_gradients() -> None:
    assert not run_float(CHAIN, {"x": torch.from_numpy(X).requires_grad_()})["y"].requires_grad
