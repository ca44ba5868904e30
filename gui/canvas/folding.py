"""Where a tall ribbon is cut into columns, and how columns and the tensors between them are put side by side. No Qt.

Columns are read like a newspaper's: down, then on at the top of the next. A tensor that goes on in the next column
leaves below its own, rises in the gutter between both and enters from above. Edges kept out of the ranks (very long
ones, and those that close a cycle) use the gutters' lanes as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LANE = 8.0
GUTTER = 40.0
CHANNEL = 18.0
_MOST_COLUMNS = 64
# One more column must enlarge the fitted view by this much to be worth its connectors.
_WORTH_A_COLUMN = 1.08
# A column may stay a third empty to end where fewer tensors pass; each one beyond the first counts as a tenth.
_REACH = 0.34
_TENSOR_COST = 0.1
# Column heights tried, in shares of the even one, and how many more columns without gain end the search.
_SLACK = (1.03, 1.15, 1.35)
_PATIENCE = 5
# Up to so many ranks the narrowest columns are searched for; more are wrapped greedily. A tensor that is cut counts as
# so many lanes: a connector costs the reader more than its width.
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
    """A layout in one column: node centres `x[n]`, upper sides `y[n]`, ranks, and routes of edges.

    `ranks[r]` is top, bottom, left and right end of rank r; edge e's corners are `points[starts[e]:starts[e + 1]]`.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    rank: NDArray[np.int64]
    ranks: NDArray[np.float64]
    points: NDArray[np.float64]
    starts: NDArray[np.int64]

    def route(self, edge: int) -> NDArray[np.float64]:
        """The corners of one edge."""
        return self.points[self.starts[edge] : self.starts[edge + 1]]


