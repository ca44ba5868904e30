"""Numbers in place of constants: what the program has of them, what the float model, and how they stack and last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.calibrate.result import TensorRange
from engine.errors import PlanError, ProjectError
from engine.graph.graph import Node
from engine.ops.linear import Conv, Linear
from engine.plan.corrections import Corrected, Correction
from engine.precision import Precision
from engine.program.types import Convolution, FullyConnected
from engine.session import Session

OpenMobile = Callable[[], Session]


@pytest.fixture
def session(open_mobile: OpenMobile) -> Session:
    return open_mobile()


def layer_of(session: Session) -> Node:
    return next(node for node in session.graph.nodes if isinstance(node.op, Linear))


def weight_of(session: Session, node: Node) -> NDArray[np.float32]:
    return np.asarray(session.graph.constants[node.inputs[1]].array, np.float32)


def integers_of(session: Session, node: Node) -> Convolution | FullyConnected:
    found = next(item.op for item in session.program().instructions if item.unit == node.id)
    assert isinstance(found, Convolution | FullyConnected)
    return found


def test_chosen_integers_arrive_exactly(session: Session) -> None:
    node = layer_of(session)
    weight = node.inputs[1]
    shape = session.graph.types[weight].shape
    chosen = np.random.default_rng(0).integers(-127, 128, shape)
    scales = np.geomspace(1e-4, 1e-1, shape[0])
    floats = (chosen * scales[:, None]).astype(np.float32)
    bias = np.full(shape[0], 0.25)
    session.correct(
        Correction("rounding", "", weights={weight: floats}, weight_scales={weight: scales}, biases={node.id: bias})
    )
    found = integers_of(session, node)
    np.testing.assert_array_equal(found.weight, chosen)
    in_scale = session.program().types[node.inputs[0]].scale
    np.testing.assert_array_equal(found.bias, np.rint(bias / (in_scale * scales)))


def test_the_float_model_keeps_its_weights(session: Session) -> None:
    inputs, node = next(session.samples(1)).inputs, layer_of(session)
    before, integers = session.run_float(inputs), session.run(inputs)
    weight = weight_of(session, node)
    session.correct(Correction("rounding", "", weights={node.inputs[1]: weight * 0.5}))
    after, changed = session.run_float(inputs), session.run(inputs)
    assert all((before[name] == after[name]).all() for name in before)
    assert any((integers[name] != changed[name]).any() for name in integers)


def test_values_that_preserve_the_function_are_the_float_models_too(session: Session) -> None:
    node = next(node for node in session.graph.nodes if isinstance(node.op, Conv))
    weight = weight_of(session, node)
    value = session.resolve().unit_of[node.id].last
    value = session.graph.by_id[value].outputs[0]
    measured = session.calibration.ranges[value]  # type: ignore[union-attr]
    twice = TensorRange(**{name: 2 * getattr(measured, name) for name in measured.__struct_fields__})
    plain = session.program().types[value].scale
    session.correct(Correction("equalise", "", same={node.inputs[1]: weight * 2}, ranges={value: twice}))
    assert session.graph is not session.source_graph
    np.testing.assert_array_equal(session.graph.constants[node.inputs[1]].array, weight * 2)
    assert session.program().types[value].scale == pytest.approx(2 * plain)
    session.plan = replace(session.plan, corrections=())
    assert session.graph is session.source_graph
    assert session.program().types[value].scale == plain


def test_new_float_values_take_back_what_was_rounded(session: Session) -> None:
    node = layer_of(session)
    weight = node.inputs[1]
    array = weight_of(session, node)
    rounded = Correction("rounding", "", weights={weight: array * 3}, biases={node.id: np.zeros(len(array))})
    merged = Corrected.of((rounded, Correction("equalise", "", same={weight: array * 2})), session.graph)
    assert not merged.weights and not merged.biases
    merged = Corrected.of((Correction("equalise", "", same={weight: array * 2}), rounded), session.graph)
    assert set(merged.weights) == {weight} and set(merged.biases) == {node.id}


def test_a_threshold_is_for_8_bits(session: Session) -> None:
    node = layer_of(session)
    value = session.graph.by_id[session.resolve().unit_of[node.id].last].outputs[0]
    wide = session.with_plan(session.plan.mark((node.id,), Precision.INT16))
    scale = wide.program().types[value].scale
    session.plan = session.plan.with_thresholds({value: 1.27})
    assert session.program().types[value].scale == pytest.approx(0.01)
    wide = wide.with_plan(wide.plan.with_thresholds({value: 1.27}))
    assert wide.program().types[value].scale == scale
    with pytest.raises(PlanError, match="threshold of value 'v' is -1"):
        session.set_plan(session.plan.with_thresholds({"v": -1.0}))


def test_a_twin_leaves_the_session_as_it_is(session: Session) -> None:
    program, plan = session.program(), session.plan
    twin = session.with_plan(plan.mark((layer_of(session).id,), Precision.FLOAT))
    assert twin.program() is not program
    assert session.plan is plan and session.program() is program
    assert twin.evaluator is session.evaluator


def test_an_unknown_correction_is_told(session: Session) -> None:
    with pytest.raises(PlanError, match="a correction 00000000 that is not here"):
        session.set_plan(replace(session.plan, corrections=("0" * 32,)))


def corrected(session: Session) -> Correction:
    node = layer_of(session)
    array = weight_of(session, node)
    measured = TensorRange(min=-1, max=1, percentile=1, mse=1, kl=1, mse16=1)
    return Correction(
        "rounding",
        "rounded by hand",
        weights={node.inputs[1]: array * 2},
        weight_scales={node.inputs[1]: np.full(len(array), 0.01)},
        biases={node.id: np.arange(len(array), dtype=np.float64)},
        ranges={"v": measured},
    )


def test_a_project_keeps_what_its_plan_applies(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "p.qscope"
    made = corrected(session)
    session.correct(made)
    value = layer_of(session).outputs[0]
    session.plan = session.plan.with_thresholds({value: 2.5})
    session.save(path)
    again = Session.open(path)
    assert again.plan == session.plan
    assert again.corrections.get(made.digest).digest == made.digest
    inputs = next(session.samples(1)).inputs
    expected, found = session.run(inputs), again.run(inputs)
    assert all((expected[name] == found[name]).all() for name in expected)

    again.plan = replace(again.plan, corrections=(), thresholds=MappingProxyType({}))
    again.save(path)
    assert not (tmp_path / "p.corrections").exists()
    assert "corrections" not in path.read_text()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is not there"),
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
    ],
)
def test_a_lost_or_damaged_correction_is_one_line(
    session: Session, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    made = corrected(session)
    session.correct(made)
    session.save(tmp_path / "p.qscope")
    damage(tmp_path / "p.corrections" / f"{made.digest}.npz")
    with pytest.raises(ProjectError, match=message):
        Session.open(tmp_path / "p.qscope")
