"""Data sets: the chosen samples of a folder of pictures or an ``.npz`` file, streamed in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.calibrate.recipe import Recipe
from engine.calibrate.sources import Batch, SampleSource, first_not_finite, open_source
from engine.errors import DataError
from engine.graph.graph import TensorType

CALIBRATION_SPLIT = "calibration"
EVALUATION_SPLIT = "evaluation"


class Dataset:
    """The samples chosen from a source. Nothing is kept in memory but their numbers and labels.

    ``split`` is the part that was chosen (None: the data has no parts) and ``splits`` the names of all parts,
    sorted; ``labels`` the classes of the chosen samples, int64 [len], or None.
    """

    def __init__(self, source: SampleSource, indices: NDArray[np.int64], split: str | None) -> None:
        self._source = source
        self._indices = indices
        self.split = split
        self.splits: tuple[str, ...] = tuple(sorted(set(source.splits or ()) - {""}))
        self.labels = None if source.labels is None else source.labels[indices]

    @property
    def path(self) -> Path:
        """The folder or file that is read."""
        return self._source.path

    def __len__(self) -> int:
        return len(self._indices)

    def batches(self, size: int, first: int = 0) -> Iterator[Batch]:
        """The samples from number ``first`` on in order, ``size`` at a time (fewer in the last batch), read as they are
        asked for.

        Raises:
            DataError: A picture is unreadable, or a sample holds NaN or infinity.
        """
        if size < 1:
            raise ValueError(f"batch size {size}")
        for start in range(first, len(self), size):
            yield self.read(start, min(start + size, len(self)))

    def in_whole_batches(self, size: int) -> Dataset:
        """The samples that fill whole batches of ``size``, for a model that takes no fewer at once.

        Raises:
            DataError: There are not as many samples.
        """
        whole = len(self) // size * size
        if whole == len(self):
            return self
        if whole == 0:
            message = f"holds {len(self)} samples, the model takes {size} at once"
            raise DataError(message, path=self.path, hint="add samples, or export the model for a batch of 1")
        return Dataset(self._source, self._indices[:whole], self.split)

    def place(self, index: int) -> str:
        """What to call the sample in a message: its file, or its number in the file."""
        return self._source.place(int(self._indices[index]))

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of what the chosen samples are made from, recipe included; labels do not count.

        Computed when first asked for, one sample in memory at a time.
        """
        hasher = hashlib.blake2b(digest_size=16)
        for index in self._indices:
            part = hashlib.blake2b(digest_size=16)
            self._source.digest(int(index), part)
            hasher.update(part.digest())
        return hasher.hexdigest()

    def check_labels(self, class_count: int) -> None:
        """Raise unless all labels, if there are any, name one of the model's ``class_count`` classes.

        Raises:
            DataError: A label is out of range.
        """
        if self.labels is None:
            return
        at = int(np.argmax(self.labels))
        if self.labels[at] >= class_count:
            classes = f"the model has classes 0..{class_count - 1}"
            message = f"label of {self.place(at)} is {self.labels[at]}, {classes}"
            hint = "correct the labels or choose the model they belong to"
            raise DataError(message, path=self.path, hint=hint)

    def read(self, start: int, end: int) -> Batch:
        """The chosen samples ``start`` to ``end`` (excluded) as one batch.

        Raises:
            IndexError: There are not that many samples.
            DataError: A sample is unreadable, or holds NaN or infinity.
        """
        if not 0 <= start < end <= len(self):
            raise IndexError(f"samples {start} to {end} of {len(self)}")
        return self.pick(range(start, end))

    def pick(self, places: Sequence[int]) -> Batch:
        """The chosen samples at any places as one batch, in their order.

        Raises:
            IndexError: There is no such sample.
            DataError: As :meth:`read`.
        """
        batch = self._source.read([int(self._indices[place]) for place in places])
        for name, rows in batch.items():
            found = first_not_finite(rows)
            if found is not None:
                row, value = found
                message = f"{self.place(places[row])} holds {value} for model input '{name}'"
                raise DataError(message, path=self.path, hint="remove the sample or mend its values")
        return batch


def read_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; each next one is read by another thread meanwhile (pictures decode without Python's lock)."""
    with ThreadPoolExecutor(1, "reading") as reader:
        following = reader.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = reader.submit(next, batches, None)
            yield batch


def open_data(
    path: Path,
    *,
    graph_inputs: Mapping[str, TensorType],
    recipe: Recipe | None = None,
    samples: int | None = None,
    split: str | None = None,
    default_split: str | None = None,
) -> Dataset:
    """Open a folder of pictures or an ``.npz`` file for a model's inputs (first dimension: the batch, any
    size).

    ``split`` chooses a part of data that has parts, ``default_split`` where none is asked for (data without
    parts is then taken whole); ``samples`` takes the first of those that are left, all if there are fewer.

    Raises:
        DataError: There is nothing to read, it does not fit the model's inputs, or the split is unknown.
    """
    if samples is not None and samples < 1:
        raise DataError(f"{samples} samples asked for, expected at least 1", path=path)
    source = open_source(path, graph_inputs, recipe)
    if len(source) == 0:
        raise DataError("holds no samples", path=path)
    chosen = split if split is not None or source.splits is None else default_split
    return Dataset(source, _indices(source, chosen)[:samples], chosen)


def _indices(source: SampleSource, split: str | None) -> NDArray[np.int64]:
    if split is None:
        return np.arange(len(source), dtype=np.int64)
    if source.splits is None:
        hint = "leave the split out, or add a split column to labels.csv or a 'split' array"
        raise DataError(f"has no splits, so no split '{split}'", path=source.path, hint=hint)
    indices = np.flatnonzero(np.array(source.splits) == split)
    if len(indices) == 0:
        names = ", ".join(sorted(set(source.splits) - {""}))
        raise DataError(f"has no split '{split}'", path=source.path, hint=f"choose one of: {names}")
    return indices.astype(np.int64)
