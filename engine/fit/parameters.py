"""Which figures of a target a fit may change, by how much, and how far each can be trusted to begin with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.target.edit import figure_at, with_figures
from engine.target.figures import Figure, SourceKind
from engine.target.target import Target

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Parameter:
    """Figures that are scaled together.

    Attributes:
        name: For a person.
        figures: Their paths. The first is the one that is shown.
        is_rate: Whether time falls as they grow; otherwise they are times.
        spread: How far the fit may believe them to be off, as a factor of one standard deviation.
        reach: The factor by which they may change at most, either way.
        most: The largest value of the first figure.
    """

    name: str
    figures: tuple[str, ...]
    is_rate: bool = True
    spread: float = 1.6
    reach: float = 20.0
    most: float = math.inf


PARAMETERS = (
    Parameter("DDR bandwidth", ("dma.bandwidth",), spread=1.25),
    Parameter("share of the MAC peak", ("mac.sustained_fraction",), spread=1.25, most=1.0),
    Parameter("depthwise share", ("mac.depthwise_fraction",), most=1.0),
    Parameter("vector rate", ("vector.int8", "vector.int16", "vector.reduction")),
    Parameter("look-up rate", ("table.int8",)),
    Parameter("int16 look-up rate", ("table.int16",)),
    Parameter("on-chip bandwidth", ("sram.bandwidth",), spread=1.4),
    Parameter("launch of a kernel", ("launch.operator",), is_rate=False),
    Parameter("host overhead", ("launch.inference",), is_rate=False),
)
"""All that a fit may change. A figure of 0 stays 0; one that is published stays as it is."""


def free_parameters(target: Target) -> tuple[Parameter, ...]:
    """Those of :data:`PARAMETERS` that this target leaves open."""
    return tuple(parameter for parameter in PARAMETERS if _is_open(figure_at(target, parameter.figures[0])))


def _is_open(figure: Figure) -> bool:
    return figure.kind is not SourceKind.DATASHEET and figure.value > 0.0


def scaled(target: Target, parameter: Parameter, factor: float) -> Target:
    """The target with what depends on the parameter taking ``factor`` times as long."""
    by = 1.0 / factor if parameter.is_rate else factor
    figures = ((path, figure_at(target, path)) for path in parameter.figures)
    changed = {path: Figure(figure.value * by, figure.unit, figure.source) for path, figure in figures}
    return with_figures(target, changed)


def fitted_target(target: Target, factors: Mapping[str, float], source: str) -> Target:
    """The target with every parameter's figures taking its factor as long, to four digits, and their source."""
    changed: dict[str, Figure] = {}
    for parameter in PARAMETERS:
        factor = factors.get(parameter.name)
        if factor is None:
            continue
        by = 1.0 / factor if parameter.is_rate else factor
        for path in parameter.figures:
            figure = figure_at(target, path)
            origin = source if path == parameter.figures[0] else f"together with {parameter.figures[0]}"
            changed[path] = Figure(float(f"{figure.value * by:.4g}"), figure.unit, f"fitted: {origin}")
    return with_figures(target, changed)


def bounds(target: Target, parameters: tuple[Parameter, ...]) -> tuple[Vector, Vector]:
    """Least and largest logarithm of each parameter's factor on time."""
    reach = np.log([parameter.reach for parameter in parameters])
    low, high = -reach, reach
    for index, parameter in enumerate(parameters):
        room = parameter.most / figure_at(target, parameter.figures[0]).value
        if parameter.is_rate and math.isfinite(room):
            low[index] = max(low[index], -math.log(max(room, 1.0)))
    return low, high


def spreads(parameters: tuple[Parameter, ...]) -> Vector:
    """Standard deviations of the logarithms."""
    return np.log([parameter.spread for parameter in parameters])
