"""Layout of an opened hierarchy: every open group is laid out on its own and is a box in its parent's layout. No Qt.

An edge across the rim of a group passes a port: a point on the group's upper or lower rim, one per tensor. Inside, the
port is a node of the group's layout; outside, it is where the edge meets the group's box.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gui.canvas.folding import Viewport
from gui.canvas.hierarchy import ROOT, Hierarchy
from gui.canvas.layout import LayeredInput, LayeredLayout, LayoutCache, lay_out
from gui.canvas.ranks import BOTTOM_PORT, TOP_PORT

NODE_WIDTH = 168.0
NODE_HEIGHT = 58.0
GROUP_HEIGHT = 66.0
FRAME_SIDE = 14.0
FRAME_TITLE = 23.0
FRAME_TOP = FRAME_TITLE + 3.0
FRAME_BOTTOM = 12.0
# An open group is folded when its content is taller than the first of these; the second is its breadth, in shares of
# the window's. Which shape makes the whole largest depends on the graph: the fewer groups are open, the more are tried.
_INNER_SHAPES = ((1000.0, 1.0), (500.0, 1.0), (700.0, 0.7), (1600.0, 0.7), (1600.0, 0.45))
_FEW_GROUPS, _MANY_GROUPS = 40, 300
# A layout whose top level has one column more must be larger by this much to be preferred.
_COLUMN_WORTH = 0.95


@dataclass(frozen=True, eq=False)
class CompoundLayout:
    """Everything the painter needs, as arrays in scene units; the upper left corner is (0, 0).

    `items[b]` is the box's node index, or `~group` for a closed group; `boxes [b, 4]` and `frames [f, 4]` are x, y,
    width, height. Frames (open groups) are listed from the outside in. `lines`: stretch i of an edge is
    `points[starts[i]:starts[i + 1]]`; stretches end at frames' rims. `is_tip[i]`: the stretch ends at a box.
    `link_source`, `link_target` are the boxes each visible edge joins, and `link_stretches` the stretches it takes.
    `box_of_node[n]` is the box in which node n shows: its own, or its closed group's.
    """

    items: list[int]
    boxes: NDArray[np.float64]
    frame_groups: list[int]
    frames: NDArray[np.float64]
    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    is_tip: NDArray[np.bool_]
    is_upward: NDArray[np.bool_]
    link_source: NDArray[np.int64]
    link_target: NDArray[np.int64]
    link_stretches: list[list[int]]
    link_edge: NDArray[np.int64]
    link_count: NDArray[np.int64]
    box_of_node: NDArray[np.int64]
    width: float
    height: float
    columns: int




@dataclass
class _Level:
    """The content of one open group (or the top level) before it is laid out."""

    children: list[int]
    in_ports: dict[int, int] = field(default_factory=dict[int, int])
    out_ports: dict[int, int] = field(default_factory=dict[int, int])
    edges: dict[tuple[int, int, int, int], int] = field(default_factory=dict[tuple[int, int, int, int], int])
    layout: LayeredLayout | None = None


_CHILD, _IN, _OUT = 0, 1, 2


class CompoundBuilder:
    """Lays out a hierarchy with some groups open. Keep it for as long as the scene: equal modules are laid out once."""

    def __init__(self, hierarchy: Hierarchy, cache: LayoutCache | None = None) -> None:
        self._hierarchy = hierarchy
        self._cache = cache if cache is not None else LayoutCache()
        self._shape = _INNER_SHAPES[0]
        scene = hierarchy.scene
        self._edge_source = np.array([scene.index[e.source] for e in scene.edges], dtype=np.int64)
        self._edge_target = np.array([scene.index[e.target] for e in scene.edges], dtype=np.int64)

    def build(self, expanded: Iterable[int], viewport: Viewport, keep_shape: bool = False) -> CompoundLayout:
        """Lay out with the groups `expanded` open (those inside a closed one do not matter), to fit `viewport`.

        `keep_shape`: fold open groups as in the layout before, so that opening one more leaves the others alike.
        """
        opening = _Opening(self._hierarchy, frozenset(expanded))
        links = opening.link(self._edge_source, self._edge_target)
        shapes = (self._shape,) if keep_shape else _INNER_SHAPES[: _most_shapes(len(opening.order))]
        sizes = {shape: self._lay_out_levels(opening, viewport, shape) for shape in shapes}
        self._shape = max(shapes, key=lambda shape: (round(sizes[shape], 3), -shapes.index(shape)))
        if self._shape != shapes[-1]:
            self._lay_out_levels(opening, viewport, self._shape)
        return _Flattening(opening, links).result()

    def _lay_out_levels(self, opening: _Opening, viewport: Viewport, shape: tuple[float, float]) -> float:
        """Lay out every open group, the innermost first. Returns how large the whole is in the viewport, 0 … 1."""
        height, breadth = shape
        inner = Viewport(height * breadth * min(2.2, viewport.width / viewport.height), height)
        layout: LayeredLayout | None = None
        for group in reversed(opening.order):
            level = opening.levels[group]
            layout = lay_out(opening.layered_input(level), viewport if group == ROOT else inner, self._cache)
            level.layout = layout
        assert layout is not None
        fit = min(viewport.width / max(layout.width, 1.0), viewport.height / max(layout.height, 1.0), 1.0)
        return fit * _COLUMN_WORTH ** (layout.columns - 1)


def _most_shapes(groups: int) -> int:
    if groups > _MANY_GROUPS:
        return 1
    return len(_INNER_SHAPES) if groups <= _FEW_GROUPS else 2


@dataclass(frozen=True, eq=False)
class _Links:
    """Visible edges: the boxes they join (as items), one scene edge of each and how many there are, and their way."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    edge: NDArray[np.int64]
    count: NDArray[np.int64]
    ways: list[list[tuple[int, int]]]


