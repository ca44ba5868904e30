"""The adviser: ranks places, tries remedies there, combines the best and gives a verdict, a small step at a time.

A step is about one forward pass; longer work asks whether others want their turn, and begins again after it. So whoever
runs it (a command, the engine process between the window's requests) stays in charge. After each step the advice so far
can be had.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from engine.advise.combine import Combiner
from engine.advise.places import MOST_PLACES, Place, places_of
from engine.advise.remedies import (
    MODEL_REMEDIES,
    QUICK_STEPS,
    REMEDIES,
    ModelRemedy,
    Proposal,
    parts_for,
    widest,
)
from engine.advise.trials import COARSE_SAMPLES, Bench, Trial, Watch, best_of_kind
from engine.advise.verdict import Score, Scored, score_of, score_of_data, verdict_of
from engine.analyze.causes import CauseAnalysis
from engine.analyze.evaluator import Sample
from engine.analyze.quality import joined
from engine.analyze.sensitivity import analysis_of
from engine.errors import Cancelled, DataError, PlanError
from engine.plan.types import Plan
from engine.quantise.causes import ChannelCauses
from engine.quantise.step import Work
from engine.reports import Interval
from engine.reports_advice import AccuracyAdvice, Aim, Combination, Diagnosis, Verdict
from engine.reports_advice import Trial as TrialReport
from engine.session import Session

DEFAULT_SAMPLES = 16

_SAMPLES_TO_RANK = 2
_MOST_TO_FIT = 32
_LEAST_TO_FIT = 4

Result = TypeVar("Result")

WHOLE_MODEL = Diagnosis("", "", "", None, Interval(None), ())


@dataclass(frozen=True)
class Labelled:
    """Labelled data for the verdict: the path, the part of it, and at most how many samples. Remedies are chosen on
    calibration samples alone."""

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
    """How far the adviser is: what it does, and of ``total`` things (0: not known) how many are done."""

    text: str
    done: int = 0
    total: int = 0


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
        self._combiner: Combiner | None = None
        self._verdict: Verdict | None = None

    @property
    def before(self) -> Plan:
        """The plan that the advice is about."""
        return self._session.plan

    def run(self) -> Iterator[Stage]:
        """Do all of it; what is known so far is in :attr:`advice` after every step.

        Raises:
            CalibrationError, DataError: The session is not calibrated, or has no samples.
            PlanError: A node is not in the model.
            Cancelled: The user stopped.
        """
        for node in self._options.nodes:
            if node not in self._session.graph.by_id:
                raise PlanError(f"the model has no node '{node}'", hint="list the nodes with `quantscope check`")
        data = self._options.data
        if data is not None and self._options.with_verdict:
            self._session.evaluation_data(data.path, split=data.split, samples=data.samples)
        samples = tuple(self._session.samples(self._options.samples))
        if not samples:
            raise DataError("there are no calibration samples to try remedies on", hint="calibrate with more samples")
        bench = self._bench = Bench(self._session, samples, self._cancelled)
        for done, _ in enumerate(bench.measure_base(), start=1):
            yield Stage("measuring the present plan", done, len(samples))
        places = yield from self._find_places(bench)
        yield from self._try_remedies(bench, places)
        yield from self._combine(bench)
        if self._options.with_verdict:
            yield from self._judge(bench)

    # What is known

    @property
    def advice(self) -> AccuracyAdvice:
        """The advice so far."""
        bench = self._bench
        if bench is None or not bench.base:
            return AccuracyAdvice(0, Interval(None), (), ())
        shown = self._best_trials(bench)
        return AccuracyAdvice(
            samples=len(bench.samples),
            present_db=joined(bench.base).output_db,
            diagnoses=tuple(self._diagnoses),
            trials=tuple(self._report(bench, trial) for trial in shown),
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
        return best_of_kind([t for t in self._trials if t.samples], lambda trial: _gain(bench, trial))

    def _report(self, bench: Bench, trial: Trial) -> TrialReport:
        return TrialReport(
            key=trial.key,
            remedy=trial.remedy,
            title=trial.title,
            site=trial.site,
            nodes=trial.nodes,
            effect=bench.effect(trial),
            is_offered=bench.is_offered(trial),
            is_final=trial.samples == len(bench.samples),
        )

    # The steps

    def _find_places(self, bench: Bench) -> Generator[Stage, None, Sequence[Place]]:
        """Rank the units by what the outputs feel of them, and take apart what those at the top add."""
        session, samples = self._session, bench.samples[:_SAMPLES_TO_RANK]
        sensitivity = analysis_of(session)
        for done, sample in enumerate(samples, start=1):
            yield from self._interruptibly("finding where the error comes from", partial(sensitivity.add, sample))
            yield Stage("finding where the error comes from", done, len(samples))
        places = places_of(session, sensitivity.report(), self._options.nodes, self._options.places)
        causes = CauseAnalysis(session.evaluator, session.program(), {place.node: place.node for place in places})
        for sample in samples:
            yield from self._interruptibly("looking for causes", partial(causes.add, sample))
        channels = ChannelCauses(session, samples)
        for place, attribution in zip(places, causes.report(), strict=True):
            self._diagnoses.append(place.diagnose(attribution, channels, samples[0]))
            yield Stage("looking for causes", len(self._diagnoses), len(places))
        return places

    def _interruptibly(self, text: str, work: Callable[[Watch], Result]) -> Generator[Stage, None, Result]:
        """Do work that can be stopped from inside; where something else is wanted, that comes first, and the work
        begins again (what it has put into the store stays there)."""
        while True:
            try:
                return work(lambda: self._cancelled() or self._is_wanted())
            except Cancelled:
                if self._cancelled():
                    raise
                yield Stage(text)

    def _try_remedies(self, bench: Bench, places: Sequence[Place]) -> Iterator[Stage]:
        """All on a few samples first; then those that are not hopeless on all, sample by sample, so that what the
        samples have in common is in the store."""
        yield from self._try_places(bench, places)
        if self._options.with_model and not self._options.nodes:
            yield from self._try_on_model(bench, places)
        left, total = self._best_trials(bench), len(bench.samples)
        for count in range(COARSE_SAMPLES + 1, total + 1):
            left = [trial for trial in left if not bench.is_hopeless(trial)]
            for trial in left:
                for _ in bench.run(trial, count):
                    yield Stage("measuring remedies on more samples", count, total)

    def _try_places(self, bench: Bench, places: Sequence[Place]) -> Iterator[Stage]:
        proposals = [
            (name, place.node, proposal)
            for place in places
            for name, remedy in REMEDIES.items()
            for proposal in remedy(place.site)
        ]
        for done, item in enumerate(proposals, start=1):
            for _ in self._try(bench, *item):
                yield Stage("trying remedies", done, len(proposals))

    def _try_on_model(self, bench: Bench, places: Sequence[Place]) -> Iterator[Stage]:
        """Remedies for the whole model, and what corrections among them do for single places alone."""
        self._diagnoses.append(WHOLE_MODEL)
        samples = self._samples_to_fit(bench)
        for done, (name, remedy) in enumerate(MODEL_REMEDIES.items(), start=1):
            text = f"trying remedies on the whole model: {name}"

            def propose(watch: Watch, remedy: ModelRemedy = remedy) -> list[Proposal]:
                return list(remedy(self._session, Work(samples, cancelled=watch)))

            for proposal in (yield from self._interruptibly(text, propose)):
                parts = [(place.node, part) for place in places for part in parts_for(place.site, proposal.plan)]
                for _ in self._try(bench, name, "", proposal):
                    yield Stage(text, done, len(MODEL_REMEDIES))
                for node, (kind, part) in parts if name in QUICK_STEPS else ():
                    for _ in self._try(bench, kind, node, part):
                        yield Stage(text, done, len(MODEL_REMEDIES))

    def _samples_to_fit(self, bench: Bench) -> tuple[Sample, ...]:
        """Samples that remedies are not judged on, where there are enough of them."""
        judged = len(bench.samples)
        others = tuple(islice(self._session.samples(judged + _MOST_TO_FIT), judged, None))
        return others if len(others) >= _LEAST_TO_FIT else bench.samples

    def _try(self, bench: Bench, remedy: str, site: str, proposal: Proposal) -> Iterator[None]:
        trial = bench.trial(remedy, proposal.title, site, proposal.nodes, proposal.plan)
        if trial is not None:
            self._trials.append(trial)
            yield from bench.run(trial, COARSE_SAMPLES)

    def _combine(self, bench: Bench) -> Iterator[Stage]:
        offered = [trial for trial in self._best_trials(bench) if bench.is_offered(trial)]
        self._combiner = Combiner(bench, self._options.aim)
        for _ in self._combiner.run(offered):
            yield Stage("combining remedies", len(self._combiner.trials), len(offered))

    def _judge(self, bench: Bench) -> Iterator[Stage]:
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
            yield Stage("counting on labelled data")
            found = session.evaluate(data.path, split=data.split, samples=data.samples, cancelled=self._cancelled)
            return score_of_data(found, self._options.aim)
        counting = bench.on_all_samples(session)
        while True:
            try:
                done, total = next(counting)
            except StopIteration as end:
                return score_of(end.value, self._options.aim)
            yield Stage("counting on calibration samples", done, total)


def _gain(bench: Bench, trial: Trial) -> tuple[int, float]:
    """What makes one trial better than another of its kind; those measured on more samples were better on fewer."""
    return trial.samples, bench.effect(trial).gain_db.mean or 0.0
