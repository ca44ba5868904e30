"""Runs the steps of a preset one after another, and keeps what gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.analyze.quality import Quality, measure
from engine.errors import PlanError
from engine.quantise.registry import PRESETS, STEPS
from engine.quantise.step import Work
from engine.reports import Interval

if TYPE_CHECKING:
    from engine.plan.types import Plan
    from engine.session import Session

JUDGED_SHARE = 4
"""One sample in so many is kept from the steps, to judge them by."""


@dataclass(frozen=True)
class StepReport:
    """What one step came to: the quality with its plan on held-out samples, its gain over the plan before it in dB, and
    whether it was kept."""

    name: str
    title: str
    quality: Quality
    gain_db: Interval
    kept: bool


@dataclass(frozen=True)
class QuantiseReport:
    """The plan that a preset found, the quality before the first step, and every step."""

    plan: Plan
    before: Quality
    steps: tuple[StepReport, ...]


def quantise(session: Session, preset: str, work: Work) -> QuantiseReport:
    """Run a preset on a calibrated session; its plan stays as it is.

    Every fourth of the work's samples judges what is fitted on the others: a step is kept where it lowers the mean loss
    there, so that a preset is never worse than the one below it on these samples.

    Raises:
        PlanError: There is no such preset.
        CalibrationError, DataError: As :func:`engine.analyze.quality.measure`.
        Cancelled: ``work.cancelled()``.
    """
    names = PRESETS.get(preset)
    if names is None:
        raise PlanError(f"there is no preset '{preset}'", hint=f"choose one of {', '.join(PRESETS)}")
    judged = work.samples[JUDGED_SHARE - 1 :: JUDGED_SHARE] or work.samples
    fitted = tuple(sample for sample in work.samples if sample not in judged) or work.samples
    best = before = measure(session, judged, work.cancelled)
    current, steps = session.with_plan(session.plan), list[StepReport]()
    for index, name in enumerate(names):
        work.progress(index, len(names))
        plan = STEPS[name](current, Work(fitted, cancelled=work.cancelled))
        tried = current.with_plan(plan)
        quality = measure(tried, judged, work.cancelled)
        kept = quality.loss < best.loss
        steps.append(StepReport(name, STEPS[name].title, quality, quality.gain_over(best), kept))
        if kept:
            current, best = tried, quality
    work.progress(len(names), len(names))
    return QuantiseReport(current.plan, before, tuple(steps))
