"""Fusion regions: each rule, what is proposed instead, and what holds for every graph."""

from __future__ import annotations

from types import MappingProxyType

import msgspec
import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Gelu, Relu, Tanh
from engine.ops.layout import Reshape, Transpose
from engine.ops.linear import Linear
from engine.ops.reduce import ArgMax, LayerNorm, Softmax
from engine.plan.regions import REGION_RULES, RegionVerdict, check_region
from engine.plan.resolve import resolve
from engine.plan.tiles import stripe_axes, tile_bytes
from engine.plan.types import Plan, Region, Resolution
from engine.precision import Precision
from engine.program.lowering.assemble import has_lowering
from engine.target.target import Target, load_target

from .graphs import Builder, graphs

JOURNEY = load_target("journey5")


def with_sram(capacity_bytes: int) -> Target:
    """Journey 5 with a memory of which a quarter is for tiles."""
    capacity = msgspec.structs.replace(JOURNEY.sram.capacity, value=capacity_bytes)
    share = msgspec.structs.replace(JOURNEY.sram.activation_share, value=0.75)
    sram = msgspec.structs.replace(JOURNEY.sram, capacity=capacity, activation_share=share)
    return msgspec.structs.replace(JOURNEY, sram=sram)


def resolved(graph: Graph, *regions: Region, target: Target = JOURNEY, **marks: Precision) -> Resolution:
    return resolve(graph, Plan(MappingProxyType(marks), regions=regions), target, has_lowering)


def asked(graph: Graph, *nodes: str, target: Target = JOURNEY, **marks: Precision) -> RegionVerdict:
    return check_region(graph, resolved(graph, target=target, **marks), target, nodes)


def residual() -> Graph:
    """x → conv → relu ┬→ tanh → transpose ┬→ add → second (a convolution) → norm."""
    builder = Builder()
    builder.input("x")
    builder.conv("conv", "x")
    builder.node("relu", Relu(), "conv")
    builder.node("tanh", Tanh(), "relu")
    builder.node("turned", Transpose((0, 1, 3, 2)), "tanh")
    builder.node("add", Add(), "relu", "turned")
    builder.conv("second", "add")
    builder.node("norm", LayerNorm(1), "second")
    return builder.build("norm")


# Each rule


def test_every_rule_explains_itself() -> None:
    assert all(len(rule.text) > 30 and rule.text.endswith(".") for rule in REGION_RULES.values())


def test_a_legal_region() -> None:
    verdict = asked(residual(), "add", "conv", "relu", "tanh", "turned")
    assert verdict.legal
    assert verdict.nodes == verdict.nearest == ("conv", "relu", "tanh", "turned", "add")
    assert [unit.anchor for unit in verdict.units] == ["conv", "tanh", "turned", "add"]
    assert verdict.written == ("add",)
    assert (verdict.rule, verdict.text, verdict.reason) == ("", "", "")


def test_nodes_that_do_not_exist() -> None:
    verdict = asked(residual(), "tanh", "gone", "turned")
    assert (verdict.rule, verdict.breach and verdict.breach.nodes) == ("nodes_exist", ("gone",))
    assert verdict.nearest == ("tanh", "turned")
    assert verdict.nodes == ("tanh", "turned", "gone")


def test_model_inputs_and_cpu_nodes() -> None:
    verdict = asked(residual(), "x", "conv", "relu", "tanh")
    assert verdict.rule == "on_the_chip"
    assert "'x' is a model input" in verdict.reason
    assert verdict.nearest == ("conv", "relu", "tanh")
    verdict = asked(residual(), "tanh", "turned", "add", tanh=Precision.FLOAT)
    assert verdict.breach is not None
    assert (verdict.rule, verdict.breach.nodes, verdict.breach.measured) == ("on_the_chip", ("tanh",), 1)
    assert verdict.nearest == ("turned", "add")


def test_index_arithmetic_is_not_on_the_chip() -> None:
    builder = Builder()
    builder.input("x")
    builder.node("tanh", Tanh(), "x")
    builder.node("index", ArgMax(1, False), "tanh", shape=(1, 6, 6), dtype="int64")
    builder.node("flat", Reshape((36,)), "index", shape=(36,), dtype="int64")
    assert asked(builder.build("flat"), "index", "flat").rule == "on_the_chip"
    assert asked(builder.build("flat"), "tanh", "index").legal


def test_whole_units() -> None:
    verdict = asked(residual(), "conv", "tanh")
    assert verdict.breach is not None
    assert (verdict.rule, verdict.breach.nodes) == ("whole_units", ("relu",))
    assert verdict.reason == "'relu' is missing: it is computed together with 'conv'"
    assert verdict.nearest == ("conv", "relu", "tanh")


