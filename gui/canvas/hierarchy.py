"""Module groups from the nodes' namespaces: a tree that opens and closes. No Qt.

Two things namespaces do not give: a module that is called twice (one ReLU used at three places) would make a box
that comes both before and after its neighbours, so such a group is split into its calls; and a module with a single
operator, or with a single child module, is no level worth a click, so it is merged into what it holds.
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gui.canvas.scene import Scene

ROOT = -1
_CALL_SEPARATOR = "#"
# Splitting a module into its calls walks its parent's nodes once; beyond this many steps the edge is drawn upward.
_SPLIT_BUDGET = 2_000_000


@dataclass(frozen=True)
class Group:
    """A module: its children in graph order, groups as `~index` and nodes as their index in the scene."""

    id: str
    title: str
    parent: int
    depth: int
    children: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many operators it holds at any depth."""
        return self.stop - self.start


@dataclass
class _Draft:
    id: str
    title: str
    parent: int
    depth: int
    children: list[int] = field(default_factory=list[int])
    start: int = 0
    stop: int = 0

    def freeze(self) -> Group:
        return Group(self.id, self.title, self.parent, self.depth, tuple(self.children), self.start, self.stop)


class Hierarchy:
    """The tree of groups over a scene.

    `groups[g]` is a group; `roots` are the top level's children; `leaf_order` lists the nodes in tree order, so that
    group g holds exactly `leaf_order[g.start:g.stop]`; `parent_of_node[i]` is the innermost group or `ROOT`.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        builder = _Builder(scene)
        self.groups: tuple[Group, ...] = builder.groups
        self.roots: tuple[int, ...] = builder.roots
        self.leaf_order: NDArray[np.int64] = np.array(builder.leaf_order, dtype=np.int64)
        self.parent_of_node: tuple[int, ...] = tuple(builder.parent_of_node)
        self.group_index: dict[str, int] = {group.id: g for g, group in enumerate(self.groups)}

    def children(self, group: int) -> tuple[int, ...]:
        """Children of a group, or of the top level for `ROOT`; groups as `~index`."""
        return self.roots if group == ROOT else self.groups[group].children

    def nodes_of(self, group: int) -> NDArray[np.int64]:
        """The scene indices of all operators in a group, at any depth."""
        if group == ROOT:
            return self.leaf_order
        return self.leaf_order[self.groups[group].start : self.groups[group].stop]

    def ancestors_of_node(self, node: int) -> list[int]:
        """The groups around a node, outermost first."""
        return self._chain(self.parent_of_node[node])

    def ancestors_of_group(self, group: int) -> list[int]:
        """The groups around a group, outermost first, without itself."""
        return self._chain(self.groups[group].parent)

    def _chain(self, group: int) -> list[int]:
        chain: list[int] = []
        while group != ROOT:
            chain.append(group)
            group = self.groups[group].parent
        return chain[::-1]

    def default_expanded(self, limit: int = 60) -> frozenset[int]:
        """The groups to open first: whole levels from the top while at most `limit` boxes show.

        A level that would leave less than a quarter of that (three boxes that say nothing) may be up to four times it.
        """
        expanded: set[int] = set()
        level = [~child for child in self.roots if child < 0]
        boxes = len(self.roots)
        while level:
            opened = boxes + sum(len(self.groups[g].children) - 1 for g in level)
            if opened > (4 * limit if 4 * boxes < limit else limit):
                break
            boxes = opened
            expanded.update(level)
            level = [~child for g in level for child in self.groups[g].children if child < 0]
        return frozenset(expanded)

    def descendants(self, group: int) -> list[int]:
        """All groups inside a group, without itself; inside the top level for `ROOT`: every group."""
        found: list[int] = []
        stack = [~child for child in self.children(group) if child < 0]
        while stack:
            inner = stack.pop()
            found.append(inner)
            stack.extend(~child for child in self.groups[inner].children if child < 0)
        return found

    def visible_items(self, expanded: Iterable[int]) -> list[int]:
        """The boxes that show with these groups open, in graph order; closed groups as `~index`."""
        is_open = set(expanded)
        shown: list[int] = []
        stack = list(reversed(self.roots))
        while stack:
            item = stack.pop()
            if item < 0 and ~item in is_open:
                stack.extend(reversed(self.groups[~item].children))
            else:
                shown.append(item)
        return shown


class _Builder:
    """Builds the tree from the top: one partition of a module's nodes at a time."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._position = topological_positions(scene)
        self._drafts: list[_Draft] = []
        self._budget = _SPLIT_BUDGET
        self.parent_of_node = [ROOT] * len(scene.nodes)
        self.leaf_order: list[int] = []
        self._root_children: list[int] = []
        edges = [(scene.index[edge.source], scene.index[edge.target]) for edge in scene.edges]
        nodes = sorted(range(len(scene.nodes)), key=self._position.__getitem__)
        self._build(nodes, edges)
        self._number_leaves()
        self.groups = tuple(draft.freeze() for draft in self._drafts)
        self.roots = tuple(self._root_children)

    def _build(self, nodes: list[int], edges: list[tuple[int, int]]) -> None:
        stack: list[tuple[int, list[int], list[tuple[int, int]], int, str]] = [(ROOT, nodes, edges, 0, "")]
        while stack:
            parent, members, inner, depth, path = stack.pop()
            children, parts = self._partition(parent, members, inner, depth, path)
            if parent == ROOT:
                self._root_children = children
            else:
                self._drafts[parent].children = children
            stack.extend(parts)

    def _partition(
        self, parent: int, members: list[int], edges: list[tuple[int, int]], level: int, path: str
    ) -> tuple[list[int], list[tuple[int, list[int], list[tuple[int, int]], int, str]]]:
        """One level: the children of `parent` in graph order, and the groups among them still to be built."""
        label = {node: self._label(node, level) for node in members}
        label = self._split_calls(members, edges, label)
        bundles: dict[tuple[str, int], list[int]] = defaultdict(list)
        for node in members:
            bundles[label[node]].append(node)
        inner: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        for source, target in edges:
            if label[source] == label[target]:
                inner[label[source]].append((source, target))
        children: list[int] = []
        parts: list[tuple[int, list[int], list[tuple[int, int]], int, str]] = []
        for (name, call), bundle in bundles.items():
            if len(bundle) == 1:
                self.parent_of_node[bundle[0]] = parent
                children.append(bundle[0])
                continue
            deepest, title = self._merge_single_levels(bundle, level)
            identity = self._identity(path, title, call)
            shown = self._shown_title(parent, title) + (f" ({call + 1})" if call else "")
            depth = 0 if parent == ROOT else self._drafts[parent].depth + 1
            self._drafts.append(_Draft(identity, shown, parent, depth))
            children.append(~(len(self._drafts) - 1))
            parts.append((len(self._drafts) - 1, bundle, inner[(name, call)], deepest, identity))
        return children, parts

    def _label(self, node: int, level: int) -> tuple[str, int]:
        namespace = self._scene.nodes[node].namespace
        return (namespace[level], 0) if level < len(namespace) else ("", -1 - node)

    def _merge_single_levels(self, bundle: list[int], level: int) -> tuple[int, str]:
        """The level at which the bundle divides, and the title of what was merged on the way."""
        namespaces = [self._scene.nodes[node].namespace for node in bundle]
        shortest = min(map(len, namespaces))
        deepest = level + 1
        while deepest < shortest and all(space[deepest] == namespaces[0][deepest] for space in namespaces):
            deepest += 1
        return deepest, "/".join(namespaces[0][level:deepest])

    def _shown_title(self, parent: int, title: str) -> str:
        """A module in a list is only a number: its title names the list as well, "blocks.3"."""
        shown = re.sub(r"/(?=\d)", ".", title)
        return f"{self._drafts[parent].title}.{shown}" if shown[:1].isdigit() and parent != ROOT else shown

    @staticmethod
    def _identity(path: str, title: str, call: int) -> str:
        own = title if call == 0 else f"{title}{_CALL_SEPARATOR}{call + 1}"
        return f"{path}/{own}" if path else own

    def _split_calls(
        self, members: list[int], edges: list[tuple[int, int]], label: dict[int, tuple[str, int]]
    ) -> dict[int, tuple[str, int]]:
        """Give each call of a module that is left and entered again a label of its own."""
        suspects = _on_cycles(edges, label)
        if not suspects:
            return label
        predecessors: dict[int, list[int]] = defaultdict(list)
        for source, target in edges:
            predecessors[target].append(source)
        split = dict(label)
        for suspect in sorted(suspects):
            self._budget -= len(members) + len(edges)
            if suspect[1] < 0 or self._budget < 0:
                continue
            for node, call in _calls(members, predecessors, label, suspect).items():
                split[node] = (suspect[0], call)
        return split

    def _number_leaves(self) -> None:
        stack: list[tuple[int, bool]] = [(child, False) for child in reversed(self._root_children)]
        while stack:
            item, is_done = stack.pop()
            if item >= 0:
                self.leaf_order.append(item)
            elif is_done:
                self._drafts[~item].stop = len(self.leaf_order)
            else:
                self._drafts[~item].start = len(self.leaf_order)
                stack.append((item, True))
                stack.extend((child, False) for child in reversed(self._drafts[~item].children))


