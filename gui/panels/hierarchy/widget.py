"""The tree of modules; clicking selects what is inside and reveals it on the graph."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, QModelIndex, Signal
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTreeView, QVBoxLayout, QWidget

from gui.document.qt_document import QtDocument, SharedView
from gui.panels.hierarchy.tree_model import ModuleTreeModel
from gui.panels.overlays import Heat

WORST_WIDTH = 78
INDENTATION = 14


class HierarchyPanel(QWidget):
    """Emits ``revealed`` with the id of the module or node that the user clicked."""

    revealed = Signal(str)

    def __init__(self, document: QtDocument, view: SharedView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._view = view
        self._is_syncing = False
        self.model = ModuleTreeModel(self)
        self.tree = QTreeView()
        self._build()
        document.graphChanged.connect(self._show_graph)
        view.selectionChanged.connect(self._show_selection)
        self.tree.clicked.connect(self._on_clicked)
        self.tree.selectionModel().selectionChanged.connect(self._on_selected)

    def set_heat(self, heat: Heat) -> None:
        self.model.set_heat(heat)

    def _build(self) -> None:
        tree = self.tree
        tree.setModel(self.model)
        tree.setUniformRowHeights(True)
        tree.setIndentation(INDENTATION)
        tree.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        tree.setExpandsOnDoubleClick(True)
        tree.setAccessibleName("Modules")
        header = tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(1, WORST_WIDTH)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(tree)

    def _show_graph(self) -> None:
        graph = self._document.document.graph
        self.model.set_nodes(graph.nodes if graph is not None else ())
        self.tree.expandToDepth(0)

    def _on_clicked(self, index: QModelIndex) -> None:
        self.revealed.emit(self.model.item(index).id)

    def _on_selected(self) -> None:
        if self._is_syncing:
            return
        self._is_syncing = True
        chosen = self.tree.selectionModel().selectedRows()
        tree = self.model.tree
        self._view.select(node for index in chosen for node in tree.nodes_in(index.internalId()))
        self._is_syncing = False

    def _show_selection(self) -> None:
        """One selected node is shown in the tree; of many, those whose modules are open."""
        if self._is_syncing:
            return
        self._is_syncing = True
        selection = self._view.selection
        chosen = self.tree.selectionModel()
        chosen.clearSelection()
        flags = QItemSelectionModel.SelectionFlag
        for node_id in selection:
            index = self.model.index_of(self.model.tree.index.get(node_id, 0))
            if len(selection) == 1 or self._is_shown(index):
                chosen.select(index, flags.Select | flags.Rows)
            if len(selection) == 1:
                self.tree.scrollTo(index)
        self._is_syncing = False

    def _is_shown(self, index: QModelIndex) -> bool:
        parent = index.parent()
        while parent.isValid():
            if not self.tree.isExpanded(parent):
                return False
            parent = parent.parent()
        return True
