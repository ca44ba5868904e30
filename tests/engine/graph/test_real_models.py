"""Whole models against ONNX Runtime: the demo models always, the benchmark cache where it was built."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from engine.graph.float_run import run_float
from engine.graph.load import load_model

REPOSITORY = Path(__file__).resolve().parents[3]
DEMO = REPOSITORY / "resources" / "models"
CACHE = Path(os.environ.get("QUANTSCOPE_BENCH_CACHE", REPOSITORY / ".cache" / "models"))

BINDINGS: dict[str, dict[str, int]] = {
    "pp_ocr_cls": {"x.2": 48, "x.3": 192},
    "pp_ocrv4_det": {"p2o.DynamicDimension.1": 96, "p2o.DynamicDimension.2": 96},
    "pp_ocrv4_rec": {"p2o.DynamicDimension.1": 160, "x.2": 48},
    "pp_ocrv6_rec": {"DynamicDimension.1": 160},
}

NODES = {
    "swin_fmnist": 133, "mobile_fmnist": 77, "swin_t": 394, "efficientnet_lite0": 95, "efficientnet_lite0_batch": 95,
    "dinov2_vits_focus": 295, "minilm": 153, "squeezenet": 66,
}  # fmt: skip
"""Nodes after cleaning, inputs included: what a change to the import must not change by accident."""

MODELS = [
    "efficientnet_lite0_batch", "swin_t", "dinov2_vits_focus", "minilm", "basic_pitch", "magika",
    "pp_ocr_cls", "pp_ocrv4_det", "pp_ocrv4_rec", "pp_ocrv6_rec", "squeezenet",
]  # fmt: skip


@pytest.mark.parametrize("path", [DEMO / "swin_fmnist.onnx", DEMO / "mobile_fmnist.onnx"], ids=lambda p: p.stem)
def test_demo_models(path: Path) -> None:
    _compare(path, batch=3)


@pytest.mark.parametrize("name", MODELS)
def test_benchmark_models(name: str) -> None:
    path = CACHE / f"{name}.onnx"
    if not path.is_file():
        pytest.skip("not in the cache: python -m tests.benchmarks.models builds it")
    _compare(path, batch=1)


def _compare(path: Path, batch: int) -> None:
    graph = load_model(path, bindings=BINDINGS.get(path.stem), batch=batch)
    assert len(graph.nodes) == NODES.get(path.stem, len(graph.nodes))
    generator = np.random.default_rng(0)
    feeds = {
        name: generator.standard_normal(kind.shape).astype(kind.dtype)
        if kind.is_float
        else generator.integers(0, 100, kind.shape).astype(kind.dtype)
        for name, kind in ((name, graph.types[name]) for name in graph.inputs)
    }
    ours = run_float(graph, feeds)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for name, result in zip(graph.outputs, session.run(list(graph.outputs), feeds), strict=True):
        theirs = np.asarray(result)
        np.testing.assert_allclose(ours[name].numpy(), theirs, rtol=1e-3, atol=1e-5 * max(1.0, np.abs(theirs).max()))
