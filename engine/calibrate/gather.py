"""Calibrating a model: its float forward over a data set, watched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from engine.calibrate.calibration import Observation, Progress, Visit, observe, result_of
from engine.calibrate.data import Dataset
from engine.calibrate.readers import function_readers
from engine.calibrate.result import CalibrationResult
from engine.calibrate.sources import Batch
from engine.errors import Cancelled
from engine.graph.finite import check_finite
from engine.graph.float_run import FloatModel
from engine.graph.packed_run import PackedModel
from engine.memory import kept_free_memory, release_free_memory
from engine.threads import torch_threads

QUICK_EVERY = 11
"""Of large arrays a quick calibration counts one value of so many into its histograms; a prime, so that it meets all
rows and columns."""

QUICK_WHOLE = 8
"""One batch of so many shows a quick calibration the values that no unit of the usual plan makes."""


MOST_AT_ONCE = 2
"""Batches that run side by side where torch has the threads: one is counted while the other is convolved, and threads
need not meet after every operator. Each holds values of its own, so there are no more."""


@dataclass(frozen=True, eq=False)
class Paused:
    """What a calibration that was stopped had seen, and of what: the same one goes on from there."""

    key: tuple[object, ...]
    observation: Observation


class Gathering:
    """Calibrations of one session, of which one that was stopped is kept."""

    def __init__(self) -> None:
        self.paused: Paused | None = None

    def gather(
        self,
        model: FloatModel,
        dataset: Dataset,
        batch: int,
        *,
        quick: bool = False,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> CalibrationResult:
        """The ranges of every float value of a model over a data set.

        ``quick``: extrema of all values as ever; histograms count every :data:`QUICK_EVERY`-th value of large arrays,
        and what is inside a convolution with its clamp is seen in one batch of :data:`QUICK_WHOLE`.

        Raises:
            CalibrationError: NaN or infinity in weights or activations.
            DataError: A sample cannot be read.
            Cancelled: Somebody stopped it; the same call goes on where it was.
        """
        graph = model.graph
        check_finite(graph)
        readers = function_readers(graph)
        key = (graph.digest, dataset.fingerprint, len(dataset), batch, quick)
        if self.paused is None or self.paused.key != key:
            values = [value for node in graph.nodes for value in node.outputs if value and graph.types[value].is_float]
            every = QUICK_EVERY if quick else 1
            self.paused = Paused(key, Observation(values, signed=readers.keys(), every=every))
        observation = self.paused.observation
        packed = PackedModel(model)

        def run(inputs: Batch, visit: Visit, first: int) -> None:
            whole = not quick or first // batch % QUICK_WHOLE == 0
            packed.run(inputs, visit, whole=whole)
            if not quick:
                release_free_memory()

        threads = torch.get_num_threads()
        at_once = min(threads, MOST_AT_ONCE)
        try:
            with torch_threads(threads // at_once), kept_free_memory() if quick else nullcontext():
                observe(
                    run,
                    dataset,
                    observation,
                    batch_size=batch,
                    at_once=at_once,
                    progress=progress,
                    cancelled=cancelled,
                )
        except Cancelled:
            raise
        except BaseException:
            self.paused = None  # half of a batch was seen
            raise
        self.paused = None
        return result_of(observation, dataset, readers)
