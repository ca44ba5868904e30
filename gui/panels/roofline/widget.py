"""The panel that shows how near each kernel is to the limits of the chip; a click on a kernel selects its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from engine.reports import Compilation
from gui.document.qt_document import QtDocument, SharedView
from gui.panels import formats
from gui.panels.compiled_panel import CompiledPanel
from gui.panels.parts import set_role, tool_button
from gui.panels.roofline.model import RooflineModel
from gui.panels.roofline.strip import TimeStrip
from gui.theme import LIGHT, Theme

if TYPE_CHECKING:
    from gui.panels.roofline.plot import RooflinePlot


class RooflinePanel(CompiledPanel):
    """The plot of kernels with MACs, and below it a strip of those without."""

    def __init__(self, document: QtDocument, view: SharedView, parent: QWidget | None = None) -> None:
        super().__init__(document, view, parent)
        self._theme = LIGHT
        self.model: RooflineModel | None = None
        self.plot: RooflinePlot | None = None
        self.strip = TimeStrip()
        self.strip_title = QLabel()
        self.legend = QLabel()
        self._content = QVBoxLayout()
        self._arrange()
        self.strip.clicked.connect(self._on_clicked)
        self.strip.hovered.connect(self._show_card)
        view.selectionChanged.connect(self._show_selection)

    def _arrange(self) -> None:
        self._content.setContentsMargins(0, 0, 0, 0)
        self._content.setSpacing(2)
        self.strip_title.setContentsMargins(8, 2, 8, 0)
        for widget in (self.strip_title, self.strip):
            self._content.addWidget(widget)
        content = QWidget()
        content.setLayout(self._content)
        self.set_content(content)
        for label in (self.legend, self.strip_title):
            set_role(label, "muted")
        self.tools.addWidget(self.legend)
        self.tools.addWidget(tool_button("Fit all", "Show all kernels and the ridge of the roof (Space)", self.fit))

    def fit(self) -> None:
        """Show all kernels."""
        if self.plot is not None:
            self.plot.fit()

    def forget(self) -> None:
        if self.plot is not None:
            self.plot.forget()

    def take(self, compilation: Compilation) -> None:
        self.model = RooflineModel(compilation, self.titles)
        selected = self.model.kernels_of(self.selected_nodes())
        self._make_plot().show_model(self.model, selected)
        self.strip.show_model(self.model, selected)
        self.strip_title.setText(self.model.strip_title())
        self.legend.setText(
            " ".join(
                f'<span style="color:{share.bound.colour}">■</span> {share.bound.title} {_share_text(share.share)}'
                for share in self.model.shares()
            )
        )
        self.legend.setToolTip("What the time of the frame goes to; a point's area is its kernel's time")

    def headline(self, compilation: Compilation) -> str:
        assert self.model is not None, "it is taken before its head line is asked for"
        return self.model.headline()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.strip.set_theme(theme)
        if self.plot is not None:
            self.plot.set_theme(theme)

    def _make_plot(self) -> RooflinePlot:
        if self.plot is None:
            from gui.panels.roofline.plot import RooflinePlot

            self.plot = RooflinePlot()
            self.plot.set_theme(self._theme)
            self.plot.clicked.connect(self._on_clicked)
            self._content.insertWidget(0, self.plot, 1)
        return self.plot

    def _show_selection(self) -> None:
        if self._is_watched and self.model is not None and self.plot is not None:
            selected = self.model.kernels_of(self.selected_nodes())
            self.plot.set_selected(selected)
            self.strip.set_selected(selected)

    def _show_card(self, kernel: int, position: QPointF) -> None:
        """The strip is too low for a card of its own."""
        if self.model is not None and self.plot is not None:
            text = self.model.card(kernel) if kernel >= 0 else ""
            self.plot.card.showText(text, self.plot.mapFromGlobal(self.strip.mapToGlobal(position)).toPoint())

    def _on_clicked(self, kernel: int, is_added: bool) -> None:
        if self.model is not None and kernel >= 0:
            self.select(self.model.kernels[kernel].nodes, is_added)


def _share_text(share: float) -> str:
    return "&lt; 1 %" if share < 0.01 else f"{formats.number(round(100 * share))} %"
