"""Operands broadcast by hand, constants behind reshapes, and constants added twice become plain arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.graph.onnx_models import Array, assert_same, build, loaded, node, type_names

RNG = np.random.default_rng(6)


def floats(*shape: int) -> Array:
    return RNG.uniform(0.5, 2, shape).astype(np.float32)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("first", [True, False])
def test_what_is_broadcast_by_hand(operator: str, first: bool) -> None:
    x = floats(2, 3, 4)
    nodes = [
        node("ReduceL2", ["x"], ["n"], axes=[-1]), node("Expand", ["n", "whole"], ["e"]),
        node(operator, ["e", "x"] if first else ["x", "e"], ["y"]),
    ]  # fmt: skip
    graph = assert_same(build(nodes, {"x": x}, ["y"], {"whole": ints(2, 3, 4)}), {"x": x})
    assert type_names(graph) == ["ReduceL2", operator]


def test_a_broadcast_that_sets_the_shape_stays() -> None:
    x, s = floats(2, 1, 4), floats(1, 1, 4)
    nodes = [node("Expand", ["x", "whole"], ["e"]), node("Mul", ["e", "s"], ["y"])]
    graph = assert_same(build(nodes, {"x": x, "s": s}, ["y"], {"whole": ints(2, 3, 4)}), {"x": x, "s": s})
    assert type_names(graph) == ["Expand", "Mul"]


def windows(batch: int, mask: Array, between: tuple[int, ...], operator: str = "Add", **options: Any) -> list[str]:
    """A softmax of logits [4 batch, 2, 3, 3] with a mask added in another shape."""
    x = floats(4 * batch, 2, 3, 3)
    nodes = [
        node("Reshape", ["x", "between"], ["r"]), node(operator, ["r", "mask"], ["a"]),
        node("Reshape", ["a", "back"], ["b"]), node("Softmax", ["b"], ["y"], axis=-1),
    ]  # fmt: skip
    constants = {"between": ints(*between), "back": ints(*options.get("back", x.shape)), "mask": mask}
    return type_names(assert_same(build(nodes, {"x": x}, ["y"], constants), {"x": x}))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("operator", ["Add", "Mul"])
@pytest.mark.parametrize(
    "shape", [(1, 4, 1, 3, 3), (4, 1, 3, 3), (3, 3), (1, 1, 1, 1, 3)], ids=lambda shape: "x".join(map(str, shape))
)
def test_a_mask_of_windows(batch: int, operator: str, shape: tuple[int, ...]) -> None:
    assert windows(batch, floats(*shape), (batch, 4, 2, 3, 3), operator) == [operator, "Softmax"]


def test_a_mask_behind_a_reshape_that_is_not_taken_back() -> None:
    kinds = windows(1, floats(4, 1, 3, 3), (1, 4, 2, 3, 3), back=(4, 2, 9))
    assert kinds == ["Reshape", "Add", "Reshape", "Softmax"]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("mask", "kinds"), [((4, 1, 3, 3), 4), ((1, 3, 3), 2)], ids=["of windows", "of places"])
def test_a_mask_does_not_take_an_open_batch_into_its_shape(batch: int, mask: tuple[int, ...], kinds: int) -> None:
    nodes = [
        node("Abs", ["x"], ["f"]), node("Reshape", ["f", "between"], ["r"]), node("Add", ["r", "mask"], ["a"]),
        node("Reshape", ["a", "back"], ["y"]),
    ]  # fmt: skip
    constants = {"between": ints(-1, 4, 2, 3, 3), "back": ints(-1, 2, 3, 3), "mask": floats(*mask)}
    model = build(nodes, {"x": ["N", 2, 3, 3]}, ["y"], constants)
    assert len(type_names(loaded(model, batch=4 * batch))) == kinds


def test_a_function_between_a_reshape_and_its_way_back() -> None:
    x = floats(2, 3, 4)
    nodes = [
        node("Reshape", ["x", "flat"], ["r"]), node("Sigmoid", ["r"], ["s"]), node("Reshape", ["s", "back"], ["y"]),
    ]  # fmt: skip
    graph = assert_same(build(nodes, {"x": x}, ["y"], {"flat": ints(24), "back": ints(2, 3, 4)}), {"x": x})
    assert type_names(graph) == ["Sigmoid"]


def test_constants_added_one_after_the_other() -> None:
    x = floats(4, 2, 3, 3)
    nodes = [
        node("Add", ["x", "bias"], ["a"]), node("Add", ["mask", "a"], ["b"]), node("Softmax", ["b"], ["y"], axis=-1),
    ]  # fmt: skip
    constants = {"bias": floats(2, 3, 3), "mask": np.where(floats(4, 1, 3, 3) > 1, -100, 0).astype(np.float32)}
    graph = assert_same(build(nodes, {"x": x}, ["y"], constants), {"x": x})
    assert type_names(graph) == ["Add", "Softmax"]
    assert graph.nodes[1].provenance == ("/net/a", "/net/b")


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_two_shapes_of_one_count(data: st.DataObject) -> None:
    """The constant reaches the same elements whatever the two shapes have in common."""
    sizes = data.draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=4))
    x = floats(*sizes)
    between = data.draw(st.sampled_from([sizes[::-1], [*sizes, 1], [1, *sizes], [x.size], sorted(sizes)]))
    varies = data.draw(st.lists(st.booleans(), min_size=len(between), max_size=len(between)))
    mask = floats(*(size if vary else 1 for size, vary in zip(between, varies, strict=True)))
    nodes = [
        node("Abs", ["x"], ["p"]), node("Reshape", ["p", "between"], ["r"]), node("Add", ["r", "mask"], ["a"]),
        node("Reshape", ["a", "back"], ["b"]), node("Neg", ["b"], ["y"]),
    ]  # fmt: skip
    constants = {"between": ints(*between), "back": ints(*sizes), "mask": mask}
    graph = assert_same(build(nodes, {"x": x}, ["y"], constants), {"x": x})
    assert "Reshape" not in type_names(graph)
