"""Folds the tall ribbon of a layered layout into columns, with connectors between them. No Qt.

Columns are read like a newspaper's: down, then on at the top of the next. A tensor that goes on in the next column
leaves below its own, rises in the gutter between both and enters from above. Edges kept out of the ranks (very long
ones, and those that close a cycle) use the gutters' lanes as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LANE = 8.0
GUTTER = 44.0
CHANNEL = 18.0
_MOST_COLUMNS = 64
# One more column must enlarge the fitted view by this much to be worth its connectors.
_WORTH_A_COLUMN = 1.04
# A column may stay a third empty to end where fewer tensors pass; each one beyond the first counts as a tenth.
_REACH = 0.34
_TENSOR_COST = 0.1
# Column heights tried, in shares of the even one, and how many more columns without gain end the search.
_SLACK = (1.03, 1.15, 1.35)
_PATIENCE = 5
# Up to so many ranks the narrowest columns are searched for; more are wrapped greedily. A tensor cut beyond the first
# counts as so many lanes: a connector costs the reader more than its width.
_MOST_SEARCHED_RANKS = 150
_LANES_LIKE_TENSORS = 4


@dataclass(frozen=True)
class Viewport:
    """The room a layout should fit, in units of the scene: beyond it the layout is folded."""

    width: float = 1400.0
    height: float = 900.0


UNBOUNDED = Viewport(1e12, 1e12)


@dataclass(frozen=True, eq=False)
class Ribbon:
    """A layout in one column. Node centres `x[n]`, upper sides `y[n]`; `ranks[r]` is top, bottom, left, right end.

    `points[starts[e]:starts[e + 1]]` is edge e's route, empty where `is_beside[e]`.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    heights: NDArray[np.float64]
    rank: NDArray[np.int64]
    ranks: NDArray[np.float64]
    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    source_dx: NDArray[np.float64]
    target_dx: NDArray[np.float64]
    is_beside: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Folded:
    """The layout in columns, its upper left corner at (0, 0)."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    width: float
    height: float
    columns: int


def fold(ribbon: Ribbon, viewport: Viewport) -> Folded:
    """Fold a ribbon into as many columns as make it largest in `viewport`; one column where it fits anyway."""
    cuts = _choose_cuts(ribbon, viewport)
    return _Folding(ribbon, cuts).result()


def _choose_cuts(ribbon: Ribbon, viewport: Viewport) -> list[int]:
    """Ranks after which a column ends."""
    best: list[int] = []
    scale = _fit(ribbon, best, viewport)
    rank_count = len(ribbon.ranks)
    if scale >= 1.0:
        return best
    tensors = _tensors_cut(ribbon)
    total = float(ribbon.ranks[-1, 1] - ribbon.ranks[0, 0])
    wrap = _narrowest if rank_count <= _MOST_SEARCHED_RANKS else _wrap
    stalled = 0
    for columns in range(2, min(_MOST_COLUMNS, rank_count) + 1):
        before = scale
        for slack in _SLACK:
            cuts = wrap(ribbon, tensors, total / columns * slack)
            fitted = _fit(ribbon, cuts, viewport)
            # Of the ways to wrap into as many columns any better one counts; a column more must be worth it.
            if fitted > scale * (_WORTH_A_COLUMN if len(cuts) > len(best) else 1.0):
                best, scale = cuts, fitted
        stalled = 0 if scale > before else stalled + 1
        if scale >= 1.0 or stalled > _PATIENCE:
            break
    return best


def _fit(ribbon: Ribbon, cuts: list[int], viewport: Viewport) -> float:
    """The scale at which these columns fit the viewport, at most 1."""
    width = height = 0.0
    for first, last in _column_ranks(len(ribbon.ranks), cuts):
        ranks = ribbon.ranks[first : last + 1]
        width += float(ranks[:, 3].max() - ranks[:, 2].min()) + GUTTER
        height = max(height, float(ranks[-1, 1] - ranks[0, 0]))
    height += 2 * CHANNEL if cuts else 0.0
    return min(1.0, viewport.width / max(width - GUTTER, 1.0), viewport.height / max(height, 1.0))


def _column_ranks(rank_count: int, cuts: list[int]) -> list[tuple[int, int]]:
    return list(zip([0, *(cut + 1 for cut in cuts)], [*cuts, rank_count - 1], strict=True))


def _tensors_cut(ribbon: Ribbon) -> NDArray[np.int64]:
    """How many different tensors pass the gap below each rank."""
    count = len(ribbon.ranks)
    laid = ~ribbon.is_beside
    last = np.zeros(len(ribbon.x), dtype=np.int64)
    np.maximum.at(last, ribbon.sources[laid], ribbon.rank[ribbon.targets[laid]])
    senders = np.unique(ribbon.sources[laid])
    change = np.zeros(count + 1, dtype=np.int64)
    np.add.at(change, ribbon.rank[senders], 1)
    np.add.at(change, last[senders], -1)
    return np.cumsum(change)[:count]


def _narrowest(ribbon: Ribbon, tensors: NDArray[np.int64], column: float) -> list[int]:
    """The cuts into columns of at most this height (or one rank) whose widths, gutters included, are least in sum."""
    tops, bottoms, lefts, rights = ribbon.ranks.T.tolist()
    passing = tensors.tolist()
    best = [0.0] + [float("inf")] * len(tops)
    cut_before = [0] * (len(tops) + 1)
    for last in range(len(tops)):
        left, right = float("inf"), float("-inf")
        for first in range(last, -1, -1):
            if first < last and bottoms[last] - tops[first] > column:
                break
            left, right = min(left, lefts[first]), max(right, rights[first])
            gutter = GUTTER + LANE * _LANES_LIKE_TENSORS * (passing[first - 1] - 1) if first else 0.0
            width = best[first] + right - left + gutter
            if width < best[last + 1]:
                best[last + 1], cut_before[last + 1] = width, first
    cuts: list[int] = []
    end = len(tops)
    while cut_before[end] > 0:
        end = cut_before[end]
        cuts.append(end - 1)
    return cuts[::-1]


def _wrap(ribbon: Ribbon, tensors: NDArray[np.int64], column: float) -> list[int]:
    """Cuts as in wrapped text: each column as full as `column` allows, ending where few tensors pass."""
    tops, ends = ribbon.ranks[:, 0], ribbon.ranks[:, 1]
    cuts: list[int] = []
    first = 0
    while True:
        limit = float(tops[first]) + column
        high = max(int(np.searchsorted(ends, limit, side="right")), first + 1)
        if high >= len(ends):
            return cuts
        low = max(int(np.searchsorted(ends, limit - _REACH * column)), first)
        low = min(low, high - 1)
        waste = (limit - ends[low:high]) / column
        cost = waste + _TENSOR_COST * np.maximum(tensors[low:high] - 1, 0)
        cuts.append(low + int(np.argmin(cost)))
        first = cuts[-1] + 1


@dataclass
class _Lanes:
    """The lanes of one gutter: each holds edges whose vertical extents do not touch."""

    taken: list[list[tuple[float, float]]]

    def claim(self, top: float, bottom: float) -> int:
        for lane, spans in enumerate(self.taken):
            if all(bottom + LANE < low or high + LANE < top for low, high in spans):
                spans.append((top, bottom))
                return lane
        self.taken.append([(top, bottom)])
        return len(self.taken) - 1


@dataclass(frozen=True)
class _Crossing:
    """A tensor that goes on in the next column: where it leaves and enters, in the ribbon's x."""

    source: int
    leave: float


