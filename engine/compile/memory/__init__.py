"""Addresses for buffers with known lifetimes: :func:`plan_greedy` on every edit, :func:`plan_better` given time,
and :func:`verify`, which judges both.
"""

from engine.compile.memory.better import plan_better
from engine.compile.memory.greedy import plan_greedy
from engine.compile.memory.types import Buffer, MemoryPlan, MemoryProblem
from engine.compile.memory.verify import Access, verify, verify_accesses

__all__ = ["Access", "Buffer", "MemoryPlan", "MemoryProblem", "plan_better", "plan_greedy", "verify", "verify_accesses"]
