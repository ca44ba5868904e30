# pyright: reportUnknownMemberType=false
"""Task metric: top-1 of the float model and of the integer program, and how often they agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from engine.analyze.evaluator import Evaluator, Watch
from engine.calibrate.data import Dataset
from engine.errors import Cancelled, DataError
from engine.graph.graph import Graph
from engine.program.executor import run_program
from engine.program.types import Program
from engine.reports import Evaluation

Batch = Mapping[str, NDArray[np.generic]]


class TaskMetric:
    """Counts over a data set. Predictions are the arg max over the classes of the model's first output.

    Classes are its last axis; for labelled data whatever is left beside the batch ([N, C], [N, C, 1, 1], ...).

    Raises:
        DataError: The labels do not fit the output.
    """

    def __init__(self, dataset: Dataset, graph: Graph) -> None:
        self._dataset = dataset
        if dataset.labels is not None:
            dataset.check_labels(class_count(graph, dataset))
        self._done = 0
        self._float_hits = 0
        self._quantised_hits = 0
        self._lost = 0
        self._won = 0
        self._right: list[NDArray[np.bool_]] = []
        self._agreed = 0
        self._predictions = 0
        self._error_squared = 0.0
        self._reference_squared = 0.0

    @property
    def samples(self) -> int:
        """How many there are to count."""
        return len(self._dataset)

    @property
    def is_labelled(self) -> bool:
        return self._dataset.labels is not None

    @property
    def right(self) -> NDArray[np.bool_]:
        """Of each labelled sample that was counted, whether the integer program has it right; empty without labels."""
        return np.concatenate(self._right) if self._right else np.zeros(0, np.bool_)

    def run(
        self,
        evaluator: Evaluator,
        program: Program,
        size: int,
        progress: Callable[[int, int], None] | None,
        cancelled: Watch,
    ) -> None:
        """Evaluate as many of the remaining samples as fill whole batches of ``size``. Raises Cancelled."""
        for batch in self._batches(size):
            if cancelled():
                raise Cancelled
            reference = evaluator.model.run(batch, keep=evaluator.graph.outputs)
            inputs = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}
            outputs = run_program(program, inputs)
            name = evaluator.graph.outputs[0]
            self._count(reference[name], outputs[name])
            self._add_errors([(reference[n], outputs[n]) for n in evaluator.graph.outputs])
            self._done += size
            if progress is not None:
                progress(self._done, len(self._dataset))

    def _batches(self, size: int) -> Iterator[Batch]:
        whole = (len(self._dataset) - self._done) // size * size
        start = self._done
        for first in range(start, start + whole, size):
            yield self._dataset.read(first, first + size)

    def _count(self, reference: torch.Tensor, value: torch.Tensor) -> None:
        labels = self._dataset.labels
        expected, predicted = (_predictions(tensor, labels is not None) for tensor in (reference, value))
        self._agreed += int((expected == predicted).sum())
        self._predictions += expected.size
        if labels is not None:
            truth = labels[self._done : self._done + expected.size]
            hits, kept = expected == truth, predicted == truth
            self._right.append(kept)
            self._float_hits += int(hits.sum())
            self._quantised_hits += int(kept.sum())
            self._lost += int((hits & ~kept).sum())
            self._won += int((kept & ~hits).sum())

    def _add_errors(self, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        for reference, value in pairs:
            r = reference.to(torch.float64)
            self._error_squared += float(((r - value.to(torch.float64)) ** 2).sum())
            self._reference_squared += float((r**2).sum())

    def report(self, cpu_nodes: int) -> Evaluation:
        """Fractions over what was evaluated."""
        labelled = self.is_labelled
        ratio = self._reference_squared / self._error_squared if self._error_squared else math.inf
        return Evaluation(
            samples=self._done,
            float_top1=self._float_hits / self._done if labelled else None,
            quantised_top1=self._quantised_hits / self._done if labelled else None,
            agreement=self._agreed / max(self._predictions, 1),
            output_sqnr_db=10.0 * math.log10(ratio) if ratio > 0.0 else -math.inf,
            cpu_nodes=cpu_nodes,
            lost=self._lost if labelled else None,
            won=self._won if labelled else None,
        )


def class_count(graph: Graph, dataset: Dataset) -> int:
    """How many classes the first output tells apart. Raises DataError where it does not give each sample one score a
    class.
    """
    name = graph.outputs[0]
    kind = graph.types[name]
    count = max(kind.shape[1:], default=1)
    if not kind.is_float or len(kind.shape) < 2 or math.prod(kind.shape[1:]) != count:
        message = f"has labels, but output '{name}' {kind.dtype}{list(kind.shape)} is not one score a class"
        raise DataError(message, path=dataset.path, hint="leave the labels out; agreement and error are then measured")
    return count


def _predictions(output: torch.Tensor, labelled: bool) -> NDArray[np.generic]:
    """The predicted classes, flat; an output of indices holds them already."""
    if not output.is_floating_point():
        return output.reshape(-1).numpy()
    scores = output.reshape(output.shape[0], -1) if labelled else output
    return scores.argmax(-1).reshape(-1).numpy()
