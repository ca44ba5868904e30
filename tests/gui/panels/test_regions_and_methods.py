"""What the window says about fusion regions, and about the range methods of single tensors."""

from __future__ import annotations

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from engine.reports import RegionPlan, RegionSplit, RegionVerdict
from gui.document.document import Document
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.facts import NodeFacts
from gui.panels.inspector.methods import MIXED, common_method, why_no_method
from gui.panels.inspector.widget import InspectorPanel
from gui.panels.regions import (
    draft_of,
    refusal_details,
    refusal_text,
    regions_of,
    saving_text,
    split_text,
    state_text,
)
from tests.gui import samples

SCALES = {"/stem/Conv": 0.03, "/stem/Relu": None, "/head/fc/Gemm": 0.05}
LEGAL = RegionVerdict("region 1", ("a", "b"), True, saving_us=12.34, saved_bytes=45_000)
ILLEGAL = RegionVerdict(
    "region 1",
    ("a", "b", "c"),
    False,
    rule="fits",
    text="A tile fits.",
    reason="a tile needs 9 bytes",
    offending=("c",),
    measured=9.0,
    limit=8.0,
    nearest=("a", "b"),
)


@pytest.fixture
def document() -> Document:
    """Convolution and Gemm have scales of their own, Relu is inside the convolution's kernel, Reshape passes on."""
    made = samples.filled()
    plans = samples.node_plans(made.plan)
    rows = tuple(msgspec.structs.replace(plan, scale=SCALES.get(plan.id, plan.scale)) for plan in plans)
    made.resolve(made.revision, rows, (), 0)
    return made


def facts(document: Document, *ids: str) -> list[NodeFacts]:
    return [NodeFacts.of(document, node_id) for node_id in ids]


def test_savings_name_only_what_there_is() -> None:
    assert saving_text(LEGAL) == "saves 12.3 µs and 45 KB of memory traffic."
    assert saving_text(msgspec.structs.replace(LEGAL, saved_bytes=0)) == "saves 12.3 µs."
    slower = msgspec.structs.replace(LEGAL, saving_us=-3.5)
    assert saving_text(slower) == "saves 45 KB of memory traffic, but costs 3.5 µs."
    assert saving_text(msgspec.structs.replace(slower, saved_bytes=-2000)) == "costs 3.5 µs and 2 KB of memory traffic."
    nothing = msgspec.structs.replace(LEGAL, saved_bytes=0, saving_us=0.0, note="runs unit by unit")
    assert saving_text(nothing) == "saves nothing by the estimate; runs unit by unit"


def test_a_refusal_says_what_can_be_done() -> None:
    assert refusal_text(ILLEGAL) == "Cannot fuse: a tile needs 9 bytes. 2 nodes nearby can be fused."
    details = refusal_details(ILLEGAL)
    for part in ("A tile fits.", "limit 8", "offending: c", "nearest legal region: a, b"):
        assert part in details


def test_the_card_of_a_drag_says_what_can_be_done_once_the_mouse_is_released() -> None:
    during, after = draft_of(LEGAL, None, is_dropped=False), draft_of(LEGAL, None, is_dropped=True)
    assert during.card.title == "✓ 2 nodes can be one kernel"
    assert during.card.lines == ("saves 12.3 µs and 45 KB of memory traffic.",)
    assert [len(draft.card.choices) for draft in (during, after)] == [0, 1]
    refused = draft_of(ILLEGAL, None, is_dropped=True)
    assert refused.card.lines == ("A tile needs 9 bytes.", "The nearest that can: 2 nodes.")
    assert [choice.id for choice in refused.card.choices] == ["region.fuse_nearest", "region.show_nodes"]
    assert (refused.offending, refused.nearest) == (("c",), ("a", "b"))
    known = draft_of(ILLEGAL, LEGAL, is_dropped=True)
    assert known.card.lines[1] == "The nearest 2 nodes that can: saves 12.3 µs and 45 KB of memory traffic."
    nothing = msgspec.structs.replace(ILLEGAL, nearest=(), offending=())
    assert draft_of(nothing, None, is_dropped=True).card.choices == ()


