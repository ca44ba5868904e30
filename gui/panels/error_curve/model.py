"""The error curve without Qt: what each node has, in the order of the graph, and where the error jumps."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.reports import Interval
from gui.document.document import Document
from gui.panels import formats

Floats = NDArray[np.float64]

CEILING_DB = 70.0
"""What is better is shown as this good: nobody needs to tell it apart."""

LEAST_FALL_DB = 3.0
"""A fall that is worth naming: half of the signal's distance to the noise."""


@dataclass(frozen=True, eq=False)
class Series:
    """One figure of all nodes, in decibels: the mean and the ends of its 95 % interval; NaN where there is none."""

    mean: Floats
    low: Floats
    high: Floats

    @staticmethod
    def of(intervals: Sequence[Interval | None]) -> Series:
        mean = np.array([_mean(interval) for interval in intervals], dtype=np.float64)
        half = np.array([_half_width(interval) for interval in intervals], dtype=np.float64)
        return Series(*(np.minimum(values, CEILING_DB) for values in (mean, mean - half, mean + half)))

    def runs(self) -> list[slice]:
        """Stretches of nodes with a figure, which one line or band can be drawn through."""
        there = np.flatnonzero(~np.isnan(self.mean))
        if not len(there):
            return []
        breaks = np.flatnonzero(np.diff(there) > 1)
        starts, ends = [there[0], *there[breaks + 1]], [*there[breaks], there[-1]]
        return [slice(int(start), int(end) + 1) for start, end in zip(starts, ends, strict=True)]


def _mean(interval: Interval | None) -> float:
    if interval is None:
        return math.nan
    return math.inf if interval.mean is None else interval.mean


def _half_width(interval: Interval | None) -> float:
    return 0.0 if interval is None or interval.half_width is None else interval.half_width


@dataclass(frozen=True)
class Fall:
    """Where the accumulated error grows most: the node, and by how much below the worst of what it reads."""

    node: str
    fall_db: float


class CurveModel:
    """The nodes with an error, one for each unit, in the order of the graph."""

    def __init__(self, document: Document, titles: Mapping[str, str]) -> None:
        """``titles`` are what nodes are called where there is little room."""
        self._titles = titles
        results = document.results
        graph = document.graph
        measured = results.measured.nodes
        unit = results.resolved.unit
        order = [info.id for info in graph.nodes if info.id in measured] if graph is not None else []
        last_of = {unit(node): node for node in order}
        self.nodes: tuple[str, ...] = tuple(node for node in order if last_of[unit(node)] == node)
        self._place_of_unit = {unit(node): place for place, node in enumerate(self.nodes)}
        self._unit = unit
        self.accumulated = Series.of([measured[node].accumulated_db for node in self.nodes])
        # No mean: it adds nothing, which is no point of the curve.
        introduced = (measured[node].introduced_db for node in self.nodes)
        self.introduced = Series.of([item if item.mean is not None else None for item in introduced])
        sensed = (results.sensed.nodes.get(node) for node in self.nodes)
        self.sensitivity = Series.of([item.output_db if item is not None else None for item in sensed])
        self._intervals = {node: measured[node] for node in self.nodes}
        self.fall = self._largest_fall(document)

    def _largest_fall(self, document: Document) -> Fall | None:
        """The first node where the error jumps, if it does."""
        sources: dict[str, list[str]] = {}
        for edge in document.graph.edges if document.graph is not None else ():
            sources.setdefault(edge.target, []).append(edge.source)
        worst: Fall | None = None
        for place, node in enumerate(self.nodes):
            level = self._level(place)
            before = self._before(node, place, sources)
            if level is None or before is None:
                continue
            fall = before - level
            if fall > (worst.fall_db if worst is not None else LEAST_FALL_DB):
                worst = Fall(node, fall)
        return worst

    def _before(self, node: str, place: int, sources: Mapping[str, Sequence[str]]) -> float | None:
        """The worst level of what the node's unit reads from outside it."""
        unit = self._unit(node)
        members = [node]
        for member in members:
            members += [s for s in sources.get(member, ()) if self._unit(s) == unit and s not in members]
        outside = {s for member in members for s in sources.get(member, ()) if self._unit(s) != unit}
        places = (self._place_of_unit.get(self._unit(source)) for source in outside)
        levels = (self._level(before) for before in places if before is not None and before < place)
        return min((level for level in levels if level is not None), default=None)

    def _level(self, place: int) -> float | None:
        value = float(self.accumulated.mean[place])
        return None if math.isnan(value) else value

    @property
    def view(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """What to show at first: all of it, as (left, right), (bottom, top)."""
        ends = np.concatenate([series.low for series in self._series()] + [series.high for series in self._series()])
        ends = ends[~np.isnan(ends)]
        low, high = (float(ends.min()), float(ends.max())) if len(ends) else (0.0, 1.0)
        room = max(1.0, 0.06 * (high - low))
        return (-0.8, len(self.nodes) - 0.2), (low - room, high + room)

    def _series(self) -> tuple[Series, ...]:
        return (self.accumulated, self.introduced, self.sensitivity)

    def place_of(self, nodes: Iterable[str]) -> list[int]:
        """The places of the units that compute nodes."""
        found = (self._place_of_unit.get(self._unit(node)) for node in nodes)
        return sorted({place for place in found if place is not None})

    def nearest(self, x: float) -> int:
        """The place nearest to a position along the axis; −1 for none."""
        if not self.nodes:
            return -1
        return min(max(round(x), 0), len(self.nodes) - 1)

    # What it says

    def title_of(self, node: str) -> str:
        """What a node is called where there is little room."""
        return self._titles.get(node, node)

    def title(self, place: int) -> str:
        return self.title_of(self.nodes[place])

    def card(self, place: int) -> str:
        """A node's read-out, as simple HTML."""
        node = self.nodes[place]
        error = self._intervals[node]
        lines = [
            f"<b>{html.escape(node)}</b>",
            f"accumulated {formats.decibels(error.accumulated_db, unit='dB')}",
            f"introduced {formats.decibels(error.introduced_db, exact='none', unit='dB')}",
        ]
        return "<br>".join(lines)


def headline(document: Document) -> str:
    """The error at the outputs, and over how many samples."""
    errors = document.results.measured.errors
    if errors is None:
        return ""
    samples = f"{errors.samples} sample{'s' * (errors.samples != 1)}"
    return f"Output {formats.decibels(errors.output_sqnr_db, unit='dB')} over {samples}"


def remark(fall: Fall | None, title: Callable[[str], str]) -> str:
    """Where the error jumps."""
    if fall is None:
        return f"No node is more than {LEAST_FALL_DB:.0f} dB worse than what it reads"
    return f"Falls most at {title(fall.node)}: {fall.fall_db:.1f} dB below what it reads"
