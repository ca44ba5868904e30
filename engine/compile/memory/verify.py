"""Whether a memory plan holds: an independent look that shares nothing with the planners."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from engine.compile.memory.types import Buffer, MemoryPlan, MemoryProblem
from engine.errors import CompileError


def verify(problem: MemoryProblem, plan: MemoryPlan, *, within_capacity: bool = True) -> None:
    """Refuse a plan in which two buffers share a byte while both are live, or one lies where it must not.

    Args:
        problem: What was to be planned.
        plan: The answer.
        within_capacity: Also refuse a buffer that ends beyond the problem's capacity.

    Raises:
        CompileError: It names the buffers, their addresses and the step.
    """
    if len(plan.addresses) != len(problem.buffers):
        raise CompileError(f"a plan of {len(plan.addresses)} addresses for {len(problem.buffers)} buffers")
    placed = list(zip(problem.buffers, plan.addresses, strict=True))
    for buffer, address in placed:
        _check_place(buffer, address, problem.capacity_bytes if within_capacity else None)
    peak_bytes = max((address + buffer.size_bytes for buffer, address in placed if buffer.size_bytes), default=0)
    if plan.peak_bytes != peak_bytes:
        raise CompileError(
            f"a plan that states a peak of {plan.peak_bytes} bytes, where its buffers end at {peak_bytes}"
        )
    _check_apart(placed)


def _check_place(buffer: Buffer, address: int, capacity_bytes: int | None) -> None:
    if address < 0:
        raise CompileError(f"{buffer} is at the negative address {address}")
    if address % buffer.alignment:
        raise CompileError(f"{buffer} is at {address}, which is no multiple of its alignment {buffer.alignment}")
    end = address + buffer.size_bytes
    if capacity_bytes is not None and end > capacity_bytes:
        raise CompileError(f"{buffer} ends at {end}, beyond the memory's {capacity_bytes} bytes")


def _check_apart(placed: Iterable[tuple[Buffer, int]]) -> None:
    """Walk through time with the live buffers sorted by address: each new one is compared with its neighbours."""
    solid = [(buffer, address) for buffer, address in placed if buffer.size_bytes]
    begins = [(buffer.first, 1, index) for index, (buffer, _) in enumerate(solid)]
    ends = [(buffer.last + 1, 0, index) for index, (buffer, _) in enumerate(solid)]
    live: list[tuple[int, int]] = []
    for step, is_begin, index in sorted(begins + ends):
        entry = solid[index][1], index
        position = bisect_left(live, entry)
        if not is_begin:
            del live[position]
            continue
        for _, neighbour in live[max(0, position - 1) : position + 1]:
            _check_pair(solid[neighbour], solid[index], step)
        live.insert(position, entry)


def _check_pair(one: tuple[Buffer, int], other: tuple[Buffer, int], step: int) -> None:
    (lower, low), (upper, high) = sorted((one, other), key=lambda pair: pair[1])
    if low + lower.size_bytes > high:
        raise CompileError(
            f"{lower} at {low} to {low + lower.size_bytes} and {upper} at {high} to {high + upper.size_bytes} "
            f"share memory while both are live, from step {step} on"
        )


@dataclass(frozen=True)
class Access:
    """What a step of the schedule reads and writes, by the names of buffers."""

    step: int
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def verify_accesses(problem: MemoryProblem, accesses: Iterable[Access], given: Iterable[str] = ()) -> None:
    """Refuse a schedule that reads what no earlier step has written, or touches a buffer outside its lifetime.

    Args:
        problem: The buffers. A name may stand for several, such as before and after a value was away; an access has to
            fall in the lifetime of one of them.
        accesses: In any order; those of one step count as simultaneous.
        given: Names of what is there before the first step: inputs and weights.

    Raises:
        CompileError: It names the buffer and the step.
    """
    lifetimes: dict[str, list[Buffer]] = {}
    for buffer in problem.buffers:
        lifetimes.setdefault(buffer.name, []).append(buffer)
    written: dict[str, int] = {}
    ordered = sorted(accesses, key=lambda access: access.step)
    for access in ordered:
        for name in access.writes:
            written.setdefault(name, access.step)
    there = frozenset(given)
    for access in ordered:
        for name in access.reads:
            if name not in there:
                _check_written(name, access.step, written.get(name))
        for name in (*access.reads, *access.writes):
            _check_live(name, access.step, lifetimes.get(name, []))


def _check_written(name: str, step: int, written: int | None) -> None:
    if written is None:
        raise CompileError(f"step {step} reads buffer '{name}', which no step writes")
    if written >= step:
        raise CompileError(f"step {step} reads buffer '{name}', which is first written at step {written}")


def _check_live(name: str, step: int, buffers: list[Buffer]) -> None:
    if not buffers:
        raise CompileError(f"step {step} uses buffer '{name}', which has no place in the memory")
    if not any(buffer.first <= step <= buffer.last for buffer in buffers):
        lifetimes = ", ".join(f"{buffer.first} to {buffer.last}" for buffer in buffers)
        raise CompileError(f"step {step} uses buffer '{name}', which is live from step {lifetimes}")
