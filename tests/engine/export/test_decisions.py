"""A model of comparisons, logic, selections and reductions: every form of its program, and who computes it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from engine.export.integer_onnx import integer_model
from engine.export.run import load_package
from engine.session import Session
from engine.verify.tosa import compare_tosa
from tests.engine.export.demos import Marks, same_bits
from tests.engine.export.integer_onnx.runtime import mismatches, runtime
from tests.engine.graph.onnx_models import build, node
from tests.engine.verify.parties import needs_tosa

SAMPLES = 3
PLANS: dict[str, Marks] = {
    "int8": (),
    "int16": (("*", "int16"),),
    "mixed": (("/net/s", "float"), ("/net/w", "int16"), ("/net/l2", "float")),
}
OUTPUTS = (
    "z", "w", "hot", "logs", "l1", "l2", "squares", "spread", "place", "last", "kept", "angle", "raised", "chance",
    "whole",
)  # fmt: skip


def model() -> onnx.ModelProto:
    """Every operator of the kind, as frameworks write them: a peak mask, a one-hot encoding, a guarded division."""
    rng = np.random.default_rng(3)
    nodes = [
        node("ReduceMax", ["x"], ["m"], axes=[1]),
        node("Equal", ["x", "m"], ["peak"]),
        node("Cast", ["peak"], ["mask"], to=1),
        node("Mul", ["mask", "x"], ["z"]),
        node("Sigmoid", ["x"], ["s"]),
        node("GreaterOrEqual", ["s", "half"], ["above"]),
        node("Less", ["s", "x"], ["under"]),
        node("Not", ["peak"], ["slope"]),
        node("And", ["above", "slope"], ["inner"]),
        node("Or", ["inner", "under"], ["any"]),
        node("Xor", ["any", "fixed"], ["chosen"]),
        node("Transpose", ["chosen"], ["turned"], perm=[0, 1, 3, 2]),
        node("Where", ["turned", "s", "k"], ["w"]),
        node("Where", ["chosen", "w", "x"], ["v"]),
        node("IsNaN", ["v"], ["wrong"]),
        node("Where", ["wrong", "half", "v"], ["kept"]),
        node("Reshape", ["ids", "column"], ["id"]),
        node("Equal", ["id", "all"], ["is"]),
        node("Cast", ["is"], ["one"], to=1),
        node("MatMul", ["one", "table"], ["hot"]),
        node("LogSoftmax", ["x"], ["logs"], axis=1),
        node("ReduceL1", ["x"], ["l1"], axes=[2, 3], keepdims=0),
        node("ReduceL2", ["v"], ["l2"], axes=[1]),
        node("ReduceSumSquare", ["s"], ["squares"], axes=[3]),
        node("ReduceLogSumExp", ["x"], ["spread"], axes=[1, 2], keepdims=0),
        node("ArgMax", ["x"], ["place"], axis=1),
        node("ArgMin", ["s"], ["last"], axis=3, keepdims=0, select_last_index=1),
        node("ReduceL1", ["s"], ["whole"], keepdims=0),
        node("Atan", ["x"], ["angle"]),
        node("Pow", ["s", "s"], ["raised"]),
        node("ReduceProd", ["s"], ["chance"], axes=[3]),
    ]
    inputs = {"x": np.zeros((1, 4, 6, 6), np.float32), "ids": np.zeros((1, 5), np.int32)}
    constants = {
        "half": np.array(0.5, np.float32),
        "k": np.array(-0.25, np.float32),
        "fixed": np.tri(6, dtype=np.bool_),
        "column": np.array([1, 5, 1]),
        "all": np.arange(9, dtype=np.int32)[None, None],
        "table": rng.normal(size=(9, 7)).astype(np.float32),
    }
    return build(nodes, inputs, OUTPUTS, constants)


@cache
def calibrated(folder: Path) -> Session:
    rng = np.random.default_rng(5)
    onnx.save(model(), folder / "m.onnx")
    x = rng.normal(0, 2, (SAMPLES, 4, 6, 6)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x, ids=rng.integers(0, 9, (SAMPLES, 5)).astype(np.int32))
    session = Session.open(folder / "m.onnx")
    session.calibrate(folder / "samples.npz", samples=SAMPLES)
    return session


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decisions")


def planned(folder: Path, marks: Marks) -> Session:
    base = calibrated(folder)
    session = Session.open(folder / "m.onnx")
    session.calibration, session.data = base.calibration, base.data
    for pattern, precision in marks:
        session.mark(pattern, precision)
    return session


def test_nothing_stays_on_the_cpu(folder: Path) -> None:
    session = planned(folder, ())
    assert session.cpu_nodes() == ()
    assert [refusal.id for refusal in session.refusals()] == ["input/ids"]


def test_outputs_are_those_of_the_float_model(folder: Path) -> None:
    """Of int16; decisions about numbers that lie on their limits may fall either way."""
    session = planned(folder, PLANS["int16"])
    (sample,) = (dict(item.inputs) for item in session.samples(1))
    wanted, found = (
        {name: np.asarray(array, np.float64) for name, array in run(sample).items()}
        for run in (session.run_float, session.run)
    )
    for name in ("z", "hot", "logs", "l1", "squares", "spread", "angle"):
        error = np.abs(found[name] - wanted[name]).max()
        bound = 8e-3 if name == "hot" else 2e-3  # weights have 8 bits
        assert error < bound * np.abs(wanted[name]).max(), name
    for name in ("w", "kept", "place", "last"):
        assert (np.abs(found[name] - wanted[name]) > 1e-3).mean() < 0.05, name


@pytest.mark.parametrize("plan", PLANS)
def test_a_package_computes_the_same_bits(folder: Path, plan: str, tmp_path: Path) -> None:
    session = planned(folder, PLANS[plan])
    session.export(tmp_path / "m.qspkg", "package")
    package = load_package(tmp_path / "m.qspkg")
    for item in session.samples(SAMPLES):
        assert same_bits(package.run(dict(item.inputs)), session.run(dict(item.inputs)))


@pytest.mark.parametrize("plan", ["int8", "int16"])
def test_onnx_runtime_computes_the_same_bits(folder: Path, plan: str) -> None:
    session = planned(folder, PLANS[plan])
    program, written = session.program(), integer_model(session, intermediates=True)
    runner = runtime(written.proto)
    for sample in session.samples(SAMPLES):
        assert not any(mismatches(written, runner, program, sample.inputs).values())


@needs_tosa
@pytest.mark.parametrize("plan", PLANS)
def test_the_tosa_reference_model_computes_the_same_bits(folder: Path, plan: str) -> None:
    session = planned(folder, PLANS[plan])
    tally = compare_tosa(session, [next(session.samples(1)).inputs]).tally
    assert not tally.differing, tally.first()


@pytest.mark.parametrize("plan", PLANS)
def test_qdq_in_onnx_runtime_is_close(folder: Path, plan: str, tmp_path: Path) -> None:
    """Truth values are those of the program but where rounding decides."""
    session = planned(folder, PLANS[plan])
    session.export(tmp_path / "m.onnx", "qdq")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runner = onnxruntime.InferenceSession(tmp_path / "m.onnx", options)
    wanted = [session.run(dict(item.inputs)) for item in session.samples(SAMPLES)]
    results = [runner.run(list(OUTPUTS), dict(item.inputs)) for item in session.samples(SAMPLES)]
    for index, name in enumerate(OUTPUTS):
        found = np.stack([np.asarray(result[index], np.float64) for result in results])
        exact = np.stack([np.asarray(result[name], np.float64) for result in wanted])
        assert found.shape == exact.shape
        off = np.abs(found - exact) > 0.02 * np.abs(exact).max()
        assert off.mean() < 0.05, name


def test_errors_and_times_are_told(folder: Path) -> None:
    session = planned(folder, ())
    errors = session.analyze(1)
    assert all(node.introduced_db.mean is None or node.introduced_db.mean > 15.0 for node in errors.nodes)
    assert session.estimate().latency_ms > 0.0
