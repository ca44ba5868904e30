"""The node table as a Qt model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QBrush, QColor, QFont

from gui.document.overlay import Overlay
from gui.panels.facts import NodeFacts
from gui.panels.heat_colours import HeatColours
from gui.panels.node_table.model import COLUMNS, NodeTable
from gui.panels.overlays import Heat
from gui.panels.style import mixed
from gui.theme import LIGHT, Theme

Index = QModelIndex | QPersistentModelIndex
_NO_PARENT = QModelIndex()

TINT = 0.86
"""How much of the panel's colour is in a tinted row: enough of the heat to follow it, text stays black on
white.
"""

_OVERLAY_COLUMNS = {
    Overlay.ACCUMULATED: "accumulated",
    Overlay.INTRODUCED: "introduced",
    Overlay.SENSITIVITY: "sensitivity",
    Overlay.LATENCY: "latency",
    Overlay.BOUND: "bound",
}


class NodeTableModel(QAbstractTableModel):
    """Shows a :class:`NodeTable`. Sorting and filtering happen there; this tells the view what changed."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.table = NodeTable()
        self._heat = Heat({})
        self._colours = HeatColours(self._heat)
        self._heat_column = -1
        self._theme = LIGHT
        self._bold = QFont()
        self._roles: dict[int, Callable[[NodeFacts, int], object]] = {
            Qt.ItemDataRole.DisplayRole: lambda facts, column: COLUMNS[column].text(facts),
            Qt.ItemDataRole.ToolTipRole: self._tip,
            Qt.ItemDataRole.TextAlignmentRole: lambda _, column: _alignment(column),
            Qt.ItemDataRole.BackgroundRole: self._background,
            Qt.ItemDataRole.ForegroundRole: self._foreground,
            Qt.ItemDataRole.FontRole: self._font,
        }

    def set_nodes(self, ids: Sequence[str], read: Callable[[str], NodeFacts]) -> None:
        self._rearranged(lambda: self.table.set_nodes(ids, read))

    def set_filter(self, text: str) -> None:
        self._rearranged(lambda: self.table.set_filter(text))

    def set_heat(self, heat: Heat, overlay: Overlay) -> None:
        """Tint rows like the canvas; the overlay's own column is painted in full."""
        self._heat = heat
        self._colours = HeatColours(heat)
        key = _OVERLAY_COLUMNS.get(overlay)
        self._heat_column = next((i for i, column in enumerate(COLUMNS) if column.key == key), -1)
        self._repaint()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._bold = QFont(theme.font_family, theme.font_size_pt)
        self._bold.setBold(True)
        self._repaint()

    def results_changed(self) -> None:
        """The nodes' figures are new."""
        if self.table.sorts_by_results:
            self._rearranged(self.table.arrange)
        else:
            self._repaint()

    def rowCount(self, parent: Index = _NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.table.rows)

    def columnCount(self, parent: Index = _NO_PARENT) -> int:
        return 0 if parent.isValid() else len(COLUMNS)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        reader = self._roles.get(role)
        if reader is None or not index.isValid():
            return None
        return reader(self.table.facts(index.row()), index.column())

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].title
        if role == Qt.ItemDataRole.ToolTipRole:
            return COLUMNS[section].tip
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        is_descending = order == Qt.SortOrder.DescendingOrder
        self._rearranged(lambda: self.table.set_sort(None if column < 0 else column, is_descending))

    def _rearranged(self, change: Callable[[], None]) -> None:
        """Rows come, go and move: the view starts anew, and its owner selects again."""
        self.beginResetModel()
        change()
        self.endResetModel()

    def _repaint(self) -> None:
        if self.table.rows:
            last = self.index(len(self.table.rows) - 1, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def _tip(self, facts: NodeFacts, column: int) -> str:
        if COLUMNS[column].key == "name":
            return facts.info.id
        return facts.reason if facts.needs_attention else COLUMNS[column].text(facts)

    def _background(self, facts: NodeFacts, column: int) -> object:
        colours = self._colours.of(self._heat.values.get(facts.info.id))
        if colours is None:
            return None
        fill = colours[0] if column == self._heat_column else mixed(colours[0], self._theme.panel, TINT)
        return QBrush(QColor(fill))

    def _foreground(self, facts: NodeFacts, column: int) -> object:
        if column == self._heat_column:
            colours = self._colours.of(self._heat.values.get(facts.info.id))
            return None if colours is None else QBrush(QColor(colours[1]))
        key = COLUMNS[column].key
        if key in ("requested", "effective", "reason"):
            return self._precision_brush(facts, key)
        return None

    def _precision_brush(self, facts: NodeFacts, key: str) -> object:
        if facts.needs_attention and key != "requested":
            return QBrush(QColor(self._theme.warning))
        precision = facts.requested if key == "requested" else facts.effective
        colour = self._theme.precisions.get(precision)
        if key == "reason" or colour is None:
            return QBrush(QColor(self._theme.muted_text))
        return QBrush(QColor(colour))

    def _font(self, facts: NodeFacts, column: int) -> object:
        is_choice = COLUMNS[column].key == "requested" and facts.requested != "auto"
        return self._bold if is_choice else None


def _alignment(column: int) -> int:
    side = Qt.AlignmentFlag.AlignRight if COLUMNS[column].is_numeric else Qt.AlignmentFlag.AlignLeft
    return int(side | Qt.AlignmentFlag.AlignVCenter)
