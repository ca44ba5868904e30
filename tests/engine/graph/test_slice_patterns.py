"""Slices of one value, concatenated: on a regular grid they become one movement that gives the same elements."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from engine.ops.base import Op
from engine.ops.layout import Gather, Reshape, Roll, Slice, SpaceToDepth, Split, Transpose
from tests.engine.graph.onnx_models import Array, Node, assert_same, build, node, operators, type_names

MOVED = ["Reshape", "Transpose", "Reshape"]
Bounds = dict[int, tuple[int, int, int]]
"""Start, stop and step by axis."""

HF_ORDER = ((0, 0), (1, 0), (0, 1), (1, 1))
"""Offsets of row and column as Swin's own code and transformers list them; YOLOv5's Focus too."""
ROW_ORDER = ((0, 0), (0, 1), (1, 0), (1, 1))


class Spelled:
    """Nodes that cut x and put the pieces together, with the constants they read."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}

    def slice(self, source: str, bounds: Bounds, steps: bool = True) -> str:
        """A Slice along the axes given; the name of its result."""
        made = f"s{len(self.nodes)}"
        columns = [list(bounds), *zip(*bounds.values(), strict=True)]
        parts = dict(zip(("axes", "starts", "ends", "steps"), columns, strict=True))
        for part, values in parts.items():
            self.constants[f"{made}.{part}"] = np.array(values, np.int64)
        names = [f"{made}.{part}" for part in ("starts", "ends", "axes", "steps")]
        self.nodes.append(node("Slice", [source, *names[: 4 if steps else 3]], [made]))
        return made

    def concat(self, pieces: Sequence[str], axis: int, x: Array, also: Sequence[str] = ()) -> ModelProto:
        self.nodes.append(node("Concat", pieces, ["y"], axis=axis))
        return build(self.nodes, {"x": x}, ["y", *also], self.constants)


