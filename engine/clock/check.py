"""Whether a compiled model holds: memory, order, and what the chip has room for. Shares nothing with what it checks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.clock.event import Trace
from engine.compile.memory import Access, verify, verify_accesses
from engine.compile.types import CHIP_COMPUTE, QUEUES, Compiled, Engine
from engine.errors import CompileError
from engine.target.target import Target


def check_compiled(compiled: Compiled, trace: Trace, target: Target) -> None:
    """Refuse a compiled model in which live buffers overlap or are not aligned, a value is read before it is written,
    the on-chip memory holds more than it has room for, or an engine does two jobs at once.

    Raises:
        CompileError: It names what is wrong and where.
    """
    _check_memory(compiled)
    _check_values(compiled, trace)
    _check_room(compiled, target)
    _check_engines(compiled, trace)


def _check_memory(compiled: Compiled) -> None:
    """Buffers do not overlap, and hold what is read in them."""
    for planned in (compiled.sram, compiled.dram):
        verify(planned.problem, planned.plan)
        names = {buffer.name for buffer in planned.problem.buffers}
        accesses = [
            Access(
                step,
                reads=tuple(root for root in costed.kernel.reads if root in names),
                writes=tuple(root for root in costed.kernel.writes if root in names),
            )
            for step, costed in enumerate(compiled.kernels)
        ]
        verify_accesses(planned.problem, accesses)


def _check_values(compiled: Compiled, trace: Trace) -> None:
    """No kernel begins to load or to compute before all that it reads is there."""
    schedule = compiled.schedule
    written: dict[str, int] = {}
    for index, costed in enumerate(compiled.kernels):
        members = schedule.kernel == index
        # The weights are fetched ahead: they depend on no kernel.
        begins = members & (schedule.engine != Engine.GATE)
        places = np.flatnonzero(begins)[1 if costed.block.prefetch else 0 :]
        begin = int(trace.start[places].min())
        for root in costed.kernel.reads:
            if written.get(root, 0) > begin:
                raise CompileError(f"kernel '{costed.kernel.anchor}' begins before '{root}' is written")
        computed = _end(trace, members & np.isin(schedule.engine, (*CHIP_COMPUTE, Engine.CPU)))
        stored = max(_end(trace, members & (schedule.engine == Engine.STORE)), computed)
        for root in costed.kernel.writes:
            written[root] = max(written.get(root, 0), computed if root in compiled.resident else stored)


def _end(trace: Trace, jobs: NDArray[np.bool_]) -> int:
    """When the last of some jobs ends; 0 without any."""
    return int(trace.end[jobs].max(initial=0))


def _check_room(compiled: Compiled, target: Target) -> None:
    """What stays on the chip at any time fits in its part of the memory."""
    capacity_bytes = int(target.sram.capacity.value * target.sram.activation_share.value)
    held = np.zeros(len(compiled.kernels) + 1, np.int64)
    for value in compiled.values:
        if value.value in compiled.resident:
            held[value.first] += value.size_bytes
            held[value.last + 1] -= value.size_bytes
    peak_bytes = int(np.cumsum(held).max(initial=0))
    if max(peak_bytes, compiled.sram.plan.peak_bytes) > capacity_bytes:
        raise CompileError(f"{peak_bytes:,} B are on the chip at once, {capacity_bytes:,} B may be")


def _check_engines(compiled: Compiled, trace: Trace) -> None:
    """Engines do one job at a time, jobs wait for what they depend on, and the critical path has no gap."""
    schedule = compiled.schedule
    for queue in {queue for queue in QUEUES if queue >= 0}:
        engines = [engine for engine, own in enumerate(QUEUES) if own == queue]
        jobs = np.flatnonzero(np.isin(schedule.engine, engines))
        if np.any(trace.start[jobs[1:]] < trace.end[jobs[:-1]]):
            raise CompileError(f"engine '{Engine(engines[0]).name}' does two jobs at once")
    owner = np.repeat(np.arange(schedule.size), np.diff(schedule.dep_ends, prepend=0))
    if np.any(schedule.deps >= owner) or np.any(trace.start[owner] < trace.end[schedule.deps]):
        raise CompileError("a job begins before one that it depends on is done")
    path = np.flatnonzero(trace.is_critical)
    if len(path) and (trace.start[path[0]] != 0 or np.any(trace.start[path[1:]] != trace.end[path[:-1]])):
        raise CompileError("the critical path has a gap")
