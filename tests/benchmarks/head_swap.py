"""A classifier of 1000 classes in place of one of 101 on public backbones, against what it costs on an STM32N6.

    python -m tests.benchmarks.head_swap

Measured by the chip's vendor in its model zoo, on three backbones: 3.02, 3.02 and 3.00 ms for 1125 KiB of weights. The
bandwidth of the chip's description is that of the first measurement. The backbones here are those of
``tests/benchmarks/silicon.py`` that have as many features, 1280: which ones the vendor took does not matter to a chip
that waits for its memory.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import onnx
from onnx import numpy_helper

from engine.clock.estimate import Estimator
from engine.graph.load import load_model
from engine.plan.compile_options import CompileOptions, Level
from engine.plan.resolve import resolve
from engine.plan.types import Plan
from engine.program.lowering.assemble import has_lowering
from tests.engine.clock.test_head_swap import MEASURED_MS, chip

from .models import find_shared
from .silicon import export_models

BACKBONES = ("Mobilenetv3_large_100", "Mobilenetv4_conv_small", "RepGhostNet_100")
CLASSES = (101, 1000)


def with_classes(model: Path, classes: int, folder: Path) -> Path:
    """The model with the first ``classes`` rows of its classifier."""
    proto = onnx.load(model)
    head = next(node for node in reversed(proto.graph.node) if node.op_type == "Gemm")
    for tensor in proto.graph.initializer:
        if tensor.name in head.input:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[:classes].copy(), tensor.name))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes
    del proto.graph.value_info[:]
    path = folder / f"{model.stem}_{classes}.onnx"
    onnx.save(proto, path)
    return path


def latency_ms(model: Path, level: Level) -> float:
    graph, target = load_model(model), chip()
    resolution = resolve(graph, Plan(), target, has_lowering)
    return Estimator(graph, target).estimate(resolution, CompileOptions(level=level)).latency_us / 1e3


def main() -> int:
    shared = find_shared()
    if shared is None:
        print("the models' exporter, ../shared/silicon, is not there")
        return 1
    models = export_models(shared, BACKBONES)
    columns = "".join(f"  {level.value} added ms" for level in Level)
    print(f"{'backbone':24s}{columns}   whole ms   measured: {', '.join(f'{ms:.2f}' for ms in MEASURED_MS)}")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name in BACKBONES:
            few, many = (with_classes(models / f"{name}.onnx", classes, Path(folder)) for classes in CLASSES)
            added = [latency_ms(many, level) - latency_ms(few, level) for level in Level]
            worst = max(worst, *(abs(ms / other - 1.0) for ms in added for other in MEASURED_MS))
            figures = "".join(f"  {ms:11.3f}" for ms in added)
            print(f"{name:24s}{figures}  {latency_ms(many, Level.O2):9.2f}")
    print(f"furthest from any of the measurements: {worst:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