def test_what_a_cut_did_or_why_not() -> None:
    whole = RegionSplit("mlp", (LEGAL, msgspec.structs.replace(LEGAL, name="region 2")))
    assert split_text("mlp", whole, 4) == "Split mlp into region 1 of 2 nodes and region 2 of 2 nodes."
    assert split_text("mlp", RegionSplit("mlp", (LEGAL,)), 3).endswith("and one node without a region.")
    refused = RegionSplit("mlp", refused=ILLEGAL, reason=ILLEGAL.reason)
    assert split_text("mlp", refused, 4) == "Cannot split mlp with 3 nodes on one side: A tile needs 9 bytes."


def test_a_regions_state() -> None:
    assert state_text(None, None) == "not resolved yet"
    assert state_text(RegionPlan("r", ("a",), False, "too large"), None) == "not in effect: too large"
    assert state_text(RegionPlan("r", ("a",), True, ""), LEGAL) == "legal, saves 12.3 µs and 45 KB of memory traffic"


def test_the_canvas_gets_the_plans_regions(document: Document) -> None:
    document.fuse(["/stem/Conv", "/stem/Relu"])
    assert [(region.name, region.is_legal) for region in regions_of(document)] == [("region 1", True)]
    region = RegionPlan("region 1", ("/stem/Conv", "/stem/Relu"), False, "why")
    document.resolve(document.revision, (), (), 0, (region,))
    assert not regions_of(document)[0].is_legal


@pytest.mark.parametrize(
    ("node", "why"),
    [("/stem/Conv", ""), ("/head/fc/Gemm", ""), ("/stem/Relu", "kernel of /stem/Conv"), ("logits", "An output")],
)
def test_what_has_a_range_of_its_own(document: Document, node: str, why: str) -> None:
    found = why_no_method(document, facts(document, node))
    assert why in found if why else not found


def test_equal_scales_are_passed_on() -> None:
    document = samples.filled()
    assert "keeps its input's scale" in why_no_method(document, facts(document, "/head/Reshape"))


def test_differing_methods(document: Document) -> None:
    document.set_method(["/stem/Conv"], "max")
    assert common_method(document, facts(document, "/stem/Conv")) == "max"
    assert common_method(document, facts(document, "/stem/Conv", "/head/fc/Gemm")) == MIXED
    assert common_method(document, facts(document, "/head/fc/Gemm")) == ""


def test_the_inspector_offers_methods_and_tells_of_regions(qtbot: QtBot, document: Document) -> None:
    shared, view = QtDocument(document), SharedView()
    panel = InspectorPanel(shared, view)
    qtbot.addWidget(panel)
    view.select(("/stem/Conv",))
    assert panel.method.box.isEnabled()
    assert panel.method.box.currentText() == "Default (MSE)"
    with qtbot.waitSignal(panel.methodChosen) as chosen:
        panel.method.box.activated.emit(panel.method.box.findData("kl"))
    assert chosen.args == [panel.method.box.currentData()]
    view.select(("/stem/Relu",))
    assert not panel.method.box.isEnabled()
    assert "kernel of" in panel.method.box.toolTip()

    name = document.fuse(["/stem/Conv", "/stem/Relu"])
    with qtbot.waitSignal(panel.regionWanted) as wanted:
        document.resolve(document.revision, (), (), 0, (RegionPlan(name, document.region_nodes(name), True, ""),))
    assert wanted.args == [name]
    assert "2 nodes, legal" in panel.quantisation.texts()["Region"]
    panel.show_verdict(msgspec.structs.replace(LEGAL, name=name), True)
    assert "saves 12.3 µs" in panel.quantisation.texts()["Region"]
