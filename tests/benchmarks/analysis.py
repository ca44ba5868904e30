"""What analyses cost: EfficientNet-Lite0, one thread, CPU seconds.

    python -m tests.benchmarks.analysis [--samples 32] [--runs 3] [--without-esp-ppq]

Two rows. The whole analysis of every node, accumulated and introduced, beside esp-ppq's graphwise analysis (accumulated
alone, of 4096 elements a value) of the same pictures in the same run, in a process of its own. And the sensitivity of
all nodes, beside a forward pass of the float model for each node and sample.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from engine.analyze.evaluator import Sample
from engine.analyze.sensitivity import analysis_of
from engine.session import Session
from tests.benchmarks.models import ModelUnavailableError, cache_folder, find_shared, installed, model_path

PEER = Path(__file__).with_name("peers_esp_ppq.py")
REQUIRES = (
    "esp-ppq==1.3.12",
    "toml==0.10.2",
    "tqdm==4.70.1",
    "onnxsim==0.7.3",
    "cryptography==50.0.2",
    "cffi==2.1.1",
    "pycparser==3.12",
    "torchvision==0.29.2",
)
PEER_TIMEOUT_S = 900


def never() -> bool:
    return False


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def lite0(data: Path, folder: Path) -> Path:
    """A project of EfficientNet-Lite0, calibrated on the shared photographs."""
    session = Session.open(model_path("efficientnet_lite0", "efficientnet_lite0_batch.onnx"))
    session.calibrate(data, recipe=model_path("efficientnet_lite0", "efficientnet_lite0.toml"))
    return session.save(folder / "lite0.qscope")


def esp_ppq_seconds(samples: list[Sample]) -> tuple[list[float], int]:
    """CPU seconds of its graphwise analysis, and of how many operators.

    Raises:
        ModelUnavailableError: It cannot be installed here, or fails.
    """
    packages = cache_folder() / "packages"
    folders = [str(installed(requirement, packages)) for requirement in REQUIRES]
    model = model_path("efficientnet_lite0", "efficientnet_lite0.onnx")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "samples.npy"
        np.save(data, np.stack([next(iter(sample.inputs.values())) for sample in samples]))
        command = [sys.executable, str(PEER), str(model), str(data), str(len(samples)), *folders]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PEER_TIMEOUT_S, cwd=folder)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ModelUnavailableError(f"esp-ppq fails: {reason}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["cpu_s"], found["operators"]


def analysis_seconds(project: Path, samples: list[Sample], runs: int) -> list[float]:
    """CPU seconds of the whole analysis of samples in memory, in a session that has its program and has measured
    nothing."""

    def analyse(session: Session) -> None:
        analysis = session.error_analysis(len(samples))
        for sample in samples:
            analysis.add(sample, never)
        analysis.report()

    times: list[float] = []
    for _ in range(runs + 1):
        session = Session.open(project)
        session.program()
        times.append(cpu_seconds(lambda session=session: analyse(session)))
    return times[1:]


def report_analysis(project: Path, samples: list[Sample], runs: int, with_peer: bool) -> None:
    """The first row: ours before and after esp-ppq's, so that all three see the same machine."""
    ours = analysis_seconds(project, samples, runs)
    print(f"analysis of all nodes, {len(samples)} samples: {text(ours)} CPU s, accumulated and introduced")
    if not with_peer:
        return
    try:
        theirs, operators = esp_ppq_seconds(samples)
    except ModelUnavailableError as error:
        print(f"esp-ppq: {error}")
        return
    again = analysis_seconds(project, samples, runs)
    print(f"esp-ppq graphwise, {operators} operators: {text(theirs)} CPU s; ours again {text(again)}")
    print(f"ratio of the medians: {statistics.median(theirs) / statistics.median([*ours, *again]):.1f}")


def report_sensitivity(project: Path, samples: list[Sample]) -> None:
    """The second row. Forward passes are timed between the samples, so that both see the same machine."""
    analysis_of(Session.open(project)).add(samples[0], never)
    session = Session.open(project)
    session.program()
    model, nodes = session.evaluator.model, len(session.graph.nodes)
    model.run(samples[0].inputs)
    start = time.process_time()
    analysis = analysis_of(session)
    spent, forward = [time.process_time() - start], list[float]()
    for sample in samples:
        forward += [cpu_seconds(lambda sample=sample: model.run(sample.inputs)) for _ in range(3)]
        spent.append(cpu_seconds(lambda sample=sample: analysis.add(sample, never)))
    one, total = statistics.median(forward), sum(spent)
    print(
        f"sensitivity of {len(analysis.report().nodes)} of {nodes} nodes, {len(samples)} samples: {total:.2f} CPU s; "
        f"one forward pass {one * 1e3:.1f} ms; {total / (nodes * len(samples) * one):.3f} x nodes x forward"
    )


def text(seconds: list[float]) -> str:
    """A median and the range around it."""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def main() -> None:
    """Print both rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--without-esp-ppq", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shared = find_shared()
    if shared is None:
        raise ModelUnavailableError("../shared is absent: no photographs to measure on")
    with tempfile.TemporaryDirectory() as folder:
        project = lite0(shared / "data" / "imagenet_sample", Path(folder))
        samples = list(Session.open(project).samples(options.samples))
        report_analysis(project, samples, options.runs, not options.without_esp_ppq)
        report_sensitivity(project, samples)


if __name__ == "__main__":
    main()
