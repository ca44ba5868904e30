"""A small calibrated session with something to weigh: residual convolutions, a table, a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.session import Session
from engine.tune.space import Space, space_of

SAMPLES = 12


@pytest.fixture(scope="session")
def small_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of a network with 8 units and labelled samples: ``labelled.npz`` lies beside it."""
    folder = tmp_path_factory.mktemp("small")
    onnx.save(_model(), folder / "m.onnx")
    generator = np.random.default_rng(5)
    pictures = generator.normal(0, 1, (SAMPLES, 8, 16, 16)).astype(np.float32)
    np.savez(folder / "plain.npz", x=pictures)
    np.savez(folder / "labelled.npz", x=pictures, labels=generator.integers(0, 4, SAMPLES))
    session = Session.open(folder / "m.onnx", target="generic-int8")  # where int16 costs time everywhere
    session.calibrate(folder / "plain.npz")
    return session.save(folder / "small.qscope")


@pytest.fixture
def session(small_project: Path) -> Session:
    return Session.open(small_project)


@pytest.fixture
def space(session: Session) -> Space:
    return space_of(session)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "p.tune.jsonl"


def _model() -> onnx.ModelProto:
    generator = np.random.default_rng(3)

    def weight(name: str, shape: Sequence[int], spread: float) -> onnx.TensorProto:
        channels = np.exp(generator.normal(0, spread, (shape[0], *(1,) * (len(shape) - 1))))
        values = generator.normal(0, 1, shape) * channels
        return numpy_helper.from_array((values / np.sqrt(np.prod(shape[1:]))).astype(np.float32), name)

    constants = [
        weight("w1", (32, 8, 3, 3), 1.0),
        weight("w2", (32, 32, 3, 3), 0.3),
        weight("w3", (64, 32, 1, 1), 0.0),
        weight("w4", (4, 64), 0.0),
        numpy_helper.from_array(np.array([0, 64], np.int64), "shape"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "c"], ["d"], name="add"),
        helper.make_node("Conv", ["d", "w3"], ["e"], name="third"),
        helper.make_node("Sigmoid", ["e"], ["f"], name="table"),
        helper.make_node("GlobalAveragePool", ["f"], ["g"], name="pool"),
        helper.make_node("Reshape", ["g", "shape"], ["h"], name="flat"),
        helper.make_node("Gemm", ["h", "w4"], ["y"], name="head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        constants,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 9
    return proto
