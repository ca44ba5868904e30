"""The search: heuristics first, then one change at a time, then generations of guessed plans, each measured exactly.

Anytime: the front is right after every measurement. The order of measurements follows from the seed alone, not from who
measures or how fast; what is known from a journal is not measured again, so that a search that was stopped goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from engine.errors import Cancelled
from engine.plan.data import PlanData, data_of
from engine.tune.archive import Archive, Found
from engine.tune.executors import Executor, Watch
from engine.tune.front import area_above
from engine.tune.heuristics import PROJECT_PLAN, Heuristic, ladders, uniform_plans
from engine.tune.journal import Journal
from engine.tune.proposals import Costing, Proposal, Proposer
from engine.tune.records import Measured, Trial, TuneSettings
from engine.tune.space import AS_PLANNED, Genome, Space, space_of

if TYPE_CHECKING:
    from engine.session import Session

BATCH = 16
"""Plans that are measured before the search looks at what came of them: the same for any number of workers."""

STALE_GENERATIONS = 12
"""Without a gain worth speaking of, the search has converged."""

_NEGLIGIBLE = 0.02
"""Share of all noise that comes from units whose ranges are not tried one by one."""

_GAIN = 2e-3
"""Of the area between the front and the worst corner of what it spanned at first: a smaller gain is none."""

SAME_PLAN = " = "
"""Between the names of heuristics that make one plan."""

_CONFIRMING = 0.3
"""Share of the time that is kept for measuring the front on all samples."""

Listener = Callable[[Found, Sequence[Found]], None]
"""Told of each measured plan, and the front with it."""


class OutOfBudgetError(Exception):
    """The time or the number of trials is used up. ``why`` is one word."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Search:
    """One search around a session's plan.

    Args:
        session: Calibrated, with samples. Its plan is not changed.
        listener: Told of every plan as it is measured.
        cancelled: Asked between measurements.
    """

    def __init__(
        self,
        session: Session,
        executor: Executor,
        settings: TuneSettings,
        journal: Journal,
        listener: Listener,
        cancelled: Watch,
    ) -> None:
        self.space: Space = space_of(session)
        self.archive = Archive()
        self.settings = settings
        self.known = 0
        self._session = session
        self._executor = executor
        self._journal = journal
        self._listener = listener
        self._cancelled = cancelled
        self._started = time.monotonic()
        self._costing = Costing(session, self.space)
        self._proposer = Proposer(self.space, self._costing, settings.seed, self._fits)
        self._trials = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def run(self, noise: Callable[[], Mapping[str, float]]) -> str:
        """Search until nothing is gained any more; returns why it ended.

        ``noise`` gives the sensitivity of each unit, as :func:`engine.tune.heuristics.ladders` wants it.

        Raises:
            Cancelled: The user stopped; what was measured is in :attr:`archive`.
            QuantscopeError: What keeps plans from being measured.
        """
        try:
            self._measure([(self.space.origin, PROJECT_PLAN)], is_heuristic=True, share=math.inf)
            self._begin(uniform_plans(self.space))
            sensitivity = noise()
            self._begin(ladders(self.space, sensitivity))
            self._deltas(sensitivity)
            return self._generations()
        except OutOfBudgetError as end:
            return end.why

    def confirmed(self, founds: Sequence[Found], least: int) -> dict[int, Measured]:
        """Plans measured on all samples, by number, as many of the first ones as the time allows; where that would be
        fewer than ``least``, on as many samples as it allows for these.

        Raises:
            Cancelled, QuantscopeError: As :meth:`run`.
        """
        samples = self._affordable(min(least, len(founds)))
        trials = [Trial(self._data(found.genome), samples, is_timed=False) for found in founds]
        results: dict[int, Measured] = {}
        try:
            for place, measured in self._results(trials, [f"confirmed {found.origin}" for found in founds], share=1.0):
                if not measured.problem:
                    found = founds[place].measured
                    results[founds[place].number] = _with_costs(measured, found.latency_ms, found.ddr_bytes)
        except OutOfBudgetError:
            return results
        return results

    def _affordable(self, plans: int) -> int:
        """How many samples there is time for, 0 for all: a plan takes as long for each as it took so far."""
        settings, total = self.settings, self._session.sample_count(1 << 60)
        fresh = len(self.archive) - self.known
        if settings.minutes is None or fresh <= 0 or total <= settings.samples:
            return 0
        left_s = 60.0 * settings.minutes - self.seconds
        possible = settings.samples * left_s * fresh / (self.seconds * max(1, plans))
        return 0 if possible >= total else max(settings.samples, int(possible))

    def _begin(self, heuristics: Iterable[Heuristic]) -> None:
        """Measure heuristics: at the project's compiler options, then at the others too."""
        same: dict[Genome, list[str]] = {}
        for item in heuristics:
            same.setdefault(item.genome, []).append(item.title)
        titles = {genome: SAME_PLAN.join(names) for genome, names in same.items()}
        place = self.space.compiler_place
        for option, options in enumerate(self.space.compiler.options):
            suffix = "" if option == AS_PLANNED else f", {options.level.value}"
            wanted = [(self.space.changed(genome, {place: option}), titles[genome] + suffix) for genome in titles]
            for batch in _batches(wanted, BATCH):
                self._measure(batch, is_heuristic=True)

    def _deltas(self, noise: Mapping[str, float]) -> None:
        """One change at a time: units to int16 from all int8, units to int8 from all int16, ranges; the most sensitive
        first."""
        narrow, wide = (self._best_uniform(dtype) for dtype in ("int8", "int16"))
        units = self.space.units
        order = sorted(range(len(units)), key=lambda place: (-noise.get(units[place].anchor, 0.0), place))
        ranges = {decision.value: place for place, decision in enumerate(self.space.ranges, start=len(units))}
        left = (1.0 - _NEGLIGIBLE) * math.fsum(noise.get(unit.anchor, 0.0) for unit in units)
        wanted: dict[Genome, str] = {}
        for place in order:
            unit = units[place]
            for genome, dtype in ((narrow, "int16"), (wide, "int8")):
                changed = self.space.changed(genome, {place: unit.option_of(dtype)})
                wanted.setdefault(changed, f"{unit.anchor} in {dtype}")
            if left < 0.0:
                continue
            left -= noise.get(unit.anchor, 0.0)
            for value in self._session.graph.by_id[unit.nodes[-1]].outputs:
                spot = ranges.get(value)
                if spot is not None:
                    for option, method in enumerate(self.space.ranges[spot - len(units)].options):
                        changed = self.space.changed(narrow, {spot: option})
                        wanted.setdefault(changed, f"{value} by {method or 'its own range'}")
        todo = [(genome, origin) for genome, origin in wanted.items() if self.archive.get(genome) is None]
        for batch in _batches(todo, BATCH):
            self._measure(batch)

    def _best_uniform(self, dtype: str) -> Genome:
        """The best of the plans in which all units have one type."""
        units = self.space.uniform(dtype)[: len(self.space.units)]
        plain = [
            found
            for found in self.archive.heuristics
            if found.genome[: len(units)] == units and found.genome[-1] == 0
        ]
        if not plain:
            return self.space.uniform(dtype)
        return min(plain, key=lambda found: (found.costs[0], found.number)).genome

    def _generations(self) -> str:
        stale = 0
        front = [found.costs for found in self.archive.front]
        corner = (max(loss for loss, _, _ in front), max(latency for _, latency, _ in front))
        area = self._area(corner)
        while stale < STALE_GENERATIONS:
            self._proposer.learn(self.archive)
            picked = self._proposer.pick(self.archive, BATCH)
            if not picked:
                return "converged"
            self._measure(picked)
            grown = self._area(corner)
            stale = 0 if grown > area * (1.0 + _GAIN) else stale + 1
            area = max(area, grown)
        return "converged"

    def _area(self, corner: tuple[float, float]) -> float:
        return area_above([found.costs for found in self.archive.front], corner)

    def _fits(self, latency_ms: float, ddr_bytes: float) -> bool:
        """Whether a plan of these costs is within the bounds that were asked for."""
        settings = self.settings
        if settings.max_latency_ms is not None and latency_ms > settings.max_latency_ms:
            return False
        return settings.max_ddr_bytes is None or ddr_bytes <= settings.max_ddr_bytes

    def _measure(
        self, wanted: Sequence[Proposal], is_heuristic: bool = False, share: float = 1.0 - _CONFIRMING
    ) -> None:
        """Measure plans that were not, as long as a share of the time lasts. Raises OutOfBudgetError, Cancelled."""
        fresh = [(genome, origin) for genome, origin in wanted if self.archive.get(genome) is None]
        left = None if self.settings.trials is None else self.settings.trials - self._trials
        cut = fresh if left is None else fresh[:left]
        trials = [
            Trial(self._data(genome), self.settings.samples, is_timed=genome[-1] != AS_PLANNED) for genome, _ in cut
        ]
        results: dict[int, Measured] = {}
        try:
            for place, measured in self._results(trials, [origin for _, origin in cut], share):
                results[place] = measured
        finally:
            # In the order that was asked for, so that numbers do not depend on who was quick.
            for place in sorted(results):
                genome, origin = cut[place]
                measured = results[place]
                if not trials[place].is_timed and not measured.problem:
                    latency_ms, ddr_bytes = self._costing.plain(genome)
                    measured = _with_costs(measured, latency_ms, int(ddr_bytes))
                self._listener(self.archive.add(genome, origin, measured, is_heuristic), self.archive.front)
        self._trials += len(cut)
        if len(cut) < len(fresh):
            raise OutOfBudgetError("trials")

    def _results(
        self, trials: Sequence[Trial], origins: Sequence[str], share: float
    ) -> Iterator[tuple[int, Measured]]:
        """What comes of trials, from the journal where it has them. Raises OutOfBudgetError, Cancelled."""
        missing: list[int] = []
        for place, trial in enumerate(trials):
            known = self._journal.find(trial)
            if known is None:
                missing.append(place)
                continue
            self.known += 1
            yield place, known
        if not missing:
            return

        def is_over() -> bool:
            return self._cancelled() or self._is_late(share)

        try:
            for index, measured in self._executor.run([trials[place] for place in missing], is_over):
                place = missing[index]
                if not measured.is_lost:
                    self._journal.add(trials[place], origins[place], measured)
                yield place, measured
        except Cancelled:
            if self._cancelled():
                raise
            raise OutOfBudgetError("time") from None

    def _is_late(self, share: float) -> bool:
        minutes = self.settings.minutes
        return minutes is not None and self.seconds > 60.0 * minutes * share

    def _data(self, genome: Genome) -> PlanData:
        return data_of(self.space.plan(genome), self._session.target_reference)


def _with_costs(measured: Measured, latency_ms: float, ddr_bytes: int) -> Measured:
    return msgspec.structs.replace(measured, latency_ms=latency_ms, ddr_bytes=ddr_bytes)


def _batches(items: Sequence[Proposal], size: int) -> Iterator[Sequence[Proposal]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
