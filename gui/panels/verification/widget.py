"""The panel that shows what other programs compute; a click on a row selects its node."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QBrush, QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.reports import Agreement, Verification
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.parts import set_role
from gui.panels.verification.model import COLUMNS, NUMERIC, RESULT, WIDTHS, Row, rows_of, summary_of
from gui.theme import LIGHT, Theme

DEFAULT_SAMPLES = 2
MOST_SAMPLES = 64
NOTHING_YET = "Compare every stage with ONNX Runtime, torch, the TOSA reference model and a new process."
OUTDATED = " The plan has changed since."
_AT_TOP = QAbstractItemView.ScrollHint.PositionAtTop
_NODE_ROLE = Qt.ItemDataRole.UserRole


class VerificationPanel(QWidget):
    """Emits ``verifyWanted`` when the user asks for a verification, and ``revealed`` with the node of a clicked row."""

    verifyWanted = Signal()
    revealed = Signal(str)

    def __init__(self, document: QtDocument, view: SharedView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document.document
        self._view = view
        self._theme = LIGHT
        self._found: Verification | None = None
        self._revision = 0
        self.summary = QLabel(NOTHING_YET)
        self.samples = QSpinBox()
        self.button = QPushButton("Verify")
        self.table = QTreeWidget()
        self._build()
        document.graphChanged.connect(self.clear)
        document.planChanged.connect(self._show_summary)
        self.button.clicked.connect(lambda: self.verifyWanted.emit())
        self.table.itemClicked.connect(lambda item, column: self._reveal(item))
        self.table.currentItemChanged.connect(lambda item, before: self._select(item))

    def show_result(self, found: Verification, revision: int) -> None:
        """Show a verification of the plan of ``revision``."""
        self._found, self._revision = found, revision
        self._fill()
        self._show_summary()
        results = [item.agreement for item in found.comparisons]
        if Agreement.DIFFERS in results:
            first = self.table.model().index(results.index(Agreement.DIFFERS), 0)
            self.table.scrollTo(first, _AT_TOP)

    def clear(self) -> None:
        """Another model is open: nothing is known of it."""
        self._found = None
        self._fill()
        self._show_summary()

    def set_available(self, why_not: str) -> None:
        """Whether a verification can be asked for, and if not, why."""
        self.button.setEnabled(not why_not)
        self.button.setToolTip(why_not)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._fit_columns()
        self._fill()

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        self.summary.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.samples.setRange(1, MOST_SAMPLES)
        self.samples.setValue(DEFAULT_SAMPLES)
        self.samples.setPrefix("Samples: ")
        self.samples.setToolTip("How many calibration samples to compare with")
        table = self.table
        table.setHeaderLabels(list(COLUMNS))
        for column in NUMERIC:
            table.headerItem().setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        table.setUniformRowHeights(True)
        table.setAlternatingRowColors(True)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setAccessibleName("Verification")
        table.setRootIsDecorated(True)
        table.header().setStretchLastSection(True)
        self._fit_columns()
        top = QHBoxLayout()
        top.setContentsMargins(8, 6, 8, 6)
        top.setSpacing(10)
        top.addWidget(self.summary, 1)
        top.addWidget(self.samples)
        top.addWidget(self.button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        layout.addWidget(table)

    def _fit_columns(self) -> None:
        width = self.table.fontMetrics().averageCharWidth()
        for column, characters in enumerate(WIDTHS):
            self.table.setColumnWidth(column, round(width * characters * 1.08) + 16)

    def _fill(self) -> None:
        with QSignalBlocker(self.table):
            self.table.clear()
            for row in rows_of(self._found) if self._found is not None else ():
                item = self._item(row)
                self.table.addTopLevelItem(item)
                if row.agreement is Agreement.DIFFERS:
                    item.setExpanded(True)

    def _item(self, row: Row) -> QTreeWidgetItem:
        item = QTreeWidgetItem(list(row.texts))
        item.setData(0, _NODE_ROLE, row.node)
        for column in range(len(COLUMNS)):
            item.setToolTip(column, row.tip)
            if column in NUMERIC:
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._dress(item, row.agreement)
        item.addChildren([self._item(value) for value in row.values])
        return item

    def _dress(self, item: QTreeWidgetItem, agreement: Agreement) -> None:
        """What differs or failed stands out, what was not compared stands back."""
        if agreement in (Agreement.DIFFERS, Agreement.FAILED):
            item.setForeground(RESULT, QBrush(QColor(self._theme.warning)))
            font = item.font(RESULT)
            font.setBold(True)
            item.setFont(RESULT, font)
        elif agreement is Agreement.UNAVAILABLE:
            for column in range(len(COLUMNS)):
                item.setForeground(column, QBrush(QColor(self._theme.muted_text)))

    def _show_summary(self) -> None:
        found = self._found
        if found is None:
            self.summary.setText(NOTHING_YET)
            set_role(self.summary, "muted")
            return
        is_outdated = self._revision != self._document.revision
        self.summary.setText(summary_of(found) + (OUTDATED if is_outdated else ""))
        set_role(self.summary, "warning" if found.first_stage else "muted" if is_outdated else "")

    def _select(self, item: QTreeWidgetItem | None) -> None:
        node = self._node(item)
        if node:
            self._view.select((node,))

    def _reveal(self, item: QTreeWidgetItem) -> None:
        node = self._node(item)
        if node:
            self._view.select((node,))
            self.revealed.emit(node)

    def _node(self, item: QTreeWidgetItem | None) -> str:
        """The row's node, if the open model has it."""
        node = "" if item is None else str(item.data(0, _NODE_ROLE))
        return node if node in self._document.nodes else ""
