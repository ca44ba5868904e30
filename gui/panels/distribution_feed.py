"""The distribution of the selected node, asked for while a panel shows it."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from engine.reports_distribution import NodeDistribution
from gui.document.document import Document
from gui.document.qt_document import QtDocument, SharedView

NO_MODEL = "Open a model to see how its values are distributed."
NOT_CALIBRATED = "Calibrate the model: there are no samples to look at yet."
NO_NODE = "Select a node."
MEASURING = "Measuring …"


class DistributionFeed(QObject):
    """What the histograms and the table view show: one node, one of its samples or all, one of its channels or all.

    Emits ``wanted`` (node, sample or None, channel or None) and ``changed`` when there is something else to show. It
    asks only while somebody watches.
    """

    wanted = Signal(str, object, object)
    changed = Signal()

    def __init__(self, document: QtDocument, view: SharedView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document: Document = document.document
        self._view = view
        self._watchers: set[str] = set()
        self.node = ""
        self.sample: int | None = None
        self.channel: int | None = None
        self.found: NodeDistribution | None = None
        self.problem = ""
        view.selectionChanged.connect(self._on_selection)
        document.graphChanged.connect(self._start_anew)
        document.resolutionChanged.connect(self._ask)

    def watch(self, watcher: str, is_watching: bool) -> None:
        """Whether ``watcher``, a panel by its name, is seen now."""
        if is_watching:
            self._watchers.add(watcher)
            self._on_selection()
        else:
            self._watchers.discard(watcher)

    def choose(self, sample: int | None, channel: int | None) -> None:
        """Show one sample (None: all) and one channel (None: all)."""
        if (sample, channel) != (self.sample, self.channel):
            self.sample, self.channel = sample, channel
            self._ask()

    def choose_node(self, node: str, sample: int) -> None:
        """Show one sample of a node, which is selected."""
        self.node, self.sample, self.channel, self.found, self.problem = node, sample, None, None, ""
        self.changed.emit()
        self._ask()

    def show_found(self, found: NodeDistribution) -> None:
        """An answer came."""
        if found.id == self.node:
            self.found, self.problem = found, ""
            self.changed.emit()

    def show_problem(self, node: str, problem: str) -> None:
        """There is no answer for a node, and why."""
        if node == self.node:
            self.found, self.problem = None, problem
            self.changed.emit()

    @property
    def message(self) -> str:
        """What to say while there is nothing to show; "" where there is."""
        if not self._document.is_open:
            return NO_MODEL
        if not self._document.calibration.is_done:
            return NOT_CALIBRATED
        if not self.node:
            return NO_NODE
        return "" if self.found is not None else self.problem or MEASURING

    def _on_selection(self) -> None:
        """The last selected node, the one that the inspector shows. Nothing selected keeps what is there."""
        if not self._watchers:
            return
        node = self._view.selection[-1] if self._view.selection else self.node
        if node != self.node:
            self.node, self.sample, self.channel, self.found, self.problem = node, None, None, None, ""
        self.changed.emit()
        self._ask()

    def _start_anew(self) -> None:
        self.node, self.sample, self.channel, self.found, self.problem = "", None, None, None, ""
        self.changed.emit()

    def _ask(self) -> None:
        document = self._document
        if self._watchers and self.node in document.nodes and document.calibration.is_done and document.is_resolved:
            self.wanted.emit(self.node, self.sample, self.channel)
