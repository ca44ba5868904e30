"""The event model: when each job of a schedule starts and ends, and which jobs the total hangs on.

An engine works through its jobs in the order of issue; a job starts when its engine is free and all that it depends on
is done. All times are whole ticks of 2**-20 us, so sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from numpy.typing import NDArray

from engine.compile.types import QUEUES, Engine, Schedule

_numba: Any = numba
_CPU, _HOST = int(Engine.CPU), int(Engine.HOST)
_QUEUES = np.array(QUEUES, np.int8)

PACE_FRAMES = 3
"""Frames behind each other, of which the last two tell the pace."""


@dataclass(frozen=True, eq=False)
class Trace:
    """When the jobs of a frame run, in ticks.

    Attributes:
        start, end: [jobs].
        is_critical: [jobs]; these follow each other without a gap from 0 to ``total``.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    is_critical: NDArray[np.bool_]

    @property
    def total_ticks(self) -> int:
        return int(self.end.max()) if len(self.end) else 0


def simulate(schedule: Schedule) -> Trace:
    """One frame, from an idle chip."""
    start, end, critical = _run(schedule.engine, schedule.ticks, schedule.dep_ends, schedule.deps, _QUEUES)
    return Trace(start, end, critical)


def pace_ticks(schedule: Schedule) -> int:
    """Ticks from frame to frame on one core with enough frames in flight, the CPU's and the host's part left out: other
    frames' jobs run meanwhile."""
    return int(_pace(schedule.engine, schedule.ticks, schedule.dep_ends, schedule.deps, _QUEUES, PACE_FRAMES))


@_numba.njit(cache=True, nogil=True)
def _run(
    engine: NDArray[np.int8],
    ticks: NDArray[np.int64],
    dep_ends: NDArray[np.int32],
    deps: NDArray[np.int32],
    queues: NDArray[np.int8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    count = len(engine)
    start, end = np.zeros(count, np.int64), np.zeros(count, np.int64)
    cause = np.full(count, -1, np.int32)
    newest = np.full(len(queues), -1, np.int32)
    begin = 0
    for job in range(count):
        at, reason = np.int64(0), -1
        for place in range(begin, dep_ends[job]):
            if end[deps[place]] > at:
                at, reason = end[deps[place]], deps[place]
        begin = dep_ends[job]
        queue = queues[engine[job]]
        if queue >= 0:
            before = newest[queue]
            if before >= 0 and end[before] > at:
                at, reason = end[before], before
            newest[queue] = job
        start[job], end[job], cause[job] = at, at + ticks[job], reason
    critical = np.zeros(count, np.bool_)
    job = int(np.argmax(end)) if count else -1
    while job >= 0:
        critical[job] = True
        job = cause[job]
    return start, end, critical


@_numba.njit(cache=True, nogil=True)
def _pace(
    engine: NDArray[np.int8],
    ticks: NDArray[np.int64],
    dep_ends: NDArray[np.int32],
    deps: NDArray[np.int32],
    queues: NDArray[np.int8],
    frames: int,
) -> int:
    count = len(engine)
    end = np.zeros(count, np.int64)
    free = np.zeros(len(queues), np.int64)
    finished = np.zeros(frames, np.int64)
    for frame in range(frames):
        begin = 0
        for job in range(count):
            at = np.int64(0)
            for place in range(begin, dep_ends[job]):
                at = max(at, end[deps[place]])
            begin = dep_ends[job]
            queue = queues[engine[job]]
            if engine[job] in (_CPU, _HOST):
                end[job] = at
            elif queue >= 0:
                end[job] = max(at, free[queue]) + ticks[job]
                free[queue] = end[job]
            else:
                end[job] = at
            finished[frame] = max(finished[frame], end[job])
    return (finished[frames - 1] - finished[0]) // (frames - 1)
