"""Greedy residency: never above the capacity, and what fits stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.compile.residency import Lifetime, residents

STEPS = 12


def names(*problem):
    return [tensor.value for tensor in residents(*problem)]


def test_what_fits_stays_and_what_does_not_goes():
    tensors = [Lifetime("a", 60, 0, 1, 120), Lifetime("b", 60, 1, 2, 120), Lifetime("c", 60, 2, 3, 120)]
    assert names(tensors, 4, 100) == ["a", "c"]
    assert names(tensors, 4, 120) == ["a", "b", "c"]


def test_what_saves_more_traffic_stays():
    tensors = [Lifetime("long", 60, 0, 3, 120), Lifetime("a", 60, 1, 1, 240), Lifetime("b", 60, 2, 3, 120)]
    assert names(tensors, 4, 100) == ["a", "b"]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, STEPS - 1), st.integers(0, 4)), max_size=20),
    st.integers(1, 120),
)
def test_capacity_is_never_exceeded(rows, capacity):
    tensors = [
        Lifetime(str(index), size, first, min(first + length, STEPS - 1), 2 * size)
        for index, (size, first, length) in enumerate(rows)
    ]
    kept = residents(tensors, STEPS, capacity)
    held = [sum(t.size_bytes for t in kept if t.first <= step <= t.last) for step in range(STEPS)]
    assert max(held) <= capacity
