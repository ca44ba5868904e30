"""A simulated frame without Qt: lanes, the jobs in them, and what shows of them at any magnification."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.reports import Compilation, KernelReport, Timeline
from gui.panels import formats
from gui.panels.bounds import bound_of, engine_title
from gui.panels.time_axis import TimeSpan, duration_text, moment_text

BAR_FROM_PX = 2.0
"""Jobs at least this wide are bars of their own; narrower ones add up to what share of each pixel they take."""

HOST = "host"
NO_KERNEL = -1

READ_OUT_WIDTH = 84
READ_OUT_LINES = 5
"""How a long explanation is set in a card, in characters."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lane:
    """An engine: its jobs (indices) in order of time, and the share of the frame that it is busy."""

    engine: str
    title: str
    share: float
    jobs: Ints


@dataclass(frozen=True, eq=False)
class Shown:
    """What shows of some jobs: bars ``[n, 2]`` from–to in pixels with the jobs that they are, and how much of each
    pixel column ``[pixels]`` the jobs take that are too narrow to be bars."""

    jobs: Ints
    bars: Floats
    columns: Floats


@dataclass(frozen=True, eq=False)
class Stretches:
    """The critical path, cut where the kernel changes: the kernels (−1: none) and from when to when they have it."""

    kernel: Ints
    start: Floats
    end: Floats


