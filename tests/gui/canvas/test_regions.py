"""Hulls of fusion regions."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from gui.canvas.layers.regions import RegionLayer
from gui.canvas.model import CanvasModel
from gui.canvas.scene import SceneRegion
from gui.canvas.widget import GraphCanvas
from gui.theme import LIGHT
from tests.gui.canvas.graphs import swin

SCENE = swin()
MARGIN = 9.0


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, len(SCENE.nodes) - 1), min_size=1, max_size=12), st.booleans())
def test_a_hull_holds_its_boxes_and_no_other(chosen: set[int], is_all_open: bool) -> None:
    model = CanvasModel()
    model.set_scene(SCENE)
    if is_all_open:
        model.expand_all()
    model.regions = (SceneRegion("r", tuple(SCENE.nodes[i].id for i in chosen)),)
    members = set(model.boxes_of(model.regions[0].nodes).tolist())
    layer = RegionLayer(model)
    held: set[int] = set()
    for x, y, width, height in (hull.rectangle for hull in layer.hulls):
        touching = model.boxes_touching(x + MARGIN + 1, y + MARGIN + 1, x + width - MARGIN - 1, y + height - MARGIN - 1)
        assert set(touching.tolist()) <= members
        held |= set(touching.tolist())
    assert held == members
    assert sum(hull.is_named for hull in layer.hulls) == 1


def test_neighbours_share_a_hull_and_unknown_nodes_have_none() -> None:
    model = CanvasModel()
    model.set_scene(SCENE)
    model.expand_all()
    boxes = model.layout.boxes
    below = np.flatnonzero((boxes[:, 0] == boxes[0, 0]) & (boxes[:, 1] > boxes[0, 1]))
    next_box = int(below[np.argmin(boxes[below, 1])])
    pair = tuple(model.item_id(model.layout.items[box]) for box in (0, next_box))
    model.regions = (SceneRegion("pair", pair), SceneRegion("gone", ("no such node",)))
    assert [hull.name for hull in RegionLayer(model).hulls] == ["pair"]


def test_regions_show_and_go(qtbot: QtBot) -> None:
    canvas = GraphCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(1200, 800)
    canvas.setScene(SCENE)
    before = canvas.grab().toImage()
    canvas.setRegions([SceneRegion("r", (canvas.visibleBoxes()[0],))])
    image = canvas.grab().toImage()
    tint = QColor(LIGHT.region)
    assert any(image.pixelColor(x, y) == tint for x in range(image.width()) for y in range(image.height()))
    canvas.setRegions([])
    assert canvas.grab().toImage() == before
