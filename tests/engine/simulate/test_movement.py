"""Chunks of copies against a count on real index arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.simulate import movement

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple)


def chunk_count(flat_sources: np.ndarray) -> int:
    """Chunks of a copy whose i-th output element is the source element with this number."""
    return 1 + int(np.count_nonzero(np.diff(flat_sources) != 1))


def test_window_partition_moves_rows_of_a_window():
    assert movement.transpose_chunk((1, 8, 7, 8, 7, 96), (0, 1, 3, 2, 4, 5)) == 7 * 96


def test_channels_last_moves_single_elements():
    assert movement.transpose_chunk((1, 96, 56, 56), (0, 2, 3, 1)) == 1


def test_permuting_axes_of_size_one_moves_nothing():
    assert movement.transpose_chunk((1, 3, 1, 5), (2, 1, 0, 3)) is None


@given(SHAPES, st.randoms(use_true_random=False))
def test_transpose_chunks_are_never_longer_than_the_real_ones_on_average(shape, random):
    perm = list(range(len(shape)))
    random.shuffle(perm)
    sources = np.arange(np.prod(shape)).reshape(shape).transpose(perm).ravel()
    chunk = movement.transpose_chunk(shape, tuple(perm))
    if chunk is None:
        assert chunk_count(sources) == 1
    else:
        assert chunk <= sources.size / chunk_count(sources)
        assert all(np.diff(row).max(initial=1) == 1 for row in sources.reshape(-1, chunk))


@given(SHAPES, st.data())
def test_merging_keeps_the_permutation(shape, data):
    perm = tuple(data.draw(st.permutations(range(len(shape)))))
    merged_shape, merged_perm = movement.merged_transpose(shape, perm)
    values = np.arange(np.prod(shape))
    expected = values.reshape(shape).transpose(perm).ravel()
    assert np.array_equal(values.reshape(merged_shape).transpose(merged_perm).ravel(), expected)


def test_roll_cuts_rows_in_two():
    assert movement.roll_chunk((1, 56, 56, 96), (-3, -3), (1, 2)) == 56 * 96 // 2
    assert movement.roll_chunk((1, 56, 56, 96), (56, 0), (1, 2)) is None


@given(SHAPES, st.data())
def test_slice_chunks_are_contiguous_in_the_source(shape, data):
    bounds = [
        (start, data.draw(st.integers(start + 1, size)), data.draw(st.integers(1, 3)))
        for size in shape
        for start in [data.draw(st.integers(0, size - 1))]
    ]
    starts, stops, steps = (tuple(column) for column in zip(*bounds, strict=True))
    chunk = movement.slice_chunk(shape, starts, stops, steps)
    values = np.arange(np.prod(shape)).reshape(shape)
    taken = values[tuple(slice(*bound) for bound in bounds)].ravel()
    if chunk is None:
        assert np.array_equal(taken, values.ravel())
    else:
        assert taken.size % chunk == 0
        assert all(np.diff(row).max(initial=1) == 1 for row in taken.reshape(-1, chunk))


def test_slice_with_a_step_moves_single_elements():
    assert movement.slice_chunk((1, 56, 56, 96), (0, 0, 0, 0), (1, 56, 56, 96), (1, 2, 2, 1)) == 96
    assert movement.slice_chunk((4, 8), (0, 7), (4, -1), (1, -1)) == 1


def test_pad_gather_and_expand():
    assert movement.pad_chunk((1, 3, 8, 8), (0, 0, 1, 1, 0, 0, 1, 1)) == 8
    assert movement.pad_chunk((1, 3, 8, 8), (0,) * 8) is None
    assert movement.gather_chunk((10, 4), 0, (2, 3, 4, 7)) == 8
    assert movement.expand_chunk((3, 1), (3, 5)) == 1
    assert movement.expand_chunk((5,), (3, 5)) == 5
    assert movement.expand_chunk((1, 5), (1, 1, 5)) is None
