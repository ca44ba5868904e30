"""Tiles fit their room, and the jobs of tiles do all of the kernel's work once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.compile.tiling import TileRoom, chip_block, crossing_bytes, tiles_of
from engine.compile.types import Engine
from engine.simulate.cost import Demand, Path, Rates, Transfer, chip_times, in_ticks
from engine.simulate.work import Product
from engine.target.target import load_target

RATES = Rates.of(load_target("generic-int8"))
ROOM = TileRoom(100_000, 100_000)


def demand(load: int, store: int, weights: int, products: int = 1) -> Demand:
    transfers = (
        Transfer(load, 64, Path.LOAD),
        Transfer(store, 64, Path.STORE),
        Transfer(weights, 64, Path.WEIGHTS),
    )
    return Demand(
        products=((Product(1000, 16, 32), 1),) * products,
        vector=((1, 5000),),
        transfers=tuple(transfer for transfer in transfers if transfer.size_bytes),
    )


def test_what_fits_is_read_once() -> None:
    tiles = tiles_of([demand(20_000, 20_000, 40_000)], 1000, ROOM)
    assert (tiles.count, tiles.weight_chunks, tiles.loads, tiles.weight_loads) == (8, 1, 1, 1)
    assert tiles_of([demand(20_000, 20_000, 40_000)], 3, ROOM).count == 3


def test_weights_arrive_in_chunks_beside_activations_that_fit() -> None:
    tiles = tiles_of([demand(20_000, 20_000, 400_000)], 1000, ROOM)
    assert (tiles.weight_chunks, tiles.loads, tiles.weight_loads) == (8, 1, 1)


def test_the_smaller_side_is_read_again_where_neither_fits() -> None:
    again = tiles_of([demand(100_000, 100_000, 1_000_000)], 1000, ROOM)
    assert (again.loads, again.weight_loads) == (20, 1)
    again = tiles_of([demand(1_000_000, 10_000, 100_000)], 1000, ROOM)
    assert (again.loads, again.weight_loads) == (2, 1)
    again = tiles_of([demand(150_000, 0, 60_000)], 1000, ROOM)
    assert (again.loads, again.weight_loads) == (1, 3)


def test_a_cascade_reads_all_weights_for_each_stripe() -> None:
    stripes = tiles_of([demand(200_000, 0, 60_000), demand(0, 200_000, 60_000)], 1000, ROOM)
    assert (stripes.count, stripes.loads, stripes.weight_loads) == (8, 1, 8)


@given(*[st.integers(0, 3_000_000)] * 3, st.integers(1, 5000), st.integers(1, 2))
def test_jobs_do_all_work_and_wait_only_for_earlier_ones(
    load: int, store: int, weights: int, positions: int, units: int
) -> None:
    demands = [demand(load, store, weights)] * units
    times = [chip_times(each, RATES) for each in demands]
    tiles = tiles_of(demands, positions, ROOM)
    block = chip_block(demands, times, tiles, RATES)
    for engine, us in ((Engine.MAC, sum(t.mac_us for t in times)), (Engine.VECTOR, sum(t.vector_us for t in times))):
        assert block.ticks[block.engine == engine].sum() == in_ticks(us)
    crossing = (block.engine == Engine.LOAD) | (block.engine == Engine.STORE)
    assert block.size_bytes[crossing].sum() == sum(crossing_bytes(each, tiles) for each in demands)
    begin = 0
    for job, count in enumerate(block.dep_counts.tolist()):
        assert all(dep < job for dep in block.deps[begin : begin + count])
        begin += count
    assert begin == len(block.deps)
