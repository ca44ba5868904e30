"""The panels' widgets over a document that is fed with records: what shows, and that selections are shared."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from engine.service.messages import PlanData
from gui.client.session import Activity
from gui.document.document import Document
from gui.document.exports import EXPORT_FORMATS
from gui.document.notice import Level, Notice
from gui.document.overlay import Overlay
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.dialogs.export_options import ExportOptionsDialog
from gui.panels.dialogs.model import SamplesForm
from gui.panels.dialogs.samples import SamplesDialog
from gui.panels.hierarchy.widget import HierarchyPanel
from gui.panels.icons import icon
from gui.panels.inspector.widget import InspectorPanel
from gui.panels.messages.widget import NoticeArea, ProgressView
from gui.panels.node_table.model import COLUMNS
from gui.panels.node_table.widget import NodeTablePanel
from gui.panels.overlays import heat_of
from gui.panels.palette.model import Entry
from gui.panels.palette.widget import CommandPalette
from gui.panels.search.widget import SearchBar
from gui.panels.summary.widget import SummaryStrip
from gui.panels.welcome.widget import WelcomePage
from gui.theme import DARK, LIGHT
from tests.gui import samples

KEYS = [column.key for column in COLUMNS]


class Bench:
    """A document and a view that panels share."""

    def __init__(self) -> None:
        self.document = Document()
        self.qt = QtDocument(self.document)
        self.view = SharedView()

    def open(self, calibrated: bool = True) -> None:
        self.document.open(samples.opened("/models/small.qscope", calibrated), "/models/small.qscope")
        samples.answered(self.document)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def node_table(bench: Bench, qtbot: QtBot) -> NodeTablePanel:
    panel = NodeTablePanel(bench.qt, bench.view)
    qtbot.addWidget(panel)
    panel.set_theme(LIGHT)
    bench.open()
    return panel


def text(panel: NodeTablePanel, row: int, key: str) -> object:
    return panel.model.data(panel.model.index(row, KEYS.index(key)), Qt.ItemDataRole.DisplayRole)


def test_table_selects_for_all_and_follows_all(bench: Bench, qtbot: QtBot) -> None:
    panel = node_table(bench, qtbot)
    panel.table.selectRow(1)
    assert bench.view.selection == ("/stem/Conv",)
    bench.view.select(["/head/fc/Gemm", "logits"])
    rows = panel.table.selectionModel().selectedRows()
    assert sorted(index.row() for index in rows) == [4, 5]


def test_table_keeps_the_selection_through_filter_and_sort(bench: Bench, qtbot: QtBot) -> None:
    panel = node_table(bench, qtbot)
    bench.view.select(["/head/fc/Gemm"])
    panel.filter_box.setText("head")
    panel.table.sortByColumn(KEYS.index("latency"), Qt.SortOrder.DescendingOrder)
    assert [panel.model.table.node_id(i.row()) for i in panel.table.selectionModel().selectedRows()] == [
        "/head/fc/Gemm"
    ]
    panel.filter_box.setText("stem")
    assert bench.view.selection == ("/head/fc/Gemm",)
    assert panel.model.rowCount() == 2


def test_table_follows_the_plan_at_once(bench: Bench, qtbot: QtBot) -> None:
    panel = node_table(bench, qtbot)
    bench.document.mark(["/stem/Conv"], "int16")
    assert text(panel, 1, "requested") == "int16"
    assert text(panel, 1, "effective") == "int8"
    samples.answered(bench.document, better_by_db=10.0)
    assert text(panel, 1, "effective") == "int16"
    assert text(panel, 1, "accumulated") == "50.0 ± 0.5"


def test_table_is_tinted_like_the_graph(bench: Bench, qtbot: QtBot) -> None:
    panel = node_table(bench, qtbot)
    panel.set_heat(heat_of(bench.document, Overlay.LATENCY), Overlay.LATENCY)
    role = Qt.ItemDataRole.BackgroundRole
    strong = panel.model.data(panel.model.index(4, KEYS.index("latency")), role)
    faint = panel.model.data(panel.model.index(4, KEYS.index("mse")), role)
    assert strong is not None
    assert faint is not None
    assert strong != faint
    assert panel.model.data(panel.model.index(0, KEYS.index("latency")), role) is None


def test_table_says_why_a_filter_fails(bench: Bench, qtbot: QtBot) -> None:
    panel = node_table(bench, qtbot)
    panel.filter_box.setText("/(/")
    assert "not a regular expression" in panel._count.text()


def test_hierarchy_shares_the_selection_and_reveals(bench: Bench, qtbot: QtBot) -> None:
    panel = HierarchyPanel(bench.qt, bench.view)
    qtbot.addWidget(panel)
    bench.open()
    panel.set_heat(heat_of(bench.document, Overlay.LATENCY))
    panel.resize(300, 400)
    panel.show()
    stem = next(i for i, item in enumerate(panel.model.tree.items) if item.id == "stem")
    with qtbot.waitSignal(panel.revealed) as revealed:
        where = panel.tree.visualRect(panel.model.index_of(stem)).center()
        qtbot.mouseClick(panel.tree.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert revealed.args == ["stem"]
    assert bench.view.selection == ("/stem/Conv", "/stem/Relu")
    bench.view.select(["/head/fc/Gemm"])
    chosen = panel.tree.selectionModel().selectedRows()
    assert [panel.model.item(index).id for index in chosen] == ["/head/fc/Gemm"]


def inspector(bench: Bench, qtbot: QtBot) -> InspectorPanel:
    panel = InspectorPanel(bench.qt, bench.view)
    qtbot.addWidget(panel)
    panel.set_theme(LIGHT)
    bench.open()
    return panel


def test_inspector_shows_the_selection_and_asks_for_details(bench: Bench, qtbot: QtBot) -> None:
    panel = inspector(bench, qtbot)
    with qtbot.waitSignal(panel.detailWanted) as wanted:
        bench.view.select(["/stem/Conv"])
    assert wanted.args == ["/stem/Conv"]
    assert panel.title.text() == "stem/Conv"
    assert panel.error.texts()["Accumulated"] == "40.0 ± 0.5 dB"
    assert panel.precision.buttons["auto"].isChecked()


def test_inspector_plots_only_the_node_that_is_still_selected(bench: Bench, qtbot: QtBot) -> None:
    panel = inspector(bench, qtbot)
    bench.view.select(["/stem/Conv"])
    panel.show_detail(samples.detail("/head/fc/Gemm"))
    assert panel.plots is None
    panel.show_detail(samples.detail("/stem/Conv"))
    assert panel.plots is not None
    assert not panel.plots.isHidden()
    assert panel.tensors.texts()["Clipped"] == "2.00 %"
    panel.set_theme(DARK)
    bench.view.select(["/stem/Relu"])
    assert panel.plots.isHidden()


def test_precision_buttons_act_and_explain(bench: Bench, qtbot: QtBot) -> None:
    panel = inspector(bench, qtbot)
    bench.view.select(["/stem/Conv"])
    with qtbot.waitSignal(panel.precisionChosen) as chosen:
        panel.precision.buttons["int16"].click()
    assert chosen.args == ["int16"]
    bench.document.mark(["/stem/Conv"], "int16")
    assert panel.precision.buttons["int16"].isChecked()
    bench.view.select(["/stem/Conv", "/stem/Relu"])
    assert not any(button.isChecked() for button in panel.precision.buttons.values())
    bench.view.select(["image"])
    assert not panel.precision.buttons["int8"].isEnabled()
    assert "Inputs and outputs" in panel.precision.buttons["int8"].toolTip()


def test_summary_offers_targets_and_follows_the_plan(bench: Bench, qtbot: QtBot) -> None:
    strip = SummaryStrip(bench.qt)
    qtbot.addWidget(strip)
    strip.set_targets((("journey5", "Journey 5"), ("generic-int8", "Generic")))
    bench.open()
    assert strip.targets.currentData() == "journey5"
    bench.document.set_target("generic-int8")
    assert strip.targets.currentText() == "Generic"
    bench.document.set_target("/my/chip.toml")
    assert strip.targets.currentData() == "/my/chip.toml"
    bench.document.set_default_method("kl")
    assert strip.methods.currentData() == "kl"
    with qtbot.waitSignal(strip.targetChosen) as chosen:
        strip.targets.setCurrentIndex(0)
        strip.targets.activated.emit(0)
    assert chosen.args == ["journey5"]


def test_search_goes_from_hit_to_hit(bench: Bench, qtbot: QtBot) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    bar = SearchBar(bench.qt, parent)
    bench.open()
    parent.show()
    bar.open()
    found: list[str] = []
    bar.found.connect(found.append)
    qtbot.keyClicks(bar.box, "head")
    qtbot.keyClick(bar.box, Qt.Key.Key_Return)
    qtbot.keyClick(bar.box, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert found[-3:] == ["/head/Reshape", "/head/fc/Gemm", "/head/Reshape"]
    assert bar.status.text() == "1 of 2 hits"
    qtbot.keyClick(bar.box, Qt.Key.Key_Escape)
    assert bar.isHidden()


def test_notices_offer_their_command_and_go(qtbot: QtBot) -> None:
    area = NoticeArea({"model.calibrate": "Calibrate …"})
    qtbot.addWidget(area)
    area.post(Notice(Level.INFO, "not calibrated", action="model.calibrate"))
    area.post(Notice(Level.ERROR, "bad <b>file</b>", details="the whole story"))
    assert not area.isHidden()
    button = next(b for b in area.findChildren(QPushButton) if b.text() == "Calibrate …")
    with qtbot.waitSignal(area.actionChosen) as chosen:
        button.click()
    assert chosen.args == ["model.calibrate"]
    area.dismiss("bad <b>file</b>")
    assert area.isHidden()


def test_progress_shows_what_is_known(qtbot: QtBot) -> None:
    progress = ProgressView()
    qtbot.addWidget(progress)
    progress.show_activity(Activity(1, "Calibrating", 3, 64))
    assert progress.text.text() == "Calibrating   3 of 64"
    assert progress.bar.maximum() == 64
    with qtbot.waitSignal(progress.cancelled):
        progress.stop.click()
    progress.show_activity(None)
    assert progress.bar.isHidden()


def test_palette_runs_what_is_chosen(qtbot: QtBot) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    palette = CommandPalette(parent)
    palette.offer([Entry("a", "View: Fit", why_not="Open a model first"), Entry("b", "File: Open …")])
    qtbot.keyClicks(palette.box, "open")
    with qtbot.waitSignal(palette.chosen) as chosen:
        qtbot.keyClick(palette.box, Qt.Key.Key_Return)
    assert chosen.args == ["b"]
    palette.offer([Entry("a", "View: Fit", why_not="Open a model first")])
    with qtbot.assertNotEmitted(palette.chosen):
        qtbot.keyClick(palette.box, Qt.Key.Key_Return)
    palette.hide()


def test_welcome_lists_what_exists(qtbot: QtBot, tmp_path) -> None:
    page = WelcomePage()
    qtbot.addWidget(page)
    page.set_theme(DARK)
    kept, gone = tmp_path / "kept.onnx", tmp_path / "gone.onnx"
    kept.touch()
    page.set_recent([str(kept), str(gone)])
    links = {button.text(): button for button in page.findChildren(QPushButton) if not button.isHidden()}
    assert "kept.onnx" in links
    assert "gone.onnx" not in links
    with qtbot.waitSignal(page.pathChosen) as chosen:
        links["kept.onnx"].click()
    assert chosen.args == [str(kept)]


def test_the_samples_dialog_is_ready_when_its_form_is(qtbot: QtBot, tmp_path) -> None:
    arrays = tmp_path / "samples.npz"
    arrays.touch()
    (tmp_path / "recipe.toml").touch()
    dialog = SamplesDialog("Calibrate", "Calibrate", SamplesForm(), asks_recipe=True)
    qtbot.addWidget(dialog)
    assert not dialog.accept_button.isEnabled()
    dialog.data.setText(str(arrays))
    assert dialog.accept_button.isEnabled()
    assert dialog.form().recipe.endswith("recipe.toml")


def test_a_form_of_options_answers_what_differs_from_the_defaults(qtbot: QtBot) -> None:
    fields = EXPORT_FORMATS["ethos-u"].fields
    dialog = ExportOptionsDialog("Export", fields, {"memory-mode": "Sram_Only"})
    qtbot.addWidget(dialog)
    assert dialog.chosen() == {"memory-mode": "Sram_Only"}
    assert not dialog.boxes["accelerator"].isEditable()
    assert dialog.boxes["system-config"].findText("Ethos_U85_SYS_DRAM_Mid") > 0
    dialog.boxes["accelerator"].setCurrentText("ethos-u55-128")
    dialog.boxes["memory-mode"].setCurrentText("")
    dialog.boxes["system-config"].setCurrentText(" My_System ")
    assert dialog.chosen() == {"accelerator": "ethos-u55-128", "system-config": "My_System"}


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_icons_are_drawn(qapp: object, theme) -> None:
    assert not icon("open", theme).isNull()
    assert icon("", theme).isNull()


def test_plan_data_defaults_fit_the_method_choices(bench: Bench, qtbot: QtBot) -> None:
    strip = SummaryStrip(bench.qt)
    qtbot.addWidget(strip)
    assert strip.methods.findData(PlanData().default_method) >= 0
