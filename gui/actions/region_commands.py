"""Fusing nodes into regions, splitting, renaming and dissolving them, with what the engine says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from engine.reports import RegionSplit, RegionVerdict
from gui.actions.edit_commands import EditCommands
from gui.actions.file_commands import NoticeSink
from gui.actions.fusion_draft import FusionDraft
from gui.client.session import EngineSession
from gui.document.document import Document
from gui.document.notice import Level, Notice
from gui.document.qt_document import SharedView
from gui.panels.dialogs.prompts import Prompts
from gui.panels.regions import (
    FUSE_COMMAND,
    NEAREST_COMMAND,
    SHOW_COMMAND,
    refusal_details,
    refusal_text,
    saving_text,
    split_text,
)


class RegionCommands:
    """Asks the engine before a region is made: the plan only ever gets legal ones from here."""

    def __init__(
        self,
        document: Document,
        session: EngineSession,
        view: SharedView,
        edits: EditCommands,
        draft: FusionDraft,
        notices: NoticeSink,
        prompts: Prompts,
        reveal: Callable[[str], object],
        state_changed: Callable[[], object],
    ) -> None:
        self._document = document
        self._session = session
        self._view = view
        self._edits = edits
        self._draft = draft
        self._notices = notices
        self._prompts = prompts
        self._reveal = reveal
        self._state_changed = state_changed
        self._refused: RegionVerdict | None = None
        self._said = ""
        session.regionChecked.connect(self._on_checked)
        session.splitChecked.connect(self._on_split)
        session.opened.connect(lambda _: self._forget())
        draft.changed.connect(self._state_changed)

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {
            FUSE_COMMAND: self.fuse,
            "region.dissolve": self.dissolve,
            "region.split": self.split,
            "region.rename": self.rename,
            SHOW_COMMAND: self.show_nodes,
            NEAREST_COMMAND: self.fuse_nearest,
        }

    @property
    def proposed(self) -> RegionVerdict | None:
        """What the engine said last of nodes that are no region yet: those dragged over, else those refused."""
        return self._draft.verdict or self._refused

    def fuse(self) -> None:
        """Ask whether the operators under the drag, or else selected, can run as one kernel; they do if so."""
        self._session.check_region(self._draft.nodes or self._edits.markable())

    def dissolve(self) -> None:
        """Take the regions of the selected nodes out of the plan: one step of undo."""
        self._document.dissolve(self.selected_regions())

    def split(self) -> None:
        """Ask whether the region can be cut in two along the selection; it is if so."""
        (name,) = self.selected_regions()
        self._session.check_split(name, self._edits.markable())

    def rename(self, name: str = "") -> None:
        """Ask for another name of a region; without one, of the region of the selected nodes."""
        name = name or next(iter(self.selected_regions()))
        new_name = self._prompts.region_name(name).strip()
        if not new_name or new_name == name:
            return
        if not new_name.isprintable():
            self._say(Notice(Level.WARNING, "A region's name consists of letters, digits, signs and spaces."))
        elif not self._document.rename_region(name, new_name):
            self._say(Notice(Level.WARNING, f"There is a region {new_name} already."))

    def select(self, name: str) -> None:
        """Select the nodes of a region."""
        self._view.select(node for node in self._document.region_nodes(name) if node in self._document.nodes)

    def selected_regions(self) -> set[str]:
        """Names of the regions that selected nodes are in."""
        return {self._document.region_of(node_id) for node_id in self._view.selection} - {""}

    def show_nodes(self) -> None:
        """Select the nodes for which fusing was refused."""
        offending: Iterable[str] = () if self.proposed is None else self.proposed.offending
        nodes = [node for node in offending if node in self._document.nodes]
        if nodes:
            self._view.select(nodes)
            self._reveal(nodes[0])

    def fuse_nearest(self) -> None:
        """Fuse what the engine proposed: the nodes themselves where they can be, else the nearest that can."""
        if self.proposed is not None and self.proposed.nearest:
            nearest = self.proposed.nearest
            self._view.select(nearest)
            self._session.check_region(nearest)

    def _on_checked(self, verdict: RegionVerdict, is_of_plan: bool) -> None:
        if is_of_plan:
            return
        if verdict.legal:
            self._forget()
            name = self._document.fuse(verdict.nodes)
            text = f"{name.capitalize()} fuses {len(verdict.nodes)} nodes: {saving_text(verdict)}"
            self._say(Notice(Level.INFO, text))
        else:
            self._refused = verdict
            self._say(self._refusal(verdict))
        self._state_changed()

    def _on_split(self, split: RegionSplit) -> None:
        nodes = self._document.region_nodes(split.name)
        text = split_text(split.name, split, len(nodes))
        if split.reason:
            details = "" if split.refused is None else refusal_details(split.refused)
            self._say(Notice(Level.WARNING, text, details))
        elif self._document.split_region(split.name, [(part.name, part.nodes) for part in split.parts]):
            self._say(Notice(Level.INFO, text))

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
        self._refused = None
