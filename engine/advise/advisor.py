"""The adviser: ranks places, tries remedies there, combines the best and gives a verdict, a small step at a time.

A step is about one forward pass; longer work is done in turns (:mod:`engine.turns`) and goes on where it was. So
whoever runs it (a command, the engine process between the window's requests) stays in charge. After each step the
advice so far can be had. What is cheap comes first: places after one sample, what needs no fitting there, what is
fitted for them alone, and then the methods for the whole model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.advise.combine import Combiner
from engine.advise.places import MOST_PLACES, Place, places_of
from engine.advise.remedies import (
    MODEL_REMEDIES,
    PLACES_REMEDIES,
    REMEDIES,
    ModelRemedy,
    PlacesRemedy,
    Proposal,
    widest,
)
from engine.advise.statistics import mean_change
from engine.advise.trials import Bench, Trial, Watch, best_of_kind
from engine.advise.verdict import Score, Scored, score_of, score_of_data, verdict_of
from engine.analyze.causes import CauseAnalysis
from engine.analyze.evaluator import Sample
from engine.analyze.quality import joined
from engine.analyze.sensitivity import analysis_of
from engine.analyze.task import TaskMetric
from engine.errors import DataError, PlanError
from engine.plan.types import Plan
from engine.quantise.causes import ChannelCauses
from engine.quantise.step import Work
from engine.reports import Interval
from engine.reports_advice import AccuracyAdvice, Aim, Bounds, Combination, Diagnosis, Verdict
from engine.reports_advice import Trial as TrialReport
from engine.session import Session
from engine.turns import in_turns

DEFAULT_SAMPLES = 16

_SAMPLES_TO_RANK = 2
"""One, where the values of a few samples do not fit into memory: there, a walk from every unit takes long."""

_MOST_TO_FIT = 32

_MOST_COUNTED = 8
"""Remedies that are counted on labelled data, those that gain most."""

Result = TypeVar("Result")

WHOLE_MODEL = Diagnosis("", "", "", None, Interval(None), ())


@dataclass(frozen=True)
class Labelled:
    """Labelled data for the verdict, and for what remedies gain of the task: the path, the part of it, and at most how
    many samples. Remedies are chosen on calibration samples alone."""

    path: Path
    split: str | None = None
    samples: int | None = None


@dataclass(frozen=True)
class Options:
    """What to advise on.

    Attributes:
        nodes: Ids of the nodes to look at; none: those that cost most at the output, and the whole model.
        places: At most so many of these.
        with_model: Whether remedies are tried on the whole model too.
        samples: Calibration samples to try remedies on.
        aim: What is good enough.
        data: Labelled data for the verdict; None: calibration samples and their agreement.
        with_verdict: Whether a verdict is wanted: it is about the whole model, with all remedies tried.
    """

    nodes: tuple[str, ...] = ()
    places: int = MOST_PLACES
    with_model: bool = True
    samples: int = DEFAULT_SAMPLES
    aim: Aim = field(default_factory=Aim)
    data: Labelled | None = None
    with_verdict: bool = True


@dataclass(frozen=True)
class Stage:
    """How far the adviser is: what it does, in detail, and of ``total`` things (0: not known) how many are done."""

    text: str
    done: int = 0
    total: int = 0
    detail: str = ""

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        return f"{self.text}: {self.detail}" if self.detail else self.text


Stages = Generator[Stage]


def _never() -> bool:
    return False


class Advisor:
    """Advice on a session's plan as it is now; the session stays as it is, whatever becomes of its plan meanwhile."""

    def __init__(
        self, session: Session, options: Options, cancelled: Watch = _never, is_wanted: Watch = _never
    ) -> None:
        """``is_wanted`` says, in the middle of longer work, that something else should have its turn."""
        self._session = session.with_plan(session.plan)
        self._options = options
        self._cancelled = cancelled
        self._is_wanted = is_wanted
        self._bench: Bench | None = None
        self._diagnoses: list[Diagnosis] = []
        self._trials: list[Trial] = []
        self._top1: dict[int, tuple[Bounds, int]] = {}
        self._combiner: Combiner | None = None
        self._verdict: Verdict | None = None

    @property
    def before(self) -> Plan:
        """The plan that the advice is about."""
        return self._session.plan

    def run(self) -> Stages:
        """Do all of it; what is known so far is in :attr:`advice` after every step.

        Raises:
            CalibrationError, DataError: The session is not calibrated, or has no samples; labelled data do not fit.
            PlanError: A node is not in the model.
            Cancelled: The user stopped.
        """
        for node in self._options.nodes:
            if node not in self._session.graph.by_id:
                raise PlanError(f"the model has no node '{node}'", hint="list the nodes with `quantscope check`")
        if self._options.data is not None:
            self._metric(self._session, self._options.data)  # nobody wants to hear after minutes that it does not fit
        samples = tuple(self._session.samples(self._options.samples))
        if not samples:
            raise DataError("there are no calibration samples to try remedies on", hint="calibrate with more samples")
        bench = self._bench = Bench(self._session, samples, self._cancelled)
        for done, _ in enumerate(bench.measure_base(bench.coarse), start=1):
            yield Stage("measuring the present plan", done, bench.coarse)
        places = yield from self._find_places(bench)
        yield from self._try_remedies(bench, places)
        yield from self._combine(bench)
        if self._options.with_verdict:
            yield from self._judge(bench)
        yield from self._count_remedies(bench)

    # What is known

    @property
    def advice(self) -> AccuracyAdvice:
        """The advice so far."""
        bench = self._bench
        if bench is None or not bench.base:
            return AccuracyAdvice(0, Interval(None), (), ())
        shown = self._best_trials(bench)
        offered = bench.offered(shown)
        return AccuracyAdvice(
            samples=len(bench.base),
            present_db=joined(bench.base).output_db,
            diagnoses=tuple(self._diagnoses),
            trials=tuple(self._report(bench, trial, trial.key in offered) for trial in shown),
            combination=self._combination,
            verdict=self._verdict,
        )

    @property
    def plans(self) -> dict[int, Plan]:
        """The plan of each trial of :attr:`advice` by its key; that of the combination is 0."""
        bench = self._bench
        found = {} if bench is None else {trial.key: trial.plan for trial in self._best_trials(bench)}
        if self._combiner is not None and self._combiner.trial is not None:
            found[0] = self._combiner.trial.plan
        return found

    @property
    def _combination(self) -> Combination | None:
        return None if self._combiner is None else self._combiner.report()

    def _best_trials(self, bench: Bench) -> Sequence[Trial]:
        return best_of_kind([t for t in self._trials if t.samples], lambda trial: _rank(bench, trial))

    def _offered(self, bench: Bench) -> list[Trial]:
        """The remedies that gain, those that gain most first."""
        trials = self._best_trials(bench)
        keys = bench.offered(trials)
        return sorted((t for t in trials if t.key in keys), key=lambda t: -(bench.effect(t).gain_db.mean or 0.0))

    def _report(self, bench: Bench, trial: Trial, is_offered: bool) -> TrialReport:
        top1_change, top1_samples = self._top1.get(trial.key, (None, 0))
        effect = bench.effect(trial)
        return TrialReport(
            key=trial.key,
            remedy=trial.remedy,
            title=trial.title,
            site=trial.site,
            nodes=trial.nodes,
            effect=msgspec.structs.replace(effect, top1_change=top1_change, top1_samples=top1_samples),
            is_offered=is_offered,
            is_final=trial.samples == len(bench.samples),
        )

    # The steps

    def _find_places(self, bench: Bench) -> Generator[Stage, None, Sequence[Place]]:
        """Rank the units by what the outputs feel of them, and take apart what those at the top add; after each sample
        anew."""
        session = self._session
        is_small = session.evaluator.keeps(len(bench.samples))
        samples = bench.samples[: _SAMPLES_TO_RANK if is_small else 1]
        sensitivity, places = analysis_of(session), tuple[Place, ...]()
        for done, sample in enumerate(samples, start=1):
            text = "finding where the error comes from"
            yield from self._in_turns(Stage(text, done - 1, len(samples)), partial(sensitivity.add, sample))
            yield Stage(text, done, len(samples))
            places = places_of(session, sensitivity.report(), self._options.nodes, self._options.places)
            self._diagnoses = yield from self._diagnosed(places, samples[:done])
        return places

    def _diagnosed(
        self, places: Sequence[Place], samples: Sequence[Sample]
    ) -> Generator[Stage, None, list[Diagnosis]]:
        session, text = self._session, "looking for causes"
        causes = CauseAnalysis(session.evaluator, session.program(), {place.node: place.node for place in places})
        for sample in samples:
            yield from self._in_turns(Stage(text), partial(causes.add, sample))
        channels, found = ChannelCauses(session, samples), list[Diagnosis]()
        for place, attribution in zip(places, causes.report(), strict=True):
            found.append(place.diagnose(attribution, channels, samples[0]))
            yield Stage(text, len(found), len(places))
        return found

    def _in_turns(self, stage: Stage, work: Callable[[Watch], Result]) -> Generator[Stage, None, Result]:
        """Do work that can be stopped from inside, a turn a step."""
        turns = in_turns(work, self._cancelled, self._is_wanted)
        while True:
            try:
                next(turns)
            except StopIteration as end:
                return end.value
            yield stage

    def _try_remedies(self, bench: Bench, places: Sequence[Place]) -> Stages:
        """Those for places first, what costs least before what costs more; a group that was tried on a few samples is
        confirmed on the others before the next begins."""
        yield from self._try_places(bench, places)
        yield from self._confirm(bench)
        for name, remedy in PLACES_REMEDIES.items():
            yield from self._try_fitted(bench, places, name, remedy)
        yield from self._confirm(bench)
        if self._options.with_model and not self._options.nodes:
            self._diagnoses.append(WHOLE_MODEL)
            for done, (name, remedy) in enumerate(MODEL_REMEDIES.items()):
                stage = Stage("trying remedies on the whole model", done, len(MODEL_REMEDIES), name)
                yield from self._try_on_model(bench, stage, remedy)
                yield from self._confirm(bench)

    def _confirm(self, bench: Bench) -> Stages:
        """Measure what is not hopeless on all samples, sample by sample, so that what the samples have in common is in
        the store."""
        left, total = self._best_trials(bench), len(bench.samples)
        for count in range(bench.coarse + 1, total + 1):
            left = [trial for trial in left if trial.samples == count - 1 and not bench.is_hopeless(trial)]
            for trial in left:
                for _ in bench.run(trial, count):
                    yield Stage("measuring remedies on more samples", count, total, trial.title)

    def _try_places(self, bench: Bench, places: Sequence[Place]) -> Stages:
        """Remedies that need no fitting: place by place, the worst first."""
        proposals = [
            (name, place.node, proposal)
            for place in places
            for name, remedy in REMEDIES.items()
            for proposal in remedy(place.site)
        ]
        for done, (name, node, proposal) in enumerate(proposals, start=1):
            for _ in self._try(bench, name, node, proposal):
                yield Stage("trying remedies", done, len(proposals), f"{name} at {node}")

    def _try_fitted(self, bench: Bench, places: Sequence[Place], name: str, remedy: PlacesRemedy) -> Stages:
        stage = Stage("fitting remedies for these places", detail=name)
        sites, samples = [place.site for place in places], self._samples_to_fit(bench)
        found = yield from self._in_turns(
            stage, lambda watch: list(remedy(self._session, sites, Work(samples, cancelled=watch)))
        )
        for item in found:
            for _ in self._try(bench, item.kind, item.node, item.proposal):
                yield stage

    def _try_on_model(self, bench: Bench, stage: Stage, remedy: ModelRemedy) -> Stages:
        samples = self._samples_to_fit(bench)
        found = yield from self._in_turns(
            stage, lambda watch: list(remedy(self._session, Work(samples, cancelled=watch)))
        )
        for proposal in found:
            for _ in self._try(bench, stage.detail, "", proposal):
                yield stage

    def _samples_to_fit(self, bench: Bench) -> tuple[Sample, ...]:
        """Samples that no gain is confirmed on."""
        judged = len(bench.samples)
        others = islice(self._session.samples(judged + _MOST_TO_FIT), judged, None)
        return (*bench.samples[: bench.coarse], *others)[:_MOST_TO_FIT]

    def _try(self, bench: Bench, remedy: str, site: str, proposal: Proposal) -> Iterator[None]:
        trial = bench.trial(remedy, proposal.title, site, proposal.nodes, proposal.plan)
        if trial is not None:
            self._trials.append(trial)
            yield from bench.run(trial, bench.coarse)

    def _combine(self, bench: Bench) -> Stages:
        offered = self._offered(bench)
        combiner = self._combiner = Combiner(bench, self._options.aim)
        for _ in combiner.run(offered):
            yield Stage("combining remedies", len(combiner.trials), len(offered))

    def _judge(self, bench: Bench) -> Stages:
        """Score the present plan, the combination and int16 everywhere on as many samples as there are."""
        plans = {"present": self._session}
        combined = None if self._combiner is None else self._combiner.trial
        if combined is not None:
            plans["best"] = combined.session
        plans["floor"] = self._session.with_plan(widest(self._session))
        scores: dict[str, Scored] = {}
        for name, session in plans.items():
            score = yield from self._score(bench, session)
            scores[name] = Scored(name, score, *bench.cost(session))
        remedies = 0 if self._combiner is None else len(self._combiner.trials)
        self._verdict = verdict_of(
            self._options.aim, scores["present"], scores.get("best"), scores.get("floor"), remedies
        )

    def _score(self, bench: Bench, session: Session) -> Generator[Stage, None, Score]:
        data = self._options.data
        if data is not None:
            metric = yield from self._counted(session, data, "counting on labelled data")
            return score_of_data(metric.report(0), self._options.aim)
        counting = bench.on_all_samples(session)
        while True:
            try:
                done, total = next(counting)
            except StopIteration as end:
                return score_of(end.value, self._options.aim)
            yield Stage("counting on calibration samples", done, total)

    def _count_remedies(self, bench: Bench) -> Stages:
        """What the remedies that gain most do to the task, on labelled data."""
        data = self._options.data
        offered = self._offered(bench)[:_MOST_COUNTED] if data is not None else []
        if data is None or not offered:
            return
        text = "counting what remedies gain on labelled data"
        before = yield from self._counted(self._session, data, text)
        for trial in offered if len(before.right) else ():
            after = yield from self._counted(trial.session, data, f"{text}: {trial.title}")
            change = mean_change(_shares(before.right), _shares(after.right))
            self._top1[trial.key] = change, len(after.right)

    def _metric(self, session: Session, data: Labelled) -> TaskMetric:
        return session.task_metric(data.path, split=data.split, samples=data.samples)

    def _counted(self, session: Session, data: Labelled, text: str) -> Generator[Stage, None, TaskMetric]:
        """The task metric of a plan. Raises DataError, Cancelled."""
        metric = self._metric(session, data)
        yield from self._in_turns(Stage(text), lambda watch: session.count(metric, cancelled=watch))
        return metric


def _shares(right: NDArray[np.bool_]) -> list[float]:
    return [float(item) for item in right]


def _rank(bench: Bench, trial: Trial) -> tuple[int, float]:
    """What makes one trial better than another of its kind; those measured on more samples were better on fewer."""
    return trial.samples, math.fsum(bench.gains_db(trial)[: bench.coarse])
