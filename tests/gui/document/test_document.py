"""The document: edits, undo, what counts as unsaved, and which answers are taken."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.plan.compile_options import CompileOptions, Goal
from engine.service.messages import PlanData
from gui.document.document import CalibrationSource, Change, Document
from tests.gui import samples

MARKS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(samples.IDS), min_size=1, max_size=4),
        st.sampled_from(["auto", "int8", "int16", "lut", "float"]),
    ),
    max_size=8,
)


@pytest.fixture
def document() -> Document:
    return samples.filled()


def test_marking_many_nodes_is_one_step(document: Document) -> None:
    assert document.mark(["/stem/Conv", "/head/fc/Gemm"], "int16")
    assert document.plan.choices == {"/stem/Conv": "int16", "/head/fc/Gemm": "int16"}
    assert document.undo_label == "mark 2 nodes int16"
    assert document.undo()
    assert document.plan.choices == {}
    assert not document.undo()


def test_marking_what_is_so_already_changes_nothing(document: Document) -> None:
    revision = document.revision
    assert not document.mark(["/stem/Conv"], "auto")
    assert document.revision == revision
    assert document.undo_label == ""


def test_undo_restores_content_under_a_new_revision(document: Document) -> None:
    before, revision = document.plan, document.revision
    document.mark(["/stem/Conv"], "int16")
    document.undo()
    assert document.plan == before
    assert document.revision == revision + 2


def test_an_edit_after_undo_forgets_what_was_undone(document: Document) -> None:
    document.mark(["/stem/Conv"], "int16")
    document.undo()
    assert document.redo_label == "mark Conv int16"
    document.set_target("generic-int8")
    assert document.redo_label == ""
    assert not document.redo()


@given(MARKS)
def test_undo_and_redo_walk_the_same_plans(marks: list[tuple[list[str], str]]) -> None:
    document = samples.filled()
    plans = [document.plan]
    for ids, precision in marks:
        if document.mark(ids, precision):
            plans.append(document.plan)
    for plan in reversed(plans[:-1]):
        assert document.undo()
        assert document.plan == plan
    for plan in plans[1:]:
        assert document.redo()
        assert document.plan == plan


def test_target_and_method_can_be_undone(document: Document) -> None:
    document.set_default_method("max")
    document.set_target("generic-int8")
    assert (document.plan.default_method, document.plan.target) == ("max", "generic-int8")
    document.undo()
    document.undo()
    assert document.plan == PlanData()


def test_a_method_of_single_tensors_is_one_step(document: Document) -> None:
    assert document.set_method(["/stem/Conv", "/head/fc/Gemm"], "kl")
    assert document.plan.methods == {
        value: "kl" for node in ("/stem/Conv", "/head/fc/Gemm") for value in document.nodes[node].outputs
    }
    assert document.method("/stem/Conv") == "kl"
    assert not document.set_method(["/stem/Conv"], "kl")
    document.set_method(["/stem/Conv"], "")
    assert document.method("/stem/Conv") == ""
    document.undo()
    document.undo()
    assert document.plan == PlanData()


def test_regions_are_made_and_dissolved_in_steps(document: Document) -> None:
    assert document.fuse(["/stem/Conv", "/stem/Relu"]) == "region 1"
    assert document.fuse(["/head/Reshape", "/head/fc/Gemm"]) == "region 2"
    assert document.region_of("/stem/Relu") == "region 1"
    assert document.region_nodes("region 2") == ("/head/Reshape", "/head/fc/Gemm")
    assert document.dissolve(["region 1"])
    assert not document.dissolve(["region 1", ""])
    assert document.region_of("/stem/Relu") == ""
    assert document.fuse(["/stem/Conv", "/stem/Relu"]) == "region 1", "the first free name"
    for _ in range(4):
        document.undo()
    assert document.plan == PlanData()


def test_a_region_is_renamed_and_split(document: Document) -> None:
    first, second = ("/stem/Conv", "/stem/Relu"), ("/head/Reshape", "/head/fc/Gemm")
    document.fuse((*first, *second))
    document.fuse(["image"])
    assert not document.rename_region("region 1", "region 2")
    assert not document.rename_region("gone", "other")
    assert document.rename_region("region 1", "stem")
    assert document.undo_label == "rename region 1 to stem"
    assert not document.split_region("gone", ())
    assert document.split_region("stem", (("stem", first), ("region 1", second)))
    assert document.plan.regions == (("stem", first), ("region 1", second), ("region 2", ("image",)))
    document.undo()
    document.undo()
    assert document.region_nodes("region 1") == (*first, *second)


def test_compile_options_are_edits(document: Document) -> None:
    assert document.set_compile(goal=Goal.BANDWIDTH)
    assert document.undo_label == "goal bandwidth"
    assert not document.set_compile(goal=Goal.BANDWIDTH)
    document.set_compile(cores=2)
    assert document.undo_label == "cores 2"
    document.set_target("/chips/mine.toml")
    assert document.undo_label == "target mine"
    assert document.plan.compile == CompileOptions(Goal.BANDWIDTH), "another chip has other cores"
    document.undo()
    assert document.plan.compile.cores == 2


def test_what_one_gesture_changes_is_one_step(document: Document) -> None:
    for weight in (0.4, 0.3, 0.2):
        document.set_compile("slider 1", weight=weight)
    document.set_compile("slider 2", weight=0.1)
    document.undo()
    assert document.plan.compile.weight == 0.2
    document.undo()
    assert document.plan == PlanData()
    document.redo()
    assert document.plan.compile.weight == 0.2
    document.set_compile("slider 2", weight=0.9)
    document.set_compile("slider 2", weight=0.2)
    document.undo()
    assert document.plan == PlanData(), "a slider that came back has done nothing"


def test_unsaved_is_what_differs_from_the_file(document: Document) -> None:
    assert not document.is_dirty
    document.mark(["/stem/Conv"], "int16")
    assert document.is_dirty
    document.undo()
    assert not document.is_dirty
    document.redo()
    document.saved("/models/other.qscope", document.plan)
    assert not document.is_dirty
    assert document.title == "other.qscope"


def test_an_edit_during_saving_stays_unsaved(document: Document) -> None:
    document.mark(["/stem/Conv"], "int16")
    written = document.plan
    document.mark(["/head/fc/Gemm"], "int16")
    document.saved("/models/small.qscope", written)
    assert document.is_dirty


def test_calibration_is_unsaved_work_and_makes_results_old() -> None:
    document = Document()
    document.open(samples.opened(calibrated=False), "/models/small.onnx")
    samples.answered(document)
    assert document.is_resolved
    document.calibrated(64, "/data", CalibrationSource("/data"))
    assert document.is_dirty
    assert not document.is_resolved
    document.saved("/models/small.qscope", document.plan)
    assert not document.is_dirty
    assert document.calibration.is_done


def test_answers_to_older_revisions_are_dropped(document: Document) -> None:
    old = document.revision
    document.mark(["/stem/Conv"], "int16")
    assert not document.resolve(old, (), (), 7)
    assert not document.time(old, samples.timing())
    assert not document.measure(old, samples.errors(), is_final=True)
    assert document.results.resolved.cpu_nodes == 0
    assert not document.is_measured


def test_older_results_show_until_newer_come(document: Document) -> None:
    document.mark(["/stem/Conv"], "int16")
    assert document.results.measured.nodes["/stem/Conv"].accumulated_db.mean == 40.0
    assert not document.is_measured
    document.measure(document.revision, samples.errors(samples=1), is_final=False)
    assert not document.is_measured
    document.measure(document.revision, samples.errors(), is_final=True)
    assert document.is_measured


def test_opening_forgets_everything_of_the_model_before(document: Document) -> None:
    document.mark(["/stem/Conv"], "int16")
    plan = msgspec.structs.replace(PlanData(), target="generic-int8")
    document.open(samples.opened(plan=plan, calibrated=False), "/models/b.onnx", {"height": 8})
    assert document.undo_label == ""
    assert document.plan.target == "generic-int8"
    assert document.results.timed.timing is None
    assert document.title == "b.onnx"
    assert document.bindings == {"height": 8}


def test_listeners_hear_what_changed(document: Document) -> None:
    heard: list[Change] = []
    document.subscribe(heard.append)
    document.mark(["/stem/Conv"], "int16")
    document.time(document.revision, samples.timing())
    assert heard == [Change.PLAN | Change.STATE, Change.TIMING]


def test_listeners_hear_once_of_what_changes_together(document: Document) -> None:
    heard: list[Change] = []
    document.subscribe(heard.append)
    with document.together():
        pass
    with document.together(), document.together():
        document.resolve(document.revision, (), (), 7)
        document.time(document.revision, samples.timing())
        assert document.results.resolved.cpu_nodes == 7
        assert heard == []
    assert heard == [Change.RESOLUTION | Change.TIMING]


def test_fused_nodes_belong_to_their_unit(document: Document) -> None:
    assert document.results.resolved.unit("/stem/Relu") == "/stem/Conv"
    assert document.results.resolved.unit("/stem/Conv") == "/stem/Conv"
    assert document.results.resolved.unit("unknown") == "unknown"
