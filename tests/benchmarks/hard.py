"""Models that are hard on purpose, before and behind a preset: is the accuracy recovered, and is the cause named?

    python -m tests.benchmarks.hard [mobile] [swin] [--preset balanced] [--samples 64]

The models compute in float what the demo models compute (mobile_fmnist with ReLU in place of ReLU6). ``mobile``: half
of all channels that can take a factor are multiplied by 2^-4 to 2^4. ``swin``: two channels behind every LayerNorm
multiplied by 40. Top-1 over all 10,000 test pictures of Fashion-MNIST (Debian's dataset-fashion-mnist).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from engine.quantise.causes import ChannelCauses
from engine.quantise.presets import quantise
from engine.quantise.registry import PRESETS
from engine.quantise.step import Work
from engine.session import Session
from resources.models.train.fmnist import DEFAULT_DATA_DIRECTORY, load
from resources.models.train.testset import write_samples
from tests.engine.quantise.hard import harden, planted_outliers, scaled_channels

MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"
KINDS = {"mobile": scaled_channels(), "swin": planted_outliers()}
CAUSES = 3


def measure_one(name: str, preset: str, samples: int, folder: Path, test: Path) -> None:
    """Print a model's accuracy before and behind the preset, what its steps did, and the causes found before."""
    session = Session.open(harden(MODELS / f"{name}_fmnist.onnx", folder / f"{name}.onnx", KINDS[name]))
    session.calibrate(MODELS / "fmnist_samples.npz", recipe=MODELS / "fmnist.toml", samples=samples)
    named = ChannelCauses(session)
    causes = [cause.text for node in session.graph.nodes for cause in named.of(node.id)]
    before = session.evaluate(test)
    start = time.perf_counter()
    report = quantise(session, preset, Work(tuple(session.samples())))
    took = time.perf_counter() - start
    after = session.with_plan(report.plan).evaluate(test)
    assert before.float_top1 is not None and before.quantised_top1 is not None and after.quantised_top1 is not None
    print(
        f"{name:8} {before.float_top1:8.2%} {before.quantised_top1:8.2%} {after.quantised_top1:8.2%} "
        f"{before.float_top1 - after.quantised_top1:8.2%} {before.output_sqnr_db:8.1f} {after.output_sqnr_db:8.1f} "
        f"{took:6.1f} s"
    )
    for step in report.steps:
        print(f"    {step.name:9} {'kept' if step.kept else 'dropped':8} {step.gain_db.mean or 0.0:+.1f} dB")
    for text in dict.fromkeys(causes[:CAUSES]):
        print(f"    cause: {text}")


def main() -> None:
    """Print a block a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*KINDS, []], help="both unless named")
    parser.add_argument("--preset", default="balanced", choices=list(PRESETS))
    parser.add_argument("--samples", type=int, default=64, help="calibration samples")
    options = parser.parse_args()
    if not DEFAULT_DATA_DIRECTORY.is_dir():
        raise SystemExit(f"{DEFAULT_DATA_DIRECTORY} is absent: apt-get install dataset-fashion-mnist")
    columns = ("float", "int8", options.preset, "drop", "dB", "dB")
    print(f"{'model':8} " + " ".join(f"{column:>8}" for column in columns))
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder) / "test.npz"
        pictures = load(DEFAULT_DATA_DIRECTORY, "t10k")
        write_samples(test, pictures.take(np.zeros(0, np.int64)), pictures)
        for name in options.models or KINDS:
            measure_one(name, options.preset, options.samples, Path(folder), test)


if __name__ == "__main__":
    main()
