"""Nodes that cannot run: said in table, inspector, card and on the graph."""

from __future__ import annotations

import msgspec

from engine.service.messages import Opened
from gui.actions.file_commands import CALIBRATE_COMMAND, opening_notice
from gui.canvas.layers.boxes import group_badge, node_badge
from gui.canvas.scene import GroupDecoration
from gui.document.document import Document
from gui.document.notice import Level
from gui.panels.canvas_link import node_card
from gui.panels.facts import NodeFacts
from gui.panels.inspector.model import quantisation_rows
from gui.panels.node_table.model import NodeTable
from gui.panels.scene_builder import decorations_of
from tests.gui import samples

STOPPED = "/head/Reshape"
PROBLEM = "cannot run: domain 'acme' has no operator Reshape; export the model with standard ONNX operators"


def document() -> Document:
    graph = samples.graph()
    nodes = tuple(msgspec.structs.replace(node, problem=PROBLEM if node.id == STOPPED else "") for node in graph.nodes)
    opened: Opened = msgspec.structs.replace(
        samples.opened(calibrated=False), graph=msgspec.structs.replace(graph, nodes=nodes)
    )
    made = Document()
    made.open(opened, "/models/small.onnx")
    return made


def test_facts_say_it_before_anything_of_the_plan() -> None:
    facts = NodeFacts.of(document(), STOPPED)
    assert (facts.effective, facts.reason, facts.needs_attention) == ("cannot run", PROBLEM, True)
    assert not NodeFacts.of(document(), "/stem/Conv").needs_attention


def test_opening_says_it_and_offers_no_calibration() -> None:
    notice = opening_notice(document())
    assert notice is not None
    assert (notice.level, notice.action, notice.details) == (Level.WARNING, "", f"{STOPPED}: {PROBLEM}")
    assert notice.text.startswith("One node cannot run")
    sound = Document()
    sound.open(samples.opened(calibrated=False), "/models/small.onnx")
    wants = opening_notice(sound)
    assert wants is not None and wants.action == CALIBRATE_COMMAND
    calibrated = Document()
    calibrated.open(samples.opened(), "/models/small.onnx")
    assert opening_notice(calibrated) is None


def test_the_inspector_warns() -> None:
    opened = document()
    (row,) = quantisation_rows([NodeFacts.of(opened, STOPPED)], None)
    assert (row.label, row.value, row.is_warning) == ("Problem", PROBLEM, True)
    several = quantisation_rows([NodeFacts.of(opened, STOPPED), NodeFacts.of(opened, "/stem/Conv")], None)
    assert ("Cannot run", "1: head/Reshape") in [(row.label, row.value) for row in several]


def test_the_table_finds_it() -> None:
    opened, table = document(), NodeTable()
    table.set_nodes(samples.IDS, lambda node_id: NodeFacts.of(opened, node_id))
    table.set_filter("acme")
    assert [table.node_id(row) for row in range(len(table.rows))] == [STOPPED]


def test_boxes_and_closed_groups_wear_a_badge() -> None:
    decorations = decorations_of(document())
    badge = node_badge(decorations[STOPPED])
    assert (badge.text, badge.is_stopped) == ("cannot run", True)
    assert not node_badge(decorations["/stem/Conv"]).is_stopped
    group = group_badge(GroupDecoration.over(decorations.values()))
    assert (group.text, group.is_stopped) == ("1 cannot run", True)


def test_the_card_says_why() -> None:
    assert "has no operator Reshape" in node_card(document(), STOPPED)
