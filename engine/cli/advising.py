"""``quantscope advise``: what costs accuracy, what helps, and whether that is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.advise.advisor import Advisor, Labelled, Options
from engine.cli.opening import open_project
from engine.cli.output import decibels, print_table, progress_bar, write_json
from engine.errors import PlanError, QuantscopeError
from engine.plan.types import Plan
from engine.reports_advice import AccuracyAdvice, Aim, Answer, Bounds, Diagnosis, Trial
from engine.session import Session

EXIT_STATUS: Mapping[Answer, int] = {
    Answer.ENOUGH: 0,
    Answer.WITH_REMEDIES: 0,
    Answer.WITH_INT16: 0,
    Answer.TRAIN: 3,
    Answer.UNDECIDED: 4,
}
"""1 and 2 are for errors."""

COMBINATION = 0
"""Key of the plan with the best remedies together."""


@dataclass(frozen=True)
class Wanted:
    """What the user asks for: the options of the adviser, and which of its rows to apply (None: none; 0: the best
    together)."""

    patterns: tuple[str, ...] = ()
    places: int = 12
    samples: int = 16
    data: Labelled | None = None
    aim: Aim = field(default_factory=Aim)
    apply: int | None = None


def advise(project: Path, wanted: Wanted, json: Path | None) -> int:
    """Print and write the advice, apply what is wanted; returns the exit status that goes with the verdict."""
    session = open_project(project)
    advisor, problem = _run(session, wanted)
    advice = advisor.advice
    offered = _offered(advice)
    _print_places(advice)
    _print_remedies(advice, offered)
    _print_combination(advice)
    is_applied = wanted.apply is not None and problem is None
    applied = _apply(session, project, advisor, offered, wanted.apply or 0) if is_applied else ""
    write_json(json, {**msgspec.structs.asdict(advice), "applied": applied})
    if problem is not None:
        print("no verdict: the advice above is what was found until it ended")
        raise problem
    verdict = advice.verdict
    if verdict is None:
        print("no verdict: only the chosen nodes were looked at")
        return 0
    print(f"{verdict.answer.value}: {verdict.text}")
    return EXIT_STATUS[verdict.answer]


def _run(session: Session, wanted: Wanted) -> tuple[Advisor, QuantscopeError | KeyboardInterrupt | None]:
    """The advice, and what ended it early where something was found until then."""
    nodes = tuple(dict.fromkeys(node for pattern in wanted.patterns for node in session.find(pattern)))
    options = Options(
        nodes, wanted.places, samples=wanted.samples, aim=wanted.aim, data=wanted.data, with_verdict=not nodes
    )
    advisor = Advisor(session, options)
    try:
        with progress_bar("advising") as progress:
            for stage in advisor.run():
                progress(stage.done, stage.total, stage.sentence)
    except (QuantscopeError, KeyboardInterrupt) as problem:
        if not advisor.advice.diagnoses:
            raise
        return advisor, problem
    return advisor, None


def _offered(advice: AccuracyAdvice) -> Sequence[Trial]:
    """The remedies that gain, in the order in which they are numbered: by place, the best first."""
    order = {place.node: index for index, place in enumerate(advice.diagnoses)}
    trials = [trial for trial in advice.trials if trial.is_offered]
    return sorted(trials, key=lambda trial: (order[trial.site], -(trial.effect.gain_db.mean or 0.0)))


def _print_places(advice: AccuracyAdvice) -> None:
    rows = [
        (
            place.node,
            place.op_type,
            place.effective,
            "–" if place.share is None else f"{place.share:.1%}",
            decibels(place.introduced_db.mean, place.introduced_db.half_width),
            _causes(place),
        )
        for place in advice.diagnoses
        if place.node
    ]
    columns = ("node", "operator", "precision", "of the error", "introduced dB", "because")
    present = decibels(advice.present_db.mean, advice.present_db.half_width)
    title = f"{len(rows)} nodes that matter, {present} dB at the output"
    print_table(title, columns, rows, numeric=(3, 4))


def _causes(place: Diagnosis) -> str:
    return "; ".join(f"{cause.share:.0%} {cause.text}" if cause.share else cause.text for cause in place.causes)


def _print_remedies(advice: AccuracyAdvice, offered: Sequence[Trial]) -> None:
    rows = [
        (f"{number}", trial.site or "whole model", trial.title, *_effect(trial))
        for number, trial in enumerate(offered, start=1)
    ]
    is_counted = any(trial.effect.top1_change is not None for trial in offered)
    task = "top-1 points" if is_counted else "agreement points"
    columns = ("", "node", "remedy", "gain dB", task, "us", "DDR bytes")
    others = len(advice.trials) - len(offered)
    samples = max((trial.effect.samples for trial in advice.trials if trial.is_final), default=0)
    title = f"{len(offered)} remedies gain on {samples} samples that did not choose them, {others} others not surely"
    print_table(title, columns, rows, numeric=(0, 3, 4, 5, 6))


def _effect(trial: Trial) -> tuple[str, str, str, str]:
    effect = trial.effect
    task = effect.agreement_change if effect.top1_change is None else effect.top1_change
    gain = effect.gain_db
    cost = f"{effect.change_us:+.1f}", f"{effect.change_bytes:+d}"
    return decibels(gain.mean, gain.half_width), "–" if task is None else _points(task), *cost


def _points(change: Bounds) -> str:
    """A change of a share as points, with its interval."""
    value, low, high = (100.0 * part for part in (change.value, change.low, change.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _print_combination(advice: AccuracyAdvice) -> None:
    combination = advice.combination
    if combination is None:
        print("no remedies go together better than the present plan")
        return
    effect = combination.effect
    gain = decibels(effect.gain_db.mean, effect.gain_db.half_width)
    cost = f"{effect.change_us:+.1f} us, {effect.change_bytes:+d} bytes of DDR traffic"
    print(f"best together: {gain} dB gained, {cost}")
    for title in combination.titles:
        print(f"  {title}")


def _apply(session: Session, project: Path, advisor: Advisor, offered: Sequence[Trial], number: int) -> str:
    """Save the project with a remedy, or with the best together; says which."""
    plan, title = _chosen(advisor, offered, number)
    session.set_plan(plan)
    session.save(project)
    print(f"applied to {project}: {title}")
    return title


def _chosen(advisor: Advisor, offered: Sequence[Trial], number: int) -> tuple[Plan, str]:
    plans, combination = advisor.plans, advisor.advice.combination
    if number == COMBINATION:
        if combination is None:
            raise PlanError("there is nothing to apply: no remedy gains more than chance would have it")
        return plans[COMBINATION], "; ".join(combination.titles)
    if not 1 <= number <= len(offered):
        raise PlanError(f"there is no remedy {number}", hint=f"there are {len(offered)}, numbered from 1")
    trial = offered[number - 1]
    return plans[trial.key], f"{trial.site or 'whole model'}: {trial.title}"
