"""One piece of a layered layout: the ranks between two places where a single tensor passes. No Qt.

Edges run down only: straight through ranks, with corners in the gaps between ranks, where every tensor that moves
sideways has a lane of its own. So no edge touches an operator it does not belong to. Edges that leave one operator
share their way until they part: one tensor, one line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gui.canvas.ordering import order_ranks
from gui.canvas.placement import Link, place

LABEL_SPACE = 20.0
LANE = 8.0
ARROW_SPACE = 16.0
PLAIN_GAP = 34.0
PORT_GAP = 12.0
_PORT_SPREAD = 22.0
# Ordering the lanes of a gap is quadratic; a gap with more movers than this (no legible one has) shares its lanes.
_MOST_ORDERED_LANES = 150
_STRAIGHT = 0.5
_NEAR_AXIS = 30.0


@dataclass(frozen=True, eq=False)
class PieceInput:
    """Nodes `[n]` in the order of `rank` (from 0, no gaps), edges `[e]`; `*_dx` are ports seen from the centres.

    `axis[n]`: where a box is lined up with its neighbours, seen from its centre.
    """

    rank: list[int]
    widths: list[float]
    heights: list[float]
    axis: list[float]
    sources: list[int]
    targets: list[int]
    source_dx: list[float]
    target_dx: list[float]


@dataclass(frozen=True, eq=False)
class Piece:
    """A placed piece: node centres x `[n]`, the routes' corners, and per rank its top, bottom, left and right end."""

    x: NDArray[np.float64]
    points: NDArray[np.float64]
    point_counts: NDArray[np.int64]
    ranks: NDArray[np.float64]


@dataclass
class _Net:
    """Nodes and dummies, and per edge the way it takes through them."""

    rank: list[int]
    half_width: list[float]
    height: list[float]
    is_dummy: list[bool]
    paths: list[list[int]]
    links: list[Link]


def place_piece(piece: PieceInput) -> Piece:
    """Order, place and route one piece. The top of its first rank is y = 0; x is relative."""
    net = _with_dummies(piece)
    up: list[list[int]] = [[] for _ in net.rank]
    down: list[list[int]] = [[] for _ in net.rank]
    for link in net.links:
        down[link.source].append(link.target)
        up[link.target].append(link.source)
    ranks = order_ranks(net.rank, up, down, net.is_dummy)
    x = place(ranks, net.links, net.half_width, net.is_dummy)
    entries = _entries(piece, net, x)
    steps = _steps(piece, net, x, entries)
    lanes, lane_counts = _lanes(steps, net.rank, len(ranks))
    tops, bottoms = _rank_edges(ranks, net, lane_counts)
    table = np.empty((len(ranks), 4))
    table[:, 0], table[:, 1] = tops, bottoms
    for r, nodes in enumerate(ranks):
        table[r, 2] = min(x[v] - net.half_width[v] for v in nodes)
        table[r, 3] = max(x[v] + net.half_width[v] for v in nodes)
    points, counts = _routes(net, steps, lanes, lane_counts, tops)
    return Piece(np.array(x[: len(piece.rank)]), points, counts, table)


def _with_dummies(piece: PieceInput) -> _Net:
    """Break edges over several ranks into steps of one; edges from the same port share their steps."""
    count = len(piece.rank)
    net = _Net(
        list(piece.rank), [w / 2 for w in piece.widths], list(piece.heights), [False] * count, [], []
    )
    shared: dict[tuple[int, float, int], int] = {}
    linked: dict[tuple[int, int, float], None] = {}
    for source, target, source_dx, target_dx in zip(
        piece.sources, piece.targets, piece.source_dx, piece.target_dx, strict=True
    ):
        path = [source]
        for r in range(piece.rank[source] + 1, piece.rank[target]):
            key = (source, source_dx, r)
            if key not in shared:
                shared[key] = len(net.rank)
                net.rank.append(r)
                net.half_width.append(0.0)
                net.height.append(0.0)
                net.is_dummy.append(True)
            path.append(shared[key])
        path.append(target)
        net.paths.append(path)
        last = len(path) - 2
        leave = _line_up_at(piece, source, target, source_dx)
        enter = _line_up_at(piece, target, source, target_dx)
        for i, (a, b) in enumerate(pairwise(path)):
            shift = (leave if i == 0 else 0.0) - (enter if i == last else 0.0)
            linked.setdefault((a, b, shift))
    net.links.extend(Link(*key) for key in linked)
    return net


def _line_up_at(piece: PieceInput, node: int, other: int, dx: float) -> float:
    """Where a link meets a box: at its port, if that is near the box's axis or leads to the rim, else at the axis."""
    is_rim = piece.heights[other] == 0
    return dx if is_rim or abs(dx - piece.axis[node]) <= _NEAR_AXIS else piece.axis[node]


def _entries(piece: PieceInput, net: _Net, x: Sequence[float]) -> list[float]:
    """Where on its target's upper side each edge arrives, x seen from the centre. Several edges are spread."""
    entries = list(piece.target_dx)
    arriving: dict[int, list[int]] = defaultdict(list)
    for edge, target in enumerate(piece.targets):
        arriving[target].append(edge)
    for target, edges in arriving.items():
        if len(edges) < 2 or piece.widths[target] == 0 or any(piece.target_dx[e] for e in edges):
            continue
        came_from = {e: _previous_x(piece, net, x, e) for e in edges}
        order = sorted(edges, key=lambda e: (came_from[e], e))
        middle = (len(order) - 1) / 2
        for i, edge in enumerate(order):
            if abs(came_from[edge] - x[target]) < _STRAIGHT:
                middle = float(i)
                break
        reach = max(middle, len(order) - 1 - middle)
        spread = min(_PORT_SPREAD, (piece.widths[target] / 2 - 10) / reach)
        for i, edge in enumerate(order):
            entries[edge] = (i - middle) * spread
    return entries


