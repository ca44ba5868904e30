"""The ladders climb as their rules say."""

from __future__ import annotations

from engine.tune.heuristics import ladders, uniform_plans
from engine.tune.space import Space


def wide(space: Space, genome: tuple[int, ...]) -> set[str]:
    """Anchors of the units in int16."""
    return {unit.anchor for unit, option in zip(space.units, genome, strict=False) if unit.dtypes[option] == "int16"}


def test_uniform_plans_begin_with_the_projects_own(space: Space) -> None:
    found = {item.title: item.genome for item in uniform_plans(space)}
    assert found["project plan"] == space.origin
    assert not wide(space, found["all int8"])
    assert wide(space, found["all int16"]) == {unit.anchor for unit in space.units}
    assert {"all int8, max", "all int16, percentile"} <= found.keys()


def test_ladders_take_the_most_sensitive_first(space: Space) -> None:
    noise = {unit.anchor: 10.0**-index for index, unit in enumerate(reversed(space.units))}
    found = {item.title: wide(space, item.genome) for item in ladders(space, noise)}
    top = found["top 3 by sensitivity"]
    assert top == {unit.anchor for unit in space.units[-3:]}
    assert len(found[f"top {len(space.units)} by sensitivity"]) == len(space.units)


def test_esp_thresholds_are_per_cent_of_noise_power(space: Space) -> None:
    anchor = space.units[2].anchor
    found = {item.title: wide(space, item.genome) for item in ladders(space, {anchor: 0.011})}
    assert found["esp-ppq: layerwise error above 1 %"] == {anchor}
    assert found["esp-ppq: layerwise error above 2 %"] == set()


def test_horizon_thresholds_are_cosines(space: Space) -> None:
    anchor = space.units[2].anchor
    found = {item.title: wide(space, item.genome) for item in ladders(space, {anchor: 0.01})}  # cosine 0.99504
    assert found["Horizon: cosine below 0.999"] == {anchor}
    assert found["Horizon: cosine below 0.995"] == set()
    assert len(found["Horizon: 20% most sensitive"]) == round(0.2 * len(space.units))
