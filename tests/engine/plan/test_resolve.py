"""Resolution: what holds for every graph and every plan, and the cases that a person would check by hand."""

from __future__ import annotations

from types import MappingProxyType

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Affine, Clip, Div, Gelu, Mod, Relu, Tanh, Unary
from engine.ops.layout import Concat, Reshape, Transpose
from engine.ops.linear import Linear
from engine.ops.logic import Equal, Greater, Not
from engine.ops.other import Input
from engine.ops.reduce import ArgMax, MaxPool, Softmax
from engine.plan.resolve import Resolver, resolve
from engine.plan.scales import assign_types
from engine.plan.types import Plan, Resolution
from engine.plan.units import CLAMPING, REQUANTISING
from engine.precision import Precision
from engine.program.lowering.assemble import has_lowering
from engine.target.rules import check_node
from engine.target.target import Target, load_target

from .graphs import SHAPE, Builder, graphs

TARGETS = {name: load_target(name) for name in ("journey5", "generic-int8")}
JOURNEY = TARGETS["journey5"]
EXPLICIT = [item for item in Precision if item is not Precision.AUTO]


def resolved(graph: Graph, **marks: Precision) -> Resolution:
    return resolved_on(JOURNEY, graph, **marks)


def resolved_on(chip: Target, graph: Graph, **marks: Precision) -> Resolution:
    return resolve(graph, Plan(MappingProxyType(marks)), chip, has_lowering)


@st.composite
def planned(draw: st.DrawFn) -> tuple[Graph, Plan, Target]:
    graph = draw(graphs())
    ids = [node.id for node in graph.nodes]
    choices = draw(st.dictionaries(st.sampled_from(ids), st.sampled_from(EXPLICIT), max_size=len(ids)))
    return graph, Plan(MappingProxyType(choices)), TARGETS[draw(st.sampled_from(sorted(TARGETS)))]


@given(planned())
def test_units_partition_the_graph_and_read_only_what_is_materialised(case: tuple[Graph, Plan, Target]) -> None:
    graph, plan, target = case
    resolution = resolve(graph, plan, target, has_lowering)
    members = [node for unit in resolution.units for node in unit.nodes]
    assert sorted(members) == sorted(node.id for node in graph.nodes)
    made: set[str] = set()
    for unit in resolution.units:
        assert unit.anchor in unit.nodes
        inner = {value for node in unit.nodes for value in graph.by_id[node].outputs}
        for node in unit.nodes:
            assert set(graph.activations(graph.by_id[node])) <= made | inner
        made |= set(graph.by_id[unit.last].outputs)
    assert set(graph.outputs) <= made
    assert all(resolution.effective[node].unit == unit.anchor for unit in resolution.units for node in unit.nodes)


@given(planned())
def test_reasons_are_given_exactly_where_the_request_is_not_met(case: tuple[Graph, Plan, Target]) -> None:
    graph, plan, target = case
    resolution = resolve(graph, plan, target, has_lowering)
    for node in graph.nodes:
        requested, effective = plan.requested(node.id), resolution.effective[node.id]
        assert effective.precision is not Precision.AUTO
        if requested is not Precision.AUTO:
            assert bool(effective.reason) == (requested is not effective.precision), (node, effective)
        elif effective.precision is Precision.FLOAT:
            assert effective.reason, node
        assert "\n" not in effective.reason


@given(planned())
def test_integers_only_where_the_target_and_the_program_have_them(case: tuple[Graph, Plan, Target]) -> None:
    graph, plan, target = case
    resolution = resolve(graph, plan, target, has_lowering)
    for node in graph.nodes:
        effective = resolution.effective[node.id]
        kind = graph.types[node.outputs[0]]
        if effective.precision is Precision.FLOAT:
            assert effective.dtype == kind.dtype
            continue
        quantised = "int16" if effective.precision is Precision.INT16 else "int8"
        assert effective.dtype == (quantised if kind.is_float else kind.dtype)
        assert isinstance(node.op, Input) or has_lowering(node.op)
        free = isinstance(node.op, Unary) and (effective.precision is Precision.INT8 or isinstance(node.op, Affine))
        assert free or check_node(graph, node, effective.precision, target) is None
        assert plan.requested(node.id) is not Precision.FLOAT


