"""The compiled view: kernels as boxes, values between them through what vanished, and the way back to nodes."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from engine.reports import EdgeInfo, GraphInfo, NodeInfo
from gui.canvas.widget import GraphCanvas
from gui.document.document import Document
from gui.document.graph_view import GraphView
from gui.document.overlay import Overlay
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.canvas_link import CanvasLink, HeatSource
from gui.panels.compiled_graph import compiled_graph, operators_text
from gui.panels.graph_faces import CompiledFace, SourceFace, caption_of, regions_on
from tests.gui import compilations, samples
from tests.gui.compilations import Kernel, compilation_of

CONV, RELU, RESHAPE, GEMM = samples.IDS[1:5]


def kernel(*nodes: str, region: str = "") -> Kernel:
    return Kernel(nodes, 1, 1.0, 5.0, 1.0, "mac", 1000, 500, region)


TWO = compilation_of((kernel(CONV, RELU, region="region 1"), kernel(GEMM)))


def test_a_vanished_node_passes_on_what_flows_through_it() -> None:
    found = compiled_graph(samples.graph(), TWO)
    assert [node.id for node in found.scene.nodes] == ["image", CONV, GEMM, "logits"]
    assert [(edge.source, edge.target, edge.label) for edge in found.scene.edges] == [
        ("image", CONV, "1×3×8×8"),
        (CONV, GEMM, "1×1024"),
        (GEMM, "logits", "1×10"),
    ]
    conv = found.scene.nodes[1]
    assert (conv.op_type, conv.shapes, conv.kind) == ("Conv + Relu", "1×16×8×8", "conv")
    assert found.around == {RESHAPE: (frozenset({CONV}), frozenset({GEMM}))}


def test_selections_go_both_ways() -> None:
    found = compiled_graph(samples.graph(), TWO)
    assert found.boxes([RELU, RESHAPE, GEMM, "stem"]) == [CONV, GEMM, "stem"]
    assert found.nodes([CONV]) == [CONV, RELU]
    assert found.nodes([GEMM, CONV]) == [CONV, RELU, RESHAPE, GEMM], "what vanished between two comes along"
    assert found.boxes([RESHAPE]) == []


@pytest.mark.parametrize(
    ("operators", "text"),
    [(["Conv"], "Conv"), (list("abc"), "a + b + c"), (["LayerNormalization", *"abc"], "LayerNorm + a + 2")],
)
def test_what_a_kernel_computes(operators: list[str], text: str) -> None:
    assert operators_text(operators) == text


@st.composite
def graphs(draw: st.DrawFn) -> tuple[GraphInfo, dict[int, int]]:
    """A graph whose nodes read earlier ones, and for each node that did not vanish the first node of its kernel."""
    count = draw(st.integers(2, 14))
    edges = [
        (source, target)
        for target in range(1, count)
        for source in draw(st.sets(st.integers(0, target - 1), min_size=1, max_size=3))
    ]
    kept = [0, *draw(st.sets(st.integers(1, count - 1)))]
    starts = sorted({0, *draw(st.sets(st.sampled_from(kept)))})
    anchor = {node: max(start for start in starts if start <= node) for node in sorted(kept)}
    nodes = tuple(
        NodeInfo(f"n{i}", f"n{i}", "Op", "other", (), (), (), ((i,),), ("float32",), {}, ()) for i in range(count)
    )
    infos = tuple(EdgeInfo(f"n{a}", f"n{b}", f"v{a}", (a,), "float32") for a, b in edges)
    graph = GraphInfo("g", "", "", 17, nodes, infos, (), (), 0, ())
    return graph, anchor


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_kernels_are_joined_exactly_where_a_path_of_vanished_nodes_joins_them(
    made: tuple[GraphInfo, dict[int, int]],
) -> None:
    graph, anchor = made
    members = {start: tuple(f"n{i}" for i in anchor if anchor[i] == start) for start in set(anchor.values())}
    found = compiled_graph(graph, compilation_of([kernel(*nodes) for nodes in members.values()]))
    of_node = {f"n{i}": f"n{start}" for i, start in anchor.items()}
    expected: set[tuple[str, str]] = set()
    for start in of_node:
        pending, seen = [start], {start}
        while pending:
            here = pending.pop()
            for edge in graph.edges:
                if edge.source != here or edge.target in seen:
                    continue
                seen.add(edge.target)
                if edge.target in of_node:
                    expected.add((of_node[start], of_node[edge.target]))
                else:
                    pending.append(edge.target)
    assert {(edge.source, edge.target) for edge in found.scene.edges} == {(a, b) for a, b in expected if a != b}
    boxes = [node.id for node in found.scene.nodes]
    assert set(found.nodes(boxes)) >= set(of_node)
    for box in boxes:
        assert found.boxes(found.nodes([box])) == [box]


def test_heat_regions_and_badges_of_kernels() -> None:
    document = samples.filled()
    name = document.fuse([CONV, RELU])
    document.mark([RELU], "int16")
    samples.answered(document)
    face = CompiledFace(document, TWO)
    latency = face.heat(document, Overlay.LATENCY)
    assert dict(latency.values) == {report.anchor: report.latency_us for report in TWO.timeline.kernels}
    bound = face.heat(document, Overlay.BOUND)
    assert bound.scale is not None and set(bound.weights) == {CONV, GEMM}
    errors = face.heat(document, Overlay.ACCUMULATED)
    assert errors.values[CONV] == min(samples.ACCUMULATED_DB[CONV], samples.ACCUMULATED_DB[RELU])
    assert not any(math.isnan(value) for value in errors.values.values())
    assert face.heat(document, Overlay.NONE).scale is None
    assert [(region.name, region.nodes) for region in regions_on(face, document)] == [(name, (CONV,))]
    badge = face.decorations(document)[CONV]
    assert (badge.requested, badge.effective, badge.is_refused, badge.fused_into) == ("int16", "int16", False, "")
    document.resolve(document.revision, samples.node_plans(document.plan, {RELU: "no table"}), (), 0)
    assert face.decorations(document)[CONV].is_refused
    card = face.card(document, CONV)
    assert "region 1" in card and "one kernel, 2 nodes, 1 tile<br>" in card and RELU in card
    assert face.card(document, GEMM).count(GEMM) == 1, "a kernel of one node names it once"
    assert face.card(document, "image") == ""


def test_the_caption_says_what_is_shown() -> None:
    document = samples.filled()
    source = SourceFace(document)
    assert caption_of(document, source) == ("Compiling …", False)
    document.compile(document.revision, TWO)
    text, _ = caption_of(document, CompiledFace(document, TWO))
    assert text == "Compiled view: 6 nodes became 2 kernels, 1 need none"
    document.mark([CONV], "int16")
    assert "being updated" in caption_of(document, CompiledFace(document, TWO))[0]
    document.refuse_compilation(document.revision, "too large")
    assert caption_of(document, source) == ("Source view: the model cannot be compiled: too large", True)


def test_the_canvas_changes_between_operators_and_kernels(qtbot: QtBot) -> None:
    document, view, canvas = QtDocument(Document()), SharedView(), GraphCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(900, 600)
    heat = HeatSource(document, view)
    link = CanvasLink(canvas, document, view, heat, canvas)
    document.document.open(samples.opened(), "/models/small.qscope")
    samples.answered(document.document)
    canvas.expandAll()
    view.select((RELU,))
    view.show_overlay(Overlay.LATENCY)
    view.show_graph(GraphView.COMPILED)
    assert canvas.scene().index[RELU], "until there are kernels, operators show"
    document.document.compile(document.document.revision, TWO)
    assert [node.id for node in canvas.scene().nodes] == ["image", CONV, GEMM, "logits"]
    assert canvas.selection() == [CONV]
    assert view.selection == (RELU,)
    assert canvas._model.scale is not None
    link.reveal(RESHAPE)
    link.reveal(GEMM)
    qtbot.waitUntil(lambda: not canvas._flash_timer.isActive())

    canvas.setSelection([GEMM])
    assert view.selection == (GEMM,)
    view.select((CONV, GEMM))
    document.document.mark([CONV], "int16")
    assert "being updated" in canvas._furniture._caption.text()
    other = compilations.small()
    document.document.compile(document.document.revision, other)
    assert [node.id for node in canvas.scene().nodes] == ["image", CONV, RESHAPE, GEMM, "logits"]
    assert view.selection == (CONV, GEMM)

    canvas.fit()
    document.document.compile(document.document.revision, TWO)
    assert canvas.isFitted, "what was seen as a whole stays so"
    document.document.compile(document.document.revision, other)
    canvas.zoomBy(1.5)
    open_groups = canvas.expandedGroups()
    view.show_graph(GraphView.SOURCE)
    assert set(canvas.selection()) == {CONV, GEMM}
    assert canvas._furniture._caption.isHidden()
    view.show_graph(GraphView.COMPILED)
    assert canvas.expandedGroups() == open_groups
    assert not canvas.isFitted
    document.document.open(samples.opened(), "/models/other.qscope")
    assert view.graph_view is GraphView.SOURCE
    assert len(canvas.scene().nodes) == len(samples.IDS)


def test_a_click_on_a_kernel_takes_all_of_its_nodes(qtbot: QtBot) -> None:
    document, view, canvas = QtDocument(Document()), SharedView(), GraphCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(900, 600)
    link = CanvasLink(canvas, document, view, HeatSource(document, view), canvas)
    document.document.open(samples.opened(), "/models/small.qscope")
    document.document.compile(document.document.revision, TWO)
    view.show_graph(GraphView.COMPILED)
    canvas.expandAll()
    view.select((RELU,))
    canvas.clickAt(canvas.nodeCenter(CONV), toggle=False)
    assert view.selection == (CONV, RELU)
    assert link.boxes(view.selection) == [CONV]


def test_a_kernel_without_figures_of_its_own_is_neutral() -> None:
    document = samples.filled()
    idle = msgspec.structs.replace(TWO.timeline.kernels[1], latency_us=0.0)
    timeline = msgspec.structs.replace(TWO.timeline, kernels=(TWO.timeline.kernels[0], idle))
    face = CompiledFace(document, msgspec.structs.replace(TWO, timeline=timeline))
    assert list(face.heat(document, Overlay.LATENCY).values) == [CONV]
