"""Compiling the planners' kernels ahead of their first use: ``python -m engine.warm`` compiles these and others."""

from __future__ import annotations

from engine.compile.memory.first_fit import conflicts_of
from engine.compile.memory.greedy import plan_greedy
from engine.compile.memory.orders import Orders
from engine.compile.memory.search import Search
from engine.compile.memory.types import Buffer, MemoryProblem

_CHAIN = (150, 1200, 1200, 300, 1800, 450, 450, 900)
"""Bytes of what each layer makes for the next: the first order does not do for these, so that others are tried."""


def compile_kernels() -> None:
    """Plan a few buffers."""
    buffers = (Buffer(f"layer {step}", step, step + 1, size_bytes) for step, size_bytes in enumerate(_CHAIN))
    problem = MemoryProblem(tuple(buffers))
    plan_greedy(problem)
    search = Search(
        problem.columns, conflicts_of(problem.columns), problem.lower_bound_bytes, Orders(problem.columns, 0)
    )
    search.advance(1)
