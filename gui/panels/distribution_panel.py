"""What the panels over a node's distribution have in common: the head line, and what they say while there is none."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from engine.reports_distribution import NodeDistribution
from gui.panels.distribution_feed import DistributionFeed
from gui.panels.parts import ElidedLabel, set_role
from gui.theme import LIGHT, Theme

LEAST_HEAD = 120


class DistributionPanel(QWidget):
    """A head line above plots of the feed's node. To be said by those who derive from it: ``take``, ``dress`` and,
    where there may be nothing to show of a node, ``why_empty``.
    """

    name = ""
    """Of the panel, as the feed and the commands know it."""

    def __init__(self, feed: DistributionFeed, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.feed = feed
        self.theme = LIGHT
        self.is_watched = False
        self.head, self.note, self.empty = QLabel(), ElidedLabel(), QLabel()
        self.pages, self.tools = QStackedWidget(), QHBoxLayout()
        self.content = QVBoxLayout()
        self._build()
        feed.changed.connect(self.refresh)

    def take(self, found: NodeDistribution) -> None:
        """Show a distribution."""
        raise NotImplementedError

    def dress(self, theme: Theme) -> None:
        """Dress the plots anew."""
        raise NotImplementedError

    def why_empty(self, found: NodeDistribution) -> str:
        """What to say where a node has nothing for this panel; "" where it has."""
        return ""

    def set_watched(self, is_watched: bool) -> None:
        """Whether the user sees this panel; it is brought up to date when that begins."""
        self.is_watched = is_watched
        self.feed.watch(self.name, is_watched)
        self.refresh()

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.dress(theme)

    def refresh(self) -> None:
        """Show what the feed has now."""
        if not self.is_watched:
            return
        found = self.feed.found
        message = self.feed.message or (self.why_empty(found) if found is not None else "")
        self.pages.setCurrentIndex(0 if message else 1)
        self.empty.setText(message)
        if message or found is None:
            self.head.setText(self.feed.node.rpartition("/")[2] if self.feed.node else "")
            self.note.clear()
            return
        self.take(found)

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        set_role(self.head, "heading")
        set_role(self.note, "muted")
        set_role(self.empty, "muted")
        self.head.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.head.setMinimumWidth(LEAST_HEAD)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        self.empty.setMargin(16)
        holder = QWidget()
        self.content.setContentsMargins(0, 0, 0, 0)
        self.content.setSpacing(0)
        holder.setLayout(self.content)
        self.pages.addWidget(self.empty)
        self.pages.addWidget(holder)
        self.tools.setContentsMargins(8, 4, 8, 4)
        self.tools.setSpacing(10)
        self.tools.addWidget(self.head)
        self.tools.addWidget(self.note, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(self.tools)
        layout.addWidget(self.pages, 1)
