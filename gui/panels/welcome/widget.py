"""The page that shows while nothing is open."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from gui.panels.icons import pixmap
from gui.panels.parts import set_role
from gui.panels.welcome.model import demo_projects
from gui.theme import LIGHT, Theme

CARD_WIDTH = 560
ICON_SIZE = 56
COLUMN_SPACING = 48


class WelcomePage(QWidget):
    """Emits ``openWanted`` for the file dialog and ``pathChosen`` with a recent file or demo."""

    openWanted = Signal()
    pathChosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = LIGHT
        self._symbol = QLabel()
        self._symbol.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._recent = QVBoxLayout()
        self._demos = QVBoxLayout()
        self._build()
        self._list_paths(self._demos, "Demo projects", demo_projects())

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._symbol.setPixmap(pixmap("drop", theme.muted_text, ICON_SIZE))

    def set_recent(self, paths: Sequence[str]) -> None:
        self._list_paths(self._recent, "Recent", [path for path in paths if Path(path).exists()])

    def _build(self) -> None:
        card = QFrame()
        set_role(card, "card")
        card.setFixedWidth(CARD_WIDTH)
        title = QLabel("Drop a model here")
        set_role(title, "display")
        title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        hint = QLabel("ONNX (.onnx), PyTorch (.pt2, TorchScript) or a Quantscope project (.qscope)")
        set_role(hint, "muted")
        hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        button = QPushButton("Open …")
        button.setProperty("primary", True)
        button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        button.clicked.connect(lambda: self.openWanted.emit())
        inside = QVBoxLayout(card)
        inside.setContentsMargins(36, 22, 36, 20)
        inside.setSpacing(10)
        for widget in (self._symbol, title, hint):
            inside.addWidget(widget)
        inside.addSpacing(4)
        inside.addWidget(button, 0, Qt.AlignmentFlag.AlignCenter)
        inside.addSpacing(10)
        columns = QHBoxLayout()
        columns.setSpacing(COLUMN_SPACING)
        columns.addStretch(1)
        for column in (self._recent, self._demos):
            column.setSpacing(2)
            columns.addLayout(column)
        columns.addStretch(1)
        inside.addLayout(columns)
        holder = QWidget()
        QVBoxLayout(holder).addWidget(card, 0, Qt.AlignmentFlag.AlignCenter)
        scroll = QScrollArea()
        scroll.setObjectName("welcome")
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(holder)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)

    def _list_paths(self, column: QVBoxLayout, title: str, paths: Sequence[str]) -> None:
        while (item := column.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        if not paths:
            return
        heading = QLabel(title)
        set_role(heading, "heading")
        column.addWidget(heading)
        for path in paths:
            link = QPushButton(Path(path).name)
            link.setFlat(True)
            link.setObjectName("link")
            link.setToolTip(path)
            link.setCursor(Qt.CursorShape.PointingHandCursor)
            link.clicked.connect(partial(self._choose, path))
            column.addWidget(link)
        column.addStretch(1)

    def _choose(self, path: str, checked: bool = False) -> None:
        self.pathChosen.emit(path)
