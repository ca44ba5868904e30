"""Which units run as one: tails of products, attention, and the user's regions as they stand."""

from __future__ import annotations

from engine.clock.estimate import Estimator
from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Gelu, Relu
from engine.ops.linear import Linear, MatMul
from engine.ops.reduce import LayerNorm, Softmax
from engine.plan.compile_options import CompileOptions, Level
from engine.plan.types import Region
from engine.target.target import load_target
from tests.engine.clock.graphs import GraphBuilder
from tests.engine.clock.test_regions import resolved

GENERIC = load_target("generic-int8")
ROWS = (1, 49, 64)


def kernels(graph: Graph, *regions: Region, level: Level = Level.O2) -> list[list[str]]:
    resolution = resolved(graph, *regions)
    compiled = Estimator(graph, GENERIC).simulate(resolution, CompileOptions(level=level)).compiled
    return [[unit.anchor for unit in costed.kernel.units] for costed in compiled.kernels]


def residual() -> Graph:
    builder = GraphBuilder()
    builder.input("x", ROWS)
    builder.node("norm", LayerNorm(1), ("x",), ROWS)
    builder.constant("w", (64, 64))
    builder.node("linear", Linear(), ("norm", "w"), ROWS)
    builder.node("gelu", Gelu(), ("linear",), ROWS)
    builder.node("sum", Add(), ("gelu", "x"), ROWS)
    builder.node("relu", Relu(), ("sum",), ROWS)
    builder.node("next", Linear(), ("relu", "w"), ROWS)
    return builder.build("next", "norm")


def test_a_product_takes_its_tail_and_the_residual_sum() -> None:
    assert kernels(residual()) == [["norm"], ["linear", "gelu", "sum"], ["next"]]
    assert kernels(residual(), level=Level.O1) == [["norm"], ["linear"], ["gelu"], ["sum"], ["next"]]


def test_a_region_is_a_kernel_as_it_stands() -> None:
    assert kernels(residual(), Region("r", ("linear", "gelu"))) == [["norm"], ["linear", "gelu"], ["sum"], ["next"]]


def test_attention_is_one_kernel() -> None:
    builder = GraphBuilder()
    builder.input("q", (3, 49, 32))
    builder.input("k", (3, 32, 49))
    builder.input("v", (3, 49, 32))
    builder.node("logits", MatMul(), ("q", "k"), (3, 49, 49))
    builder.node("weights", Softmax(2), ("logits",), (3, 49, 49))
    builder.node("mixed", MatMul(), ("weights", "v"), (3, 49, 32))
    builder.node("more", MatMul(), ("mixed", "k"), (3, 49, 49))
    graph = builder.build("more")
    assert kernels(graph) == [["logits", "weights", "mixed"], ["more"]]


def test_what_waits_for_another_branch_does_not_join_the_earlier_one() -> None:
    builder = GraphBuilder()
    builder.input("x", ROWS)
    builder.constant("w", (64, 64))
    builder.node("a", Linear(), ("x", "w"), ROWS)
    builder.node("b", Linear(), ("a", "w"), ROWS)
    builder.node("sum", Add(), ("a", "b"), ROWS)
    graph = builder.build("sum")
    assert kernels(graph) == [["a"], ["b", "sum"]]
