"""Engine times in closed form."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.simulate.cost import (
    Demand,
    Path,
    Rates,
    Transfer,
    array_slots,
    chip_times,
    explain_chip,
    ticked,
    transfer_us,
)
from engine.simulate.timing import Bound
from engine.simulate.work import Product
from engine.target.target import load_target

RATES = Rates.of(load_target("generic-int8"))  # 512 MAC/cycle, 16 x 32 channels, 8 GB/s, burst 64, 200 ns


def test_aligned_product_fills_the_array():
    product = Product(49, 32, 64)
    assert array_slots(product, RATES) == product.macs
    times = chip_times(Demand(products=((Product(1000, 16, 32), 1),)), RATES)
    assert times.mac_us == pytest.approx(1.0)  # 1000 cycles at 1 GHz
    assert times.total_us == pytest.approx(2.0)


def test_channels_are_rounded_up():
    assert array_slots(Product(10, 3, 33, 9), RATES) == 10 * 16 * 64 * 9


def test_depthwise_uses_a_fraction_of_the_array():
    product = Product(100, 1, 1, 9, 64)
    assert array_slots(product, RATES) == product.macs * 16


def test_int16_products_are_four_times_slower():
    times = [chip_times(Demand(products=((Product(99, 16, 32), w),)), RATES).mac_us for w in (1, 2)]
    assert times[1] == pytest.approx(4 * times[0])


def test_transfer_of_whole_bursts_and_of_single_bytes():
    assert transfer_us(Transfer(8000, 64, Path.LOAD), RATES) == pytest.approx(1.0 + 0.2)
    assert transfer_us(Transfer(8000, 1, Path.STORE), RATES) == pytest.approx(64.0 + 0.2)
    assert transfer_us(Transfer(32000, 32, Path.ON_CHIP), RATES) == pytest.approx(1.0)


@given(st.integers(1, 10**7), st.integers(1, 4096), st.integers(1, 4096), st.sampled_from(Path))
def test_longer_runs_are_never_slower(size, a, b, path):
    short, long = sorted((a, b))
    slow, fast = (transfer_us(Transfer(size, run, path), RATES) for run in (short, long))
    assert slow >= fast


@given(*[st.integers(1, 300)] * 4, st.integers(1, 64))
def test_more_of_anything_never_takes_fewer_slots(positions, depth, columns, taps, groups):
    base = array_slots(Product(positions, depth, columns, taps, groups), RATES)
    assert base >= positions * depth * columns * taps * groups
    assert array_slots(Product(positions + 1, depth, columns, taps, groups), RATES) >= base
    assert array_slots(Product(positions, depth + 1, columns, taps, groups), RATES) >= base
    assert array_slots(Product(positions, depth, columns, taps + 1, groups), RATES) >= base


def explained(**asked):
    demand = Demand(**asked)
    return explain_chip(demand, chip_times(demand, RATES), RATES)


def test_the_bound_is_the_largest_part_and_the_reason_shows_its_numbers():
    found = explained(transfers=(Transfer(602_112, 96, Path.LOAD),), vector=((1, 320),))
    assert found.bound is Bound.DMA
    assert found.why == "DMA 602,112 B of DDR in runs of 96 B at 8 GB/s = 75.5 us; vector 0.01 us; launch 1 us"
    assert (found.ddr_bytes, found.sram_bytes) == (602_112, 0)
    assert explained(vector=((1, 32),)).bound is Bound.LAUNCH
    assert explained(lookups=((1, 1 << 20),)).bound is Bound.LUT
    assert explained(reduction=((2, 1 << 20),)).bound is Bound.VECTOR
    assert explained(seam_bytes=1 << 20).bound is Bound.CPU
    assert explained(transfers=(Transfer(1 << 20, 8, Path.ON_CHIP),)).bound is Bound.LAYOUT


@given(st.lists(st.floats(0, 1e6), max_size=50), st.randoms(use_true_random=False))
def test_ticked_times_sum_exactly_in_any_order(times, random):
    ticks = [ticked(us) for us in times]
    exact = sum(map(Fraction, ticks), Fraction())
    random.shuffle(ticks)
    assert Fraction(sum(ticks)) == exact


def test_short_runs_say_what_they_waste():
    found = explained(transfers=(Transfer(64_000, 16, Path.STORE), Transfer(64_000, 8, Path.ON_CHIP)))
    assert found.why.startswith("DMA 64,000 B of DDR in runs of 16 B (filling 25% of each burst) at 8 GB/s = ")
    found = explained(transfers=(Transfer(64_000, 8, Path.ON_CHIP),))
    assert found.why.startswith("layout 64,000 B of on-chip memory in runs of 8 B (filling 25% of each burst) at 32 ")
