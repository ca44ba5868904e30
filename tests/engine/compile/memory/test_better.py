"""The planner for the background: never worse than greedy, within its budget, the same for the same effort."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given

from engine.compile.memory import Buffer, MemoryProblem, plan_better, plan_greedy, verify
from engine.compile.memory.first_fit import conflicts_of
from engine.compile.memory.greedy import place

from .problems import brick, chain, problems

LONG_S = 60.0
HARD = brick(seed=3, height=1000, width=40, count=150)


@given(problems())
def test_valid_and_between_bound_and_greedy(problem: MemoryProblem) -> None:
    plan = plan_better(problem, LONG_S, effort=1)
    verify(problem, plan)
    assert problem.lower_bound_bytes <= plan.peak_bytes <= plan_greedy(problem).peak_bytes


@given(problems(most=6))
def test_a_small_problem_has_its_best_plan(problem: MemoryProblem) -> None:
    columns = problem.columns
    conflicts = conflicts_of(columns)
    orders = permutations(range(columns.index.size))
    least = min(place(columns, conflicts, np.array(order, np.int64))[0] for order in orders)
    assert plan_better(problem, LONG_S).peak_bytes == least


def test_a_hard_problem_gets_better_and_says_how() -> None:
    greedy, better = plan_greedy(HARD), plan_better(HARD, LONG_S, effort=100)
    verify(HARD, better)
    assert not greedy.meets_capacity
    assert better.meets_capacity
    assert better.is_optimal
    assert better.planner == "search"


def test_the_capacity_comes_before_the_lower_bound() -> None:
    """Stopped by the first plan that is within the capacity, which is halfway down."""
    greedy = plan_greedy(HARD)
    capacity = (greedy.peak_bytes + greedy.lower_bound_bytes) // 2
    problem = replace(HARD, capacity_bytes=capacity)
    plan = plan_better(problem, LONG_S, effort=1)
    assert greedy.peak_bytes > capacity >= plan.peak_bytes
    assert plan.meets_capacity


def test_the_same_effort_and_seed_give_the_same_plan() -> None:
    problem = brick(seed=3, height=1000, width=40, count=100)
    plans = [plan_better(problem, LONG_S, effort=10, seed=seed) for seed in (0, 0, 1)]
    assert plans[0] == plans[1]
    assert plans[0].addresses != plans[2].addresses


@pytest.mark.parametrize("budget", [{"budget_s": 0.0}, {"budget_s": LONG_S, "effort": 0}])
def test_no_budget_leaves_the_greedy_plan(budget: dict[str, float]) -> None:
    assert plan_better(HARD, **budget) == plan_greedy(HARD)  # type: ignore[arg-type]


def test_cancelling_ends_with_the_best_so_far() -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 2

    plan = plan_better(HARD, LONG_S, cancelled=cancelled)
    assert len(asked) == 3
    assert plan == plan_better(HARD, LONG_S, effort=2)


def never_asked() -> bool:
    raise AssertionError("there was nothing to search for")


def test_a_greedy_plan_at_the_bound_is_the_answer() -> None:
    problem = MemoryProblem(tuple(Buffer(f"v{i}", i, i + 1, 64) for i in range(10)))
    assert plan_better(problem, LONG_S, cancelled=never_asked) == plan_greedy(problem)


def test_a_problem_too_large_to_search_keeps_the_greedy_plan() -> None:
    always = (Buffer(f"w{i}", 0, 999, 64, 64) for i in range(1500))
    problem = MemoryProblem((*always, *chain(1000).buffers))
    plan = plan_better(problem, LONG_S, cancelled=never_asked)
    assert not plan.is_optimal
    assert plan == plan_greedy(problem)
