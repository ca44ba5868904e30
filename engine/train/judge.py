# pyright: reportUnknownMemberType=false
"""How good the program is that a module stands for, on samples that it was not trained on; and the float model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.analyze.proportions import decibels, paired_drop, wilson
from engine.graph.float_run import FloatModel
from engine.program.executor import run_program
from engine.program.types import Program
from engine.train.losses import Objective
from engine.train.module import IntegerModule
from engine.train.records import OUTPUT_DB, TOP_1, MetricPoint
from engine.train.samples import TrainingSamples

Tensors = Mapping[str, Tensor]


class FloatOutputs:
    """The float model's outputs for batches of any size that the module takes."""

    def __init__(self, module: IntegerModule) -> None:
        self._module = module
        self._models: dict[int, FloatModel] = {}

    def __call__(self, inputs: Tensors) -> dict[str, Tensor]:
        """Outputs by name, on the CPU, for inputs by name."""
        rows = self._module.rows_for(len(next(iter(inputs.values()))))
        model = self._models.get(rows)
        if model is None:
            model = self._models[rows] = FloatModel(self._module.bound(rows))
        return joined(inputs, rows, model.run)


@dataclass
class Score:
    """Of samples kept aside, one after the other: whether program and float model have them right (of labelled ones),
    and the energies of their outputs and of these outputs' errors. ``loss`` is a sum; ``programs`` are those of the
    numbers that are judged, by how many samples they take at once."""

    count: int = 0
    loss: float = 0.0
    hits: list[bool] = field(default_factory=list[bool])
    float_hits: list[bool] = field(default_factory=list[bool])
    powers: list[float] = field(default_factory=list[float])
    errors: list[float] = field(default_factory=list[float])
    programs: dict[int, Program] = field(default_factory=dict[int, Program])

    def point(self, step: int) -> MetricPoint:
        """What they come to: with labels top-1, otherwise the decibels of the outputs, infinite without any error."""
        loss = self.loss / self.count
        if not self.hits:
            found = decibels(self.powers, self.errors)
            if found is None:
                return MetricPoint(step, math.inf, loss)
            return MetricPoint(step, found.value, loss, found.low, found.high)
        found = wilson(sum(self.hits), self.count)
        pairs = list(zip(self.float_hits, self.hits, strict=True))
        drop = paired_drop(pairs.count((True, False)), pairs.count((False, True)), self.count)
        return MetricPoint(step, found.value, loss, found.low, found.high, drop)


class Judge:
    """Measures the present program of a module on the samples kept aside.

    With labels by top-1 of the first output, otherwise by how far the outputs are from the float model's, in decibels.
    """

    def __init__(
        self,
        module: IntegerModule,
        samples: TrainingSamples,
        objective: Objective,
        float_outputs: FloatOutputs,
        size: int,
    ) -> None:
        """``size`` samples are measured at a time."""
        self._module, self._samples = module, samples
        self._objective, self._float_outputs = objective, float_outputs
        self._batches = tuple(samples.held_out_batches(size))
        self._known: dict[int, Tensors] = {}
        self.metric_name = TOP_1 if samples.labelled else OUTPUT_DB

    @property
    def batch_count(self) -> int:
        return len(self._batches)

    def add(self, score: Score, place: int) -> None:
        """Measure the present program on one of the batches kept aside.

        Raises:
            GraphError: The module's numbers make no program.
        """
        places, expected = self._batches[place], self._expected(place)
        inputs, labels = self._samples.inputs(places), self._samples.labels(places)
        rows = self._module.rows_for(len(places))
        program = score.programs.get(rows) or score.programs.setdefault(rows, self._module.program(rows))
        found = joined(inputs, rows, lambda part: run_program(program, part))
        score.count += len(places)
        score.loss += float(self._objective(found, expected, labels)) * len(places)
        score.hits += self._hits(found, labels)
        score.float_hits += self._hits(expected, labels)
        errors, powers = np.zeros(len(places)), np.zeros(len(places))
        for name in self._objective.followed:
            errors += _energies(found[name] - expected[name], len(places))
            powers += _energies(expected[name], len(places))
        score.errors += errors.tolist()
        score.powers += powers.tolist()

    @cached_property
    def float_metric(self) -> float | None:
        """The float model's own top-1; None without labels."""
        if not self._samples.labelled:
            return None
        hits = (self._hits(self._expected(i), self._samples.labels(places)) for i, places in enumerate(self._batches))
        return sum(map(sum, hits)) / len(self._samples.held_out)

    def _expected(self, place: int) -> Tensors:
        """The float model's outputs for a batch kept aside."""
        if place not in self._known:
            self._known[place] = self._float_outputs(self._samples.inputs(self._batches[place]))
        return self._known[place]

    def _hits(self, outputs: Tensors, labels: Tensor | None) -> list[bool]:
        if labels is None:
            return []
        scores = outputs[self._objective.graph.outputs[0]].reshape(len(labels), -1)
        return [bool(hit) for hit in scores.argmax(-1) == labels]


def _energies(tensor: Tensor, count: int) -> NDArray[np.float64]:
    """Sums of squares, sample by sample; of an output that is no row a sample, an equal share for each."""
    squares = tensor.to(torch.float64).square()
    if len(squares.shape) and len(squares) == count:
        return squares.reshape(count, -1).sum(1).numpy()
    return np.full(count, float(squares.sum()) / count)


def pieces(inputs: Tensors, rows: int) -> Iterator[dict[str, Tensor]]:
    """The samples of a batch, ``rows`` at a time."""
    count = len(next(iter(inputs.values())))
    for start in range(0, count, rows):
        yield {name: tensor[start : start + rows] for name, tensor in inputs.items()}


def joined(inputs: Tensors, rows: int, run: Callable[[dict[str, Tensor]], Tensors]) -> dict[str, Tensor]:
    """What ``run`` makes of the samples, ``rows`` at a time."""
    parts = [run(part) for part in pieces(inputs, rows)]
    return {name: torch.cat([part[name] for part in parts]).clone() for name in parts[0]}
