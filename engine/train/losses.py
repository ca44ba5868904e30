# pyright: reportUnknownMemberType=false
"""What training makes small: the distance to labels, or to the float model's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.graph.graph import Graph
from engine.ops.reduce import LogSoftmax, Softmax

_SMALLEST_PROBABILITY = 1e-8
_SCORES_RANK = 2


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a batch.

    With labels the cross-entropy of the first output. Otherwise the sum over the outputs of what parts them from the
    float model's: for scores [N, C] the divergence KL(float || integers) of their softmax, for any other tensor the
    squared error over the float model's power.
    """

    graph: Graph
    labelled: bool

    def __call__(self, outputs: Mapping[str, Tensor], wanted: Mapping[str, Tensor], labels: Tensor | None) -> Tensor:
        """The loss, a scalar, for the program's outputs, the float model's (by name; not read where there are labels),
        and classes [N]."""
        if self.labelled:
            assert labels is not None
            name = self.graph.outputs[0]
            scores = outputs[name].reshape(len(labels), -1)
            return functional.nll_loss(self._log_probabilities(name, scores), labels)
        parts = [self._distance(name, outputs[name], wanted[name]) for name in self.followed]
        return torch.stack(parts).sum()

    @property
    def followed(self) -> tuple[str, ...]:
        """Outputs that have a slope: not those of indices."""
        return tuple(name for name in self.graph.outputs if self.graph.types[name].is_float)

    def _distance(self, name: str, found: Tensor, wanted: Tensor) -> Tensor:
        shape = self.graph.types[name].shape
        if len(shape) == _SCORES_RANK and shape[1] > 1:
            target = self._log_probabilities(name, wanted)
            return functional.kl_div(
                self._log_probabilities(name, found), target, reduction="batchmean", log_target=True
            )
        power = wanted.square().mean().clamp_min(torch.finfo(torch.float32).tiny)
        return functional.mse_loss(found, wanted) / power

    def _log_probabilities(self, name: str, scores: Tensor) -> Tensor:
        op = self.graph.producer[name].op
        if isinstance(op, Softmax):
            return scores.clamp_min(_SMALLEST_PROBABILITY).log()
        return scores if isinstance(op, LogSoftmax) else functional.log_softmax(scores, -1)
