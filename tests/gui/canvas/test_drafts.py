"""Dragging over nodes: what the canvas tells meanwhile, and how it shows a region that might be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPainter
from pytestqt.qtbot import QtBot

from gui.canvas.draft import DraftCard, DraftChoice, RegionDraft
from gui.canvas.draft_card import VerdictCard
from gui.canvas.hulls import hulls
from gui.canvas.model import CanvasModel
from gui.canvas.scene import SceneRegion
from gui.canvas.widget import GraphCanvas
from gui.theme import DARK, LIGHT
from tests.gui.canvas.graphs import swin

LEFT = Qt.MouseButton.LeftButton
SHIFT = Qt.KeyboardModifier.ShiftModifier
LASSO = SHIFT | Qt.KeyboardModifier.AltModifier
CARD = DraftCard("✗ 3 nodes cannot", ("Why not, at some length: " + "word " * 40,), (DraftChoice("a", "Do"),))


@pytest.fixture
def canvas(qtbot: QtBot) -> Iterator[GraphCanvas]:
    widget = GraphCanvas()
    qtbot.addWidget(widget)
    widget.resize(1100, 760)
    widget.show()
    qtbot.waitExposed(widget)
    widget.setScene(swin((2,)))
    widget.expandAll()
    yield widget


def told(canvas: GraphCanvas) -> list[list[str]]:
    """What the canvas tells from now on of the nodes under a drag."""
    found: list[list[str]] = []
    canvas.areaDragged.connect(found.append)
    return found


def card_of(canvas: GraphCanvas) -> VerdictCard:
    found = canvas.findChild(VerdictCard)
    assert isinstance(found, VerdictCard)
    return found


def chain(canvas: GraphCanvas, count: int) -> list[str]:
    """Nodes below each other."""
    boxes, model = canvas._model.layout.boxes, canvas._model
    column = np.flatnonzero(boxes[:, 0] == boxes[len(boxes) // 2, 0])
    ordered = column[np.argsort(boxes[column, 1])][:count]
    return [model.item_id(model.layout.items[box]) for box in ordered.tolist()]


def shows(image: QImage, colour: str) -> bool:
    pixels = np.frombuffer(image.convertToFormat(QImage.Format.Format_RGB32).constBits(), dtype=np.uint32)
    return bool((pixels == QColor(colour).rgb()).any())


def test_an_area_tells_what_it_touches_each_time_that_changes(canvas: GraphCanvas, qtbot: QtBot) -> None:
    found = told(canvas)
    nodes = chain(canvas, 3)
    start = canvas.nodeCenter(nodes[0]).toPoint()
    qtbot.mousePress(canvas, LEFT, SHIFT, start)
    for node in nodes:
        for by in (-1, 0):
            qtbot.mouseMove(canvas, canvas.nodeCenter(node).toPoint() + QPoint(5, 5 + by))
    assert [len(ids) for ids in found] == [1, 2, 3]
    assert set(found[-1]) == set(nodes)
    assert canvas.selection() == []
    with qtbot.waitSignals([canvas.selectionChanged, canvas.areaDropped], order="strict"):
        qtbot.mouseRelease(canvas, LEFT, SHIFT, canvas.nodeCenter(nodes[-1]).toPoint() + QPoint(5, 5))
    assert set(canvas.selection()) == set(nodes)


def test_a_line_by_hand_selects_what_it_goes_along(canvas: GraphCanvas, qtbot: QtBot) -> None:
    found = told(canvas)
    nodes = chain(canvas, 3)
    points = [canvas.nodeCenter(node).toPoint() for node in nodes]
    qtbot.mousePress(canvas, LEFT, LASSO, points[0] - QPoint(0, 4))
    for point in points:
        qtbot.mouseMove(canvas, point)
    assert set(found[-1]) == set(nodes)
    canvas.grab()  # the line is painted
    qtbot.mouseRelease(canvas, LEFT, LASSO, points[-1])
    assert set(canvas.selection()) == set(nodes)
    qtbot.mouseClick(canvas, LEFT, LASSO, points[0])
    assert nodes[0] not in canvas.selection(), "a click toggles"


@pytest.mark.parametrize("modifiers", [SHIFT, LASSO])
def test_escape_gives_a_drag_up(canvas: GraphCanvas, qtbot: QtBot, modifiers: Qt.KeyboardModifier) -> None:
    nodes = chain(canvas, 2)
    qtbot.mousePress(canvas, LEFT, modifiers, canvas.nodeCenter(nodes[0]).toPoint() - QPoint(3, 3))
    qtbot.mouseMove(canvas, canvas.nodeCenter(nodes[1]).toPoint())
    before = canvas.grab().toImage()
    with qtbot.waitSignal(canvas.areaCancelled):
        qtbot.keyClick(canvas, Qt.Key.Key_Escape)
    assert canvas.grab().toImage() != before
    assert canvas.selection() == []
    with qtbot.waitSignal(canvas.escaped):
        qtbot.keyClick(canvas, Qt.Key.Key_Escape)


def test_a_draft_shows_what_breaks_the_rule_and_what_could_be_instead(canvas: GraphCanvas, qtbot: QtBot) -> None:
    nodes = chain(canvas, 4)
    canvas.reveal(nodes[1])
    qtbot.waitUntil(lambda: not canvas._flash_timer.isActive())
    draft = RegionDraft(tuple(nodes[:3]), False, CARD, offending=(nodes[0],), nearest=tuple(nodes[1:3]))
    plain = canvas.grab().toImage()
    canvas.setDraft(draft)
    image = canvas.grab().toImage()
    assert shows(image, LIGHT.warning) and shows(image, LIGHT.region)
    card = card_of(canvas)
    assert card.isVisible()
    assert card.text().startswith("✗ 3 nodes cannot\nWhy not")
    assert all(card.rect().contains(part.geometry()) for part in (card._title, card._lines, card._buttons))
    assert card._lines.height() >= card._lines.heightForWidth(card._lines.width())
    with qtbot.waitSignal(canvas.draftChosen) as chosen:
        card.buttons()[0].click()
    assert chosen.args == ["a"]

    tab = canvas._renderer._draft_layer(draft)
    assert tab is not None
    context = canvas._renderer._context(QPainter(), canvas._camera, canvas.width(), canvas.height())
    with qtbot.waitSignal(canvas.nearestChosen):
        qtbot.mouseClick(canvas, LEFT, pos=tab._tab(context)[1].center().toPoint())
    canvas.setDraft(RegionDraft(tuple(nodes[1:3]), True, DraftCard("✓ 2 nodes")))
    image = canvas.grab().toImage()
    assert not shows(image, LIGHT.warning) and shows(image, LIGHT.region)
    canvas.setTheme(DARK)
    canvas.setTheme(LIGHT)
    canvas.setDraft(None)
    assert not card.isVisible()
    assert canvas.grab().toImage() == plain


def test_a_draft_of_nodes_is_one_of_the_boxes_that_they_are_in() -> None:
    draft = RegionDraft(("a", "b"), False, CARD, offending=("b",), nearest=("a",))
    boxes = draft.on(lambda nodes: dict.fromkeys(node.upper() for node in nodes))
    assert (boxes.nodes, boxes.offending, boxes.nearest) == (("A", "B"), ("B",), ("A",))
    assert boxes.card is draft.card


def test_the_card_stays_with_its_place_on_the_graph(canvas: GraphCanvas, qtbot: QtBot) -> None:
    nodes = chain(canvas, 2)
    qtbot.mousePress(canvas, LEFT, SHIFT, canvas.nodeCenter(nodes[0]).toPoint())
    end = canvas.nodeCenter(nodes[1]).toPoint()
    qtbot.mouseMove(canvas, end)
    canvas.setDraft(RegionDraft(tuple(nodes), True, DraftCard("✓ 2 nodes")))
    card = card_of(canvas)
    distance = card.pos() - end
    qtbot.mouseMove(canvas, end + QPoint(2, 3))
    assert card.pos() - end - QPoint(2, 3) == distance
    qtbot.mouseRelease(canvas, LEFT, SHIFT, end + QPoint(2, 3))
    canvas.panBy(-40.0, 10.0)
    assert card.pos() - end - QPoint(-38, 13) == distance


def test_a_regions_tab_can_be_clicked(canvas: GraphCanvas, qtbot: QtBot) -> None:
    nodes = chain(canvas, 2)
    canvas.reveal(nodes[0])
    canvas.setRegions([SceneRegion("stem", tuple(nodes))])
    hull = canvas._renderer._region_layer().hulls[0]
    left, top, width, _ = hull.rectangle
    x, y = canvas._camera.point(left + width, top)
    at = QPointF(x - 6.0, y - 5.0)
    assert canvas.regionAt(at) == "stem"
    with qtbot.waitSignal(canvas.regionClicked) as clicked:
        qtbot.mouseClick(canvas, LEFT, pos=at.toPoint())
    assert clicked.args == ["stem"]
    with qtbot.waitSignal(canvas.regionActivated):
        qtbot.mouseDClick(canvas, LEFT, pos=at.toPoint())
    assert canvas.regionAt(QPointF(x - 6.0, y + 40.0)) == ""
    qtbot.waitUntil(lambda: not canvas._flash_timer.isActive())


def test_hulls_of_all_nodes_of_a_large_graph_are_few() -> None:
    model = CanvasModel()
    model.set_scene(swin((2, 2, 6, 2)))
    model.expand_all()
    boxes = model.layout.boxes
    assert len(hulls(boxes, np.arange(len(boxes)))) == 1
    half = hulls(boxes, np.arange(0, len(boxes), 2))
    assert 1 < len(half) <= len(boxes)
    assert hulls(boxes, np.array([], dtype=np.int64)) == []
