# pyright: reportUnknownMemberType=false
"""How good the program is that a module stands for, on samples that it was not trained on; and the float model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engine.graph.float_run import FloatModel
from engine.program.executor import run_program
from engine.train.losses import Objective
from engine.train.module import IntegerModule
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
    """Sums over samples kept aside."""

    count: int = 0
    hits: int = 0
    loss: float = 0.0
    error: float = 0.0
    power: float = 0.0


class Judge:
    """Measures the present program of a module on the samples kept aside.

    With labels by top-1 of the first output, otherwise by how far the outputs are from the float model's, in decibels.
    """

    def __init__(
        self, module: IntegerModule, samples: TrainingSamples, objective: Objective, float_outputs: FloatOutputs
    ) -> None:
        self._module, self._samples = module, samples
        self._objective, self._float_outputs = objective, float_outputs
        self._batches = tuple(samples.held_out_batches())
        self._known: dict[int, Tensors] = {}
        self.metric_name = "top-1" if samples.labelled else "output dB"

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
        program = self._module.program(rows)
        found = joined(inputs, rows, lambda part: run_program(program, part))
        score.count += len(places)
        score.loss += float(self._objective(found, expected, labels)) * len(places)
        score.hits += self._hits(found, labels)
        for name in self._objective.followed:
            score.error += float((found[name] - expected[name]).to(torch.float64).square().sum())
            score.power += float(expected[name].to(torch.float64).square().sum())

    def metric_of(self, score: Score) -> float:
        """Larger is better."""
        if self._samples.labelled:
            return score.hits / score.count
        return 10.0 * math.log10(score.power / score.error) if score.error and score.power else math.inf

    @cached_property
    def float_metric(self) -> float | None:
        """The float model's own top-1; None without labels."""
        if not self._samples.labelled:
            return None
        hits = (self._hits(self._expected(i), self._samples.labels(places)) for i, places in enumerate(self._batches))
        return sum(hits) / len(self._samples.held_out)

    def _expected(self, place: int) -> Tensors:
        """The float model's outputs for a batch kept aside."""
        if place not in self._known:
            self._known[place] = self._float_outputs(self._samples.inputs(self._batches[place]))
        return self._known[place]

    def _hits(self, outputs: Tensors, labels: Tensor | None) -> int:
        if labels is None:
            return 0
        scores = outputs[self._objective.graph.outputs[0]].reshape(len(labels), -1)
        return int((scores.argmax(-1) == labels).sum())

    def figure(self, metric: float) -> str:
        """A metric as text."""
        return f"{metric:.2%}" if self._samples.labelled else f"{metric:.1f} dB"


def pieces(inputs: Tensors, rows: int) -> Iterator[dict[str, Tensor]]:
    """The samples of a batch, ``rows`` at a time."""
    count = len(next(iter(inputs.values())))
    for start in range(0, count, rows):
        yield {name: tensor[start : start + rows] for name, tensor in inputs.items()}


def joined(inputs: Tensors, rows: int, run: Callable[[dict[str, Tensor]], Tensors]) -> dict[str, Tensor]:
    """What ``run`` makes of the samples, ``rows`` at a time."""
    parts = [run(part) for part in pieces(inputs, rows)]
    return {name: torch.cat([part[name] for part in parts]).clone() for name in parts[0]}