class TimelineModel:
    """The jobs of a frame as columns. Indices of kernels are those of the report, −1 for none."""

    def __init__(self, compilation: Compilation, titles: Mapping[str, str] | None = None) -> None:
        """``titles`` are what nodes are called where there is little room; their ids where it says nothing."""
        timeline = _from_zero(compilation.timeline)
        self.compilation = compilation
        self.timeline = timeline
        self._titles = titles or {}
        self.kernels = timeline.kernels
        self.total_us = timeline.total_us
        self.start: Floats = np.array(timeline.start_us, dtype=np.float64)
        self.end: Floats = np.array(timeline.end_us, dtype=np.float64)
        self.engine: Ints = np.array(timeline.engine, dtype=np.int64)
        self.kernel: Ints = np.array(timeline.kernel, dtype=np.int64)
        self.is_critical: NDArray[np.bool_] = np.array(timeline.is_critical, dtype=np.bool_)
        self.lanes = tuple(self._lane(number, name) for number, name in enumerate(timeline.engines))
        self.critical: Ints = _in_time_order(np.flatnonzero(self.is_critical & (self.end > self.start)), self.start)
        self.stretches = self._stretches()
        self.bounds = tuple(bound_of(kernel.bound) for kernel in self.kernels)
        self._first, self._last = self._extents()
        self._kernel_of_node = {node: i for i, kernel in enumerate(self.kernels) for node in kernel.nodes}

    def _lane(self, number: int, name: str) -> Lane:
        jobs = np.flatnonzero((self.engine == number) & (self.end > self.start))
        share = self.compilation.utilisation.get(name, 0.0)
        return Lane(name, engine_title(name), share, _in_time_order(jobs, self.start))

    def _extents(self) -> tuple[Floats, Floats]:
        """From the first to the last job of each kernel; from infinity to minus infinity where it has none."""
        first, last = np.full(len(self.kernels), np.inf), np.full(len(self.kernels), -np.inf)
        jobs = np.flatnonzero((self.kernel >= 0) & (self.end > self.start))
        np.minimum.at(first, self.kernel[jobs], self.start[jobs])
        np.maximum.at(last, self.kernel[jobs], self.end[jobs])
        return first, last

    def _stretches(self) -> Stretches:
        path = self.critical
        kernel = self.kernel[path]
        first = np.flatnonzero(np.diff(kernel, prepend=-2))
        last = np.append(first[1:], len(path))[: len(first)] - 1
        return Stretches(kernel[first], self.start[path[first]], self.end[path[last]])

    # What shows

    def shown(self, jobs: Ints, span: TimeSpan, pixels: int) -> Shown:
        """What shows of ``jobs`` (in order of time) on ``pixels`` columns."""
        scale = pixels / span.width_us
        inside = jobs[(self.end[jobs] > span.first_us) & (self.start[jobs] < span.last_us)]
        left = (self.start[inside] - span.first_us) * scale
        right = (self.end[inside] - span.first_us) * scale
        is_bar = right - left >= BAR_FROM_PX
        bars = np.stack([left[is_bar], right[is_bar]], axis=1)
        return Shown(inside[is_bar], bars, _coverage(left[~is_bar], right[~is_bar], pixels))

    def critical_by_lane(self, span: TimeSpan, pixels: int) -> Floats:
        """Share of each pixel column that the critical path spends in each lane ``[lanes, pixels]``."""
        scale = pixels / span.width_us
        path = self.critical
        inside = path[(self.end[path] > span.first_us) & (self.start[path] < span.last_us)]
        left = (self.start[inside] - span.first_us) * scale
        right = (self.end[inside] - span.first_us) * scale
        engine = self.engine[inside]
        return np.stack(
            [_coverage(left[engine == lane], right[engine == lane], pixels) for lane in range(len(self.lanes))]
        )

    # What is where

    def job_at(self, lane: int, time_us: float, slack_us: float = 0.0) -> int | None:
        """The job of a lane that runs at a time, else the nearest that is no further than ``slack_us``."""
        jobs = self.lanes[lane].jobs
        if not len(jobs):
            return None
        after = int(np.searchsorted(self.start[jobs], time_us, side="right"))
        near = [int(jobs[index]) for index in (after - 1, after) if 0 <= index < len(jobs)]
        away = [max(float(self.start[job]) - time_us, time_us - float(self.end[job]), 0.0) for job in near]
        best = int(np.argmin(away))
        return near[best] if away[best] <= slack_us else None

    def critical_at(self, time_us: float) -> int | None:
        """The job of the critical path at a time."""
        path = self.critical
        index = int(np.searchsorted(self.start[path], time_us, side="right")) - 1
        return int(path[index]) if index >= 0 and self.end[path[index]] >= time_us else None

    def jobs_of(self, kernels: Iterable[int]) -> Ints:
        """The jobs of some kernels, in order of issue."""
        return np.flatnonzero(np.isin(self.kernel, list(kernels)) & (self.end > self.start))

    def kernels_of(self, nodes: Iterable[str]) -> tuple[int, ...]:
        """The kernels that compute nodes, each once; nodes that no kernel computes are left out."""
        found = (self._kernel_of_node.get(node) for node in nodes)
        return tuple(sorted({kernel for kernel in found if kernel is not None}))

    def extent(self, kernels: Iterable[int]) -> tuple[float, float] | None:
        """From the first to the last job of some kernels; None where they have none."""
        chosen = list(kernels)
        first = float(self._first[chosen].min(initial=np.inf)) if chosen else np.inf
        return (first, float(self._last[chosen].max())) if first < np.inf else None

    def nodes_of(self, job: int) -> tuple[str, ...]:
        """The nodes of a job's kernel."""
        kernel = int(self.kernel[job])
        return self.kernels[kernel].nodes if kernel >= 0 else ()

    # What it says

    def card(self, job: int) -> str:
        """A job's read-out, as simple HTML."""
        timeline = self.timeline
        engine = engine_title(timeline.engines[timeline.engine[job]])
        start, end = timeline.start_us[job], timeline.end_us[job]
        kernel = self.kernels[timeline.kernel[job]] if timeline.kernel[job] >= 0 else None
        tile = f", tile {timeline.tile[job] + 1} of {kernel.tiles}" if kernel is not None and kernel.tiles > 1 else ""
        critical = ", on the critical path" if timeline.is_critical[job] else ""
        lines = [
            f"<b>{html.escape(kernel_title(kernel))}</b>",
            f"{html.escape(engine)}{tile}{critical}",
            f"{moment_text(start)} – {moment_text(end)} ({duration_text(end - start)})",
        ]
        if timeline.size_bytes[job]:
            lines.append(formats.size(timeline.size_bytes[job]))
        return "<br>".join([*lines, *(kernel_lines(kernel, self.total_us) if kernel is not None else ())])

    def title(self, kernel: int) -> str:
        """What a kernel is called where there is little room."""
        shown = self.kernels[kernel]
        return shown.region or self._titles.get(shown.anchor, shown.anchor)

    def long_title(self, kernel: int) -> str:
        """What it is called where there is more room: with the module around it."""
        title = self.title(kernel)
        path = self.kernels[kernel].anchor.strip("/").split("/")
        around = path[path.index(title) - 1 : path.index(title)] if title in path else []
        return "/".join([*around, title])

    def headline(self) -> str:
        """The totals of the frame."""
        compilation = self.compilation
        fps = formats.number(compilation.throughput_fps)
        return f"{formats.number(compilation.latency_ms, 'ms')} a frame · {fps} frames a second"

    def counts(self) -> str:
        """How much there is."""
        return f"{_counted(len(self.kernels), 'kernel')}, {_counted(len(self.start), 'job')}"


