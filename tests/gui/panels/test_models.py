"""The panels' models, without Qt."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.reports import Accumulator
from gui.document.document import CalibrationSource, Document
from gui.document.notice import Level, Notice
from gui.document.overlay import Overlay
from gui.panels.dialogs.model import SamplesForm, suggested_recipe
from gui.panels.facts import NodeFacts, shape_text
from gui.panels.hierarchy.model import ModuleTree
from gui.panels.inspector import model as inspector
from gui.panels.messages.model import NoticeBoard
from gui.panels.node_table.model import COLUMNS, NodeTable
from gui.panels.overlays import heat_of
from gui.panels.palette.model import Entry, ranked
from gui.panels.scene_builder import decorations_of, scene_of
from gui.panels.search.model import Search
from gui.panels.summary.model import tiles_of
from gui.panels.welcome.model import MOST_RECENT, demo_projects, with_opened
from tests.gui import samples

KEYS = [column.key for column in COLUMNS]


def table(document: Document) -> NodeTable:
    made = NodeTable()
    made.set_nodes(samples.IDS, lambda node_id: NodeFacts.of(document, node_id))
    return made


def shown(made: NodeTable) -> list[str]:
    return [made.node_id(row) for row in range(len(made.rows))]


# Node table


def test_numbers_sort_as_numbers_with_missing_last_both_ways() -> None:
    made = table(samples.filled())
    made.set_sort(KEYS.index("accumulated"), is_descending=False)
    assert shown(made)[:2] == ["/head/fc/Gemm", "logits"]
    assert shown(made)[-1] == "image"
    made.set_sort(KEYS.index("accumulated"), is_descending=True)
    assert shown(made)[0] == "/stem/Conv"
    assert shown(made)[-1] == "image"
    made.set_sort(None, is_descending=False)
    assert shown(made) == list(samples.IDS)


def test_exact_sorts_above_every_decibel() -> None:
    made = table(samples.filled())
    made.set_sort(KEYS.index("introduced"), is_descending=True)
    assert shown(made) == ["/stem/Relu", "/head/Reshape", "logits", "/stem/Conv", "/head/fc/Gemm", "image"]


def test_filter_looks_at_results_too() -> None:
    document = samples.filled()
    document.mark(["/stem/Conv"], "int16")
    samples.answered(document)
    made = table(document)
    made.set_filter("int16")
    assert shown(made) == ["/stem/Conv"]
    made.set_filter("dma")
    assert shown(made) == ["/head/Reshape"]
    made.set_filter("/[/")
    assert shown(made) == []
    assert made.problem


def test_every_column_has_a_text_before_any_result() -> None:
    document = Document()
    document.open(samples.opened(calibrated=False), "/models/small.onnx")
    facts = NodeFacts.of(document, "/stem/Conv")
    texts = {column.key: column.text(facts) for column in COLUMNS}
    assert texts["requested"] == "auto"
    assert texts["accumulated"] == texts["latency"] == "–"


# Hierarchy


def test_modules_show_their_worst_child() -> None:
    tree = ModuleTree(samples.graph().nodes)
    tree.show(heat_of(samples.filled(), Overlay.LATENCY))
    groups = {item.id: item for item in tree.items if item.is_group}
    assert groups["head"].worst == 100.0
    assert groups["head"].worst_node == "/head/fc/Gemm"
    assert groups["head"].count == 2
    tree.show(heat_of(samples.filled(), Overlay.ACCUMULATED))
    assert groups["stem"].worst == 39.0
    tree.show(heat_of(Document(), Overlay.ACCUMULATED))
    assert groups["stem"].worst is None


def test_a_module_selects_what_is_inside() -> None:
    tree = ModuleTree(samples.graph().nodes)
    head = next(index for index, item in enumerate(tree.items) if item.id == "head")
    assert tree.nodes_in(head) == ["/head/Reshape", "/head/fc/Gemm"]


# Search


def test_search_steps_around() -> None:
    search = Search()
    search.set_nodes(samples.graph().nodes)
    search.find("head")
    assert search.status == "2 hits"
    assert [search.step(), search.step(), search.step()] == ["/head/Reshape", "/head/fc/Gemm", "/head/Reshape"]
    assert search.step(-1) == "/head/fc/Gemm"
    assert search.status == "2 of 2 hits"
    search.find("nowhere")
    assert (search.step(), search.status) == ("", "no hits")
    search.find(" ")
    assert search.status == ""


def test_stepping_back_first_goes_to_the_last_hit() -> None:
    search = Search()
    search.set_nodes(samples.graph().nodes)
    search.find("head")
    assert search.step(-1) == "/head/fc/Gemm"


# Inspector


def facts(document: Document, *ids: str) -> list[NodeFacts]:
    return [NodeFacts.of(document, node_id) for node_id in ids]


def by_label(rows: list[inspector.Row]) -> dict[str, str]:
    return {row.label: row.value for row in rows}


def test_a_refused_request_shows_its_reason() -> None:
    document = samples.filled()
    document.mark(["/head/fc/Gemm"], "lut")
    samples.answered(document, refused={"/head/fc/Gemm": "a table has one input"})
    rows = inspector.quantisation_rows(facts(document, "/head/fc/Gemm"), None)
    assert by_label(rows)["Reason"] == "a table has one input"
    assert all(row.is_warning for row in rows if row.label in ("Effective", "Reason"))


def test_the_accumulator_of_a_node_and_a_missing_proof() -> None:
    one, known = facts(samples.filled(), "/head/fc/Gemm"), samples.detail("/head/fc/Gemm")
    assert "Accumulator" not in by_label(inspector.quantisation_rows(one, known))
    proved = Accumulator(known.id, "Gemm", "FullyConnected", "sum of products and bias", "weights", 32, 2**27, 4.0)
    (row,) = inspector.quantisation_rows(one, msgspec.structs.replace(known, accumulator=proved))[-1:]
    assert (row.label, row.value, row.is_warning) == ("Accumulator", "32 bits, 4.0 to spare", False)
    assert row.tip == "sum of products and bias: at most 134,217,728, proved from the weights"
    unknown = Accumulator(known.id, "Gemm", "FullyConnected")
    (row,) = inspector.quantisation_rows(one, msgspec.structs.replace(known, accumulator=unknown))[-1:]
    assert (row.value, row.is_warning) == ("no proof", True)


def test_one_node_in_figures() -> None:
    document = samples.filled()
    one = facts(document, "/head/fc/Gemm")
    assert by_label(inspector.error_rows(one, True))["Accumulated"] == "21.5 ± 0.5 dB"
    latency = by_label(inspector.latency_rows(one, 1000.0))
    assert latency["Share of model"] == "10.00 %"
    assert latency["Bound by"] == "MAC"
    assert by_label(inspector.source_rows(one))["Id"] == "/head/fc/Gemm"
    assert by_label(inspector.tensor_rows(samples.detail("/head/fc/Gemm")))["Clipped"] == "2.00 %"


def test_several_nodes_in_summary() -> None:
    document = samples.filled()
    many = facts(document, "/stem/Conv", "/head/fc/Gemm")
    assert inspector.title_of(many) == "2 nodes"
    assert inspector.subtitle_of(many) == "1 × Conv, 1 × Linear"
    rows = by_label(inspector.error_rows(many, True))
    assert rows["Worst accumulated"].startswith("21.5 ± 0.5 dB")
    assert by_label(inspector.latency_rows(many, None))["Estimated"] == "112 µs"
    assert inspector.common_request(many) == "auto"
    document.mark(["/stem/Conv"], "int8")
    assert inspector.common_request(facts(document, "/stem/Conv", "/head/fc/Gemm")) == ""


def test_nothing_selected_and_nothing_measured() -> None:
    document = Document()
    document.open(samples.opened(calibrated=False), "/models/small.onnx")
    assert inspector.title_of([]) == "Nothing selected"
    one = facts(document, "/stem/Conv")
    assert inspector.error_rows(one, is_calibrated=False)[0].label == "Not measured"
    assert inspector.latency_rows(one, None)[0].label == "Not estimated"
    assert inspector.why_not_markable([]) == "Select a node first"
    assert "Inputs and outputs" in inspector.why_not_markable(facts(document, "image"))


# Summary


def test_tiles_say_when_they_are_old() -> None:
    document = samples.filled()
    tiles = {tile.label: tile for tile in tiles_of(document)}
    assert tiles["Latency"].value == "0.663 ms"
    assert tiles["Output SQNR"].value == "21.5 ± 0.5 dB"
    assert not any(tile.is_stale for tile in tiles.values())
    document.mark(["/stem/Conv"], "int16")
    assert all(tile.is_stale for tile in tiles_of(document))


def test_tiles_without_calibration() -> None:
    document = Document()
    document.open(samples.opened(calibrated=False), "/models/small.onnx")
    assert {tile.label: tile.value for tile in tiles_of(document)}["Output SQNR"] == "not calibrated"


# Scene


def test_an_operator_alone_in_its_module_is_named_by_it() -> None:
    titles = {node.id: node.title for node in scene_of(samples.graph()).nodes}
    assert titles["/head/fc/Gemm"] == "fc"
    assert titles["/stem/Conv"] == "Conv"
    assert titles["image"] == "image"


def test_badges_follow_the_request_at_once_and_the_answer_later() -> None:
    document = samples.filled()
    document.mark(["/head/fc/Gemm"], "lut")
    assert decorations_of(document)["/head/fc/Gemm"].requested == "lut"
    samples.answered(document, refused={"/head/fc/Gemm": "a table has one input"})
    assert decorations_of(document)["/head/fc/Gemm"].is_refused
    assert decorations_of(document)["/stem/Relu"].fused_into == "Conv"


def test_shapes() -> None:
    assert shape_text((1, 48, 14)) == "1×48×14"
    assert shape_text(()) == "scalar"


# Notices, recent files, palette, forms


def test_the_newest_notices_show_and_none_twice() -> None:
    board = NoticeBoard()
    for text in ("a", "b", "c", "a", "d"):
        board.add(Notice(Level.INFO, text))
    assert [notice.text for notice in board.notices] == ["d", "a", "c"]
    board.dismiss("a")
    assert [notice.text for notice in board.notices] == ["d", "c"]


def test_recent_files_newest_first_each_once() -> None:
    recent: list[str] = []
    for index in [*range(10), 3]:
        recent = with_opened(recent, f"/models/{index}.onnx")
    assert recent[:2] == ["/models/3.onnx", "/models/9.onnx"]
    assert len(recent) == MOST_RECENT


def test_demos_are_found() -> None:
    assert [Path(path).stem for path in demo_projects()] == ["mobile_fmnist", "swin_fmnist"]


def test_palette_ranks_available_and_close_matches_first() -> None:
    entries = [
        Entry("a", "View: Fit", why_not="Open a model first"),
        Entry("b", "File: Open …"),
        Entry("c", "Precision: Float", help="Leave it to the CPU"),
        Entry("d", "View: Dark Theme"),
    ]
    assert [entry.id for entry in ranked(entries, "")] == ["b", "c", "d", "a"]
    assert [entry.id for entry in ranked(entries, "theme")] == ["d"]
    assert [entry.id for entry in ranked(entries, "cpu")] == ["c"]
    assert [entry.id for entry in ranked(entries, "fit")][-1] == "a"
    assert ranked(entries, "zzz") == []


def test_a_form_says_what_is_missing(tmp_path: Path) -> None:
    arrays = tmp_path / "samples.npz"
    arrays.touch()
    recipe = tmp_path / "recipe.toml"
    assert "Choose" in SamplesForm().problem
    assert "There is no" in SamplesForm(str(tmp_path / "nowhere")).problem
    assert SamplesForm(str(arrays)).problem == ""
    assert "recipe" in SamplesForm(str(tmp_path)).problem
    assert "There is no recipe" in SamplesForm(str(arrays), str(recipe)).problem
    recipe.touch()
    assert suggested_recipe(str(arrays)) == str(recipe)
    assert SamplesForm(str(arrays), samples=0).source() == CalibrationSource(str(arrays))


@pytest.mark.parametrize("name", ["notes.txt", "model.onnx"])
def test_samples_are_arrays_or_folders(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert ".npz" in SamplesForm(str(tmp_path / name)).problem
