"""The closed form of a systolic array: literals, a simulator's figures, and a whole compiled layer."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock.estimate import Estimator
from engine.compile.types import Engine
from engine.errors import TargetError
from engine.ops.linear import Conv, Linear, MatMul
from engine.plan.compile_options import CompileOptions, Level
from engine.precision import Precision
from engine.simulate.systolic import CYCLES, SystolicArray
from engine.simulate.work import Product
from engine.target.target import Dataflow, Target, parse_target
from tests.engine.clock.graphs import one_op, resolution_of

WEIGHT_STATIONARY = Dataflow.WEIGHT_STATIONARY
TICKS_PER_CYCLE = 1000
"""At 1.048576 GHz: a tick is 2**-20 us."""


def systolic_text(rows=32, columns=32, dataflow="weight-stationary", peak=2.147483648):
    """The generic target with an array of rows by columns at 1.048576 GHz."""
    text = (resources.files("resources") / "targets" / "generic-int8.toml").read_text(encoding="utf-8")
    text = text.replace("frequency = { value = 1.0", "frequency = { value = 1.048576")
    text = text.replace("int8_peak = { value = 1.024", f"int8_peak = {{ value = {peak}")
    text = text.replace("int16_peak = { value = 0.256", f"int16_peak = {{ value = {peak / 4}")
    figure = '{{ value = {0}, unit = "{1}", source = "assumed: a test" }}\n'
    parts = {
        "dataflow": f'dataflow = "{dataflow}"\n' if dataflow else "",
        "rows": "rows = " + figure.format(rows, "rows") if rows is not None else "",
        "columns": "columns = " + figure.format(columns, "columns") if columns is not None else "",
    }
    return text.replace("[mac]\n", "[mac]\n" + "".join(parts.values()))


def systolic(*arguments, **options) -> Target:
    return parse_target(systolic_text(*arguments, **options).encode(), "mine.toml")


@pytest.mark.parametrize(
    ("m", "n", "k", "reported"),
    [
        (49, 512, 512, 36607),  # 1x1, the last stage of a ResNet
        (196, 256, 1152, 83519),  # 3x3 on 128 channels at 14x14
        (100, 33, 65, 1163),  # one more than whole tiles in both directions
        (144, 96, 576, 12851),  # 3x3 on 64 channels, 12x12 results
        (225, 32, 27, 318),  # 3x3 on 3 channels, 15x15 results
    ],
)
def test_it_agrees_with_scale_sim_to_the_cycle(m: int, n: int, k: int, reported: int) -> None:
    """SCALE-Sim 3.0.0 on 32 x 32, weight-stationary: its "compute cycles" are the number of the last one, from 0."""
    assert SystolicArray(32, 32, WEIGHT_STATIONARY).cycles(Product(m, k, n)) == reported + 1


def test_the_formula_by_hand() -> None:
    # 8 rows, 4 columns: ⌈20/8⌉ · ⌈9/4⌉ = 3 · 3 tiles of 16 + 4 + 10 - 2 = 28 cycles.
    assert SystolicArray(8, 4, WEIGHT_STATIONARY).cycles(Product(10, 20, 9)) == 9 * 28
    # Channels under all taps are one axis; groups follow one another.
    assert SystolicArray(8, 4, WEIGHT_STATIONARY).cycles(Product(10, 2, 9, taps=10, groups=5)) == 5 * 9 * 28
    assert set(CYCLES) == set(Dataflow)


SIZES = st.integers(1, 300)


@given(SIZES, SIZES, SIZES, st.integers(1, 64), st.integers(1, 64))
def test_no_array_is_faster_than_its_cells(m: int, k: int, n: int, rows: int, columns: int) -> None:
    product = Product(m, k, n)
    assert SystolicArray(rows, columns, WEIGHT_STATIONARY).cycles(product) * rows * columns >= product.macs


def busy_cycles(graph, target, precision=Precision.INT8, level=Level.O2):
    """Cycles of the MAC engine in the whole schedule of a compiled model."""
    resolution = resolution_of(graph, {node.id: precision for node in graph.nodes})
    schedule = Estimator(graph, target).simulate(resolution, CompileOptions(level=level)).compiled.schedule
    ticks = int(np.sum(schedule.ticks[schedule.engine == Engine.MAC]))
    assert ticks % TICKS_PER_CYCLE == 0
    return ticks // TICKS_PER_CYCLE


@pytest.mark.parametrize("level", Level)
def test_a_compiled_layer_keeps_the_array_busy_for_as_many_cycles(level: Level) -> None:
    conv = one_op(Conv((1, 1), (0, 0, 0, 0), (1, 1)), [(1, 64, 14, 14)], (1, 96, 12, 12), [(96, 64, 3, 3)])
    assert busy_cycles(conv, systolic(), level=level) == 12852
    linear = one_op(Linear(), [(1, 49, 512)], (1, 49, 512), [(512, 512)])
    assert busy_cycles(linear, systolic(), level=level) == 36608


def test_a_large_layer_in_many_tiles_keeps_to_the_formula() -> None:
    linear = one_op(Linear(), [(1, 3000, 2048)], (1, 3000, 4096), [(4096, 2048)])
    assert busy_cycles(linear, systolic()) == (64 + 32 + 3000 - 2) * 64 * 128


def test_groups_and_heads_follow_one_another() -> None:
    depthwise = one_op(Conv((1, 1), (1, 1, 1, 1), (1, 1), 32), [(1, 32, 14, 14)], (1, 32, 14, 14), [(32, 1, 3, 3)])
    assert busy_cycles(depthwise, systolic()) == 32 * (64 + 32 + 196 - 2)
    heads = one_op(MatMul(), [(3, 49, 64), (3, 64, 49)], (3, 49, 49))
    assert busy_cycles(heads, systolic()) == 3 * (64 + 32 + 49 - 2) * 2 * 2


def test_int16_takes_as_many_times_longer_as_the_peaks_say() -> None:
    linear = one_op(Linear(), [(1, 49, 512)], (1, 49, 512), [(512, 512)])
    assert busy_cycles(linear, systolic(), Precision.INT16) == 4 * 36608


def test_why_says_how_full_the_array_is() -> None:
    linear = one_op(Linear(), [(1, 3000, 2048)], (1, 3000, 4096), [(4096, 2048)])
    why = Estimator(linear, systolic()).estimate(resolution_of(linear)).nodes["y"].why
    assert f"MAC {3000 * 2048 * 4096:,} products fill {3000 / 3094:.0%} of their array slots" in why


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rows": None}, "mac.rows: is missing beside dataflow and columns"),
        ({"columns": None}, "mac.columns: is missing beside dataflow and rows"),
        ({"dataflow": None}, "mac.dataflow: is missing beside rows and columns"),
        ({"dataflow": "sideways"}, "mac.dataflow: Invalid enum value 'sideways'"),
        ({"rows": 0}, "mac.rows: value is 0 rows"),
        ({"rows": -4}, "mac.rows: value is -4 rows, expected a whole number at least 1"),
        ({"columns": 2.5}, "mac.columns: value is 2.5 columns, expected a whole number"),
        ({"peak": 1.024}, "mac.int8_peak: 1.024 TOPS is not the 2.147 TOPS of 32 rows by 32 columns in 1 cores at"),
    ],
)
def test_an_array_that_is_none_is_refused(options, complaint: str) -> None:
    with pytest.raises(TargetError) as caught:
        systolic(**options)
    assert complaint in str(caught.value)
