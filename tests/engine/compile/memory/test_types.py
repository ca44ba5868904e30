"""What can be asked of a planner, and the bound that every answer is held against."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given

from engine.compile.memory import Buffer, MemoryPlan, MemoryProblem
from engine.errors import CompileError

from .problems import problems


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"size_bytes": -1}, "buffer 'x' has an impossible size, -1 bytes"),
        ({"size_bytes": 1 << 60}, "buffer 'x' has an impossible size, 1152921504606846976 bytes"),
        ({"first": 4, "last": 3}, "buffer 'x' has an impossible lifetime, steps 4 to 3"),
        ({"alignment": 0}, "buffer 'x' has an impossible alignment, 0"),
    ],
)
def test_impossible_buffers_are_refused_by_name(fields: dict[str, int], line: str) -> None:
    with pytest.raises(CompileError) as caught:
        Buffer(**({"name": "x", "first": 0, "last": 3, "size_bytes": 8} | fields))  # type: ignore[arg-type]
    assert str(caught.value) == line


def test_a_buffer_larger_than_the_memory_is_refused_by_name() -> None:
    with pytest.raises(CompileError, match=r"^buffer 'big' needs 11 bytes, the memory has 10; keep it in external"):
        MemoryProblem((Buffer("small", 0, 1, 3), Buffer("big", 5, 5, 11)), capacity_bytes=10)


@pytest.mark.parametrize(
    ("buffers", "bound"),
    [
        ((), 0),
        ((("a", 0, 3, 0),), 0),
        ((("a", 0, 3, 5), ("b", 4, 6, 7)), 7),
        ((("a", 0, 3, 5), ("b", 3, 6, 7)), 12),
        ((("a", -5, 0, 5), ("b", 0, 0, 7), ("c", 0, 9, 1)), 13),
        # Multiples of 4: 5 takes 8 unless it is on top; either way 5 and 6 need 13 at least, with 6 below.
        ((("a", 0, 1, 5, 4), ("b", 1, 2, 6, 4)), 13),
        ((("a", 0, 1, 5, 4), ("b", 1, 2, 6, 8)), 13),
        ((("a", 0, 1, 5, 4), ("b", 1, 2, 6, 1)), 11),
    ],
)
def test_lower_bound(buffers: tuple[tuple[str, int, int, int], ...], bound: int) -> None:
    assert MemoryProblem(tuple(Buffer(*fields) for fields in buffers)).lower_bound_bytes == bound


@given(problems(most=5))
def test_no_stacking_of_the_buffers_of_a_step_stays_below_the_bound(problem: MemoryProblem) -> None:
    def stacked(buffers: tuple[Buffer, ...]) -> int:
        end = 0
        for buffer in buffers:
            end = -(-end // buffer.alignment) * buffer.alignment + buffer.size_bytes
        return end

    solid = [buffer for buffer in problem.buffers if buffer.size_bytes]
    peaks = [
        min(stacked(order) for order in permutations(b for b in solid if b.first <= step <= b.last))
        for step in {buffer.first for buffer in solid}
    ]
    assert problem.lower_bound_bytes <= max(peaks, default=0)
    if all(buffer.alignment == 1 for buffer in solid):
        assert problem.lower_bound_bytes == max(peaks, default=0)


@given(problems())
def test_sections_tell_which_buffers_meet(problem: MemoryProblem) -> None:
    columns = problem.columns
    for i, j in product(range(columns.index.size), repeat=2):
        one, other = problem.buffers[columns.index[i]], problem.buffers[columns.index[j]]
        meet = one.first <= other.last and other.first <= one.last
        assert meet == (columns.first[i] <= columns.last[j] and columns.first[j] <= columns.last[i])


@pytest.mark.parametrize(
    ("peak", "bound", "capacity", "overhead", "meets", "optimal"),
    [
        (12, 10, None, 1.2, True, False),
        (10, 10, 9, 1.0, False, True),
        (10, 10, 10, 1.0, True, True),
        (0, 0, 0, 1.0, True, True),
    ],
)
def test_what_a_plan_says(
    peak: int, bound: int, capacity: int | None, overhead: float, meets: bool, optimal: bool
) -> None:
    plan = MemoryPlan((), peak, bound, "by hand", capacity)
    assert (plan.overhead, plan.meets_capacity, plan.is_optimal) == (overhead, meets, optimal)
