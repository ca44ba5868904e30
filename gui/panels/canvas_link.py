"""Keeps the canvas at the document: scene, badges, heat and selection; and the other panels at the same
heat.
"""

from __future__ import annotations

import html
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from gui.canvas.widget import GraphCanvas
from gui.document.document import Document
from gui.document.overlay import Overlay
from gui.document.qt_document import QtDocument, SharedView
from gui.panels import formats
from gui.panels.facts import NodeFacts, shape_text
from gui.panels.overlays import Heat, heat_of
from gui.panels.regions import regions_of
from gui.panels.scene_builder import decorations_of, scene_of


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
    """Connects a canvas to the document and the shared view."""

    def __init__(
        self, canvas: GraphCanvas, document: QtDocument, view: SharedView, heat: HeatSource, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._document = document.document
        self._view = view
        self._heat = heat
        self._is_syncing = False
        document.graphChanged.connect(self._show_graph)
        document.planChanged.connect(self._show_decorations)
        document.resolutionChanged.connect(self._show_decorations)
        heat.changed.connect(self._show_heat)
        view.selectionChanged.connect(lambda: self._once(lambda: canvas.setSelection(view.selection)))
        canvas.selectionChanged.connect(lambda ids: self._once(lambda: view.select(ids)))
        canvas.setCardText(self._card)

    def _show_graph(self) -> None:
        graph = self._document.graph
        if graph is not None:
            self._view.select(())
            self._canvas.setScene(scene_of(graph))
            self._show_decorations()
            self._show_heat()

    def _show_decorations(self) -> None:
        self._canvas.setDecorations(decorations_of(self._document))
        self._canvas.setRegions(regions_of(self._document))

    def _show_heat(self) -> None:
        heat = self._heat.heat
        self._canvas.setHeat(heat.values, heat.scale, heat.weights)

    def _once(self, change: Callable[[], None]) -> None:
        """Carry a selection over without carrying it back."""
        if not self._is_syncing:
            self._is_syncing = True
            change()
            self._is_syncing = False

    def _card(self, item_id: str) -> str:
        if item_id not in self._document.nodes:
            return self._canvas.describe(item_id)
        return node_card(self._document, item_id)


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
    if facts.time is not None:
        lines.append(html.escape(f"{formats.number(facts.time.latency_us, 'µs')}, bound by {facts.time.bound}"))
    return "<br>".join(lines)
