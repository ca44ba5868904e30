"""What a search of plans found, without Qt: points on two chosen axes, what a plan changes, and what it says."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.plan.data import PlanData
from engine.tune.records import TunePoint, TuneReport
from gui.panels import formats

MOST_NAMES = 6
"""Nodes that a line of changes names."""

AUTO = "auto"

ENDS: Mapping[str, str] = {
    "converged": "nothing is gained any more",
    "time": "the time is up",
    "trials": "as many plans as asked for",
    "stopped": "stopped",
}
"""Why a search ended, in words; a failure says it itself."""


@dataclass(frozen=True)
class Axis:
    """A figure of a point that an axis can show."""

    title: str
    value: Callable[[TunePoint], float | None]
    text: Callable[[TunePoint], str]


COSTS: tuple[Axis, ...] = (
    Axis("Latency (ms)", lambda point: point.latency_ms, lambda point: f"{point.latency_ms:.4g} ms"),
    Axis("DDR traffic (MB)", lambda point: point.ddr_bytes / 1e6, lambda point: formats.size(point.ddr_bytes)),
    Axis("Nodes in int16", lambda point: float(point.int16_nodes), lambda point: f"{point.int16_nodes:,} in int16"),
)
GAINS: tuple[Axis, ...] = (
    Axis(
        "Output SQNR (dB)",
        lambda point: point.output_db.mean,
        lambda point: formats.decibels(point.output_db, unit="dB"),
    ),
    Axis(
        "Same prediction as float (%)",
        lambda point: None if point.agreement is None else 100.0 * point.agreement,
        lambda point: f"agrees with float in {formats.percent(point.agreement)}",
    ),
)


@dataclass(frozen=True)
class Change:
    """What a plan has otherwise than the present one: a line, and the nodes that it is about."""

    text: str
    nodes: tuple[str, ...] = ()


class ParetoModel:
    """Measured plans by number, which of them are on the front, and the report once there is one."""

    def __init__(self) -> None:
        self.points: dict[int, TunePoint] = {}
        self.front: frozenset[int] = frozenset()
        self.report: TuneReport | None = None
        self._contents: dict[int, tuple[object, ...]] = {}

    def clear(self) -> None:
        """Forget everything: another search begins, or another model is open."""
        self.points.clear()
        self._contents.clear()
        self.front, self.report = frozenset(), None

    def add(self, point: TunePoint, front: Iterable[int]) -> None:
        """One more plan was measured; ``front`` are the numbers of all that are on the front now."""
        self._put(point)
        self.front = frozenset(front)

    def finish(self, report: TuneReport) -> None:
        """The search is over: confirmed figures take the place of those that it was searched by."""
        self.report = report
        for point in (*report.heuristics, *report.front):
            self._put(point)
        self.front = frozenset(point.number for point in report.front)

    def _put(self, point: TunePoint) -> None:
        self.points[point.number] = point
        self._contents[point.number] = _content(point.plan)

    def present(self, plan: PlanData) -> int | None:
        """The point whose plan is the document's."""
        wanted = _content(plan)
        return next((number for number, content in self._contents.items() if content == wanted), None)

    def staircase(self, cost: Axis, gain: Axis) -> Sequence[tuple[float, float]]:
        """The front's points on two axes that none of the others beats in both, by cost."""
        shown = [(x, y) for x, y in self.places(self.front, cost, gain).values()]
        kept: list[tuple[float, float]] = []
        for x, y in sorted(shown, key=lambda place: (place[0], -place[1])):
            if not kept or y > kept[-1][1]:
                kept.append((x, y))
        return kept

    def places(self, numbers: Iterable[int], cost: Axis, gain: Axis) -> Mapping[int, tuple[float, float]]:
        """Where points lie on two axes; those without a figure are left out."""
        found: dict[int, tuple[float, float]] = {}
        for number in numbers:
            point = self.points[number]
            x, y = cost.value(point), gain.value(point)
            if x is not None and y is not None:
                found[number] = (x, y)
        return found

    def headline(self, is_running: bool) -> str:
        """How far the search is, or what came of it."""
        if not self.points:
            return "Searching …" if is_running else ""
        counted = f"{len(self.points):,} plan{'s' * (len(self.points) != 1)} tried, {len(self.front)} on the front"
        if is_running or self.report is None:
            return f"{counted} …" if is_running else f"{counted}, not confirmed on all samples"
        ended = ENDS.get(self.report.ended, self.report.ended)
        return f"{counted}: {ended}. {self.report.verdict[:1].upper()}{self.report.verdict[1:]}."

    def card(self, number: int) -> str:
        """A point's read-out, as simple HTML."""
        point = self.points[number]
        lines = [f"<b>Plan {number}</b>: {html.escape(point.origin)}"]
        lines += [axis.text(point) for axis in COSTS]
        samples = f"on {point.samples} sample{'s' * (point.samples != 1)}"
        lines.append(f"{GAINS[0].text(point)} {samples}")
        if point.agreement is not None:
            lines.append(GAINS[1].text(point))
        if point.float_nodes:
            lines.append(f"{point.float_nodes:,} nodes in float on the CPU")
        if point.task is not None:
            lines.append(f"drop {point.task.drop:.2f} ± {point.task.half_width:.2f} points")
        if point.like is not None:
            lines.append(f"not significantly other than plan {point.like}, which is faster")
        return "<br>".join(lines)


def changes(before: PlanData, after: PlanData, titles: Mapping[str, str]) -> tuple[Change, ...]:
    """What a plan has otherwise, by kind; ``titles`` are what nodes are called."""
    return (*_precisions(before, after, titles), *_ranges(before, after), *_compiler(before, after))


def _precisions(before: PlanData, after: PlanData, titles: Mapping[str, str]) -> list[Change]:
    asked: dict[str, list[str]] = {}
    for node in titles:
        wanted = after.choices.get(node, AUTO)
        if before.choices.get(node, AUTO) != wanted:
            asked.setdefault(wanted, []).append(node)
    return [
        Change(f"{precision}: {_listed([titles[node] for node in nodes])}", tuple(nodes))
        for precision, nodes in sorted(asked.items())
    ]


def _ranges(before: PlanData, after: PlanData) -> list[Change]:
    changed: dict[str, list[str]] = {}
    for value in {**before.methods, **after.methods}:
        method = after.methods.get(value, after.default_method)
        if before.methods.get(value, before.default_method) != method:
            changed.setdefault(method, []).append(value)
    found = [Change(f"range by {method}: {_listed(values)}") for method, values in sorted(changed.items())]
    if before.default_method != after.default_method:
        found.append(Change(f"ranges by {after.default_method}"))
    lost = [value for value in before.thresholds if value not in after.thresholds]
    if lost:
        found.append(Change(f"no threshold of its own: {_listed(lost)}"))
    return found


def _compiler(before: PlanData, after: PlanData) -> list[Change]:
    if before.compile.level == after.compile.level:
        return []
    return [Change(f"compiler level {before.compile.level.value} → {after.compile.level.value}")]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name.strip("/") for name in names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def _content(plan: PlanData) -> tuple[object, ...]:
    """What makes two plans one, whatever the order in which their choices were made."""
    choices = frozenset((node, wanted) for node, wanted in plan.choices.items() if wanted != AUTO)
    methods = frozenset((v, method) for v, method in plan.methods.items() if method != plan.default_method)
    thresholds = frozenset(plan.thresholds.items())
    return choices, methods, plan.default_method, plan.regions, plan.target, plan.compile, thresholds, plan.corrections
