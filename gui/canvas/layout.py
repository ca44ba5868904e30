"""Layered layout, top to bottom: ranks, pieces between single-tensor places, folding into columns. No Qt.

A network is long and thin, and its blocks repeat. So the ranks are cut wherever one node has its rank for itself and
no edge passes it; each piece is laid out on its own and kept by its structure, and a transformer of fifty thousand
operators has a dozen different ones. Edges over very many ranks would widen every piece they pass and join all of
them into one; they run in lanes beside the columns instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gui.canvas.folding import Column, Ends, Ribbon, Viewport, choose_cuts, put_together
from gui.canvas.pieces import Piece, PieceInput, place_piece
from gui.canvas.ranks import BOTTOM_PORT, TOP_PORT, Ranking, rank_nodes

LONGEST_LAID_OUT = 80


@dataclass(frozen=True, eq=False)
class LayeredInput:
    """Boxes `[n]` with their sizes and edges `[e]` between them; `*_dx` is an edge's port, seen from the box's centre.

    `pins[v]`: −1 for a port on the upper rim, 1 for one on the lower rim, 0 for a box (see `ranks`).
    """

    widths: NDArray[np.float64]
    heights: NDArray[np.float64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    source_dx: NDArray[np.float64]
    target_dx: NDArray[np.float64]
    pins: NDArray[np.int8]

    def key(self) -> bytes:
        """Equal for inputs that are laid out alike."""
        head = np.array([len(self.widths), len(self.sources)], dtype=np.int64)
        parts = (head, self.widths, self.heights, self.sources, self.targets, self.source_dx, self.target_dx, self.pins)
        return b"".join(part.tobytes() for part in parts)


@dataclass(frozen=True, eq=False)
class LayeredLayout:
    """Boxes' left and upper sides `[n]`; edge e's corners are `points[starts[e]:starts[e + 1]]`, `[p, 2]`.

    The content's upper left corner is (0, 0). `is_upward[e]` marks edges that close a cycle and run back up.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    width: float
    height: float
    columns: int
    is_upward: NDArray[np.bool_]


@dataclass
class LayoutCache:
    """Pieces and whole layouts by structure, shared by the layouts of one canvas. Dropped when it grows too large."""

    pieces: dict[tuple[bytes, ...], Piece] = field(default_factory=dict[tuple[bytes, ...], Piece])
    layouts: dict[tuple[bytes, float, float], LayeredLayout] = field(
        default_factory=dict[tuple[bytes, float, float], LayeredLayout]
    )
    capacity: int = 20_000

    def trim(self) -> None:
        """Keep memory bounded: forget everything once there is too much."""
        for store in (self.pieces, self.layouts):
            if len(store) > self.capacity:
                store.clear()


def lay_out(graph: LayeredInput, viewport: Viewport, cache: LayoutCache | None = None) -> LayeredLayout:
    """Lay out a graph in ranks from top to bottom, folded into columns as fits `viewport`.

    Deterministic. Boxes never overlap, edges never pass through boxes. Equal graphs come from the cache.
    """
    cache = cache if cache is not None else LayoutCache()
    key = (graph.key(), viewport.width, viewport.height)
    if key not in cache.layouts:
        cache.trim()
        cache.layouts[key] = _lay_out(graph, viewport, cache)
    return cache.layouts[key]


def _lay_out(graph: LayeredInput, viewport: Viewport, cache: LayoutCache) -> LayeredLayout:
    if len(graph.widths) == 0:
        empty = np.zeros(0)
        return LayeredLayout(
            empty, empty, np.zeros((0, 2)), np.zeros(1, np.int64), 0.0, 0.0, 1, np.zeros(0, dtype=np.bool_)
        )
    ranking = _rank(graph)
    rank = np.array(ranking.rank, dtype=np.int64)
    is_upward = np.zeros(len(graph.sources), dtype=np.bool_)
    is_upward[ranking.back_edges] = True
    is_beside = is_upward | (rank[graph.targets] - rank[graph.sources] > LONGEST_LAID_OUT)
    ribbon = _ribbon(graph, rank, is_beside, cache)
    cuts = choose_cuts(ribbon.ranks, _tensors_below(graph, rank, is_beside), viewport)
    columns = _Columns(graph, rank, is_beside, cuts).lay_out(cache) if cuts else [_one_column(ribbon, is_beside)]
    ends = Ends(graph.heights, graph.sources, graph.targets, graph.source_dx, graph.target_dx)
    folded = put_together(columns, ends, np.flatnonzero(is_beside).tolist())
    return LayeredLayout(
        folded.x - graph.widths / 2,
        folded.y,
        folded.points,
        folded.starts,
        folded.width,
        folded.height,
        folded.columns,
        is_upward,
    )


def _rank(graph: LayeredInput) -> Ranking:
    return rank_nodes(len(graph.widths), graph.sources.tolist(), graph.targets.tolist(), graph.pins.tolist())