def _previous_x(piece: PieceInput, net: _Net, x: Sequence[float], edge: int) -> float:
    path = net.paths[edge]
    return x[path[-2]] + (piece.source_dx[edge] if len(path) == 2 else 0.0)


@dataclass(frozen=True)
class _Step:
    """An edge's way across one gap."""

    source: int
    leave: float
    enter: float


def _steps(piece: PieceInput, net: _Net, x: Sequence[float], entries: Sequence[float]) -> list[list[_Step]]:
    steps: list[list[_Step]] = []
    for edge, path in enumerate(net.paths):
        ends = [x[v] for v in path]
        last = len(path) - 2
        steps.append(
            [
                _Step(
                    path[i],
                    ends[i] + (piece.source_dx[edge] if i == 0 else 0.0),
                    ends[i + 1] + (entries[edge] if i == last else 0.0),
                )
                for i in range(last + 1)
            ]
        )
    return steps


def _lanes(
    steps: Sequence[Sequence[_Step]], rank: Sequence[int], rank_count: int
) -> tuple[dict[tuple[int, float], int], list[int]]:
    """A lane for every tensor that moves sideways: (its node, where it leaves) -> lane, and the lanes of each gap."""
    spans: list[dict[tuple[int, float], list[float]]] = [{} for _ in range(rank_count)]
    for path in steps:
        for step in path:
            if abs(step.leave - step.enter) >= _STRAIGHT:
                span = spans[rank[step.source]].setdefault((step.source, step.leave), [step.leave, step.leave])
                span[0] = min(span[0], step.enter)
                span[1] = max(span[1], step.enter)
    lanes: dict[tuple[int, float], int] = {}
    counts: list[int] = []
    for gap in spans:
        used = _lanes_of_gap(gap)
        lanes.update(used)
        counts.append(1 + max(used.values(), default=-1))
    return lanes, counts


def _lanes_of_gap(gap: dict[tuple[int, float], list[float]]) -> dict[tuple[int, float], int]:
    """Tensors going right take lanes from the rightmost down, those going left from the leftmost: few crossings."""
    if len(gap) == 1:
        return dict.fromkeys(gap, 0)

    def urgency(item: tuple[tuple[int, float], list[float]]) -> tuple[bool, float, int]:
        (node, leave), (low, high) = item
        goes_right = high - leave >= leave - low
        return (not goes_right, -leave if goes_right else leave, node)

    ordered = sorted(gap.items(), key=urgency)
    if len(ordered) > _MOST_ORDERED_LANES:
        return {key: i % 12 for i, (key, _) in enumerate(ordered)}
    lanes: dict[tuple[int, float], int] = {}
    placed: list[tuple[float, float, int]] = []
    for key, (low, high) in ordered:
        lane = 1 + max((ln for lo, hi, ln in placed if lo <= high + LANE and low - LANE <= hi), default=-1)
        lanes[key] = lane
        placed.append((low, high, lane))
    return lanes


def _rank_edges(
    ranks: Sequence[Sequence[int]], net: _Net, lane_counts: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Top and bottom of every rank."""
    tops: list[float] = []
    bottoms: list[float] = []
    y = 0.0
    is_port_rank = [not any(net.height[v] for v in nodes) for nodes in ranks]
    for r, (nodes, lanes) in enumerate(zip(ranks, lane_counts, strict=True)):
        tops.append(y)
        y += max(net.height[v] for v in nodes)
        bottoms.append(y)
        is_port_gap = is_port_rank[r] or (r + 1 < len(ranks) and is_port_rank[r + 1])
        y += _gap_height(lanes, is_port_gap)
    return tops, bottoms


def _gap_height(lanes: int, is_port_gap: bool) -> float:
    if lanes == 0:
        return PORT_GAP if is_port_gap else PLAIN_GAP
    return (LANE if is_port_gap else LABEL_SPACE) + lanes * LANE + ARROW_SPACE


def _routes(
    net: _Net,
    steps: Sequence[Sequence[_Step]],
    lanes: dict[tuple[int, float], int],
    lane_counts: Sequence[int],
    tops: Sequence[float],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Corners of every edge, from the lower side of its source to the upper side of its target."""
    points: list[tuple[float, float]] = []
    counts: list[int] = []
    for path, way in zip(net.paths, steps, strict=True):
        start = len(points)
        first = path[0]
        points.append((way[0].leave, tops[net.rank[first]] + net.height[first]))
        for step in way:
            if abs(step.leave - step.enter) >= _STRAIGHT:
                r = net.rank[step.source]
                lanes_below = lane_counts[r] - 1 - lanes[(step.source, step.leave)]
                y = tops[r + 1] - ARROW_SPACE - LANE * lanes_below
                points.append((step.leave, y))
                points.append((step.enter, y))
        points.append((way[-1].enter, tops[net.rank[path[-1]]]))
        counts.append(len(points) - start)
    return np.array(points, dtype=np.float64).reshape(-1, 2), np.array(counts, dtype=np.int64)
