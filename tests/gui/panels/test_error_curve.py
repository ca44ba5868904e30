"""The error curve: a point a unit, gaps where there is no figure, the jump that it names, the selection both ways."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine.reports import Interval
from engine.reports_analysis import Cause, NodeSensitivity, Sensitivities
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.error_curve.model import CEILING_DB, CurveModel, Series, headline, remark
from gui.panels.error_curve.plot import ErrorCurvePlot
from gui.panels.error_curve.widget import MEASURING, NO_MODEL, NOT_CALIBRATED, ErrorCurvePanel
from gui.panels.inspector.model import CAUSES
from gui.theme import DARK
from tests.gui import samples

CONV, RELU, RESHAPE, GEMM = "/stem/Conv", "/stem/Relu", "/head/Reshape", "/head/fc/Gemm"


def test_units_are_points_in_the_order_of_the_graph() -> None:
    model = CurveModel(samples.filled(), {})
    assert model.nodes == (RELU, RESHAPE, GEMM, "logits"), "a fused convolution is where its unit ends"
    assert model.accumulated.mean.tolist() == [39.0, 39.0, 21.5, 21.5]
    assert model.accumulated.low.tolist() == [38.5, 38.5, 21.0, 21.0]
    assert model.place_of([CONV]) == model.place_of([RELU]) == [0]
    assert model.place_of(["image"]) == []


def test_what_adds_no_error_is_a_gap() -> None:
    model = CurveModel(samples.filled(), {})
    assert np.isnan(model.introduced.mean).tolist() == [True, True, False, True]
    assert model.introduced.runs() == [slice(2, 3)]
    assert model.accumulated.runs() == [slice(0, 4)]
    assert Series.of([]).runs() == []


def test_an_exact_value_is_at_the_ceiling() -> None:
    series = Series.of([Interval(None), None, Interval(20.0)])
    assert series.mean[0] == CEILING_DB and np.isnan(series.mean[1])
    assert series.runs() == [slice(0, 1), slice(2, 3)]


def test_the_jump_is_named() -> None:
    model = CurveModel(samples.filled(), {GEMM: "Gemm"})
    assert model.fall is not None and model.fall.node == GEMM
    assert model.fall.fall_db == pytest.approx(17.5)
    assert remark(model.fall, model.title_of) == "Falls most at Gemm: 17.5 dB below what it reads"
    assert headline(samples.filled()) == "Output 21.5 ± 0.5 dB over 8 samples"
    assert remark(None, str).startswith("No node is more than 3 dB worse")


def test_every_cause_has_a_name() -> None:
    assert set(CAUSES) == set(Cause)


@pytest.fixture
def panel(qtbot: QtBot) -> Iterator[ErrorCurvePanel]:
    document, view = QtDocument(samples.filled()), SharedView()
    panel = ErrorCurvePanel(document, view)
    panel.owner = document, view  # type: ignore[attr-defined]  # they live as long as the panel
    qtbot.addWidget(panel)
    panel.resize(900, 320)
    panel.set_watched(True)
    panel.show()
    QApplication.processEvents()
    yield panel


def plot_of(panel: ErrorCurvePanel) -> ErrorCurvePlot:
    assert panel.plot is not None
    return panel.plot


def chosen(panel: ErrorCurvePanel) -> list[float]:
    """Where the marks of selected nodes are along the axis."""
    return [point.pos().x() for point in plot_of(panel).chosen.points()]


def test_a_click_selects_the_node_and_the_selection_is_marked(panel: ErrorCurvePanel) -> None:
    plot, revealed = plot_of(panel), list[str]()
    panel.revealed.connect(revealed.append)

    def click(place: int, *modifiers: Qt.KeyboardModifier) -> None:
        at = plot.position_of(place).toPoint()
        QTest.mouseClick(
            plot.viewport(), Qt.MouseButton.LeftButton, modifiers[0] if modifiers else Qt.KeyboardModifier(0), at
        )

    click(2)
    assert panel._view.selection == (GEMM,) and revealed == [GEMM]
    assert chosen(panel) == [2.0]
    click(1, Qt.KeyboardModifier.ShiftModifier)
    assert panel._view.selection == (GEMM, RESHAPE)
    click(1, Qt.KeyboardModifier.ShiftModifier)
    assert panel._view.selection == (GEMM,)
    panel._view.select((CONV,))
    assert chosen(panel) == [0.0], "a fused node is marked where its unit ends"
    assert plot.here.isVisible()
    panel._view.select(())
    assert not plot.here.isVisible()


def test_beside_the_axes_nothing_is_hit(panel: ErrorCurvePanel) -> None:
    plot = plot_of(panel)
    assert plot.place_at(QPointF(2, 2)) == -1


def test_it_follows_the_document_only_while_it_is_seen(panel: ErrorCurvePanel) -> None:
    document = panel._document
    shown = panel.model
    document.mark((CONV,), "int16")
    assert "being updated" in panel.head.text()
    samples.answered(document, better_by_db=3.0)
    assert panel.model is not shown and "being updated" not in panel.head.text()
    assert panel.head.text() == "Output 24.5 ± 0.5 dB over 8 samples"
    shown = panel.model
    panel.set_watched(False)
    samples.answered(document, better_by_db=4.0)
    assert panel.model is shown
    panel.set_watched(True)
    assert panel.model is not shown


def test_sensitivities_join_once_they_are_measured(panel: ErrorCurvePanel) -> None:
    assert "sensitivity" not in panel.legend.text()
    rows = (NodeSensitivity(RELU, Interval(50.0, 1.0), 1e-5), NodeSensitivity(GEMM, Interval(30.0, 1.0), 1e-3))
    panel._document.sense(panel._document.revision, Sensitivities(8, rows), is_final=True)
    assert "sensitivity" in panel.legend.text()
    assert panel.model is not None
    assert panel.model.sensitivity.mean[[0, 2]].tolist() == [50.0, 30.0]


def test_the_view_stays_where_the_user_looks(panel: ErrorCurvePanel) -> None:
    plot = plot_of(panel)
    plot.view.setXRange(1.0, 2.0, padding=0)
    plot._on_moved()
    samples.answered(panel._document, better_by_db=1.0)
    assert plot.view.viewRange()[0] == pytest.approx([1.0, 2.0])
    QTest.keyClick(plot, Qt.Key.Key_Space)
    assert plot.view.viewRange()[0][1] > 3.0


def test_it_says_why_there_is_nothing(qtbot: QtBot) -> None:
    from gui.document.document import Document

    document, view = QtDocument(Document()), SharedView()
    panel = ErrorCurvePanel(document, view)
    qtbot.addWidget(panel)
    panel.set_theme(DARK)
    panel.set_watched(True)
    assert panel.empty.text() == NO_MODEL
    document.document.open(samples.opened(calibrated=False), "/models/small.onnx")
    assert panel.empty.text() == NOT_CALIBRATED
    document.document.open(samples.opened(), "/models/small.onnx")
    assert panel.empty.text() == MEASURING
    samples.answered(document.document)
    assert panel.pages.currentWidget() is panel.plot