@given(planned())
def test_only_clamps_and_tables_are_fused(case: tuple[Graph, Plan, Target]) -> None:
    graph, plan, target = case
    resolution = resolve(graph, plan, target, has_lowering)
    for unit in resolution.units:
        first, *rest = (graph.by_id[node] for node in unit.nodes)
        if not rest:
            continue
        assert len({resolution.effective[node].dtype for node in unit.nodes}) == 1
        for before, node in zip((first, *rest), rest, strict=False):
            assert node.inputs[0] == before.outputs[0]
            assert graph.consumers[before.outputs[0]] == (node,)
            assert before.outputs[0] not in graph.outputs
        if isinstance(first.op, REQUANTISING):
            assert len(rest) == 1
            assert isinstance(rest[0].op, CLAMPING)
            assert unit.anchor == first.id
        else:
            assert all(isinstance(node.op, Unary) for node in (first, *rest))
            assert unit.anchor == rest[-1].id


@given(planned(), st.data())
def test_a_resolver_that_has_seen_other_plans_gives_the_same_resolution(
    case: tuple[Graph, Plan, Target], data: st.DataObject
) -> None:
    graph, plan, target = case
    resolver = Resolver(graph, target, has_lowering)
    ids = st.sampled_from([node.id for node in graph.nodes])
    for _ in range(data.draw(st.integers(1, 6))):
        nodes = tuple(data.draw(st.lists(ids, min_size=1, max_size=3)))
        plan = plan.mark(nodes, data.draw(st.sampled_from(Precision)))
        found, fresh = resolver.resolve(plan), resolve(graph, plan, target, has_lowering)
        assert found == fresh
        assert list(found.units) == list(fresh.units)


@given(planned(), st.data())
def test_resolution_depends_on_the_plan_alone(case: tuple[Graph, Plan, Target], data: st.DataObject) -> None:
    graph, plan, target = case
    before = resolve(graph, plan, target, has_lowering)
    node = data.draw(st.sampled_from([node.id for node in graph.nodes]))
    wanted = plan.requested(node)
    other = plan.mark((node,), data.draw(st.sampled_from(EXPLICIT)))
    resolve(graph, other, target, has_lowering)
    assert resolve(graph, other.mark((node,), wanted), target, has_lowering) == before


@given(planned())
def test_every_materialised_value_has_a_type(case: tuple[Graph, Plan, Target]) -> None:
    graph, plan, target = case
    resolution = resolve(graph, plan, target, has_lowering)
    types = assign_types(graph, plan, resolution, lambda value, largest: 1.0 / largest).types
    for unit in resolution.units:
        for value in graph.by_id[unit.last].outputs:
            assert types[value].dtype == resolution.dtypes[value]
            assert types[value].scale > 0.0


def chain(*steps: tuple[str, object]) -> Graph:
    """x -> steps; "conv" stands for a convolution."""
    builder = Builder()
    value = builder.input("x")
    for name, op in steps:
        value = builder.conv(name, value) if op == "conv" else builder.node(name, op, value)  # type: ignore[arg-type]
    return builder.build(value)


def test_a_clamp_joins_the_kernel_before_it() -> None:
    found = resolved(chain(("c", "conv"), ("r", Relu())))
    assert found.unit_of["r"].nodes == ("c", "r")
    assert found.unit_of["r"].anchor == "c"
    assert found.effective["r"].precision is Precision.INT8
    assert found.effective["r"].reason == ""


