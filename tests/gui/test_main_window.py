"""The whole way through the real window with the real engine process."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from gui.canvas.draft_card import VerdictCard
from gui.document.notice import Level
from gui.document.overlay import Overlay
from gui.main_window import MainWindow
from gui.panels.dialogs.model import SamplesForm
from gui.panels.dialogs.prompts import Unsaved
from gui.panels.node_table.model import COLUMNS
from gui.panels.verification.model import COLUMNS as VERIFICATION_COLUMNS
from tests.gui.windows import MODELS, WAIT_MS, Answers, window_for

MODEL = MODELS / "swin_fmnist.onnx"
SAMPLES = MODELS / "fmnist_samples.npz"
RECIPE = MODELS / "fmnist.toml"
CALIBRATION_SAMPLES = 4
LEFT = Qt.MouseButton.LeftButton
LASSO = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.AltModifier


@pytest.fixture(scope="module")
def shared_answers() -> Answers:
    return Answers()


@pytest.fixture(scope="module")
def shared_window(
    qapp: object, shared_answers: Answers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MainWindow]:
    """One window and one engine process for the tests here: starting it takes seconds."""
    made = window_for(tmp_path_factory.mktemp("settings"), shared_answers)
    made.resize(1600, 1000)
    made.show()
    made.inspector.prepare()
    QApplication.processEvents()  # the plots' layouts make helper windows when they first become active
    yield made
    made.shutdown()
    made.hide()
    made.deleteLater()


@pytest.fixture
def own_window(tmp_path: Path, qtbot: QtBot) -> Iterator[MainWindow]:
    """A window with an engine process of its own, for what the process does not survive."""
    made = window_for(tmp_path, Answers())
    qtbot.addWidget(made, before_close_func=lambda _: made.shutdown())
    made.show()
    yield made
    qtbot.waitUntil(lambda: made.session.activity is None, timeout=WAIT_MS)
    made.document.document.saved("", made.document.document.plan)


@pytest.fixture
def answers(shared_answers: Answers) -> Answers:
    return shared_answers


@pytest.fixture
def window(shared_window: MainWindow, answers: Answers, qtbot: QtBot) -> Iterator[MainWindow]:
    """The shared window, with nothing left over from the test before."""
    answers.about_unsaved = Unsaved.DISCARD
    shared_window.notices.clear()
    shared_window.search.hide()
    yield shared_window
    qtbot.waitUntil(lambda: not any(timer.isActive() for timer in shared_window.findChildren(QTimer)))
    qtbot.waitUntil(lambda: shared_window.session.activity is None, timeout=WAIT_MS)


def open_model(window: MainWindow, qtbot: QtBot, path: Path = MODEL) -> None:
    document = window.document.document
    revision = document.revision
    window.open_path(str(path))
    qtbot.waitUntil(lambda: document.revision > revision and document.is_timed, timeout=WAIT_MS)


def open_and_calibrate(window: MainWindow, answers: Answers, qtbot: QtBot) -> None:
    document = window.document.document
    open_model(window, qtbot)
    answers.form = SamplesForm(str(SAMPLES), str(RECIPE), samples=CALIBRATION_SAMPLES)
    window.actions_.trigger("model.calibrate")
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)


def click(window: MainWindow, qtbot: QtBot, node_id: str) -> None:
    """Click a node on the graph as a user does, once it is in view."""
    window.canvas.reveal(node_id)
    where = window.canvas.nodeCenter(node_id).toPoint()
    qtbot.mouseClick(window.canvas, Qt.MouseButton.LeftButton, pos=where)


def first_convolution(window: MainWindow) -> str:
    nodes = window.document.document.nodes.values()
    return next(info.id for info in nodes if info.op_type == "Conv")


def table_text(window: MainWindow, node_id: str, key: str) -> str:
    model = window.table.model
    row = model.table.row_of()[node_id]
    return str(model.data(model.index(row, [column.key for column in COLUMNS].index(key))))


def errors_of(window: MainWindow) -> list[tuple[str, str]]:
    return [(n.level.value, n.text) for n in window.notices.board.notices if n.level == Level.ERROR]


def test_from_a_bare_model_to_an_export(window: MainWindow, answers: Answers, qtbot: QtBot, tmp_path: Path) -> None:
    document = window.document.document
    open_and_calibrate(window, answers, qtbot)
    assert document.results.resolved.cpu_nodes == 0
    assert window.view.overlay == Overlay.ACCUMULATED
    window.actions_.trigger("overlay.introduced")

    node = first_convolution(window)
    click(window, qtbot, node)
    assert window.view.selection == (node,)
    qtbot.waitUntil(lambda: not window.inspector.tensors.isHidden(), timeout=WAIT_MS)
    before_heat = dict(window.heat.heat.values)
    before_text = table_text(window, node, "introduced")
    before_time = document.results.timed.timing

    qtbot.keyClick(window.canvas, Qt.Key.Key_6)
    assert document.plan.choices == {node: "int16"}
    assert window.canvas._model.decorations[node].requested == "int16"
    qtbot.waitUntil(lambda: document.is_timed and document.is_measured, timeout=WAIT_MS)
    assert window.canvas._model.decorations[node].effective == "int16"
    assert table_text(window, node, "effective") == "int16"
    assert table_text(window, node, "introduced") != before_text
    assert window.heat.heat.values[node] > before_heat[node] + 3
    assert document.results.timed.revision == document.revision  # its time is that of loading weights, as before

    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: document.is_timed and document.is_measured, timeout=WAIT_MS)
    assert dict(window.heat.heat.values) == before_heat
    assert document.results.timed.timing == before_time

    window.actions_.trigger("edit.redo")
    answers.path = str(tmp_path / "work")
    window.actions_.trigger("file.save")
    qtbot.waitUntil(lambda: not document.is_dirty, timeout=WAIT_MS)
    project = tmp_path / "work.qscope"
    assert project.is_file()
    assert window.windowTitle().startswith("work.qscope")
    assert not window.isWindowModified()

    open_model(window, qtbot, project)
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert document.plan.choices == {node: "int16"}
    assert document.calibration.is_done

    answers.path = str(tmp_path / "export")
    with qtbot.waitSignal(window.session.exported, timeout=WAIT_MS):
        window.actions_.trigger("export.package")
    assert zipfile.is_zipfile(tmp_path / "export.qspkg")
    assert errors_of(window) == []

    answers.asked.clear()
    window.actions_.trigger("export.ethos-u")
    assert answers.asked == ["options of Export for Ethos-U, so far {}"]
    answers.options = {"accelerator": "ethos-u99"}
    window.actions_.trigger("export.ethos-u")
    assert answers.asked[1:] == ["options of Export for Ethos-U, so far {}", "export ethos-u"]
    qtbot.waitUntil(lambda: errors_of(window) != [], timeout=WAIT_MS)
    assert "cannot be 'ethos-u99'" in errors_of(window)[0][1]
    assert not list(tmp_path.glob("*.ethos-u*"))


def test_a_selection_is_fused_or_refused_with_a_way_out(window: MainWindow, qtbot: QtBot) -> None:
    document = window.document.document
    open_model(window, qtbot)
    start = next(node for node in document.nodes if node.endswith("attn/MatMul_1"))
    ids = list(document.nodes)
    chosen = ids[ids.index(start) : ids.index(start) + 4]
    before = document.results.timed.timing
    assert before is not None

    window.view.select(chosen)
    with qtbot.waitSignal(window.session.regionChecked, timeout=WAIT_MS):
        qtbot.keyClick(window.canvas, Qt.Key.Key_G)
    refusal = window.notices.board.notices[0]
    assert refusal.text.startswith("Cannot fuse: 2 products")
    assert refusal.actions == ("region.show_nodes", "region.fuse_nearest")
    assert document.plan.regions == ()
    window.actions_.trigger("region.show_nodes")
    assert chosen[1] in window.view.selection

    with qtbot.waitSignal(window.session.regionChecked, timeout=WAIT_MS):
        window.actions_.trigger("region.fuse_nearest")
    assert window.notices.board.notices[0].text.startswith("Region 1 fuses")
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)
    assert document.results.resolved.regions["region 1"].legal
    timing = document.results.timed.timing
    assert timing is not None
    assert timing.latency_ms != before.latency_ms
    assert [region.name for region in window.canvas._model.regions] == ["region 1"]

    with qtbot.waitSignal(window.session.regionChecked, timeout=WAIT_MS):
        window.view.select(document.region_nodes("region 1")[:1])
    state = window.inspector.quantisation.texts()["Region"].replace("\u200b", "")
    assert "legal, saves" in state or "legal, costs" in state
    qtbot.keyClick(window.canvas, Qt.Key.Key_G, Qt.KeyboardModifier.ShiftModifier)
    assert document.plan.regions == ()
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)
    assert document.results.timed.timing == before


def draw_over(window: MainWindow, qtbot: QtBot, nodes: list[str]) -> None:
    """Press on the first of some nodes and draw a line through them, as a user does; the mouse stays down."""
    points = [window.canvas.nodeCenter(node).toPoint() for node in nodes]
    qtbot.mousePress(window.canvas, LEFT, LASSO, points[0] - QPoint(0, 4))
    for point in points:
        qtbot.mouseMove(window.canvas, point)
    qtbot.waitUntil(lambda: window.draft.verdict is not None and set(window.draft.verdict.nodes) == set(nodes))


def release(window: MainWindow, qtbot: QtBot, node: str) -> None:
    qtbot.mouseRelease(window.canvas, LEFT, LASSO, window.canvas.nodeCenter(node).toPoint())


def card_text(window: MainWindow) -> str:
    card = window.canvas.findChild(VerdictCard)
    assert isinstance(card, VerdictCard)
    return card.text() if card.isVisible() else ""


def test_nodes_dragged_over_are_judged_fused_split_and_dissolved(
    window: MainWindow, answers: Answers, qtbot: QtBot
) -> None:
    document, canvas = window.document.document, window.canvas
    open_model(window, qtbot)
    start = next(node for node in document.nodes if node.endswith("attn/MatMul_1"))
    ids = list(document.nodes)
    chosen = ids[ids.index(start) : ids.index(start) + 4]
    canvas.expandAll()
    canvas.reveal(chosen[1])

    draw_over(window, qtbot, chosen)
    assert card_text(window).startswith("✗ 4 nodes cannot be one kernel\n2 products")
    assert canvas._overlay.draft is not None and canvas._overlay.draft.offending
    assert window.view.selection == ()
    release(window, qtbot, chosen[-1])
    qtbot.waitUntil(lambda: "nodes that can: " in card_text(window))  # what that saves, or costs
    assert set(window.view.selection) == set(chosen)
    verdict = window.draft.verdict
    assert verdict is not None
    nearest = verdict.nearest
    qtbot.keyClick(canvas, Qt.Key.Key_Escape)
    assert card_text(window) == ""

    draw_over(window, qtbot, chosen)
    release(window, qtbot, chosen[-1])
    qtbot.keyClick(canvas, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: document.plan.regions == (("region 1", nearest),), timeout=WAIT_MS)
    assert card_text(window) == "", "the draft became a region"
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)

    answers.name = "mlp"
    window.view.select(nearest[:1])
    qtbot.keyClick(canvas, Qt.Key.Key_F2)
    assert document.region_nodes("mlp") == nearest
    with qtbot.waitSignal(window.session.splitChecked, timeout=WAIT_MS):
        window.actions_.trigger("region.split")
    assert window.notices.board.notices[0].text.startswith("Split mlp into mlp of")
    assert document.region_of(nearest[0]) == ""
    window.view.select(nearest)
    with qtbot.waitSignal(window.session.splitChecked, timeout=WAIT_MS):
        window.actions_.trigger("region.split")
    assert "all of its nodes are on one side" in window.notices.board.notices[0].text
    window.actions_.trigger("region.dissolve")
    for _ in range(4):
        window.actions_.trigger("edit.undo")
    assert document.plan.regions == ()
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)

    pair = [node for node in chosen if node in nearest][:2]
    draw_over(window, qtbot, pair)
    assert card_text(window).startswith(("✓ 2 nodes can be one kernel\nsaves", "✓ 2 nodes can be one kernel\ncosts"))
    qtbot.keyClick(canvas, Qt.Key.Key_G)
    qtbot.waitUntil(lambda: document.region_nodes("region 1") == tuple(pair), timeout=WAIT_MS)
    release(window, qtbot, pair[-1])
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)


def test_kernels_and_operators_share_the_selection_and_the_edits(window: MainWindow, qtbot: QtBot) -> None:
    document, canvas = window.document.document, window.canvas
    open_model(window, qtbot)
    operators = canvas.scene()
    softmax = next(node for node in document.nodes if node.endswith("Softmax"))
    window.view.select([softmax])
    qtbot.keyClick(canvas, Qt.Key.Key_C)
    qtbot.waitUntil(lambda: canvas.scene().noun == "kernels", timeout=WAIT_MS)
    assert window.actions_.actions["view.compiled"].isChecked()
    (kernel,) = canvas.selection()
    members = window.link.nodes([kernel])
    assert softmax in members
    assert len(canvas.scene().nodes) < len(operators.nodes)

    canvas.reveal(kernel)
    qtbot.mouseClick(canvas, LEFT, pos=canvas.nodeCenter(kernel).toPoint())
    assert list(window.view.selection) == members
    qtbot.keyClick(canvas, Qt.Key.Key_6)
    assert document.plan.choices == dict.fromkeys(members, "int16")
    qtbot.waitUntil(lambda: document.is_compiled, timeout=WAIT_MS)
    window.actions_.trigger("edit.undo")
    qtbot.waitUntil(lambda: document.is_compiled, timeout=WAIT_MS)

    window.actions_.trigger("panel.compiler")
    qtbot.waitUntil(lambda: "Layout" in window.compiler.passes.texts(), timeout=WAIT_MS)
    window.compiler.level.buttons["O0"].click()
    qtbot.waitUntil(lambda: document.is_compiled, timeout=WAIT_MS)
    assert len(canvas.scene().nodes) > len(members), "nothing is fused"
    assert softmax in window.link.nodes(canvas.selection())
    window.actions_.trigger("edit.undo")
    window.actions_.trigger("panel.compiler")

    gone = next(node for node in document.nodes if not window.link.boxes([node]))
    window.view.select([gone])
    assert window.selection_label.text() == "1 selected, not in the compiled model"
    window.views.reveal(gone)
    qtbot.keyClick(canvas, Qt.Key.Key_C)
    assert canvas.scene() == operators
    assert canvas.selection() == [gone]
    qtbot.waitUntil(lambda: document.is_timed and not canvas._flash_timer.isActive(), timeout=WAIT_MS)


def test_a_range_method_of_one_node(window: MainWindow, answers: Answers, qtbot: QtBot) -> None:
    document = window.document.document
    open_and_calibrate(window, answers, qtbot)
    node = next(node for node in document.nodes if node.endswith("mlp/fc1/MatMul"))
    unit = document.results.resolved.unit(node)

    def scale_of() -> float | None:
        return document.results.resolved.nodes[unit].scale

    before = scale_of()
    window.view.select((unit,))
    window.inspector.methodChosen.emit("max")
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert scale_of() != before
    assert window.inspector.method.box.currentData() == "max"
    document.undo()
    qtbot.waitUntil(lambda: document.is_measured, timeout=WAIT_MS)
    assert scale_of() == before


def test_every_view_follows_the_selection(window: MainWindow, answers: Answers, qtbot: QtBot) -> None:
    document = window.document.document
    open_model(window, qtbot)
    assert window.view.overlay == Overlay.LATENCY
    assert any(notice.action == "model.calibrate" for notice in window.notices.board.notices)

    worst = max(window.heat.heat.values, key=window.heat.heat.values.__getitem__)
    qtbot.keyClick(window.canvas, Qt.Key.Key_N)
    assert window.view.selection == (worst,)
    assert window.canvas.selection() == [worst]
    rows = window.table.table.selectionModel().selectedRows()
    assert [window.table.model.table.node_id(index.row()) for index in rows] == [worst]
    assert "Estimated" in window.inspector.latency.texts()

    window.actions_.trigger("select.same_type")
    kinds = {document.nodes[node_id].op_type for node_id in window.view.selection}
    assert kinds == {document.nodes[worst].op_type}
    assert window.selection_label.text() == f"{len(window.view.selection)} selected"

    window.actions_.trigger("go.find")
    qtbot.keyClicks(window.search.box, "head")
    assert "head" in window.view.selection[0]

    for command in ("view.expand_all", "view.collapse_all", "view.dark", "view.light", "view.reset_layout"):
        window.actions_.trigger(command)
    qtbot.keyClick(window.canvas, Qt.Key.Key_8)
    assert document.undo_label.startswith("mark")


def test_what_cannot_be_opened_is_a_message(window: MainWindow, answers: Answers, qtbot: QtBot, tmp_path: Path) -> None:
    document = window.document.document
    opened, page = document.opened_path, window.pages.currentWidget()
    bad = tmp_path / "notes.onnx"
    bad.write_text("these are notes", encoding="utf-8")
    window.open_path(str(bad))
    qtbot.waitUntil(lambda: bool(errors_of(window)), timeout=WAIT_MS)
    assert "notes.onnx" in errors_of(window)[0][1]
    assert "Traceback" not in errors_of(window)[0][1]
    assert window.pages.currentWidget() is page
    assert document.opened_path == opened
    assert window.session.activity is None


def test_a_killed_engine_loses_nothing(own_window: MainWindow, qtbot: QtBot) -> None:
    window = own_window
    document = window.document.document
    open_model(window, qtbot)
    node = first_convolution(window)
    document.mark([node], "int16")
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)
    before = document.results.timed.timing
    qtbot.waitUntil(lambda: not window.session._client.pending(), timeout=WAIT_MS)  # else the mark's own end settles
    with qtbot.waitSignal(window.session.settled, timeout=WAIT_MS):
        window.session._client.kill_process()
    assert any("nothing is lost" in notice.text for notice in window.notices.board.notices)
    document.mark([node], "float")
    document.undo()
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)
    assert document.plan.choices == {node: "int16"}
    assert document.results.timed.timing == before


def test_work_is_not_closed_away(window: MainWindow, answers: Answers, qtbot: QtBot, tmp_path: Path) -> None:
    document = window.document.document
    open_model(window, qtbot)
    node = first_convolution(window)
    document.mark([node], "int16")
    answers.about_unsaved = Unsaved.CANCEL
    window.open_path(str(tmp_path / "other.onnx"))
    assert answers.asked[-1] == "unsaved"
    window.close()
    assert window.isVisible()
    assert document.plan.choices == {node: "int16"}
    answers.about_unsaved = Unsaved.SAVE
    answers.path = str(tmp_path / "kept.qscope")
    with qtbot.waitSignal(window.session.opened, timeout=WAIT_MS):
        window.open_path(str(MODEL))
    qtbot.waitUntil(lambda: document.is_timed, timeout=WAIT_MS)
    assert (tmp_path / "kept.qscope").is_file()
    assert document.plan.choices == {}


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_read_only_folder_is_a_message(window: MainWindow, answers: Answers, qtbot: QtBot, tmp_path: Path) -> None:
    open_model(window, qtbot)
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    answers.path = str(folder / "work.qscope")
    window.actions_.trigger("file.save_as")
    qtbot.waitUntil(lambda: bool(errors_of(window)), timeout=WAIT_MS)


def test_a_dropped_file_is_opened(window: MainWindow, qtbot: QtBot) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(MODEL))])
    action, buttons, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    with qtbot.waitSignal(window.session.opened, timeout=WAIT_MS):
        window.dropEvent(QDropEvent(QPointF(5, 5), action, data, buttons, keys))
    assert window.preferences.recent[0] == str(MODEL)
    qtbot.waitUntil(lambda: window.document.document.is_timed, timeout=WAIT_MS)


def test_unbound_dimensions_can_be_given(window: MainWindow, answers: Answers, qtbot: QtBot, tmp_path: Path) -> None:
    answers.sizes = "height=x"
    window.session.last_asked_path = str(MODEL)
    window.actions_.trigger("file.open_bound")
    assert "NAME=SIZE" in errors_of(window)[0][1]
    answers.sizes = "batch=2"
    with qtbot.waitSignal(window.session.opened, timeout=WAIT_MS):
        window.actions_.trigger("file.open_bound")
    assert window.document.document.nodes["input/image"].shapes[0][0] == 2
    qtbot.waitUntil(lambda: window.document.document.is_timed, timeout=WAIT_MS)


def test_every_panel_fits_a_small_screen(window: MainWindow) -> None:
    before = window.size()
    window.resize(1280, 720)
    for name in window.panels.names:
        window.panels.show(name)
        QApplication.processEvents()
        least = window.minimumSizeHint()
        assert least.width() <= 1280 and least.height() <= 720, name
        assert window.width() == 1280, name
    window.reset_layout()
    window.resize(before)


def test_verification_shows_its_table_and_can_be_stopped(
    window: MainWindow, answers: Answers, qtbot: QtBot
) -> None:
    open_and_calibrate(window, answers, qtbot)
    session, panel = window.session, window.verification
    panel.samples.setValue(1)
    panel.button.click()
    assert panel.isVisible()
    qtbot.waitUntil(lambda: session.activity is not None and "float, ONNX Runtime" in session.activity.text)
    session.cancel()
    qtbot.waitUntil(lambda: session.activity is None, timeout=WAIT_MS)
    assert panel.table.topLevelItemCount() == 0
    with qtbot.waitSignal(session.verified, timeout=WAIT_MS):
        window.actions_.trigger("model.verify")
    assert panel.summary.text().startswith("No stage differs")
    (operators,) = panel.table.findItems("qdq, each operator", Qt.MatchFlag.MatchExactly, 2)
    panel.table.setCurrentItem(operators)
    (selected,) = window.view.selection
    assert operators.text(len(VERIFICATION_COLUMNS) - 1) == selected.lstrip("/")
    window.edits.mark("int16")
    assert panel.summary.text().endswith("The plan has changed since.")
    assert errors_of(window) == []
