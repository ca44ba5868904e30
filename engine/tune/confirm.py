"""After a search: its front on all samples with intervals, what differs from what, what the bounds ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.analyze.errors import interval_of
from engine.errors import DataError
from engine.plan.data import data_of
from engine.plan.types import Plan
from engine.reports import Evaluation
from engine.tune.archive import Found
from engine.tune.front import Costs, front_of, reachable_loss, thinned
from engine.tune.records import Measured, TaskDrop, TunePoint, TuneSettings
from engine.tune.space import Space

if TYPE_CHECKING:
    from engine.session import Session

MOST_POINTS = 32
"""Of a front: more would not be told apart by a person who picks one."""

LEAST_POINTS = 8
"""What should be confirmed even where time is short: on fewer samples then."""

_NEAR = 0.1
"""A heuristic whose loss (log10) is within this of the front's may turn out to be in it: 1 dB."""


@dataclass(frozen=True)
class Confirmed:
    """A plan as it is reported: what it was searched by, and what it was measured by at last."""

    found: Found
    measured: Measured

    @property
    def costs(self) -> Costs:
        return self.measured.loss, self.measured.latency_ms, float(self.measured.ddr_bytes)


def candidates(front: Sequence[Found], heuristics: Sequence[Found]) -> list[Found]:
    """What is measured on all samples, the most telling first: the front, from its coarsest picture to its finest, and
    the heuristics, those near it before the others, so that the confirmed front is no worse than these."""
    costs = [found.costs for found in front]
    order: list[int] = []
    for most in (LEAST_POINTS, 2 * LEAST_POINTS, MOST_POINTS, 2 * MOST_POINTS):
        order += [index for index in thinned(costs, range(len(front)), most) if index not in order]
    beaten = [found for found in heuristics if found not in front]
    near = [found for found in beaten if _is_near(found, costs)]
    chosen = [front[index] for index in order]
    far = [found for found in beaten if found not in near]
    return [*chosen[:LEAST_POINTS], *near, *chosen[LEAST_POINTS:], *far]


def _is_near(found: Found, front: Sequence[Costs]) -> bool:
    reached = reachable_loss(front, found.costs[1], found.costs[2])
    return reached is None or found.costs[0] < reached + _NEAR


def final_front(confirmed: Sequence[Confirmed]) -> list[Confirmed]:
    """The front of what was measured on all samples, fastest first, thinned to :data:`MOST_POINTS`."""
    costs = [item.costs for item in confirmed]
    return [confirmed[index] for index in thinned(costs, front_of(costs), MOST_POINTS)]


def alike(front: Sequence[Confirmed]) -> Mapping[int, int]:
    """By number, the nearest faster point of the front that a point does not differ from significantly: the 95 %
    interval of the difference, sample by sample, holds 0."""
    found: dict[int, int] = {}
    for place, item in enumerate(front):
        for other in reversed(front[:place]):
            if not _differs(item.measured, other.measured):
                found[item.found.number] = other.found.number
                break
    return found


def _differs(a: Measured, b: Measured) -> bool:
    if len(a.per_sample_db) != len(b.per_sample_db):
        return True
    difference = interval_of([x - y for x, y in zip(a.per_sample_db, b.per_sample_db, strict=True)])
    if difference.mean is None or difference.half_width is None:
        return difference.mean != 0.0
    return abs(difference.mean) > difference.half_width


def point_of(session: Session, space: Space, found: Found, measured: Measured, like: int | None = None) -> TunePoint:
    """The record of a measured plan."""
    plan = space.plan(found.genome)
    effective = session.with_plan(plan).resolve().effective.values()
    return TunePoint(
        number=found.number,
        plan=data_of(plan, session.target_reference),
        origin=found.origin,
        samples=len(measured.per_sample_db),
        output_db=interval_of(list(measured.per_sample_db)),
        agreement=measured.agreement,
        latency_ms=measured.latency_ms,
        ddr_bytes=measured.ddr_bytes,
        int16_nodes=sum(item.dtype == "int16" for item in effective),
        float_nodes=sum(item.dtype == "float32" for item in effective),
        is_heuristic=found.is_heuristic,
        like=like,
    )


class Judge:
    """What a plan loses of the task metric: top-1 on labelled data, or (without data) agreement with the float model on
    the calibration samples.

    Args:
        data: Labelled samples, which the search never saw; None for none.
    """

    def __init__(self, session: Session, data: Path | None, split: str | None, cancelled: Callable[[], bool]) -> None:
        self._session = session
        self._data = data
        self._split = split
        self._cancelled = cancelled

    def check(self) -> None:
        """Raise now what would otherwise come at the end of a search.

        Raises:
            DataError: The data do not fit the model, or have no labels.
        """
        if self._data is not None and not self._session.task_metric(self._data, split=self._split).is_labelled:
            raise _without_labels(self._data)

    def judged(self, point: TunePoint, plan: Plan) -> TunePoint:
        """The point with its :class:`TaskDrop`; as it is where neither labels nor classes are there.

        Raises:
            DataError: The data cannot be read.
            Cancelled: The user stopped.
        """
        if self._data is None:
            return msgspec.structs.replace(point, task=_from_agreement(point))
        twin = self._session.with_plan(plan)
        return msgspec.structs.replace(point, task=_from_labels(self._evaluated(twin, self._data), self._data))

    def _evaluated(self, twin: Session, data: Path) -> Evaluation:
        return twin.evaluate(data, split=self._split, cancelled=self._cancelled)


