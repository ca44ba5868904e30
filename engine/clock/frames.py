"""Several frames behind each other, as one schedule."""

from __future__ import annotations

import numpy as np

from engine.compile.types import Schedule


def repeated(schedule: Schedule, frames: int) -> Schedule:
    """The jobs of ``frames`` frames, issued frame by frame on the engines of one core.

    No frame waits for another but where both need an engine: what :func:`engine.clock.event.pace_ticks` assumes.
    """
    shift = np.repeat(np.arange(frames, dtype=np.int64) * schedule.size, len(schedule.deps))
    ends = np.repeat(np.arange(frames, dtype=np.int64) * len(schedule.deps), schedule.size)
    return Schedule(
        engine=np.tile(schedule.engine, frames),
        kernel=np.tile(schedule.kernel, frames),
        tile=np.tile(schedule.tile, frames),
        ticks=np.tile(schedule.ticks, frames),
        size_bytes=np.tile(schedule.size_bytes, frames),
        dep_ends=(np.tile(schedule.dep_ends, frames) + ends).astype(np.int32),
        deps=(np.tile(schedule.deps, frames) + shift).astype(np.int32),
    )
