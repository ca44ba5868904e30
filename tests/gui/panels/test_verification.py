"""The verification panel: its rows, and what a click does."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from engine.reports import Agreement, Comparison, Mismatch, Stage, Verification
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.verification.model import COLUMNS, MOST_VALUES, RESULT, rows_of, summary_of
from gui.panels.verification.widget import NOTHING_YET, OUTDATED, VerificationPanel
from gui.theme import DARK
from tests.gui import samples

RUNTIME = "ONNX Runtime 1.31"
CONV = "/stem/Conv"


def mismatch(what: str, value: str, beyond: int) -> Mismatch:
    return Mismatch(Stage.EXPORTED, RUNTIME, what, CONV, value, 1024, 7, beyond, 3.0, "steps")


FOUND = Verification(
    samples=2,
    comparisons=(
        Comparison(Stage.FLOAT, RUNTIME, "source model", Agreement.WITHIN, "0.001", 5, 99_000, worst=1.0, unit="steps"),
        Comparison(Stage.EXPORTED, RUNTIME, "a", Agreement.DIFFERS, "all", 9, 4096, 14, 2, 3.0, "steps", CONV, "conv"),
        Comparison(Stage.EXPORTED, "TOSA reference model", "tosa", Agreement.UNAVAILABLE, "it is not installed"),
        Comparison(Stage.EXPORTED, "TOSA reference model", "b", Agreement.FAILED, "it was ended by SIGABRT"),
    ),
    mismatches=(mismatch("a", "first", 2), mismatch("a", "second", 0), mismatch("other", "third", 1)),
    first_stage="exported",
    first_node=CONV,
)


def test_rows_say_what_was_found() -> None:
    within, differs, absent, failed = rows_of(FOUND)
    assert within.texts == ("float", RUNTIME, "source model", "✓ within", "5", "99,000", "0", "1 step", "")
    assert differs.texts[RESULT:] == ("✗ differs", "9", "4,096", "14", "3 steps", "stem/Conv")
    assert [row.texts[2] for row in differs.values] == ["first"], "what is tolerated is not listed where others are not"
    assert absent.texts[RESULT:] == ("not compared", "–", "–", "–", "–", "it is not installed")
    assert (absent.values, absent.node) == ((), "")
    assert failed.texts[RESULT] == "! failed"
    assert all(len(row.texts) == len(COLUMNS) for row in (within, differs, absent, *differs.values))


def test_long_lists_are_cut() -> None:
    many = tuple(mismatch("a", str(index), 1) for index in range(MOST_VALUES + 5))
    cut = Verification(1, FOUND.comparisons[1:2], many, "exported", CONV)
    assert len(rows_of(cut)[0].values) == MOST_VALUES


def test_the_summary_counts_and_names() -> None:
    assert summary_of(FOUND) == (
        "The first stage that differs is exported at /stem/Conv (2 comparisons on 2 samples; 2 could not be made)."
    )
    one = Verification(1, FOUND.comparisons[:1], (), "", "")
    assert summary_of(one) == "No stage differs: 1 comparison on 1 sample."


@pytest.fixture
def panel(qtbot: QtBot) -> VerificationPanel:
    document, view = QtDocument(samples.filled()), SharedView()
    panel = VerificationPanel(document, view)
    panel.document, panel.view = document, view  # type: ignore[attr-defined]  # they live as long as the panel
    qtbot.addWidget(panel)
    panel.resize(1000, 300)
    panel.show()
    return panel


def test_a_click_selects_and_reveals_the_node(panel: VerificationPanel, qtbot: QtBot) -> None:
    panel.show_result(FOUND, panel._document.revision)
    differs = panel.table.topLevelItem(1)
    assert differs is not None and differs.isExpanded()
    with qtbot.waitSignal(panel.revealed) as revealed:
        where = panel.table.visualItemRect(differs).center()
        qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert revealed.args == [CONV]
    assert panel._view.selection == (CONV,)
    absent = panel.table.topLevelItem(2)
    assert absent is not None
    panel.table.setCurrentItem(absent)
    assert panel._view.selection == (CONV,), "a row without a node leaves the selection"


def test_arrow_keys_select_values(panel: VerificationPanel) -> None:
    panel.show_result(FOUND, panel._document.revision)
    differs = panel.table.topLevelItem(1)
    assert differs is not None
    value = differs.child(0)
    assert value is not None
    panel.table.setCurrentItem(value)
    assert panel._view.selection == (CONV,)


def test_an_edit_makes_it_outdated_and_another_model_empties_it(panel: VerificationPanel) -> None:
    assert panel.summary.text() == NOTHING_YET
    panel.show_result(FOUND, panel._document.revision)
    assert not panel.summary.text().endswith(OUTDATED)
    panel._document.mark((CONV,), "int16")
    assert panel.summary.text().endswith(OUTDATED)
    panel.set_theme(DARK)
    assert panel.table.topLevelItemCount() == len(FOUND.comparisons)
    panel._document.open(samples.opened(), "/models/other.onnx")
    assert panel.summary.text() == NOTHING_YET
    assert panel.table.topLevelItemCount() == 0


def test_the_button_asks_and_explains(panel: VerificationPanel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(panel.verifyWanted):
        panel.button.click()
    panel.set_available("Calibrate the model first")
    assert not panel.button.isEnabled()
    assert panel.button.toolTip() == "Calibrate the model first"
