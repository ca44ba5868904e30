"""Errors of nodes: incremental, bounded in memory, and the same as computed from scratch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from engine.analyze.errors import ErrorAnalysis
from engine.analyze.evaluator import Evaluator, Sample
from engine.analyze.metrics import error_sums
from engine.errors import Cancelled
from engine.graph.graph import Graph
from engine.ops.elementwise import Gelu
from engine.ops.layout import Roll, Slice, Transpose
from engine.precision import Precision
from engine.program.executor import run_program
from engine.program.types import DataMovement, Program
from engine.session import Session
from tests.engine.plan.graphs import Builder
from tests.engine.program.lowering.cases import inputs_of, lowered

OpenMobile = Callable[[], Session]


@pytest.fixture
def session(open_mobile: OpenMobile) -> Session:
    """The demo in a session whose evaluator has seen nothing yet."""
    return open_mobile()


@pytest.fixture
def sample(session: Session) -> Sample:
    return next(session.samples(1))


def never() -> bool:
    return False


def downstream(program: Program, nodes: set[str]) -> int:
    """How many instructions depend on those of the given graph nodes, these included."""
    changed: set[str] = set()
    count = 0
    for item in program.instructions:
        if nodes & set(item.nodes) or changed & set(item.inputs):
            changed |= set(item.outputs)
            count += 1
    return count


def test_a_change_executes_what_is_downstream_and_undo_nothing(session: Session, sample: Sample) -> None:
    evaluator = session.evaluator
    program = session.program()
    first = evaluator.accumulated(program, sample)
    evaluator.outputs(program, sample)
    assert evaluator.executed <= len(program.instructions)
    executed = evaluator.executed
    assert evaluator.accumulated(program, sample) == first
    assert evaluator.executed == executed

    layers = [node.id for node in session.graph.nodes if node.op.type_name == "Conv"]
    layer = layers[len(layers) * 2 // 3]
    session.mark(layer, Precision.INT16)
    changed = session.program()
    second = evaluator.accumulated(changed, sample)
    unit = set(session.resolve().unit_of[layer].nodes)
    assert 0 < evaluator.executed - executed <= downstream(changed, unit)
    assert second != first

    executed = evaluator.executed
    session.mark(layer, Precision.AUTO)
    assert evaluator.accumulated(session.program(), sample) == first
    evaluator.outputs(session.program(), sample)
    assert evaluator.executed == executed


def test_introduced_is_recomputed_for_the_changed_unit_and_its_readers(session: Session, sample: Sample) -> None:
    evaluator = session.evaluator
    before = evaluator.introduced(session.program(), sample)
    executed = evaluator.executed
    assert evaluator.introduced(session.program(), sample) == before
    assert evaluator.executed == executed
    layer = [node.id for node in session.graph.nodes if node.op.type_name == "Conv"][3]
    session.mark(layer, Precision.INT16)
    evaluator.introduced(session.program(), sample)
    assert 0 < evaluator.executed - executed < len(session.program().instructions) / 3


def test_increments_are_what_a_fresh_evaluator_finds(session: Session, sample: Sample) -> None:
    for index, node in enumerate(session.graph.nodes[::9]):
        session.mark(node.id, Precision.FLOAT if index % 2 else Precision.INT16)
        session.evaluator.accumulated(session.program(), sample)
        session.evaluator.introduced(session.program(), sample)
    program, fresh = session.program(), Evaluator(session.graph)
    assert fresh.accumulated(program, sample) == session.evaluator.accumulated(program, sample)
    assert fresh.introduced(program, sample) == session.evaluator.introduced(program, sample)


def test_errors_are_those_of_the_executor_and_the_float_model(session: Session, sample: Sample) -> None:
    program, evaluator = session.program(), session.evaluator
    reference = evaluator.reference(sample)
    values: dict[str, torch.Tensor] = {}
    feeds = {name: torch.from_numpy(np.array(array)) for name, array in sample.inputs.items()}
    run_program(
        program,
        feeds,
        visit=lambda item, _, outputs: values.update(
            (name, tensor.clone()) for name, tensor in zip(item.outputs, outputs, strict=True)
        ),
    )
    for value, sums in evaluator.accumulated(program, sample).items():
        expected = error_sums(reference[value].clone(), values[value], program.types[value].scale)
        assert sums.sqnr_db == pytest.approx(expected.sqnr_db, abs=1e-3), value
    for name, tensor in evaluator.outputs(program, sample).items():
        torch.testing.assert_close(tensor, values[program.outputs[name]], rtol=0, atol=0)


@pytest.mark.parametrize("capacity_bytes", [0, 60_000])
def test_memory_is_bounded_and_results_do_not_depend_on_it(
    session: Session, sample: Sample, capacity_bytes: int
) -> None:
    program = session.program()
    small = Evaluator(session.graph, capacity_bytes)
    accumulated = small.accumulated(program, sample)
    introduced = small.introduced(program, sample)
    for store in (small._tensors, small._references):
        assert store.size_bytes <= capacity_bytes
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in stored(small)}
    assert sum(held.values()) <= capacity_bytes
    assert accumulated == session.evaluator.accumulated(program, sample)
    assert introduced == session.evaluator.introduced(program, sample)


def stored(evaluator: Evaluator) -> list[torch.Tensor]:
    return list(evaluator._tensors._entries.values())


def moving() -> Graph:
    """A convolution whose result is moved about, with a part taken at the end."""
    builder = Builder()
    builder.conv("c", builder.input("x"))
    builder.node("t", Transpose((0, 1, 3, 2)), "c")
    builder.node("r", Roll((1,), (2,)), "t")
    builder.node("s", Slice((0, 0, 0, 0), (1, 1, 6, 6), (1, 1, 1, 1)), "r", shape=(1, 1, 6, 6))
    return builder.build("s")


def test_movement_adds_nothing_and_keeps_its_sources_error() -> None:
    graph = moving()
    feeds = inputs_of(graph)
    program = lowered(graph, feeds)
    evaluator = Evaluator(graph)
    introduced = evaluator.introduced(program, Sample.of(feeds))
    assert set(introduced) == {"x", "c"}
    accumulated = evaluator.accumulated(program, Sample.of(feeds))
    assert accumulated["r"] == accumulated["t"] == accumulated["c"]
    assert accumulated["s"].count == 36
    moved = [item for item in program.instructions if isinstance(item.op, DataMovement)]
    assert len(moved) == 3


def test_movement_of_floats_is_charged_with_their_quantisation() -> None:
    graph = moving()
    feeds = inputs_of(graph)
    program = lowered(graph, feeds, {"x": Precision.FLOAT, "c": Precision.FLOAT})
    assert program.types["t"].is_quantised
    accumulated = Evaluator(graph).accumulated(program, Sample.of(feeds))
    assert accumulated["c"].error_squared < 1e-9
    assert 25.0 < accumulated["t"].sqnr_db < 60.0
    assert accumulated["r"] == accumulated["t"]


def test_values_whose_names_hold_the_seams_sign_are_found() -> None:
    builder = Builder()
    builder.conv("conv@1", builder.input("x@0"))
    builder.node("y@1@2", Gelu(), "conv@1")
    graph = builder.build("y@1@2")
    feeds = inputs_of(graph)
    for marks in ({}, {"conv@1": Precision.FLOAT}):
        introduced = Evaluator(graph).introduced(lowered(graph, feeds, marks), Sample.of(feeds))
        assert introduced["y@1@2"].sqnr_db > 25.0


def test_cancelled_leaves_what_was_measured(session: Session) -> None:
    analysis = session.error_analysis()
    first, second = session.samples(2)
    analysis.add(first, never)
    before = analysis.report()
    calls = iter(range(1000))
    with pytest.raises(Cancelled):
        analysis.add(second, lambda: next(calls) > 20)
    assert analysis.report() == before
    assert analysis.samples == 1
    analysis.add(second, never)
    whole = ErrorAnalysis(Evaluator(session.graph), session.resolve(), session.program())
    for item in (first, second):
        whole.add(item, never)
    assert analysis.report() == whole.report()


def test_reports_have_every_node_once(session: Session) -> None:
    errors = session.analyze(3)
    assert errors.samples == 3
    assert [node.id for node in errors.nodes] == [node.id for node in session.graph.nodes]
    assert errors.output_sqnr_db.mean is not None
    assert errors.output_sqnr_db.half_width is not None
    for node in errors.nodes:
        unit = session.resolve().unit_of[node.id]
        if all(session.graph.by_id[member].op.type_name == "Reshape" for member in unit.nodes):
            assert node.introduced_db.mean is None
            assert node.introduced_mse is None
        assert -1.0 <= node.cosine <= 1.0 + 1e-6


def test_keys_follow_content_not_names() -> None:
    one, two = np.ones((1, 2), np.float32), np.ones((1, 2), np.float32)
    assert Sample.of({"x": one}).digest == Sample.of({"x": two}).digest
    assert Sample.of({"x": one}).digest != Sample.of({"x": 2 * one}).digest
    assert Sample.of({"x": one}).digest != Sample.of({"x": one.reshape(2, 1)}).digest
    assert Sample.of({"x": one}).digest != Sample.of({"y": one}).digest
