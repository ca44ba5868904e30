"""What a memory planner is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from engine.compile.memory.columns import Columns, columns_of
from engine.errors import CompileError

_LARGEST = 1 << 48
"""Bytes and steps beyond are a mistake, and sums of fewer than 2**14 such sizes stay exact in 64 bits."""


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed from schedule step ``first`` to step ``last``, both included.

    A half-open lifetime ``[lower, upper)``, as MiniMalloc's files have it, is ``first = lower, last = upper - 1``.

    Raises:
        CompileError: A negative size, a lifetime that ends before it begins, or an alignment that is not positive.
    """

    name: str
    first: int
    last: int
    size_bytes: int
    alignment: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.size_bytes <= _LARGEST:
            raise CompileError(f"{self} has an impossible size, {self.size_bytes} bytes")
        if not -_LARGEST <= self.first <= self.last <= _LARGEST:
            raise CompileError(f"{self} has an impossible lifetime, steps {self.first} to {self.last}")
        if not 1 <= self.alignment <= _LARGEST:
            raise CompileError(f"{self} has an impossible alignment, {self.alignment}")

    def __str__(self) -> str:
        return f"buffer '{self.name}'"


@dataclass(frozen=True)
class MemoryProblem:
    """Buffers to lay out in one memory of ``capacity_bytes`` (None: as much as it takes).

    Raises:
        CompileError: A buffer alone is larger than the memory.
    """

    buffers: tuple[Buffer, ...]
    capacity_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.capacity_bytes is None:
            return
        largest = max(self.buffers, key=lambda buffer: buffer.size_bytes, default=None)
        if largest is not None and largest.size_bytes > self.capacity_bytes:
            raise CompileError(
                f"{largest} needs {largest.size_bytes} bytes, the memory has {self.capacity_bytes}",
                hint="keep it in external memory, or split its operator into tiles",
            )

    @cached_property
    def columns(self) -> Columns:
        """The buffers as arrays."""
        rows = [(buffer.first, buffer.last, buffer.size_bytes, buffer.alignment) for buffer in self.buffers]
        return columns_of(rows)

    @property
    def lower_bound_bytes(self) -> int:
        """What no plan stays below: the most bytes that are live at one step, with the gaps that alignment forces."""
        return self.columns.lower_bound_bytes


@dataclass(frozen=True)
class MemoryPlan:
    """Addresses of a problem's buffers, in the problem's order.

    Attributes:
        addresses: First byte of each buffer.
        peak_bytes: The end of the highest buffer.
        lower_bound_bytes: :attr:`MemoryProblem.lower_bound_bytes` of the problem.
        planner: What found it, for a person.
        capacity_bytes: Of the problem.
    """

    addresses: tuple[int, ...]
    peak_bytes: int
    lower_bound_bytes: int
    planner: str
    capacity_bytes: int | None

    @property
    def meets_capacity(self) -> bool:
        return self.capacity_bytes is None or self.peak_bytes <= self.capacity_bytes

    @property
    def is_optimal(self) -> bool:
        """Whether the peak is the lower bound; a plan above it may be the best there is all the same."""
        return self.peak_bytes == self.lower_bound_bytes

    @property
    def overhead(self) -> float:
        """Peak over lower bound: 1.0 where nothing is lost."""
        return self.peak_bytes / self.lower_bound_bytes if self.lower_bound_bytes else 1.0
