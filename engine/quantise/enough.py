# pyright: reportUnknownMemberType=false
"""When a model is near enough to float that more precision is not worth its price.

A class flips where the noise between the two largest outputs exceeds what lies between them: for noise of deviation s
in each output, independent and normal, with the probability Q(margin / (s sqrt 2)). The margins are the float model's,
the noise is predicted, so this is known without running anything, and it is smooth where counting classes that flip is
not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from engine.analyze.felt import felt_values
from engine.errors import Cancelled
from engine.ops.reduce import Softmax

if TYPE_CHECKING:
    from engine.quantise.step import Work
    from engine.session import Session

_MATRIX = 2
"""Rank of an output with one row of classes a sample."""


@dataclass(frozen=True)
class Enough:
    """``output_db``: the outputs' spread (their variance over the classes, where they have some) over their noise;
    ``flips``: the fraction of samples that have another class somewhere. Either of them is enough."""

    output_db: float = 32.0
    flips: float = 0.01


@dataclass(frozen=True, eq=False)
class Answers:
    """What the float model answers to some samples, where noise is felt: of each its ``energy`` [samples] (the sum of
    squares), its ``spread`` [samples] (that without the mean over classes), how many numbers it has, and the
    ``margins`` between its two largest classes [samples, rows]; no rows without classes."""

    energy: NDArray[np.float64]
    spread: NDArray[np.float64]
    count: int
    margins: NDArray[np.float64]

    @staticmethod
    def of(session: Session, work: Work) -> Answers:
        """The answers to the samples of the work. Raises Cancelled."""
        places = felt_values(session.graph, session.program().value_of)
        energy, spread, margins = list[float](), list[float](), list[NDArray[np.float64]]()
        count = sum(session.graph.types[place].element_count for place in places)
        classes = next((place for place in places if has_classes(session, place)), None)
        for sample in work.samples:
            if work.cancelled():
                raise Cancelled
            known = session.source_evaluator.reference_outputs(sample)
            values = {place: known[place].double() for place in places}
            energy.append(sum(float(value.square().sum()) for value in values.values()))
            centred = values if classes is None else {**values, classes: _centred(values[classes])}
            spread.append(sum(float(value.square().sum()) for value in centred.values()))
            margins.append(np.zeros(0) if classes is None else _margins(values[classes]))
        return Answers(np.array(energy), np.array(spread), count, np.array(margins))

    def are_kept(self, noise: float, enough: Enough) -> bool:
        """Whether noise of this energy, over the signal's, changes little enough of them."""
        power = noise * self.energy
        if 10.0 * np.log10(np.maximum(self.spread, 1e-30) / np.maximum(power, 1e-30)).mean() >= enough.output_db:
            return True
        return self.margins.shape[1] > 0 and self.flips(noise) <= enough.flips

    def flips(self, noise: float) -> float:
        """The fraction of samples of which a row is expected to have another class."""
        deviation = np.sqrt(np.maximum(noise * self.energy, 1e-30) / max(1, self.count))
        ratio = torch.from_numpy(self.margins / deviation[:, None])
        stays = 1.0 - 0.5 * torch.erfc(ratio / 2.0)
        return 1.0 - float(stays.prod(dim=1).mean())


def has_classes(session: Session, place: str) -> bool:
    """Whether a value's last axis is one of classes: it is a matrix, or goes through a softmax over that axis."""
    kind = session.graph.types[place]
    if len(kind.shape) < _MATRIX or kind.shape[-1] < 2:
        return False
    readers: Sequence[object] = [node.op for node in session.graph.consumers.get(place, ())]
    last = {-1, len(kind.shape) - 1}
    return len(kind.shape) == _MATRIX or any(isinstance(op, Softmax) and op.axis in last for op in readers)


def _centred(value: torch.Tensor) -> torch.Tensor:
    return value - value.mean(-1, keepdim=True)


def _margins(value: torch.Tensor) -> NDArray[np.float64]:
    """Between the two largest of each row."""
    largest = value.reshape(-1, value.shape[-1]).topk(2, dim=-1).values
    return (largest[:, 0] - largest[:, 1]).numpy()
