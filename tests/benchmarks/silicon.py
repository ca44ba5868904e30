"""The clock of ``bayes-e-x5`` against 25 public models measured on the board.

    python -m tests.benchmarks.silicon          estimate against measurement: busy time and single-thread latency
    python -m tests.benchmarks.silicon --fit    how the target's fitted figures were found, with their error on
                                                families that the fit has not seen

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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import spearmanr

from engine.clock.estimate import Estimator
from engine.graph.load import load_model
from engine.ops.base import Op
from engine.plan.resolve import resolve
from engine.plan.types import Plan
from engine.program.lowering import LOWER
from engine.simulate.cost import Demand, Rates, round_up, useful_fraction
from engine.simulate.timing import Timing
from engine.target.target import Target, load_target

from .models import INSTALL_TIMEOUT_S, cache_folder, find_shared

PACKAGES = ("timm", "torchvision", "huggingface_hub", "safetensors", "pyyaml", "tqdm")
EXPORT_TIMEOUT_S = 900
FAMILY_BY_PREFIX = {
    "mobilenet": "mobilenet",
    "repvgg": "repvgg",
    "mobileone": "mobileone",
    "repghostnet": "repghostnet",
    "convnext": "convnext",
    "efficientnet": "efficientnet",
    "efficientformer": "efficientformer",
    "fasternet": "fasternet",
    "edgenext": "edgenext",
    "fastvit": "fastvit",
    "repvit": "repvit",
    "resnet": "resnet",
}

PARAMETERS = ("mac_per_us", "depthwise", "vector_per_us", "lut_per_us", "ddr_b_per_us", "sram_b_per_us", "op_us")
START = np.log([4e6, 0.1, 6.5e3, 2e4, 6.3e3, 4e4, 1.0])
"""Where the fit begins and what it is drawn to; chosen after a look at the same measurements."""
PULL = 0.02

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One model of the table, with its estimate and what its units ask of the chip."""

    name: str
    busy_us: float
    latency_us: float
    timing: Timing
    demands: tuple[Demand, ...]

    @property
    def family(self) -> str:
        return next(f for prefix, f in FAMILY_BY_PREFIX.items() if self.name.lower().startswith(prefix))


def has_integer_form(op: Op) -> bool:
    return LOWER.find(op) is not None


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


