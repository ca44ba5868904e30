"""The canvas without a window: what shows, where, in which colours, and what is selected. No Qt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gui.canvas.compound import CompoundBuilder, CompoundLayout
from gui.canvas.folding import Viewport
from gui.canvas.heat import colour_index, positions, quantiles, shares, worst_first
from gui.canvas.hierarchy import Hierarchy
from gui.canvas.layout import LayoutCache
from gui.canvas.scene import Decoration, GroupDecoration, HeatScale, Scene, SceneRegion

STRIP_BINS = 32
WORST_SHOWN = 5
_LEAST_WEIGHT = 1e-12
_UNDECORATED = Decoration()


@dataclass(frozen=True)
class ViewState:
    """What a window restores: magnification, the point in its middle, and the ids of the open groups.

    The point is in scene units, seen from the upper left corner of the box `anchor` ("": of the scene): a window of
    another size folds the graph elsewhere, and the anchor takes the view along.
    """

    zoom: float
    centre_x: float
    centre_y: float
    expanded: tuple[str, ...]
    anchor: str = ""


@dataclass(frozen=True, eq=False)
class BoxHeat:
    """Per box: its position on the scale (a closed group's worst), colour index (−1: none), value; strips of groups;
    the worst nodes with their boxes."""

    position: NDArray[np.float64]
    colour: NDArray[np.int64]
    value: NDArray[np.float64]
    strips: dict[int, NDArray[np.int64]]
    worst: list[tuple[int, int]]


class CanvasModel:
    """Scene, open groups, layout, heat, decorations and selection of one canvas.

    Ids are those of nodes and of groups (the path of modules, joined by "/"). The selection holds nodes only: to
    select a group is to select every operator in it.
    """

    def __init__(self) -> None:
        self.decorations: Mapping[str, Decoration] = {}
        self.regions: tuple[SceneRegion, ...] = ()
        self.scale: HeatScale | None = None
        self._layouts = LayoutCache()  # by content: a graph that is shown again, or one with equal modules, is there
        self.set_scene(Scene())

    # -- structure ---------------------------------------------------------------------------------------------
    def set_scene(self, scene: Scene, most_boxes: int = 60) -> None:
        """Show another graph, its first levels open; heat and selection are forgotten."""
        self.scene = scene
        self.hierarchy = Hierarchy(scene)
        self.expanded: frozenset[int] = self.hierarchy.default_expanded(most_boxes)
        self._builder = CompoundBuilder(self.hierarchy, self._layouts)
        self.values: NDArray[np.float64] = np.full(len(scene.nodes), np.nan)
        self.positions: NDArray[np.float64] = self.values.copy()
        self.weights: NDArray[np.float64] = np.zeros(len(scene.nodes))
        self.is_selected: NDArray[np.bool_] = np.zeros(len(scene.nodes), dtype=np.bool_)
        self.lay_out(Viewport())

    def lay_out(self, viewport: Viewport, keep_shape: bool = False) -> CompoundLayout:
        """Lay out anew with the groups that are open now; `keep_shape` as for `CompoundBuilder.build`."""
        self.layout = self._builder.build(self.expanded, viewport, keep_shape)
        self._box_of_item = {item: box for box, item in enumerate(self.layout.items)}
        self._frame_of_group = {group: frame for frame, group in enumerate(self.layout.frame_groups)}
        self._heat: BoxHeat | None = None
        return self.layout

    def group(self, group_id: str) -> int | None:
        """The index of a group, None where no group has this id."""
        return self.hierarchy.group_index.get(group_id)

    def set_expanded(self, group: int, is_open: bool) -> bool:
        """Open or close a group; whether that changed anything. Takes effect with the next `lay_out`."""
        before = self.expanded
        self.expanded = before | {group} if is_open else before - {group}
        return self.expanded != before

    def expand_all(self, is_open: bool = True) -> None:
        """Open or close every group."""
        self.expanded = frozenset(range(len(self.hierarchy.groups))) if is_open else frozenset()

    def expanded_ids(self) -> tuple[str, ...]:
        """Ids of the open groups, sorted."""
        return tuple(sorted(self.hierarchy.groups[g].id for g in self.expanded))

    def open_around(self, item_id: str) -> bool:
        """Open every group around a node or group; whether anything was closed."""
        node = self.scene.index.get(item_id)
        group = self.group(item_id)
        around = (
            self.hierarchy.ancestors_of_node(node)
            if node is not None
            else self.hierarchy.ancestors_of_group(group)
            if group is not None
            else []
        )
        before = self.expanded
        self.expanded = before | set(around)
        return self.expanded != before

    # -- where things are --------------------------------------------------------------------------------------
    def item_id(self, item: int) -> str:
        """Id of a box's content: a node, or `~group`."""
        return self.scene.nodes[item].id if item >= 0 else self.hierarchy.groups[~item].id

    def box_of(self, item_id: str) -> int | None:
        """The box in which a node or closed group shows; None for an open group or an unknown id."""
        node = self.scene.index.get(item_id)
        if node is not None:
            return int(self.layout.box_of_node[node])
        group = self.group(item_id)
        if group is None or group in self._frame_of_group:
            return None
        if ~group in self._box_of_item:
            return self._box_of_item[~group]
        nodes = self.hierarchy.nodes_of(group)
        return int(self.layout.box_of_node[nodes[0]])

    def boxes_of(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """The boxes in which nodes show, each once."""
        return np.unique(self.layout.box_of_node[self.indices(ids)])

    def rectangle_of(self, item_id: str) -> tuple[float, float, float, float] | None:
        """x, y, width, height of the box or frame in which an id shows."""
        box = self.box_of(item_id)
        if box is not None:
            x, y, width, height = self.layout.boxes[box].tolist()
            return x, y, width, height
        group = self.group(item_id)
        if group is None or group not in self._frame_of_group:
            return None
        x, y, width, height = self.layout.frames[self._frame_of_group[group]].tolist()
        return x, y, width, height

    def box_at(self, x: float, y: float) -> int | None:
        """The box at a scene point."""
        boxes = self.layout.boxes
        inside = (boxes[:, 0] <= x) & (x <= boxes[:, 0] + boxes[:, 2])
        inside &= (boxes[:, 1] <= y) & (y <= boxes[:, 1] + boxes[:, 3])
        hit = np.flatnonzero(inside)
        return int(hit[0]) if len(hit) else None

    def frame_at(self, x: float, y: float) -> int | None:
        """The innermost frame at a scene point."""
        frames = self.layout.frames
        inside = (frames[:, 0] <= x) & (x <= frames[:, 0] + frames[:, 2])
        inside &= (frames[:, 1] <= y) & (y <= frames[:, 1] + frames[:, 3])
        hit = np.flatnonzero(inside)
        return int(hit[np.argmin(frames[hit, 2] * frames[hit, 3])]) if len(hit) else None

    def boxes_touching(self, left: float, top: float, right: float, bottom: float) -> NDArray[np.int64]:
        """The boxes that a rectangle touches."""
        boxes = self.layout.boxes
        touched = (boxes[:, 0] <= right) & (left <= boxes[:, 0] + boxes[:, 2])
        touched &= (boxes[:, 1] <= bottom) & (top <= boxes[:, 1] + boxes[:, 3])
        return np.flatnonzero(touched)

    def anchor_near(self, x: float, y: float) -> tuple[str, float, float]:
        """The box nearest to a scene point: its id and its upper left corner; "", 0, 0 in an empty scene."""
        boxes = self.layout.boxes
        if not len(boxes):
            return "", 0.0, 0.0
        distance = np.abs(boxes[:, 0] + boxes[:, 2] / 2 - x) + np.abs(boxes[:, 1] + boxes[:, 3] / 2 - y)
        nearest = int(np.argmin(distance))
        return self.item_id(self.layout.items[nearest]), float(boxes[nearest, 0]), float(boxes[nearest, 1])

    # -- selection ---------------------------------------------------------------------------------------------
    def nodes_of_item(self, item: int) -> NDArray[np.int64]:
        """The operators of a box: the node, or all in `~group`."""
        return np.array([item], dtype=np.int64) if item >= 0 else self.hierarchy.nodes_of(~item)

    def nodes_in(self, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The operators of some boxes."""
        return np.flatnonzero(np.isin(self.layout.box_of_node, boxes))

    def select(self, nodes: NDArray[np.int64], mode: str = "replace") -> bool:
        """Select nodes: "replace", "add" or "toggle" (all on unless all were). Whether anything changed."""
        before = self.is_selected
        after = np.zeros_like(before) if mode == "replace" else before.copy()
        after[nodes] = not (mode == "toggle" and len(nodes) > 0 and bool(before[nodes].all()))
        self.is_selected = after
        return not bool(np.array_equal(before, after))

    def selected_ids(self) -> list[str]:
        """Ids of the selected nodes in the scene's order."""
        return [self.scene.nodes[i].id for i in np.flatnonzero(self.is_selected).tolist()]

    def indices(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Nodes by id; a group's id stands for all its operators, an unknown id for none."""
        found: list[int] = []
        for item_id in ids:
            node = self.scene.index.get(item_id)
            group = self.group(item_id)
            if node is not None:
                found.append(node)
            elif group is not None:
                found.extend(self.hierarchy.nodes_of(group).tolist())
        return np.array(sorted(set(found)), dtype=np.int64)

    def selected_boxes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Boxes of which every, and boxes of which only some operators are selected."""
        count = len(self.layout.items)
        total = np.bincount(self.layout.box_of_node, minlength=count)
        chosen = np.bincount(self.layout.box_of_node[self.is_selected], minlength=count)
        return np.flatnonzero((chosen == total) & (total > 0)), np.flatnonzero((chosen > 0) & (chosen < total))

    # -- heat and decorations ----------------------------------------------------------------------------------
    def set_heat(
        self, values: Mapping[str, float], scale: HeatScale | None, weights: Mapping[str, float] | None = None
    ) -> None:
        """Values by node id; nodes without one stay blank. No scale: no heat. Categories take their order of worst,
        and what a closed group shows, from ``weights``.
        """
        self.scale = scale
        known = weights or {}
        self.weights = np.array([known.get(node.id, 0.0) for node in self.scene.nodes], dtype=np.float64)
        self.values = np.array([values.get(node.id, np.nan) for node in self.scene.nodes], dtype=np.float64)
        self.positions = positions(self.values, scale) if scale else np.full(len(self.values), np.nan)
        self._heat = None

    @property
    def ranks(self) -> NDArray[np.float64]:
        """How bad each node is; NaN without a value, 0 for what is not worth a mention."""
        if self.scale is None or not self.scale.categories:
            return self.positions
        return np.where(np.isnan(self.positions), np.nan, self.weights)

    def heat(self) -> BoxHeat:
        """Heat of the boxes that show."""
        if self._heat is None:
            self._heat = self._box_heat()
        return self._heat

    def _box_heat(self) -> BoxHeat:
        return self._category_heat() if self.scale is not None and self.scale.categories else self._degree_heat()

    def _category_heat(self) -> BoxHeat:
        """Of each box the category of most weight inside."""
        assert self.scale is not None
        known = np.flatnonzero(~np.isnan(self.values))
        weight = np.zeros((len(self.layout.items), len(self.scale.categories)))
        category = self.values[known].astype(np.int64)
        np.add.at(weight, (self.layout.box_of_node[known], category), self.weights[known] + _LEAST_WEIGHT)
        value = np.where(weight.any(axis=1), weight.argmax(axis=1).astype(np.float64), np.nan)
        position = positions(value, self.scale)
        strips: dict[int, NDArray[np.int64]] = {}
        for box in np.flatnonzero(np.array(self.layout.items, dtype=np.int64) < 0).tolist():
            nodes = self.hierarchy.nodes_of(~self.layout.items[box])
            strips[box] = colour_index(shares(self.positions[nodes], self.weights[nodes], STRIP_BINS))
        return BoxHeat(position, colour_index(position), value, strips, self._worst())

    def _worst(self) -> list[tuple[int, int]]:
        return [(int(self.layout.box_of_node[node]), node) for node in worst_first(self.ranks, WORST_SHOWN)]

    def _degree_heat(self) -> BoxHeat:
        count = len(self.layout.items)
        position = np.full(count, -1.0)
        known = np.where(np.isnan(self.positions), -1.0, self.positions)
        np.maximum.at(position, self.layout.box_of_node, known)
        position[position < 0] = np.nan
        items = np.array(self.layout.items, dtype=np.int64)
        value = np.where(items >= 0, self.values[np.maximum(items, 0)] if len(self.values) else np.nan, np.nan)
        strips: dict[int, NDArray[np.int64]] = {}
        for box in np.flatnonzero(items < 0).tolist():
            group = ~self.layout.items[box]
            strips[box] = colour_index(quantiles(self.positions[self.hierarchy.nodes_of(group)], STRIP_BINS))
            worst_inside = self.worst_of_group(group)
            if worst_inside is not None:
                value[box] = self.values[worst_inside]
        return BoxHeat(position, colour_index(position), value, strips, self._worst())

    def worst_of_group(self, group: int) -> int | None:
        """The operator of a group with the worst value, None if none has one."""
        nodes = self.hierarchy.nodes_of(group)
        inside = self.ranks[nodes]
        return None if np.isnan(inside).all() else int(nodes[int(np.nanargmax(inside))])

    def decoration(self, node: int) -> Decoration:
        """A node's decoration."""
        return self.decorations.get(self.scene.nodes[node].id, _UNDECORATED)

    def group_decoration(self, group: int) -> GroupDecoration:
        """What the decorations of a group's operators come to."""
        return GroupDecoration.over(self.decoration(node) for node in self.hierarchy.nodes_of(group).tolist())

    # -- edges -------------------------------------------------------------------------------------------------
    def stretches_of(self, boxes: Iterable[int]) -> tuple[list[int], list[int]]:
        """The stretches of the edges into and out of some boxes."""
        wanted = np.array(list(boxes), dtype=np.int64)
        layout = self.layout
        into = np.flatnonzero(np.isin(layout.link_target, wanted)).tolist()
        out_of = np.flatnonzero(np.isin(layout.link_source, wanted)).tolist()
        return (
            sorted({s for link in into for s in layout.link_stretches[link]}),
            sorted({s for link in out_of for s in layout.link_stretches[link]}),
        )