def numbered(*shape: int) -> Array:
    """Every element another number."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def merging(x: Array, order: Sequence[tuple[int, int]], rows: int, concat: int, block: int, chained: bool):
    """Every ``block``-th row and column from each of the offsets; rows and columns in two slices, or in one."""
    spelled = Spelled()
    end, pieces, shared = 2**63 - 1, [], dict[int, str]()
    for row, column in order:
        if chained:
            if row not in shared:
                shared[row] = spelled.slice("x", {rows: (row, end, block)})
            pieces.append(spelled.slice(shared[row], {rows + 1: (column, end, block)}))
        else:
            pieces.append(spelled.slice("x", {rows: (row, end, block), rows + 1: (column, end, block)}))
    return spelled.concat(pieces, concat, x)


@pytest.mark.parametrize("chained", [True, False], ids=["two slices a piece", "one slice a piece"])
@pytest.mark.parametrize(
    ("order", "perm"),
    [(HF_ORDER, (0, 1, 3, 4, 2, 5)), (ROW_ORDER, (0, 1, 3, 2, 4, 5))],
    ids=["columns outside", "rows outside"],
)
def test_patch_merging(order: Sequence[tuple[int, int]], perm: tuple[int, ...], chained: bool) -> None:
    x = numbered(2, 4, 6, 5)
    graph = assert_same(merging(x, order, 1, 3, 2, chained), {"x": x})
    assert operators(graph) == [Reshape((2, 2, 2, 3, 2, 5)), Transpose(perm), Reshape((2, 2, 3, 20))]
    (result,) = (n for n in graph.nodes if n.outputs == ("y",))
    assert result.namespace == ("net",)
    assert set(result.provenance) >= {"/net/y", "/net/s0"}


@pytest.mark.parametrize(
    ("order", "becomes"),
    [
        (HF_ORDER, [Reshape((2, 5, 2, 2, 3, 2)), Transpose((0, 5, 3, 1, 2, 4)), Reshape((2, 20, 2, 3))]),
        (ROW_ORDER, [SpaceToDepth(2, "DCR")]),
    ],
    ids=["YOLOv5", "space to depth"],
)
def test_focus(order: Sequence[tuple[int, int]], becomes: list[Op]) -> None:
    x = numbered(2, 5, 4, 6)
    assert operators(assert_same(merging(x, order, 2, 1, 2, False), {"x": x})) == becomes


def test_blocks_of_three() -> None:
    x, order = numbered(1, 6, 9, 2), list(product(range(3), range(3)))
    assert type_names(assert_same(merging(x, order, 1, 3, 3, True), {"x": x})) == MOVED


def test_channels_shuffled_by_slices() -> None:
    x, spelled = numbered(1, 6, 2, 2), Spelled()
    pieces = [spelled.slice("x", {1: (start, 6, 3)}) for start in range(3)]
    graph = assert_same(spelled.concat(pieces, 1, x), {"x": x})
    assert operators(graph) == [Reshape((1, 2, 3, 2, 2)), Transpose((0, 2, 1, 3, 4)), Reshape((1, 6, 2, 2))]


def test_chunks_along_another_axis() -> None:
    x = numbered(2, 6, 4)
    nodes = [node("Split", ["x"], ["a", "b", "c"], axis=1), node("Concat", ["a", "b", "c"], ["y"], axis=0)]
    graph = assert_same(build(nodes, {"x": x}, ["y"]), {"x": x})
    assert type_names(graph) == MOVED


@pytest.mark.parametrize("sizes", [(3, 3), (1, 5), (2, 1, 3)])
def test_chunks_back_in_place_vanish(sizes: tuple[int, ...]) -> None:
    x = numbered(2, 6, 4)
    chunks = [f"chunk{index}" for index in range(len(sizes))]
    nodes = [
        node("Split", ["x", "sizes"], chunks, axis=1), node("Concat", chunks, ["z"], axis=1),
        node("Relu", ["z"], ["y"]),
    ]  # fmt: skip
    model = build(nodes, {"x": x}, ["y"], {"sizes": np.array(sizes)})
    assert type_names(assert_same(model, {"x": x})) == ["Relu"]


def test_what_is_cropped_first_is_merged_behind_the_crop() -> None:
    x, spelled = numbered(1, 5, 7, 3), Spelled()
    cropped = spelled.slice("x", {1: (0, 4, 1), 2: (1, 7, 1)})
    pieces = [spelled.slice(cropped, {1: (row, 4, 2), 2: (column, 6, 2)}) for row, column in HF_ORDER]
    assert type_names(assert_same(spelled.concat(pieces, 3, x), {"x": x})) == ["Slice", *MOVED]


def test_a_piece_that_is_an_output_stays() -> None:
    x, spelled = numbered(1, 4, 4, 3), Spelled()
    pieces = [spelled.slice("x", {1: (row, 4, 2), 2: (column, 4, 2)}) for row, column in HF_ORDER]
    assert type_names(assert_same(spelled.concat(pieces, 3, x, [pieces[2]]), {"x": x})) == ["Slice"] * 4 + ["Concat"]


@pytest.mark.parametrize(
    "order",
    [
        ((0, 0), (1, 0), (1, 1), (0, 1)), ((0, 0), (0, 0), (0, 1), (1, 1)), ((0, 0), (1, 0), (0, 1)),
        ((1, 1), (0, 1), (1, 0), (0, 0)),
    ],
    ids=["round the corner", "one twice", "one left out", "backwards"],
)  # fmt: skip
def test_other_orders_stay(order: Sequence[tuple[int, int]]) -> None:
    x = numbered(1, 4, 4, 3)
    graph = assert_same(merging(x, order, 1, 3, 2, False), {"x": x})
    assert type_names(graph) == ["Slice"] * len(set(order)) + ["Concat"]


def test_pieces_that_do_not_come_out_even_stay() -> None:
    x, spelled = numbered(1, 5, 4), Spelled()
    pieces = [spelled.slice("x", {1: (start, stop, 2)}) for start, stop in ((0, 4), (1, 5))]
    assert type_names(assert_same(spelled.concat(pieces, 2, x), {"x": x})) == ["Slice", "Slice", "Concat"]


@st.composite
def grids(draw: st.DrawFn) -> tuple[Array, list[Bounds], int]:
    """A value, slices that are together all of it, in the order of counting along some order of axes, and an axis."""
    rank = draw(st.integers(1, 4))
    counts = draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=rank, max_size=rank))
    sizes = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    strided = draw(st.lists(st.booleans(), min_size=rank, max_size=rank))
    order = draw(st.sampled_from(list(permutations(range(rank)))))
    slices: list[Bounds] = []
    for digits in product(*(range(counts[axis]) for axis in order)):
        bounds: Bounds = {}
        for axis, digit in zip(order, digits, strict=True):
            count, size = counts[axis], sizes[axis]
            bounds[axis] = (digit, count * size, count) if strided[axis] else (digit * size, (digit + 1) * size, 1)
        slices.append(bounds)
    shape = [count * size for count, size in zip(counts, sizes, strict=True)]
    return numbered(*shape), slices, draw(st.integers(0, rank - 1))


@settings(max_examples=40, deadline=None)
@given(grids())
def test_any_grid_gives_the_same_elements(grid: tuple[Array, list[Bounds], int]) -> None:
    x, slices, axis = grid
    spelled = Spelled()
    pieces = [spelled.slice("x", bounds) for bounds in slices]
    graph = assert_same(spelled.concat(pieces, axis, x), {"x": x})
    cut = sum(len({bounds[at] for bounds in slices}) > 1 for at in range(x.ndim))
    if 0 < cut <= 3:
        assert not {"Slice", "Concat"} & set(type_names(graph))


def gathered(x: Array, indices: Array, axis: int) -> list[Op]:
    """What a selection of constant indices becomes."""
    nodes = [node("Relu", ["x"], ["r"]), node("Gather", ["r", "indices"], ["y"], axis=axis)]
    graph = assert_same(build(nodes, {"x": x}, ["y"], {"indices": np.array(indices, np.int64)}), {"x": x})
    return operators(graph)[1:]


@pytest.mark.parametrize(
    ("indices", "becomes"),
    [
        ([0, 1, 2, 3, 4, 5], []),
        ([2, 3, 4], [Slice((0, 2, 0), (2, 5, 4), (1, 1, 1))]),
        ([1, 3, 5], [Slice((0, 1, 0), (2, 6, 4), (1, 2, 1))]),
        ([-1], [Slice((0, 5, 0), (2, 6, 4), (1, 1, 1))]),
        (2, [Slice((0, 2, 0), (2, 3, 4), (1, 1, 1)), Reshape((2, 4), "Squeeze")]),
        ([[0, 1], [2, 3]], [Slice((0, 0, 0), (2, 4, 4), (1, 1, 1)), Reshape((2, 2, 2, 4))]),
        ([[[0, 1, 2, 3, 4, 5]]], [Reshape((2, 1, 1, 6, 4))]),
        ([2, 3, 4, 5, 0, 1], [Roll((-2,), (1,))]),
        ([5, 0, 1, 2, 3, 4], [Roll((1,), (1,))]),
        ([0, 3, 1, 4, 2, 5], [Reshape((2, 2, 3, 4)), Transpose((0, 2, 1, 3)), Reshape((2, 6, 4))]),
        ([0, 2, 4, 1, 3, 5], [Reshape((2, 3, 2, 4)), Transpose((0, 2, 1, 3)), Reshape((2, 6, 4))]),
    ],
    ids=str,
)  # fmt: skip
def test_selections_of_constant_indices(indices: Array, becomes: list[Op]) -> None:
    assert gathered(numbered(2, 6, 4), indices, 1) == becomes


@pytest.mark.parametrize("indices", [[0, 2, 3], [5, 4, 3, 2, 1, 0], [1, 1, 1], [0, 3, 1, 4, 5, 2], [2, 3, 4, 5, 0]])
def test_other_selections_stay(indices: list[int]) -> None:
    (op,) = gathered(numbered(2, 6, 4), np.array(indices), 1)
    assert isinstance(op, Gather)


def test_slices_that_take_a_value_apart_are_a_split() -> None:
    x, spelled = numbered(2, 7, 4), Spelled()
    for bounds in ((4, 7, 1), (0, 1, 1), (1, 4, 1)):
        spelled.slice("x", {1: bounds})
    nodes = [*spelled.nodes, node("Relu", ["s0"], ["a"]), node("Neg", ["s1"], ["b"]), node("Abs", ["s2"], ["c"])]
    graph = assert_same(build(nodes, {"x": x}, ["a", "b", "c"], spelled.constants), {"x": x})
    assert type_names(graph) == ["Split", "Relu", "Neg", "Abs"]
    split = graph.nodes[1]
    assert (split.op, split.outputs) == (Split(1, (1, 3, 3)), ("s1", "s2", "s0"))
    assert set(split.provenance) == {"/net/s0", "/net/s1", "/net/s2"}


def test_slices_that_leave_or_share_elements_stay() -> None:
    x = numbered(2, 7, 4)
    for pieces in ([(0, 3, 1), (4, 7, 1)], [(0, 4, 1), (3, 7, 1)], [(0, 7, 2), (1, 7, 2)]):
        spelled = Spelled()
        made = [spelled.slice("x", {1: bounds}) for bounds in pieces]
        graph = assert_same(build(spelled.nodes, {"x": x}, made, spelled.constants), {"x": x})
        assert type_names(graph) == ["Slice", "Slice"]
