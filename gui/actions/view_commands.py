"""What the View, Go and Help menus do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from gui.canvas.widget import GraphCanvas
from gui.document.graph_view import GraphView
from gui.document.overlay import Overlay
from gui.document.qt_document import SharedView
from gui.panels.canvas_link import CanvasLink, HeatSource
from gui.panels.dialogs.prompts import Prompts
from gui.panels.overlays import worst_first
from gui.panels.search.widget import SearchBar
from gui.theme import DARK, LIGHT, Theme


class WindowFrame(Protocol):
    """What these commands need of the window itself."""

    def set_theme(self, theme: Theme) -> None:
        """Dress everything anew."""
        ...

    def reset_layout(self) -> None:
        """Put the panels back."""
        ...

    def open_palette(self) -> None:
        """Offer all commands."""
        ...


class ViewCommands:
    """Changes what is seen, never the plan."""

    def __init__(
        self,
        canvas: GraphCanvas,
        view: SharedView,
        link: CanvasLink,
        heat: HeatSource,
        search: SearchBar,
        prompts: Prompts,
        frame: WindowFrame,
    ) -> None:
        self._canvas = canvas
        self._view = view
        self._link = link
        self._heat = heat
        self._search = search
        self._prompts = prompts
        self._frame = frame

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {
            **{f"overlay.{overlay.value}": partial(self._view.show_overlay, overlay) for overlay in Overlay},
            "view.fit": self._canvas.fit,
            "view.expand_all": self._canvas.expandAll,
            "view.collapse_all": self._canvas.collapseAll,
            "view.source": lambda: self._view.show_graph(GraphView.SOURCE),
            "view.compiled": self.toggle_compiled,
            "view.light": lambda: self._frame.set_theme(LIGHT),
            "view.dark": lambda: self._frame.set_theme(DARK),
            "view.reset_layout": lambda: self._frame.reset_layout(),
            "go.find": self._search.open,
            "go.next_worst": lambda: self.step_worst(1),
            "go.previous_worst": lambda: self.step_worst(-1),
            "go.reveal": self.reveal_selection,
            "go.palette": lambda: self._frame.open_palette(),
            "help.about": lambda: self._prompts.about(),
        }

    def reveal(self, item_id: str) -> None:
        """Show a node or module on the graph."""
        self._link.reveal(item_id)

    def toggle_compiled(self) -> None:
        """Show kernels, or operators again."""
        is_compiled = self._view.graph_view is GraphView.COMPILED
        self._view.show_graph(GraphView.SOURCE if is_compiled else GraphView.COMPILED)

    def find(self, node_id: str) -> None:
        """Select a node and show it."""
        self._view.select((node_id,))
        self._link.reveal(node_id)

    def reveal_selection(self) -> None:
        if self._view.selection:
            self._link.reveal(self._view.selection[0])

    def step_worst(self, by: int) -> None:
        """Go along the nodes from worst to best; from any other node, to the worst."""
        order = worst_first(self._heat.heat)
        if not order:
            return
        selected = self._view.selection
        is_on_the_way = len(selected) == 1 and selected[0] in self._heat.heat.values
        position = (order.index(selected[0]) + by) % len(order) if is_on_the_way else 0
        self.find(order[position])
