"""Reshapes and transposes that follow each other merge or cancel, and keep what they make."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from engine.graph.graph import Graph
from engine.ops.base import Op
from engine.ops.layout import Reshape, Transpose
from tests.engine.graph.onnx_models import Array, assert_same, build, loaded, node, operators, type_names

Movement = tuple[str, tuple[int, ...]]
"""Reshape and its shape, or Transpose and its permutation."""

R, T = "Reshape", "Transpose"


def numbered(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def model(movements: Sequence[Movement], x: Array, also: Sequence[int] = ()) -> ModelProto:
    """x through a Relu, the movements and a Relu; ``also``: movements whose results are outputs too."""
    nodes, constants, value = [node("Relu", ["x"], ["first"])], dict[str, Array](), "first"
    for index, (kind, numbers) in enumerate(movements):
        made = f"m{index}"
        if kind == R:
            constants[f"shape{index}"] = np.array(numbers, np.int64)
            nodes.append(node(R, [value, f"shape{index}"], [made]))
        else:
            nodes.append(node(T, [value], [made], perm=numbers))
        value = made
    nodes.append(node("Relu", [value], ["y"]))
    return build(nodes, {"x": x}, ["y", *(f"m{index}" for index in also)], constants)


def between(graph: Graph) -> list[Op]:
    return operators(graph)[1:-1]


CASES: dict[str, tuple[tuple[int, ...], Sequence[Movement], list[Op]]] = {
    "two reshapes": ((2, 6), [(R, (3, 4)), (R, (4, 3))], [Reshape((4, 3))]),
    "a reshape and its way back": ((2, 6), [(R, (3, 4)), (R, (2, 6))], []),
    "three reshapes": ((2, 6), [(R, (3, 4)), (R, (12,)), (R, (4, 3))], [Reshape((4, 3))]),
    "two transposes": ((2, 3, 4), [(T, (1, 0, 2)), (T, (0, 2, 1))], [Transpose((1, 2, 0))]),
    "a transpose and its way back": ((2, 3, 4), [(T, (1, 2, 0)), (T, (2, 0, 1))], []),
    "nested ways back": ((2, 3, 4), [(T, (1, 0, 2)), (R, (6, 4)), (R, (3, 2, 4)), (T, (1, 0, 2))], []),
    "a transpose of an axis of size one": ((3, 1, 4), [(T, (1, 0, 2))], [Reshape((1, 3, 4))]),
    "a transpose of axes of size one alone": ((1, 3, 1), [(T, (2, 1, 0))], []),
    "reshaped, the axis of size one moved": ((3, 4), [(R, (3, 1, 4)), (T, (1, 0, 2))], [Reshape((1, 3, 4))]),
    "an axis added between transposes": (
        (2, 3, 4), [(T, (0, 2, 1)), (R, (2, 4, 1, 3)), (T, (0, 3, 2, 1))], [Reshape((2, 3, 1, 4))],
    ),
    "an axis taken out between transposes": (
        (2, 1, 3, 4), [(T, (1, 2, 0, 3)), (R, (3, 2, 4)), (T, (2, 0, 1))],
        [Transpose((3, 1, 2, 0)), Reshape((4, 3, 2))],
    ),
    "windows and their way back": (
        (1, 4, 6, 5),
        [
            (R, (1, 2, 2, 3, 2, 5)), (T, (0, 1, 3, 2, 4, 5)), (R, (6, 4, 5)),
            (R, (1, 2, 3, 2, 2, 5)), (T, (0, 1, 3, 2, 4, 5)), (R, (1, 4, 6, 5)),
        ],
        [],
    ),
    "channel shuffle": (
        (1, 6, 2, 2), [(R, (1, 2, 3, 2, 2)), (T, (0, 2, 1, 3, 4)), (R, (1, 6, 2, 2))],
        [Reshape((1, 2, 3, 2, 2)), Transpose((0, 2, 1, 3, 4)), Reshape((1, 6, 2, 2))],
    ),
    "an axis that is split between transposes": (
        (2, 3, 4), [(T, (0, 2, 1)), (R, (2, 2, 2, 3)), (T, (0, 3, 2, 1))],
        [Transpose((0, 2, 1)), Reshape((2, 2, 2, 3)), Transpose((0, 3, 2, 1))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_left(name: str) -> None:
    shape, movements, left = CASES[name]
    x = numbered(*shape)
    assert between(assert_same(model(movements, x), {"x": x})) == left


def test_what_merges_keeps_its_id_and_where_it_came_from() -> None:
    x = numbered(2, 6)
    graph = assert_same(model([(R, (3, 4)), (R, (4, 3))], x), {"x": x})
    (merged,) = (n for n in graph.nodes if n.op == Reshape((4, 3)))
    assert (merged.id, merged.provenance) == ("/net/m1", ("/net/m0", "/net/m1"))


@pytest.mark.parametrize("movements", [[(R, (3, 4)), (R, (4, 3))], [(T, (1, 0)), (R, (3, 4)), (R, (12,))]])
def test_an_output_between_them_stays(movements: list[Movement]) -> None:
    x = numbered(2, 6)
    also = len(movements) - 2
    assert len(between(assert_same(model(movements, x, [also]), {"x": x}))) >= len(movements)


def test_what_cancels_leaves_the_first_for_those_that_read_it() -> None:
    x = numbered(2, 6)
    nodes = [
        node("Relu", ["x"], ["a"]), node(T, ["a"], ["t"], perm=(1, 0)), node("Abs", ["t"], ["z"]),
        node(T, ["t"], ["b"], perm=(1, 0)), node("Neg", ["b"], ["y"]),
    ]  # fmt: skip
    graph = assert_same(build(nodes, {"x": x}, ["y", "z"]), {"x": x})
    assert type_names(graph) == ["Relu", "Transpose", "Abs", "Neg"]
    assert graph.producer["y"].inputs == ("a",)


def test_movements_of_an_input_straight_to_an_output() -> None:
    x = numbered(2, 6)
    nodes = [node(T, ["x"], ["t"], perm=(1, 0)), node(T, ["t"], ["y"], perm=(1, 0))]
    assert type_names(assert_same(build(nodes, {"x": x}, ["y"]), {"x": x})) == ["Identity"]


@pytest.mark.parametrize("batch", [1, 3])
def test_an_open_batch_is_no_axis_of_size_one(batch: int) -> None:
    """The graph is the same for every batch, so that exports can leave it open."""
    nodes = [node(T, ["x"], ["t"], perm=(1, 0, 2)), node("Relu", ["t"], ["y"])]
    graph = loaded(build(nodes, {"x": ["N", 3, 4]}, ["y"]), batch=batch)
    assert type_names(graph) == ["Transpose", "Relu"]


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Movement]]:
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=4)))
    movements: list[Movement] = []
    current = list(shape)
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            perm = tuple(draw(st.permutations(range(len(current)))))
            movements.append((T, perm))
            current = [current[axis] for axis in perm]
        else:
            current = draw(st.permutations(current))
            if draw(st.booleans()):
                current.insert(draw(st.integers(0, len(current))), 1)
            movements.append((R, tuple(current)))
    return shape, movements


@settings(max_examples=40, deadline=None)
@given(chains())
def test_any_chain_gives_the_same_elements(chain: tuple[tuple[int, ...], list[Movement]]) -> None:
    shape, movements = chain
    x = numbered(*shape)
    left = between(assert_same(model(movements, x), {"x": x}))
    assert len(left) <= len(movements)
    kinds = [type(op) for op in left]
    assert all(a is not b for a, b in pairwise(kinds)), "neighbours of one kind are merged"
