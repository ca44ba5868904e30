"""Keeps the canvas at the document: scene, badges, heat and selection; and the other panels at the same
heat.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable

from PySide6.QtCore import QObject, Signal

from gui.canvas.model import ViewState
from gui.canvas.widget import GraphCanvas
from gui.document.document import Document
from gui.document.graph_view import GraphView
from gui.document.overlay import Overlay
from gui.document.qt_document import QtDocument, SharedView
from gui.panels import formats
from gui.panels.bounds import bound_title
from gui.panels.facts import NodeFacts, shape_text
from gui.panels.graph_faces import CompiledFace, GraphFace, SourceFace, caption_of, regions_on
from gui.panels.overlays import Heat, heat_of


class HeatSource(QObject):
    """The heat map of the current overlay, computed once for all views. Emits ``changed``."""

    changed = Signal()

    def __init__(self, document: QtDocument, view: SharedView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document = document.document
        self._view = view
        self.heat = Heat({})
        document.graphChanged.connect(self.refresh)
        document.resolutionChanged.connect(self.refresh)
        document.timingChanged.connect(self.refresh)
        document.errorsChanged.connect(self.refresh)
        view.overlayChanged.connect(self.refresh)

    @property
    def overlay(self) -> Overlay:
        return self._view.overlay

    def refresh(self) -> None:
        heat = heat_of(self._document, self._view.overlay)
        if heat != self.heat:
            self.heat = heat
            self.changed.emit()


class CanvasLink(QObject):
    """Connects a canvas to the document and the shared view, which says whether operators or kernels show.

    Ids outside are those of source nodes; on the canvas they are those of the boxes that these are in.
    """

    def __init__(
        self, canvas: GraphCanvas, document: QtDocument, view: SharedView, heat: HeatSource, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._document = document.document
        self._view = view
        self._heat = heat
        self._source = SourceFace(self._document)
        self._compiled: CompiledFace | None = None
        self._face: GraphFace = self._source
        self._left: dict[type[GraphFace], tuple[ViewState, bool]] = {}
        self._is_syncing = False
        document.graphChanged.connect(self._show_graph)
        document.planChanged.connect(self._show_plan)
        document.resolutionChanged.connect(self._show_decorations)
        document.compilationChanged.connect(self._show_face)
        heat.changed.connect(self._show_heat)
        view.graphViewChanged.connect(self._show_face)
        view.selectionChanged.connect(lambda: self._once(self._show_selection))
        canvas.selectionChanged.connect(lambda ids: self._once(lambda: view.select(self._face.nodes(ids))))
        canvas.setCardText(self._card)

    def boxes(self, nodes: Iterable[str]) -> list[str]:
        """The boxes that source nodes are in."""
        return self._face.boxes(nodes)

    def nodes(self, boxes: Iterable[str]) -> list[str]:
        """The source nodes behind boxes."""
        return self._face.nodes(boxes)

    def reveal(self, item_id: str) -> None:
        """Show a source node, or a module, where it is on the canvas."""
        for box in self._face.boxes((item_id,)):
            self._canvas.reveal(box)

    def _show_graph(self) -> None:
        if self._document.graph is None:
            return
        self._view.select(())
        self._left.clear()
        self._compiled = None
        self._face = self._source = SourceFace(self._document)
        self._view.show_graph(GraphView.SOURCE)
        self._canvas.setScene(self._face.scene)
        self._dress()

    def _show_face(self) -> None:
        """Show what is asked for: operators, or the kernels once there are any."""
        compilation = self._document.results.compiled.compilation
        if self._view.graph_view is GraphView.SOURCE or compilation is None:
            self._change_face(self._source)
        else:
            if self._compiled is None or self._compiled.compilation is not compilation:
                self._compiled = CompiledFace(self._document, compilation)
            self._change_face(self._compiled)

    def _change_face(self, face: GraphFace) -> None:
        before, self._face = self._face, face
        if self._canvas.scene() != face.scene:
            self._left[type(before)] = (self._canvas.viewState(), self._canvas.isFitted)
            self._once(lambda: self._show_scene(face))
        if face is not before:
            self._dress()
        self._show_caption()

    def _show_scene(self, face: GraphFace) -> None:
        """Another graph, in the view that was left last; the selection comes along, and into sight."""
        self._canvas.setScene(face.scene)
        state, is_fitted = self._left.get(type(face), (None, False))
        if state is not None:
            self._canvas.setViewState(state)
        if is_fitted:
            self._canvas.fit()
        self._show_selection()
        selected = self._canvas.selection()
        if selected and not self._canvas.isInSight(selected[0]):
            self._canvas.reveal(selected[0])

    def _show_selection(self) -> None:
        self._canvas.setSelection(self._face.boxes(self._view.selection))

    def _show_plan(self) -> None:
        self._show_decorations()
        self._show_caption()

    def _dress(self) -> None:
        self._show_decorations()
        self._show_heat()
        self._show_caption()

    def _show_decorations(self) -> None:
        self._canvas.setDecorations(self._face.decorations(self._document))
        self._canvas.setRegions(regions_on(self._face, self._document))

    def _show_heat(self) -> None:
        is_source = self._face is self._source
        heat = self._heat.heat if is_source else self._face.heat(self._document, self._heat.overlay)
        self._canvas.setHeat(heat.values, heat.scale, heat.weights)

    def _show_caption(self) -> None:
        is_asked = self._view.graph_view is GraphView.COMPILED and self._document.is_open
        text, is_warning = caption_of(self._document, self._face) if is_asked else ("", False)
        self._canvas.setCaption(text, is_warning)

    def _once(self, change: Callable[[], object]) -> None:
        """Carry a selection over without carrying it back."""
        if not self._is_syncing:
            self._is_syncing = True
            change()
            self._is_syncing = False

    def _card(self, item_id: str) -> str:
        if item_id not in self._document.nodes:
            return self._canvas.describe(item_id)
        return self._face.card(self._document, item_id) or node_card(self._document, item_id)


def node_card(document: Document, node_id: str) -> str:
    """The hover card of a node, as simple HTML."""
    facts = NodeFacts.of(document, node_id)
    shapes = ", ".join(shape_text(shape) for shape in facts.info.shapes)
    lines = [f"<b>{html.escape(facts.info.id)}</b>", html.escape(f"{facts.info.op_type}   {shapes}")]
    if facts.info.problem:
        lines.append(f"<b>{html.escape(facts.info.problem)}</b>")
    elif facts.plan is not None:
        lines.append(html.escape(f"requested {facts.requested}, effective {facts.effective}"))
        if facts.reason:
            lines.append(f"<i>{html.escape(facts.reason)}</i>")
    if facts.error is not None:
        accumulated = formats.decibels(facts.error.accumulated_db, unit="dB")
        introduced = formats.decibels(facts.error.introduced_db, exact="none", unit="dB")
        lines.append(html.escape(f"accumulated {accumulated}, introduced {introduced}"))
    if facts.sensitivity is not None:
        alone = formats.decibels(facts.sensitivity.output_db, exact="no effect", unit="dB")
        lines.append(html.escape(f"only this node quantised: {alone} at the outputs"))
    if facts.time is not None:
        bound = bound_title(facts.time.bound)
        time = formats.number(facts.time.latency_us, "µs")
        lines.append(html.escape(f"{time}, bound by {bound}" if bound else time))
    return "<br>".join(lines)
