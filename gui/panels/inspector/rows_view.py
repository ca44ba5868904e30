"""A section of rows under a heading that folds."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from gui.panels.inspector.model import Row
from gui.panels.parts import set_role

LABEL_WIDTH = 104
_INTERACTION = Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.LinksAccessibleByMouse


class Section(QWidget):
    """A foldable part of the inspector. Rows are re-used, so that live results do not flicker. ``linkClicked`` carries
    what a clicked link stands for."""

    linkClicked = Signal(str)

    def __init__(self, title: str, is_open: bool = True, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setCheckable(True)
        self.heading.setAutoRaise(True)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.heading.setObjectName("sectionHeading")
        self.content = QWidget()
        self.layout_ = QVBoxLayout(self.content)
        self.layout_.setContentsMargins(10, 2, 8, 8)
        self.layout_.setSpacing(6)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnMinimumWidth(0, LABEL_WIDTH)
        self._grid.setColumnStretch(1, 1)
        self.layout_.addLayout(self._grid)
        self._labels: list[tuple[QLabel, QLabel]] = []
        self._texts: list[str] = []
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.heading)
        outer.addWidget(self.content)
        self.heading.toggled.connect(self._fold)
        self.heading.setChecked(is_open)
        self._fold(is_open)

    def show_rows(self, rows: Sequence[Row]) -> None:
        self._texts = [_breakable(row.value) for row in rows]
        while len(self._labels) < len(rows):
            self._labels.append(self._add_pair())
        for index, (label, value) in enumerate(self._labels):
            is_used = index < len(rows)
            label.setVisible(is_used)
            value.setVisible(is_used)
            if is_used:
                _fill(label, value, rows[index])

    def texts(self) -> dict[str, str]:
        """What shows, by label."""
        return {label.text(): text for (label, _), text in zip(self._labels, self._texts, strict=False)}

    def _fold(self, is_open: bool) -> None:
        self.content.setVisible(is_open)
        self.heading.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)

    def _add_pair(self) -> tuple[QLabel, QLabel]:
        label, value = QLabel(), QLabel()
        set_role(label, "muted")
        label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        value.setWordWrap(True)
        value.setTextInteractionFlags(_INTERACTION)
        value.linkActivated.connect(self.linkClicked)
        value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row = self._grid.rowCount()
        self._grid.addWidget(label, row, 0)
        self._grid.addWidget(value, row, 1)
        return label, value


def _fill(label: QLabel, value: QLabel, row: Row) -> None:
    label.setText(row.label)
    value.setTextFormat(Qt.TextFormat.RichText if row.links else Qt.TextFormat.PlainText)
    value.setText(_linked(row.links) if row.links else _breakable(row.value))
    for part in (label, value):
        part.setToolTip(row.tip)
    set_role(value, "warning" if row.is_warning else "")


def _linked(links: Sequence[tuple[str, str]]) -> str:
    """Links in a row; no line breaks within one."""
    quoted = ((html.escape(target), html.escape(text).replace(" ", "&nbsp;")) for text, target in links)
    return ", ".join(f'<a href="{target}">{text}</a>' for target, text in quoted)


def _breakable(text: str) -> str:
    """Let long ids break at their slashes, dots and underscores instead of being cut off; numbers stay whole."""
    return re.sub(r"[/_]|\.(?!\d)", "\\g<0>\u200b", text) if len(text) > 24 else text
