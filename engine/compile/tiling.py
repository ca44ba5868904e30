"""Tiles: how a kernel is cut so that it fits the on-chip memory, and the jobs of its tiles.

Activations are double-buffered: tile i + 2 is loaded once tile i is computed. Weights have a buffer of their own; those
that do not fit it arrive in chunks of output channels while the tiles of the chunk before are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.compile.types import Block, Engine, Tiles
from engine.errors import CompileError
from engine.simulate.cost import Demand, EngineTimes, Path, Rates, in_ticks, stream_us
from engine.target.target import Target

PIPELINE_TILES = 8
"""Tiles that a kernel has at least, where it has as many positions: engines overlap from tile to tile. More change the
time by less than an eighth of its smaller parts."""

MOST_TILES = 100_000
"""Tiles of a kernel beyond which the on-chip memory cannot be meant: they would take minutes to simulate."""

_BUFFERS = 2


@dataclass(frozen=True)
class TileRoom:
    """Bytes of on-chip memory for tiles of activations, and for weights (of as many kernels as have room)."""

    activations_bytes: int
    weights_bytes: int

    @staticmethod
    def of(target: Target) -> TileRoom:
        """A quarter of what activations between kernels leave is for tiles, the rest for weights."""
        left = int(target.sram.capacity.value * (1.0 - target.sram.activation_share.value))
        return TileRoom(left // 4, left - left // 4)


def tiles_of(demands: Sequence[Demand], positions: int, room: TileRoom) -> Tiles:
    """The tiles of a kernel from what it moves.

    Where neither weights nor activations fit their room, one of the two is read again for every piece of the other,
    whichever costs fewer bytes. A cascade of several products needs the weights of all for each stripe: where they do
    not fit together, it has as few stripes as it can.

    Raises:
        CompileError: There are more than :data:`MOST_TILES`.
    """
    tiles = _cut(demands, positions, room)
    if tiles.count > MOST_TILES:
        hint = "correct sram.capacity or sram.activation_share of the target"
        raise CompileError(f"is cut into {tiles.count:,} tiles, more than {MOST_TILES:,},", hint=hint)
    return tiles


def _cut(demands: Sequence[Demand], positions: int, room: TileRoom) -> Tiles:
    moved = dict.fromkeys(Path, 0)
    for demand in demands:
        for transfer in demand.transfers:
            moved[transfer.path] += transfer.size_bytes
    crossing = moved[Path.LOAD] + moved[Path.STORE]
    count = max(PIPELINE_TILES, _pieces(_BUFFERS * crossing, room.activations_bytes))
    count = max(1, min(count, positions))
    chunks = _pieces(_BUFFERS * moved[Path.WEIGHTS], room.weights_bytes)
    if chunks > 1 and sum(_has_weights(demand) for demand in demands) > 1:
        stripes = _pieces(_BUFFERS * crossing, room.activations_bytes)
        return Tiles(max(stripes, chunks), max(stripes, chunks), loads=1, weight_loads=stripes)
    if chunks == 1 or _BUFFERS * crossing <= room.activations_bytes:
        return Tiles(max(count, chunks), chunks, loads=1, weight_loads=1)
    again = _pieces(_BUFFERS * crossing, room.activations_bytes)
    if moved[Path.LOAD] * (chunks - 1) <= moved[Path.WEIGHTS] * (again - 1):
        return Tiles(count * chunks, chunks, loads=chunks, weight_loads=1)
    return Tiles(max(count, chunks * again), chunks * again, loads=1, weight_loads=again)


def _has_weights(demand: Demand) -> bool:
    return bool(demand.products) and any(transfer.path is Path.WEIGHTS for transfer in demand.transfers)


def crossing_bytes(demand: Demand, tiles: Tiles) -> int:
    """Bytes that a unit moves from and to DDR, those that it reads again included, and what is converted for it."""
    times = {Path.WEIGHTS: tiles.weight_loads, Path.LOAD: tiles.loads, Path.STORE: 1, Path.ON_CHIP: 0}
    return sum(transfer.size_bytes * times[transfer.path] for transfer in demand.transfers) + demand.seam_bytes


def _pieces(size_bytes: int, room_bytes: int) -> int:
    return max(1, -(-size_bytes // max(room_bytes, 1)))


@dataclass(eq=False)
class JobList:
    """Jobs as they are written down."""

    engine: list[int] = field(default_factory=lambda: [])
    tile: list[int] = field(default_factory=lambda: [])
    ticks: list[int] = field(default_factory=lambda: [])
    size_bytes: list[int] = field(default_factory=lambda: [])
    dep_counts: list[int] = field(default_factory=lambda: [])
    deps: list[int] = field(default_factory=lambda: [])

    def add(self, engine: Engine, tile: int, ticks: int, size_bytes: int, *deps: int) -> int:
        """A job after ``deps`` (-1: none); its place."""
        self.engine.append(engine)
        self.tile.append(tile)
        self.ticks.append(ticks)
        self.size_bytes.append(size_bytes)
        known = [dep for dep in deps if dep >= 0]
        self.deps.extend(known)
        self.dep_counts.append(len(known))
        return len(self.engine) - 1

    def block(self, prefetch: int, weight_gate: int, start: int, data_gate: int, done: int, stored: int) -> Block:
        return Block(
            engine=np.array(self.engine, np.int8),
            tile=np.array(self.tile, np.int32),
            ticks=np.array(self.ticks, np.int64),
            size_bytes=np.array(self.size_bytes, np.int64),
            dep_counts=np.array(self.dep_counts, np.int32),
            deps=np.array(self.deps, np.int32),
            prefetch=prefetch,
            weight_gate=weight_gate,
            start=start,
            data_gate=data_gate,
            done=done,
            stored=stored,
        )


@dataclass(frozen=True)
class _Part:
    """Time and bytes of one engine over all tiles, given out tile by tile without a rest."""

    ticks: int
    size_bytes: int
    count: int

    def of(self, tile: int) -> tuple[int, int]:
        return (
            self.ticks * (tile + 1) // self.count - self.ticks * tile // self.count,
            self.size_bytes * (tile + 1) // self.count - self.size_bytes * tile // self.count,
        )


def chip_block(demands: Sequence[Demand], times: Sequence[EngineTimes], tiles: Tiles, rates: Rates) -> Block:
    """The jobs of a kernel on the chip."""
    count = tiles.count
    weights = _moved(demands, rates, Path.WEIGHTS, tiles.weight_chunks, tiles.weight_loads)
    loads = _moved(demands, rates, Path.LOAD, count, tiles.loads)
    stores = _moved(demands, rates, Path.STORE, count, 1)
    seam = _Part(in_ticks(sum(t.cpu_us for t in times)), sum(d.seam_bytes for d in demands), 1)
    compute = tuple(
        (engine, _Part(in_ticks(us), 0, count))
        for engine, us in (
            (Engine.MAC, sum(t.mac_us for t in times)),
            (Engine.VECTOR, sum(t.vector_us for t in times)),
            (Engine.TABLE, sum(t.lut_us for t in times)),
            (Engine.LAYOUT, sum(t.layout_us for t in times)),
        )
        if us > 0.0
    )
    jobs = JobList()
    weight_gate, arrived = -1, -1
    if weights.size_bytes:
        weight_gate = jobs.add(Engine.GATE, 0, 0, 0)
        arrived = jobs.add(Engine.LOAD, 0, *weights.of(0), weight_gate)
    prefetch = len(jobs.engine)
    gate = jobs.add(Engine.GATE, 0, 0, 0)
    ready = jobs.add(Engine.CPU, 0, *seam.of(0), gate) if seam.ticks else gate
    start = jobs.add(Engine.LAUNCH, 0, in_ticks(rates.operator_us), 0, ready)
    first = range(min(_BUFFERS, count) if loads.size_bytes else 0)
    loaded = [jobs.add(Engine.LOAD, tile, *loads.of(tile), ready) for tile in first]
    computed: list[int] = []
    stored = -1
    coming = jobs.add(Engine.LOAD, 0, *weights.of(1), start) if tiles.weight_chunks > 1 else -1
    for tile in range(count):
        chunk = tile * tiles.weight_chunks // count
        if chunk and chunk != (tile - 1) * tiles.weight_chunks // count:
            arrived = coming
            if chunk + 1 < tiles.weight_chunks:
                coming = jobs.add(Engine.LOAD, tile, *weights.of(chunk + 1), computed[-1])
        last = loaded[tile] if loaded else start
        waits = (start, arrived)
        for engine, part in compute:
            last = jobs.add(engine, tile, *part.of(tile), last, *waits)
            waits = ()
        computed.append(last)
        if stores.size_bytes:
            stored = jobs.add(Engine.STORE, tile, *stores.of(tile), last, *waits)
        if loaded and tile + _BUFFERS < count:
            loaded.append(jobs.add(Engine.LOAD, tile + _BUFFERS, *loads.of(tile + _BUFFERS), last))
    return jobs.block(prefetch, weight_gate, start, gate, computed[-1], stored)


def cpu_block(times: Sequence[EngineTimes], size_bytes: int) -> Block:
    """The one job of a kernel that the CPU computes, its dispatch included."""
    jobs = JobList()
    gate = jobs.add(Engine.GATE, 0, 0, 0)
    done = jobs.add(Engine.CPU, 0, in_ticks(sum(t.total_us for t in times)), size_bytes, gate)
    return jobs.block(0, -1, gate, gate, done, -1)


def _moved(demands: Sequence[Demand], rates: Rates, path: Path, pieces: int, rounds: int) -> _Part:
    """What crosses from or to DDR ``rounds`` times, in ``pieces`` altogether: each waits for the memory once."""
    chosen = [transfer for demand in demands for transfer in demand.transfers if transfer.path is path]
    us = sum(stream_us(transfer, rates) for transfer in chosen) * rounds
    if chosen:
        us += rates.ddr_latency_us * pieces
    return _Part(in_ticks(us), sum(transfer.size_bytes for transfer in chosen) * rounds, pieces)