@dataclass(frozen=True, eq=False)
class Column:
    """Some consecutive ranks as a layout of their own; its first nodes are `nodes`, then come ports for what crosses.

    Edge i of `ribbon` is `edges[i]` of the whole.
    """

    ribbon: Ribbon
    nodes: NDArray[np.int64]
    edges: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ends:
    """What folding needs to know of the graph: the boxes' heights and the edges' ends and ports."""

    heights: NDArray[np.float64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    source_dx: NDArray[np.float64]
    target_dx: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Folded:
    """The layout in columns, its upper left corner at (0, 0). Node centres `x`, upper sides `y`."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    width: float
    height: float
    columns: int


# -- where to cut ---------------------------------------------------------------------------------------------------
def choose_cuts(ranks: NDArray[np.float64], tensors: NDArray[np.int64], viewport: Viewport) -> list[int]:
    """The ranks after which a column ends, so that the columns are largest in `viewport`; none if one column fits.

    `ranks [r, 4]`: top, bottom, left and right end of each; `tensors[r]`: how many tensors pass the gap below it.
    """
    best: list[int] = []
    scale = _fit(ranks, best, viewport)
    if scale >= 1.0:
        return best
    total = float(ranks[-1, 1] - ranks[0, 0])
    wrap = _narrowest if len(ranks) <= _MOST_SEARCHED_RANKS else _wrap
    stalled = 0
    for columns in range(2, min(_MOST_COLUMNS, len(ranks)) + 1):
        before = scale
        for slack in _SLACK:
            cuts = wrap(ranks, tensors, total / columns * slack)
            fitted = _fit(ranks, cuts, viewport)
            # Of the ways to wrap into as many columns any better one counts; a column more must be worth it.
            if fitted > scale * (_WORTH_A_COLUMN if len(cuts) > len(best) else 1.0):
                best, scale = cuts, fitted
        stalled = 0 if scale > before else stalled + 1
        if scale >= 1.0 or stalled > _PATIENCE:
            break
    return best


def column_ranks(rank_count: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    """First and last rank of each column."""
    return list(zip([0, *(cut + 1 for cut in cuts)], [*cuts, rank_count - 1], strict=True))


def _fit(ranks: NDArray[np.float64], cuts: list[int], viewport: Viewport) -> float:
    """The scale at which these columns fit the viewport, at most 1."""
    width = height = 0.0
    for first, last in column_ranks(len(ranks), cuts):
        column = ranks[first : last + 1]
        width += float(column[:, 3].max() - column[:, 2].min()) + GUTTER
        height = max(height, float(column[-1, 1] - column[0, 0]))
    height += 2 * CHANNEL if cuts else 0.0
    return min(1.0, viewport.width / max(width - GUTTER, 1.0), viewport.height / max(height, 1.0))


def _narrowest(ranks: NDArray[np.float64], tensors: NDArray[np.int64], column: float) -> list[int]:
    """The cuts into columns of at most this height (or one rank) whose widths, gutters included, are least in sum."""
    tops, bottoms, lefts, rights = ranks.T.tolist()
    passing = tensors.tolist()
    best = [0.0] + [float("inf")] * len(tops)
    cut_before = [0] * (len(tops) + 1)
    for last in range(len(tops)):
        left, right = float("inf"), float("-inf")
        for first in range(last, -1, -1):
            if first < last and bottoms[last] - tops[first] > column:
                break
            left, right = min(left, lefts[first]), max(right, rights[first])
            if bottoms[last] == tops[first]:
                continue  # nothing but ports: no column of its own
            gutter = GUTTER + LANE * _LANES_LIKE_TENSORS * passing[first - 1] if first else 0.0
            width = best[first] + right - left + gutter
            if width < best[last + 1]:
                best[last + 1], cut_before[last + 1] = width, first
    cuts: list[int] = []
    end = len(tops)
    while cut_before[end] > 0:
        end = cut_before[end]
        cuts.append(end - 1)
    return cuts[::-1]


def _wrap(ranks: NDArray[np.float64], tensors: NDArray[np.int64], column: float) -> list[int]:
    """Cuts as in wrapped text: each column as full as `column` allows, ending where few tensors pass."""
    tops, ends = ranks[:, 0], ranks[:, 1]
    has_boxes = ends > tops
    # Ports are no column of their own: cut only between the first and the last rank with boxes.
    earliest, latest = (int(has_boxes.argmax()), len(ends) - 2 - int(has_boxes[::-1].argmax()))
    cuts: list[int] = []
    first = 0
    while True:
        limit = float(tops[first]) + column
        high = max(int(np.searchsorted(ends, limit, side="right")), first + 1, earliest + 1)
        if high > latest:
            return cuts
        low = max(int(np.searchsorted(ends, limit - _REACH * column)), first, earliest)
        low = min(low, high - 1)
        waste = (limit - ends[low:high]) / column
        cost = waste + _TENSOR_COST * np.maximum(tensors[low:high] - 1, 0)
        cuts.append(low + int(np.argmin(cost)))
        first = cuts[-1] + 1


# -- side by side ---------------------------------------------------------------------------------------------------
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
class _Tensor:
    """What crosses a fold, by the x at which it leaves and enters its columns (in their own units)."""

    leave: float
    enter: float


def put_together(columns: Sequence[Column], ends: Ends, beside: Sequence[int]) -> Folded:
    """Columns side by side, top-aligned, with connectors; `beside` are the edges that run in the gutters' lanes."""
    return _Folding(columns, ends, beside).result()


class _Folding:
    """Places the columns, then joins the routes of edges that cross folds and draws those beside the columns."""

    def __init__(self, columns: Sequence[Column], ends: Ends, beside: Sequence[int]) -> None:
        self._columns = columns
        self._ends = ends
        self._beside = beside
        self._column_of = np.zeros(len(ends.heights), dtype=np.int64)
        self._slot_of = np.zeros(len(ends.heights), dtype=np.int64)
        for i, column in enumerate(columns):
            self._column_of[column.nodes] = i
            self._slot_of[column.nodes] = np.arange(len(column.nodes))
        self._parts = self._crossing_parts()
        self._connectors = self._find_connectors()
        self._gutters = [_Lanes([]) for _ in range(len(columns) + 1)]
        self._beside_lanes = {edge: self._claim(edge) for edge in beside}
        self._place_columns()

    # -- what crosses ------------------------------------------------------------------------------------------
    def _crossing_parts(self) -> dict[int, list[tuple[int, int]]]:
        """Per edge that crosses folds its (column, edge of the column), from its source to its target."""
        parts: dict[int, list[tuple[int, int]]] = {}
        crosses = self._column_of[self._ends.sources] != self._column_of[self._ends.targets]
        for i, column in enumerate(self._columns):
            for local in np.flatnonzero(crosses[column.edges]).tolist():
                parts.setdefault(int(column.edges[local]), []).append((i, local))
        return parts

    def _find_connectors(self) -> list[dict[_Tensor, int]]:
        """Per fold the tensors that cross it, each with its lane: the rightmost is the innermost, so that they nest."""
        found: list[set[_Tensor]] = [set() for _ in self._columns[1:]]
        for parts in self._parts.values():
            for before, after in itertools.pairwise(parts):
                found[before[0]].add(self._tensor(before, after))
        return [
            {t: lane for lane, t in enumerate(sorted(some, key=lambda t: (-t.leave, -t.enter)))} for some in found
        ]

    def _tensor(self, before: tuple[int, int], after: tuple[int, int]) -> _Tensor:
        leave = self._columns[before[0]].ribbon.route(before[1])[-1, 0]
        enter = self._columns[after[0]].ribbon.route(after[1])[0, 0]
        return _Tensor(float(leave), float(enter))

    # -- edges beside the columns ------------------------------------------------------------------------------
    def _end_columns(self, edge: int) -> tuple[int, int]:
        return int(self._column_of[self._ends.sources[edge]]), int(self._column_of[self._ends.targets[edge]])

    def _claim(self, edge: int) -> tuple[int, int]:
        """Lanes of an edge beside the columns: right of its source's column, and left of its target's."""
        source_y, target_y = self._ends_y(edge)
        first, last = self._end_columns(edge)
        if first == last:
            return self._gutters[first + 1].claim(min(source_y, target_y), max(source_y, target_y)), -1
        return self._gutters[first + 1].claim(source_y, 1e12), self._gutters[last].claim(target_y, 1e12)

    def _ends_y(self, edge: int) -> tuple[float, float]:
        """Where it leaves below its source's rank and arrives above its target's, seen from the columns' top."""
        first, last = self._end_columns(edge)
        source, target = self._columns[first].ribbon, self._columns[last].ribbon
        below = source.ranks[source.rank[self._slot_of[self._ends.sources[edge]]], 1] + LANE
        above = target.ranks[target.rank[self._slot_of[self._ends.targets[edge]]], 0] - LANE
        return float(below - source.ranks[0, 0]), float(above - target.ranks[0, 0])

    # -- where the columns go ----------------------------------------------------------------------------------
    def _place_columns(self) -> None:
        most = max((len(lanes) for lanes in self._connectors), default=0)
        has_upper_lane = any(self._ends_y(edge)[1] < 0 for edge in self._beside)
        self._top = CHANNEL + most * LANE if most else (2 * LANE if has_upper_lane else 0.0)
        self._shift: list[NDArray[np.float64]] = []
        self._gutter_x: list[float] = []
        x = height = 0.0
        for i, column in enumerate(self._columns):
            ranks = column.ribbon.ranks
            lanes = (len(self._connectors[i - 1]) if i else 0) + len(self._gutters[i].taken)
            self._gutter_x.append(x + GUTTER / 2)
            x += GUTTER + max(lanes - 1, 0) * LANE if i or lanes else 0.0
            self._shift.append(np.array([x - float(ranks[:, 2].min()), self._top - float(ranks[0, 0])]))
            x += float(ranks[:, 3].max() - ranks[:, 2].min())
            height = max(height, self._top + float(ranks[-1, 1] - ranks[0, 0]))
        self._gutter_x.append(x + GUTTER / 2)
        last_lanes = len(self._gutters[-1].taken)
        self._width = x + (GUTTER / 2 + last_lanes * LANE if last_lanes else 0.0)
        far = [edge for edge in self._beside if len(set(self._end_columns(edge))) == 2]
        self._floor = {edge: height + CHANNEL + (most + i) * LANE for i, edge in enumerate(far)}
        bottom = CHANNEL + most * LANE if most else 0.0
        self._height = max([height + bottom, *(y + LANE for y in self._floor.values())])

    # -- the routes --------------------------------------------------------------------------------------------
    def result(self) -> Folded:
        count = len(self._ends.heights)
        x, y = np.zeros(count), np.zeros(count)
        for column, shift in zip(self._columns, self._shift, strict=True):
            own = len(column.nodes)
            x[column.nodes] = column.ribbon.x[:own] + shift[0]
            y[column.nodes] = column.ribbon.y[:own] + shift[1]
        joined = {edge: self._joined_route(parts) for edge, parts in self._parts.items()}
        joined.update((edge, self._beside_route(edge)) for edge in self._beside)
        points, starts = self._all_routes(joined)
        return Folded(x, y, points, starts, float(self._width), float(self._height), len(self._columns))

    def _all_routes(
        self, joined: dict[int, NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Every edge's route in the edges' order: from its column as it is, or joined."""
        counts = np.zeros(len(self._ends.sources), dtype=np.int64)
        for column in self._columns:
            counts[column.edges] = np.diff(column.ribbon.starts)
        for edge, route in joined.items():
            counts[edge] = len(route)
        starts = np.concatenate(([0], np.cumsum(counts)))
        points = np.empty((int(starts[-1]), 2))
        is_joined = np.zeros(len(counts), dtype=np.bool_)
        is_joined[list(joined)] = True
        for column, shift in zip(self._columns, self._shift, strict=True):
            lengths = np.diff(column.ribbon.starts)
            first = np.repeat(starts[column.edges] - column.ribbon.starts[:-1], lengths)
            plain = np.repeat(~is_joined[column.edges], lengths)
            where = first + np.arange(len(column.ribbon.points))
            points[where[plain]] = column.ribbon.points[plain] + shift
        for edge, route in joined.items():
            points[starts[edge] : starts[edge + 1]] = route
        return points, starts

    def _joined_route(self, parts: list[tuple[int, int]]) -> NDArray[np.float64]:
        """The parts in the columns with the connectors between them."""
        route = [self._columns[parts[0][0]].ribbon.route(parts[0][1]) + self._shift[parts[0][0]]]
        for before, after in itertools.pairwise(parts):
            route[-1] = route[-1][:-1]
            following = self._columns[after[0]].ribbon.route(after[1]) + self._shift[after[0]]
            route += [self._connector(before[0], self._tensor(before, after)), following[1:]]
        return np.concatenate(route)

    def _connector(self, column: int, tensor: _Tensor) -> NDArray[np.float64]:
        """Down below its column, right to the gutter, up, and over the next column to where it enters."""
        lanes = self._connectors[column]
        lane = lanes[tensor]
        ranks = self._columns[column].ribbon.ranks
        below = float(ranks[-1, 1] + self._shift[column][1]) + CHANNEL + lane * LANE
        gutter = self._gutter_x[column + 1] + lane * LANE
        above = self._top - CHANNEL - (len(lanes) - 1 - lane) * LANE
        leave = tensor.leave + float(self._shift[column][0])
        enter = tensor.enter + float(self._shift[column + 1][0])
        return np.array([(leave, below), (gutter, below), (gutter, above), (enter, above)])

    def _beside_route(self, edge: int) -> NDArray[np.float64]:
        ends = self._ends
        source, target = int(ends.sources[edge]), int(ends.targets[edge])
        first, last = self._end_columns(edge)
        start = self._at(source, float(ends.source_dx[edge]), float(ends.heights[source]))
        end = self._at(target, float(ends.target_dx[edge]), 0.0)
        source_y, target_y = (y + self._top for y in self._ends_y(edge))
        out_lane, in_lane = self._beside_lanes[edge]
        out_x = self._lane_x(first + 1, out_lane)
        corners = [(start[0], source_y), (out_x, source_y)]
        if first != last:
            in_x, floor = self._lane_x(last, in_lane), self._floor[edge]
            corners += [(out_x, floor), (in_x, floor), (in_x, target_y)]
        else:
            corners.append((out_x, target_y))
        return np.array([start, *corners, (end[0], target_y), end])

    def _at(self, node: int, dx: float, dy: float) -> tuple[float, float]:
        column, slot = int(self._column_of[node]), int(self._slot_of[node])
        ribbon, shift = self._columns[column].ribbon, self._shift[column]
        return float(ribbon.x[slot] + shift[0]) + dx, float(ribbon.y[slot] + shift[1]) + dy

    def _lane_x(self, gutter: int, lane: int) -> float:
        """x of a lane: those of the fold's connectors come first."""
        folds = len(self._connectors[gutter - 1]) if 0 < gutter < len(self._columns) else 0
        return self._gutter_x[gutter] + (folds + lane) * LANE
