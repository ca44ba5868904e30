"""Views against numpy: every chain of layout operators gives the addresses that the operators themselves give."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compile.view_rules import VIEW
from engine.compile.views import (
    Factor,
    View,
    is_permutation,
    joined,
    ordered,
    packed,
    reshaped,
    rolled,
    row_major,
    sliced,
    transposed,
)
from engine.ops.base import Op
from engine.ops.float_kernels.run import run_node
from engine.ops.layout import (
    DepthToSpace,
    Expand,
    Gather,
    Identity,
    Reshape,
    Roll,
    Slice,
    SpaceToDepth,
    Split,
    Tile,
    Transpose,
)

SHAPES = st.lists(st.sampled_from((1, 2, 3, 4, 6, 8)), min_size=1, max_size=4).map(tuple)
MOST_ELEMENTS = 5000


@st.composite
def _reshape(draw, shape):
    left, sizes = math.prod(shape), []
    for _ in range(draw(st.integers(0, 3))):
        size = draw(st.sampled_from([size for size in range(1, left + 1) if left % size == 0]))
        sizes.append(size)
        left //= size
    return Reshape((*sizes, left))


@st.composite
def _transpose(draw, shape):
    return Transpose(tuple(draw(st.permutations(range(len(shape))))))


@st.composite
def _slice(draw, shape):
    bounds = []
    for size in shape:
        step = draw(st.sampled_from((1, 1, 2, 3, -1, -2)))
        start = draw(st.integers(0, size - 1))
        stop = draw(st.integers(start + 1, size) if step > 0 else st.integers(-1, start - 1))
        bounds.append((start, stop, step) if draw(st.booleans()) else (0, size, 1))
    return Slice(*(tuple(column) for column in zip(*bounds, strict=True))) if bounds else Identity()


@st.composite
def _split(draw, shape):
    axis = draw(st.integers(0, len(shape) - 1))
    first = draw(st.integers(1, shape[axis]))
    return Split(axis, tuple(size for size in (first, shape[axis] - first) if size))


@st.composite
def _roll(draw, shape):
    axes = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1, max_size=2))))
    return Roll(tuple(draw(st.integers(-5, 5)) for _ in axes), axes)


@st.composite
def _expand(draw, shape):
    repeats = [size if size > 1 else draw(st.sampled_from((1, 2, 3))) for size in shape]
    return Expand((*draw(st.sampled_from(((), (1,), (2,)))), *repeats))


@st.composite
def _gather(draw, shape):
    axis = draw(st.integers(0, len(shape) - 1))
    form = draw(st.sampled_from(((), (1,), (3,), (2, 2))))
    start, step = draw(st.integers(0, shape[axis] - 1)), draw(st.sampled_from((0, 1, -1, 2)))
    return Gather(axis, tuple((start + index * step) % shape[axis] for index in range(math.prod(form))), form)


@st.composite
def _tile(draw, shape):
    return Tile(tuple(draw(st.sampled_from((1, 1, 2))) for _ in shape))


@st.composite
def _blocks(draw, shape):
    mode = draw(st.sampled_from(("DCR", "CRD")))
    if len(shape) == 4 and shape[1] % 4 == 0:
        return DepthToSpace(2, mode)
    if len(shape) == 4 and shape[2] % 2 == shape[3] % 2 == 0:
        return SpaceToDepth(2, mode)
    return Identity()


KINDS = (_reshape, _transpose, _slice, _split, _roll, _expand, _gather, _tile, _blocks)


def operators(shape: tuple[int, ...]) -> st.SearchStrategy[Op]:
    """A layout operator that fits."""
    return st.one_of([kind(shape) for kind in KINDS]) if shape else st.just(Identity())


def _through(op: Op, view: View) -> View:
    """The view of the only output of an operator that is one."""
    rule = VIEW.find(op)
    assert rule is not None
    (found,) = rule(op, view)
    assert found is not None
    return found


@settings(max_examples=250, deadline=None)
@given(st.data(), SHAPES)
def test_a_chain_of_layout_operators_is_its_view(data, shape):
    order = data.draw(st.permutations(range(len(shape))))
    view = ordered(shape, order)
    tensor = torch.from_numpy(view.addresses().copy())
    for _ in range(data.draw(st.integers(1, 7))):
        op = data.draw(operators(tuple(tensor.shape)))
        tensors, rule = run_node(op, [tensor]), VIEW.find(op)
        assert rule is not None
        views = rule(op, view)
        assert len(views) == len(tensors)
        for found, expected in zip(views, tensors, strict=True):
            if found is not None:
                assert found.shape == tuple(expected.shape)
                np.testing.assert_array_equal(found.addresses(), expected.numpy())
        chosen = data.draw(st.integers(0, len(views) - 1))
        if views[chosen] is None or tensors[chosen].numel() > MOST_ELEMENTS:
            return
        view, tensor = views[chosen], tensors[chosen]


@given(SHAPES, st.randoms(use_true_random=False))
def test_an_order_has_every_element_once(shape, rng):
    order = list(range(len(shape)))
    rng.shuffle(order)
    view = ordered(shape, order)
    assert is_permutation(view, math.prod(shape))
    assert sorted(view.addresses().reshape(-1)) == list(range(math.prod(shape)))
    assert packed(view) == view


def test_a_packed_view_keeps_the_order_in_memory():
    part = sliced(ordered((2, 6, 5, 7), (0, 2, 3, 1)), 1, 2, 3)
    assert part is not None
    assert packed(part) == ordered((2, 3, 5, 7), (0, 2, 3, 1))


@pytest.mark.parametrize("window", [(7, 3), (4, 2)])
def test_a_shifted_window_partition_and_its_reverse_are_views(window):
    size, shift = window
    side, channels = 2 * size, 5
    steps = (
        Roll((-shift, -shift), (1, 2)),
        Reshape((1, 2, size, 2, size, channels)),
        Transpose((0, 1, 3, 2, 4, 5)),
        Reshape((4, size * size, channels)),
        Reshape((1, 2, 2, size, size, channels)),
        Transpose((0, 1, 3, 2, 4, 5)),
        Reshape((1, side, side, channels)),
    )
    view = row_major((1, side, side, channels))
    image = torch.from_numpy(view.addresses().copy())
    for op in steps:
        (image,) = run_node(op, [image])
        view = _through(op, view)
        np.testing.assert_array_equal(view.addresses(), image.numpy())


def test_a_reversed_and_shifted_back_window_buffer_is_one_view():
    windows = row_major((4, 49, 3))
    image = torch.from_numpy(windows.addresses().copy())
    steps = (
        Reshape((1, 2, 2, 7, 7, 3)),
        Transpose((0, 1, 3, 2, 4, 5)),
        Reshape((1, 14, 14, 3)),
        Roll((3, 3), (1, 2)),
        Reshape((1, 196, 3)),
    )
    view = windows
    for op in steps:
        (image,) = run_node(op, [image])
        view = _through(op, view)
    np.testing.assert_array_equal(view.addresses(), image.numpy())
    assert len(view.rings) == 2


def test_a_factor_is_not_cut_off_its_size():
    assert reshaped(transposed(row_major((4, 6)), (1, 0)), (8, 3)) is None
    assert reshaped(row_major((4, 6)), (8, 3)) == row_major((8, 3))


def test_irregular_indices_are_no_view():
    op = Gather(0, (0, 1, 3), (3,))
    rule = VIEW.find(op)
    assert rule is not None and rule(op, row_major((4, 2))) == (None,)


def test_two_rolls_of_an_axis_are_one_and_cancel():
    view = row_major((4, 6))
    once = rolled(view, 1, 2)
    assert once is not None
    assert rolled(once, 1, -2) == view
    twice = rolled(once, 1, 3)
    assert twice is not None
    np.testing.assert_array_equal(twice.addresses(), np.roll(view.addresses(), 5, axis=1))


def test_patch_merging_is_one_view():
    image = row_major((1, 8, 8, 5))
    parts = [sliced(image, 1, row, 4, 2) for column in (0, 1) for row in (0, 1)]
    pieces = [sliced(part, 2, column, 4, 2) for part, column in zip(parts, (0, 0, 1, 1), strict=True) if part]
    assert all(piece is not None for piece in pieces)
    view = joined([piece for piece in pieces if piece], 3)
    assert view is not None
    expected = np.concatenate([piece.addresses() for piece in pieces if piece], axis=3)
    np.testing.assert_array_equal(view.addresses(), expected)
    assert is_permutation(view, 8 * 8 * 5)


@given(st.data(), SHAPES)
def test_joined_slices_are_what_numpy_concatenates(data, shape):
    view = ordered(shape, data.draw(st.permutations(range(len(shape)))))
    axis = data.draw(st.integers(0, len(shape) - 1))
    cuts = data.draw(st.lists(st.integers(0, shape[axis]), max_size=3).map(sorted))
    bounds = [(a, b - a) for a, b in zip([0, *cuts], [*cuts, shape[axis]], strict=True) if b > a]
    pieces = [piece for start, count in bounds if (piece := sliced(view, axis, start, count)) is not None]
    pieces = data.draw(st.permutations(pieces))
    found = joined(pieces, data.draw(st.integers(0, len(shape) - 1)) if len(pieces) == len(bounds) == 1 else axis)
    if found is not None:
        expected = np.concatenate([piece.addresses() for piece in pieces], axis=axis)
        np.testing.assert_array_equal(found.addresses(), expected)


def test_adjacent_pieces_are_joined():
    view = ordered((2, 7, 3), (0, 2, 1))
    pieces = [sliced(view, 1, 0, 2), sliced(view, 1, 2, 5)]
    assert joined([piece for piece in pieces if piece], 1) == view
    assert joined([piece for piece in reversed(pieces) if piece], 1) is None


def test_a_broadcast_is_no_permutation():
    assert not is_permutation(View(((Factor(3, 0),), (Factor(2, 1),))), 6)
    assert not is_permutation(View(((Factor(3, 2),), (Factor(2, 1),)), offset=1), 6)