def test_only_the_first_clamp_joins() -> None:
    found = resolved(chain(("c", "conv"), ("r", Relu()), ("k", Clip(0.0, 3.0)), ("g", Gelu())))
    assert [unit.nodes for unit in found.units] == [("x",), ("c", "r"), ("k", "g")]


@pytest.mark.parametrize(
    ("marks", "units", "dtype"),
    [
        ({}, [("c", "r")], "int8"),
        ({"c": Precision.INT16}, [("c", "r")], "int16"),
        ({"r": Precision.INT16}, [("c", "r")], "int16"),
        ({"c": Precision.INT16, "r": Precision.INT16}, [("c", "r")], "int16"),
        ({"c": Precision.INT8, "r": Precision.INT16}, [("c",), ("r",)], "int16"),
        ({"c": Precision.INT16, "r": Precision.LUT}, [("c",), ("r",)], "int8"),
        ({"c": Precision.FLOAT}, [("c",), ("r",)], "int8"),
        ({"r": Precision.FLOAT}, [("c",), ("r",)], "float32"),
    ],
)
def test_marks_of_a_kernel_and_its_clamp(marks: dict[str, Precision], units: list[tuple[str, ...]], dtype: str) -> None:
    found = resolved(chain(("c", "conv"), ("r", Relu())), **marks)
    assert [unit.nodes for unit in found.units][1:] == units
    assert found.dtypes["r"] == dtype
    assert all(found.effective[node].reason == "" for node in marks)


def test_a_clamp_asked_for_as_table_says_where_it_went() -> None:
    found = resolved(chain(("c", "conv"), ("r", Relu())), r=Precision.LUT)
    assert found.effective["r"].precision is Precision.INT8
    assert found.effective["r"].reason == "computed inside 'c'"


def test_several_readers_and_outputs_are_not_fused_away() -> None:
    builder = Builder()
    value = builder.conv("c", builder.input("x"))
    builder.node("r", Relu(), value)
    builder.node("g", Gelu(), value)
    builder.node("s", Add(), "r", "g")
    found = resolved(builder.build("s"))
    assert all(len(unit.nodes) == 1 for unit in found.units)

    builder = Builder()
    builder.node("r", Relu(), builder.conv("c", builder.input("x")))
    assert [unit.nodes for unit in resolved(builder.build("r", "c")).units] == [("x",), ("c",), ("r",)]


def test_functions_in_a_row_are_one_table() -> None:
    found = resolved(chain(("t", Tanh()), ("a", Affine(2.0, 1.0)), ("g", Gelu())))
    assert found.unit_of["t"].nodes == ("t", "a", "g")
    assert found.unit_of["t"].anchor == "g"
    assert {found.effective[node].precision for node in "tag"} == {Precision.LUT}


def test_int16_spreads_through_data_movement() -> None:
    steps = (("c", "conv"), ("t", Transpose((0, 1, 3, 2))), ("m", MaxPool((1, 1), (1, 1), (0, 0, 0, 0))), ("g", Gelu()))
    found = resolved(chain(*steps), c=Precision.INT16)
    assert [found.dtypes[name] for name in "xctmg"] == ["int8", "int16", "int16", "int16", "int8"]
    asked = resolved(chain(*steps), c=Precision.INT16, t=Precision.INT8)
    assert asked.effective["t"].precision is Precision.INT16
    assert "keeps its input's precision" in asked.effective["t"].reason


def test_a_concatenation_is_as_wide_as_its_widest_input() -> None:
    builder = Builder()
    x = builder.input("x")
    builder.conv("a", x, 1)
    builder.conv("b", x, 2)
    builder.node("y", Concat(1), "a", "b", shape=(1, 8, 6, 6))
    found = resolved(builder.build("y"), b=Precision.INT16)
    assert (found.dtypes["a"], found.dtypes["b"], found.dtypes["y"]) == ("int8", "int16", "int16")


