"""How much memory calibrating and analysing a model takes, beyond the model itself.

    python -m tests.benchmarks.memory [MODEL] [--samples 256] [--analyse N]

``MODEL`` is a name of ``tests.benchmarks.models`` with a picture recipe beside it; DINOv2 ViT-S without one. Samples
are the photographs of ``../shared``, repeated up to the number. The model is opened, calibrated with all samples and
its errors analysed on all of them (``--analyse``: on fewer). A row per stage:

peak MiB        largest resident memory of the process so far
above the model the same less what the process had after its imports and less the size of the model file
s               seconds the stage took

The bound is 1.5 GB above the model for 256 samples, whatever their number.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from engine.calibrate.recipe import load_recipe
from engine.session import Session
from tests.benchmarks.models import ModelUnavailableError, find_shared, model_path
from tests.benchmarks.open_model import peak_bytes

MIB = 1024 * 1024
BOUND_BYTES = 1_500_000_000
"""What calibrating or analysing may take above the model."""


def repeated_pictures(folder: Path, count: int) -> None:
    """Fill ``folder`` with ``count`` pictures: the photographs of ``../shared``, as often as needed.

    Raises:
        ModelUnavailableError: There are no photographs.
    """
    shared = find_shared()
    found = sorted((shared / "data" / "imagenet_sample").glob("*.jpg")) if shared is not None else []
    if not found:
        raise ModelUnavailableError("../shared is absent: there are no photographs")
    for index in range(count):
        shutil.copyfile(found[index % len(found)], folder / f"{index:05}.jpg")


class Stages:
    """Prints a row after each stage, and keeps the largest peak."""

    def __init__(self, model: Path) -> None:
        self._base_bytes = peak_bytes() + model.stat().st_size
        self._start = time.perf_counter()
        self.above_bytes = 0
        print(f"{'stage':24}{'peak MiB':>10}{'above the model, MiB':>22}{'s':>8}", flush=True)

    def done(self, stage: str) -> None:
        """Print the row of the stage that ended now."""
        peak = peak_bytes()
        self.above_bytes = max(self.above_bytes, peak - self._base_bytes)
        seconds = time.perf_counter() - self._start
        print(f"{stage:24}{peak / MIB:10.0f}{(peak - self._base_bytes) / MIB:22.0f}{seconds:8.1f}", flush=True)
        self._start = time.perf_counter()


def measure(name: str, samples: int, analysed: int) -> int:
    """Open, calibrate and analyse a model; returns the most memory above it, in bytes."""
    path = model_path(name)
    recipe = load_recipe(path.with_suffix(".toml"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        repeated_pictures(folder, samples)
        print(f"{name}: file of {path.stat().st_size / MIB:.0f} MiB, {samples} samples, {analysed} analysed")
        stages = Stages(path)
        session = Session.open(path)
        stages.done("open")
        session.calibrate(folder, recipe=recipe, samples=samples)
        stages.done("calibrate")
        session.program()
        stages.done("lower")
        session.analyze(samples=analysed)
        stages.done("analyse")
    return stages.above_bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="dinov2_vits_focus")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--analyse", type=int, help="samples to analyse; all unless given")
    arguments = parser.parse_args()
    analysed = arguments.samples if arguments.analyse is None else arguments.analyse
    above = measure(arguments.model, arguments.samples, analysed)
    print(f"most above the model: {above / 1e9:.2f} GB; the bound is {BOUND_BYTES / 1e9:.1f} GB")
    return int(above > BOUND_BYTES)


if __name__ == "__main__":
    sys.exit(main())
