"""Models with control flow, sequences and sizes that depend on data, from calibration to every export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from engine.errors import GraphError
from engine.export.run import load_package
from engine.program.executor import run_program
from engine.session import Session
from tests.engine.graph.onnx_models import Array, build, node

FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
SHAPE = [1, 8, 8, 8]
_GENERATOR = np.random.default_rng(5)


def floats(*shape: int) -> Array:
    return _GENERATOR.normal(size=shape).astype(np.float32)


def flow() -> onnx.ModelProto:
    """Convolutions around an If and a Loop that read activations, and a sequence at a computed place."""
    info = helper.make_tensor_value_info

    def branch(op_type: str) -> onnx.GraphProto:
        return helper.make_graph([node(op_type, ["r", "half"], ["t"])], "branch", [], [info("t", FLOAT, SHAPE)])

    steps = [node("Identity", ["go"], ["goes"]), node("Mul", ["s", "k"], ["a"]), node("Tanh", ["a"], ["n"])]
    begin = [info("i", INT64, []), info("go", BOOL, []), info("s", FLOAT, SHAPE)]
    body = helper.make_graph(steps, "body", begin, [info("goes", BOOL, []), info("n", FLOAT, SHAPE)])
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), node("Relu", ["c"], ["r"]), node("Sigmoid", ["c"], ["k"]),
        node("ReduceMax", ["r"], ["largest"], keepdims=0), node("Greater", ["largest", "two"], ["big"]),
        node("If", ["big"], ["u"], then_branch=branch("Mul"), else_branch=branch("Add")),
        node("Loop", ["three", "", "u"], ["last"], body=body), node("Conv", ["last", "w2"], ["v"]),
        node("ReduceMean", ["v"], ["means"], axes=[0, 2, 3], keepdims=0), node("ArgMax", ["means"], ["at"], keepdims=0),
        node("SplitToSequence", ["v"], ["pieces"], axis=1), node("SequenceAt", ["pieces", "at"], ["p"]),
        node("Relu", ["p"], ["y"]),
    ]  # fmt: skip
    constants = {
        "w": floats(8, 3, 3, 3), "w2": floats(4, 8, 1, 1), "two": np.array(2, np.float32),
        "half": np.array(0.5, np.float32), "three": np.array(3),
    }  # fmt: skip
    return build(nodes, {"x": [1, 3, 8, 8]}, ["y"], constants)


def detection() -> onnx.ModelProto:
    """Boxes and scores, and the boxes that non-maximum suppression leaves: as many as the data say."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), node("Relu", ["c"], ["r"]),
        node("Conv", ["r", "wb"], ["b"]), node("Reshape", ["b", "four"], ["b4"]),
        node("Transpose", ["b4"], ["boxes"], perm=[0, 2, 1]),
        node("Conv", ["r", "ws"], ["s"]), node("Reshape", ["s", "one"], ["s1"]), node("Sigmoid", ["s1"], ["scores"]),
        node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["kept"]),
        node("Gather", ["kept", "two"], ["index"], axis=1), node("Squeeze", ["boxes", "first"], ["flat"]),
        node("Gather", ["flat", "index"], ["picked"], axis=0), node("Mul", ["picked", "half"], ["y"]),
    ]  # fmt: skip
    constants = {
        "w": floats(8, 3, 3, 3), "wb": floats(4, 8, 1, 1), "ws": floats(1, 8, 1, 1), "four": np.array([1, 4, 64]),
        "one": np.array([1, 1, 64]), "most": np.array([50]), "overlap": np.array([0.5], np.float32),
        "least": np.array([0.9], np.float32), "two": np.array(2), "first": np.array([0]),
        "half": np.array(0.5, np.float32),
    }  # fmt: skip
    return build(nodes, {"x": [1, 3, 8, 8]}, ["y"], constants)


def calibrated(model: onnx.ModelProto, folder: Path) -> tuple[Session, Array]:
    onnx.save(model, folder / "m.onnx")
    x = floats(8, 3, 8, 8)
    np.savez(folder / "x.npz", x=x)
    session = Session.open(folder / "m.onnx", target="generic-int8")
    session.calibrate(folder / "x.npz", samples=8)
    return session, x


def rows(session: Session, x: Array) -> list[Array]:
    """The program's output y for each sample."""
    program = session.program()
    return [run_program(program, {"x": torch.from_numpy(sample[None])})["y"].numpy() for sample in x]


@pytest.mark.parametrize("make", [flow, detection], ids=lambda make: make.__name__)
def test_calibrates_analyses_and_exports(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    session, x = calibrated(make(), tmp_path)
    errors = session.analyze(4)
    assert errors.samples == 4
    assert all(np.isfinite(error.mse) for error in errors.nodes)
    ours = rows(session, x)
    session.export(tmp_path / "m.qpkg", "package")
    package = load_package(tmp_path / "m.qpkg")
    for sample, wanted in zip(x, ours, strict=True):
        np.testing.assert_array_equal(package.run({"x": sample[None]})["y"], wanted)
    for form in ("qdq", "integer-onnx"):
        session.export(tmp_path / f"m.{form}.onnx", form)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        runtime = onnxruntime.InferenceSession(tmp_path / f"m.{form}.onnx", options)
        found = [np.asarray(runtime.run(["y"], {"x": sample[None]})[0]) for sample in x]
        same = sum(a.shape == b.shape and np.allclose(a, b, atol=0.2) for a, b in zip(found, ours, strict=True))
        assert same >= 6  # a last bit may tip a comparison


def test_sizes_that_depend_on_data_vary(tmp_path: Path) -> None:
    session, x = calibrated(detection(), tmp_path)
    assert len({len(y) for y in rows(session, x)}) > 1
    assert session.graph.open_sizes["y"] == (None, 4)
    assert session.graph.dimensions("y") == ("y.0", 4)


def test_a_model_that_cannot_run_is_not_calibrated(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Fancy", ["c"], ["y"], domain="acme")]
    model = build(nodes, {"x": [1, 3, 8, 8]}, ["y"], {"w": floats(4, 3, 1, 1)}, domains=["acme"])
    with pytest.raises(GraphError, match=r"node '/net/y': Fancy cannot run: domain 'acme' has no operator Fancy"):
        calibrated(model, tmp_path)
    session = Session.open(tmp_path / "m.onnx")
    (refusal,) = session.refusals()
    assert refusal.id == "/net/y"
    assert refusal.reason.startswith("cannot run: ")
    assert session.estimate().latency_ms > 0
