"""A larger classifier costs its weights' time on a chip that waits for its memory, whatever is in front of it.

Measured on an STM32N6 by its vendor's model zoo: changing the head from 101 to 1000 classes (1125 KiB of weights more)
takes 3.02, 3.02 and 3.00 ms longer on three backbones. The bandwidth is taken from the first of them.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from engine.clock.estimate import Estimator, Simulation, critical_ticks
from engine.compile.types import Engine
from engine.plan.compile_options import CompileOptions, Level
from engine.plan.resolve import resolve
from engine.plan.types import Plan
from engine.program.lowering.assemble import has_lowering
from engine.simulate.cost import microseconds
from engine.target.target import Target, parse_target

from .backbones import FEATURES, Backbone

ADDED_BYTES = 1125 * 1024
MEASURED_MS = (3.02, 3.02, 3.00)
BANDWIDTH_GB_S = ADDED_BYTES / MEASURED_MS[0] * 1e-6
BACKBONES = ((0.35, 128), (1.0, 224), (0.5, 192))


def chip(lanes: float = 32.0, sram_bytes: int = 4 * 2**20) -> Target:
    """The generic target with the chip's public peak and memory, and the bandwidth of the first measurement."""
    text = (resources.files("resources") / "targets" / "generic-int8.toml").read_text(encoding="utf-8")
    for old, new in {
        "bandwidth = { value = 8.0": f"bandwidth = {{ value = {BANDWIDTH_GB_S:.6f}",
        "int8_peak = { value = 1.024": "int8_peak = { value = 0.6",
        "capacity = { value = 1048576": f"capacity = {{ value = {sram_bytes}",
        "int8 = { value = 32,": f"int8 = {{ value = {lanes},",
        'int16 = { value = 16, unit = "elements': f'int16 = {{ value = {lanes / 2}, unit = "elements',
        "reduction = { value = 32": f"reduction = {{ value = {lanes}",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parse_target(text.encode(), "n6.toml")


def simulated(width: float, size: int, classes: int, target: Target, level: Level) -> Simulation:
    graph = Backbone(width, size).classifier(classes)
    resolution = resolve(graph, Plan(), target, has_lowering)
    return Estimator(graph, target).simulate(resolution, CompileOptions(level=level))


def added_us(width: float, size: int, target: Target, level: Level = Level.O2) -> float:
    few, many = (simulated(width, size, classes, target, level).timing.latency_us for classes in (101, 1000))
    return many - few


def test_the_swap_adds_the_weights_that_it_says() -> None:
    """899 rows of 1280 int8 weights, and as many int32 biases and int8 results."""
    few, many = (simulated(0.35, 128, classes, chip(), Level.O2).timing.ddr_bytes for classes in (101, 1000))
    assert many - few == 899 * (FEATURES + 4 + 1)
    weights_bytes = 899 * FEATURES
    assert weights_bytes == pytest.approx(ADDED_BYTES, rel=0.002)


@pytest.mark.parametrize(("backbone", "measured_ms"), [*zip(BACKBONES, MEASURED_MS, strict=True)])
@pytest.mark.parametrize("level", [Level.O0, Level.O1, Level.O2])
def test_the_increment_is_predicted_on_every_backbone(
    backbone: tuple[float, int], measured_ms: float, level: Level
) -> None:
    """Within 5 % of the measurement at every level. The first chunk of the head's weights is all that has room ahead of
    it, and the weights in front of it keep the memory busy anyway: next to nothing of 3 ms is hidden."""
    assert added_us(*backbone, chip(), level) / 1e3 == pytest.approx(measured_ms, rel=0.05)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_all_of_the_increment_is_loading(backbone: tuple[float, int]) -> None:
    few, many = (simulated(*backbone, classes, chip(), Level.O2) for classes in (101, 1000))
    by_engine = [critical_ticks(one.compiled, one.trace).sum(axis=0) for one in (few, many)]
    added = by_engine[1] - by_engine[0]
    total = microseconds(int(np.sum(added)))
    assert total == pytest.approx(many.timing.latency_us - few.timing.latency_us)
    assert microseconds(int(added[Engine.LOAD])) == pytest.approx(total, rel=0.01)


def test_prefetch_hides_what_the_kernel_in_front_is_longer_than() -> None:
    """The head's weights are issued with the pool in front of it, as many of them as their buffer holds. With a buffer
    for all and a pool that takes as long as they do, nothing is left of the increment: the chip does not hide it
    because its pool is short, not because the model cannot."""
    whole = added_us(0.35, 128, chip())
    assert added_us(0.35, 128, chip(sram_bytes=2**25)) == pytest.approx(whole, rel=0.01)
    assert 0.75 * whole < added_us(0.35, 128, chip(lanes=0.004)) < 0.9 * whole
    assert abs(added_us(0.35, 128, chip(lanes=0.004, sram_bytes=2**25))) < 0.05 * whole
