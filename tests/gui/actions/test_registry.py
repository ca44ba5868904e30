"""The commands as data: each has a handler, a condition that explains itself, and a key of its own."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

import pytest
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar, QToolBar
from pytestqt.qtbot import QtBot

from engine.reports import Evaluation
from gui.actions.builder import TOOL_GROUPS, ActionSet
from gui.actions.file_commands import evaluation_text
from gui.actions.registry import ACTIONS, BY_ID, MENUS
from gui.actions.state import ActionState
from gui.document.overlay import Overlay
from gui.theme import DARK

READY = ActionState(
    is_open=True,
    is_dirty=True,
    is_calibrated=True,
    has_timing=True,
    has_errors=True,
    undo_label="mark Conv int16",
    redo_label="target x5",
    selected=2,
    markable=2,
    selected_regions=1,
    has_refused_region=True,
    has_nearest_region=True,
    has_combination=True,
    overlay=Overlay.LATENCY,
    has_heat=True,
    panels=frozenset({"timeline"}),
)


def test_ids_and_keys_are_unique() -> None:
    assert max(Counter(spec.id for spec in ACTIONS).values()) == 1
    keys = Counter(QKeySequence(key).toString() for spec in ACTIONS for key in spec.shortcuts)
    assert [key for key, count in keys.items() if count > 1 or not key] == []


@pytest.mark.parametrize("spec", ACTIONS, ids=lambda spec: spec.id)
def test_each_command_is_complete(spec) -> None:
    assert spec.menu in MENUS
    assert spec.tool_group in ("", *TOOL_GROUPS)
    assert spec.help
    assert not spec.icon or files("resources").joinpath("icons", f"{spec.icon}.svg").is_file()


@pytest.mark.parametrize(
    ("action_id", "state", "why"),
    [
        ("file.save", ActionState(), "Open a model first"),
        ("mark.int8", ActionState(is_open=True), "Select a node first"),
        ("mark.int8", ActionState(is_open=True, selected=1), "Inputs and outputs"),
        ("export.package", ActionState(is_open=True), "Calibrate the model first"),
        ("overlay.accumulated", ActionState(is_open=True, is_calibrated=True), "not measured yet"),
        ("file.open", ActionState(has_engine=False), "engine is not running"),
        ("go.next_worst", ActionState(is_open=True), "heat map first"),
        ("edit.undo", ActionState(), "nothing to undo"),
        ("region.fuse", ActionState(is_open=True, selected=1, markable=1), "two operators"),
        ("region.dissolve", ActionState(is_open=True, selected=1), "fusion region first"),
        ("region.split", ActionState(is_open=True, selected=2), "fusion region first"),
        ("region.rename", ActionState(is_open=True, selected=2, selected_regions=2), "one fusion region only"),
        ("region.fuse_nearest", ActionState(is_open=True), "no legal region"),
    ],
)
def test_unavailable_commands_say_why(action_id: str, state: ActionState, why: str) -> None:
    assert why in BY_ID[action_id].unavailable(state)


def test_everything_is_available_when_all_is_there() -> None:
    assert [spec.id for spec in ACTIONS if spec.unavailable(READY)] == []


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def actions(done: list[str], qapp: object) -> ActionSet:
    return ActionSet({spec.id: lambda spec=spec: done.append(spec.id) for spec in ACTIONS})


def test_actions_follow_the_state(actions: ActionSet, done: list[str]) -> None:
    mark = actions.actions["mark.int16"]
    assert not mark.isEnabled()
    assert "Open a model first" in mark.toolTip()
    actions.refresh(READY)
    assert mark.isEnabled()
    assert actions.actions["edit.undo"].text() == "Undo “mark Conv int16”"
    assert actions.actions["overlay.latency"].isChecked()
    actions.trigger("mark.int16")
    assert done == ["mark.int16"]


def test_a_switch_shows_the_truth_whatever_was_pressed(actions: ActionSet) -> None:
    actions.refresh(READY)
    actions.trigger("overlay.latency")
    assert actions.actions["overlay.latency"].isChecked()


def test_menus_and_tool_bar_hold_every_command(actions: ActionSet, qtbot: QtBot) -> None:
    bar, tools, context = QMenuBar(), QToolBar(), QMenu()
    for widget in (bar, tools, context):
        qtbot.addWidget(widget)
    actions.set_theme(DARK)
    menus = actions.fill_menu_bar(bar)
    actions.fill_tool_bar(tools)
    actions.context_menu(context)
    in_menus = {action.objectName() for menu in menus.values() for action in menu.actions()} - {""}
    assert in_menus == set(BY_ID)
    assert {a.objectName() for a in context.actions()} - {""} == {s.id for s in ACTIONS if s.in_context_menu}


def test_an_evaluation_in_one_line() -> None:
    text = evaluation_text(Evaluation(256, 0.91, 0.905, 0.98, 31.25, 0))
    assert text == (
        "Evaluated 256 samples: top-1 91.00 % in float, 90.50 % quantised (-0.50 points), agreement 98.00 %, "
        "output SQNR 31.2 dB."
    )
    assert "top-1" not in evaluation_text(Evaluation(8, None, None, 1.0, 31.25, 0))
