"""The clock of ``bayes-e-x5`` against 25 public models measured on the board.

    python -m tests.benchmarks.silicon          estimate against measurement: throughput and single-thread latency
    python -m tests.benchmarks.silicon --fit    how the target's fitted figures were found, with their error on
                                                families that the fit has not seen (``quantscope targets fit`` from the
                                                round figures of START)

Needs ``../shared/silicon``. The models are rebuilt with random weights by its ``export_models.py``; timm and
torchvision are installed without dependencies into the benchmark cache.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.cli.fitting import print_fit
from engine.clock.estimate import Estimator
from engine.fit.fitting import Errors, errors_of, fit_target
from engine.fit.measurements import Measurement, read_measurements
from engine.fit.schedules import resolved_at
from engine.graph.load import load_model
from engine.precision import Precision
from engine.target.edit import figure_at, target_text, with_figures
from engine.target.figures import Figure
from engine.target.target import Target, load_target

from .models import INSTALL_TIMEOUT_S, cache_folder, find_shared

PACKAGES = ("timm", "torchvision", "huggingface_hub", "safetensors", "pyyaml", "tqdm")
EXPORT_TIMEOUT_S = 900
FAMILIES = (
    "mobilenet",
    "repvgg",
    "mobileone",
    "repghostnet",
    "convnext",
    "efficientnet",
    "efficientformer",
    "fasternet",
    "edgenext",
    "fastvit",
    "repvit",
    "resnet",
)
"""Beginnings of names. EfficientFormer and EfficientFormerV2 are judged as one family."""

INT16 = frozenset({"EfficientFormer_l1", "EfficientFormerv2_s0"})
"""Models whose public conversion recipes (D-Robotics/rdk_model_zoo, samples/vision/efficientformer*/conversion) put
all nodes in int16; the others name single nodes at most."""

START = {
    "mac.sustained_fraction": 0.9,
    "mac.depthwise_fraction": 0.0125,
    "vector.int8": 32.0,
    "vector.int16": 16.0,
    "vector.reduction": 32.0,
    "table.int8": 32.0,
    "table.int16": 4.0,
    "sram.bandwidth": 32.0,
    "dma.bandwidth": 6.0,
    "launch.operator": 0.5,
    "launch.inference": 590.0,
}
"""Round figures that the fit begins with and is drawn to: 64 depthwise products, 32 elements and look-ups a cycle, a
third of the bandwidth of a 32-bit LPDDR4-4266. They were chosen after a look at the same measurements."""


def export_models(shared: Path, names: Sequence[str]) -> Path:
    """Folder with the models as ONNX, made where they are missing."""
    folder, packages = cache_folder().parent / "silicon" / "models", cache_folder().parent / "silicon" / "packages"
    missing = [name for name in names if not (folder / f"{name}.onnx").is_file()]
    if missing:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages)]
        if not (packages / "timm").is_dir():
            subprocess.run([*pip, *PACKAGES], check=True, timeout=INSTALL_TIMEOUT_S)
        script = shared / "silicon" / "export_models.py"
        environment = os.environ | {"PYTHONPATH": str(packages)}
        command = [sys.executable, str(script), str(folder), *missing]
        subprocess.run(command, check=True, timeout=EXPORT_TIMEOUT_S, env=environment)
    return folder


def measured_rows(shared: Path) -> tuple[Measurement, ...]:
    """The table's rows, with their families and the precision that they were measured in."""
    table = shared / "silicon" / "bayes_e_x5.csv"
    with table.open(encoding="utf-8") as file:
        names = [row["model"] for row in csv.DictReader(file)]
    return tuple(
        replace(
            row,
            family=next(family for family in FAMILIES if row.model.lower().startswith(family)),
            precision=Precision.INT16 if row.model in INT16 else Precision.AUTO,
        )
        for row in read_measurements(table, export_models(shared, names))
    )


def print_comparison(rows: Sequence[Measurement], target: Target) -> None:
    """Estimates of the product beside the measurements, and their errors with and without the doubtful rows."""
    print(f"{'model':24} {'busy ms':>8} {'estimate':>9} {'error':>7}   {'latency':>8} {'estimate':>9}  mostly")
    busy: list[tuple[float, float, bool]] = []
    latency: list[tuple[float, float, bool]] = []
    for row in rows:
        assert row.throughput_fps is not None
        assert row.latency_us is not None
        graph = load_model(row.path)
        timing = Estimator(graph, target).estimate(resolved_at(graph, row.precision, target))
        estimated, measured = 1e6 / timing.throughput_fps, 1e6 / row.throughput_fps
        bound, share = next(iter(timing.share_by_bound().items()))
        print(
            f"{row.model:24} {measured / 1e3:8.3f} {estimated / 1e3:9.3f} {estimated / measured - 1:+7.1%}   "
            f"{row.latency_us / 1e3:8.3f} {timing.latency_us / 1e3:9.3f}  {bound} {share:.0%}"
            f"{f'  ({row.doubt})' if row.doubt else ''}"
        )
        busy.append((estimated, measured, not row.doubt))
        latency.append((timing.latency_us, row.latency_us, True))
    print("throughput:                      ", _errors(busy).text)
    print("throughput, without doubted rows:", _errors([item for item in busy if item[2]]).text)
    print("single-thread latency:           ", _errors(latency).text)


def _errors(pairs: Sequence[tuple[float, float, bool]]) -> Errors:
    return errors_of([estimated for estimated, _, _ in pairs], [measured for _, measured, _ in pairs])


def starting_target(target: Target) -> Target:
    """The target with the figures of START, all assumed."""
    source = "assumed: to begin a fit with"
    return with_figures(
        target, {path: Figure(value, figure_at(target, path).unit, source) for path, value in START.items()}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.silicon", description=__doc__)
    parser.add_argument("--fit", action="store_true", help="fit the rates and cross-validate by family")
    parser.add_argument("--target", default="bayes-e-x5", help="name or path of the target")
    parser.add_argument("-o", "--output", type=Path, help="with --fit: where the fitted target is written")
    options = parser.parse_args(arguments)
    shared = find_shared()
    if shared is None:
        print("no ../shared/silicon here; name its folder with QUANTSCOPE_SHARED", file=sys.stderr)
        return 1
    target = load_target(options.target)
    rows = measured_rows(shared)
    if not options.fit:
        print_comparison(rows, target)
        return 0
    start = starting_target(target)
    fit = fit_target(start, rows, shared / "silicon" / "bayes_e_x5.csv")
    print_fit(fit, start)
    if options.output is not None:
        options.output.write_text(target_text(fit.target), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
