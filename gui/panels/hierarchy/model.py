"""The tree of modules without Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.reports import NodeInfo
from gui.panels.overlays import Heat

SEPARATOR = "/"


@dataclass
class TreeItem:
    """A module or an operator. ``id`` is the module's path or the node's id; ``count`` the operators
    inside.
    """

    id: str
    name: str
    parent: int
    row: int
    is_group: bool
    children: list[int] = field(default_factory=list[int])
    count: int = 1
    worst: float | None = None
    worst_node: str = ""


class ModuleTree:
    """Items in an order in which every module comes before what is in it; item 0 is the root, which does
    not show.
    """

    def __init__(self, nodes: Sequence[NodeInfo] = ()) -> None:
        self.items = [TreeItem("", "", -1, 0, is_group=True, count=0)]
        self._groups: dict[tuple[str, ...], int] = {(): 0}
        self.index: dict[str, int] = {}
        for info in nodes:
            self.index[info.id] = self._add(info.id, info.name, self._group(info.namespace), is_group=False)
        self._count()

    def nodes_in(self, item: int) -> list[str]:
        """Ids of the operators in a module, or of the operator itself."""
        entry = self.items[item]
        if not entry.is_group:
            return [entry.id]
        return [node_id for child in entry.children for node_id in self.nodes_in(child)]

    def show(self, heat: Heat) -> None:
        """Give each operator its value and each module the worst one inside; of categories, that of most weight."""
        if heat.scale is not None and heat.scale.categories:
            self._show_categories(heat)
            return
        worse = max if heat.scale is not None and heat.scale.higher_is_worse else min
        for item in self.items:
            item.worst = None if item.is_group else heat.values.get(item.id)
            item.worst_node = "" if item.worst is None else item.id
        for item in reversed(self.items[1:]):
            parent = self.items[item.parent]
            if item.worst is None:
                continue
            if parent.worst is None or worse(item.worst, parent.worst) != parent.worst:
                parent.worst, parent.worst_node = item.worst, item.worst_node

    def _show_categories(self, heat: Heat) -> None:
        weight: list[dict[float, float]] = [{} for _ in self.items]
        for index in range(len(self.items) - 1, -1, -1):
            item, inside = self.items[index], weight[index]
            value = None if item.is_group else heat.values.get(item.id)
            if value is not None:
                inside[value] = heat.weights.get(item.id, 0.0)
            item.worst = max(inside, key=lambda category: inside[category]) if inside else None
            item.worst_node = ""
            if item.parent >= 0:
                above = weight[item.parent]
                above.update({category: above.get(category, 0.0) + each for category, each in inside.items()})

    def _group(self, namespace: tuple[str, ...]) -> int:
        known = self._groups.get(namespace)
        if known is not None:
            return known
        parent = self._group(namespace[:-1])
        group = self._add(SEPARATOR.join(namespace), namespace[-1], parent, is_group=True)
        self._groups[namespace] = group
        return group

    def _add(self, item_id: str, name: str, parent: int, is_group: bool) -> int:
        index = len(self.items)
        siblings = self.items[parent].children
        self.items.append(TreeItem(item_id, name, parent, len(siblings), is_group, count=0 if is_group else 1))
        siblings.append(index)
        return index

    def _count(self) -> None:
        for item in reversed(self.items[1:]):
            self.items[item.parent].count += item.count
