"""The greedy planner: valid, repeatable, and without loss where that is easy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from engine.compile.memory import Buffer, MemoryProblem, plan_greedy, verify
from engine.compile.memory.first_fit import TIGHTEST, conflicts_of, count_conflicts, place_without_conflicts
from engine.compile.memory.greedy import ORDERS, RULES, place

from .problems import brick, chain, problems


@given(problems())
def test_valid_and_not_below_the_bound(problem: MemoryProblem) -> None:
    plan = plan_greedy(problem)
    verify(problem, plan)
    assert plan.peak_bytes >= plan.lower_bound_bytes == problem.lower_bound_bytes


@given(problems())
def test_conflicts_are_the_pairs_that_meet(problem: MemoryProblem) -> None:
    columns = problem.columns
    conflicts = conflicts_of(columns)
    meet = (columns.first[:, None] <= columns.last) & (columns.first <= columns.last[:, None])
    np.fill_diagonal(meet, False)
    for b in range(columns.index.size):
        assert set(conflicts.other[conflicts.start[b] : conflicts.start[b + 1]]) == set(np.flatnonzero(meet[b]))
    assert 2 * count_conflicts(columns) == meet.sum() == conflicts.other.size


@given(problems())
def test_without_a_list_of_conflicts_the_plan_is_the_same(problem: MemoryProblem) -> None:
    columns = problem.columns
    for order in ORDERS:
        indices = order.of(columns)
        address = np.empty(columns.index.size, np.int64)
        arrays = columns.first, columns.last, columns.size, columns.alignment
        peak = place_without_conflicts(indices, *arrays, address)
        expected_peak, expected = place(columns, conflicts_of(columns), indices)
        assert peak == expected_peak
        assert address.tolist() == expected.tolist()


def test_a_chain_of_layers_loses_nothing() -> None:
    sizes = (150, 1200, 1200, 300, 1800, 450, 450, 900)
    problem = MemoryProblem(tuple(Buffer(f"v{i}", i, i + 1, size) for i, size in enumerate(sizes)))
    assert plan_greedy(problem).peak_bytes == problem.lower_bound_bytes == 2400


def test_literal_addresses() -> None:
    buffers = Buffer("a", 0, 2, 4), Buffer("b", 1, 3, 6), Buffer("c", 3, 4, 4), Buffer("none", 0, 9, 0)
    plan = plan_greedy(MemoryProblem(buffers, capacity_bytes=9))
    assert plan.addresses == (6, 0, 6, 0)
    assert (plan.peak_bytes, plan.meets_capacity, plan.planner) == (10, False, "greedy by size")


def test_a_tight_gap_is_left_for_what_fits_it() -> None:
    """Below: 0 to 4 and 6 to 8 are free; 2 bytes in the gap of 2 leave room for the 4 bytes that come next."""
    buffers = Buffer("wall", 0, 0, 2), Buffer("roof", 0, 0, 2), Buffer("two", 0, 0, 2), Buffer("four", 0, 0, 4)
    columns = MemoryProblem(buffers).columns
    peak, _ = place(columns, conflicts_of(columns), np.arange(4), TIGHTEST)
    assert peak == 10


@pytest.mark.parametrize("count", [1, 30, 2000])
def test_the_same_plan_every_time(count: int) -> None:
    assert plan_greedy(chain(count)) == plan_greedy(chain(count))


def test_a_problem_without_buffers() -> None:
    plan = plan_greedy(MemoryProblem(()))
    assert (plan.addresses, plan.peak_bytes, plan.overhead) == ((), 0, 1.0)


def test_thousands_of_buffers_that_are_live_all_along() -> None:
    """Too many pairs to list: the walk along addresses takes over."""
    always = tuple(Buffer(f"w{i}", 0, 99, 16 + 8 * (i % 7), 8) for i in range(3000))
    problem = MemoryProblem((*always, *(Buffer(f"v{i}", i % 100, i % 100, 1000, 8) for i in range(100))))
    assert count_conflicts(problem.columns) > 4_000_000
    plan = plan_greedy(problem)
    verify(problem, plan)
    assert plan.is_optimal


def test_a_hard_problem_keeps_the_best_order() -> None:
    problem = brick(seed=3, height=1000, width=40, count=120)
    plan = plan_greedy(problem)
    verify(problem, plan, within_capacity=False)
    columns = problem.columns
    conflicts = conflicts_of(columns)
    peaks = [place(columns, conflicts, o.of(columns), rule)[0] for o in ORDERS for rule in RULES]
    assert plan.peak_bytes == min(peaks) < max(peaks)