class _Folding:
    """Places the columns, then rewrites the routes that cross a fold or run in a gutter."""

    def __init__(self, ribbon: Ribbon, cuts: list[int]) -> None:
        self._ribbon = ribbon
        self._cuts = np.array(cuts, dtype=np.int64)
        self._spans = _column_ranks(len(ribbon.ranks), cuts)
        self._column_of_rank = np.searchsorted(self._cuts, np.arange(len(ribbon.ranks)), side="left")
        self._source_column = self._column_of_rank[ribbon.rank[ribbon.sources]]
        self._target_column = self._column_of_rank[ribbon.rank[ribbon.targets]]
        is_cut = ~ribbon.is_beside & (self._source_column != self._target_column)
        self._crossing = np.flatnonzero(is_cut).tolist()
        self._beside = np.flatnonzero(ribbon.is_beside).tolist()
        self._connectors = self._find_connectors()
        self._gutters = [_Lanes([]) for _ in range(len(self._spans) + 1)]
        self._beside_lanes = {edge: self._claim(edge) for edge in self._beside}
        self._place_columns()

    # -- what crosses ------------------------------------------------------------------------------------------
    def _find_connectors(self) -> list[dict[_Crossing, int]]:
        """Per fold the tensors that cross it, each with its lane, the rightmost first (so that they nest)."""
        found: list[set[_Crossing]] = [set() for _ in self._cuts]
        for edge in self._crossing:
            for column in range(int(self._source_column[edge]), int(self._target_column[edge])):
                found[column].add(self._crossing_at(edge, column))
        return [
            {c: lane for lane, c in enumerate(sorted(some, key=lambda c: (-c.leave, c.source)))} for some in found
        ]

    def _route(self, edge: int) -> NDArray[np.float64]:
        return self._ribbon.points[self._ribbon.starts[edge] : self._ribbon.starts[edge + 1]]

    def _crossing_at(self, edge: int, column: int) -> _Crossing:
        bottom = self._ribbon.ranks[self._cuts[column], 1]
        route = self._route(edge)
        leave = float(route[int(np.searchsorted(route[:, 1], bottom + 1e-6)) - 1, 0])
        return _Crossing(int(self._ribbon.sources[edge]), leave)

    def _claim(self, edge: int) -> tuple[int, int]:
        """Lanes of an edge beside the columns: right of its source's column, and left of its target's."""
        source_y, target_y = self._ends_y(edge)
        first, last = int(self._source_column[edge]), int(self._target_column[edge])
        if first == last:
            return self._gutters[first + 1].claim(min(source_y, target_y), max(source_y, target_y)), -1
        return self._gutters[first + 1].claim(source_y, 1e12), self._gutters[last].claim(target_y, 1e12)

    def _ends_y(self, edge: int) -> tuple[float, float]:
        """Where an edge beside the columns leaves below its source's rank and arrives above its target's."""
        ribbon = self._ribbon
        below = ribbon.ranks[ribbon.rank[ribbon.sources[edge]], 1] + LANE
        above = ribbon.ranks[ribbon.rank[ribbon.targets[edge]], 0] - LANE
        source_top = ribbon.ranks[self._spans[int(self._source_column[edge])][0], 0]
        target_top = ribbon.ranks[self._spans[int(self._target_column[edge])][0], 0]
        return float(below - source_top), float(above - target_top)

    # -- where the columns go ----------------------------------------------------------------------------------
    def _place_columns(self) -> None:
        ribbon = self._ribbon
        most = max((len(lanes) for lanes in self._connectors), default=0)
        has_upper_lane = any(self._ends_y(edge)[1] < 0 for edge in self._beside)
        self._top = CHANNEL + most * LANE if most else (2 * LANE if has_upper_lane else 0.0)
        self._dx: list[float] = []
        self._dy: list[float] = []
        self._gutter_x: list[float] = []
        x = 0.0
        height = 0.0
        for column, (first, last) in enumerate(self._spans):
            ranks = ribbon.ranks[first : last + 1]
            connectors = len(self._connectors[column - 1]) if column else 0
            lanes = connectors + len(self._gutters[column].taken)
            self._gutter_x.append(x + GUTTER / 2)
            x += GUTTER + lanes * LANE if column or lanes else 0.0
            self._dx.append(x - float(ranks[:, 2].min()))
            self._dy.append(self._top - float(ranks[0, 0]))
            x += float(ranks[:, 3].max() - ranks[:, 2].min())
            height = max(height, self._top + float(ranks[-1, 1] - ranks[0, 0]))
        self._gutter_x.append(x + GUTTER / 2)
        last_lanes = len(self._gutters[-1].taken)
        self._width = x + (GUTTER / 2 + last_lanes * LANE if last_lanes else 0.0)
        far = [e for e in self._beside if self._source_column[e] != self._target_column[e]]
        self._floor = {edge: height + CHANNEL + (most + i) * LANE for i, edge in enumerate(far)}
        bottom = CHANNEL + most * LANE if most else 0.0
        self._height = max([height + bottom, *(y + LANE for y in self._floor.values())])

    # -- the routes --------------------------------------------------------------------------------------------
    def result(self) -> Folded:
        ribbon = self._ribbon
        column = self._column_of_rank[ribbon.rank]
        dx, dy = np.array(self._dx), np.array(self._dy)
        special = {edge: self._folded_route(edge) for edge in self._crossing}
        special.update((edge, self._beside_route(edge)) for edge in self._beside)
        points, starts = self._all_routes(dx, dy, special)
        return Folded(
            ribbon.x + dx[column],
            ribbon.y + dy[column],
            points,
            starts,
            float(self._width),
            float(self._height),
            len(self._spans),
        )

    def _all_routes(
        self, dx: NDArray[np.float64], dy: NDArray[np.float64], special: dict[int, NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        ribbon = self._ribbon
        counts = np.diff(ribbon.starts)
        edge_of_point = np.repeat(np.arange(len(counts)), counts)
        column = self._source_column[edge_of_point]
        moved = ribbon.points + np.stack([dx[column], dy[column]], axis=1)
        if not special:
            return moved, ribbon.starts
        for edge, route in special.items():
            counts[edge] = len(route)
        starts = np.concatenate(([0], np.cumsum(counts)))
        points = np.empty((int(starts[-1]), 2))
        is_special = np.zeros(len(counts), dtype=np.bool_)
        is_special[list(special)] = True
        plain = ~is_special[edge_of_point]
        within = np.arange(len(moved)) - ribbon.starts[edge_of_point]
        points[starts[edge_of_point[plain]] + within[plain]] = moved[plain]
        for edge, route in special.items():
            points[starts[edge] : starts[edge + 1]] = route
        return points, starts

    def _folded_route(self, edge: int) -> NDArray[np.float64]:
        """Cut the route at each fold it crosses and join the parts by connectors."""
        route = self._route(edge)
        ribbon = self._ribbon
        parts: list[NDArray[np.float64]] = []
        begin = 0
        for column in range(int(self._source_column[edge]), int(self._target_column[edge])):
            cut = int(self._cuts[column])
            bottom, top = ribbon.ranks[cut, 1], ribbon.ranks[cut + 1, 0]
            end = int(np.searchsorted(route[:, 1], bottom + 1e-6))
            resume = int(np.searchsorted(route[:, 1], top - 1e-6))
            enter = float(route[resume - 1, 0])
            parts.append(route[begin:end] + self._shift(column))
            parts.append(self._connector(edge, column, enter))
            begin = resume
        parts.append(route[begin:] + self._shift(int(self._target_column[edge])))
        return np.concatenate(parts)

    def _shift(self, column: int) -> NDArray[np.float64]:
        return np.array([self._dx[column], self._dy[column]])

    def _connector(self, edge: int, column: int, enter: float) -> NDArray[np.float64]:
        crossing = self._crossing_at(edge, column)
        lanes = self._connectors[column]
        lane = lanes[crossing]
        below = self._ribbon.ranks[self._cuts[column], 1] + self._dy[column] + CHANNEL + lane * LANE
        gutter = self._gutter_x[column + 1] + lane * LANE
        above = self._top - CHANNEL - (len(lanes) - 1 - lane) * LANE
        leave_x = crossing.leave + self._dx[column]
        enter_x = enter + self._dx[column + 1]
        return np.array([(leave_x, below), (gutter, below), (gutter, above), (enter_x, above)])

    def _beside_route(self, edge: int) -> NDArray[np.float64]:
        ribbon = self._ribbon
        source, target = int(ribbon.sources[edge]), int(ribbon.targets[edge])
        first, last = int(self._source_column[edge]), int(self._target_column[edge])
        leave_x = float(ribbon.x[source] + ribbon.source_dx[edge]) + self._dx[first]
        enter_x = float(ribbon.x[target] + ribbon.target_dx[edge]) + self._dx[last]
        start = (leave_x, float(ribbon.y[source] + ribbon.heights[source]) + self._dy[first])
        end = (enter_x, float(ribbon.y[target]) + self._dy[last])
        source_y, target_y = (y + self._top for y in self._ends_y(edge))
        out_lane, in_lane = self._beside_lanes[edge]
        out_x = self._lane_x(first + 1, out_lane)
        if first == last:
            corners = [(leave_x, source_y), (out_x, source_y), (out_x, target_y), (enter_x, target_y)]
        else:
            in_x, floor = self._lane_x(last, in_lane), self._floor[edge]
            corners = [(leave_x, source_y), (out_x, source_y), (out_x, floor)]
            corners += [(in_x, floor), (in_x, target_y), (enter_x, target_y)]
        return np.array([start, *corners, end])

    def _lane_x(self, gutter: int, lane: int) -> float:
        """x of a lane: those of the fold's connectors come first."""
        folds = len(self._connectors[gutter - 1]) if 0 < gutter < len(self._spans) else 0
        return self._gutter_x[gutter] + (folds + lane) * LANE