class _Opening:
    """Which boxes show, in which open group each lies, and the edges of every level."""

    def __init__(self, hierarchy: Hierarchy, expanded: frozenset[int]) -> None:
        self.hierarchy = hierarchy
        self.order: list[int] = []
        self.levels: dict[int, _Level] = {}
        self.parent: dict[int, int] = {}
        self.depth: dict[int, int] = {ROOT: 0}
        self.item_of_node = np.arange(len(hierarchy.scene.nodes), dtype=np.int64)
        stack = [ROOT]
        while stack:
            group = stack.pop()
            self.order.append(group)
            children = list(hierarchy.children(group))
            self.levels[group] = _Level(children)
            opened: list[int] = []
            for child in children:
                self.parent[child] = group
                if child >= 0:
                    continue
                if ~child in expanded:
                    self.depth[~child] = self.depth[group] + 1
                    opened.append(~child)
                else:
                    self.item_of_node[hierarchy.nodes_of(~child)] = child
            stack.extend(reversed(opened))

    def link(self, edge_source: NDArray[np.int64], edge_target: NDArray[np.int64]) -> _Links:
        """Lift the scene's edges to the boxes that show, and give each level its share of them."""
        source, target = self.item_of_node[edge_source], self.item_of_node[edge_target]
        apart = np.flatnonzero(source != target)
        pairs = np.stack([source[apart], target[apart]], axis=1)
        if len(pairs) == 0:
            nothing = np.zeros(0, dtype=np.int64)
            return _Links(nothing, nothing, nothing, nothing, [])
        _, first, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
        order = np.argsort(first)
        first, counts = first[order], counts[order]
        source, target = pairs[first, 0], pairs[first, 1]
        ways = [self._way(s, t) for s, t in zip(source.tolist(), target.tolist(), strict=True)]
        return _Links(source, target, apart[first], counts, ways)

    def _way(self, source: int, target: int) -> list[tuple[int, int]]:
        """The stretches (open group, its edge) from box to box, through the ports of the groups between them."""
        up: list[tuple[int, int]] = []
        down: list[tuple[int, int]] = []
        a, b = source, target
        while (above_a := self.parent[a]) != (above_b := self.parent[b]):
            if self.depth[above_a] >= self.depth[above_b]:
                level = self.levels[above_a]
                port = level.out_ports.setdefault(source, len(level.out_ports))
                up.append((above_a, self._edge(level, (_CHILD, a, _OUT, port), source)))
                a = ~above_a
            else:
                level = self.levels[above_b]
                port = level.in_ports.setdefault(source, len(level.in_ports))
                down.append((above_b, self._edge(level, (_IN, port, _CHILD, b), source)))
                b = ~above_b
        level = self.levels[self.parent[a]]
        joint = (self.parent[a], self._edge(level, (_CHILD, a, _CHILD, b), source))
        return [*up, joint, *reversed(down)]

    @staticmethod
    def _edge(level: _Level, ends: tuple[int, int, int, int], tensor: int) -> int:
        """The level's edge between two ends; two tensors between the same two groups have an edge each."""
        key = (ends[0] * 3 + ends[2], ends[1], ends[3], tensor)
        return level.edges.setdefault(key, len(level.edges))

    def layered_input(self, level: _Level) -> LayeredInput:
        """Local numbering: ports of the upper rim, children, ports of the lower rim."""
        children = {child: i + len(level.in_ports) for i, child in enumerate(level.children)}
        below = len(level.in_ports) + len(children)
        count = below + len(level.out_ports)
        widths, heights = np.zeros(count), np.zeros(count)
        for child, i in children.items():
            widths[i], heights[i] = self.size(child)
        pins = np.zeros(count, dtype=np.int8)
        pins[: len(level.in_ports)] = TOP_PORT
        pins[below:] = BOTTOM_PORT
        sources, targets, source_dx, target_dx = [], [], [], []
        for kinds, a, b, tensor in level.edges:
            is_from_port, is_to_port = kinds // 3 == _IN, kinds % 3 == _OUT
            sources.append(a if is_from_port else children[a])
            targets.append(below + b if is_to_port else children[b])
            source_dx.append(0.0 if is_from_port else self._port_dx(a, tensor, is_in=False))
            target_dx.append(0.0 if is_to_port else self._port_dx(b, tensor, is_in=True))
        return LayeredInput(
            widths,
            heights,
            np.array(sources, dtype=np.int64),
            np.array(targets, dtype=np.int64),
            np.array(source_dx, dtype=np.float64),
            np.array(target_dx, dtype=np.float64),
            pins,
        )

    def size(self, item: int) -> tuple[float, float]:
        """Width and height of a box, or of the frame of an open group."""
        if item >= 0:
            return NODE_WIDTH, NODE_HEIGHT
        level = self.levels.get(~item)
        if level is None or level.layout is None:
            return NODE_WIDTH, GROUP_HEIGHT
        width = max(level.layout.width, NODE_WIDTH / 2) + 2 * FRAME_SIDE
        return width, level.layout.height + FRAME_TOP + FRAME_BOTTOM

    def content_shift(self, group: int) -> tuple[float, float]:
        """Where a group's content begins within its frame."""
        level = self.levels[group]
        if group == ROOT or level.layout is None:
            return 0.0, 0.0
        return (self.size(~group)[0] - level.layout.width) / 2, FRAME_TOP

    def _port_dx(self, item: int, tensor: int, is_in: bool) -> float:
        """Where a tensor passes the rim of a child, seen from its centre; 0 for a closed one."""
        level = self.levels.get(~item) if item < 0 else None
        if level is None or level.layout is None:
            return 0.0
        if is_in:
            local = level.in_ports[tensor]
        else:
            local = len(level.in_ports) + len(level.children) + level.out_ports[tensor]
        width, _ = self.size(item)
        return float(level.layout.x[local]) + self.content_shift(~item)[0] - width / 2