def test_float_splits_the_program() -> None:
    found = resolved(chain(("c", "conv"), ("g", Gelu()), ("d", "conv")), g=Precision.FLOAT)
    assert [found.dtypes[name] for name in "xcgd"] == ["int8", "int8", "float32", "int8"]
    assert found.effective["g"].reason == ""


def test_what_has_no_integer_form_runs_on_the_cpu() -> None:
    builder = Builder()
    builder.node("p", Mod(), builder.input("x"), builder.input("y"))
    effective = resolved(builder.build("p")).effective["p"]
    assert effective.precision is Precision.FLOAT
    assert effective.reason == "Mod has no integer form; it runs on the CPU"


def test_indices_are_not_quantised() -> None:
    builder = Builder()
    builder.node("i", ArgMax(1, False), builder.input("x"), shape=(1, 6, 6), dtype="int64")
    builder.node("j", Reshape((36,)), "i", shape=(36,), dtype="int64")
    for marks in ({}, {"i": Precision.INT8, "j": Precision.INT16}):
        found = resolved(builder.build("j"), **marks)
        assert (found.dtypes["i"], found.effective["i"].precision) == ("int64", Precision.INT8)
        assert (found.dtypes["j"], found.effective["j"].precision) == ("int64", Precision.FLOAT)
        assert found.effective["j"].reason == "computes int64 values, which are not quantised"
    assert resolved(builder.build("j"), i=Precision.FLOAT).effective["i"].reason == ""


def test_decisions_take_the_precision_of_what_they_decide_about() -> None:
    builder = Builder()
    builder.node("t", Tanh(), builder.input("x"))
    builder.node("c", Greater(), "t", builder.constant("k", 0.5), dtype="bool")
    builder.node("n", Not(), "c", dtype="bool")
    graph = builder.build("n")
    assert [resolved(graph).effective[name].precision for name in "cn"] == [Precision.INT8, Precision.INT8]
    wide = resolved(graph, t=Precision.INT16).effective
    assert [(wide[name].precision, wide[name].dtype) for name in "cn"] == [
        (Precision.INT16, "bool"), (Precision.INT8, "bool")
    ]  # fmt: skip
    # Of a value that is float, the seam in front of the decision has the width that is asked for.
    seam = resolved(graph, t=Precision.FLOAT, c=Precision.INT16).effective["c"]
    assert (seam.precision, seam.reason) == (Precision.INT16, "")


def test_whole_numbers_are_compared_and_moved_but_not_added() -> None:
    builder = Builder()
    builder.input("x", (4,), "int32")
    builder.node("r", Reshape((4, 1)), "x", shape=(4, 1), dtype="int32")
    builder.node("e", Equal(), "r", "x", shape=(4, 4), dtype="bool")
    builder.node("a", Add(), "x", "x", shape=(4,), dtype="int32")
    found = resolved(builder.build("e", "a")).effective
    assert [found[name].precision for name in "rea"] == [Precision.INT8, Precision.INT8, Precision.FLOAT]
    assert found["a"].reason == "computes int32 values, which are not quantised"


def test_the_target_decides_where_auto_is_not_int8() -> None:
    builder = Builder()
    builder.node("d", Div(), builder.input("x"), builder.input("y"))
    graph = builder.build("d")
    assert resolved(graph).effective["d"].precision is Precision.INT16
    asked = resolved(graph, d=Precision.INT8).effective["d"]
    assert asked.precision is Precision.INT16
    assert "int16 only" in asked.reason


def test_a_clamp_asked_for_in_int8_is_not_drawn_into_a_wider_kernel() -> None:
    builder = Builder()
    builder.node("d", Div(), builder.input("x"), builder.input("y"))
    builder.node("r", Relu(), "d")
    found = resolved(builder.build("r"), r=Precision.LUT)
    assert (found.dtypes["d"], found.dtypes["r"]) == ("int16", "int8")


