"""Sensitivities: the same as a float run with one value replaced, however rows are stacked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.analyze import sensitivity as module
from engine.analyze.evaluator import Evaluator, Sample
from engine.analyze.metrics import error_sums
from engine.analyze.sensitivity import SensitivityAnalysis, analysis_of, refined, sensitivity
from engine.analyze.units import works_of
from engine.errors import Cancelled
from engine.graph.float_run import FloatModel
from engine.ops.float_kernels import run_node
from engine.ops.other import Input
from engine.precision import Precision
from engine.session import Session

OpenMobile = Callable[[], Session]


def never() -> bool:
    return False


@pytest.fixture
def session(open_mobile: OpenMobile) -> Session:
    """The demo in a session whose evaluator has seen nothing yet."""
    return open_mobile()


@pytest.fixture(scope="module")
def swin(models: Path, samples: Path, recipe: Path) -> Session:
    """A transformer: windows that are rows of the batch, and reshapes that name its size."""
    session = Session.open(models / "swin_fmnist.onnx")
    session.calibrate(samples, recipe=recipe, samples=8)
    return session


def output_db(session: Session, sample: Sample, unit: str) -> float:
    """SQNR of the outputs of a float run in which the unit's results are the integer program's on float inputs."""
    graph, program = session.graph, session.program()
    evaluator = Evaluator(graph)
    reference = evaluator.reference(sample)
    (work,) = (work for work in works_of(graph, program) if work.unit == unit)
    integers = evaluator.alone(program, work, sample, lambda: reference)
    model = FloatModel(graph)
    values = {name: torch.from_numpy(sample.inputs[name]) for name in graph.inputs}
    for node in graph.nodes:
        if not isinstance(node.op, Input):
            results = run_node(node.op, model.operands(node, values))
            values.update(zip(node.outputs, results, strict=False))
        for value in node.outputs:
            if value in work.results:
                values[value] = integers[value] * program.types[value].scale
    (output,) = graph.outputs
    return error_sums(reference[output], values[output], 1.0).sqnr_db


@pytest.mark.parametrize("model", ["mobile", "swin"])
def test_it_is_the_error_of_a_float_run_with_one_unit_in_integers(
    session: Session, swin: Session, model: str
) -> None:
    chosen = swin if model == "swin" else session
    found = {row.id: row for row in sensitivity(chosen, 1, never).nodes}
    sample = next(chosen.samples(1))
    anchors = [unit.anchor for unit in chosen.resolve().units if unit.anchor in found]
    for unit in anchors[:: len(anchors) // 6]:
        expected = output_db(chosen, sample, unit)
        assert found[unit].output_db.mean == pytest.approx(expected, abs=0.05), unit


@pytest.mark.parametrize("elements", [1, 40_000])
def test_how_rows_are_stacked_changes_nothing(
    swin: Session, monkeypatch: pytest.MonkeyPatch, elements: int
) -> None:
    whole = sensitivity(swin, 1, never)
    monkeypatch.setattr(module, "_STACKED_ELEMENTS", elements)
    analysis = SensitivityAnalysis(Evaluator(swin.graph), swin.resolve(), swin.program(), analysis_of(swin).stacking)
    alone = SensitivityAnalysis(Evaluator(swin.graph), swin.resolve(), swin.program(), None)
    for part in (analysis, alone):
        for sample in swin.samples(1):
            part.add(sample, never)
        for row, expected in zip(part.report().nodes, whole.nodes, strict=True):
            assert row.id == expected.id
            assert row.output_db.mean == pytest.approx(expected.output_db.mean, abs=0.05)


def test_only_what_an_edit_changes_is_measured_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sensitivity(session, 2, never)
    executed = session.evaluator.executed
    assert sensitivity(session, 2, never) == first
    assert session.evaluator.executed == executed

    layer = next(node.id for node in session.graph.nodes if node.op.type_name == "Conv")
    session.mark(layer, Precision.INT16)
    changed = sensitivity(session, 2, never)
    assert 0 < session.evaluator.executed - executed < 12
    before, after = ({row.id: row for row in rows.nodes} for rows in (first, changed))
    gained, had = after[layer].output_db.mean, before[layer].output_db.mean
    assert gained is not None and had is not None and gained > had
    assert sum(after[node] != before[node] for node in before) < 8


def test_nodes_of_a_unit_share_a_figure_and_float_nodes_have_none(session: Session) -> None:
    layers = [node.id for node in session.graph.nodes if node.op.type_name == "Conv"]
    session.mark(layers[2], Precision.FLOAT)
    found = {row.id: row for row in sensitivity(session, 1, never).nodes}
    assert layers[2] not in found
    for unit in session.resolve().units:
        assert len({found[node].output_db for node in unit.nodes if node in found}) <= 1


def test_noise_is_the_share_of_the_outputs_power(session: Session) -> None:
    for row in sensitivity(session, 1, never).nodes:
        mean = row.output_db.mean  # None where the outputs are the float model's to the last bit
        assert row.noise == pytest.approx(0.0 if mean is None else 10.0 ** (-mean / 10.0), rel=1e-6)


def test_it_refines_and_stops_when_told(session: Session) -> None:
    reports = list(refined(session, 3, never))
    assert [report.samples for report in reports] == [1, 2, 3]
    assert reports[-1] == sensitivity(session, 3, never)
    assert reports[0].nodes[0].output_db.half_width is None
    assert reports[-1].nodes[0].output_db.half_width is not None

    analysis = analysis_of(session)
    asked = 0

    def after_a_while() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    fourth = list(session.samples(4))[3]
    with pytest.raises(Cancelled):
        analysis.add(fourth, after_a_while)
    assert analysis.samples == 0
