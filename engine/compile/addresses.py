"""Addresses of the values that kernels make: on the chip for those that stay there, in DRAM for the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.compile.memory import Buffer, MemoryPlan, MemoryProblem, plan_better, plan_greedy
from engine.compile.residency import Lifetime

DRAM_ALIGNMENT = 64
"""Bytes: a burst of DDR, and a line of every CPU's cache."""


Planner = Callable[[MemoryProblem], MemoryPlan]

_EFFORT = 10
"""Slices of search that :func:`plan_longer` spends: a count, so that equal problems have equal plans."""


def plan_longer(problem: MemoryProblem) -> MemoryPlan:
    """The planner of level O3."""
    return plan_better(problem, effort=_EFFORT)


@dataclass(frozen=True, eq=False)
class PlannedMemory:
    """A memory with its plan; buffers are named after the values that they hold, in steps of kernels."""

    problem: MemoryProblem
    plan: MemoryPlan

    def address_of(self) -> Mapping[str, int]:
        """Value to its address."""
        names = (buffer.name for buffer in self.problem.buffers)
        return dict(zip(names, self.plan.addresses, strict=True))


def place_residents(
    kept: Sequence[Lifetime], capacity_bytes: int, alignment: int, planner: Planner = plan_greedy
) -> tuple[frozenset[str], PlannedMemory]:
    """Addresses on the chip, and the values that got one.

    Values that fit by their sum may not fit by their places: then the one that saves the least traffic of those beyond
    the end of the memory goes to DRAM, until all others have room.
    """
    staying = list(kept)
    while True:
        buffers = tuple(Buffer(t.value, t.first, t.last, t.size_bytes, alignment) for t in staying)
        problem = MemoryProblem(buffers, capacity_bytes)
        plan = planner(problem)
        if plan.meets_capacity:
            return frozenset(tensor.value for tensor in staying), PlannedMemory(problem, plan)
        beyond = [
            tensor
            for tensor, address in zip(staying, plan.addresses, strict=True)
            if address + tensor.size_bytes > capacity_bytes
        ]
        staying.remove(min(beyond, key=lambda tensor: tensor.traffic_bytes))


def place_in_dram(values: Sequence[Lifetime]) -> PlannedMemory:
    """Addresses in DRAM, which is as large as it needs to be."""
    buffers = tuple(Buffer(t.value, t.first, t.last, t.size_bytes, DRAM_ALIGNMENT) for t in values)
    problem = MemoryProblem(buffers)
    return PlannedMemory(problem, plan_greedy(problem))
