"""Orders in which the search tries buffers: by what makes them hard to place, with some chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.compile.memory.columns import Columns, Integers

_Weights = NDArray[np.float64]

_NOISE = (0.05, 0.2, 0.5)
"""Standard deviations of the logarithm of the factor that a weight is multiplied by."""


class Orders:
    """Batches of ranks, shape [orders, N]; the first batch begins with the plain orders. Repeatable for a seed."""

    def __init__(self, columns: Columns, seed: int) -> None:
        contention, size = columns.contention.astype(np.float64), columns.size.astype(np.float64)
        steps, sections = columns.steps.astype(np.float64), (columns.last - columns.first + 1).astype(np.float64)
        self._keys: tuple[tuple[_Weights, ...], ...] = (
            (contention, steps, steps * size),
            (contention, sections, sections * size),
            (contention, sections * size, sections),
            (sections, sections * size, contention),
            (contention, steps * size, steps),
            (steps, steps * size, contention),
            (steps * size, contention),
            (steps, contention),
        )
        self._random = np.random.default_rng(seed)
        self._is_first = True

    def batch(self) -> Integers:
        """The next orders."""
        noises = (0.0, *_NOISE) if self._is_first else _NOISE
        self._is_first = False
        return np.stack([self._ranks(keys, noise) for noise in noises for keys in self._keys])

    def _ranks(self, keys: tuple[_Weights, ...], noise: float) -> Integers:
        order = np.lexsort(tuple(self._shaken(keys, noise)))
        ranks = np.empty_like(order)
        ranks[order] = np.arange(order.size)
        return ranks.astype(np.int64)

    def _shaken(self, keys: tuple[_Weights, ...], noise: float) -> Iterator[_Weights]:
        """The keys with the first one last, as ``lexsort`` wants them, negative so that the largest come first."""
        for key in reversed(keys):
            yield -key * np.exp(noise * self._random.standard_normal(key.size)) if noise else -key
