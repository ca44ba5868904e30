"""Level O3: fusions that serve the goal, none that does not."""

from __future__ import annotations

import pytest
from hypothesis import given

from engine.clock.check import check_compiled
from engine.clock.estimate import Estimator
from engine.graph.graph import Graph
from engine.ops.elementwise import Gelu
from engine.ops.linear import Conv
from engine.plan.compile_options import CompileOptions, Goal, Level
from engine.target.target import load_target
from tests.engine.clock.graphs import GraphBuilder
from tests.engine.clock.test_regions import Case, regional, resolved, with_sram

SMALL = with_sram(load_target("generic-int8"), 256 * 1024, 0.1)


def cascade() -> Graph:
    """Convolutions between values that do not fit on the chip."""
    shape = (1, 16, 128, 128)
    builder = GraphBuilder()
    value = builder.input("x", shape)
    for index in range(3):
        weight = builder.constant(f"w{index}", (16, 16, 3, 3))
        value = builder.node(f"conv{index}", Conv((1, 1), (1, 1, 1, 1), (1, 1)), (value, weight), shape)
        value = builder.node(f"gelu{index}", Gelu(), (value,), shape)
    return builder.build(value)


@pytest.mark.parametrize("goal", Goal)
def test_a_cascade_is_found_where_values_do_not_fit(goal: Goal) -> None:
    graph = cascade()
    resolution = resolved(graph, target=SMALL)
    plain = Estimator(graph, SMALL).simulate(resolution, CompileOptions(goal=goal))
    found = Estimator(graph, SMALL).simulate(resolution, CompileOptions(goal=goal, level=Level.O3))
    assert len(plain.compiled.kernels) == 3
    assert len(found.compiled.kernels) < 3
    assert found.timing.ddr_bytes < plain.timing.ddr_bytes
    check_compiled(found.compiled, found.trace, SMALL)


@given(regional())
def test_the_goal_is_never_missed_for_the_search(case: Case) -> None:
    graph, regions, marks, target = case
    resolution = resolved(graph, *regions, target=target, **marks)
    for goal in (Goal.LATENCY, Goal.BANDWIDTH):
        plain = Estimator(graph, target).estimate(resolution, CompileOptions(goal=goal))
        found = Estimator(graph, target).simulate(resolution, CompileOptions(goal=goal, level=Level.O3))
        if goal is Goal.LATENCY:
            assert found.timing.latency_us <= plain.latency_us
        else:
            assert found.timing.ddr_bytes <= plain.ddr_bytes
        named = {costed.kernel.region for costed in found.compiled.kernels}
        legal = {region.name for region in resolution.regions if region.legal}
        assert named - {""} <= legal
