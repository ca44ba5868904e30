"""Weights are fetched as far ahead as they have room, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from engine.clock.estimate import Estimator, Simulation
from engine.compile.tiling import TileRoom
from engine.compile.types import Engine
from engine.fit.schedules import resolved_at
from engine.graph.graph import Graph
from engine.graph.load import load_model
from engine.precision import Precision
from engine.target.edit import with_figures
from engine.target.figures import Figure
from engine.target.target import Target, load_target
from tests.engine.fit.graphs import write_model

LAYERS = 9


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    path = tmp_path_factory.mktemp("chain") / "chain.onnx"
    write_model(path, channels=64, layers=LAYERS)
    return load_model(path)


def with_memory(size_bytes: int, ddr_gb_s: float = 1.0, mac_share: float = 1.0) -> Target:
    """A chip whose on-chip memory is of a size."""
    figures = {
        "sram.capacity": Figure(float(size_bytes), "B", "assumed: for the test"),
        "dma.bandwidth": Figure(ddr_gb_s, "GB/s", "assumed: for the test"),
        "mac.sustained_fraction": Figure(mac_share, "fraction", "assumed: for the test"),
    }
    return with_figures(load_target("bayes-e-x5"), figures)


def simulated(graph: Graph, target: Target) -> Simulation:
    return Estimator(graph, target).simulate(resolved_at(graph, Precision.AUTO, target))


def spans(found: Simulation) -> list[tuple[int, int, int]]:
    """For each kernel when the first of its weights begins to arrive, when it is done, and bytes of what it holds."""
    schedule, trace = found.compiled.schedule, found.trace
    result: list[tuple[int, int, int]] = []
    for index, costed in enumerate(found.compiled.kernels):
        jobs = np.flatnonzero(schedule.kernel == index)
        weights = [job for job in jobs[: costed.block.prefetch] if schedule.engine[job] == Engine.LOAD]
        if weights:
            done = max(trace.end[job] for job in jobs if schedule.engine[job] not in (Engine.LOAD, Engine.STORE))
            size = int(schedule.size_bytes[weights].sum()) * (2 if costed.tiles.weight_chunks > 1 else 1)
            result.append((int(trace.start[weights[0]]), int(done), size))
    return result


@pytest.mark.parametrize("size_bytes", [80_000, 200_000, 300_000, 600_000, 2_000_000])
def test_weights_on_the_chip_never_exceed_their_room(graph: Graph, size_bytes: int) -> None:
    target = with_memory(size_bytes)
    held = spans(simulated(graph, target))
    assert len(held) == LAYERS
    room = TileRoom.of(target).weights_bytes
    for moment, _, _ in held:
        assert sum(size for begin, end, size in held if begin <= moment < end) <= room


def fetched_when_the_second_is_done(found: Simulation) -> int:
    """Kernels whose weights are there or on their way; the first kernel loads the input, which comes before."""
    held = spans(found)
    return sum(begin < held[1][1] for begin, _, _ in held)


def test_more_room_is_used(graph: Graph) -> None:
    """Where computing is what takes time."""
    narrow, wide = (simulated(graph, with_memory(size, 8.0, 0.02)) for size in (150_000, 2_000_000))
    assert fetched_when_the_second_is_done(narrow) < LAYERS
    assert fetched_when_the_second_is_done(wide) == LAYERS
    assert wide.trace.total_ticks <= narrow.trace.total_ticks
