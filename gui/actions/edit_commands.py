"""What the Edit and Precision menus do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from gui.document.document import Document
from gui.document.qt_document import SharedView
from gui.panels.dialogs.prompts import Prompts
from gui.panels.facts import NodeFacts, is_markable
from gui.panels.inspector.methods import why_no_method
from gui.panels.inspector.model import PRECISIONS
from gui.panels.summary.widget import METHODS

TARGET_COMMAND = "model.target_file"


class EditCommands:
    """Changes the plan and the selection."""

    def __init__(self, document: Document, view: SharedView, prompts: Prompts) -> None:
        self._document = document
        self._view = view
        self._prompts = prompts

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {
            "edit.undo": self._document.undo,
            "edit.redo": self._document.redo,
            TARGET_COMMAND: self.ask_and_set_target,
            "select.same_type": self.select_same_type,
            "select.all": lambda: self._view.select(self._document.nodes),
            "select.none": lambda: self._view.select(()),
            **{f"mark.{precision}": partial(self.mark, precision) for precision in PRECISIONS},
            **{f"method.{name}": partial(self._document.set_default_method, name) for name, _ in METHODS},
        }

    def mark(self, precision: str) -> None:
        """Ask for a precision on every selected node that can have one: one step of undo."""
        self._document.mark(self.markable(), precision)

    def set_method(self, method: str) -> None:
        """Choose how the ranges of the selected nodes' outputs are found ("": as all others): one step of undo."""
        facts = [NodeFacts.of(self._document, node_id) for node_id in self.markable()]
        with_range = [item.info.id for item in facts if not why_no_method(self._document, [item])]
        self._document.set_method(with_range, method)

    def ask_and_set_target(self) -> None:
        """Plan for a chip that the user describes; a description that is wrong is the engine's to say."""
        path = self._prompts.path_to_target()
        if path and self._document.is_open:
            self._document.set_target(str(Path(path).absolute()))

    def markable(self) -> list[str]:
        """The selected nodes that can have a precision."""
        return self.markable_of(self._view.selection)

    def markable_of(self, node_ids: Iterable[str]) -> list[str]:
        """Those of some nodes that can have a precision."""
        nodes = self._document.nodes
        return [node_id for node_id in node_ids if node_id in nodes and is_markable(nodes[node_id])]

    def select_same_type(self) -> None:
        nodes = self._document.nodes
        types = {nodes[node_id].op_type for node_id in self._view.selection if node_id in nodes}
        self._view.select(info.id for info in nodes.values() if info.op_type in types)
