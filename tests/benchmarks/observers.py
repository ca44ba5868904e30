"""What calibration costs beside the float forward: observing, range search, reading pictures.

    python -m tests.benchmarks.observers

Times are processor time of one thread, so other work on the machine disturbs them little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from engine.calibrate.calibration import tensor_range
from engine.calibrate.data import open_data
from engine.calibrate.methods import METHODS
from engine.calibrate.observers import TensorStatistics
from engine.calibrate.ranges import INT16_LEVELS
from engine.calibrate.recipe import Recipe
from engine.calibrate.result import INT8_LEVELS
from engine.graph.graph import TensorType

ELEMENTS = 10_000_000
SWIN_T_ELEMENTS = 76_000_000
"""Activations of Swin-T for one picture."""

PICTURES = Path("../shared/data/imagenet_sample")


def best_seconds(work: Callable[[], object], repeats: int = 7) -> float:
    """The least processor time of several calls, after one that is not counted."""
    work()
    times: list[float] = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def activations() -> dict[str, np.ndarray]:
    """Float32 activations of different distributions, [ELEMENTS]."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(ELEMENTS, np.float32)
    return {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "transposed": normal.reshape(1000, -1).T,
        "long tail": normal**3,
        "constant": np.ones(ELEMENTS, np.float32),
    }


def observe(tensors: dict[str, np.ndarray]) -> dict[str, TensorStatistics]:
    """Print the observer's speed for each kind of activation."""
    print(f"{'observe':16}{'ns/element':>12}{'GB/s':>8}{'ms for Swin-T':>15}")
    observed: dict[str, TensorStatistics] = {}
    for name, values in tensors.items():
        observed[name] = statistics = TensorStatistics()
        seconds = best_seconds(partial(statistics.update, values)) / ELEMENTS
        print(f"{name:16}{seconds * 1e9:12.2f}{4e-9 / seconds:8.1f}{seconds * SWIN_T_ELEMENTS * 1e3:15.0f}")
    return observed


def search(observed: dict[str, TensorStatistics]) -> None:
    """Print the time of each range search, and of all that a tensor needs."""
    print(f"\n{'range search, ms':20}" + "".join(f"{name:>12}" for name in observed))
    for name, method in METHODS.items():
        for level_count in (INT8_LEVELS, INT16_LEVELS):
            times = [best_seconds(partial(method().threshold, s, level_count)) for s in observed.values()]
            print(f"{name + ' ' + str(level_count):20}" + "".join(f"{t * 1e3:12.2f}" for t in times))
    times = [best_seconds(partial(tensor_range, s)) for s in observed.values()]
    print(f"{'all that is kept':20}" + "".join(f"{t * 1e3:12.2f}" for t in times))


def read_pictures() -> None:
    """Print the time per picture of decoding, cropping, resizing and normalising."""
    if not PICTURES.is_dir():
        print(f"\n{PICTURES} is not there: pictures are not measured")
        return
    recipe = Recipe(size=224, crop_fraction=0.875, resample="bicubic", mean=127.0, scale=128.0)
    inputs = {"x": TensorType((1, 3, 224, 224), "float32")}
    dataset = open_data(PICTURES, graph_inputs=inputs, recipe=recipe, split="calibration")
    seconds = best_seconds(lambda: [None for _ in dataset.batches(8)], repeats=3) / len(dataset)
    print(f"\nreading: {seconds * 1e3:.1f} ms a picture ({len(dataset)} of 288x288 to 224x224)")
    start = time.perf_counter()
    print(f"fingerprint: {dataset.fingerprint} in {(time.perf_counter() - start) * 1e3:.0f} ms")


def main() -> None:
    """Print all figures."""
    search(observe(activations()))
    read_pictures()


if __name__ == "__main__":
    main()
