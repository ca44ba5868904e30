"""Every compiled model holds, and the check notices what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock.check import check_compiled
from engine.clock.estimate import Estimator, Simulation
from engine.compile.types import Engine
from engine.errors import CompileError
from engine.plan.compile_options import CompileOptions, Goal, Level
from engine.session import Session
from engine.target.target import Target, list_targets, load_target
from tests.engine.clock.test_regions import Case, regional, resolved

SWIN = Path(__file__).parents[3] / "resources" / "models" / "swin_fmnist.onnx"
TARGETS = tuple(load_target(summary.name) for summary in list_targets())
JOURNEY = load_target("journey5")


@given(regional(), st.sampled_from(Level), st.sampled_from(Goal))
def test_compiled_graphs_hold(case: Case, level: Level, goal: Goal) -> None:
    graph, regions, marks, target = case
    resolution = resolved(graph, *regions, target=target, **marks)
    simulation = Estimator(graph, target).simulate(resolution, CompileOptions(goal=goal, level=level))
    check_compiled(simulation.compiled, simulation.trace, target)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("level", Level)
def test_the_demo_holds(target: Target, level: Level) -> None:
    session = Session.open(SWIN, target=target.name)
    simulation = Estimator(session.graph, target).simulate(session.resolve(), CompileOptions(level=level))
    check_compiled(simulation.compiled, simulation.trace, target)


@pytest.fixture
def simulation(open_mobile: Callable[[], Session]) -> Simulation:
    session = open_mobile()
    return Estimator(session.graph, JOURNEY).simulate(session.resolve())


def test_a_value_that_is_read_too_early_is_noticed(simulation: Simulation) -> None:
    schedule, trace = simulation.compiled.schedule, simulation.trace
    without = replace(schedule, dep_ends=np.zeros_like(schedule.dep_ends), deps=schedule.deps[:0])
    early = replace(trace, start=np.zeros_like(trace.start))
    with pytest.raises(CompileError, match="begins before"):
        check_compiled(replace(simulation.compiled, schedule=without), early, JOURNEY)


def test_buffers_that_overlap_are_noticed(simulation: Simulation) -> None:
    sram = simulation.compiled.sram
    plan = replace(sram.plan, addresses=(0,) * len(sram.plan.addresses))
    with pytest.raises(CompileError):
        check_compiled(replace(simulation.compiled, sram=replace(sram, plan=plan)), simulation.trace, JOURNEY)


def test_an_engine_with_two_jobs_at_once_is_noticed(simulation: Simulation) -> None:
    trace, launches = simulation.trace, simulation.compiled.schedule.engine == Engine.LAUNCH
    longer = replace(trace, end=np.where(launches, trace.total_ticks, trace.end))
    with pytest.raises(CompileError, match="'LAUNCH' does two jobs at once"):
        check_compiled(simulation.compiled, longer, JOURNEY)