def test_two_units_at_least() -> None:
    verdict = asked(residual(), "conv", "relu")
    assert verdict.breach is not None
    assert (verdict.rule, verdict.breach.measured, verdict.breach.limit) == ("at_least_two_units", 1, 2)
    assert asked(residual()).rule == "at_least_two_units"
    assert (verdict.nearest, asked(residual()).nearest) == ((), ())


def test_connected() -> None:
    verdict = asked(residual(), "conv", "relu", "tanh", "norm")
    assert verdict.breach is not None
    assert verdict.rule == "connected"
    assert verdict.breach.nodes == ("conv", "relu", "tanh")
    assert verdict.nearest == ("conv", "relu", "tanh")


def test_convex() -> None:
    verdict = asked(residual(), "conv", "relu", "tanh", "add")
    assert verdict.breach is not None
    assert (verdict.rule, verdict.breach.nodes) == ("convex", ("turned",))
    assert "comes back through 'turned'" in verdict.reason
    assert verdict.nearest == ("conv", "relu", "tanh")


def test_products_in_stripes() -> None:
    verdict = asked(residual(), "conv", "relu", "tanh", "turned", "add", "second", "norm")
    assert verdict.breach is not None
    assert (verdict.rule, verdict.breach.nodes) == ("products_in_stripes", ("relu", "tanh", "turned", "add"))
    assert (verdict.breach.measured, verdict.breach.limit) == (2, 1)
    assert verdict.nearest == ("tanh", "turned", "add", "second", "norm")


def cascade(rows: int) -> Graph:
    """Two convolutions and a linear layer over the rows that they leave."""
    builder = Builder()
    builder.input("x", (1, 8, rows, 16))
    builder.conv("first", "x")
    builder.conv("second", "first")
    builder.constant("weight", np.ones((4, 16)))
    builder.node("third", Linear(), "second", "weight", shape=(1, 8, rows, 4))
    return builder.build("third")


def test_a_cascade_runs_in_stripes_with_halo() -> None:
    nodes = ("first", "second", "third")
    assert asked(cascade(32), *nodes).legal
    assert stripe_axes(cascade(32), cascade(32).nodes[1:]) == (2,)
    verdict = asked(cascade(3), *nodes)
    assert (verdict.rule, verdict.nearest) == ("products_in_stripes", ("second", "third"))


def test_further_results_are_written() -> None:
    verdict = asked(residual(), "conv", "relu", "tanh")
    assert verdict.legal
    assert verdict.written == ("relu", "tanh")


def test_two_regions_share_no_node() -> None:
    resolution = resolved(residual(), Region("a", ("tanh", "turned")), Region("b", ("turned", "add")))
    first, second = resolution.regions
    assert (first.legal, second.legal, second.units) == (True, False, ())
    assert second.reason == "'turned' is in the region 'a' already; dissolve that first"
    verdict = check_region(residual(), resolution, JOURNEY, ("tanh", "turned", "add"), "a")
    assert verdict.legal, "a region does not stand in its own way"


def test_two_regions_do_not_wait_for_each_other() -> None:
    builder = Builder()
    builder.input("x")
    for name, op, sources in (
        ("a0", Softmax(3), ("x",)), ("a1", Softmax(3), ("x",)), ("a", Add(), ("a0", "b1")),
        ("b0", Softmax(3), ("a1",)), ("b", Add(), ("b0", "b1")),
    ):  # fmt: skip
        if name == "a":
            builder.node("b1", Softmax(3), "x")
        builder.node(name, op, *sources)
    builder.node("c", Add(), "a", "a1")
    graph = builder.build("c", "b")
    ours, theirs = Region("ours", ("a0", "a1", "a", "c")), Region("theirs", ("b0", "b1", "b"))
    assert resolved(graph, ours).regions[0].legal
    assert resolved(graph, theirs).regions[0].legal
    first, second = resolved(graph, ours, theirs).regions
    assert first.legal
    assert not second.legal
    assert "comes back through" in second.reason


def test_a_tile_fits() -> None:
    verdict = asked(residual(), "tanh", "turned", target=with_sram(1024))
    assert verdict.breach is not None
    assert verdict.rule == "tile_fits"
    # One row of what is written (twice), all of what is turned, one row of the input of tanh (all: it is turned).
    assert verdict.breach.limit == 256
    assert verdict.breach.measured == 144 + 144 + 2 * 24
    assert "takes 336 B; journey5 keeps 256 B" in verdict.reason


# Tiles


def test_a_tile_grows_with_the_windows_behind_it() -> None:
    builder = Builder()
    builder.input("x", (1, 8, 64, 64))
    builder.conv("conv", "x")
    builder.node("gelu", Gelu(), "conv", shape=(1, 8, 64, 64))
    graph = builder.build("gelu")
    resolution = resolved(graph)
    nodes = [graph.by_id[node] for node in ("conv", "gelu")]
    row = 8 * 64
    assert tile_bytes(graph, resolution, nodes, 32) == 8 * 8 * 9 + 2 * 3 * row + row + 2 * row


