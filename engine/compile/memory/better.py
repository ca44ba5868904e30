"""The planner for the background: as good as the time allows, never worse than the greedy one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from engine.compile.memory.columns import Columns, Integers
from engine.compile.memory.first_fit import conflicts_of, count_conflicts
from engine.compile.memory.greedy import plan_greedy
from engine.compile.memory.orders import Orders
from engine.compile.memory.search import FOUND, NO_SOLUTION, Search
from engine.compile.memory.types import MemoryPlan, MemoryProblem

Watch = Callable[[], bool]

_SLICE_NODES = 10_000
_SLICE_BUFFERS = 300
"""Nodes between two looks at the clock: as many for so many buffers, fewer for more; some 0.05 s."""

_NEAR, _GOAL_SLICES_NEAR = 1.05, 3
"""Slices for the goal to one for a height between it and the plan, once the plan is that near; one to one before."""

_STEP_SLICES = 12
"""Slices after which an intermediate height that was not reached is raised."""

_MOST_PAIRS = 1_000_000
"""Pairs of buffers live at the same time that a search may note: 80 MB. Larger problems keep the greedy plan."""


def _never() -> bool:
    return False


def plan_better(
    problem: MemoryProblem,
    budget_s: float = 30.0,
    *,
    cancelled: Watch = _never,
    effort: int | None = None,
    seed: int = 0,
) -> MemoryPlan:
    """The best plan found within a time; ends early at one that is known to be the best there is.

    Where the problem has a capacity that the greedy plan exceeds, meeting it comes first. Nothing runs on after the
    answer.

    Args:
        problem: What to plan.
        budget_s: Time to spend.
        cancelled: Asked every 0.1 s or so; once true, the best plan so far is the answer.
        effort: Slices of work to spend at most. The same problem, effort and seed give the same plan where the time
            suffices for the effort.
        seed: Of the search's choices.
    """
    plan = plan_greedy(problem)
    if plan.is_optimal or count_conflicts(problem.columns) > _MOST_PAIRS:
        return plan
    return _Descent(problem.columns, plan, seed).run(_Budget(budget_s, effort, cancelled))


class _Budget:
    """Time and effort that are left."""

    def __init__(self, budget_s: float, effort: int | None, cancelled: Watch) -> None:
        self._end = time.monotonic() + budget_s
        self._effort = effort
        self._cancelled = cancelled

    def allows(self) -> bool:
        """Whether another slice may begin."""
        if self._effort is not None:
            self._effort -= 1
            if self._effort < 0:
                return False
        return time.monotonic() < self._end and not self._cancelled()


class _Descent:
    """Searches below the best plan so far: for the goal, and in turns for a height between that and the plan."""

    def __init__(self, columns: Columns, plan: MemoryPlan, seed: int) -> None:
        self._columns = columns
        self._conflicts = conflicts_of(columns)
        self._seed = seed
        self._unit = int(np.gcd.reduce(np.concatenate((self._columns.size, self._columns.alignment))))
        self._least = -(-plan.lower_bound_bytes // self._unit) * self._unit  # peaks are multiples of the unit
        self._plan = plan
        self._slice_nodes = max(1, _SLICE_NODES * _SLICE_BUFFERS // max(_SLICE_BUFFERS, self._columns.index.size))

    def run(self, budget: _Budget) -> MemoryPlan:
        """Lower the plan until it is the best or the budget is spent."""
        goal: Search | None = None
        step: Search | None = None
        turn = 0
        while self._least < self._plan.peak_bytes and budget.allows():
            if goal is None or not self._is_open(goal):
                goal, turn = self._search(self._goal()), 0
            if turn < (_GOAL_SLICES_NEAR if self._plan.peak_bytes < _NEAR * goal.height else 1):
                self._advance(goal)
                turn += 1
            else:
                step = self._step(step, goal)
                self._advance(step)
                turn = 0
        return self._plan

    def _is_open(self, search: Search) -> bool:
        """Whether what it looks for would be news."""
        return self._least <= search.height < self._plan.peak_bytes

    def _goal(self) -> int:
        """The capacity while that is not met, then the least peak that may be possible."""
        capacity = self._plan.capacity_bytes
        if capacity is not None and self._least <= capacity < self._plan.peak_bytes:
            return capacity
        return self._least

    def _step(self, step: Search | None, goal: Search) -> Search:
        """The search between goal and plan: half way, and half way from there where that takes too long."""
        if step is None or not self._is_open(step):
            return self._search(self._middle(goal.height))
        if step.nodes > _STEP_SLICES * self._slice_nodes:
            return self._search(self._middle(step.height))
        return step

    def _middle(self, height: int) -> int:
        """Half way from a height to the plan's, rounded down to a possible peak."""
        return (height + self._plan.peak_bytes) // 2 // self._unit * self._unit

    def _search(self, height: int) -> Search:
        self._seed += 1
        return Search(self._columns, self._conflicts, height, Orders(self._columns, self._seed))

    def _advance(self, search: Search) -> None:
        outcome = search.advance(self._slice_nodes)
        if outcome == FOUND:
            self._plan = self._improved(search.addresses)
        elif outcome == NO_SOLUTION:
            self._least = (search.height // self._unit + 1) * self._unit

    def _improved(self, addresses: Integers) -> MemoryPlan:
        peak_bytes = int((addresses + self._columns.size).max())
        found = self._columns.addresses_of(addresses)
        return replace(self._plan, addresses=found, peak_bytes=peak_bytes, planner="search")
