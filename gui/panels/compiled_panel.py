"""What panels over the compiled model have in common: the head line, when they follow the plan, and what they say while
there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from engine.reports import Compilation
from gui.document.document import Document
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.parts import ElidedLabel, set_role
from gui.panels.scene_builder import titles_of
from gui.theme import Theme

NO_MODEL = "Open a model to see what the compiler makes of it."
COMPILING = "Compiling …"
UPDATING = "being updated"

LEAST_HEAD = 160
"""A head line is cut off rather than the window kept from being narrow."""


class CompiledPanel(QWidget):
    """A head line above a picture of the compiled model.

    Emits ``revealed`` with a node that was clicked, to be shown on the graph.

    It works only while it is watched. An older compilation stays until the next one is there, and is said to be one.
    To be said by those who derive from it: ``take`` and ``headline``.
    """

    revealed = Signal(str)

    def __init__(self, document: QtDocument, view: SharedView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document.document
        self._view = view
        self._is_watched = False
        self._taken: Compilation | None = None
        self._titles: Mapping[str, str] | None = None
        self.head = QLabel()
        self.note = ElidedLabel()
        self.empty = QLabel(NO_MODEL)
        self.pages = QStackedWidget()
        self.tools = QHBoxLayout()
        self._build()
        document.graphChanged.connect(self._start_anew)
        for signal in (document.graphChanged, document.planChanged, document.compilationChanged):
            signal.connect(self.refresh)

    # What those who derive from it say

    def take(self, compilation: Compilation) -> None:
        """Show another compilation."""
        raise NotImplementedError

    def headline(self, compilation: Compilation) -> str:
        """The figures that matter most."""
        raise NotImplementedError

    def set_theme(self, theme: Theme) -> None:
        """Dress anew."""
        raise NotImplementedError

    def forget(self) -> None:
        """Another model is open: where the last one was looked at means nothing any more."""
        raise NotImplementedError

    def remark(self, compilation: Compilation) -> str:
        """What stands beside the head line: how far the times are known to be off, unless another thing matters."""
        return compilation.stated_error

    # What they have in common

    @property
    def titles(self) -> Mapping[str, str]:
        """What the nodes of the open model are called where there is little room."""
        if self._titles is None:
            graph = self._document.graph
            self._titles = titles_of(graph) if graph is not None else {}
        return self._titles

    def set_content(self, widget: QWidget) -> None:
        """The picture; once, while being made."""
        self.pages.addWidget(widget)

    def set_watched(self, is_watched: bool) -> None:
        """Whether the user sees this panel; it is brought up to date when that begins."""
        self._is_watched = is_watched
        self.refresh()

    def refresh(self) -> None:
        """Show what the document holds now."""
        if not self._is_watched:
            return
        document = self._document
        compiled = document.results.compiled
        if compiled.compilation is None:
            self._taken = None
            self._show_empty(_nothing_text(document), is_problem=document.is_compiled)
            return
        if compiled.compilation is not self._taken:
            self._taken = compiled.compilation
            self.take(compiled.compilation)
        self.pages.setCurrentIndex(1)
        self.head.setText(self.headline(compiled.compilation))
        remark = self.remark(compiled.compilation)
        self.note.setText(remark if document.is_compiled else UPDATING)
        self.note.setToolTip(remark)
        set_role(self.head, "heading" if document.is_compiled else "muted")

    def selected_nodes(self) -> list[str]:
        """The selected nodes, and the units that compute those which are fused."""
        unit = self._document.results.resolved.unit
        return [*self._view.selection, *map(unit, self._view.selection)]

    def select(self, nodes: tuple[str, ...], is_added: bool) -> None:
        """Select and reveal nodes; with ``is_added`` besides what is selected, or out of it where all are."""
        known = [node for node in nodes if node in self._document.nodes]
        before = self._view.selection
        if not is_added:
            self._view.select(known)
        elif known and set(known) <= set(before):
            self._view.select(node for node in before if node not in known)
        else:
            self._view.select((*before, *known))
        if known:
            self.revealed.emit(known[0])

    def _start_anew(self) -> None:
        self._titles = None
        self.forget()

    def _show_empty(self, text: str, is_problem: bool) -> None:
        self.pages.setCurrentIndex(0)
        self.head.clear()
        self.note.clear()
        self.empty.setText(text)
        set_role(self.empty, "warning" if is_problem else "muted")

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        set_role(self.note, "muted")
        self.head.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.head.setMinimumWidth(LEAST_HEAD)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        self.empty.setMargin(16)
        self.pages.addWidget(self.empty)
        self.tools.setContentsMargins(8, 4, 8, 4)
        self.tools.setSpacing(10)
        self.tools.addWidget(self.head)
        self.tools.addWidget(self.note, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(self.tools)
        layout.addWidget(self.pages, 1)


def _nothing_text(document: Document) -> str:
    if not document.is_open:
        return NO_MODEL
    return f"The model cannot be compiled: {document.results.compiled.problem}" if document.is_compiled else COMPILING
