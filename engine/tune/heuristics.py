"""Plans that people and other tools would try: what the search begins with, and never does worse than.

What the other tools do is described as their public documentation has it; each becomes a series of plans here:

esp-ppq (Espressif, "Using ESP-PPQ for Model Quantization", documentation of ESP-DL)
    Quantise in 8 bits; list the *layerwise* errors (noise to signal power, in per cent, with one layer quantised); the
    layers with large errors go to 16 bits (``dispatching_table``). The example calls errors below 1 % small.

Horizon (OpenExplorer: "PTQ accuracy tuning practice" of the mapper, ``SensitivityTemplate`` of the QAT tools)
    List the *sensitivity* of the nodes (similarity of the model's output, cosine or mean square, with one node
    quantised); the most sensitive ones, a share of all operators (1 %, 2 %, 5 %, 10 %, 20 %, ...) or all those below a
    threshold of cosine similarity, go to int16; then all int16 as the other end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engine.calibrate.result import METHOD_NAMES
from engine.tune.space import Genome, Space

PROJECT_PLAN = "project plan"

ESP_PERCENT = (10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Layerwise errors beyond which a layer goes to 16 bits."""

HORIZON_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of the most sensitive operators that go to int16."""

HORIZON_COSINES = (0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999)
"""Cosine similarities of the output below which an operator goes to int16."""


@dataclass(frozen=True)
class Heuristic:
    """A plan with the name of the rule that it follows."""

    title: str
    genome: Genome


def uniform_plans(space: Space) -> Iterator[Heuristic]:
    """The project's plan; all int8 and all int16, in the project's ranges and with each range method."""
    yield Heuristic(PROJECT_PLAN, space.origin)
    for dtype in ("int8", "int16"):
        genome = space.uniform(dtype)
        yield Heuristic(f"all {dtype}", genome)
        for method in METHOD_NAMES:
            yield Heuristic(f"all {dtype}, {method}", space.with_method(genome, method))


def ladders(space: Space, noise: Mapping[str, float]) -> Iterator[Heuristic]:
    """Int8 to int16 by rules. ``noise`` has for each unit, by anchor, noise to signal power at the model's outputs with
    only that unit quantised; units without a figure count as exact."""
    order = sorted(range(len(space.units)), key=lambda place: (-noise.get(space.units[place].anchor, 0.0), place))
    ranked = [place for place in order if "int16" in space.units[place].dtypes]
    for count in _steps(len(ranked)):
        yield Heuristic(f"top {count} by sensitivity", _widened(space, ranked[:count]))
    for percent in ESP_PERCENT:
        worse = [place for place in ranked if 100.0 * noise.get(space.units[place].anchor, 0.0) > percent]
        yield Heuristic(f"esp-ppq: layerwise error above {percent:g} %", _widened(space, worse))
    for share in HORIZON_SHARES:
        count = max(1, round(share * len(space.units)))
        yield Heuristic(f"Horizon: {share:.0%} most sensitive", _widened(space, ranked[:count]))
    for cosine in HORIZON_COSINES:
        worse = [place for place in ranked if _cosine(noise.get(space.units[place].anchor, 0.0)) < cosine]
        yield Heuristic(f"Horizon: cosine below {cosine:g}", _widened(space, worse))


def _steps(most: int) -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 11, ... up to ``most``: about four to an octave."""
    count = 1
    while count < most:
        yield count
        count = max(count + 1, math.ceil(count * 2**0.25))
    if most:
        yield most


def _widened(space: Space, places: list[int]) -> Genome:
    """All int8, with some units in int16."""
    changes = {place: space.units[place].option_of("int16") for place in places}
    return space.changed(space.uniform("int8"), changes)


def _cosine(noise: float) -> float:
    """Of an output with noise that is orthogonal to it."""
    return 1.0 / math.sqrt(1.0 + noise)