def kernel_title(kernel: KernelReport | None) -> str:
    """What a kernel is called: by the user's region, else the node that it is named after."""
    if kernel is None:
        return "Start of the inference"
    return f"{kernel.region} ({kernel.anchor})" if kernel.region else kernel.anchor


def kernel_lines(kernel: KernelReport, total_us: float) -> Sequence[str]:
    """What the read-outs say of a whole kernel."""
    bound = bound_of(kernel.bound)
    nodes = f"{_counted(len(kernel.nodes), 'node')}, " if len(kernel.nodes) > 1 else ""
    share = formats.percent(kernel.latency_us / total_us if total_us else 0.0)
    time = f"{nodes}{duration_text(kernel.latency_us)} of the critical path ({share})"
    why = f"Bound by {bound.title}" if bound is not None else ""
    detail = f": {kernel.why}" if why and kernel.why else kernel.why
    reason = textwrap.wrap(why + detail, READ_OUT_WIDTH, max_lines=READ_OUT_LINES, placeholder=" …")
    return [time, *(f"<i>{html.escape(line)}</i>" for line in reason)]


def _from_zero(timeline: Timeline) -> Timeline:
    """The timeline with what comes before the first job of a kernel, if that is not a job of its own: the host's start
    of the inference.
    """
    starts = zip(timeline.start_us, timeline.is_critical, strict=True)
    first = min((start for start, is_critical in starts if is_critical), default=0.0)
    if first <= 0.0 or HOST not in timeline.engines:
        return timeline
    return msgspec.structs.replace(
        timeline,
        engine=(timeline.engines.index(HOST), *timeline.engine),
        kernel=(NO_KERNEL, *timeline.kernel),
        tile=(0, *timeline.tile),
        start_us=(0.0, *timeline.start_us),
        end_us=(first, *timeline.end_us),
        size_bytes=(0, *timeline.size_bytes),
        is_critical=(True, *timeline.is_critical),
    )


def _coverage(left: Floats, right: Floats, pixels: int) -> Floats:
    """How much of each of ``pixels`` columns lies within stretches that do not overlap, given in order."""
    if not len(left):
        return np.zeros(pixels)
    order = np.argsort(left, kind="stable")
    left, right = left[order], np.maximum.accumulate(right[order])
    moments = np.stack([left, right], axis=1).ravel()
    gained = np.stack([np.zeros(len(left)), np.maximum(right - left, 0.0)], axis=1).ravel()
    taken = np.interp(np.arange(pixels + 1, dtype=np.float64), moments, np.cumsum(gained))
    return np.clip(np.diff(taken), 0.0, 1.0)


def _in_time_order(jobs: Ints, start: Floats) -> Ints:
    return jobs[np.argsort(start[jobs], kind="stable")]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
