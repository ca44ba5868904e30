"""The panel with remedies: the verdict above; places with causes below, and remedies that a double click applies."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QBrush, QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.plan.data import PlanData
from engine.reports_advice import Aim
from engine.service.messages import Advised, LabelledData
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.advice.model import (
    COLUMNS,
    COMBINATION_KEY,
    NUMERIC,
    WIDTHS,
    Advice,
    Row,
    columns_of,
    combination_text,
    counted,
    data_text,
    headline_of,
    step_label,
)
from gui.panels.parts import ElidedLabel, set_role, tool_button
from gui.theme import LIGHT, Theme

DEFAULT_SAMPLES = 16
LEAST_SAMPLES = 4
"""Two choose, two confirm; gains that so few can confirm are large."""

MOST_SAMPLES = 256
DATA_TIP = "Pictures or an .npz file with labels: the verdict, and what remedies gain, then go by top-1"
TITLE = "Is post-training quantisation enough?"
NOTHING_YET = (
    "Advise finds the places that cost most accuracy, says why, and tries remedies there: other ranges, int16, finer "
    "tables, float. Each row tells what it gains and costs."
)
OUTDATED = " The plan has changed since these were measured."
POINTS, DECIBELS = 0, 1
_NAME_ROLE = Qt.ItemDataRole.UserRole
_NODE_ROLE = Qt.ItemDataRole.UserRole + 1
_NO_ROW = "none"


class AdvicePanel(QWidget):
    """Emits ``adviseWanted`` (whether it is about the selection alone), ``stopWanted``, ``applyWanted`` with a whole
    plan and the label of its step, ``dataWanted`` and ``noDataWanted`` about labelled data, and ``revealed`` with the
    node of a clicked row.
    """

    adviseWanted = Signal(bool)
    stopWanted = Signal()
    applyWanted = Signal(object, str)
    dataWanted = Signal()
    noDataWanted = Signal()
    revealed = Signal(str)

    def __init__(self, document: QtDocument, view: SharedView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document.document
        self._view = view
        self._theme = LIGHT
        self._advice: Advice | None = None
        self._is_running = False
        self._problem = ""
        self.data: LabelledData | None = None
        self._rows: dict[str, Row] = {}
        self.headline = QLabel(TITLE)
        self.details = QLabel(NOTHING_YET)
        self.aim_kind = QComboBox()
        self.aim = QDoubleSpinBox()
        self.samples = QSpinBox()
        self.whole = QPushButton("Advise")
        self.selection = QPushButton("On Selection")
        self.stop = QPushButton("Stop")
        self.apply = QPushButton("Apply")
        self.apply_best = QPushButton("Apply Best")
        self.choose_data = QPushButton("Labelled Data …")
        self.data_label = ElidedLabel()
        self.no_data = tool_button("✕", "Count on calibration samples again", self.noDataWanted.emit)
        self.table = QTreeWidget()
        self._build()
        self._connect(document)
        self._refresh()

    # What is asked and answered

    @property
    def chosen_aim(self) -> Aim:
        """What the user says is good enough."""
        if self.aim_kind.currentIndex() == DECIBELS:
            return Aim(min_db=self.aim.value())
        return Aim(max_drop=self.aim.value())

    @property
    def has_combination(self) -> bool:
        """Whether there is a best combination that the plan does not have yet."""
        advice = self._advice
        if advice is None or COMBINATION_KEY not in advice.plans:
            return False
        return not advice.is_applied(self._document.plan, COMBINATION_KEY)

    def begin(self, before: PlanData, is_on_selection: bool = False) -> None:
        """Advice on a plan was asked for."""
        self._advice, self._is_running, self._problem = Advice(before, is_on_selection), True, ""
        self._refresh()

    def show_advice(self, answer: Advised) -> None:
        """Show what is known so far."""
        if self._advice is not None:
            self._advice.take(answer.advice, answer.plans)
            self._refresh()

    def end(self, why: str = "") -> None:
        """No more will come; ``why`` if that is a failure."""
        self._is_running, self._problem = False, why
        self._refresh()

    def clear(self) -> None:
        """Another model is open: nothing is known of it."""
        self._advice, self._is_running, self._problem = None, False, ""
        self.set_data(None)
        self._refresh()

    def set_data(self, data: LabelledData | None) -> None:
        """Labelled data that the verdict goes by from now on; None: the calibration samples."""
        self.data = data
        self.data_label.setText(f"Verdict on {data_text(data)}")
        self.data_label.setToolTip("" if data is None else data.path)
        self.no_data.setVisible(data is not None)

    def set_available(self, why_not: str, why_not_selection: str) -> None:
        """Whether advice can be asked for, on the model and on the selection, and if not, why."""
        for button, why, tip in (
            (self.whole, why_not, "Find out where the model loses most, and what helps"),
            (self.selection, why_not_selection, "Try remedies at the selected nodes"),
        ):
            button.setEnabled(not why)
            button.setToolTip(why or tip)
        self.choose_data.setEnabled(not why_not)
        self.choose_data.setToolTip(why_not or DATA_TIP)

    def apply_combination(self) -> None:
        """Apply the best combination as one step."""
        advice = self._advice
        combination = None if advice is None or advice.advice is None else advice.advice.combination
        if advice is not None and combination is not None and self.has_combination:
            label = f"advice: {counted(len(combination.titles), 'remedy', 'remedies')}"
            self.applyWanted.emit(advice.applied(self._document.plan, COMBINATION_KEY), label)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._fit_columns()
        self._refresh()

    # Making

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        set_role(self.headline, "heading")
        self.details.setWordWrap(True)
        for label in (self.headline, self.details):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._build_aim()
        self.samples.setRange(LEAST_SAMPLES, MOST_SAMPLES)
        self.samples.setValue(DEFAULT_SAMPLES)
        self.samples.setPrefix("Samples: ")
        self.samples.setToolTip("On how many calibration samples remedies are tried")
        self.whole.setProperty("primary", True)
        self.apply.setToolTip("Apply the remedy of the current row: one step that can be undone")
        self._build_table()
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.headline)
        words.addWidget(self.details)
        controls = QHBoxLayout()
        controls.setSpacing(8)
        for widget in (self.aim_kind, self.aim, self.samples, self.whole, self.selection, self.stop):
            controls.addWidget(widget)
        set_role(self.data_label, "muted")
        for widget in (self.choose_data, self.no_data):
            controls.addWidget(widget)
        controls.addWidget(self.data_label, 1)
        self.set_data(None)
        controls.addWidget(self.apply)
        controls.addWidget(self.apply_best)
        top = QVBoxLayout()
        top.setContentsMargins(8, 6, 8, 6)
        top.setSpacing(6)
        top.addLayout(words)
        top.addLayout(controls)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        layout.addWidget(self.table, 1)

    def _build_aim(self) -> None:
        self.aim_kind.addItems(["Lose at most", "Reach at least"])
        self.aim_kind.setToolTip("What is good enough: predictions lost against the float model, or the output's SQNR")
        self.aim.setDecimals(1)
        self.aim.setSingleStep(0.1)
        self.aim_kind.setAccessibleName("Kind of aim")
        self.aim.setAccessibleName("Aim")
        self._change_aim(POINTS)

    def _change_aim(self, kind: int) -> None:
        is_points = kind == POINTS
        self.aim.setRange(0.0, 100.0)
        self.aim.setSuffix(" points" if is_points else " dB")
        self.aim.setValue(Aim().max_drop if is_points else 30.0)

    def _build_table(self) -> None:
        table = self.table
        table.setHeaderLabels(list(COLUMNS))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for column in NUMERIC:
            table.headerItem().setTextAlignment(column, right)
        table.setUniformRowHeights(True)
        table.setAlternatingRowColors(True)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setExpandsOnDoubleClick(False)
        table.setAccessibleName("Advice")
        table.header().setStretchLastSection(True)
        self._fit_columns()

    def _fit_columns(self) -> None:
        width = self.table.fontMetrics().averageCharWidth()
        for column, characters in enumerate(WIDTHS):
            self.table.setColumnWidth(column, round(width * characters * 1.08) + 16)

    def _connect(self, document: QtDocument) -> None:
        document.graphChanged.connect(self.clear)
        document.planChanged.connect(self._refresh)
        self.aim_kind.currentIndexChanged.connect(self._change_aim)
        self.whole.clicked.connect(lambda: self.adviseWanted.emit(False))
        self.selection.clicked.connect(lambda: self.adviseWanted.emit(True))
        self.stop.clicked.connect(lambda: self.stopWanted.emit())
        self.choose_data.clicked.connect(lambda: self.dataWanted.emit())
        self.apply.clicked.connect(lambda: self._apply(self.table.currentItem()))
        self.apply_best.clicked.connect(lambda: self.apply_combination())
        self.table.itemDoubleClicked.connect(lambda item, column: self._apply(item))
        self.table.itemClicked.connect(lambda item, column: self._reveal(item))
        self.table.currentItemChanged.connect(lambda item, before: self._on_current(item))

    # Showing

    def _refresh(self) -> None:
        self._show_words()
        self._fill()
        self.stop.setVisible(self._is_running)
        self._refresh_buttons()

    def _show_words(self) -> None:
        advice = None if self._advice is None else self._advice.advice
        if self._problem:
            self.headline.setText("Advice could not be given")
            self.details.setText(self._problem)
            set_role(self.headline, "warning")
            set_role(self.details, "")
            return
        if self._advice is None or advice is None or not advice.samples:
            waiting = self._advice is not None and self._is_running
            self.headline.setText("Measuring the present plan …" if waiting else TITLE)
            self.details.setText(NOTHING_YET)
            set_role(self.details, "muted")
            set_role(self.headline, "heading")
            return
        words = headline_of(advice, self._is_running, self._advice.is_on_selection)
        is_outdated = self._advice.before != self._document.plan
        self.headline.setText(words.text)
        self.details.setText(words.details + (OUTDATED if is_outdated else ""))
        set_role(self.details, "muted" if is_outdated else "")
        set_role(self.headline, "warning" if words.is_warning else "heading")

    def _fill(self) -> None:
        """Rows anew, with the current one, what was closed and the place looked at kept."""
        table, bar = self.table, self.table.verticalScrollBar()
        current = self._name_of(table.currentItem())
        closed = {self._name_of(item) for item in self._places() if not item.isExpanded()}
        where = bar.value()
        self._rows = {}
        table.setHeaderLabels(list(columns_of(None if self._advice is None else self._advice.advice)))
        with QSignalBlocker(table):
            table.clear()
            for row in self._shown_rows():
                item = self._item(row)
                table.addTopLevelItem(item)
            for name, item in self._items_by_name().items():
                if name == current:
                    table.setCurrentItem(item)  # which opens its place
            for item in self._places():
                item.setExpanded(self._name_of(item) not in closed)
        bar.setValue(where)

    def _shown_rows(self) -> tuple[Row, ...]:
        return () if self._advice is None else self._advice.rows(self._document.plan)

    def _item(self, row: Row) -> QTreeWidgetItem:
        self._rows[row.name] = row
        item = QTreeWidgetItem(list(row.texts))
        item.setData(0, _NAME_ROLE, row.name)
        item.setData(0, _NODE_ROLE, row.node)
        is_place = row.key is None and not row.is_muted
        for column in range(len(COLUMNS)):
            item.setToolTip(column, row.tip)
            if column in NUMERIC:
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if row.is_muted or row.is_applied:
                item.setForeground(column, QBrush(QColor(self._theme.muted_text)))
        if is_place:
            font = item.font(0)
            font.setBold(True)
            item.setFont(0, font)
        item.addChildren([self._item(child) for child in row.rows])
        return item

    def _places(self) -> list[QTreeWidgetItem]:
        items = (self.table.topLevelItem(index) for index in range(self.table.topLevelItemCount()))
        return [item for item in items if item is not None]

    def _items_by_name(self) -> dict[str, QTreeWidgetItem]:
        places = self._places()
        children = (place.child(index) for place in places for index in range(place.childCount()))
        return {self._name_of(item): item for item in (*places, *children) if item is not None}

    @staticmethod
    def _name_of(item: QTreeWidgetItem | None) -> str:
        """What the row is called; a name that no row has for none."""
        return _NO_ROW if item is None else str(item.data(0, _NAME_ROLE))

    def _refresh_buttons(self) -> None:
        row = self._current_row()
        self.apply.setEnabled(row is not None and row.key is not None and not row.is_applied)
        advice = None if self._advice is None else self._advice.advice
        combination = None if advice is None else advice.combination
        self.apply_best.setEnabled(self.has_combination)
        count = 0 if combination is None else len(combination.titles)
        self.apply_best.setText(f"Apply Best {count}" if count > 1 else "Apply Best")
        nothing = "The remedies that go best together, once they are found"
        self.apply_best.setToolTip(nothing if combination is None else combination_text(combination))

    def _current_row(self) -> Row | None:
        return self._rows.get(self._name_of(self.table.currentItem()))

    # What the user does

    def _on_current(self, item: QTreeWidgetItem | None) -> None:
        node = self._node(item)
        if node:
            self._view.select((node,))
        self._refresh_buttons()

    def _reveal(self, item: QTreeWidgetItem) -> None:
        node = self._node(item)
        if node:
            self._view.select((node,))
            self.revealed.emit(node)

    def _apply(self, item: QTreeWidgetItem | None) -> None:
        row = self._rows.get(self._name_of(item))
        if self._advice is not None and row is not None and row.key is not None and not row.is_applied:
            self.applyWanted.emit(self._advice.applied(self._document.plan, row.key), step_label(row))

    def _node(self, item: QTreeWidgetItem | None) -> str:
        """The row's node, if the open model has it."""
        node = "" if item is None else str(item.data(0, _NODE_ROLE))
        return node if node in self._document.nodes else ""
