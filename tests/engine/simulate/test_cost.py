"""Engine times in closed form."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.simulate.cost import Demand, Rates, Transfer, array_slots, chip_timing, ticked, transfer_us
from engine.simulate.timing import Bound
from engine.simulate.work import Product
from engine.target.target import load_target

RATES = Rates.of(load_target("generic-int8"))  # 512 MAC/cycle, 16 x 32 channels, 8 GB/s, burst 64, 200 ns


def test_aligned_product_fills_the_array():
    product = Product(49, 32, 64)
    assert array_slots(product, RATES) == product.macs
    timing = chip_timing(Demand(products=((Product(1000, 16, 32), 1),)), RATES)
    assert timing.engines.mac_us == pytest.approx(1.0)  # 1000 cycles at 1 GHz
    assert timing.engines.total_us == pytest.approx(2.0)


def test_channels_are_rounded_up():
    assert array_slots(Product(10, 3, 33, 9), RATES) == 10 * 16 * 64 * 9


def test_depthwise_uses_a_fraction_of_the_array():
    product = Product(100, 1, 1, 9, 64)
    assert array_slots(product, RATES) == product.macs * 16


def test_int16_products_are_four_times_slower():
    times = [chip_timing(Demand(products=((Product(99, 16, 32), w),)), RATES).engines.mac_us for w in (1, 2)]
    assert times[1] == pytest.approx(4 * times[0])


def test_transfer_of_whole_bursts_and_of_single_bytes():
    assert transfer_us(Transfer(8000, 64, True), RATES) == pytest.approx(1.0 + 0.2)
    assert transfer_us(Transfer(8000, 1, True), RATES) == pytest.approx(64.0 + 0.2)
    assert transfer_us(Transfer(32000, 32, False), RATES) == pytest.approx(1.0)


@given(st.integers(1, 10**7), st.integers(1, 4096), st.integers(1, 4096), st.booleans())
def test_longer_runs_are_never_slower(size, a, b, is_ddr):
    short, long = sorted((a, b))
    slow, fast = (transfer_us(Transfer(size, run, is_ddr), RATES) for run in (short, long))
    assert slow >= fast


@given(*[st.integers(1, 300)] * 4, st.integers(1, 64))
def test_more_of_anything_never_takes_fewer_slots(positions, depth, columns, taps, groups):
    base = array_slots(Product(positions, depth, columns, taps, groups), RATES)
    assert base >= positions * depth * columns * taps * groups
    assert array_slots(Product(positions + 1, depth, columns, taps, groups), RATES) >= base
    assert array_slots(Product(positions, depth + 1, columns, taps, groups), RATES) >= base
    assert array_slots(Product(positions, depth, columns, taps + 1, groups), RATES) >= base


def test_the_bound_is_the_largest_part_and_the_reason_shows_its_numbers():
    timing = chip_timing(Demand(transfers=(Transfer(602_112, 96, True),), vector=((1, 320),)), RATES)
    assert timing.bound is Bound.DMA
    assert timing.why == ("DMA 602,112 B of DDR in runs of 96 B at 8 GB/s = 75.5 us; vector 0.01 us; launch 1 us")
    assert (timing.dma_bytes, timing.sram_bytes) == (602_112, 0)
    assert chip_timing(Demand(vector=((1, 32),)), RATES).bound is Bound.LAUNCH
    assert chip_timing(Demand(lookups=((1, 1 << 20),)), RATES).bound is Bound.LUT
    assert chip_timing(Demand(reduction=((2, 1 << 20),)), RATES).bound is Bound.VECTOR
    assert chip_timing(Demand(seam_bytes=1 << 20), RATES).bound is Bound.CPU
    assert chip_timing(Demand(), RATES).bound is Bound.FREE


@given(st.lists(st.floats(0, 1e6), max_size=50), st.randoms(use_true_random=False))
def test_ticked_times_sum_exactly_in_any_order(times, random):
    ticks = [ticked(us) for us in times]
    exact = sum(map(Fraction, ticks), Fraction())
    random.shuffle(ticks)
    assert Fraction(sum(ticks)) == exact


def test_short_runs_say_what_they_waste():
    timing = chip_timing(Demand(transfers=(Transfer(64_000, 16, True), Transfer(64_000, 8, False))), RATES)
    assert timing.why.startswith(
        "DMA 64,000 B of DDR in runs of 16 B (filling 25% of each burst) at 8 GB/s and "
        "64,000 B of on-chip memory in runs of 8 B (filling 25% of each burst) at 32 GB/s = "
    )
