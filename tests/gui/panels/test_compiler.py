"""The compiler's dock: options as edits, and what the compiler answered."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from engine.plan.compile_options import CompileOptions, Goal, Level
from engine.reports import PassReport, RegionPlan
from gui.document.document import Document
from gui.document.qt_document import QtDocument
from gui.panels.compiler import model
from gui.panels.compiler.widget import CompilerPanel
from tests.gui import compilations, samples

COMPILATION = msgspec.structs.replace(
    compilations.small(),
    layout_bytes=(2_000_000, 200_000),
    passes=(
        PassReport("layout", "9 of 20 units move nothing any more", "B", 2_000_000, 200_000),
        PassReport("tiling", "12 tiles", "tiles", None, 12),
        PassReport("schedule", "31 jobs", "us", 40.0, 50.0),
        PassReport("verify", "no overlap"),
    ),
)


@dataclass(frozen=True)
class Bench:
    document: Document
    panel: CompilerPanel

    def resolve(self, regions: tuple[RegionPlan, ...] = ()) -> None:
        """The engine answers, for a chip of two cores."""
        document = self.document
        document.resolve(document.revision, samples.node_plans(document.plan), (), 0, regions, 2)


@pytest.fixture
def bench(qtbot: QtBot) -> Bench:
    document = samples.filled()
    panel = CompilerPanel(QtDocument(document))
    qtbot.addWidget(panel)
    panel.set_targets((("journey5", "Journey 5"), ("generic-int8", "Generic")))
    panel.set_watched(True)
    made = Bench(document, panel)
    made.resolve()
    return made


def test_options_are_edits_and_follow_undo(bench: Bench) -> None:
    document, panel = bench.document, bench.panel
    panel.goal.buttons[Goal.BALANCED].click()
    panel.level.buttons[Level.O3].click()
    panel.cores.setValue(1)
    assert document.plan.compile == CompileOptions(Goal.BALANCED, level=Level.O3, cores=1)
    assert panel.weight.isEnabled()
    for _ in range(3):
        document.undo()
    assert document.plan.compile == CompileOptions()
    assert panel.goal.buttons[Goal.LATENCY].isChecked()
    assert panel.level.buttons[Level.O2].isChecked()
    assert panel.cores.text() == "all (2)"
    assert not panel.weight.isEnabled()
    assert panel.cores.maximum() == 2


def test_a_slide_of_the_weight_is_one_step(bench: Bench, qtbot: QtBot) -> None:
    document, panel = bench.document, bench.panel
    document.set_compile(goal=Goal.BALANCED)
    for value in (12, 13, 14):
        panel.weight.setValue(value)
    assert document.plan.compile.weight == 0.7
    assert panel.weight_text.text() == "time 30 %, DDR traffic 70 %"
    panel.weight.sliderPressed.emit()
    panel.weight.setValue(2)
    document.undo()
    assert document.plan.compile.weight == 0.7
    document.undo()
    assert document.plan.compile == CompileOptions(Goal.BALANCED)
    assert panel.weight.value() == 10


def test_targets_by_name_and_from_a_file(bench: Bench, qtbot: QtBot) -> None:
    with qtbot.waitSignal(bench.panel.targetChosen) as chosen:
        bench.panel.target.setCurrentIndex(1)
        bench.panel.target.activated.emit(1)
    assert chosen.args == ["generic-int8"]
    bench.document.set_target("/chips/mine.toml")
    assert bench.panel.target.currentData() == "/chips/mine.toml"


def test_passes_and_totals(bench: Bench) -> None:
    document, panel = bench.document, bench.panel
    assert panel.status.text() == "Compiling …"
    assert panel.totals.isHidden()
    document.compile(document.revision, COMPILATION)
    assert panel.status.isHidden()
    totals = panel.totals.texts()
    assert totals["Data movement"] == "2 MB → 200 KB  (−90 %)"
    memory = COMPILATION.memory
    assert totals["Peak ÷ bound"] == f"{memory.peak_bytes / memory.lower_bound_bytes:.2f}"
    assert totals["Stated error"] == COMPILATION.stated_error
    assert panel.passes.texts() == {
        "Layout": "9 of 20 units move nothing any more\n2 MB → 200 KB  (−90 %)",
        "Tiling": "12 tiles",
        "Schedule": "31 jobs\n40 µs → 50 µs  (+25 %)",
        "Verify": "no overlap",
    }
    document.set_compile(level=Level.O0)
    assert panel.status.text().startswith("Being updated")
    assert not panel.totals.isHidden()
    document.refuse_compilation(document.revision, "the plan asks for 9 cores, journey5 has 2")
    assert "cannot be compiled: the plan asks for 9 cores" in panel.status.text()
    assert panel.status.property("role") == "warning"
    assert panel.totals.isHidden()


def test_a_region_that_is_not_legal_any_more_says_so(bench: Bench) -> None:
    document, panel = bench.document, bench.panel
    assert panel.regions.isHidden()
    name = document.fuse(["/stem/Conv", "/stem/Relu"])
    bench.resolve((RegionPlan(name, document.region_nodes(name), True, ""),))
    assert panel.regions.texts() == {name: "2 nodes, legal"}
    bench.resolve((RegionPlan(name, document.region_nodes(name), False, "its smallest tile takes 9 B"),))
    assert panel.regions.texts()[name].replace("\u200b", "") == "2 nodes, not in effect: its smallest tile takes 9 B"


def test_what_nobody_sees_is_not_kept_up(bench: Bench) -> None:
    bench.panel.set_watched(False)
    bench.document.compile(bench.document.revision, COMPILATION)
    assert bench.panel.totals.isHidden()
    bench.panel.set_watched(True)
    assert not bench.panel.totals.isHidden()


def test_without_a_model_there_is_nothing_to_choose(qtbot: QtBot) -> None:
    panel = CompilerPanel(QtDocument(Document()))
    qtbot.addWidget(panel)
    panel.set_watched(True)
    assert not panel.options.isEnabled()
    assert panel.status.text().startswith("Open a model")
    assert model.weight_text(0.35) == "time 65 %, DDR traffic 35 %"