def test_a_reshape_needs_the_whole_value() -> None:
    builder = Builder()
    builder.input("x", (1, 4, 64))
    builder.node("gelu", Gelu(), "x", shape=(1, 4, 64))
    builder.node("flat", Reshape((1, 256)), "gelu", shape=(1, 256))
    graph = builder.build("flat")
    nodes = [graph.by_id[node] for node in ("gelu", "flat")]
    assert tile_bytes(graph, resolved(graph), nodes, 32) == 256 + 256 + 2


# What holds for every graph


def as_networkx(graph: Graph) -> nx.DiGraph:
    drawn = nx.DiGraph()
    drawn.add_nodes_from(node.id for node in graph.nodes)
    drawn.add_edges_from((graph.producer[v].id, node.id) for node in graph.nodes for v in graph.activations(node))
    return drawn


def is_connected_and_convex(drawn: nx.DiGraph, nodes: set[str]) -> bool:
    below = set().union(*(nx.descendants(drawn, node) for node in nodes)) - nodes
    above = set().union(*(nx.ancestors(drawn, node) for node in nodes)) - nodes
    return nx.is_weakly_connected(drawn.subgraph(nodes)) and not below & above


@st.composite
def selections(draw: st.DrawFn, graph: Graph) -> tuple[str, ...]:
    """Neighbouring nodes, mostly: a walk from one to the next in either direction, at times with a gap."""
    drawn = as_networkx(graph).to_undirected()
    chosen = [draw(st.sampled_from([node.id for node in graph.nodes]))]
    for _ in range(draw(st.integers(1, 8))):
        near = sorted(set().union(*(drawn.neighbors(node) for node in chosen)) - set(chosen))
        if not near:
            break
        chosen.append(draw(st.sampled_from(near)))
    if len(chosen) > 2 and draw(st.integers(0, 3)) == 0:
        chosen.remove(draw(st.sampled_from(chosen)))
    return tuple(chosen)


@given(st.data())
def test_legal_regions_and_what_is_proposed_are_connected_and_convex(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    nodes = data.draw(selections(graph))
    resolution = resolved(graph)
    verdict = check_region(graph, resolution, JOURNEY, nodes)
    drawn = as_networkx(graph)
    if verdict.legal:
        assert is_connected_and_convex(drawn, set(nodes))
        assert {node for unit in verdict.units for node in unit.nodes} == set(nodes)
    else:
        assert verdict.rule in REGION_RULES
        assert "\n" not in verdict.reason
        assert verdict.breach is not None
        assert set(verdict.breach.nodes) <= {node.id for node in graph.nodes}
    if verdict.nearest:
        assert is_connected_and_convex(drawn, set(verdict.nearest))
        assert check_region(graph, resolution, JOURNEY, verdict.nearest).legal


@given(st.data())
def test_only_units_that_break_the_shape_are_refused_for_it(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    nodes = data.draw(selections(graph))
    verdict = asked(graph, *nodes)
    if verdict.rule in ("connected", "convex"):
        assert not is_connected_and_convex(as_networkx(graph), set(nodes))


@given(st.data())
def test_kernels_of_several_regions_have_an_order(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    regions = [Region(f"r{index}", data.draw(selections(graph))) for index in range(3)]
    resolution = resolved(graph, *regions)
    kernel = {node: node for node in graph.by_id}
    for region in resolution.regions:
        assert region.legal == (not region.reason)
        for unit in region.units:
            kernel |= dict.fromkeys(unit.nodes, region.name)
    edges = {(kernel[a], kernel[b]) for a, b in as_networkx(graph).edges}
    assert nx.is_directed_acyclic_graph(nx.DiGraph([edge for edge in edges if edge[0] != edge[1]]))


@given(st.data())
def test_regions_change_nothing_else_of_the_resolution(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    fused, apart = resolved(graph, Region("r", data.draw(selections(graph)))), resolved(graph)
    assert (fused.effective, fused.units, fused.dtypes) == (apart.effective, apart.units, apart.dtypes)


def test_regions_are_added_replaced_and_removed() -> None:
    plan = Plan().with_region(Region("a", ("x",))).with_region(Region("b", ("y",))).with_region(Region("a", ("z",)))
    assert plan.regions == (Region("a", ("z",)), Region("b", ("y",)))
    assert plan.without_region("a").regions == (Region("b", ("y",)),)


def test_a_large_selection_is_answered() -> None:
    builder, count = Builder(), 3000
    value = builder.input("x")
    for index in range(count):
        value = builder.node(f"n{index}", Softmax(3), value)
    graph = builder.build(value)
    verdict = asked(graph, *(f"n{index}" for index in range(0, count, 2)))
    assert verdict.rule == "connected"
    assert verdict.nearest == ()