def _from_labels(found: Evaluation, data: Path) -> TaskDrop:
    if found.float_top1 is None or found.quantised_top1 is None or found.lost is None or found.won is None:
        raise _without_labels(data)
    drop = 100.0 * (found.float_top1 - found.quantised_top1)
    width = _half_width(found.lost, found.won, found.samples)
    return TaskDrop(found.samples, found.float_top1, found.quantised_top1, drop, width)


def _without_labels(data: Path) -> DataError:
    hint = "give labelled samples, or leave --data out to judge by agreement with the float model"
    return DataError("has no labels", path=data, hint=hint)


def _from_agreement(point: TunePoint) -> TaskDrop | None:
    if point.agreement is None:
        return None
    lost = 1.0 - point.agreement
    width = _half_width(round(lost * point.samples), 0, point.samples)
    return TaskDrop(point.samples, 1.0, point.agreement, 100.0 * lost, width)


def _half_width(lost: int, won: int, samples: int) -> float:
    """Of the 95 % interval of the difference of two proportions on the same samples, in points, by those that only one
    of both has right (A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24, 2005: half a sample is added to each kind)."""
    worse, better, count = lost + 0.5, won + 0.5, samples + 2.0
    return 100.0 * 1.96 * math.sqrt(worse + better - (worse - better) ** 2 / count) / count


@dataclass(frozen=True)
class Choice:
    """The point that the bounds ask for (None: none keeps them), the front with the drops that were measured on the
    way, and a line about it."""

    number: int | None
    front: tuple[TunePoint, ...]
    verdict: str


def choose(
    front: Sequence[TunePoint],
    planned_ms: float,
    settings: TuneSettings,
    judged: Callable[[TunePoint], TunePoint],
) -> Choice:
    """The point of a front (fastest first) that the bounds ask for.

    With a bound on the drop: the fastest point within all bounds that keeps it, asked one after the other. With bounds
    on costs alone: the most accurate within them. With none: the most accurate that takes no longer than the project's
    plan does (``planned_ms``).
    """
    within = [point for point in front if _is_within(point, settings)]
    if not within:
        least = min(front, key=lambda point: (point.latency_ms, point.ddr_bytes))
        costs = f"the fastest takes {least.latency_ms:.3f} ms and {least.ddr_bytes / 1e6:.2f} MB of DDR traffic"
        return Choice(None, tuple(front), f"no plan keeps the bounds: {costs}")
    if settings.max_drop is not None:
        return _by_drop(front, within, settings.max_drop, judged)
    if settings.max_latency_ms is None and settings.max_ddr_bytes is None:
        within = [point for point in within if point.latency_ms <= planned_ms] or within
    best = max(within, key=lambda point: (_decibels(point), -point.latency_ms))
    return Choice(best.number, tuple(front), f"the most accurate within the bounds: {_described(best)}")


def _by_drop(
    front: Sequence[TunePoint],
    within: Sequence[TunePoint],
    most: float,
    judged: Callable[[TunePoint], TunePoint],
) -> Choice:
    known: dict[int, TunePoint] = {}
    least: TunePoint | None = None
    for point in within:
        found = known[point.number] = judged(point)
        if found.task is None:
            raise DataError("the model's output has no classes to tell a drop by", hint="bound its latency instead")
        if found.task.drop <= most:
            drop = f"{found.task.drop:.2f} ±{found.task.half_width:.2f} points on {found.task.samples} samples"
            verdict = f"the fastest with a drop of at most {most:g} points: {drop}, {_described(found)}"
            return Choice(point.number, _replaced(front, known.values()), verdict)
        if least is None or least.task is None or found.task.drop < least.task.drop:
            least = found
    assert least is not None and least.task is not None
    verdict = f"no plan drops at most {most:g} points: the least is {least.task.drop:.2f} by plan {least.number}"
    return Choice(None, _replaced(front, known.values()), verdict)


def _replaced(front: Sequence[TunePoint], known: Iterable[TunePoint]) -> tuple[TunePoint, ...]:
    by_number = {point.number: point for point in known}
    return tuple(by_number.get(point.number, point) for point in front)


def _is_within(point: TunePoint, settings: TuneSettings) -> bool:
    if settings.max_latency_ms is not None and point.latency_ms > settings.max_latency_ms:
        return False
    return settings.max_ddr_bytes is None or point.ddr_bytes <= settings.max_ddr_bytes


def _decibels(point: TunePoint) -> float:
    return -math.inf if point.output_db.mean is None else point.output_db.mean


def _described(point: TunePoint) -> str:
    half = point.output_db.half_width
    accuracy = f"{_decibels(point):.1f}" if half is None else f"{_decibels(point):.1f} ±{half:.1f}"
    return f"{point.latency_ms:.3f} ms, {point.ddr_bytes / 1e6:.2f} MB, {accuracy} dB (plan {point.number})"
