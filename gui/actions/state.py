"""The facts that decide which commands are available, and the conditions over them. Qt-free.

A condition returns why a command is not available, "" when it is: the text is the tool tip of the
disabled command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gui.document.graph_view import GraphView
from gui.document.overlay import Overlay


@dataclass(frozen=True)
class ActionState:
    """What the window is in."""

    is_open: bool = False
    is_dirty: bool = False
    has_project: bool = False
    is_calibrated: bool = False
    has_timing: bool = False
    has_errors: bool = False
    undo_label: str = ""
    redo_label: str = ""
    selected: int = 0
    markable: int = 0
    selected_regions: int = 0
    """Fusion regions that selected nodes are in."""
    has_refused_region: bool = False
    """Whether the nodes dragged over, or the last selection, could not be fused."""
    has_nearest_region: bool = False
    has_combination: bool = False
    """Whether advice found remedies that go together, which the plan does not have yet."""
    overlay: Overlay = Overlay.NONE
    graph_view: GraphView = GraphView.SOURCE
    has_heat: bool = False
    has_engine: bool = True
    method: str = ""
    theme: str = "light"
    panels: frozenset[str] = frozenset()
    """Panels of the compiled model that are seen."""


Condition = Callable[[ActionState], str]


def always(state: ActionState) -> str:
    return ""


def is_open(state: ActionState) -> str:
    return "" if state.is_open else "Open a model first"


def engine_runs(state: ActionState) -> str:
    return "" if state.has_engine else "The engine is not running"


def is_calibrated(state: ActionState) -> str:
    return is_open(state) or ("" if state.is_calibrated else "Calibrate the model first")


def has_selection(state: ActionState) -> str:
    return is_open(state) or ("" if state.selected else "Select a node first")


def can_fit_time(state: ActionState) -> str:
    if why := has_selection(state):
        return why
    return "" if {"timeline", "memory"} & state.panels else "Show the timeline or the memory plan first"


def is_markable(state: ActionState) -> str:
    if why := has_selection(state):
        return why
    return "" if state.markable else "Inputs and outputs of the graph have no precision of their own"


def can_fuse(state: ActionState) -> str:
    if why := is_open(state) or engine_runs(state):
        return why
    return "" if state.markable >= 2 else "Select two operators or more first"


def is_in_region(state: ActionState) -> str:
    if why := has_selection(state):
        return why
    return "" if state.selected_regions else "Select a node of a fusion region first"


def is_in_one_region(state: ActionState) -> str:
    if why := is_in_region(state):
        return why
    return "" if state.selected_regions == 1 else "Select nodes of one fusion region only"


def can_split(state: ActionState) -> str:
    return is_in_one_region(state) or engine_runs(state)


def has_refused_region(state: ActionState) -> str:
    return is_open(state) or ("" if state.has_refused_region else "Nothing was refused")


def has_nearest_region(state: ActionState) -> str:
    return is_open(state) or ("" if state.has_nearest_region else "There is no legal region nearby")


def can_save(state: ActionState) -> str:
    if why := is_open(state) or engine_runs(state):
        return why
    return "" if state.is_dirty or not state.has_project else "There is nothing to save"


def can_save_as(state: ActionState) -> str:
    return is_open(state) or engine_runs(state)


def can_undo(state: ActionState) -> str:
    return "" if state.undo_label else "There is nothing to undo"


def can_redo(state: ActionState) -> str:
    return "" if state.redo_label else "There is nothing to redo"


def can_export(state: ActionState) -> str:
    return is_calibrated(state) or engine_runs(state)


def can_advise_on_selection(state: ActionState) -> str:
    return can_export(state) or has_selection(state)


def has_combination(state: ActionState) -> str:
    return is_open(state) or ("" if state.has_combination else "Ask for advice first")


def can_calibrate(state: ActionState) -> str:
    return is_open(state) or engine_runs(state)


def has_errors(state: ActionState) -> str:
    if why := is_calibrated(state):
        return why
    return "" if state.has_errors else "The errors are not measured yet"


def has_timing(state: ActionState) -> str:
    return is_open(state) or ("" if state.has_timing else "The timing is not there yet")


def has_heat(state: ActionState) -> str:
    return is_open(state) or ("" if state.has_heat else "Show a heat map first (1 to 5)")
