"""Exports against the session they came from: packages bit for bit, QDQ models by top-1 in ONNX Runtime.

    python -m tests.benchmarks.export [--samples N] [MODEL ...]     efficientnet_lite0, swin_fmnist, mobile_fmnist

``package`` runs ``quantscope run`` in a process of its own on samples of the evaluation split and counts bits that
differ from the session's outputs (target: none). ``qdq`` counts evaluation pictures on which ONNX Runtime, with and
without its graph optimisations, and the integer program choose the same class (target: 98 %). All models are int8,
calibrated with the defaults on the calibration split (64 pictures for Lite0).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engine.calibrate.data import EVALUATION_SPLIT, Dataset, open_data
from engine.calibrate.recipe import load_recipe
from engine.session import Session
from tests.benchmarks.models import ModelUnavailableError, find_shared, model_path

MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"
PACKAGE_SAMPLES = 32
LEVELS = {
    "optimised": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "plain": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Case:
    """A model with its data and recipe."""

    name: str
    model: Path
    data: Path
    recipe: Path
    calibration_samples: int


def _lite0() -> Case | None:
    shared = find_shared()
    if shared is None or not (shared / "data" / "imagenet_sample").is_dir():
        print("efficientnet_lite0: left out, there is no ../shared/data/imagenet_sample here")
        return None
    try:
        model = model_path("efficientnet_lite0", "efficientnet_lite0_batch.onnx")
        recipe = model_path("efficientnet_lite0", "efficientnet_lite0.toml")
    except ModelUnavailableError as error:
        print(f"efficientnet_lite0: left out, {error}")
        return None
    return Case("efficientnet_lite0", model, shared / "data" / "imagenet_sample", recipe, 64)


def _demo(name: str) -> Callable[[], Case]:
    samples, recipe = MODELS / "fmnist_samples.npz", MODELS / "fmnist.toml"
    return lambda: Case(name, MODELS / f"{name}.onnx", samples, recipe, 256)


CASES: Mapping[str, Callable[[], Case | None]] = {
    "swin_fmnist": _demo("swin_fmnist"),
    "mobile_fmnist": _demo("mobile_fmnist"),
    "efficientnet_lite0": _lite0,
}


def measure(case: Case, limit: int | None) -> None:
    """Print both rows of one model."""
    session = Session.open(case.model)
    session.calibrate(case.data, recipe=case.recipe, samples=case.calibration_samples)
    inputs = {name: session.graph.types[name] for name in session.graph.inputs}
    dataset = open_data(
        case.data,
        graph_inputs=inputs,
        recipe=load_recipe(case.recipe),
        samples=limit,
        split=None,
        default_split=EVALUATION_SPLIT,
    )
    expected = [session.run(sample) for sample in _samples(dataset)]
    with tempfile.TemporaryDirectory() as folder:
        _measure_package(case.name, session, dataset, expected, Path(folder))
        _measure_qdq(case.name, session, dataset, expected, Path(folder))


def _samples(dataset: Dataset) -> Iterator[Arrays]:
    for index in range(len(dataset)):
        yield dataset.read(index, index + 1)


def _measure_package(name: str, session: Session, dataset: Dataset, expected: list[Arrays], folder: Path) -> None:
    package, inputs, outputs = folder / "m.qspkg", folder / "x.npz", folder / "y.npz"
    summary = session.export(package)
    count = min(PACKAGE_SAMPLES, len(dataset)) if session.graph.symbolic_batch else 1
    chosen = [dataset.read(index, index + 1) for index in range(count)]
    fed = {key: np.concatenate([sample[key] for sample in chosen]) for key in session.graph.inputs}
    np.savez(inputs, allow_pickle=False, **fed)
    files = [str(package), "--inputs", str(inputs), "--outputs", str(outputs)]
    command = [sys.executable, "-m", "engine.cli.main", "run", *files]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with np.load(outputs) as found:
        wanted = {key: np.concatenate([result[key] for result in expected[:count]]) for key in session.graph.outputs}
        differing = sum(int((_bits(found[key]) != _bits(wanted[key])).sum()) for key in wanted)
    size = f"{summary.size_bytes / 1e6:.2f} MB"
    print(f"{name}: package of {size}, {count} samples, {differing} bytes differ (target: 0)")


def _bits(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)


def _measure_qdq(name: str, session: Session, dataset: Dataset, expected: list[Arrays], folder: Path) -> None:
    path = folder / "m.qdq.onnx"
    session.export(path, "qdq")
    output = session.graph.outputs[0]
    wanted = np.concatenate([result[output] for result in expected]).astype(np.float64)
    for level, value in LEVELS.items():
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = value
        runtime = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found = np.concatenate([np.asarray(runtime.run([output], dict(s))[0]) for s in _samples(dataset)])
        agreed = float((found.argmax(-1) == wanted.argmax(-1)).mean())
        ratio = 10 * np.log10((wanted**2).sum() / max(float(((wanted - found) ** 2).sum()), 1e-30))
        print(
            f"{name}: QDQ in ONNX Runtime, {level}: top-1 agreement {agreed:.2%} on {len(dataset)} samples "
            f"(target: 98 %), outputs {ratio:.1f} dB apart from the integer program's"
        )


def main() -> None:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", choices=[*CASES, []], help="all by default")
    parser.add_argument("--samples", type=int, default=None, metavar="N", help="at most so many pictures")
    arguments = parser.parse_args()
    for name in arguments.models or CASES:
        case = CASES[name]()
        if case is not None:
            measure(case, arguments.samples)


if __name__ == "__main__":
    main()
