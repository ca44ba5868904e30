# pyright: reportUnknownMemberType=false
"""Training samples: in memory where they fit, in any order, some of them kept aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.calibrate.data import Dataset
from engine.errors import DataError

_MOST_BYTES = 1 << 30
"""Samples that take less are read once."""

_MOST_HELD_OUT = 2000


class TrainingSamples:
    """Samples of a data set in shuffled order, some of which are kept aside.

    What is kept aside and the order of each epoch follow from the seed alone.
    """

    def __init__(self, dataset: Dataset, rows: int, batch: int, holdout: float, seed: int) -> None:
        """Divide the samples; ``rows`` is how many the model takes at once (any multiple, if it is 1).

        Raises:
            DataError: There are too few, or the batch is no multiple of what the model takes at once.
        """
        self.dataset = dataset
        total = len(dataset)
        if batch % rows:
            hint = f"choose a multiple of {rows}"
            raise DataError(f"batches of {batch} samples, the model takes {rows} at once", hint=hint)
        aside = min(max(int(total * holdout), rows), _MOST_HELD_OUT) // rows * rows
        left = (total - aside) // rows * rows
        if left < rows:
            hint = "give more samples"
            message = f"holds {total}, too few samples to train with and to judge by"
            raise DataError(message, path=dataset.path, hint=hint)
        order = np.random.default_rng([seed, 0]).permutation(total)
        self.held_out = np.sort(order[:aside])
        self.training = np.sort(order[aside : aside + left])
        self.batch = min(batch, left)
        self.steps_per_epoch = left // self.batch
        self._seed = seed
        self._kept: dict[str, Tensor] | None = None
        first = dataset.pick([0])
        if sum(array.nbytes for array in first.values()) * total <= _MOST_BYTES:
            self._kept = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in self._all().items()}

    def _all(self) -> Mapping[str, NDArray[np.generic]]:
        return self.dataset.read(0, len(self.dataset))

    @property
    def labelled(self) -> bool:
        return self.dataset.labels is not None

    def epoch(self, number: int) -> NDArray[np.int64]:
        """The samples of an epoch in its order, [steps, batch]."""
        order = np.random.default_rng([self._seed, 1, number]).permutation(self.training)
        used = self.steps_per_epoch * self.batch
        return order[:used].reshape(self.steps_per_epoch, self.batch)

    def inputs(self, places: NDArray[np.int64]) -> dict[str, Tensor]:
        """The model's inputs for samples, [len(places), ...] by name. Raises DataError."""
        if self._kept is not None:
            return {name: tensor[torch.from_numpy(places)] for name, tensor in self._kept.items()}
        batch = self.dataset.pick([int(place) for place in places])
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}

    def labels(self, places: NDArray[np.int64]) -> Tensor | None:
        """Classes of the samples, int64 [len(places)], or None."""
        labels = self.dataset.labels
        return None if labels is None else torch.from_numpy(labels[places])

    def held_out_batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """The samples kept aside, ``size`` at a time, and what is left."""
        for start in range(0, len(self.held_out), size):
            yield self.held_out[start : start + size]
