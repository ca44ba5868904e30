"""What a quick quantisation costs beside ONNX Runtime's: calibrate on 64 photographs and make the integers.

    python -m tests.benchmarks.quantise [--model efficientnet_lite0] [--threads 1] [--rounds 3]

Each run is a process of its own on as many processors as threads, ours and theirs in turn; a row has the medians. The
clock starts once the libraries are loaded: each party has then quantised a model of one convolution.

ours    ``Session.open``, ``calibrate(quick=True)``, which is what preset ``fast`` does, ``program()``
theirs  ``onnxruntime.quantization.quantize_static``: MinMax, QDQ, int8 symmetric, weights per channel, fed the
        same arrays, decoded by the same code while the clock runs, in batches of 1 and of 16 (the file's batch is
        symbolic; the faster one counts), into a file

Its session is given as many threads as ours has. By itself it starts one for each core of the machine and binds it to
that core, outside of the processors that the process was given.

peak    largest resident memory beyond that of the loaded libraries, the model included
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.benchmarks.models import find_shared, model_path

SAMPLES = 64
RUN_LIMIT_S = 300.0
SMALL_INPUT = np.linspace(-1.0, 1.0, 192, dtype=np.float32).reshape(1, 3, 8, 8)


def ours(model: Path, pictures: Path) -> Callable[[], object]:
    """Our part, ready to run."""
    from engine.session import Session

    def quantise(model: Path, data: Path, **options: Any) -> None:
        session = Session.open(model)
        session.calibrate(data, quick=True, **options)
        session.program()

    with tempfile.TemporaryDirectory() as folder:
        small = one_convolution(Path(folder))
        data = Path(folder) / "data.npz"
        np.savez(data, x=SMALL_INPUT)
        quantise(small, data)
    return lambda: quantise(model, pictures, recipe=_recipe(model), split="calibration", samples=SAMPLES)


def theirs(model: Path, pictures: Path, batch: int, threads: int) -> Callable[[], object]:
    """ONNX Runtime's part, ready to run."""
    import onnxruntime
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    from engine.calibrate.data import open_data
    from engine.calibrate.recipe import load_recipe
    from engine.graph.graph import TensorType

    onnxruntime.set_default_logger_severity(4)
    recipe = load_recipe(_recipe(model))
    name = onnx.load(model).graph.input[0].name
    kind = TensorType((1, 3, *_size(recipe.size)), "float32")
    dataset = open_data(pictures, graph_inputs={name: kind}, recipe=recipe, split="calibration", samples=SAMPLES)

    class Options(onnxruntime.SessionOptions):
        """What the calibrator, which takes no options, gets for its session."""

        def __init__(self) -> None:
            super().__init__()
            self.intra_op_num_threads = threads

    onnxruntime.SessionOptions = Options

    class Reader(CalibrationDataReader):
        """Hands out the batches."""

        def __init__(self, batches: Iterator[Mapping[str, object]]) -> None:
            self._batches = batches

        def get_next(self) -> dict[str, object] | None:  # type: ignore[override]
            found = next(self._batches, None)
            return None if found is None else dict(found)

    def quantise(model: Path, batches: Iterator[Mapping[str, object]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            quantize_static(
                model,
                Path(folder) / "quantised.onnx",
                Reader(batches),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
            )

    with tempfile.TemporaryDirectory() as folder:
        quantise(one_convolution(Path(folder)), iter([{"x": SMALL_INPUT}]))
    return lambda: quantise(model, dataset.batches(batch))


def one_convolution(folder: Path) -> Path:
    """A model that takes no time, which each party quantises first: ``x``, a convolution, a Relu, ``y``."""
    shape = list(SMALL_INPUT.shape)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    weights = numpy_helper.from_array(np.full((3, 3, 3, 3), 0.1, np.float32), "w")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "small", inputs, outputs, [weights])
    path = folder / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def _size(size: object) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)  # type: ignore[arg-type, return-value]


def _recipe(model: Path) -> Path:
    return model.with_name(model.stem.removesuffix("_batch")).with_suffix(".toml")


def _measured(run: Callable[[], object]) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    return {"wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": (after.ru_maxrss - before.ru_maxrss) / 1024}


def _in_process(who: str, model: Path, threads: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.quantise", "--run", who, "--path", str(model)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    found = subprocess.run(
        [*command, "--threads", str(threads)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=True,
    )
    return json.loads(found.stdout.splitlines()[-1])


def compare(model: Path, threads: int, rounds: int) -> None:
    """Print a row for each party, and how many times faster ours is."""
    parties = ("ours", "theirs-1", "theirs-16")
    runs: dict[str, list[dict[str, float]]] = {party: [] for party in parties}
    for _ in range(rounds):
        for party in parties:
            runs[party].append(_in_process(party, model, threads))
    medians = {
        party: {key: statistics.median(run[key] for run in found) for key in found[0]} for party, found in runs.items()
    }
    for party, found in medians.items():
        print(f"{party:10} {found['wall_s']:6.2f} s  {found['cpu_s']:6.2f} CPU s  peak {found['peak_mb']:6.0f} MB")
    theirs_too = [medians["theirs-1"], medians["theirs-16"]]
    wall, cpu = (min(one[key] for one in theirs_too) / medians["ours"][key] for key in ("wall_s", "cpu_s"))
    print(f"{model.stem}, {threads} threads: {wall:.2f} times as fast, {cpu:.2f} in CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    shared = find_shared()
    if shared is None:
        sys.exit("../shared is absent: there are no photographs")
    if options.run is None:
        path = model_path(options.model)
        compare(path.with_name(f"{path.stem}_batch.onnx"), options.threads, options.rounds)
        return
    os.sched_setaffinity(0, set(range(options.threads)))
    pictures = shared / "data" / "imagenet_sample"
    who, _, batch = options.run.partition("-")
    run = ours(options.path, pictures) if who == "ours" else theirs(options.path, pictures, int(batch), options.threads)
    print(json.dumps(_measured(run)))


if __name__ == "__main__":
    main()
