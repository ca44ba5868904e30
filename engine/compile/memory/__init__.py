"""Addresses for buffers with known lifetimes: :func:`plan_greedy` finds them, :func:`verify` judges them."""

from engine.compile.memory.greedy import plan_greedy
from engine.compile.memory.types import Buffer, MemoryPlan, MemoryProblem
from engine.compile.memory.verify import Access, verify, verify_accesses

__all__ = ["Access", "Buffer", "MemoryPlan", "MemoryProblem", "plan_greedy", "verify", "verify_accesses"]