class _Flattening:
    """From the levels' own coordinates to the scene's."""

    def __init__(self, opening: _Opening, links: _Links) -> None:
        self._opening = opening
        self._links = links
        self._origin: dict[int, tuple[float, float]] = {ROOT: (0.0, 0.0)}
        self._first_stretch: dict[int, int] = {}
        self._items: list[int] = []
        self._boxes: list[tuple[float, float, float, float]] = []
        self._frames: dict[int, tuple[float, float, float, float]] = {}
        self._points: list[NDArray[np.float64]] = []
        self._counts: list[NDArray[np.int64]] = []
        self._is_tip: list[bool] = []
        self._is_upward: list[NDArray[np.bool_]] = []

    def result(self) -> CompoundLayout:
        opening, links = self._opening, self._links
        for group in opening.order:
            self._place_children(group)
            self._place_stretches(group)
        box_of_item = {item: b for b, item in enumerate(self._items)}
        shown = opening.item_of_node.tolist()
        first = self._first_stretch
        root = opening.levels[ROOT].layout
        assert root is not None
        points = np.concatenate(self._points) if self._points else np.zeros((0, 2))
        counts = np.concatenate(self._counts) if self._counts else np.zeros(0, dtype=np.int64)
        return CompoundLayout(
            items=self._items,
            boxes=np.array(self._boxes, dtype=np.float64).reshape(-1, 4),
            frame_groups=list(self._frames),
            frames=np.array(list(self._frames.values()), dtype=np.float64).reshape(-1, 4),
            points=points,
            starts=np.concatenate(([0], np.cumsum(counts))),
            is_tip=np.array(self._is_tip, dtype=np.bool_),
            is_upward=np.concatenate(self._is_upward) if self._is_upward else np.zeros(0, dtype=np.bool_),
            link_source=np.array([box_of_item[i] for i in links.source.tolist()], dtype=np.int64),
            link_target=np.array([box_of_item[i] for i in links.target.tolist()], dtype=np.int64),
            link_stretches=[[first[group] + edge for group, edge in way] for way in links.ways],
            link_edge=links.edge,
            link_count=links.count,
            box_of_node=np.array([box_of_item[item] for item in shown], dtype=np.int64),
            width=root.width,
            height=root.height,
            columns=root.columns,
        )

    def _place_children(self, group: int) -> None:
        opening = self._opening
        level = opening.levels[group]
        assert level.layout is not None
        shift_x, shift_y = opening.content_shift(group)
        origin_x, origin_y = self._origin[group][0] + shift_x, self._origin[group][1] + shift_y
        first = len(level.in_ports)
        xs = level.layout.x[first:].tolist()
        ys = level.layout.y[first:].tolist()
        for child, x, y in zip(level.children, xs, ys, strict=False):
            width, height = opening.size(child)
            rectangle = (origin_x + x, origin_y + y, width, height)
            if child < 0 and ~child in opening.levels:
                self._origin[~child] = rectangle[:2]
                self._frames[~child] = rectangle
            else:
                self._items.append(child)
                self._boxes.append(rectangle)

    def _place_stretches(self, group: int) -> None:
        opening = self._opening
        level = opening.levels[group]
        assert level.layout is not None
        shift_x, shift_y = opening.content_shift(group)
        self._first_stretch[group] = len(self._is_tip)
        points = level.layout.points.copy()
        starts = level.layout.starts
        for edge, (kinds, _, end, _tensor) in enumerate(level.edges):
            if kinds // 3 == _IN:
                points[starts[edge], 1] = -FRAME_TOP
            is_to_port = kinds % 3 == _OUT
            if is_to_port:
                points[starts[edge + 1] - 1, 1] = level.layout.height + FRAME_BOTTOM
            self._is_tip.append(not is_to_port and not (end < 0 and ~end in opening.levels))
        self._points.append(points + np.array([self._origin[group][0] + shift_x, self._origin[group][1] + shift_y]))
        self._counts.append(np.diff(starts))
        self._is_upward.append(level.layout.is_upward)
