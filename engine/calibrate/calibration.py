"""Calibration: run the float model over samples and watch its activations."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Condition
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.calibrate.data import Dataset, read_ahead
from engine.calibrate.methods import METHODS
from engine.calibrate.observers import NotFiniteError, TensorStatistics
from engine.calibrate.ranges import INT16_LEVELS, PercentileRange, RangeMethod
from engine.calibrate.result import INT8_LEVELS, CalibrationResult, TensorRange
from engine.calibrate.sources import Batch, first_not_finite
from engine.calibrate.table_range import Function, TableRange
from engine.errors import CalibrationError, Cancelled
from engine.graph.graph import Node
from engine.ops.elementwise import Add, Affine, Maximum, Mul, Sub, Where
from engine.ops.layout import Layout
from engine.ops.logic import Cast
from engine.ops.other import OnnxOp

Visit = Callable[[Node, Sequence[Any]], None]
"""Called by a float executor after each node with the node's outputs (arrays, or tensors that numpy can
view).
"""

RunWithVisit = Callable[[Batch, Visit], object]
"""Runs the float model on one batch and calls the visitor for each node; what it returns is not used."""

RunNumbered = Callable[[Batch, Visit, int], object]
"""The same, told how many samples were before the batch."""

Progress = Callable[[int, int], None]
"""Called with the number of samples done and of all samples."""


def collect(
    run_with_visit: RunWithVisit,
    dataset: Dataset,
    *,
    values: Collection[str],
    readers: Mapping[str, Sequence[Function]] = MappingProxyType({}),
    batch_size: int = 1,
    percentile: float = 99.99,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> CalibrationResult:
    """The ranges of ``values`` (outputs of nodes, or inputs of the model) over a data set.

    ``readers`` are the functions that read some of them.

    Raises:
        CalibrationError: An activation holds NaN or infinity, or a value was never computed.
        DataError: A sample cannot be read.
        Cancelled: ``cancelled`` returned true; it is asked before every batch.
    """
    observation = Observation(values, signed=readers.keys())

    def run(batch: Batch, visit: Visit, _: int) -> None:
        run_with_visit(batch, visit)

    observe(run, dataset, observation, batch_size=batch_size, progress=progress, cancelled=cancelled)
    return result_of(observation, dataset, readers, percentile)


def result_of(
    observation: Observation,
    dataset: Dataset,
    readers: Mapping[str, Sequence[Function]] = MappingProxyType({}),
    percentile: float = 99.99,
) -> CalibrationResult:
    """The ranges of all values observed.

    Raises:
        CalibrationError: A value was never computed.
    """
    observed = observation.statistics(dataset)
    return CalibrationResult(
        ranges={name: tensor_range(found, percentile, readers.get(name, ())) for name, found in observed.items()},
        samples=observation.samples_done,
        fingerprint=dataset.fingerprint,
        percentile=percentile,
    )


def observe(
    run: RunNumbered,
    dataset: Dataset,
    observation: Observation,
    *,
    batch_size: int = 1,
    at_once: int = 1,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Add the samples of a data set that the observation has not seen yet, in memory that does not grow with their
    number. The next batch is read while one runs, or as many as ``at_once`` run, each in a thread of its own; every
    value's statistics take in the batches in their order, so that results do not depend on ``at_once``.

    Raises:
        CalibrationError: An activation holds NaN or infinity (minus infinity in an attention mask is meant).
        DataError: A sample cannot be read.
        Cancelled: ``cancelled`` returned true; it is asked before every batch. What was seen until then stays in the
            observation, and the next call goes on from there.
    """
    running: deque[tuple[Look, Callable[[], None]]] = deque()

    def finish(most_left: int) -> None:
        while len(running) > most_left:
            look, wait = running.popleft()
            wait()
            observation.samples_done += look.size
            if progress is not None:
                progress(observation.samples_done, len(dataset))

    last: Look | None = None
    with ThreadPoolExecutor(at_once, "observing") as threads:
        for batch in read_ahead(dataset.batches(batch_size, observation.samples_done)):
            if cancelled is not None and cancelled():
                finish(0)
                raise Cancelled
            last = Look(observation, batch, dataset, last)
            work = partial(last.run, run)
            running.append((last, work if at_once == 1 else threads.submit(work).result))
            finish(at_once - 1)
        finish(0)


def tensor_range(
    statistics: TensorStatistics, percentile: float = 99.99, readers: Sequence[Function] = ()
) -> TensorRange:
    """The numbers that are kept of a tensor's statistics, to 6 significant digits. ``readers`` are the functions that
    read it, see :func:`engine.calibrate.readers.function_readers`.
    """

    def by(method: RangeMethod, level_count: int = INT8_LEVELS) -> float:
        return _rounded(method.threshold(statistics, level_count))

    mse = by(METHODS["mse"]())
    return TensorRange(
        min=_rounded(statistics.minimum),
        max=_rounded(statistics.maximum),
        percentile=by(PercentileRange(percentile)),
        mse=mse,
        kl=by(METHODS["kl"]()),
        mse16=by(METHODS["mse"](), INT16_LEVELS),
        average=by(METHODS["average"]()),
        p999=by(METHODS["p99.9"]()),
        p99999=by(METHODS["p99.999"]()),
        table=by(TableRange(tuple(readers))) if readers else mse,
    )


