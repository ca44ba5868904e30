"""Models fed whole numbers of any width: pixels as they come from a camera, tokens, samples of sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.export.run import load_package
from engine.session import Session


def _model(path: Path, dtype: str) -> None:
    """A convolution of whole numbers cast to float."""
    weight = np.random.default_rng(0).normal(0, 0.01, (4, 3, 3, 3)).astype(np.float32)
    kind = int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["real", "w"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", kind, [1, 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])]
    graph = helper.make_graph(nodes, "whole", inputs, outputs, [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_inputs_of_whole_numbers_are_the_model_s_own(dtype: str, tmp_path: Path) -> None:
    """The least number of the type too: the input is not quantised, what is made of it is."""
    _model(tmp_path / "m.onnx", dtype)
    least = np.iinfo(dtype).min if dtype in ("int8", "uint8", "int16") else -300
    samples = np.random.default_rng(1).integers(least, least + 256, (8, 3, 8, 8)).astype(dtype)
    samples[0, 0] = least
    np.savez(tmp_path / "x.npz", x=samples)
    session = Session.open(tmp_path / "m.onnx", target="generic-int8")
    session.calibrate(tmp_path / "x.npz")
    inputs = {"x": samples[:1]}
    found, wanted = (np.asarray(run(inputs)["y"], np.float32) for run in (session.run, session.run_float))
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()

    session.export(tmp_path / "m.qspkg")
    np.testing.assert_array_equal(load_package(tmp_path / "m.qspkg").run(inputs)["y"], found)
    session.export(tmp_path / "m.integer.onnx", "integer-onnx")
    runtime = onnxruntime.InferenceSession(tmp_path / "m.integer.onnx")
    np.testing.assert_array_equal(runtime.run(None, inputs)[0], found)
