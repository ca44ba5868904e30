"""Fusion regions in the timing: what a kernel saves, how its time is booked, and that no bit changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import pairwise
from types import MappingProxyType

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.analyze.keys import value_keys
from engine.clock.estimate import Estimator, estimate
from engine.compile.types import Engine
from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Gelu, Relu, Tanh
from engine.ops.layout import Reshape, Transpose
from engine.ops.linear import Conv
from engine.plan.compile_options import CompileOptions, Level
from engine.plan.regions import check_region
from engine.plan.resolve import resolve
from engine.plan.types import Plan, Region, Resolution
from engine.precision import Precision
from engine.program.lowering.assemble import has_lowering
from engine.session import Session
from engine.simulate.timing import Bound, Timing
from engine.target.target import Target, load_target
from tests.engine.plan.graphs import graphs
from tests.engine.plan.test_regions import selections
from tests.engine.program.lowering.cases import lowered_with

from .graphs import GraphBuilder

GENERIC = load_target("generic-int8")
LARGE = (1, 32, 128, 128)  # 0.5 MB in int8


def with_sram(target: Target, capacity_bytes: int, share: float = 0.75) -> Target:
    capacity = msgspec.structs.replace(target.sram.capacity, value=capacity_bytes)
    fraction = msgspec.structs.replace(target.sram.activation_share, value=share)
    sram = msgspec.structs.replace(target.sram, capacity=capacity, activation_share=fraction)
    return msgspec.structs.replace(target, sram=sram)


def resolved(graph: Graph, *regions: Region, target: Target = GENERIC, **marks: Precision) -> Resolution:
    return resolve(graph, Plan(MappingProxyType(marks), regions=regions), target, has_lowering)


UNFUSED = CompileOptions(level=Level.O1)
"""The compiler fuses nothing by itself."""


def timed(graph: Graph, *regions: Region, target: Target = GENERIC) -> Timing:
    return estimate(graph, resolved(graph, *regions, target=target), target, UNFUSED)


def chain() -> Graph:
    """A convolution, two functions with a sum between them, on values that do not fit on the chip together."""
    builder = GraphBuilder()
    builder.input("x", LARGE)
    builder.constant("w", (32, 32, 1, 1))
    builder.node("conv", Conv((1, 1), (0, 0, 0, 0), (1, 1)), ("x", "w"), LARGE)
    builder.node("gelu", Gelu(), ("conv",), LARGE)
    builder.node("sum", Add(), ("gelu", "conv"), LARGE)
    builder.node("tanh", Tanh(), ("sum",), LARGE)
    return builder.build("tanh")


SIZE = 32 * 128 * 128
WEIGHTS = 32 * 32
ALL = Region("all", ("conv", "gelu", "sum", "tanh"))
SMALL = with_sram(GENERIC, 512 * 1024, 0.1)
"""No value of the chain stays on the chip between units."""


def busy_us(timing: Timing, engine: str) -> float:
    return sum(getattr(node.engines, engine) for node in timing.nodes.values())


def test_values_inside_do_not_go_to_ddr_and_there_is_one_launch() -> None:
    apart, fused = timed(chain(), target=SMALL), timed(chain(), ALL, target=SMALL)
    assert apart.ddr_bytes == 9 * SIZE + WEIGHTS
    assert fused.ddr_bytes == 2 * SIZE + WEIGHTS
    assert fused.macs == apart.macs
    slowest = max(busy_us(fused, engine) for engine in ("mac_us", "vector_us", "lut_us", "dma_us"))
    assert slowest < fused.chip_us < 1.15 * slowest
    assert fused.chip_us < apart.chip_us


def test_time_is_booked_on_the_units_and_explained() -> None:
    fused = timed(chain(), ALL, target=SMALL)
    parts = [fused.nodes[node] for node in ALL.nodes]
    assert sum(part.latency_us for part in parts) == fused.latency_us - fused.host_us
    for part in parts:
        assert part.bound is parts[0].bound
        assert "region 'all', 4 units as one, on the critical path: " in part.why


def test_what_others_read_is_written_but_not_read_back() -> None:
    region = Region("r", ("conv", "gelu"))
    fused = timed(chain(), region, target=SMALL)
    # x and two results of the kernel; the sum loads both and stores, tanh loads and stores.
    assert fused.ddr_bytes == 3 * SIZE + 3 * SIZE + 2 * SIZE + WEIGHTS


def test_a_reshape_inside_carries_what_it_renames() -> None:
    builder = GraphBuilder()
    builder.input("x", LARGE)
    builder.node("gelu", Gelu(), ("x",), LARGE)
    builder.node("flat", Reshape((1, SIZE)), ("gelu",), (1, SIZE))
    builder.node("sum", Add(), ("flat", "flat"), (1, SIZE))
    builder.node("tanh", Tanh(), ("flat",), (1, SIZE))
    graph = builder.build("sum", "tanh")
    roomy = with_sram(GENERIC, 8 << 20, 0.01)
    inside = timed(graph, Region("r", ("gelu", "flat", "sum", "tanh")), target=roomy)
    assert inside.ddr_bytes == 3 * SIZE
    assert (inside.nodes["flat"].latency_us, inside.nodes["flat"].bound) == (0.0, Bound.FREE)
    leaving = timed(graph, Region("r", ("gelu", "flat", "sum")), target=roomy)
    assert leaving.ddr_bytes == 3 * SIZE + 2 * SIZE  # gelu's bytes are stored for tanh, which loads them


def test_units_keep_their_clamps() -> None:
    builder = GraphBuilder()
    builder.input("x", LARGE)
    builder.node("sum", Add(), ("x", "x"), LARGE)
    builder.node("relu", Relu(), ("sum",), LARGE)
    builder.node("turned", Transpose((0, 1, 3, 2)), ("relu",), LARGE)
    graph = builder.build("turned")
    large = with_sram(GENERIC, 32 << 20)
    apart, fused = timed(graph, target=large), timed(graph, Region("r", ("sum", "relu", "turned")), target=large)
    assert fused.nodes["relu"].bound is Bound.FUSED
    assert fused.nodes["relu"].why == apart.nodes["relu"].why
    assert busy_us(fused, "vector_us") == busy_us(apart, "vector_us")


def test_an_illegal_region_has_no_effect() -> None:
    region = Region("r", ("conv", "sum"))
    assert timed(chain(), region) == timed(chain())


def test_an_estimator_forgets_no_region_and_keeps_none() -> None:
    graph = chain()
    estimator = Estimator(graph, SMALL)
    for regions in ((), (ALL,), (Region("r", ("conv", "gelu")),), (ALL,), ()):
        resolution = resolved(graph, *regions, target=SMALL)
        assert estimator.estimate(resolution) == estimate(graph, resolution, SMALL)


# What holds for every graph


TARGETS = tuple(
    with_sram(load_target(name), capacity, share)
    for name in ("journey5", "generic-int8")
    for capacity, share in ((1 << 22, 0.75), (4096, 0.3), (2048, 0.15))
)


Case = tuple[Graph, tuple[Region, ...], Mapping[str, Precision], Target]


@st.composite
def regional(draw: st.DrawFn) -> Case:
    graph = draw(graphs())
    resolution = resolved(graph)
    regions: list[Region] = []
    for index in range(draw(st.integers(1, 3))):
        nodes = draw(selections(graph))
        if draw(st.booleans()):  # else few were legal
            nodes = check_region(graph, resolution, GENERIC, nodes).nearest or nodes
        regions.append(Region(f"r{index}", nodes))
    ids = st.sampled_from([node.id for node in graph.nodes])
    marks = draw(st.dictionaries(ids, st.sampled_from((Precision.INT16, Precision.FLOAT)), max_size=2))
    return graph, tuple(regions), marks, draw(st.sampled_from(TARGETS))


@given(regional())
def test_regions_are_kernels_and_sums_stay_exact(
    case: Case,
) -> None:
    graph, regions, marks, target = case
    before = estimate(graph, resolved(graph, target=target, **marks), target)
    resolution = resolved(graph, *regions, target=target, **marks)
    for level in Level:
        simulation = Estimator(graph, target).simulate(resolution, CompileOptions(level=level))
        timing = simulation.timing
        assert timing.macs == before.macs
        exact = sum((Fraction(node.latency_us) for node in timing.nodes.values()), Fraction())
        assert Fraction(timing.latency_us) == exact
        assert timing.ddr_bytes == sum(node.dma_bytes for node in timing.nodes.values())
        schedule = simulation.compiled.schedule
        crossing = np.isin(schedule.engine, (Engine.LOAD, Engine.STORE, Engine.CPU))
        assert timing.ddr_bytes == schedule.size_bytes[crossing].sum()
        assert all(node.latency_us >= 0.0 for node in timing.nodes.values())
        eliminated = simulation.compiled.layout.eliminated
        named = {kernel.kernel.region: kernel.kernel for kernel in simulation.compiled.kernels if kernel.kernel.region}
        for region in resolution.regions:
            anchors = {unit.anchor for unit in region.units} - eliminated
            if region.legal and anchors:
                assert {unit.anchor for unit in named[region.name].units} == anchors


@given(regional())
def test_the_program_does_not_depend_on_regions(
    case: Case,
) -> None:
    graph, regions, marks, target = case
    programs = [
        lowered_with(graph, plan, resolve(graph, plan, target, has_lowering), lambda value, largest: 4.0 / largest)
        for plan in (Plan(MappingProxyType(marks)), Plan(MappingProxyType(marks), regions=regions))
    ]
    apart, fused = programs
    assert value_keys(apart, "sample") == value_keys(fused, "sample"), "equal keys are equal bits"
    assert (apart.types, apart.inputs, apart.outputs) == (fused.types, fused.inputs, fused.outputs)


def test_fused_and_unfused_outputs_have_the_same_bits(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    image = np.random.default_rng(0).normal(size=(1, 1, 28, 28)).astype(np.float32)
    before = session.run({"image": image})
    unfused = session.estimate()
    anchors = [unit.nodes for unit in session.resolve().units]
    fused = 0
    for a, b in pairwise(anchors):
        verdict = session.region_verdict((*a, *b))
        if verdict.legal:
            session.fuse((*a, *b))
            fused += 1
    assert fused > 3
    after = session.run({"image": image})
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert session.estimate() != unfused
