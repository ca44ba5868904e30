"""The inspector: what is known about the selection, and its precision to choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QLabel, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from engine.reports import NodeDetail, RegionVerdict
from engine.reports_analysis import NodeExplanation
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.facts import NodeFacts
from gui.panels.inspector import model
from gui.panels.inspector.method_choice import MethodChoice
from gui.panels.inspector.methods import common_method, why_no_method
from gui.panels.inspector.precision_buttons import PrecisionButtons
from gui.panels.inspector.rows_view import Section
from gui.panels.parts import set_role
from gui.panels.regions import state_text
from gui.theme import LIGHT, Theme

if TYPE_CHECKING:
    from gui.panels.inspector.plots import TensorPlots


class InspectorPanel(QWidget):
    """Emits ``precisionChosen`` and ``methodChosen`` for the selection, ``detailWanted`` with the node whose tensors
    should show, ``regionWanted`` with the fusion region of which it should be known what it saves, ``adviceWanted`` for
    remedies at the selection, and ``sampleWanted`` with the node and one of its worst samples.
    """

    precisionChosen = Signal(str)
    methodChosen = Signal(str)
    detailWanted = Signal(str)
    regionWanted = Signal(str)
    adviceWanted = Signal()
    sampleWanted = Signal(str, int)

    def __init__(self, document: QtDocument, view: SharedView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._view = view
        self._theme = LIGHT
        self._detail: NodeDetail | None = None
        self._verdict: RegionVerdict | None = None
        self._explanation: NodeExplanation | None = None
        self.title = QLabel()
        self.subtitle = QLabel()
        self.precision = PrecisionButtons()
        self.quantisation = Section("Quantisation")
        self.method = MethodChoice()
        self.quantisation.layout_.addWidget(self.method)
        self.error = Section("Error")
        self.advise = QPushButton("Look for remedies …")
        self.advise.setObjectName("link")
        self.error.layout_.addWidget(self.advise)
        self.causes = Section("Why it errs")
        self.latency = Section("Latency")
        self.tensors = Section("Tensors")
        self.source = Section("Source", is_open=False)
        self.plots: TensorPlots | None = None
        self._build()
        self._connect()
        self.refresh()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.precision.set_theme(theme)
        if self.plots is not None:
            self.plots.set_theme(theme)

    def prepare(self) -> None:
        """Make the plots ahead of the first click: importing what draws them takes a quarter of a second."""
        self._make_plots()

    def show_detail(self, detail: NodeDetail) -> None:
        """Show a node's tensors, if it is still the one selected."""
        if self._view.selection != (detail.id,):
            return
        self._detail = detail
        self.refresh()
        plots = self._make_plots()
        plots.show_detail(detail)
        plots.show()

    def show_explanation(self, explanation: NodeExplanation) -> None:
        """Show why a node errs, if it is still the one selected."""
        if self._view.selection == (explanation.id,):
            self._explanation = explanation
            self.refresh()

    def show_verdict(self, verdict: RegionVerdict, is_of_plan: bool) -> None:
        """Show what the region of the selected node saves, if it is still the one selected."""
        if is_of_plan and verdict.name == self._region():
            self._verdict = verdict
            self.refresh()

    def refresh(self) -> None:
        """Show what the document says now about the selection."""
        document = self._document.document
        facts = [NodeFacts.of(document, node) for node in self._view.selection if node in document.nodes]
        self.title.setText(model.title_of(facts))
        self.subtitle.setText(model.subtitle_of(facts))
        self.precision.show_request(model.common_request(facts), model.why_not_markable(facts))
        for section in self._sections():
            section.setVisible(bool(facts))
        self.precision.setVisible(bool(facts))
        self.tensors.setVisible(len(facts) == 1 and self._detail is not None)
        self.causes.setVisible(len(facts) == 1 and self._explanation is not None)
        if facts:
            self._show_rows(facts)

    def _show_rows(self, facts: list[NodeFacts]) -> None:
        document = self._document.document
        timing = document.results.timed.timing
        self.quantisation.show_rows([*model.quantisation_rows(facts, self._detail), *self._region_rows()])
        default = document.plan.default_method
        self.method.show_choice(common_method(document, facts), default, why_no_method(document, facts))
        self.error.show_rows(model.error_rows(facts, document.calibration.is_done))
        self.advise.setVisible(document.calibration.is_done)
        self.latency.show_rows(model.latency_rows(facts, timing.latency_ms * 1000 if timing else None))
        self.source.show_rows(model.source_rows(facts))
        if self._explanation is not None:
            self.causes.show_rows(model.cause_rows(self._explanation))
        if self._detail is not None:
            self.tensors.show_rows(model.tensor_rows(self._detail))

    def _region(self) -> str:
        """The fusion region that all selected nodes are in; "" for none or several."""
        document = self._document.document
        names = {document.region_of(node_id) for node_id in self._view.selection}
        return names.pop() if len(names) == 1 else ""

    def _region_rows(self) -> list[model.Row]:
        document, name = self._document.document, self._region()
        if not name:
            return []
        region = document.results.resolved.regions.get(name)
        verdict = self._verdict if self._verdict is not None and self._verdict.name == name else None
        is_legal = region is None or region.legal
        return [model.region_row(name, len(document.region_nodes(name)), state_text(region, verdict), is_legal)]

    def _sections(self) -> tuple[Section, ...]:
        return (self.quantisation, self.error, self.causes, self.latency, self.tensors, self.source)

    def _build(self) -> None:
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_role(self, "panel")
        set_role(self.title, "title")
        set_role(self.subtitle, "muted")
        for label in (self.title, self.subtitle):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        head = QVBoxLayout()
        head.setContentsMargins(10, 8, 10, 10)
        head.setSpacing(4)
        for widget in (self.title, self.subtitle, self.precision):
            head.addWidget(widget)
        holder = QWidget()
        body = QVBoxLayout(holder)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(0)
        for section in self._sections():
            body.addWidget(section)
        body.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(holder)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(scroll, 1)

    def _connect(self) -> None:
        document = self._document
        self._view.selectionChanged.connect(self._on_selection)
        document.graphChanged.connect(self._forget_detail)
        for signal in (document.planChanged, document.timingChanged, document.errorsChanged):
            signal.connect(self.refresh)
        document.resolutionChanged.connect(self._on_resolved)
        self.precision.chosen.connect(self.precisionChosen)
        self.method.chosen.connect(self.methodChosen)
        self.advise.clicked.connect(lambda: self.adviceWanted.emit())
        self.causes.linkClicked.connect(self._on_sample)

    def _on_selection(self) -> None:
        self._forget_detail()
        self._ask_for_detail()

    def _on_resolved(self) -> None:
        """A changed plan changes the tensors too: the plots stay until the new ones come."""
        self.refresh()
        self._ask_for_detail()

    def _on_sample(self, sample: str) -> None:
        if self._explanation is not None:
            self.sampleWanted.emit(self._explanation.id, int(sample))

    def _ask_for_detail(self) -> None:
        selection = self._view.selection
        self._verdict = None
        if region := self._region():
            self.regionWanted.emit(region)
        self.detailWanted.emit(selection[0] if len(selection) == 1 else "")

    def _forget_detail(self) -> None:
        self._detail = None
        self._explanation = None
        if self.plots is not None:
            self.plots.hide()
        self.refresh()

    def _make_plots(self) -> TensorPlots:
        if self.plots is None:
            from gui.panels.inspector.plots import TensorPlots  # see there why so late

            self.plots = TensorPlots(self._theme)
            self.plots.hide()
            self.tensors.layout_.addWidget(self.plots)
        return self.plots
