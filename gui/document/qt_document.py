"""The document and the view state as Qt objects: thin, they only turn changes into signals."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QObject, Signal

from gui.document.document import Change, Document
from gui.document.graph_view import GraphView
from gui.document.overlay import Overlay


class QtDocument(QObject):
    """Emits one signal per kind of change of its ``document``."""

    graphChanged = Signal()
    planChanged = Signal()
    resolutionChanged = Signal()
    timingChanged = Signal()
    errorsChanged = Signal()
    compilationChanged = Signal()
    stateChanged = Signal()

    def __init__(self, document: Document, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.document = document
        self._signals = {
            Change.GRAPH: self.graphChanged,
            Change.PLAN: self.planChanged,
            Change.RESOLUTION: self.resolutionChanged,
            Change.TIMING: self.timingChanged,
            Change.ERRORS: self.errorsChanged,
            Change.COMPILATION: self.compilationChanged,
            Change.STATE: self.stateChanged,
        }
        document.subscribe(self._emit)

    def _emit(self, change: Change) -> None:
        for flag, signal in self._signals.items():
            if flag in change:
                signal.emit()


class SharedView(QObject):
    """What all views share besides the document: the selected nodes, the overlay, and the form of the graph.

    The last selected node is the one that the inspector shows in detail.
    """

    selectionChanged = Signal()
    overlayChanged = Signal()
    graphViewChanged = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.selection: tuple[str, ...] = ()
        self.overlay = Overlay.NONE
        self.graph_view = GraphView.SOURCE

    def select(self, node_ids: Iterable[str]) -> None:
        """Make the nodes the selection of every view."""
        selection = tuple(dict.fromkeys(node_ids))
        if selection != self.selection:
            self.selection = selection
            self.selectionChanged.emit()

    def show_graph(self, graph_view: GraphView) -> None:
        """Show operators or kernels."""
        if graph_view is not self.graph_view:
            self.graph_view = graph_view
            self.graphViewChanged.emit()

    def show_overlay(self, overlay: Overlay) -> None:
        if overlay != self.overlay:
            self.overlay = overlay
            self.overlayChanged.emit()
