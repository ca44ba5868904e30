"""The demo models whole: every value of the program in ONNX Runtime."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engine.export.integer_onnx import integer_model, write_integer_onnx
from engine.session import Session
from engine.verify.values import from_float
from tests.engine.export.demos import Marks, expected_outputs, opened, stacked
from tests.engine.export.integer_onnx.runtime import LEVELS, computed, mismatches, runtime

PLANS: dict[str, tuple[str, Marks]] = {
    "mobile_int8": ("mobile_fmnist", ()),
    "mobile_mixed": ("mobile_fmnist", (("se/", "int16"), ("blocks.3", "int16"))),
    "swin_int8": ("swin_fmnist", ()),
    "swin_mixed": ("swin_fmnist", (("layers.0", "int16"), ("layers.1/blocks.1/mlp", "int16"))),
}
SAMPLES = 8


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("plan", PLANS)
def test_every_value_has_the_program_s_bits(plan: str, level: str) -> None:
    session = opened(*PLANS[plan])
    program, model = session.program(), integer_model(session, intermediates=True)
    assert len(model.proto.graph.output) == len(program.outputs) + sum(len(i.outputs) for i in program.instructions)
    runner = runtime(model.proto, level)
    for sample in session.samples(SAMPLES):
        assert {name: n for name, n in mismatches(model, runner, program, sample.inputs).items() if n} == {}


def test_only_what_follows_float_nodes_may_differ() -> None:
    session = opened("mobile_fmnist", (("blocks.2", "float"),))
    program, model = session.program(), integer_model(session, intermediates=True)
    floats = from_float(program)
    assert floats and "stay in float" in model.notes[1]
    (sample,) = session.samples(1)
    for level in LEVELS:
        counts = mismatches(model, runtime(model.proto, level), program, sample.inputs)
        assert {name for name, count in counts.items() if count} <= floats


def exported(session: Session, path: Path) -> onnx.ModelProto:
    session.export(path, "integer-onnx")
    return onnx.load(path)


@pytest.mark.parametrize("name", ["mobile_fmnist", "swin_fmnist"])
def test_the_file_computes_the_session_s_outputs_with_any_batch(name: str, tmp_path: Path) -> None:
    session = opened(name)
    session.source_graph = replace(session.graph, symbolic_batch=True)
    model = exported(session, tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}
    runner = runtime(model, "optimised")
    assert runner.get_inputs()[0].shape == ["batch", 1, 28, 28]
    found = computed(runner, stacked(session, SAMPLES))
    assert list(found) == ["logits"]
    assert np.array_equal(found["logits"], expected_outputs(session, SAMPLES)["logits"])


def test_fixed_batch_stays_fixed() -> None:
    session = opened("mobile_fmnist")
    session.source_graph = replace(session.graph, symbolic_batch=False)
    runner = runtime(integer_model(session).proto)
    assert runner.get_inputs()[0].shape == [1, 1, 28, 28]


def test_weights_are_written_in_8_bits() -> None:
    session = opened("mobile_fmnist")
    stream = io.BytesIO()
    notes = write_integer_onnx(session, stream)
    assert "integer instructions" in notes[0]
    assert len(stream.getvalue()) < 600_000


@pytest.mark.parametrize("name", ["mobile_fmnist", "swin_fmnist"])
def test_onnx_s_own_evaluator_gives_the_same_bits(name: str) -> None:
    session = opened(name)
    evaluator = ReferenceEvaluator(integer_model(session).proto)
    (sample,) = session.samples(1)
    (found,) = evaluator.run(None, dict(sample.inputs))
    assert np.array_equal(found, session.run(sample.inputs)["logits"])


def test_batch_stays_fixed_where_it_is_summed_over(tmp_path: Path) -> None:
    """The divisor of a mean is a constant of the program."""
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", ["b", 8]), ("y", [1, 8])))
    axes = numpy_helper.from_array(np.array([0]), "axes")
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("ReduceMean", ["r", "axes"], ["y"])]
    model = helper.make_model(
        helper.make_graph(nodes, "m", [x], [y], [axes]), opset_imports=[helper.make_opsetid("", 20)]
    )
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32))
    session = Session.open(tmp_path / "m.onnx")
    session.calibrate(tmp_path / "x.npz")
    exported = integer_model(session)
    assert runtime(exported.proto).get_inputs()[0].shape == [1, 8]
    assert exported.notes[-1].startswith("the batch is fixed")
