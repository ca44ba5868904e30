"""The panel that shows what occupies memory over the time of a frame; a click on a block selects its nodes."""

from __future__ import annotations

from PySide6.QtWidgets import QButtonGroup, QLabel, QToolButton, QWidget

from engine.reports import Compilation
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.compiled_panel import CompiledPanel
from gui.panels.memory.model import KINDS, Memory, MemoryModel
from gui.panels.memory.view import MemoryView
from gui.panels.parts import set_role, tool_button
from gui.panels.time_view import SharedTime
from gui.theme import Theme

_SWITCHES = {
    Memory.SRAM: ("On chip", "What lies in the chip's own memory"),
    Memory.DRAM: ("DDR", "What lies in external memory"),
}


class MemoryPanel(CompiledPanel):
    """Occupancy and addresses with the plan's figures."""

    def __init__(
        self, document: QtDocument, view: SharedView, time: SharedTime, parent: QWidget | None = None
    ) -> None:
        super().__init__(document, view, parent)
        self.plan = MemoryView(time)
        self.memory = Memory.SRAM
        self.legend = QLabel()
        self.switches: dict[Memory, QToolButton] = {}
        self._group = QButtonGroup(self)
        self._add_tools()
        self.set_content(self.plan)
        self.plan.clicked.connect(self._on_clicked)
        view.selectionChanged.connect(self._show_selection)

    def _add_tools(self) -> None:
        set_role(self.legend, "muted")
        self.tools.addWidget(self.legend)
        for memory, (text, tip) in _SWITCHES.items():
            button = tool_button(text, tip, lambda memory=memory: self.show_memory(memory))
            button.setCheckable(True)
            button.setChecked(memory is self.memory)
            self._group.addButton(button)
            self.switches[memory] = button
            self.tools.addWidget(button)
        for text, tip, pressed in (
            ("Fit selection", "Show when the selected nodes have memory (Z)", self.plan.fit_selected),
            ("Fit all", "Show the whole frame (Space)", self.plan.fit),
        ):
            self.tools.addWidget(tool_button(text, tip, pressed))

    def show_memory(self, memory: Memory) -> None:
        """Look at the chip's memory or at DDR."""
        self.memory = memory
        self.switches[memory].setChecked(True)
        if self.plan.model is not None:
            self.take(self.plan.model.compilation)
            self.refresh()

    def forget(self) -> None:
        self.plan.fit()

    def take(self, compilation: Compilation) -> None:
        model = MemoryModel(compilation, self.memory)
        self.plan.show_model(model, self.selected_nodes())
        occurring = [kind for number, kind in enumerate(KINDS.values()) if number in model.kind]
        self.legend.setText(" ".join(f'<span style="color:{kind.colour}">■</span> {kind.title}' for kind in occurring))

    def headline(self, compilation: Compilation) -> str:
        assert self.plan.model is not None, "it is taken before its head line is asked for"
        return self.plan.model.headline()

    def remark(self, compilation: Compilation) -> str:
        has_plan = self.memory is Memory.SRAM and compilation.memory.peak_bytes > 0
        return f"planner: {compilation.memory.planner}" if has_plan else ""

    def set_theme(self, theme: Theme) -> None:
        self.plan.set_theme(theme)

    def _show_selection(self) -> None:
        if self._is_watched:
            self.plan.set_selected(self.selected_nodes())

    def _on_clicked(self, block: int, is_added: bool) -> None:
        if self.plan.model is not None and block >= 0:
            self.select(self.plan.model.nodes_of(block), is_added)