def _rounded(value: float) -> float:
    """To the digits that a project file keeps, at once: results do not change when a project is saved and
    opened.
    """
    return float(f"{value:.6g}")


LOWEST = np.finfo(np.float32).min
"""What minus infinity counts as where it is an attention mask: exporters write either."""

_MAKES_MASKS = (Add, Affine, Cast, Layout, Maximum, Mul, OnnxOp, Sub, Where)
"""Operators that make attention masks, move them, or apply them. (Trilu is an OnnxOp.)"""


def _is_infinite_mask(node: Node, array: NDArray[Any]) -> bool:
    """Whether values that are not all finite are an attention mask's: some minus infinity, no NaN, no infinity."""
    return isinstance(node.op, _MAKES_MASKS) and bool((array <= np.finfo(np.float32).max).all())


class Observation:
    """The statistics of some values over the samples seen so far; of the ``signed`` ones with the distribution of each
    sign. ``every``: see :class:`TensorStatistics`.
    """

    def __init__(self, values: Collection[str], *, signed: Collection[str] = (), every: int = 1) -> None:
        self._statistics = {name: TensorStatistics(signed=name in signed, every=every) for name in values}
        self.samples_done = 0

    def statistics(self, dataset: Dataset) -> Mapping[str, TensorStatistics]:
        """The statistics by value.

        Raises:
            CalibrationError: A value was never computed.
        """
        missing = [name for name, statistics in self._statistics.items() if statistics.count == 0]
        if missing:
            counts = f"{len(missing)} of the {len(self._statistics)} wanted"
            message = f"value '{missing[0]}' was never computed ({counts})"
            raise CalibrationError(message, path=dataset.path)
        return MappingProxyType(self._statistics)

    def add(self, name: str, array: NDArray[Any], samples: int) -> None:
        """Take in a value, if it is wanted. Raises NotFiniteError where it is not finite."""
        statistics = self._statistics.get(name)
        if statistics is not None:
            statistics.update(array, samples)


class _GivenUpError(Exception):
    """Another batch, which this one follows, has failed."""


class Look:
    """One batch on its way through the model. At every node it waits for the batch before it."""

    def __init__(self, observation: Observation, batch: Batch, dataset: Dataset, before: Look | None) -> None:
        """The model's inputs are observed here, whether or not their nodes are visited."""
        self.size = len(next(iter(batch.values())))
        self._observation = observation
        self._batch = batch
        self._dataset = dataset
        self._first = observation.samples_done if before is None else before._first + before.size
        self._before = before
        self._seen: set[str] = set()
        self._is_done = self._has_failed = False
        self._news = Condition()
        for name, rows in batch.items():
            self._add(name, rows, None)

    def run(self, run: RunNumbered) -> None:
        """Run the model on the batch. Raises CalibrationError and whatever ``run`` raises."""
        try:
            run(self._batch, self.visit, self._first)
        except BaseException:
            self._end(failed=True)
            raise
        self._before = None
        self._end(failed=False)

    def _end(self, *, failed: bool) -> None:
        with self._news:
            self._is_done, self._has_failed = not failed, failed
            self._news.notify_all()

    def visit(self, node: Node, outputs: Sequence[Any]) -> None:
        """Take in a node's outputs. Raises CalibrationError where they are not finite."""
        if self._before is not None:
            self._before._wait_for(node.id)
        for name, output in zip(node.outputs, outputs, strict=False):
            if name not in self._batch:
                self._add(name, np.asarray(output), node)
        with self._news:
            self._seen.add(node.id)
            self._news.notify_all()

    def _wait_for(self, node: str) -> None:
        """Until this batch was seen there, or will not be."""
        with self._news:
            self._news.wait_for(lambda: node in self._seen or self._is_done or self._has_failed)
            if self._has_failed:
                raise _GivenUpError

    def _add(self, name: str, array: NDArray[Any], node: Node | None) -> None:
        try:
            self._observation.add(name, array, self.size)
        except NotFiniteError as failure:
            if node is None or not _is_infinite_mask(node, array):
                raise self._not_finite(name, array, node) from failure
            self._observation.add(name, np.maximum(array, LOWEST), self.size)

    def _not_finite(self, name: str, array: NDArray[Any], node: Node | None) -> CalibrationError:
        # float64 values beyond float32's range are infinite for the observer
        rows = array.reshape(-1) if array.ndim == 0 else array
        with np.errstate(over="ignore"):
            found = first_not_finite(rows.astype(np.float32))
        row, value = found if found is not None else (0, float("nan"))
        if len(rows) != self.size:  # the first dimension is not the batch
            row = 0
        message = f"value '{name}' holds {value} for {self._dataset.place(self._first + row)}"
        hint = "mend the weights or the samples, or leave this sample out"
        return CalibrationError(message, path=self._dataset.path, node=node.id if node else None, hint=hint)
