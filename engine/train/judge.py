# pyright: reportUnknownMemberType=false
"""How good the program is that a module stands for, on samples that it was not trained on; and the float model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from engine.graph.float_run import FloatModel
from engine.memory import release_free_memory
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


class Judge:
    """Measures the present program of a module on the samples kept aside.

    With labels by top-1 of the first output, otherwise by how far the outputs are from the float model's, in decibels.
    """

    def __init__(
        self, module: IntegerModule, samples: TrainingSamples, objective: Objective, float_outputs: FloatOutputs
    ) -> None:
        self._module, self._samples = module, samples
        self._objective, self._float_outputs = objective, float_outputs
        self.metric_name = "top-1" if samples.labelled else "output dB"

    def __call__(self) -> tuple[float, float]:
        """Metric (larger is better) and loss.

        Raises:
            GraphError: The module's numbers make no program.
        """
        hits, loss, error, power = 0, 0.0, 0.0, 0.0
        for places, expected in zip(self._samples.held_out_batches(), self._expected, strict=True):
            inputs, labels = self._samples.inputs(places), self._samples.labels(places)
            rows = self._module.rows_for(len(places))
            program = self._module.program(rows)
            found = joined(inputs, rows, lambda part: run_program(program, part))  # noqa: B023 - used at once
            loss += float(self._objective(found, expected, labels)) * len(places)
            hits += self._hits(found, labels)
            for name in self._objective.followed:
                error += float((found[name] - expected[name]).to(torch.float64).square().sum())
                power += float(expected[name].to(torch.float64).square().sum())
        release_free_memory()
        count = len(self._samples.held_out)
        decibels = 10.0 * math.log10(power / error) if error and power else math.inf
        return (hits / count if self._samples.labelled else decibels), loss / count

    @cached_property
    def float_metric(self) -> float | None:
        """The float model's own top-1; None without labels."""
        if not self._samples.labelled:
            return None
        batches = zip(self._samples.held_out_batches(), self._expected, strict=True)
        hits = sum(self._hits(expected, self._samples.labels(places)) for places, expected in batches)
        return hits / len(self._samples.held_out)

    @cached_property
    def _expected(self) -> Sequence[Tensors]:
        """The float model's outputs for the samples kept aside."""
        return [self._float_outputs(self._samples.inputs(places)) for places in self._samples.held_out_batches()]

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
