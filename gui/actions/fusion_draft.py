"""The region that a drag over nodes would make: asked of the engine while the mouse moves, and shown on the canvas."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from engine.reports import RegionVerdict
from gui.canvas.widget import GraphCanvas
from gui.client.session import EngineSession
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.canvas_link import CanvasLink
from gui.panels.regions import draft_of


@dataclass(frozen=True)
class _Asked:
    """The nodes under the drag; ``is_dropped`` once they are selected."""

    nodes: tuple[str, ...]
    is_dropped: bool = False


class FusionDraft(QObject):
    """Follows a drag: each set of nodes is judged, of several on their way only the newest. What the engine said last
    shows until it says more, so that nothing flickers.

    Once the mouse is released the draft stays for as long as the selection and the plan do. Emits ``changed``.
    """

    changed = Signal()

    def __init__(
        self,
        canvas: GraphCanvas,
        link: CanvasLink,
        document: QtDocument,
        session: EngineSession,
        view: SharedView,
        markable: Callable[[Iterable[str]], list[str]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._link = link
        self._session = session
        self._view = view
        self._markable = markable
        self._asked: _Asked | None = None
        self._nearest: RegionVerdict | None = None
        self.verdict: RegionVerdict | None = None
        canvas.areaDragged.connect(self._on_dragged)
        canvas.areaDropped.connect(self._on_dropped)
        canvas.areaCancelled.connect(self.clear)
        canvas.escaped.connect(self.clear)
        view.selectionChanged.connect(self._on_selection)
        view.graphViewChanged.connect(self.clear)
        document.graphChanged.connect(self.clear)
        document.planChanged.connect(self.clear)
        session.regionJudged.connect(self._on_judged)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The operators under the drag, or dropped; none without a draft."""
        return () if self._asked is None else self._asked.nodes

    def clear(self) -> None:
        """There is no draft any more."""
        had_draft = self._asked is not None
        self._asked = self.verdict = self._nearest = None
        self._canvas.setDraft(None)
        if had_draft:
            self.changed.emit()

    def _on_dragged(self, ids: list[str]) -> None:
        nodes = tuple(self._markable(self._link.nodes(ids)))
        if len(nodes) < 2:
            self.clear()
        elif nodes != self.nodes:
            self._asked, self._nearest = _Asked(nodes), None
            self._session.judge_region(nodes)

    def _on_dropped(self) -> None:
        if self._asked is None:
            return
        self._asked = _Asked(self._asked.nodes, is_dropped=True)
        self._ask_about_nearest()
        self._show()

    def _on_selection(self) -> None:
        """Another selection is another matter; that of the drop itself is what the draft is about."""
        asked = self._asked
        if asked is not None and asked.is_dropped and tuple(self._markable(self._view.selection)) != asked.nodes:
            self.clear()

    def _on_judged(self, verdict: RegionVerdict) -> None:
        asked = self._asked
        if asked is None:
            return
        if self.verdict is not None and verdict.nodes == self.verdict.nearest and verdict.nodes != self.verdict.nodes:
            self._nearest = verdict
        elif set(verdict.nodes) == set(asked.nodes):
            self.verdict, self._nearest = verdict, None
            self._ask_about_nearest()
        self._show()

    def _ask_about_nearest(self) -> None:
        """What the nearest legal region saves, once the mouse is released."""
        verdict, asked = self.verdict, self._asked
        if asked is None or verdict is None or not asked.is_dropped or set(verdict.nodes) != set(asked.nodes):
            return
        if verdict.nearest and not verdict.legal:
            self._session.judge_region(verdict.nearest)

    def _show(self) -> None:
        if self._asked is not None and self.verdict is not None:
            draft = draft_of(self.verdict, self._nearest, self._asked.is_dropped)
            self._canvas.setDraft(draft.on(self._link.boxes))
            self.changed.emit()
