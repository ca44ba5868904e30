"""The node table: a filter box over a table; its selection is the window's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from gui.document.overlay import Overlay
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.facts import NodeFacts
from gui.panels.node_table.model import COLUMNS
from gui.panels.node_table.table_model import NodeTableModel
from gui.panels.overlays import Heat
from gui.panels.parts import set_role
from gui.theme import Theme

ROW_PADDING = 8


class TailDelegate(QStyledItemDelegate):
    """Cuts long ids off in front: what tells them apart stands at the end."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        option.textElideMode = Qt.TextElideMode.ElideLeft  # pyright: ignore[reportAttributeAccessIssue]


class NodeTablePanel(QWidget):
    """Emits ``revealed`` with a node's id when the user double-clicks it."""

    revealed = Signal(str)

    def __init__(self, document: QtDocument, view: SharedView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._view = view
        self._is_syncing = False
        self.model = NodeTableModel(self)
        self.filter_box = QLineEdit(placeholderText="Filter by name, operator, precision, shape … or /regex/")
        self.filter_box.setClearButtonEnabled(True)
        self._count = QLabel()
        self.table = QTableView()
        self._build()
        self._connect()

    def set_heat(self, heat: Heat, overlay: Overlay) -> None:
        self.model.set_heat(heat, overlay)

    def set_theme(self, theme: Theme) -> None:
        self.model.set_theme(theme)
        self._fit_columns()

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        set_role(self._count, "muted")
        table = self.table
        table.setModel(self.model)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setSortingEnabled(True)
        table.setAccessibleName("Nodes")
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + ROW_PADDING)
        table.setItemDelegateForColumn(0, TailDelegate(table))
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSortIndicatorClearable(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        header.setStretchLastSection(True)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self._fit_columns()
        top = QHBoxLayout()
        top.setContentsMargins(8, 6, 8, 6)
        top.setSpacing(10)
        top.addWidget(self.filter_box)
        top.addWidget(self._count)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        layout.addWidget(table)

    def _fit_columns(self) -> None:
        width = self.table.fontMetrics().averageCharWidth()
        for index, column in enumerate(COLUMNS):
            self.table.setColumnWidth(index, round(width * column.width_characters * 1.08) + 16)

    def _connect(self) -> None:
        document = self._document
        document.graphChanged.connect(self._show_graph)
        for signal in (
            document.planChanged,
            document.resolutionChanged,
            document.timingChanged,
            document.errorsChanged,
        ):
            signal.connect(self.model.results_changed)
        self.filter_box.textChanged.connect(self._filter)
        self.model.modelReset.connect(self._on_rows_changed)
        self._view.selectionChanged.connect(self._show_selection)
        self.table.selectionModel().selectionChanged.connect(self._on_selected)
        self.table.doubleClicked.connect(lambda index: self.revealed.emit(self.model.table.node_id(index.row())))

    def _show_graph(self) -> None:
        document = self._document.document
        self.model.set_nodes(tuple(document.nodes), lambda node_id: NodeFacts.of(document, node_id))

    def _filter(self, text: str) -> None:
        self.model.set_filter(text)

    def _on_rows_changed(self) -> None:
        table = self.model.table
        shown, total = len(table.rows), len(table.ids)
        text = f"{total:,} nodes" if shown == total else f"{shown:,} of {total:,} nodes"
        self._count.setText(table.problem or text)
        set_role(self._count, "warning" if table.problem else "muted")
        self._show_selection()

    def _show_selection(self) -> None:
        """Take over the selection of the other views."""
        if self._is_syncing:
            return
        self._is_syncing = True
        rows = sorted(self._rows_of(self._view.selection))
        flags = QItemSelectionModel.SelectionFlag
        self.table.selectionModel().select(self._as_selection(rows), flags.ClearAndSelect | flags.Rows)
        if rows:
            self.table.scrollTo(self.model.index(rows[0], 0))
        self._is_syncing = False

    def _on_selected(self) -> None:
        if self._is_syncing:
            return
        self._is_syncing = True
        rows = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        self._view.select(self.model.table.node_id(row) for row in rows)
        self._is_syncing = False

    def _rows_of(self, ids: Iterable[str]) -> list[int]:
        row_of = self.model.table.row_of()
        return [row_of[node_id] for node_id in ids if node_id in row_of]

    def _as_selection(self, rows: Sequence[int]) -> QItemSelection:
        """Neighbouring rows as one range: selecting a whole model stays quick."""
        selection = QItemSelection()
        start = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or rows[end] != rows[end - 1] + 1:
                first, last = self.model.index(rows[start], 0), self.model.index(rows[end - 1], len(COLUMNS) - 1)
                selection.select(first, last)
                start = end
        return selection
