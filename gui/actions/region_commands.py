"""Fusing nodes into regions and dissolving them, with what the engine says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.reports import RegionVerdict
from gui.actions.edit_commands import EditCommands
from gui.actions.file_commands import NoticeSink
from gui.client.session import EngineSession
from gui.document.document import Document
from gui.document.notice import Level, Notice
from gui.document.qt_document import SharedView
from gui.panels.regions import refusal_details, refusal_text, saving_text

SHOW_COMMAND = "region.show_nodes"
NEAREST_COMMAND = "region.fuse_nearest"


class RegionCommands:
    """Asks the engine before a region is made: the plan only ever gets legal ones from here."""

    def __init__(
        self,
        document: Document,
        session: EngineSession,
        view: SharedView,
        edits: EditCommands,
        notices: NoticeSink,
        reveal: Callable[[str], object],
        state_changed: Callable[[], object],
    ) -> None:
        self._document = document
        self._session = session
        self._view = view
        self._edits = edits
        self._notices = notices
        self._reveal = reveal
        self._state_changed = state_changed
        self.refused: RegionVerdict | None = None
        self._said = ""
        session.regionChecked.connect(self._on_checked)
        session.opened.connect(lambda _: self._forget())

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {
            "region.fuse": self.fuse,
            "region.dissolve": self.dissolve,
            SHOW_COMMAND: self.show_nodes,
            NEAREST_COMMAND: self.fuse_nearest,
        }

    def fuse(self) -> None:
        """Ask whether the selected operators can run as one kernel; they do if so."""
        self._session.check_region(self._edits.markable())

    def dissolve(self) -> None:
        """Take the regions of the selected nodes out of the plan: one step of undo."""
        self._document.dissolve(self.selected_regions())

    def selected_regions(self) -> set[str]:
        """Names of the regions that selected nodes are in."""
        return {self._document.region_of(node_id) for node_id in self._view.selection} - {""}

    def show_nodes(self) -> None:
        """Select the nodes for which fusing was refused."""
        offending = () if self.refused is None else self.refused.offending
        nodes = [node for node in offending if node in self._document.nodes]
        if nodes:
            self._view.select(nodes)
            self._reveal(nodes[0])

    def fuse_nearest(self) -> None:
        """Fuse what the engine proposed instead of what it refused."""
        if self.refused is not None and self.refused.nearest:
            self._view.select(self.refused.nearest)
            self._session.check_region(self.refused.nearest)

    def _on_checked(self, verdict: RegionVerdict, is_of_plan: bool) -> None:
        if is_of_plan:
            return
        if verdict.legal:
            self._forget()
            name = self._document.fuse(verdict.nodes)
            text = f"{name.capitalize()} fuses {len(verdict.nodes)} nodes: {saving_text(verdict)}"
            self._say(Notice(Level.INFO, text))
        else:
            self.refused = verdict
            self._say(self._refusal(verdict))
        self._state_changed()

    def _refusal(self, verdict: RegionVerdict) -> Notice:
        offered = (SHOW_COMMAND if verdict.offending else "", NEAREST_COMMAND if verdict.nearest else "")
        return Notice(
            Level.WARNING,
            refusal_text(verdict),
            refusal_details(verdict),
            more_actions=tuple(action for action in offered if action),
        )

    def _say(self, notice: Notice) -> None:
        """Show a notice in place of the last one about regions."""
        self._notices.dismiss(self._said)
        self._said = notice.text
        self._notices.post(notice)

    def _forget(self) -> None:
        """The last refusal no longer stands."""
        self._notices.dismiss(self._said)
        self.refused = None
