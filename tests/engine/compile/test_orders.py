"""Orders of storage, lengths of runs, and that rows times weights and a convolution of one position are one thing."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock.estimate import estimate
from engine.compile.orders import ORDER, innermost, longest_run, order_of, read_run, run_in_step
from engine.compile.views import View, ordered, reshaped, rolled, row_major, sliced, transposed
from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Gelu
from engine.ops.layout import Transpose
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import LayerNorm, Pool, Resize
from engine.plan.compile_options import CompileOptions, Level
from engine.target.target import load_target
from tests.engine.clock.graphs import GraphBuilder, one_op, resolution_of

POINTWISE = Conv((1, 1), (0, 0, 0, 0), (1, 1))
SLIDING = Conv((1, 1), (1, 1, 1, 1), (1, 1))
TARGETS = ("journey5", "bayes-e-x5", "generic-int8")


def mixer(rows: bool) -> Graph:
    """A convolution block whose channels are mixed by layers over rows, or by convolutions of one position."""
    builder = GraphBuilder()
    builder.input("x", (1, 64, 14, 14))
    builder.constant("k", (64, 64, 3, 3))
    builder.node("conv", SLIDING, ("x", "k"), (1, 64, 14, 14))
    if rows:
        builder.constant("w", (96, 64))
        builder.constant("v", (64, 96))
        builder.node("last", Transpose((0, 2, 3, 1)), ("conv",), (1, 14, 14, 64))
        builder.node("a", Linear(), ("last", "w"), (1, 14, 14, 96))
        builder.node("g", Gelu(), ("a",), (1, 14, 14, 96))
        builder.node("b", Linear(), ("g", "v"), (1, 14, 14, 64))
        builder.node("back", Transpose((0, 3, 1, 2)), ("b",), (1, 64, 14, 14))
    else:
        builder.constant("w", (96, 64, 1, 1))
        builder.constant("v", (64, 96, 1, 1))
        builder.node("a", POINTWISE, ("conv", "w"), (1, 96, 14, 14))
        builder.node("g", Gelu(), ("a",), (1, 96, 14, 14))
        builder.node("back", POINTWISE, ("g", "v"), (1, 64, 14, 14))
    builder.node("sum", Add(), ("conv", "back"), (1, 64, 14, 14))
    return builder.build("sum")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("level", [Level.O1, Level.O2])
def test_rows_times_weights_cost_what_a_convolution_of_one_position_costs(target, level):
    """The search of O3 may do better with one of them: its regions do not reach through a transposition."""
    options, chip = CompileOptions(level=level), load_target(target)
    rows, conv = (estimate(graph, resolution_of(graph), chip, options) for graph in (mixer(True), mixer(False)))
    assert rows.latency_us == conv.latency_us
    assert (rows.ddr_bytes, rows.macs) == (conv.ddr_bytes, conv.macs)
    for anchor in ("conv", "a", "g", "sum"):
        assert rows.nodes[anchor].latency_us == conv.nodes[anchor].latency_us
    assert rows.nodes["b"].latency_us == conv.nodes["back"].latency_us
    assert rows.nodes["last"].latency_us == rows.nodes["back"].latency_us == 0.0


def test_uncompiled_the_transpositions_cost_time():
    options, chip = CompileOptions(level=Level.O0), load_target("journey5")
    rows, conv = (estimate(graph, resolution_of(graph), chip, options) for graph in (mixer(True), mixer(False)))
    assert rows.nodes["last"].latency_us > 0.0 and rows.latency_us > conv.latency_us


def _measured_run(addresses: np.ndarray) -> float:
    """Mean elements from one jump of the address to the next."""
    jumps = sum(1 for before, after in pairwise(addresses.reshape(-1).tolist()) if after != before + 1)
    return addresses.size / (jumps + 1)


SHAPES = st.lists(st.sampled_from((1, 2, 3, 4, 6)), min_size=1, max_size=4).map(tuple)


@given(st.data(), SHAPES)
def test_a_run_in_step_is_what_the_addresses_show(data, shape):
    """Reading row by row: exactly the shortest piece, and so never longer than the mean."""
    view = ordered(shape, data.draw(st.permutations(range(len(shape)))))
    axis = data.draw(st.integers(0, len(shape) - 1))
    start = data.draw(st.integers(0, shape[axis] - 1))
    part = sliced(view, axis, start, data.draw(st.integers(1, shape[axis] - start)))
    assert part is not None
    run = run_in_step(part, row_major(part.shape))
    assert run <= _measured_run(part.addresses())
    rows = part.addresses().reshape(-1, run)
    assert (np.diff(rows, axis=1) == 1).all()


@given(st.data(), SHAPES)
def test_the_longest_run_is_what_sorted_addresses_show(data, shape):
    view = ordered(shape, data.draw(st.permutations(range(len(shape)))))
    axis = data.draw(st.integers(0, len(shape) - 1))
    start = data.draw(st.integers(0, shape[axis] - 1))
    part = sliced(view, axis, start, data.draw(st.integers(1, shape[axis] - start)))
    assert part is not None
    assert longest_run(part) == _measured_run(np.sort(part.addresses().reshape(-1))) or part.element_count == 1
    assert math.prod(part.shape) % longest_run(part) == 0


def _windows(image: View, size: int) -> View:
    _, height, width, channels = image.shape
    cut = reshaped(image, (1, height // size, size, width // size, size, channels))
    assert cut is not None
    found = reshaped(transposed(cut, (0, 1, 3, 2, 4, 5)), (height * width // size**2, size * size, channels))
    assert found is not None
    return found


def test_runs_of_windows():
    image = row_major((1, 14, 14, 8))
    whole = _windows(image, 7)
    assert run_in_step(whole, row_major(whole.shape)) == 7 * 8
    assert longest_run(whole) == 14 * 14 * 8
    shifted = rolled(image, 1, -3)
    shifted = None if shifted is None else rolled(shifted, 2, -3)
    assert shifted is not None
    cut = _windows(shifted, 7)
    # 14 columns in windows of 7, shifted by 3: 7, 4 and 3 of them; rows do not continue each other
    assert _measured_run(cut.addresses()) == pytest.approx(14 / 3 * 8)
    assert longest_run(cut) == 14 // 3 * 8


@pytest.mark.parametrize(
    ("graph", "view", "run"),
    [
        (one_op(LayerNorm(1), [(1, 9, 8)], (1, 9, 8)), row_major((1, 9, 8)), 72),
        (one_op(LayerNorm(1), [(1, 9, 8)], (1, 9, 8)), ordered((1, 9, 8), (0, 2, 1)), 1),
        (one_op(Linear(), [(1, 9, 8)], (1, 9, 4), [(4, 8)]), ordered((1, 9, 8), (0, 2, 1)), 1),
        (one_op(MatMul(), [(2, 9, 8), (2, 8, 5)], (2, 9, 5)), ordered((2, 9, 8), (0, 2, 1)), 72),
        (one_op(MatMul(), [(2, 9, 8), (2, 8, 5)], (2, 9, 5)), ordered((2, 9, 8), (1, 0, 2)), 8),
        (one_op(MatMul(), [(2, 9, 8), (2, 8, 5)], (2, 9, 5)), ordered((2, 9, 8), (1, 2, 0)), 1),
        (one_op(SLIDING, [(1, 8, 6, 6)], (1, 4, 6, 6), [(4, 8, 3, 3)]), row_major((1, 8, 6, 6)), 288),
        (one_op(SLIDING, [(1, 8, 6, 6)], (1, 4, 6, 6), [(4, 8, 3, 3)]), ordered((1, 8, 6, 6), (0, 2, 3, 1)), 288),
    ],
)  # fmt: skip
def test_runs_of_what_operators_read(graph, view, run):
    node = graph.nodes[-1]
    order = order_of(graph, node)
    assert read_run(order, view, row_major(graph.types["y"].shape)) == run


def test_channels_stay_last_and_planes_stay_planes():
    graph = one_op(SLIDING, [(1, 8, 6, 6)], (1, 4, 6, 6), [(4, 8, 3, 3)])
    store = order_of(graph, graph.nodes[-1]).store
    last = ordered((1, 4, 6, 6), (0, 2, 3, 1))
    assert store((ordered((1, 8, 6, 6), (0, 2, 3, 1)),), (1, 4, 6, 6)) == last
    assert store((row_major((1, 8, 6, 6)),), (1, 4, 6, 6)) == row_major((1, 4, 6, 6))
    assert store((row_major((1, 1, 6, 6)),), (1, 4, 6, 6)) == last  # one channel is as good as last


def test_rows_keep_their_order_and_features_lie_together():
    graph = one_op(Linear(), [(2, 9, 8)], (2, 9, 4), [(4, 8)])
    store = order_of(graph, graph.nodes[-1]).store
    assert store((ordered((2, 9, 8), (1, 0, 2)),), (2, 9, 4)) == ordered((2, 9, 4), (1, 0, 2))
    shifted = rolled(row_major((2, 9, 8)), 1, 2)
    assert shifted is not None and store((shifted,), (2, 9, 4)) == row_major((2, 9, 4))


def test_elements_of_no_order_have_no_innermost_axis():
    assert innermost(ordered((3, 4), (1, 0))) == 0
    every_other = sliced(row_major((3, 4)), 1, 0, 2, 2)
    assert every_other is not None and innermost(every_other) is None


def test_every_spatial_operator_has_an_order():
    assert {Conv, ConvTranspose, Pool, Resize, Linear, MatMul, LayerNorm} <= set(ORDER)
