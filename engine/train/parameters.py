# pyright: reportUnknownMemberType=false
"""The trained numbers as torch parameters, and back as a correction and thresholds of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.plan.corrections import Corrected, Correction
from engine.program.lowering.mac import WEIGHT_LEVELS
from engine.train.gradients import rounded
from engine.train.learned import Bias, Weight

_DIGITS = 6
"""Of a threshold, as everywhere in a project file."""


class Weights(nn.Module):
    """Trained constants, and the scales of those that are quantised.

    A scale is what it was at the start times e^x: a step of an optimiser that takes all gradients for equally large
    changes it by a share of itself, and it stays positive.
    """

    def __init__(self, weights: tuple[Weight, ...]) -> None:
        super().__init__()
        self.names = tuple(weight.name for weight in weights)
        self._place = {name: place for place, name in enumerate(self.names)}
        self.values = nn.ParameterList(torch.from_numpy(weight.values.copy()) for weight in weights)
        self.growths = nn.ParameterList(
            torch.zeros(0 if weight.scales is None else len(weight.scales)) for weight in weights
        )
        for place, weight in enumerate(weights):
            if weight.scales is not None and weight.index is not None:
                self.register_buffer(f"start_{place}", torch.from_numpy(weight.scales.copy()), persistent=False)
                self.register_buffer(f"index_{place}", torch.from_numpy(weight.index), persistent=False)

    def __contains__(self, name: str) -> bool:
        return name in self._place

    def quantised(self, name: str) -> Tensor:
        """The constant as the program has it, float32, with gradients to values and scales."""
        place = self._place[name]
        scales = self._scales(place)
        if scales is None:
            return self.values[place]
        index: Tensor = getattr(self, f"index_{place}")
        return rounded(self.values[place], scales[index], WEIGHT_LEVELS)

    def step(self, name: str) -> Tensor | None:
        """The present scale of each element, of a shape that broadcasts with the constant's; None where it has none."""
        place = self._place[name]
        scales = self._scales(place)
        return None if scales is None else scales.detach()[getattr(self, f"index_{place}")]

    def _scales(self, place: int) -> Tensor | None:
        start: Tensor | None = getattr(self, f"start_{place}", None)
        return None if start is None else start * torch.exp(self.growths[place].to(torch.float64))

    def arrays(self) -> tuple[dict[str, NDArray[np.floating]], dict[str, NDArray[np.floating]]]:
        """Values (those with a scale on its grid) and scales by constant, as a :class:`Correction` has them."""
        with torch.no_grad():
            values = {name: _array(self.quantised(name)) for name in self.names}
            found = ((name, self._scales(place)) for name, place in self._place.items())
            return values, {name: _array(scales) for name, scales in found if scales is not None}


class Biases(nn.Module):
    """Trained biases by node."""

    def __init__(self, biases: tuple[Bias, ...]) -> None:
        super().__init__()
        self.nodes = tuple(bias.node for bias in biases)
        self._place = {node: place for place, node in enumerate(self.nodes)}
        self.values = nn.ParameterList(torch.from_numpy(bias.values.astype(np.float32)) for bias in biases)

    def of(self, node: str) -> Tensor | None:
        """The node's bias, [channels], or None."""
        place = self._place.get(node)
        return None if place is None else self.values[place]

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Biases by node, as a :class:`Correction` has them."""
        return {node: _array(self.values[place]).astype(np.float64) for node, place in self._place.items()}


class Thresholds(nn.Module):
    """Trained thresholds of 8-bit values: what they were at the start times e^x, see :class:`Weights`."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        super().__init__()
        self._place = {name: place for place, name in enumerate(thresholds)}
        self._start = tuple(thresholds.values())
        self.growths = nn.Parameter(torch.zeros(len(thresholds)))

    def current(self) -> Mapping[str, float]:
        """The thresholds by value, of 6 digits: what a project file keeps is what was trained."""
        factors = np.exp(_array(self.growths).astype(np.float64))
        grown = zip(self._place, self._start, factors, strict=True)
        return {name: float(f"{start * factor:.{_DIGITS}g}") for name, start, factor in grown}

    def scale(self, name: str, step: float) -> Tensor:
        """[1]: ``step``, the scale that the program has for the value, with the gradient to the threshold."""
        growth = self.growths[self._place[name]].reshape(1)
        return step * torch.exp(growth - growth.detach())


def correction_of(weights: Weights, biases: Biases, title: str) -> Correction:
    """The present numbers as a correction."""
    values, scales = weights.arrays()
    return Correction("training", title, weights=values, weight_scales=scales, biases=biases.arrays())


def merged(base: Corrected, weights: Weights, biases: Biases) -> Corrected:
    """The present numbers on top of a plan's earlier corrections.

    Unlike :meth:`Corrected.of` it hashes nothing: lowering must not remember units made with it.
    """
    values, scales = weights.arrays()
    return Corrected(
        same=base.same,
        weights=MappingProxyType({**base.weights, **values}),
        weight_scales=MappingProxyType({**base.weight_scales, **scales}),
        biases=MappingProxyType({**base.biases, **biases.arrays()}),
        ranges=base.ranges,
    )


def _array(tensor: Tensor) -> NDArray[np.floating]:
    return tensor.detach().cpu().numpy()