def _one_column(ribbon: Ribbon, is_beside: NDArray[np.bool_]) -> Column:
    return Column(ribbon, np.arange(len(ribbon.x)), np.flatnonzero(~is_beside))


def _tensors_below(
    graph: LayeredInput, rank: NDArray[np.int64], is_beside: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """How many different tensors pass the gap below each rank."""
    count = int(rank.max()) + 1
    last = np.zeros(len(rank), dtype=np.int64)
    laid = ~is_beside
    np.maximum.at(last, graph.sources[laid], rank[graph.targets[laid]])
    senders = np.unique(graph.sources[laid])
    change = np.zeros(count + 1, dtype=np.int64)
    np.add.at(change, rank[senders], 1)
    np.add.at(change, last[senders], -1)
    return np.cumsum(change)[:count]


class _Columns:
    """Cuts a ranked graph into columns and lays each out by itself, with ports for the tensors that cross.

    So a skip connection lies beside its own column's boxes, however wide the column before was.
    """

    def __init__(
        self, graph: LayeredInput, rank: NDArray[np.int64], is_beside: NDArray[np.bool_], cuts: list[int]
    ) -> None:
        self._graph = graph
        self._column_of = np.searchsorted(np.array(cuts), rank, side="left")
        self._local = np.zeros(len(rank), dtype=np.int64)
        self._nodes = [np.flatnonzero(self._column_of == i) for i in range(len(cuts) + 1)]
        for nodes in self._nodes:
            self._local[nodes] = np.arange(len(nodes))
        self._edges: list[list[int]] = [[] for _ in self._nodes]
        self._ends: list[list[tuple[int, int, float, float]]] = [[] for _ in self._nodes]
        self._pins: list[list[int]] = [[0] * len(nodes) for nodes in self._nodes]
        self._ports: dict[tuple[int, float, int, int], int] = {}
        for edge in np.flatnonzero(~is_beside).tolist():
            self._divide(edge)

    def _divide(self, edge: int) -> None:
        """Give each column the edge's part in it, from port to port where it crosses."""
        graph = self._graph
        source, target = int(graph.sources[edge]), int(graph.targets[edge])
        source_dx, target_dx = float(graph.source_dx[edge]), float(graph.target_dx[edge])
        first, last = int(self._column_of[source]), int(self._column_of[target])
        for column in range(first, last + 1):
            is_start, is_end = column == first, column == last
            a = int(self._local[source]) if is_start else self._port(source, source_dx, column, TOP_PORT)
            b = int(self._local[target]) if is_end else self._port(source, source_dx, column, BOTTOM_PORT)
            self._edges[column].append(edge)
            self._ends[column].append((a, b, source_dx if is_start else 0.0, target_dx if is_end else 0.0))

    def _port(self, source: int, source_dx: float, column: int, side: int) -> int:
        key = (source, source_dx, column, side)
        if key not in self._ports:
            self._ports[key] = len(self._pins[column])
            self._pins[column].append(side)
        return self._ports[key]

    def lay_out(self, cache: LayoutCache) -> list[Column]:
        """Every column as a ribbon."""
        return [self._column(i, cache) for i in range(len(self._nodes))]

    def _column(self, i: int, cache: LayoutCache) -> Column:
        nodes = self._nodes[i]
        ports = np.zeros(len(self._pins[i]) - len(nodes))
        own_pins = self._graph.pins[nodes]
        pins = np.array(self._pins[i], dtype=np.int8)
        pins[: len(nodes)] = own_pins
        ends = np.array(self._ends[i], dtype=np.float64).reshape(-1, 4)
        part = LayeredInput(
            np.concatenate([self._graph.widths[nodes], ports]),
            np.concatenate([self._graph.heights[nodes], ports]),
            ends[:, 0].astype(np.int64),
            ends[:, 1].astype(np.int64),
            ends[:, 2].copy(),
            ends[:, 3].copy(),
            pins,
        )
        rank = np.array(_rank(part).rank, dtype=np.int64)
        ribbon = _ribbon(part, rank, np.zeros(len(ends), dtype=np.bool_), cache)
        return Column(ribbon, nodes, np.array(self._edges[i], dtype=np.int64))


def _ribbon(
    graph: LayeredInput, rank: NDArray[np.int64], is_beside: NDArray[np.bool_], cache: LayoutCache
) -> Ribbon:
    """Lay the pieces out below one another. Edges beside the ranks are left out."""
    order = np.argsort(rank, kind="stable")
    inside = np.flatnonzero(~is_beside)
    edges = inside[np.argsort(rank[graph.sources[inside]], kind="stable")]
    bounds = _piece_bounds(rank, rank[graph.sources[edges]], rank[graph.targets[edges]])
    assembly = _Assembly(graph, rank, order, edges)
    for first, last in bounds:
        assembly.append(first, last, cache)
    return assembly.ribbon(inside)


def _piece_bounds(
    rank: NDArray[np.int64], source_rank: NDArray[np.int64], target_rank: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """First and last rank of every piece; neighbours share the rank at which they are cut."""
    count = int(rank.max()) + 1
    population = np.bincount(rank, minlength=count)
    passing = np.zeros(count + 1, dtype=np.int64)
    np.add.at(passing, source_rank + 1, 1)
    np.add.at(passing, target_rank, -1)
    is_cut = (population == 1) & (np.cumsum(passing[:count]) == 0)
    cuts = np.flatnonzero(is_cut).tolist()
    limits = sorted({0, *cuts, count - 1})
    return list(pairwise(limits)) or [(0, 0)]


def _axes(graph: LayeredInput) -> NDArray[np.float64]:
    """Where each box is lined up with its neighbours, seen from its centre: where its first tensor enters.

    A folded frame ends far to the right of where it began. What follows it begins below its beginning, as a line of
    text does, and not below its end: a chain of such frames would become a stair.
    """
    axis = np.zeros(len(graph.widths))
    for ends, ports in ((graph.sources, graph.source_dx), (graph.targets, graph.target_dx)):
        nodes, first = np.unique(ends, return_index=True)
        axis[nodes] = ports[first]
    return axis


class _Assembly:
    """Collects pieces into a ribbon: each continues where the one before ended."""

    def __init__(
        self, graph: LayeredInput, rank: NDArray[np.int64], order: NDArray[np.int64], edges: NDArray[np.int64]
    ) -> None:
        self._graph, self._rank, self._order, self._edges = graph, rank, order, edges
        count = int(rank.max()) + 1
        self._node_limits = np.searchsorted(rank[order], np.arange(count + 1)).tolist()
        self._edge_limits = np.searchsorted(rank[graph.sources[edges]], np.arange(count + 1)).tolist()
        slot = np.empty(len(order), dtype=np.int64)
        slot[order] = np.arange(len(order))
        self._rank_sorted = rank[order]
        self._widths, self._heights = graph.widths[order], graph.heights[order]
        self._sources, self._targets = slot[graph.sources[edges]], slot[graph.targets[edges]]
        self._source_dx, self._target_dx = graph.source_dx[edges], graph.target_dx[edges]
        self._axis = _axes(graph)[order]
        self._x = np.zeros(len(order))
        self._table = np.zeros((count, 4))
        self._points: list[NDArray[np.float64]] = []
        self._counts: list[NDArray[np.int64]] = []
        self._shift_x = 0.0
        self._shift_y = 0.0

    def append(self, first: int, last: int, cache: LayoutCache) -> None:
        """Add the piece of the ranks `first` … `last`."""
        nodes = slice(self._node_limits[first], self._node_limits[last + 1])
        edges = slice(self._edge_limits[first], self._edge_limits[last])
        if first == 0 and last == 0:
            edges = slice(0, 0)
        base = nodes.start
        local = (
            self._rank_sorted[nodes] - first,
            self._widths[nodes],
            self._heights[nodes],
            self._axis[nodes],
            self._sources[edges] - base,
            self._targets[edges] - base,
            self._source_dx[edges],
            self._target_dx[edges],
        )
        key = tuple(part.tobytes() for part in local)
        piece = cache.pieces.get(key)
        if piece is None:
            piece = place_piece(PieceInput(*(part.tolist() for part in local)))
            cache.pieces[key] = piece
        self._put(piece, nodes, first, last)

    def _put(self, piece: Piece, nodes: slice, first: int, last: int) -> None:
        is_joined = first > 0 and nodes.start > 0
        shift_x = self._x[nodes.start] - piece.x[0] if is_joined else 0.0
        self._x[nodes] = piece.x + shift_x
        shift = np.array([shift_x, self._shift_y])
        self._table[first : last + 1] = piece.ranks + np.array([shift[1], shift[1], shift[0], shift[0]])
        self._points.append(piece.points + shift)
        self._counts.append(piece.point_counts)
        self._shift_y += float(piece.ranks[-1, 0])

    def ribbon(self, edges: NDArray[np.int64]) -> Ribbon:
        """Everything collected: nodes in the graph's numbering, routes in the order of `edges`."""
        x = np.empty(len(self._x))
        x[self._order] = self._x
        position = np.zeros(len(self._graph.sources), dtype=np.int64)
        position[edges] = np.arange(len(edges))
        slot = position[self._edges]
        collected = np.concatenate(self._counts) if self._counts else np.zeros(0, dtype=np.int64)
        counts = np.zeros(len(edges), dtype=np.int64)
        counts[slot] = collected
        starts = np.concatenate(([0], np.cumsum(counts)))
        points = np.concatenate(self._points) if self._points else np.zeros((0, 2))
        begin = np.cumsum(collected) - collected
        routed = np.empty_like(points)
        routed[np.repeat(starts[slot] - begin, collected) + np.arange(len(points))] = points
        return Ribbon(x, self._table[self._rank, 0], self._rank, self._table, routed, starts)
