"""The planner for every edit: buffers placed one by one, in several orders, the best of which is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from engine.compile.memory.columns import Columns, Integers
from engine.compile.memory.first_fit import (
    BOTH_ENDS,
    LOWEST,
    TIGHTEST,
    Conflicts,
    conflicts_of,
    count_conflicts,
    place_in_order,
    place_without_conflicts,
)
from engine.compile.memory.types import MemoryPlan, MemoryProblem

_MOST_CONFLICTS = 4_000_000
"""Above, all conflicting pairs are not kept (16 MB of them each way), and each order takes longer."""

_EFFORT = 2_500_000
"""Pairs looked at after which no further order is begun: some 40 ms. A count and no time: the same problem always has
the same plan.
"""


@dataclass(frozen=True)
class Order:
    """A sequence in which to place buffers."""

    name: str
    key: Callable[[Columns], tuple[Integers, ...]]

    def of(self, columns: Columns) -> Integers:
        """Indices of the columns, by the first key, then the next ones; the largest first, then the earlier."""
        keys = self.key(columns)
        return np.lexsort(tuple(-key for key in reversed(keys))).astype(np.int64)


def _lifetime(columns: Columns) -> Integers:
    return columns.last - columns.first + 1


ORDERS = (
    Order("size", lambda c: (c.size, _lifetime(c))),
    Order("contention", lambda c: (c.contention, c.size)),
    Order("size x lifetime", lambda c: (c.size * _lifetime(c),)),
    Order("lifetime", lambda c: (_lifetime(c), c.size)),
    Order("time", lambda c: (-c.first, c.size)),
    Order("time backwards", lambda c: (c.last, c.size)),
)
"""Size comes first: it is nearly always the best for a network's activations (Pisarchyk and Lee, "Efficient memory
management for deep neural net inference", 2020, which also orders by contention: they call it breadth).
"""

RULES = {LOWEST: "", BOTH_ENDS: ", from both ends", TIGHTEST: ", into tight gaps"}
"""Which gap a buffer goes to, with what it adds to a plan's name; in the order in which they are tried."""


def plan_greedy(problem: MemoryProblem) -> MemoryPlan:
    """The best of a few greedy plans; the same one every time. Stops at a plan that reaches the lower bound."""
    columns = problem.columns
    best: tuple[int, Integers, str] | None = None
    for peak, address, name in _attempts(columns):
        if best is None or peak < best[0]:
            best = peak, address, name
        if peak == columns.lower_bound_bytes:
            break
    peak, address, name = best or (0, np.zeros(0, np.int64), "")
    return MemoryPlan(
        addresses=columns.addresses_of(address),
        peak_bytes=peak,
        lower_bound_bytes=columns.lower_bound_bytes,
        planner=f"greedy by {name}" if name else "nothing to place",
        capacity_bytes=problem.capacity_bytes,
    )


def _attempts(columns: Columns) -> Iterator[tuple[int, Integers, str]]:
    """Peaks with their addresses and how they were found, as long as the effort allows; at least one."""
    if not columns.index.size:
        return
    pairs = count_conflicts(columns)
    if pairs > _MOST_CONFLICTS:
        address = np.zeros(columns.index.size, np.int64)
        arrays = columns.first, columns.last, columns.size, columns.alignment
        peak = int(place_without_conflicts(ORDERS[0].of(columns), *arrays, address))
        yield peak, address, ORDERS[0].name
        return
    conflicts = conflicts_of(columns)
    effort = 0
    for rule, suffix in RULES.items():
        for order in ORDERS:
            peak, address = place(columns, conflicts, order.of(columns), rule)
            yield peak, address, order.name + suffix
            effort += 2 * pairs + columns.index.size
            if effort > _EFFORT:
                return


def place(columns: Columns, conflicts: Conflicts, order: Integers, rule: int = LOWEST) -> tuple[int, Integers]:
    """Peak and addresses with buffers placed in ``order`` by a rule of :data:`RULES`."""
    address = np.empty(order.size, np.int64)
    sorts = columns.first, columns.last, columns.size, columns.alignment
    ceiling = columns.lower_bound_bytes
    return int(place_in_order(order, *sorts, conflicts.start, conflicts.other, rule, ceiling, address)), address
