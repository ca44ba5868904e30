"""Runs the steps of a preset one after another, and keeps what gains."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.analyze.quality import Quality, measure
from engine.errors import Cancelled, PlanError
from engine.quantise.promote import share_at_int16
from engine.quantise.registry import PRESETS, STEPS
from engine.quantise.step import Work
from engine.reports import Interval
from engine.reports_quantise import QuantiseProgress, StepResult

if TYPE_CHECKING:
    from engine.analyze.evaluator import Sample
    from engine.plan.types import Plan
    from engine.session import Session

JUDGED_SHARE = 4
"""One sample in so many is kept from the steps, to judge them by."""

_PARTS = 100
"""That the progress of each step is told in."""


@dataclass(frozen=True)
class StepReport:
    """What one step came to: the quality with its plan on held-out samples, its gain over the plan before it in dB, and
    whether it was kept."""

    name: str
    title: str
    quality: Quality
    gain_db: Interval
    kept: bool
    seconds: float = 0.0


@dataclass(frozen=True)
class QuantiseReport:
    """The plan that a preset has found so far, the quality before the first step, and every step that was run.

    ``fitted`` and ``judged`` are numbers of samples, ``total`` that of steps; ``stopped``: somebody stopped it. Of the
    ``operators`` the plan computes ``at_int16`` in int16, and its frame takes ``change_us`` longer than before.
    """

    preset: str
    plan: Plan
    before: Quality
    fitted: int
    judged: int
    total: int
    operators: int
    at_int16: int
    change_us: float = 0.0
    steps: tuple[StepReport, ...] = ()
    stopped: bool = False

    @property
    def after(self) -> Quality:
        """The quality of the plan."""
        kept = [step.quality for step in self.steps if step.kept]
        return kept[-1] if kept else self.before

    def record(self) -> QuantiseProgress:
        """The report as it travels."""
        return QuantiseProgress(
            preset=self.preset,
            before_db=self.before.output_db,
            output_db=self.after.output_db,
            fitted=self.fitted,
            judged=self.judged,
            total=self.total,
            steps=tuple(_result(step) for step in self.steps),
            agreement=self.after.agreement,
            stopped=self.stopped,
            operators=self.operators,
            at_int16=self.at_int16,
            change_us=self.change_us,
        )


def _result(step: StepReport) -> StepResult:
    quality = step.quality
    return StepResult(
        step.name, step.title, quality.output_db, step.gain_db, step.kept, quality.agreement, step.seconds
    )


def quantise(session: Session, preset: str, work: Work) -> QuantiseReport:
    """Run a preset on a calibrated session; its plan stays as it is.

    Every fourth of the work's samples judges what is fitted on the others: a step is kept where its gain there is real
    (:func:`is_real`), so that a preset is never worse than the one below it on these samples. ``work.max_int16`` goes
    before the preset's own share. Where ``work.cancelled()`` stops it, what the steps until then have found is the
    answer.

    Raises:
        PlanError: There is no such preset.
        CalibrationError, DataError: As :func:`engine.analyze.quality.measure`.
        Cancelled: It was stopped before anything was known.
    """
    report: QuantiseReport | None = None
    try:
        for found in quantising(session, preset, work):
            report = found
    except Cancelled:
        if report is None:
            raise
        return replace(report, stopped=True)
    assert report is not None
    return report


def quantising(session: Session, preset: str, work: Work) -> Iterator[QuantiseReport]:
    """What a preset has found: before its first step, and after each one; see :func:`quantise`.

    Raises:
        PlanError, CalibrationError, DataError: As :func:`quantise`.
        Cancelled: It was stopped; the last report holds.
    """
    names = steps_of(preset)
    fitted, judged = split(work.samples)
    current = session.with_plan(session.plan)
    before = best = measure(current, judged, work.cancelled)
    wide, operators = share_at_int16(current)
    report = QuantiseReport(preset, current.plan, before, len(fitted), len(judged), len(names), operators, wide)
    latency_ms = current.estimate().latency_ms
    yield report
    for index, name in enumerate(names):
        step = _run(name, current, best, judged, _part(work, fitted, index, len(names)))
        if step[0].kept:
            current, best = step[1], step[0].quality
        report = replace(
            report,
            plan=current.plan,
            steps=(*report.steps, step[0]),
            at_int16=share_at_int16(current)[0],
            change_us=1000.0 * (current.estimate().latency_ms - latency_ms),
        )
        yield report
    work.progress(_PARTS * len(names), _PARTS * len(names))


def steps_of(preset: str) -> tuple[str, ...]:
    """The names of a preset's steps. Raises PlanError where there is no such preset."""
    names = PRESETS.get(preset)
    if names is None:
        raise PlanError(f"there is no preset '{preset}'", hint=f"choose one of {', '.join(PRESETS)}")
    return names


def split(samples: tuple[Sample, ...]) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """The samples to fit on, and those to judge by. Where there are fewer than four, all do both."""
    judged = samples[JUDGED_SHARE - 1 :: JUDGED_SHARE]
    return (tuple(sample for sample in samples if sample not in judged), judged) if judged else (samples, samples)


def _run(
    name: str, current: Session, best: Quality, judged: tuple[Sample, ...], work: Work
) -> tuple[StepReport, Session]:
    """One step, and the session with its plan."""
    step, start = STEPS[name], time.perf_counter()
    work.progress(0, 1)
    plan = step(current, work)
    tried = current.with_plan(plan)
    quality = best if plan == current.plan else measure(tried, judged, work.cancelled)
    kept, seconds = is_real(quality.gains_over(best)), time.perf_counter() - start
    return StepReport(name, step.title, quality, quality.gain_over(best), kept, seconds), tried


def is_real(gains: Sequence[float]) -> bool:
    """Whether gains are more than what other samples would have made of them: their mean is beyond its standard error
    (of means as large, five of six are gains indeed). All that a single sample says is its mean."""
    mean = math.fsum(gains) / len(gains)
    if len(gains) == 1:
        return mean > 0.0
    squares = math.fsum((gain - mean) ** 2 for gain in gains)
    return mean > math.sqrt(squares / (len(gains) - 1) / len(gains))


def _part(work: Work, fitted: tuple[Sample, ...], index: int, count: int) -> Work:
    """The work of one step of several: its progress is a part of the whole."""

    def progress(done: int, total: int) -> None:
        work.progress(_PARTS * index + _PARTS * done // max(total, 1), _PARTS * count)

    return replace(work, samples=fitted, progress=progress)