def _calls(
    members: Sequence[int],
    predecessors: dict[int, list[int]],
    label: dict[int, tuple[str, int]],
    group: tuple[str, int],
) -> dict[int, int]:
    """For each node of `group` how often a path into it has left the group and come back. `members` in graph order."""
    stays: dict[int, int] = {}
    for node in members:
        before = predecessors.get(node, ())
        if label[node] == group:
            stays[node] = max((stays.get(p, 0) for p in before), default=0)
        else:
            stays[node] = max((stays.get(p, 0) + (label[p] == group) for p in before), default=0)
    calls = {node: stays[node] for node in members if label[node] == group}
    numbering = {call: i for i, call in enumerate(sorted(set(calls.values())))}
    return {node: numbering[call] for node, call in calls.items()}


def _on_cycles(
    edges: Iterable[tuple[int, int]], label: dict[int, tuple[str, int]]
) -> set[tuple[str, int]]:
    """Labels that remain when those without a way in, and those without a way out, are peeled off."""
    links = {(label[s], label[t]) for s, t in edges if label[s] != label[t]}
    remaining = {end for link in links for end in link}
    for direction in (0, 1):
        following: dict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
        degree: dict[tuple[str, int], int] = dict.fromkeys(remaining, 0)
        for link in links:
            if link[0] in remaining and link[1] in remaining:
                following[link[direction]].append(link[1 - direction])
                degree[link[1 - direction]] += 1
        ready = [name for name, count in degree.items() if count == 0]
        while ready:
            name = ready.pop()
            remaining.discard(name)
            for after in following[name]:
                degree[after] -= 1
                if degree[after] == 0:
                    ready.append(after)
    return remaining


def topological_positions(scene: Scene) -> list[int]:
    """Position of each node in a topological order that keeps the scene's own order where it can.

    A cycle (no valid model has one) is entered at its first node.
    """
    following: list[list[int]] = [[] for _ in scene.nodes]
    degree = [0] * len(scene.nodes)
    for edge in scene.edges:
        source, target = scene.index[edge.source], scene.index[edge.target]
        if source != target:
            following[source].append(target)
            degree[target] += 1
    ready = [node for node, count in enumerate(degree) if count == 0]
    position = [-1] * len(degree)
    placed = 0
    first_waiting = 0
    while placed < len(degree):
        if ready:
            node = heapq.heappop(ready)
        else:
            while position[first_waiting] >= 0:
                first_waiting += 1
            node = first_waiting
        if position[node] >= 0:
            continue
        position[node] = placed
        placed += 1
        for target in following[node]:
            degree[target] -= 1
            if degree[target] == 0 and position[target] < 0:
                heapq.heappush(ready, target)
    return position
