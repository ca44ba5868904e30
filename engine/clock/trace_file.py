"""The simulated schedule in the Trace Event Format, which Perfetto and Chrome's tracing page show.

One process is the target, its threads are the engines. A job is a complete event ("X") with the time in microseconds;
jobs of the critical path have the category ``critical`` and are joined by flow events ("s" to "f"); what resident
values occupy on the chip is a counter ("C"). Times are multiples of 2**-20 us and written without rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import ExportError
from engine.files import write_atomic
from engine.reports import Compilation, KernelReport, Timeline

_PID = 1
_HOST_TID = 0

Event = dict[str, Any]


def write_trace(path: Path, compilation: Compilation, timeline: Timeline, frames: int = 1) -> int:
    """Write ``timeline``, which is that of the compilation or of several of its frames; returns the number of events.

    Raises:
        ExportError: The file cannot be written; what was there before is intact.
    """
    events = trace_events(compilation, timeline, frames)
    other = {
        "target": compilation.target,
        "latency_ms": compilation.latency_ms,
        "frames": frames,
        "sram_capacity_bytes": compilation.memory.capacity_bytes,
        "stated_error": compilation.stated_error,
    }
    record = {"displayTimeUnit": "ns", "otherData": other, "traceEvents": events}
    write_atomic(path, msgspec.json.encode(record) + b"\n", ExportError)
    return len(events)


def trace_events(compilation: Compilation, timeline: Timeline, frames: int = 1) -> list[Event]:
    """All events: the metadata first, then the rest by time."""
    slices = [*_jobs(timeline, frames), *_host(timeline)]
    timed = [*slices, *_flows(timeline)]
    if frames == 1:
        timed += _occupancy(compilation)
    timed.sort(key=itemgetter("ts"))
    lanes = sorted({event["tid"] for event in slices})
    return [*_metadata(compilation.target, timeline, lanes), *timed]


def _metadata(target: str, timeline: Timeline, lanes: Sequence[int]) -> Iterator[Event]:
    """Names of the process and of its lanes, host first, then the engines in their order."""
    yield _named("process_name", {"name": target})
    names = {_HOST_TID: "host", **{_tid(engine): name for engine, name in enumerate(timeline.engines)}}
    for tid in lanes:
        yield _named("thread_name", {"name": names[tid]}, tid)
        yield _named("thread_sort_index", {"sort_index": tid}, tid)


def _named(name: str, args: dict[str, object], tid: int = _HOST_TID) -> Event:
    return {"ph": "M", "pid": _PID, "tid": tid, "name": name, "args": args}


def _tid(engine: int) -> int:
    return engine + 1


def _jobs(timeline: Timeline, frames: int) -> Iterator[Event]:
    per_frame = max(len(timeline.engine) // frames, 1)
    for index, engine in enumerate(timeline.engine):
        start_us, is_critical = timeline.start_us[index], timeline.is_critical[index]
        kernel = timeline.kernels[timeline.kernel[index]]
        args: dict[str, object] = {
            "node": kernel.anchor,
            "tile": timeline.tile[index],
            "bytes": timeline.size_bytes[index],
            "critical": is_critical,
            "bound": kernel.bound,
        }
        if kernel.region:
            args["region"] = kernel.region
        if frames > 1:
            args["frame"] = index // per_frame
        yield _complete(_tid(engine), _title(kernel), start_us, timeline.end_us[index], is_critical, args)


def _title(kernel: KernelReport) -> str:
    return kernel.region or kernel.anchor


def _complete(tid: int, name: str, start_us: float, end_us: float, is_critical: bool, args: dict[str, object]) -> Event:
    return {
        "ph": "X",
        "pid": _PID,
        "tid": tid,
        "name": name,
        "cat": "critical" if is_critical else "hidden",
        "ts": start_us,
        "dur": end_us - start_us,
        "args": args,
    }


def _host(timeline: Timeline) -> Iterator[Event]:
    """What the host does before the chip's first job on the critical path."""
    waited = zip(timeline.start_us, timeline.is_critical, strict=True)
    until_us = min((start_us for start_us, is_critical in waited if is_critical), default=timeline.total_us)
    if until_us > 0.0:
        args: dict[str, object] = {"node": "", "tile": 0, "bytes": 0, "critical": True}
        yield _complete(_HOST_TID, "inference", 0.0, until_us, True, args)


def _flows(timeline: Timeline) -> Iterator[Event]:
    """An arrow from each job of the critical path to the next, where that is in another lane or kernel."""
    jobs = zip(timeline.start_us, timeline.end_us, timeline.engine, timeline.kernel, timeline.is_critical, strict=True)
    path = sorted(job for job in jobs if job[-1] and job[1] > job[0])
    for number, (before, after) in enumerate(pairwise(path)):
        if before[2:4] != after[2:4]:
            arrow: Event = {"pid": _PID, "name": "critical path", "cat": "critical", "id": number}
            yield {**arrow, "ph": "s", "tid": _tid(before[2]), "ts": before[0]}
            yield {**arrow, "ph": "f", "bp": "e", "tid": _tid(after[2]), "ts": after[0]}


def _occupancy(compilation: Compilation) -> Iterator[Event]:
    for time_us, size_bytes in compilation.memory.occupancy:
        yield {"ph": "C", "pid": _PID, "name": "SRAM", "ts": time_us, "args": {"bytes": size_bytes}}
