"""Commands that show and hide panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QDockWidget, QMainWindow

from gui.actions.registry import FIT_TIME_COMMAND, PANEL_COMMANDS

MOST_OF_WINDOW = 0.4


class PanelCommands(QObject):
    """Shows and hides docks by name. Emits ``seenChanged`` with a name and whether the user sees that panel now: a
    panel behind another one's tab is not seen.
    """

    seenChanged = Signal(str, bool)

    def __init__(self, fit_selected: Callable[[], object], parent: QObject | None = None) -> None:
        """``fit_selected`` brings the selected nodes into view on the axis of time."""
        super().__init__(parent)
        self._fit_selected = fit_selected
        self._docks: dict[str, QDockWidget] = {}
        self._good_heights: dict[str, int] = {}
        self.seen: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the docks that are looked after."""
        return tuple(self._docks)

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        toggles = {command: partial(self.toggle, name) for name, command in PANEL_COMMANDS.items()}
        return {**toggles, FIT_TIME_COMMAND: self._fit_selected}

    def add(self, name: str, dock: QDockWidget, good_height: int = 0) -> None:
        """Look after a dock from now on, which is given ``good_height`` pixels when it is brought to the front."""
        self._docks[name] = dock
        self._good_heights[name] = good_height
        dock.visibilityChanged.connect(lambda is_seen: self._note(name, is_seen))

    def toggle(self, name: str) -> None:
        """Hide what is seen; bring to the front what is not."""
        if name in self.seen:
            self._docks[name].hide()
        else:
            self.show(name)

    def show(self, name: str) -> None:
        """Bring a dock to the front."""
        dock = self._docks[name]
        dock.show()
        dock.raise_()
        self._grow(dock, self._good_heights[name])

    @staticmethod
    def _grow(dock: QDockWidget, height: int) -> None:
        """Make a dock as high as it should be, if it is lower and the graph keeps most of the window."""
        window = dock.parentWidget()
        if isinstance(window, QMainWindow) and not dock.isFloating():
            height = min(height, round(MOST_OF_WINDOW * window.height()))
            if dock.height() < height:
                window.resizeDocks([dock], [height], Qt.Orientation.Vertical)

    def _note(self, name: str, is_seen: bool) -> None:
        if is_seen != (name in self.seen):
            self.seen = self.seen | {name} if is_seen else self.seen - {name}
            self.seenChanged.emit(name, is_seen)
