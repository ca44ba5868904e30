"""A quick guess of a plan's noise and time from those that were measured: every choice adds its own share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.tune.space import Genome

_RELATIVE_NOISE = 0.03
"""How far, as a fraction, a measurement is taken to be from a sum of shares."""

_SMALLEST_FRACTION = 0.1
"""Of the least that was measured: what a guess never falls below."""


class AdditiveModel:
    """Ridge regression of a positive figure on the options that were chosen, each against its decision's first one.

    The figure is a sum of shares: exactly so for independent noise powers, about so for time. Each share has a prior of
    mean 0 and a standard deviation of a fair part of the whole; rows count by their relative error.

    Args:
        sizes: How many options each decision has.
        spread: Prior standard deviation of a share, as a fraction of the first measurement.
    """

    def __init__(self, sizes: Sequence[int], spread: float) -> None:
        self._starts = np.concatenate(([0], np.cumsum([size - 1 for size in sizes])))
        self._spread = spread
        self._shares: NDArray[np.float64] = np.zeros(int(self._starts[-1]))
        self._base = 1.0
        self._least = 1.0

    def fit(self, genomes: Sequence[Genome], figures: Sequence[float]) -> None:
        """Learn from all measurements (at least one, all positive); what was learned before is forgotten."""
        targets = np.asarray(figures, np.float64)
        self._base = float(targets[0])
        self._least = float(targets.min())
        columns, used = self._used(genomes)
        if not used.size:
            self._shares[:] = 0.0
            self._base = float(np.exp(np.log(targets).mean()))
            return
        # In units of their prior deviation (the base's is the base itself), so that the ridge is the identity.
        first = self._base
        design = np.concatenate((np.ones((len(targets), 1)), columns * self._spread), axis=1) * first / targets[:, None]
        solution = _ridge(design, 1.0 - first / targets, _RELATIVE_NOISE**2) * first
        self._base += float(solution[0])
        self._shares[:] = 0.0
        self._shares[used] = solution[1:] * self._spread

    def guess(self, genome: Genome) -> float:
        """The figure of a genome."""
        total = self._base + math.fsum(float(self._shares[column]) for column in self._columns(genome))
        return max(total, _SMALLEST_FRACTION * self._least)

    def share(self, decision: int, option: int) -> float:
        """What an option adds to the figure, against its decision's first one."""
        return 0.0 if option == 0 else float(self._shares[int(self._starts[decision]) + option - 1])

    def _columns(self, genome: Genome) -> list[int]:
        return [int(self._starts[place]) + option - 1 for place, option in enumerate(genome) if option]

    def _used(self, genomes: Sequence[Genome]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """One column for each option that occurs, and which these are."""
        rows = [self._columns(genome) for genome in genomes]
        used = sorted({column for row in rows for column in row})
        place = {column: index for index, column in enumerate(used)}
        design = np.zeros((len(rows), len(used)))
        for index, row in enumerate(rows):
            design[index, [place[column] for column in row]] = 1.0
        return design, np.asarray(used, np.int64)


def _ridge(design: NDArray[np.float64], wanted: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """argmin |design x - wanted|^2 + noise |x|^2."""
    rows, columns = design.shape
    if rows < columns:
        solution = design.T @ np.linalg.solve(design @ design.T + noise * np.eye(rows), wanted)
    else:
        solution = np.linalg.solve(design.T @ design + noise * np.eye(columns), design.T @ wanted)
    return np.asarray(solution, np.float64)
