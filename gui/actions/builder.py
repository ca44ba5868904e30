"""Builds Qt's actions, menus and tool bar from the registry and keeps them at the window's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QAction, QIcon, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar, QToolBar, QToolButton

from gui.actions.registry import ACTIONS, MENUS, ActionSpec
from gui.actions.state import ActionState
from gui.panels.icons import badge, icon
from gui.panels.style import mixed
from gui.theme import PRECISION_BADGES, Theme

_BADGE_SHEET = """
QToolButton {{
    color: {colour}; border: 1px solid {colour}; border-radius: 4px; padding: 1px 4px; margin: 0 2px;
    font-weight: bold; min-width: 20px;
}}
QToolButton:disabled {{ color: {faint}; border-color: {faint}; }}
"""

TOOL_GROUPS = ("file", "edit", "mark", "region", "overlay", "go", "view", "model")


class ActionSet(QObject):
    """The window's actions. ``refreshed`` follows every change of the state."""

    refreshed = Signal()

    def __init__(self, handlers: Mapping[str, Callable[[], object]], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._handlers = handlers
        self._badge_buttons: dict[str, QToolButton] = {}
        self.state = ActionState()
        self.actions: dict[str, QAction] = {spec.id: self._made(spec) for spec in ACTIONS}
        self.refresh(self.state)

    def trigger(self, action_id: str) -> None:
        """Carry out a command, if it is available."""
        self.actions[action_id].trigger()

    def refresh(self, state: ActionState) -> None:
        """Enable, check and explain every action for this state."""
        self.state = state
        for spec in ACTIONS:
            self._refresh(spec, self.actions[spec.id], state)
        self.refreshed.emit()

    def set_theme(self, theme: Theme) -> None:
        for spec in ACTIONS:
            self.actions[spec.id].setIcon(_icon(spec, theme))
        for precision, button in self._badge_buttons.items():
            colour = theme.precisions.get(precision, theme.muted_text)
            button.setStyleSheet(_BADGE_SHEET.format(colour=colour, faint=mixed(colour, theme.window, 0.7)))
            button.setMinimumWidth(button.sizeHint().width())  # in a narrow window others give way

    def fill_menu_bar(self, bar: QMenuBar) -> dict[str, QMenu]:
        """Add all menus; returns them by name."""
        menus = {name: bar.addMenu(f"&{name}") for name in MENUS}
        for name, menu in menus.items():
            menu.setToolTipsVisible(True)
            self._fill(menu, sorted((s for s in ACTIONS if s.menu == name), key=lambda spec: spec.group))
        return menus

    def fill_tool_bar(self, bar: QToolBar) -> None:
        for position, group in enumerate(TOOL_GROUPS):
            if position:
                bar.addSeparator()
            for spec in ACTIONS:
                if spec.tool_group == group:
                    self._add_button(bar, spec)

    def context_menu(self, parent: QMenu) -> QMenu:
        """Fill a menu with what applies to nodes."""
        parent.setToolTipsVisible(True)
        specs = [spec for spec in ACTIONS if spec.in_context_menu]
        self._fill(parent, sorted(specs, key=lambda spec: spec.menu != "Precision"))
        return parent

    def _made(self, spec: ActionSpec) -> QAction:
        action = QAction(spec.text, self)
        action.setObjectName(spec.id)
        action.setShortcuts([QKeySequence(keys) for keys in spec.shortcuts])
        if spec.is_for_canvas:
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        action.setCheckable(spec.is_checked is not None)
        action.setIconText(_badge_text(spec) if spec.precision else spec.badge or spec.text)
        action.triggered.connect(lambda: self._carry_out(spec.id))
        return action

    def _carry_out(self, action_id: str) -> None:
        self._handlers[action_id]()
        self.refresh(self.state)  # a checkable action toggles itself: bring it back to the truth

    def _refresh(self, spec: ActionSpec, action: QAction, state: ActionState) -> None:
        why_not = spec.unavailable(state)
        action.setEnabled(not why_not)
        if spec.is_checked is not None:
            action.setChecked(spec.is_checked(state))
        action.setText(_text(spec, state))
        keys = ", ".join(QKeySequence(key).toString(_NATIVE) for key in spec.shortcuts)
        action.setToolTip(f"{spec.help}{f' ({keys})' if keys else ''}" + (f"\n{why_not}" if why_not else ""))
        action.setStatusTip(why_not or spec.help)

    def _fill(self, menu: QMenu, specs: Sequence[ActionSpec]) -> None:
        for position, spec in enumerate(specs):
            before = specs[position - 1]
            if position and (spec.menu, spec.group) != (before.menu, before.group):
                menu.addSeparator()
            menu.addAction(self.actions[spec.id])

    def _add_button(self, bar: QToolBar, spec: ActionSpec) -> None:
        bar.addAction(self.actions[spec.id])
        button = bar.widgetForAction(self.actions[spec.id])
        if isinstance(button, QToolButton):
            button.setToolButtonStyle(_button_style(spec))
            if spec.precision:
                self._badge_buttons[spec.precision] = button


_NATIVE = QKeySequence.SequenceFormat.NativeText


def _badge_text(spec: ActionSpec) -> str:
    return PRECISION_BADGES.get(spec.precision, spec.precision)


def _icon(spec: ActionSpec, theme: Theme) -> QIcon:
    if spec.precision:
        return badge(_badge_text(spec), theme.precisions.get(spec.precision, theme.muted_text))
    return icon(spec.icon, theme)


def _button_style(spec: ActionSpec) -> Qt.ToolButtonStyle:
    """An icon where there is one, a short text where there is one."""
    styles = Qt.ToolButtonStyle
    if spec.precision:
        return styles.ToolButtonTextOnly
    if not spec.badge:
        return styles.ToolButtonIconOnly
    return styles.ToolButtonTextBesideIcon if spec.icon else styles.ToolButtonTextOnly


def _text(spec: ActionSpec, state: ActionState) -> str:
    """The menu's text: undo and redo say of what."""
    labels = {"edit.undo": state.undo_label, "edit.redo": state.redo_label}
    label = labels.get(spec.id, "")
    return f"{spec.text} “{label}”" if label else spec.text
