"""``check`` says what would run on the chip in place of what does not, and what that does to the latency."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.cli.main import main
from engine.session import Session


def wide_layer(path: Path, features: int) -> None:
    """x [1, features] -> Gemm -> y [1, 10]."""
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, features])]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])]
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(0, 0.1, (features, 10)).astype(np.float32), "w")
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="wide")]
    graph = helper.make_graph(nodes, "g", values, results, [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_a_rewrite_is_named_with_its_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, record = tmp_path / "m.onnx", tmp_path / "r.json"
    wide_layer(model, 18000)
    monkeypatch.setattr(sys, "argv", ["quantscope", "check", str(model), "--json", str(record)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    (found,) = json.loads(record.read_text())["rewrites"]
    assert (found["id"], found["rule"], found["measured"], found["limit"]) == ("wide", "linear_features", 18000, 8192)
    assert found["checked"] and found["change_us"] < 0
    text = " ".join(capsys.readouterr().out.split())
    assert "the layer's features are 18,000; journey5 allows at most 8,192" in text
    assert "split it by features" in text and "(3 parts)" in text
    latency_us = 1e3 * Session.open(model).estimate().latency_ms
    assert f"{found['change_us']:+,.1f} us of {latency_us:,.1f}" in text
