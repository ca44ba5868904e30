"""The search is complete: it finds a plan of a height exactly where there is one."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings

from engine.compile.memory import Buffer, MemoryPlan, MemoryProblem, verify
from engine.compile.memory.first_fit import conflicts_of
from engine.compile.memory.greedy import place
from engine.compile.memory.orders import Orders
from engine.compile.memory.search import FOUND, GOES_ON, NO_SOLUTION, Search

from .problems import brick, chain, problems

ENOUGH = 1_000_000


def search_of(problem: MemoryProblem, height: int, seed: int = 0) -> Search:
    columns = problem.columns
    return Search(columns, conflicts_of(columns), height, Orders(columns, seed))


def plan_of(problem: MemoryProblem, search: Search) -> MemoryPlan:
    peak_bytes = int((search.addresses + problem.columns.size).max())
    found = problem.columns.addresses_of(search.addresses)
    return MemoryPlan(found, peak_bytes, problem.lower_bound_bytes, "search", search.height)


@settings(max_examples=150)
@given(problems(most=6))
def test_finds_the_least_peak_that_any_order_gives_and_nothing_below(problem: MemoryProblem) -> None:
    """Some order of placing each buffer as low as possible gives the best plan: that of its addresses."""
    columns = problem.columns
    if not columns.index.size:
        return
    conflicts = conflicts_of(columns)
    orders = permutations(range(columns.index.size))
    least = min(place(columns, conflicts, np.array(order, np.int64))[0] for order in orders)
    search = search_of(problem, least)
    assert search.advance(ENOUGH) == FOUND
    plan = plan_of(problem, search)
    verify(problem, plan)
    assert plan.peak_bytes == least
    assert search_of(problem, least - 1).advance(ENOUGH) == NO_SOLUTION


@pytest.mark.parametrize("seed", range(8))
def test_packs_a_rectangle_without_a_gap(seed: int) -> None:
    problem = brick(seed, height=1000, width=30, count=60)
    search = search_of(problem, 1000)
    assert search.advance(ENOUGH) == FOUND
    plan = plan_of(problem, search)
    verify(problem, plan)
    assert plan.peak_bytes == 1000


def test_a_bound_that_cannot_be_reached_is_proven_so() -> None:
    """Wherever two buffers of 2 lie in 4 bytes at steps 0 and 2, what lives across 1 and 2 is parted or blocked."""
    buffers = [
        ("a", 0, 1, 2),
        ("b", 0, 0, 1),
        ("c", 0, 0, 1),
        ("d", 1, 2, 1),
        ("e", 1, 3, 1),
        ("f", 2, 2, 2),
        ("g", 3, 3, 3),
    ]
    problem = MemoryProblem(tuple(Buffer(*fields) for fields in buffers))
    assert problem.lower_bound_bytes == 4
    outcomes = {height: search_of(problem, height).advance(ENOUGH) for height in (3, 4, 5)}
    assert outcomes[3] == NO_SOLUTION
    assert outcomes[5] == FOUND


def test_stopping_and_going_on_changes_nothing() -> None:
    problem = brick(seed=5, height=1000, width=40, count=90)
    at_once, bit_by_bit = search_of(problem, 1000), search_of(problem, 1000)
    assert at_once.advance(ENOUGH) == FOUND
    outcome = GOES_ON
    while outcome == GOES_ON:
        outcome = bit_by_bit.advance(7)
    assert outcome == FOUND
    assert bit_by_bit.nodes == at_once.nodes > 7
    assert bit_by_bit.addresses.tolist() == at_once.addresses.tolist()


def test_groups_that_never_meet_are_solved_one_by_one() -> None:
    """Ten hard parts in a row take about the sum of their nodes, far from the product."""
    parts = [brick(seed, height=1000, width=20, count=40) for seed in range(10)]
    alone = [search_of(part, 1000) for part in parts]
    assert [search.advance(ENOUGH) for search in alone] == [FOUND] * len(parts)
    buffers = [
        Buffer(f"{index}/{b.name}", b.first + 20 * index, b.last + 20 * index, b.size_bytes)
        for index, part in enumerate(parts)
        for b in part.buffers
    ]
    together = MemoryProblem(tuple(buffers))
    search = search_of(together, 1000)
    assert search.advance(ENOUGH) == FOUND
    verify(together, plan_of(together, search))


def test_thousands_of_buffers_are_one_dive() -> None:
    problem = chain(3000)
    search = search_of(problem, problem.lower_bound_bytes)
    assert search.advance(20_000) == FOUND
    verify(problem, plan_of(problem, search))


def test_orders_are_permutations_and_repeat_for_a_seed() -> None:
    columns = chain(50).columns
    batches = [
        [orders.batch(), orders.batch()] for orders in (Orders(columns, 3), Orders(columns, 3), Orders(columns, 4))
    ]
    for batch in (*batches[0], *batches[2]):
        assert (np.sort(batch, axis=1) == np.arange(columns.index.size)).all()
    assert all((one == other).all() for one, other in zip(batches[0], batches[1], strict=True))
    assert (batches[0][1] != batches[2][1]).any()


def test_the_first_order_is_by_contention() -> None:
    columns = chain(50).columns
    first = np.argsort(Orders(columns, 0).batch()[0])
    contention = columns.contention[first].tolist()
    assert contention == sorted(contention, reverse=True)
