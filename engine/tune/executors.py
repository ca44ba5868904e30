"""Who measures trials: this process, processes beside it (:mod:`engine.tune.processes`), or a Dask cluster
(:mod:`engine.tune.cluster`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from engine.errors import Cancelled
from engine.tune.bench import Bench
from engine.tune.records import Measured, Trial

Watch = Callable[[], bool]

MOST_ATTEMPTS = 3
"""How often a trial is given to a worker before it counts as what kills them."""


class Executor(Protocol):
    """Measures trials, several at a time where it can. What a trial gives does not depend on who measures it."""

    def run(self, trials: Sequence[Trial], cancelled: Watch) -> Iterator[tuple[int, Measured]]:
        """Each trial's place and what came of it, as they are done.

        A trial whose worker dies is given to another one, :data:`MOST_ATTEMPTS` times at the most; then its
        ``problem`` says so.

        Raises:
            ExecutorError: No worker is left.
            Cancelled: ``cancelled()``.
            QuantscopeError: What every trial fails with, as samples that cannot be read.
        """
        ...

    def close(self) -> None:
        """End what was started. Nothing is measured after it."""
        ...


class InProcess:
    """One trial after the other, here."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def run(self, trials: Sequence[Trial], cancelled: Watch) -> Iterator[tuple[int, Measured]]:
        for place, trial in enumerate(trials):
            if cancelled():
                raise Cancelled
            yield place, self._bench.measure(trial, cancelled)

    def close(self) -> None:
        """Nothing was started."""


def given_up(reason: str) -> Measured:
    """What comes of a trial whose workers died, each time."""
    return Measured(problem=f"{MOST_ATTEMPTS} workers died while measuring it; the last one {reason}", is_lost=True)