def measured_models(shared: Path, target: Target) -> list[Measured]:
    """The table's models, estimated with every precision left to the target."""
    with (shared / "silicon" / "bayes_e_x5.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    folder = export_models(shared, [row["model"] for row in rows])
    found: list[Measured] = []
    for row in rows:
        graph = load_model(folder / f"{row['model']}.onnx")
        resolution = resolve(graph, Plan(), target, has_integer_form)
        estimator = Estimator(graph, target)
        busy_us, latency_us = 1e6 / float(row["throughput_fps"]), 1e3 * float(row["latency_1thread_ms"])
        simulation = estimator.simulate(resolution)
        kernels = (costed for costed in simulation.compiled.kernels if not costed.kernel.on_cpu)
        timing, demands = simulation.timing, tuple(demand for costed in kernels for demand in costed.demands)
        found.append(Measured(row["model"], busy_us, latency_us, timing, demands))
    return found


def errors_text(estimated: Sequence[float], measured: Sequence[float]) -> str:
    error = np.asarray(estimated) / np.asarray(measured) - 1.0
    rank = float(spearmanr(estimated, measured)[0])  # type: ignore[index]
    absolute = np.abs(error)
    return f"mean absolute error {absolute.mean():.1%}, largest {absolute.max():.1%}, Spearman {rank:.3f}"


def print_comparison(models: Sequence[Measured]) -> None:
    print(f"{'model':24} {'busy ms':>8} {'estimate':>9} {'error':>7}   {'latency':>8} {'estimate':>9}  mostly")
    for model in models:
        busy_us = 1e6 / model.timing.throughput_fps
        bound, share = next(iter(model.timing.share_by_bound().items()))
        print(
            f"{model.name:24} {model.busy_us / 1e3:8.3f} {busy_us / 1e3:9.3f} {busy_us / model.busy_us - 1:+7.1%}   "
            f"{model.latency_us / 1e3:8.3f} {model.timing.latency_us / 1e3:9.3f}  {bound} {share:.0%}"
        )
    busy = [1e6 / model.timing.throughput_fps for model in models]
    print("busy time:             ", errors_text(busy, [model.busy_us for model in models]))
    latency = [model.timing.latency_us for model in models]
    print("single-thread latency: ", errors_text(latency, [model.latency_us for model in models]))


class Features:
    """Work of all units of all models as columns, so that trying other rates is a few vector operations."""

    def __init__(self, models: Sequence[Measured], rates: Rates) -> None:
        rows = [[index, *_columns(d, rates)] for index, model in enumerate(models) for d in model.demands]
        table = np.array(rows, dtype=np.float64).T
        self._model, self._count = table[0].astype(np.int64), len(models)
        self._padded, self._unpadded, self._vector, self._lookups, self._ddr, self._wait_us, self._sram = table[1:]

    def busy_us(self, parameters: Vector) -> Vector:
        """Busy time of each model with the rates exp(parameters)."""
        macs, depthwise, vector, lookups, ddr, sram, launch_us = np.exp(parameters)
        mac_us = np.minimum(self._padded, self._unpadded / min(depthwise, 1.0)) / macs
        dma_us = self._ddr / ddr + self._wait_us + self._sram / sram
        engines = np.maximum.reduce([mac_us, self._vector / vector, self._lookups / lookups, dma_us])
        return np.bincount(self._model, engines + launch_us, minlength=self._count).astype(np.float64)


def _columns(demand: Demand, rates: Rates) -> list[float]:
    """Array slots padded and not, int8-equivalent vector elements and look-ups, bytes with burst losses, waits."""
    positions = [(p, round_up(p.positions, rates.position_alignment)) for p, _ in demand.products]
    padded = sum(
        aligned
        * round_up(p.input_channels, rates.input_alignment)
        * round_up(p.output_channels, rates.output_alignment)
        * p.taps
        * p.groups
        for p, aligned in positions
    )
    unpadded = sum(p.macs / p.positions * aligned for p, aligned in positions)
    vector = sum(width * elements for width, elements in (*demand.vector, *demand.reduction))
    lookups = sum(width * count for width, count in demand.lookups)
    moved = [(t.is_ddr, t.size_bytes / useful_fraction(t, rates)) for t in demand.transfers]
    ddr, sram = (sum(size for is_ddr, size in moved if is_ddr is place) for place in (True, False))
    wait_us = rates.ddr_latency_us * sum(is_ddr for is_ddr, _ in moved)
    return [padded, unpadded, vector, lookups, ddr, wait_us, sram]


def fitted(features: Features, measured_us: Vector, chosen: Sequence[int]) -> Vector:
    """Rates that minimise the mean absolute logarithm of estimate over measurement on the chosen models."""
    index = np.asarray(chosen)

    def loss(parameters: Vector) -> float:
        ratio = features.busy_us(parameters)[index] / measured_us[index]
        return float(np.abs(np.log(ratio)).mean() + PULL * np.sum((parameters - START) ** 2))

    options = {"maxfev": 1500, "xatol": 1e-3, "fatol": 1e-5, "adaptive": True}
    return minimize(loss, START, method="Nelder-Mead", options=options).x


def print_fit(models: Sequence[Measured], target: Target) -> None:
    features = Features(models, Rates.of(target))
    measured_us = np.array([model.busy_us for model in models])
    best = fitted(features, measured_us, range(len(models)))
    for name, value in zip(PARAMETERS, np.exp(best), strict=True):
        print(f"{name:16} {value:12.4g}")
    unseen = np.zeros(len(models))
    for family in sorted({model.family for model in models}):
        others = [i for i, model in enumerate(models) if model.family != family]
        judged = [i for i, model in enumerate(models) if model.family == family]
        unseen[judged] = features.busy_us(fitted(features, measured_us, others))[judged]
    overhead = np.quantile([m.latency_us - m.busy_us for m in models], [0.25, 0.5, 0.75])
    print("host overhead, quartiles in us:", *(f"{value:.0f}" for value in overhead))
    print("models of the fit:   ", errors_text(features.busy_us(best).tolist(), measured_us.tolist()))
    print("each family left out:", errors_text(unseen.tolist(), measured_us.tolist()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.silicon", description=__doc__)
    parser.add_argument("--fit", action="store_true", help="fit the rates and cross-validate by family")
    parser.add_argument("--target", default="bayes-e-x5", help="name or path of the target")
    options = parser.parse_args(arguments)
    shared = find_shared()
    if shared is None:
        print("no ../shared/silicon here; name its folder with QUANTSCOPE_SHARED", file=sys.stderr)
        return 1
    target = load_target(options.target)
    models = measured_models(shared, target)
    if options.fit:
        print_fit(models, target)
    else:
        print_comparison(models)
    return 0


if __name__ == "__main__":
    sys.exit(main())