def heavy_layer() -> Graph:
    """A fully connected layer whose int16 sums need more than 32 bits, and its Relu."""
    builder = Builder()
    weight = builder.constant("w", np.ones((4, 1024), np.float32))
    builder.node("f", Linear(), builder.input("x", (1, 1024)), weight, shape=(1, 4))
    builder.node("r", Relu(), "f", shape=(1, 4))
    return builder.build("r")


def test_a_kernel_is_not_widened_beyond_its_accumulator() -> None:
    found = resolved(heavy_layer(), r=Precision.INT16)
    assert (found.dtypes["f"], found.dtypes["r"]) == ("int8", "int16")
    refused = resolved(heavy_layer(), f=Precision.INT16).effective["f"]
    assert refused.precision is Precision.INT8
    assert "int16 sum needs" in refused.reason


def test_a_scaling_costs_nothing() -> None:
    builder = Builder()
    x = builder.input("x")
    builder.node("half", Affine(0.5, 0.0), x)
    builder.node("y", Add(), "half", x)
    graph = builder.build("y")
    found = resolved(graph)
    types = assign_types(graph, Plan(), found, lambda value, largest: 0.25).types
    assert found.effective["half"].precision is Precision.INT8
    assert (types["x"].scale, types["half"].scale) == (0.25, 0.125)
    marked = Plan(MappingProxyType({"half": Precision.LUT}))
    assert resolve(graph, marked, JOURNEY, has_lowering).effective["half"].precision is Precision.LUT


def test_layout_passes_scales_on_and_a_class_token_does_not_take_them() -> None:
    builder = Builder()
    x = builder.input("x")
    builder.node("t", Transpose((0, 1, 3, 2)), x)
    token = builder.constant("token", np.full(SHAPE, 5.0))
    builder.node("y", Concat(1), "t", token, shape=(1, 8, 6, 6))
    graph = builder.build("y")
    scales = {"x": 0.1, "t": 9.0, "y": 0.5}
    types = assign_types(graph, Plan(), resolved(graph), lambda value, largest: scales[value]).types
    assert (types["t"].scale, types["y"].scale) == (0.1, 0.5)


def masked(value: float, reader: object) -> Graph:
    builder = Builder()
    mask = np.zeros(SHAPE)
    mask[..., 3:] = value
    builder.node("m", Add(), builder.input("x"), builder.constant("mask", mask))
    builder.node("y", reader, "m")  # type: ignore[arg-type]
    return builder.build("y")


@pytest.mark.parametrize(
    ("graph", "clipped"),
    [(masked(-100.0, Softmax(3)), True), (masked(-1.0, Softmax(3)), False), (masked(-100.0, Gelu()), False)],
)
def test_a_mask_does_not_take_the_range_of_its_logits(graph: Graph, clipped: bool) -> None:
    ranges = {"x": 4.0, "m": 100.0, "y": 1.5}
    types = assign_types(graph, Plan(), resolved(graph), lambda value, largest: ranges[value] / largest).types
    assert types["m"].scale * 127 == pytest.approx(12.0 if clipped else 100.0)
    assert types["y"].scale * 127 == pytest.approx(1.0 if isinstance(graph.nodes[-1].op, Softmax) else 1.5)


def test_a_custom_target_without_wide_pools_sends_them_to_the_cpu() -> None:
    pool = msgspec.structs.replace(JOURNEY.operators["pool"], precisions=(Precision.INT8,))
    narrow = msgspec.structs.replace(JOURNEY, operators={**JOURNEY.operators, "pool": pool})
    graph = chain(("c", "conv"), ("m", MaxPool((1, 1), (1, 1), (0, 0, 0, 0))))
    assert resolved_on(narrow, graph).effective["m"].precision is Precision.INT8
    found = resolved_on(narrow, graph, c=Precision.INT16).effective["m"]
    assert found.precision is Precision.FLOAT
    assert "int8 only" in found.reason
