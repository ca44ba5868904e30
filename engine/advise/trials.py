"""Trying plans: each sample by sample against the present plan, the hopeless given up early.

Of the many plans that are tried, some look better by chance, and most of all the one that looks best. So a plan is
chosen among others of its kind on the first samples, and what it gains is measured on the others; and it is offered
where that is beyond what chance makes of the best of all that are measured so.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from engine.advise.statistics import beyond_chance, chance_of, mean_change
from engine.analyze.errors import interval_of
from engine.analyze.evaluator import Sample
from engine.analyze.keys import value_keys
from engine.analyze.quality import Quality, joined, measure
from engine.errors import GraphError, PlanError
from engine.plan.types import Plan
from engine.reports_advice import Effect
from engine.session import Session

Watch = Callable[[], bool]

SMALLEST_GAIN_DB = 0.1
"""Gains below this are not worth a row, however sure they are."""

COARSE_SAMPLES = 2
"""All remedies are tried on as many samples before any is tried on more: those that they are chosen by."""

LEAST_SAMPLES = 4
"""With fewer, nothing can be told from chance."""

_HOPELESS_DB = -1.0
"""A plan that is worse by this much on the first samples is not tried on more."""

_TELLING_SAMPLES = 4
"""From as many samples on, an interval says whether more of them could still show a gain."""


@dataclass(eq=False)
class Trial:
    """A plan being tried: quality by sample, and what it changes in time and traffic."""

    key: int
    remedy: str
    title: str
    site: str
    nodes: tuple[str, ...]
    session: Session
    change_us: float
    change_bytes: int
    qualities: list[Quality] = field(default_factory=list[Quality])

    @property
    def plan(self) -> Plan:
        return self.session.plan

    @property
    def samples(self) -> int:
        return len(self.qualities)


class Bench:
    """Measures plans on the same samples as the present one, and compares."""

    def __init__(self, session: Session, samples: Sequence[Sample], cancelled: Watch) -> None:
        self.session = session
        self.samples = tuple(samples)
        self.base: list[Quality] = []
        self.coarse = COARSE_SAMPLES if len(self.samples) >= LEAST_SAMPLES else 1
        self._cancelled = cancelled
        self._full: dict[tuple[bytes, ...], Quality] = {}
        self._timing = session.estimate()
        self._known: dict[tuple[bytes, ...], Trial | None] = {self._mark(session): None}
        self._count = 0

    def measure_base(self, samples: int | None = None) -> Iterator[None]:
        """Measure the present plan on the first ``samples`` samples (None: all), one a step."""
        for sample in self.samples[len(self.base) : samples]:
            self.base.append(measure(self.session, (sample,), self._cancelled))
            yield

    def trial(self, remedy: str, title: str, site: str, nodes: tuple[str, ...], plan: Plan) -> Trial | None:
        """A plan that can be tried; None where it computes the same as the present one, or there is no program for it.

        One that computes what another does is measured together with that.
        """
        twin = self.session.with_plan(plan)
        try:
            mark = self._mark(twin)
        except (GraphError, PlanError):
            return None  # scales too far apart for the chip's arithmetic, or ranges that the calibration does not have
        known = self._known.get(mark)
        if known is None and mark in self._known:
            return None
        self._count += 1
        if known is not None:
            return replace(known, key=self._count, remedy=remedy, title=title, site=site, nodes=nodes)
        trial = Trial(self._count, remedy, title, site, nodes, twin, *self.cost(twin))
        self._known[mark] = trial
        return trial

    def _mark(self, session: Session) -> tuple[bytes, ...]:
        """What tells programs apart by what they compute."""
        program = session.program()
        keys = value_keys(program, self.samples[0].digest)
        return tuple(keys[name] for name in program.outputs.values())

    def cost(self, session: Session) -> tuple[float, int]:
        """What a plan changes: latency in us and DDR traffic in bytes."""
        if session.plan.choices == self.session.plan.choices:
            return 0.0, 0  # other numbers in the same kernels
        timing = session.estimate()
        change_us = 1e3 * (timing.latency_ms - self._timing.latency_ms)
        return change_us, timing.ddr_bytes - self._timing.ddr_bytes

    def run(self, trial: Trial, samples: int) -> Iterator[None]:
        """Measure a trial on the first ``samples`` samples, one a step."""
        yield from self.measure_base(samples)
        for sample in self.samples[trial.samples : samples]:
            trial.qualities.append(measure(trial.session, (sample,), self._cancelled))
            yield

    def on_all_samples(self, session: Session) -> Generator[tuple[int, int], None, Quality]:
        """The quality of a plan on every calibration sample there is, not only on those that remedies are tried on;
        says how many are done, of how many.
        """
        mark = self._mark(session)
        if mark not in self._full:
            total, found = session.sample_count(sys.maxsize), list[Quality]()
            for sample in session.samples():
                found.append(measure(session, (sample,), self._cancelled))
                yield len(found), total
            self._full[mark] = joined(found)
        return self._full[mark]

    def gains_db(self, trial: Trial) -> list[float]:
        """What a trial gains on each sample that it was tried on."""
        return _gains_db(trial.qualities, self.base)

    def confirmed_db(self, trial: Trial) -> list[float]:
        """The same of samples that it was not chosen by."""
        return self.gains_db(trial)[self.coarse :]

    def is_hopeless(self, trial: Trial) -> bool:
        """Whether the first samples say that more are not worth their time."""
        gain = interval_of(self.gains_db(trial))
        if gain.mean is None or gain.half_width is None or gain.mean < _HOPELESS_DB:
            return gain.mean is None or gain.mean < _HOPELESS_DB
        return trial.samples >= _TELLING_SAMPLES and gain.mean + gain.half_width < SMALLEST_GAIN_DB

    def offered(self, trials: Iterable[Trial]) -> frozenset[int]:
        """The keys of the trials whose gain is beyond chance and worth a row, of all that are to be confirmed."""
        tried = [trial for trial in trials if trial.samples > self.coarse]
        by_plan = {id(trial.qualities): self.confirmed_db(trial) for trial in tried}
        sure = beyond_chance([chance_of(gains) for gains in by_plan.values()])
        worth = {
            plan
            for (plan, gains), is_sure in zip(by_plan.items(), sure, strict=True)
            if is_sure and math.fsum(gains) >= SMALLEST_GAIN_DB * len(gains)
        }
        return frozenset(trial.key for trial in tried if id(trial.qualities) in worth)

    def effect(self, trial: Trial) -> Effect:
        """The trial against the present plan, on the samples that it was not chosen by (before it is tried on such: on
        those that it was tried on)."""
        start = self.coarse if trial.samples > self.coarse else 0
        found, base = trial.qualities[start:], self.base[start : trial.samples]
        after = joined(found)
        shares = [[item.agreement for item in items if item.agreement is not None] for items in (base, found)]
        is_known = after.agreement is not None and len(shares[0]) == len(shares[1])
        return Effect(
            samples=len(found),
            gain_db=interval_of(_gains_db(found, base)),
            output_db=after.output_db,
            agreement=after.agreement,
            agreement_change=mean_change(*shares) if is_known else None,
            change_us=trial.change_us,
            change_bytes=trial.change_bytes,
        )


def _gains_db(found: Sequence[Quality], base: Sequence[Quality]) -> list[float]:
    """Sample by sample; both are bounded, so that there is a figure for each."""
    return [after.gain_over(before).mean or 0.0 for after, before in zip(found, base, strict=False)]


def best_of_kind(trials: Sequence[Trial], gain_of: Callable[[Trial], tuple[int, float]]) -> Sequence[Trial]:
    """Of the plans that one remedy proposed for one place, the best; in the order of the first of each."""
    best: dict[tuple[str, str], Trial] = {}
    for trial in trials:
        known = best.get((trial.site, trial.remedy))
        if known is None or gain_of(trial) > gain_of(known):
            best[trial.site, trial.remedy] = trial
    return list(best.values())
