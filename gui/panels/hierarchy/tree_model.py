"""The tree of modules as a Qt model. Internal ids are indices into the tree's items, so nothing can
dangle.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QBrush, QColor

from engine.reports import NodeInfo
from gui.panels.heat_colours import HeatColours
from gui.panels.hierarchy.model import ModuleTree, TreeItem
from gui.panels.overlays import Heat

Index = QModelIndex | QPersistentModelIndex
_NO_PARENT = QModelIndex()

COLUMNS = ("Module", "Worst")


class ModuleTreeModel(QAbstractItemModel):
    """Shows a :class:`ModuleTree` with the worst value inside each module."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.tree = ModuleTree()
        self._heat = Heat({})
        self._colours = HeatColours(self._heat)

    def set_nodes(self, nodes: Sequence[NodeInfo]) -> None:
        self.beginResetModel()
        self.tree = ModuleTree(nodes)
        self.tree.show(self._heat)
        self.endResetModel()

    def set_heat(self, heat: Heat) -> None:
        self._heat = heat
        self._colours = HeatColours(heat)
        self.tree.show(heat)
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 1, 1)
        if self.tree.items[0].children:
            last = self.index(len(self.tree.items[0].children) - 1, 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def item(self, index: Index) -> TreeItem:
        return self.tree.items[index.internalId() if index.isValid() else 0]

    def index_of(self, item: int, column: int = 0) -> QModelIndex:
        return self.createIndex(self.tree.items[item].row, column, item) if item > 0 else QModelIndex()

    def index(self, row: int, column: int, parent: Index = _NO_PARENT) -> QModelIndex:
        children = self.item(parent).children
        if not (0 <= row < len(children) and 0 <= column < len(COLUMNS)):
            return QModelIndex()
        return self.createIndex(row, column, children[row])

    def parent(self, index: Index = _NO_PARENT) -> QModelIndex:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.index_of(self.item(index).parent) if index.isValid() else QModelIndex()

    def rowCount(self, parent: Index = _NO_PARENT) -> int:
        return 0 if parent.column() > 0 else len(self.item(parent).children)

    def columnCount(self, parent: Index = _NO_PARENT) -> int:
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation != Qt.Orientation.Horizontal or role != Qt.ItemDataRole.DisplayRole:
            return None
        scale = self._heat.scale
        if section == 0:
            return COLUMNS[0]
        if scale is None:
            return "Nodes"
        return scale.label if scale.categories else f"Worst, {scale.unit}"

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        item = self.item(index)
        if role == Qt.ItemDataRole.DisplayRole:
            return item.name if index.column() == 0 else self._figure(item)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(item)
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() == 1:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        colours = self._colours.of(item.worst) if index.column() == 1 else None
        if colours is None:
            return None
        if role == Qt.ItemDataRole.BackgroundRole:
            return QBrush(QColor(colours[0]))
        return QBrush(QColor(colours[1])) if role == Qt.ItemDataRole.ForegroundRole else None

    def _figure(self, item: TreeItem) -> str:
        if self._heat.scale is None:
            return f"{item.count:,}" if item.is_group else ""
        if item.worst is not None and self._heat.scale.categories:
            return self._heat.scale.format(item.worst)
        return "" if item.worst is None else f"{item.worst:.1f}".replace("-", "−")

    def _tip(self, item: TreeItem) -> str:
        if not item.is_group:
            return item.id
        worst = f"\nworst inside: {item.worst_node}" if item.worst_node else ""
        return f"{item.id}\n{item.count:,} nodes{worst}"
