"""The canvas in a window: gestures with a real mouse, what it reports, and what it paints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QWheelEvent
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from gui.canvas.compound import NODE_WIDTH
from gui.canvas.heat import colour_table
from gui.canvas.overlays import HoverCard, Legend, Minimap
from gui.canvas.scene import Decoration, HeatScale, Scene, SceneNode
from gui.canvas.widget import CanvasSettings, GraphCanvas
from gui.theme import BOUND_COLOURS, DARK, LIGHT
from tests.gui.canvas.graphs import swin

LEFT = Qt.MouseButton.LeftButton
NONE = Qt.KeyboardModifier.NoModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
CONTROL = Qt.KeyboardModifier.ControlModifier
SCALE = HeatScale(1e-6, 1e-2, log=True, label="MSE")

Part = TypeVar("Part", bound=QWidget)


@pytest.fixture
def canvas(qtbot: QtBot) -> Iterator[GraphCanvas]:
    widget = GraphCanvas()
    qtbot.addWidget(widget)
    widget.resize(1100, 760)
    widget.show()
    qtbot.waitExposed(widget)
    widget.setScene(swin((2,)))
    yield widget


def part(canvas: GraphCanvas, kind: type[Part]) -> Part:
    """The one widget of a kind over the canvas."""
    found = canvas.findChild(kind)
    assert isinstance(found, kind)
    return found


def find(canvas: GraphCanvas, title: str) -> str:
    return next(n.id for n in canvas.scene().nodes if n.title == title)


def at(canvas: GraphCanvas, item: str) -> QPoint:
    return canvas.nodeCenter(item).toPoint()


def drag(qtbot: QtBot, canvas: GraphCanvas, start: QPoint, end: QPoint, modifier: Qt.KeyboardModifier = NONE) -> None:
    qtbot.mousePress(canvas, LEFT, modifier, start)
    for share in (0.3, 0.7, 1.0):
        step = QPointF(start) + (QPointF(end) - QPointF(start)) * share
        qtbot.mouseMove(canvas, step.toPoint())
    qtbot.mouseRelease(canvas, LEFT, modifier, end)


def turn_wheel(canvas: GraphCanvas, position: QPoint, amount: int, modifier: Qt.KeyboardModifier = NONE) -> None:
    event = QWheelEvent(
        QPointF(position),
        QPointF(canvas.mapToGlobal(position)),
        QPoint(),
        QPoint(0, amount),
        Qt.MouseButton.NoButton,
        modifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(canvas, event)


def pixel(canvas: GraphCanvas, x: float, y: float) -> str:
    return canvas.grab().toImage().pixelColor(round(x), round(y)).name()


def count_pixels(image: QImage, colour: str) -> int:
    wanted = QColor(colour).rgb()
    return sum(image.pixel(x, y) == wanted for x in range(image.width()) for y in range(image.height()))


# -- selection ------------------------------------------------------------------------------------------------------
def test_a_click_selects_and_a_click_beside_selects_nothing(canvas: GraphCanvas, qtbot: QtBot) -> None:
    node = canvas.scene().nodes[0].id
    with qtbot.waitSignal(canvas.selectionChanged) as reported:
        qtbot.mouseClick(canvas, LEFT, NONE, at(canvas, node))
    assert reported.args == [[node]]
    qtbot.mouseClick(canvas, LEFT, NONE, QPoint(3, 3))
    assert canvas.selection() == []


def test_shift_click_toggles(canvas: GraphCanvas, qtbot: QtBot) -> None:
    first, second = canvas.scene().nodes[0].id, canvas.scene().nodes[-1].id
    for node in (first, second):
        qtbot.mouseClick(canvas, LEFT, SHIFT, at(canvas, node))
    assert canvas.selection() == [first, second]
    qtbot.mouseClick(canvas, LEFT, SHIFT, at(canvas, first))
    assert canvas.selection() == [second]


def test_a_click_on_a_closed_group_selects_its_operators(canvas: GraphCanvas, qtbot: QtBot) -> None:
    canvas.collapseAll()
    qtbot.mouseClick(canvas, LEFT, NONE, at(canvas, "features"))
    assert canvas.selection() == [n.id for n in canvas.scene().nodes if n.namespace[:1] == ("features",)]


def test_a_click_on_a_frames_title_selects_its_operators(canvas: GraphCanvas, qtbot: QtBot) -> None:
    canvas.expandAll()
    qtbot.mouseClick(canvas, LEFT, NONE, at(canvas, "features"))
    assert set(canvas.selection()) == {n.id for n in canvas.scene().nodes if n.namespace[:1] == ("features",)}


def test_shift_drag_selects_an_area(canvas: GraphCanvas, qtbot: QtBot) -> None:
    canvas.expandAll()
    drag(qtbot, canvas, QPoint(1, 1), QPoint(canvas.width() - 2, canvas.height() - 2), SHIFT)
    assert canvas.selection() == [n.id for n in canvas.scene().nodes]


def test_setting_the_selection_reports_a_change_once(canvas: GraphCanvas, qtbot: QtBot) -> None:
    node = canvas.scene().nodes[2].id
    with qtbot.waitSignal(canvas.selectionChanged):
        canvas.setSelection([node, "no such node"])
    with qtbot.assertNotEmitted(canvas.selectionChanged):
        canvas.setSelection([node])


# -- moving about ---------------------------------------------------------------------------------------------------
def test_a_drag_pans_and_selects_nothing(canvas: GraphCanvas, qtbot: QtBot) -> None:
    node = canvas.scene().nodes[0].id
    before = canvas.nodeCenter(node)
    drag(qtbot, canvas, QPoint(5, 700), QPoint(65, 660))
    assert canvas.nodeCenter(node) - before == QPointF(60, -40)
    assert canvas.selection() == []


def test_the_wheel_zooms_at_the_pointer(canvas: GraphCanvas) -> None:
    node = canvas.scene().nodes[0].id
    centre, zoom = at(canvas, node), canvas.viewState().zoom
    turn_wheel(canvas, centre, 240)
    assert canvas.viewState().zoom > 1.3 * zoom
    assert (at(canvas, node) - centre).manhattanLength() <= 2


def test_the_wheel_scrolls_if_so_set_and_control_still_zooms(canvas: GraphCanvas) -> None:
    canvas.settings = CanvasSettings(wheel_zooms=False)
    node, zoom = canvas.scene().nodes[0].id, canvas.viewState().zoom
    before = canvas.nodeCenter(node)
    turn_wheel(canvas, QPoint(100, 100), -120)
    assert canvas.nodeCenter(node) - before == QPointF(0, -120)
    turn_wheel(canvas, QPoint(100, 100), 120, CONTROL)
    assert canvas.viewState().zoom > zoom


def test_control_drag_fills_the_window_with_an_area(canvas: GraphCanvas, qtbot: QtBot) -> None:
    node = canvas.scene().nodes[0].id
    middle = at(canvas, node)
    drag(qtbot, canvas, middle - QPoint(60, 40), middle + QPoint(60, 40), CONTROL)
    assert (at(canvas, node) - canvas.rect().center()).manhattanLength() < 8
    assert canvas.viewState().zoom > 2


def test_space_fits_everything_again(canvas: GraphCanvas, qtbot: QtBot) -> None:
    canvas.zoomBy(5.0)
    canvas.panBy(3000.0, 200.0)
    qtbot.keyClick(canvas, Qt.Key.Key_Space)
    for item in canvas.visibleBoxes():
        assert canvas.rect().contains(at(canvas, item))


def test_escape_gives_a_drag_up(canvas: GraphCanvas, qtbot: QtBot) -> None:
    qtbot.mousePress(canvas, LEFT, SHIFT, QPoint(2, 2))
    qtbot.mouseMove(canvas, QPoint(900, 700))
    qtbot.keyClick(canvas, Qt.Key.Key_Escape)
    qtbot.mouseRelease(canvas, LEFT, SHIFT, QPoint(900, 700))
    assert canvas.selection() == []


def test_a_view_is_restored(canvas: GraphCanvas) -> None:
    canvas.expandAll()
    canvas.collapse("features/1/0")
    canvas.zoomBy(2.0)
    canvas.panBy(-50.0, 20.0)
    state, place = canvas.viewState(), canvas.nodeCenter("features/1/0")
    canvas.collapseAll()
    canvas.setViewState(replace(state, expanded=(*state.expanded, "gone")))
    assert canvas.viewState().expanded == state.expanded
    assert (canvas.nodeCenter("features/1/0") - place).manhattanLength() < 1e-6


def test_a_view_is_restored_in_a_window_of_another_size(canvas: GraphCanvas) -> None:
    canvas.expandAll()
    node = find(canvas, "Softmax")
    canvas.reveal(node)
    state = canvas.viewState()
    canvas.fit()
    canvas.resize(600, 900)
    canvas.setViewState(state)
    assert canvas.viewState().zoom == state.zoom
    assert (at(canvas, node) - canvas.rect().center()).manhattanLength() <= 2


def test_a_fitted_graph_stays_fitted_when_the_window_changes(canvas: GraphCanvas) -> None:
    for size in ((500, 900), (1500, 500)):
        canvas.resize(*size)
        assert all(canvas.rect().contains(at(canvas, item)) for item in canvas.visibleBoxes())


# -- groups ---------------------------------------------------------------------------------------------------------
def test_a_double_click_opens_and_closes_a_group_in_place(canvas: GraphCanvas, qtbot: QtBot) -> None:
    canvas.collapseAll()
    before = canvas.nodeCenter("features")
    with qtbot.waitSignal(canvas.expandedChanged):
        qtbot.mouseDClick(canvas, LEFT, NONE, before.toPoint())
    assert canvas.expandedGroups() == ["features"]
    title = at(canvas, "features")
    assert (QPointF(title) - before).manhattanLength() < 150
    qtbot.mouseDClick(canvas, LEFT, NONE, title)
    assert canvas.expandedGroups() == []


def test_a_double_click_on_an_operator_activates_it(canvas: GraphCanvas, qtbot: QtBot) -> None:
    node = canvas.scene().nodes[0].id
    with qtbot.waitSignal(canvas.nodeActivated) as reported:
        qtbot.mouseDClick(canvas, LEFT, NONE, at(canvas, node))
    assert reported.args == [node]


def test_revealing_opens_what_is_around_and_comes_to_the_middle(canvas: GraphCanvas, qtbot: QtBot) -> None:
    canvas.collapseAll()
    node = find(canvas, "Softmax")
    canvas.reveal(node)
    assert node in canvas.visibleBoxes()
    assert (at(canvas, node) - canvas.rect().center()).manhattanLength() <= 2
    canvas.grab()
    canvas.reveal("no such node")


def test_the_centre_of_what_is_not_there(canvas: GraphCanvas) -> None:
    with pytest.raises(KeyError):
        canvas.nodeCenter("no such node")


# -- pointing -------------------------------------------------------------------------------------------------------
def test_hovering_reports_and_shows_the_card(canvas: GraphCanvas, qtbot: QtBot) -> None:
    node = canvas.scene().nodes[0].id
    canvas.setCardText(lambda item: f"about {item}")
    with qtbot.waitSignal(canvas.hovered) as reported:
        qtbot.mouseMove(canvas, at(canvas, node))
    assert reported.args == [node]
    card = part(canvas, HoverCard)
    qtbot.waitUntil(lambda: card.isVisible())
    assert card.text() == f"about {node}"
    assert canvas.rect().contains(card.geometry())
    with qtbot.waitSignal(canvas.hovered) as reported:
        qtbot.mouseMove(canvas, QPoint(2, 2))
    assert reported.args == [""]
    assert not card.isVisible()


def test_the_card_says_what_the_scene_knows(canvas: GraphCanvas) -> None:
    node = find(canvas, "Softmax")
    canvas.setDecorations({node: Decoration("int16", "int8", "qk & more")})
    canvas.setHeat({node: 2e-4}, SCALE)
    text = canvas.describe(node)
    for part in ("Softmax", "1×49×96", "requested int16, effective int8", "qk &amp; more", "MSE 2.0e−4"):
        assert part in text
    for part in ("operators", "precision int8", "1 set by you, 1 of them refused", "worst MSE 2.0e−4 at Softmax"):
        assert part in canvas.describe("features")
    assert canvas.describe("no such node") == ""


def test_a_context_menu_selects_what_it_is_about(canvas: GraphCanvas, qtbot: QtBot) -> None:
    from PySide6.QtGui import QContextMenuEvent

    node = canvas.scene().nodes[0].id
    place = at(canvas, node)
    with qtbot.waitSignal(canvas.contextMenuRequested) as reported:
        QApplication.sendEvent(
            canvas, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, canvas.mapToGlobal(place))
        )
    assert reported.args == [[node], canvas.mapToGlobal(place)]


def test_the_minimap_shows_when_needed_and_goes_there(canvas: GraphCanvas, qtbot: QtBot) -> None:
    minimap = part(canvas, Minimap)
    assert not minimap.isVisible(), "all is in sight"
    canvas.expandAll()
    canvas.zoomBy(6.0)
    assert minimap.isVisible()
    last = canvas.scene().nodes[-1].id
    canvas.reveal(last)
    qtbot.mouseClick(minimap, LEFT, NONE, QPoint(2, 2))
    assert not canvas.rect().contains(at(canvas, last))


# -- painting -------------------------------------------------------------------------------------------------------
def one_node(canvas: GraphCanvas) -> QPointF:
    canvas.setScene(Scene((SceneNode("a", "a", "Conv", (), "1×8", "conv"),)))
    return canvas.nodeCenter("a")


def test_the_fill_is_the_heat_and_the_border_is_the_precision(canvas: GraphCanvas) -> None:
    middle = one_node(canvas)
    assert pixel(canvas, middle.x(), middle.y() + 6) == LIGHT.box
    canvas.setHeat({"a": 1e-2}, SCALE)
    canvas.setDecorations({"a": Decoration("auto", "int16")})
    worst = "#{:02x}{:02x}{:02x}".format(*colour_table("cividis")[-1].tolist())
    assert pixel(canvas, middle.x(), middle.y() + 6) == worst
    assert pixel(canvas, middle.x() + NODE_WIDTH / 2, middle.y() + 6) == LIGHT.precisions["int16"]
    assert pixel(canvas, middle.x() - 40, middle.y() - 27) == LIGHT.kinds["conv"]
    canvas.setHeat({}, None)
    assert pixel(canvas, middle.x(), middle.y() + 6) == LIGHT.box


def test_the_worst_node_is_marked_however_small_it_is(canvas: GraphCanvas) -> None:
    canvas.setScene(swin((2, 2, 6, 2)))
    canvas.expandAll()
    canvas.setHeat({n.id: 1e-6 for n in canvas.scene().nodes} | {find(canvas, "Softmax"): 1e-2}, SCALE)
    canvas.zoomBy(0.1)
    image = canvas.grab().toImage()
    assert count_pixels(image, LIGHT.marker) > 40


def test_the_worst_nodes_are_listed_worst_first(canvas: GraphCanvas) -> None:
    first, second = canvas.scene().nodes[3].id, canvas.scene().nodes[9].id
    canvas.setHeat({second: 1e-3, first: 1e-2, canvas.scene().nodes[5].id: 1e-5}, SCALE)
    assert canvas.worstNodes(2) == [first, second]


def test_a_selected_node_is_outlined(canvas: GraphCanvas) -> None:
    one_node(canvas)
    before = count_pixels(canvas.grab().toImage(), LIGHT.selection)
    canvas.setSelection(["a"])
    assert count_pixels(canvas.grab().toImage(), LIGHT.selection) > before + 1000


@pytest.mark.parametrize("zoom", [0.01, 0.1, 0.25, 0.5, 0.8, 1.6, 4.0])
def test_every_level_of_detail_paints(canvas: GraphCanvas, zoom: float) -> None:
    canvas.expandAll()
    nodes = canvas.scene().nodes
    canvas.setDecorations({n.id: Decoration("int16", "int8", "Conv") for n in nodes})
    canvas.setHeat({n.id: 1e-4 for n in nodes[::2]}, SCALE)
    canvas.setSelection([nodes[5].id, nodes[6].id])
    canvas.collapse("features/1/1")
    canvas.reveal(nodes[5].id)
    canvas.zoomBy(zoom / canvas.viewState().zoom)
    assert canvas.viewState().zoom == pytest.approx(zoom)
    assert not canvas.grab().isNull()


def test_the_dark_theme_is_dark(canvas: GraphCanvas) -> None:
    canvas.setTheme(DARK)
    assert pixel(canvas, 2, 2) == DARK.canvas


def test_the_legend_comes_with_the_heat_and_moves_nothing(canvas: GraphCanvas) -> None:
    legend, place = part(canvas, Legend), canvas.nodeCenter("features")
    assert not legend.isVisible()
    canvas.setHeat({find(canvas, "Softmax"): 1e-3}, SCALE)
    assert legend.isVisible()
    assert canvas.nodeCenter("features") == place


def test_the_legend_names_categories(canvas: GraphCanvas) -> None:
    legend, node = part(canvas, Legend), find(canvas, "Softmax")
    bounds = HeatScale.of_categories(tuple(BOUND_COLOURS), "Bound by", "bounds")
    canvas.setHeat({node: 3.0}, bounds, {node: 10.0})
    picture = legend.grab().toImage()
    for colour in BOUND_COLOURS.values():
        assert count_pixels(picture, colour) >= 60, "a square of each, also of those that do not occur"
    legend.setValue(3.0)
    assert legend.grab().toImage() != picture, "what is pointed at stands out"
    assert canvas.worstNodes(3) == [node]
    assert "dma" in canvas.describe(node)
    canvas.collapseAll()
    assert "mostly dma" in canvas.describe("features")


def test_the_whole_graph_is_painted_onto_any_device(canvas: GraphCanvas) -> None:
    image = QImage(640, 480, QImage.Format.Format_RGB32)
    with QPainter(image) as painter:
        canvas.paintTo(painter, 640, 480)
    assert count_pixels(image, LIGHT.canvas) < 640 * 480
    assert canvas.sceneSize().width() > 300


def test_a_picture_of_shapes_holds_no_pixels(canvas: GraphCanvas, tmp_path: Path) -> None:
    canvas.setHeat({n.id: 1e-4 for n in canvas.scene().nodes}, SCALE)
    target, size = tmp_path / "graph.svg", canvas.sceneSize()
    generator = QSvgGenerator()
    generator.setFileName(str(target))
    generator.setSize(size)
    with QPainter(generator) as painter:
        canvas.paintTo(painter, size.width(), size.height())
    text = target.read_text(encoding="utf-8")
    assert "<image" not in text
    assert canvas.scene().nodes[0].title in text


def test_an_empty_canvas_paints(qtbot: QtBot) -> None:
    widget = GraphCanvas()
    qtbot.addWidget(widget)
    widget.resize(300, 200)
    assert not widget.grab().isNull()
    assert widget.visibleBoxes() == []
