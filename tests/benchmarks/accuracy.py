"""Top-1 of the float model and of the integer program, everything int8 by default.

    python -m tests.benchmarks.accuracy [swin_fmnist] [mobile_fmnist] [efficientnet_lite0] [--method mse]

``swin_fmnist`` and ``mobile_fmnist``: 256 shipped calibration pictures, all 10,000 test pictures of Fashion-MNIST (from
Debian's dataset-fashion-mnist). ``efficientnet_lite0``: 64 calibration and 270 evaluation pictures of
``../shared/data/imagenet_sample``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.reports import Evaluation
from engine.session import Session
from resources.models.train.fmnist import DEFAULT_DATA_DIRECTORY, load
from resources.models.train.testset import write_samples
from tests.benchmarks.models import ModelUnavailableError, find_shared, model_path

MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"


def demo(name: str, method: str) -> Evaluation:
    """A demo model on the whole test set."""
    if not DEFAULT_DATA_DIRECTORY.is_dir():
        raise ModelUnavailableError(f"{DEFAULT_DATA_DIRECTORY} is absent: apt-get install dataset-fashion-mnist")
    session = Session.open(MODELS / f"{name}.onnx")
    session.set_plan(replace(session.plan, default_method=method))
    session.calibrate(MODELS / "fmnist_samples.npz", recipe=MODELS / "fmnist.toml")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "test.npz"
        test = load(DEFAULT_DATA_DIRECTORY, "t10k")
        write_samples(data, test.take(np.zeros(0, np.int64)), test)
        return session.evaluate(data)


def lite0(method: str) -> Evaluation:
    """EfficientNet-Lite0 on the shared photographs."""
    shared = find_shared()
    if shared is None:
        raise ModelUnavailableError("../shared is absent: no photographs to evaluate on")
    photographs = shared / "data" / "imagenet_sample"
    session = Session.open(model_path("efficientnet_lite0", "efficientnet_lite0_batch.onnx"))
    session.set_plan(replace(session.plan, default_method=method))
    recipe = model_path("efficientnet_lite0", "efficientnet_lite0.toml")
    session.calibrate(photographs, recipe=recipe)
    return session.evaluate(photographs)


CASES: dict[str, Callable[[str], Evaluation]] = {
    "swin_fmnist": lambda method: demo("swin_fmnist", method),
    "mobile_fmnist": lambda method: demo("mobile_fmnist", method),
    "efficientnet_lite0": lite0,
}


def main() -> None:
    """Print a row a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*CASES, []], help="all unless named")
    parser.add_argument("--method", default="mse", choices=("max", "percentile", "mse", "kl"))
    options = parser.parse_args()
    columns = ("samples", "float", "int8", "drop", "agreement", "SQNR dB", "CPU nodes")
    print(f"{'model':20} " + " ".join(f"{column:>9}" for column in columns))
    for name in options.models or CASES:
        start = time.perf_counter()
        try:
            found = CASES[name](options.method)
        except ModelUnavailableError as error:
            print(f"{name:20} {error}")
            continue
        assert found.float_top1 is not None and found.quantised_top1 is not None
        print(
            f"{name:20} {found.samples:9} {found.float_top1:9.2%} {found.quantised_top1:9.2%} "
            f"{found.float_top1 - found.quantised_top1:9.2%} {found.agreement:9.2%} {found.output_sqnr_db:9.1f} "
            f"{found.cpu_nodes:9}   {time.perf_counter() - start:.0f} s"
        )


if __name__ == "__main__":
    main()
