"""The layered layout's promises: down, without overlap, around boxes, the same every time, fast through its cache."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gui.canvas.folding import UNBOUNDED, Viewport
from gui.canvas.layout import LayeredInput, LayeredLayout, LayoutCache, lay_out
from gui.canvas.ordering import crossings, order_ranks
from gui.canvas.ranks import BOTTOM_PORT, TOP_PORT, rank_nodes
from tests.gui.canvas.graphs import layered, random_edges

TIGHT = Viewport(900.0, 600.0)


def overlapping_pairs(layout: LayeredLayout, graph: LayeredInput) -> int:
    """How many pairs of boxes overlap."""
    x, y, w, h = layout.x, layout.y, graph.widths, graph.heights
    apart = (x[:, None] + w[:, None] <= x[None] + 1e-6) | (x[None] + w[None] <= x[:, None] + 1e-6)
    apart |= (y[:, None] + h[:, None] <= y[None] + 1e-6) | (y[None] + h[None] <= y[:, None] + 1e-6)
    np.fill_diagonal(apart, True)
    return int((~apart).sum()) // 2


def route(layout: LayeredLayout, edge: int) -> NDArray[np.float64]:
    return layout.points[layout.starts[edge] : layout.starts[edge + 1]]


def edges_through_boxes(layout: LayeredLayout, graph: LayeredInput) -> list[tuple[int, int]]:
    """(edge, box) where an edge's line enters a box's inside."""
    found: list[tuple[int, int]] = []
    left, right = layout.x + 0.5, layout.x + graph.widths - 0.5
    top, bottom = layout.y + 0.5, layout.y + graph.heights - 0.5
    for edge in range(len(graph.sources)):
        points = route(layout, edge)
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            hit = (max(x1, x2) > left) & (min(x1, x2) < right) & (max(y1, y2) > top) & (min(y1, y2) < bottom)
            found.extend((edge, int(box)) for box in np.flatnonzero(hit))
    return found


def assert_sound(layout: LayeredLayout, graph: LayeredInput) -> None:
    assert overlapping_pairs(layout, graph) == 0
    assert edges_through_boxes(layout, graph) == []
    for edge in range(len(graph.sources)):
        points = route(layout, edge)
        source, target = int(graph.sources[edge]), int(graph.targets[edge])
        assert points[0, 1] == pytest.approx(layout.y[source] + graph.heights[source])
        assert points[-1, 1] == pytest.approx(layout.y[target])
        assert layout.x[source] <= points[0, 0] <= layout.x[source] + graph.widths[source]
        assert layout.x[target] <= points[-1, 0] <= layout.x[target] + graph.widths[target]
        steps = np.abs(np.diff(points, axis=0))
        assert np.all(steps.min(axis=1) < 1e-6), "every line is upright or level"
    extent = np.concatenate([layout.points, np.stack([layout.x, layout.y], axis=1)])
    assert extent.min() >= -1e-6
    assert extent[:, 0].max() <= layout.width + 1e-6
    assert extent[:, 1].max() <= layout.height + 1e-6


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 10_000), viewport=st.sampled_from([UNBOUNDED, TIGHT]))
def test_boxes_do_not_overlap_and_edges_go_around_them(count: int, seed: int, viewport: Viewport) -> None:
    graph = layered(count, random_edges(count, seed))
    assert_sound(lay_out(graph, viewport), graph)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(2, 50), seed=st.integers(0, 10_000))
def test_in_one_column_every_edge_goes_down(count: int, seed: int) -> None:
    layout = lay_out(layered(count, random_edges(count, seed)), UNBOUNDED)
    for edge in range(len(layout.starts) - 1):
        assert np.all(np.diff(route(layout, edge)[:, 1]) >= -1e-9)


def test_the_same_graph_is_laid_out_the_same() -> None:
    graph = layered(80, random_edges(80, 3))
    first, second = lay_out(graph, TIGHT), lay_out(graph, TIGHT)
    assert np.array_equal(first.x, second.x)
    assert np.array_equal(first.y, second.y)
    assert np.array_equal(first.points, second.points)


def test_a_chain_is_a_straight_line() -> None:
    layout = lay_out(layered(30, [(i, i + 1) for i in range(29)]), UNBOUNDED)
    assert np.ptp(layout.x) == 0
    assert len(layout.points) == 2 * 29


def test_a_skip_connection_leaves_the_main_path_straight() -> None:
    layout = lay_out(layered(5, [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4)]), UNBOUNDED)
    assert np.ptp(layout.x) == 0
    assert route(layout, 3)[:, 0].max() > layout.x.max() + 170


def test_repeated_blocks_are_one_piece() -> None:
    edges: list[tuple[int, int]] = []
    for block in range(50):
        a = 4 * block
        edges += [(a, a + 1), (a + 1, a + 2), (a, a + 3), (a + 2, a + 3), (a + 3, a + 4)]
    cache = LayoutCache()
    lay_out(layered(201, edges), UNBOUNDED, cache)
    assert len(cache.pieces) == 2, "the block, and the edge between blocks"


def test_an_equal_graph_comes_from_the_cache() -> None:
    cache = LayoutCache()
    first = lay_out(layered(9, random_edges(9, 1)), TIGHT, cache)
    assert lay_out(layered(9, random_edges(9, 1)), TIGHT, cache) is first


def test_the_cache_stays_bounded() -> None:
    cache = LayoutCache(capacity=3)
    for seed in range(12):
        lay_out(layered(20, random_edges(20, seed)), TIGHT, cache)
    assert len(cache.layouts) <= 4


def test_a_ribbon_is_folded_until_it_fits_the_window_better() -> None:
    graph = layered(100, [(i, i + 1) for i in range(99)])
    flat, folded = lay_out(graph, UNBOUNDED), lay_out(graph, TIGHT)
    assert flat.columns == 1
    assert folded.columns > 3
    fits = [min(TIGHT.width / each.width, TIGHT.height / each.height) for each in (flat, folded)]
    assert fits[1] > 4 * fits[0]
    assert_sound(folded, graph)


def test_what_fits_is_not_folded() -> None:
    assert lay_out(layered(4, [(0, 1), (1, 2), (2, 3)]), TIGHT).columns == 1


@pytest.mark.parametrize("viewport", [UNBOUNDED, TIGHT])
def test_very_long_edges_run_beside_the_columns(viewport: Viewport) -> None:
    edges = [(i, i + 1) for i in range(199)] + [(0, 150), (5, 190), (100, 199)]
    graph = layered(200, edges)
    layout = lay_out(graph, viewport)
    assert_sound(layout, graph)
    # Ninety-nine dummies would push the chain aside; lanes leave it straight.
    assert len(np.unique(np.round(layout.x, 6))) == layout.columns


@pytest.mark.parametrize("viewport", [UNBOUNDED, TIGHT])
def test_a_cycle_has_one_edge_that_runs_back_up(viewport: Viewport) -> None:
    graph = layered(12, [*[(i, i + 1) for i in range(11)], (8, 3)])
    layout = lay_out(graph, viewport)
    assert layout.is_upward.tolist() == [False] * 11 + [True]
    assert overlapping_pairs(layout, graph) == 0
    assert edges_through_boxes(layout, graph) == []


def test_ports_lie_on_the_first_and_the_last_rank() -> None:
    graph = layered(5, [(0, 2), (1, 3), (2, 3), (3, 4)], pins={0: TOP_PORT, 1: TOP_PORT, 4: BOTTOM_PORT})
    layout = lay_out(graph, UNBOUNDED)
    assert layout.y[0] == layout.y[1] == 0
    assert layout.y[4] == layout.y.max()


def test_an_empty_graph_and_a_single_box() -> None:
    assert lay_out(layered(0, []), TIGHT).width == 0
    alone = lay_out(layered(1, []), TIGHT)
    assert (alone.width, alone.height) == (170.0, 58.0)


def test_a_node_that_only_feeds_sinks_to_its_consumer() -> None:
    ranking = rank_nodes(5, [0, 1, 2, 4], [1, 2, 3, 3], [0] * 5)
    assert ranking.rank == [0, 1, 2, 3, 2]


def test_crossings_are_counted_and_removed() -> None:
    up: list[list[int]] = [[], [], [1], [0]]
    down: list[list[int]] = [[3], [2], [], []]
    assert crossings([[0, 1], [2, 3]], down) == 1
    assert crossings(order_ranks([0, 0, 1, 1], up, down, [False] * 4), down) == 0
