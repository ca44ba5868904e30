"""The search of level O3: kernels that pass values to each other are fused where that serves the goal.

Candidates are pairs of kernels, those first whose value goes over the DDR interface; each is judged like a user's
region and then by the simulated frame. The search ends after a number of trials: equal models give equal results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.compile.types import Compiled, Kernel
from engine.plan.compile_options import CompileOptions, Goal
from engine.plan.types import ResolvedRegion, Unit
from engine.simulate.timing import Timing

MOST_TRIALS = 24
"""Frames that are simulated at the most."""

_MOST_JUDGED = 96
"""Candidates that are judged at the most."""

Merges = tuple[ResolvedRegion, ...]
"""Kernels that the compiler makes of several; they have no name."""


def objective(options: CompileOptions, start: Timing) -> Callable[[Timing], tuple[float, float]]:
    """What the goal makes of a timing, less being better: the second figure decides between equals."""

    def measure(timing: Timing) -> tuple[float, float]:
        latency = timing.latency_us / max(start.latency_us, 1e-9)
        traffic = timing.ddr_bytes / max(start.ddr_bytes, 1)
        if options.goal is Goal.LATENCY:
            return latency, traffic
        if options.goal is Goal.BANDWIDTH:
            return traffic, latency
        return options.weight * traffic + (1.0 - options.weight) * latency, latency

    return measure


IsLegal = Callable[[Sequence[str]], bool]
"""Whether nodes can run as one kernel."""

Trial = Callable[[Merges], tuple[Compiled, Timing]]
"""Compiles and simulates with merges."""


def search(compiled: Compiled, timing: Timing, options: CompileOptions, is_legal: IsLegal, trial: Trial) -> Merges:
    """The merges that serve the goal best, found one by one; ``compiled`` and ``timing`` are without any."""
    return _Search(compiled, timing, options, is_legal, trial).run()


class _Search:
    def __init__(
        self, compiled: Compiled, timing: Timing, options: CompileOptions, is_legal: IsLegal, trial: Trial
    ) -> None:
        self.compiled = compiled
        self.measure = objective(options, timing)
        self.best = self.measure(timing)
        self.is_legal = is_legal
        self.trial = trial
        self.merges: Merges = ()
        self.refused: set[frozenset[str]] = set()
        self.trials = 0

    def run(self) -> Merges:
        while self._improved():
            pass
        return self.merges

    def _improved(self) -> bool:
        """Whether one more merge serves the goal."""
        for units in _candidates(self.compiled):
            if self.trials == MOST_TRIALS or len(self.refused) == _MOST_JUDGED:
                return False
            key = frozenset(unit.anchor for unit in units)
            if key not in self.refused:
                self.refused.add(key)
                if self.is_legal([node for unit in units for node in unit.nodes]) and self._serves(units, key):
                    return True
        return False

    def _serves(self, units: tuple[Unit, ...], key: frozenset[str]) -> bool:
        """Whether the frame is better with these units as one kernel; it is then kept."""
        self.trials += 1
        apart = [merge for merge in self.merges if key.isdisjoint([unit.anchor for unit in merge.units])]
        tried = (*apart, ResolvedRegion("", units, True, ""))
        compiled, timing = self.trial(tried)
        measured = self.measure(timing)
        if measured >= self.best:
            return False
        self.best, self.merges, self.compiled = measured, tried, compiled
        return True


def _candidates(compiled: Compiled) -> Iterator[tuple[Unit, ...]]:
    """The units of pairs of kernels that pass a value on, the most traffic first."""
    maker: dict[str, int] = {}
    pairs: dict[tuple[int, int], int] = {}
    traffic = {value.value: value.traffic_bytes for value in compiled.values if value.value not in compiled.resident}
    for index, costed in enumerate(compiled.kernels):
        for root in costed.kernel.reads:
            if root in maker:
                pair = (maker[root], index)
                pairs[pair] = pairs.get(pair, 0) + traffic.get(root, 0)
        maker.update(dict.fromkeys(costed.kernel.writes, index))
    kernels = [costed.kernel for costed in compiled.kernels]
    for first, second in sorted(pairs, key=lambda pair: -pairs[pair]):
        one, other = kernels[first], kernels[second]
        if not any(kernel.on_cpu or kernel.region for kernel in (one, other)):
            yield _units(one, other)


def _units(one: Kernel, other: Kernel) -> tuple[Unit, ...]:
    return tuple(unit.frame.unit for unit in (*one.units, *other.units))
