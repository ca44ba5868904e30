"""What a quick quantisation costs beside ONNX Runtime's: calibrate on 64 photographs and make the integers.

    python -m tests.benchmarks.quantise [--model efficientnet_lite0] [--threads 1] [--rounds 3]

Each run is a process of its own on as many processors as threads, ours and theirs in turn; a row has the medians. The
clock starts once the libraries are loaded and, of ours, compiled kernels read.

ours    ``Session.open``, ``calibrate(quick=True)``, which is what preset ``fast`` does, ``program()``
theirs  ``onnxruntime.quantization.quantize_static``: MinMax, QDQ, int8 symmetric, weights per channel, fed the
        same arrays in batches of 1 and of 16 (the file's batch is symbolic; the faster one counts), into a file

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
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.models import find_shared, model_path

SAMPLES = 64
RUN_LIMIT_S = 300.0


def ours(model: Path, pictures: Path) -> Callable[[], object]:
    """Our part, ready to run."""
    import engine.warm  # noqa: F401  compiled kernels are read here, not while the clock runs
    from engine.session import Session

    def run() -> None:
        session = Session.open(model)
        session.calibrate(pictures, recipe=_recipe(model), split="calibration", samples=SAMPLES, quick=True)
        session.program()

    return run


def theirs(model: Path, pictures: Path, batch: int) -> Callable[[], object]:
    """ONNX Runtime's part, ready to run."""
    import onnx
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

    class Reader(CalibrationDataReader):
        """Hands out the batches."""

        def __init__(self) -> None:
            self._batches = dataset.batches(batch)

        def get_next(self) -> dict[str, object] | None:  # type: ignore[override]
            found = next(self._batches, None)
            return None if found is None else dict(found)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            quantize_static(
                model,
                Path(folder) / "quantised.onnx",
                Reader(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
            )

    return run


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
    best = min(medians["theirs-1"]["wall_s"], medians["theirs-16"]["wall_s"])
    print(f"{model.stem}, {threads} threads: {best / medians['ours']['wall_s']:.2f} times as fast")


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
    run = ours(options.path, pictures) if who == "ours" else theirs(options.path, pictures, int(batch))
    print(json.dumps(_measured(run)))


if __name__ == "__main__":
    main()
