"""The best combination: remedies applied one after another until the aim is reached, then those taken out again that it
does not need."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from engine.advise.statistics import RISK, chance_of
from engine.advise.trials import SMALLEST_GAIN_DB, Bench, Trial
from engine.analyze.quality import Quality
from engine.errors import GraphError
from engine.plan.rebase import rebased
from engine.plan.types import Plan
from engine.reports_advice import Aim, Combination
from engine.session import Session

MOST_TRIED = 24
"""Remedies that are tried on top of one another."""

NOT_COMBINED = frozenset({"float", "all int16"})
"""The first leaves the chip, the second is what a verdict calls the floor: neither is one remedy among others."""


def reaches(quality: Quality, aim: Aim) -> bool:
    """Whether a quality is good enough as measured, its interval left aside."""
    if aim.min_db is None and quality.agreement is not None:
        return 100.0 * (1.0 - quality.agreement) <= aim.max_drop
    mean = quality.output_db.mean
    return mean is not None and mean >= min_db_of(aim)


DEFAULT_MIN_DB = 30.0
"""Of an output that is no choice of classes: a thousandth of its energy is noise."""


def min_db_of(aim: Aim) -> float:
    return DEFAULT_MIN_DB if aim.min_db is None else aim.min_db


@dataclass
class Combiner:
    """Puts remedies together, a measured sample a step. What came of it: ``trials``, and ``trial`` of all of them
    together (None: there are none); ``reaches`` once they meet the aim."""

    bench: Bench
    aim: Aim
    trials: list[Trial] = field(default_factory=list[Trial])
    trial: Trial | None = None
    reaches: bool = False

    def run(self, offered: Sequence[Trial]) -> Iterator[None]:
        """Try the offered remedies: those that cost nothing first and all of them, then by gain for the time, until the
        aim is reached on all calibration samples."""
        order = sorted((t for t in offered if t.remedy not in NOT_COMBINED), key=self._rank)[:MOST_TRIED]
        if not order:
            return
        gains = [0.0] * (len(self.bench.samples) - self.bench.coarse)
        for trial in order:
            if not _is_free(trial) and (yield from self._is_reached()):
                break
            tried = self._combined([*self.trials, trial])
            if tried is None:
                continue
            yield from self.bench.run(tried, len(self.bench.samples))
            found = self.bench.confirmed_db(tried)
            more = [new - old for new, old in zip(found, gains, strict=True)]
            if math.fsum(more) >= SMALLEST_GAIN_DB * len(more) and chance_of(more) <= RISK / len(order):
                gains, self.trial = found, tried
                self.trials.append(trial)
        self.reaches = yield from self._is_reached()
        if self.reaches:
            yield from self._leave_out()

    def _is_reached(self) -> Generator[None, None, bool]:
        """Whether the aim is met so far, on all calibration samples."""
        return (yield from self._meets(self.bench.session if self.trial is None else self.trial.session))

    def _meets(self, session: Session) -> Generator[None, None, bool]:
        counting = self.bench.on_all_samples(session)
        while True:
            try:
                next(counting)
            except StopIteration as done:
                return reaches(done.value, self.aim)
            yield

    def _leave_out(self) -> Iterator[None]:
        """Take out what costs time and is not needed for the aim, the least useful first."""
        for trial in sorted(self.trials, key=self._rank, reverse=True):
            others = [other for other in self.trials if other is not trial]
            tried = None if _is_free(trial) or not others else self._combined(others)
            if tried is None:
                continue
            yield from self.bench.run(tried, len(self.bench.samples))
            if (yield from self._meets(tried.session)):
                self.trials, self.trial = others, tried

    def _combined(self, trials: Sequence[Trial]) -> Trial | None:
        """Several remedies as one plan; None where there is no program for them together."""
        before, plan = self.bench.session.plan, self.bench.session.plan
        for trial in trials:
            plan = with_change(before, trial.plan, plan)
        nodes = tuple(dict.fromkeys(node for trial in trials for node in trial.nodes))
        try:
            twin = self.bench.session.with_plan(plan)
            twin.program()
        except GraphError:
            return None
        change_us, change_bytes = self.bench.cost(twin)
        title = f"{len(trials)} remedies"
        return Trial(0, "combination", title, "", nodes, twin, change_us, change_bytes)

    def _rank(self, trial: Trial) -> tuple[bool, float]:
        gain = self.bench.effect(trial).gain_db.mean or 0.0
        return (False, -gain) if _is_free(trial) else (True, -gain / max(trial.change_us, 1e-3))

    def report(self) -> Combination | None:
        """What the combination does against the present plan; None where there is none."""
        if self.trial is None:
            return None
        effect = self.bench.effect(self.trial)
        titles = tuple(f"{trial.site or 'whole model'}: {trial.title}" for trial in self.trials)
        return Combination(titles, self.trial.nodes, effect, self.reaches)


def with_change(before: Plan, after: Plan, present: Plan) -> Plan:
    """``present`` with what changed from ``before`` to ``after``."""
    fields = rebased(before, after, present)
    return replace(present, **fields) if fields else present


def _is_free(trial: Trial) -> bool:
    return trial.change_us <= 0.0 and trial.change_bytes <= 0
