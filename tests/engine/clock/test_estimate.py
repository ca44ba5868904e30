"""The estimate of whole graphs: sums, fusion, residency, seams, and what an edit changes."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock.estimate import Estimator, estimate
from engine.ops.elementwise import Add, Gelu, Relu
from engine.ops.layout import Reshape, Roll, Transpose
from engine.ops.linear import Conv, Linear, MatMul
from engine.ops.other import OnnxOp
from engine.ops.reduce import LayerNorm, Softmax
from engine.plan.compile_options import CompileOptions, Level
from engine.plan.types import Unit
from engine.precision import Precision
from engine.simulate.cost import Rates, ticked
from engine.simulate.timing import Bound
from engine.target.edit import with_figures
from engine.target.figures import Figure
from engine.target.target import load_target

from .graphs import GraphBuilder, one_op, resolution_of

TARGETS = ("journey5", "bayes-e-x5", "generic-int8")
GENERIC = load_target("generic-int8")
UNFUSED = CompileOptions(level=Level.O1)


def block():
    """Convolution, ReLU, to tokens, normalisation, a linear layer with GELU, a residual sum."""
    builder = GraphBuilder()
    builder.input("x", (1, 32, 14, 14))
    builder.constant("w", (64, 32, 3, 3))
    builder.node("conv", Conv((1, 1), (1, 1, 1, 1), (1, 1)), ("x", "w"), (1, 64, 14, 14))
    builder.node("relu", Relu(), ("conv",), (1, 64, 14, 14))
    builder.node("tokens", Transpose((0, 2, 3, 1)), ("relu",), (1, 14, 14, 64))
    builder.node("flat", Reshape((1, 196, 64)), ("tokens",), (1, 196, 64))
    builder.node("norm", LayerNorm(1), ("flat",), (1, 196, 64))
    builder.constant("v", (64, 64))
    builder.node("linear", Linear(), ("norm", "v"), (1, 196, 64))
    builder.node("gelu", Gelu(), ("linear",), (1, 196, 64))
    builder.node("sum", Add(), ("gelu", "flat"), (1, 196, 64))
    return builder.build("sum")


IDS = ("conv", "relu", "tokens", "flat", "norm", "linear", "gelu", "sum")
PRECISIONS = (Precision.INT8, Precision.INT16, Precision.FLOAT)
CHOICES = st.dictionaries(st.sampled_from(IDS), st.sampled_from(PRECISIONS))


@given(CHOICES, st.sampled_from(TARGETS))
def test_node_times_sum_to_the_total_exactly(choices, target):
    graph = block()
    timing = estimate(graph, resolution_of(graph, choices), load_target(target))
    assert list(timing.nodes) == [node.id for node in graph.nodes]
    exact = sum((Fraction(node.latency_us) for node in timing.nodes.values()), Fraction())
    assert Fraction(timing.latency_us) == exact
    assert timing.macs == 196 * 64 * (32 * 9 + 64)
    assert timing.ddr_bytes == sum(node.dma_bytes for node in timing.nodes.values())
    assert timing.throughput_fps > 0
    assert sum(timing.share_by_bound().values()) == pytest.approx(1.0)


@given(st.lists(CHOICES, min_size=1, max_size=5))
def test_an_estimator_that_has_seen_other_plans_gives_the_same_timing(edits):
    graph = block()
    estimator = Estimator(graph, GENERIC)
    for choices in edits:
        resolution = resolution_of(graph, choices)
        assert estimator.estimate(resolution) == estimate(graph, resolution, GENERIC)


def test_an_edit_costs_only_the_kernels_that_it_changes():
    graph = block()
    estimator = Estimator(graph, GENERIC)
    before = estimator.simulate(resolution_of(graph), UNFUSED).compiled.kernels
    after = estimator.simulate(resolution_of(graph, {"gelu": Precision.INT16}), UNFUSED).compiled.kernels
    changed = {new.kernel.anchor for old, new in zip(before, after, strict=True) if old.block is not new.block}
    assert changed == {"gelu", "sum"}


def test_a_reshape_is_free_and_a_transpose_once_its_readers_look_elsewhere():
    graph = block()
    nodes = estimate(graph, resolution_of(graph), GENERIC).nodes
    for name in ("flat", "tokens"):
        assert (nodes[name].latency_us, nodes[name].bound) == (0.0, Bound.FREE)
        assert "moves no data" in nodes[name].why
    assert "in its own order where 'relu' stored it" in nodes["tokens"].why
    nodes = estimate(graph, resolution_of(graph), GENERIC, CompileOptions(level=Level.O0)).nodes
    assert nodes["flat"].latency_us == 0.0
    assert nodes["tokens"].latency_us > 0.0
    assert nodes["tokens"].engines.dma_us > 0.0


def test_shorter_runs_cost_more():
    shape = (1, 56, 56, 96)

    def latency(op, output=shape):
        graph = one_op(op, [shape], output)
        return estimate(graph, resolution_of(graph), GENERIC).nodes["y"].latency_us

    reshape, roll = latency(Reshape((1, 3136, 96)), (1, 3136, 96)), latency(Roll((3, 3), (1, 2)))
    windows = latency(Transpose((0, 2, 1, 3)))
    channels = latency(Transpose((0, 3, 1, 2)), (1, 96, 56, 56))
    assert reshape == 0.0 < roll <= windows < channels
    assert channels > 20 * roll


def test_operands_that_change_their_order_for_the_array_take_layout_time():
    target = load_target("generic-int8")
    rearranging = with_figures(target, {"mac.operand_run": Figure(1.0, "elements", "assumed: for the test")})
    builder = GraphBuilder()
    a, b = builder.input("a", (4, 32, 64)), builder.input("b", (4, 64, 32))
    weight = builder.constant("w", (64, 32))
    builder.node("attention", MatMul(), [a, b], (4, 32, 32))
    builder.node("product", MatMul(), [a, weight], (4, 32, 32))
    graph = builder.build("attention", "product")
    plain, slow = (estimate(graph, resolution_of(graph), chip).nodes for chip in (target, rearranging))
    assert plain["attention"].engines.layout_us == 0.0
    elements = 2 * 4 * 32 * 64 + 4 * 32 * 32
    lines = elements * target.sram.access.value / max(1.0, target.dma.gather.value)
    assert slow["attention"].engines.layout_us == pytest.approx(lines / (target.sram.bandwidth.value * 1e3))
    assert slow["product"].engines == plain["product"].engines


def test_one_operand_in_int16_does_not_make_the_others_cheaper():
    target = load_target("generic-int8")
    rearranging = with_figures(target, {"mac.operand_run": Figure(1.0, "elements", "assumed: for the test")})
    builder = GraphBuilder()
    a, b = builder.input("a", (4, 32, 64)), builder.input("b", (4, 64, 32))
    builder.node("attention", MatMul(), [a, b], (4, 32, 32))
    graph = builder.build("attention")
    (first, *_) = (node.id for node in graph.nodes if a in node.outputs)
    narrow, mixed = (
        estimate(graph, resolution_of(graph, precisions), rearranging).nodes["attention"].engines
        for precisions in ({}, {first: Precision.INT16})
    )
    # Twice the bytes in runs twice as long: a line of memory for each element, whatever the element's type.
    assert mixed.layout_us == pytest.approx(narrow.layout_us)
    assert mixed.mac_us > narrow.mac_us


def test_norms_and_softmax_compute_in_16_bits():
    rates = Rates.of(GENERIC)
    for op, vector, sums in ((LayerNorm(1, 1e-5), 5, 2), (Softmax(2), 2, 2)):
        graph = one_op(op, [(1, 8, 64)], (1, 8, 64))
        spent = estimate(graph, resolution_of(graph), GENERIC).nodes["y"].engines
        per_element = vector / rates.vector[2] + sums / rates.reduction[2]
        assert spent.vector_us == pytest.approx(512 * per_element)


def test_a_unit_is_booked_on_its_anchor_and_costs_less_than_its_parts():
    graph = block()
    apart = estimate(graph, resolution_of(graph), GENERIC)
    rest = [Unit(node.id, (node.id,)) for node in graph.nodes if node.id not in ("conv", "relu")]
    fused = resolution_of(graph, units=[rest[0], Unit("conv", ("conv", "relu")), *rest[1:]])
    together = estimate(graph, fused, GENERIC)
    assert together.nodes["relu"].latency_us == 0.0
    assert together.nodes["relu"].bound is Bound.FUSED
    assert "'conv'" in together.nodes["relu"].why
    assert together.nodes["conv"].latency_us == apart.nodes["conv"].latency_us  # the clamp is free
    assert together.latency_us < apart.latency_us


def test_resident_activations_do_not_go_to_ddr():
    graph = block()
    timing = estimate(graph, resolution_of(graph), GENERIC)
    inputs, outputs, weights = 32 * 196, 64 * 196, 64 * 32 * 9 + 64 * 64
    assert timing.ddr_bytes == inputs + outputs + weights
    assert 0 < timing.sram_peak_bytes <= 0.75 * 2**20


def test_activations_larger_than_the_memory_go_to_ddr_and_back():
    shape = (1, 64, 512, 512)
    builder = GraphBuilder()
    builder.input("x", shape)
    builder.node("a", Relu(), ("x",), shape)
    builder.node("b", Relu(), ("a",), shape)
    graph = builder.build("b")
    timing = estimate(graph, resolution_of(graph), GENERIC, UNFUSED)
    assert timing.ddr_bytes == 4 * 64 * 512 * 512
    assert timing.sram_peak_bytes == 0
    assert estimate(graph, resolution_of(graph), GENERIC).ddr_bytes == 2 * 64 * 512 * 512


def test_a_float_node_pays_for_the_cpu_and_its_seams():
    graph = block()
    all_int = estimate(graph, resolution_of(graph), GENERIC)
    timing = estimate(graph, resolution_of(graph, {"norm": Precision.FLOAT}), GENERIC)
    assert timing.nodes["norm"].bound is Bound.CPU
    assert "dequantise" in timing.nodes["norm"].why
    assert "quantise" in timing.nodes["linear"].why
    assert timing.nodes["norm"].latency_us > 10 * all_int.nodes["norm"].latency_us
    assert all_int.cpu_us == 0.0 < timing.cpu_us


def test_a_value_is_converted_once():
    shape = (1, 64, 64)
    builder = GraphBuilder()
    builder.input("x", shape)
    builder.node("a", OnnxOp("Custom", "", 17, b""), ("x",), shape)
    builder.node("b", Gelu(), ("a",), shape)
    builder.node("c", Relu(), ("a",), shape)
    builder.node("d", Add(), ("b", "c"), shape)
    graph = builder.build("d")
    nodes = estimate(graph, resolution_of(graph, {"a": Precision.FLOAT}), GENERIC).nodes
    assert nodes["b"].engines.cpu_us > 0.0
    assert nodes["c"].engines.cpu_us == 0.0


def test_int16_is_not_faster_than_int8():
    graph = block()
    narrow = estimate(graph, resolution_of(graph), GENERIC)
    wide = estimate(graph, resolution_of(graph, dict.fromkeys([*IDS, "x"], Precision.INT16)), GENERIC)
    assert wide.latency_us > narrow.latency_us
    assert all(wide.nodes[node].engines.chip_us >= narrow.nodes[node].engines.chip_us for node in IDS)
    assert wide.nodes["conv"].engines.mac_us == pytest.approx(4 * narrow.nodes["conv"].engines.mac_us)


@given(st.integers(1, 40), st.integers(1, 200), st.integers(1, 200), st.integers(0, 60))
def test_more_work_never_takes_less_time(batch, rows, depth, more):
    def latency(m):
        graph = one_op(MatMul(), [(batch, m, depth), (batch, depth, 49)], (batch, m, 49))
        return estimate(graph, resolution_of(graph), GENERIC).latency_us

    assert latency(rows + more) >= latency(rows)


def test_throughput_is_all_cores_without_the_hosts_overhead():
    graph = block()
    target = load_target("journey5")
    timing = estimate(graph, resolution_of(graph), target)
    assert timing.throughput_fps == pytest.approx(2e6 / timing.chip_us)
    assert timing.chip_us <= timing.latency_us - timing.host_us
    one_core = estimate(graph, resolution_of(graph), target, CompileOptions(cores=1))
    assert one_core.throughput_fps == pytest.approx(timing.throughput_fps / 2)
    assert "host overhead" in timing.nodes["x"].why
    assert timing.host_us == timing.nodes["x"].latency_us == ticked(target.launch.inference.value)


def test_an_empty_graph_takes_no_time():
    graph = GraphBuilder().build()
    timing = estimate(graph, resolution_of(graph), GENERIC)
    assert (timing.latency_us, timing.throughput_fps, timing.share_by_bound()) == (0, 0.0, {})
