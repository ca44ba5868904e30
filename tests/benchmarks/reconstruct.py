"""Block reconstruction beside layer-wise rounding, on evaluation samples that neither has seen.

    python -m tests.benchmarks.reconstruct [--count N] [--samples N] [NAME ...]

Models and data are those of :mod:`tests.benchmarks.accuracy`, all int8. Each is calibrated; then weights are rounded
layer by layer, or blocks are reconstructed, or both in that order, on three of four calibration samples (``--samples``:
at most so many). Reconstruction keeps what it has learned whether the gain is certain or not: what the step itself
makes of it stands behind. Gains are means of the differences in dB, evaluation sample by sample, with their 95 %
intervals; times are seconds of processor time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.analyze.errors import interval_of
from engine.plan.types import Plan
from engine.quantise.presets import split
from engine.quantise.reconstruct import BlockReconstruction, is_certain
from engine.quantise.rounding import LayerwiseRounding
from engine.quantise.step import Work
from engine.reports import Interval
from engine.session import Session
from tests.benchmarks.accuracy import CASES, open_case, outputs_of

MODELS = ("mobile_fmnist", "swin_fmnist", "squeezenet")
_COUNT = 2000

Method = Callable[[Session, Work], Plan]


@dataclass(frozen=True)
class Outcome:
    """Decibels of the first output, sample by sample; how often the largest score is the float model's; seconds."""

    decibels: np.ndarray
    agreement: float
    seconds: float = 0.0

    def over(self, other: Outcome) -> str:
        gain: Interval = interval_of((self.decibels - other.decibels).tolist())
        assert gain.mean is not None and gain.half_width is not None
        return f"{gain.mean:+.2f} ± {gain.half_width:.2f}"


def outcome(name: str, session: Session, folder: Path, count: int, seconds: float) -> Outcome:
    """A plan on the first ``count`` evaluation samples."""
    case = CASES[name]
    assert case.evaluation is not None
    samples = case.evaluation(session, folder, count).samples
    decibels, agreed = list[np.ndarray](), list[np.ndarray]()
    for wanted, found, _ in outputs_of(session, samples, case.batch):
        rows, others = wanted.reshape(len(wanted), -1), found.reshape(len(found), -1)
        decibels.append(10 * np.log10(np.square(rows).sum(1) / np.square(rows - others).sum(1)))
        agreed.append(rows.argmax(1) == others.argmax(1))
    return Outcome(np.concatenate(decibels), float(np.concatenate(agreed).mean()), seconds)


def compare(name: str, count: int, most: int | None) -> None:
    """Print a line a method."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        session = open_case(name, folder)
        work = Work(split(tuple(session.samples()))[0][:most])
        start = outcome(name, session, folder, count, 0.0)

        def tried(base: Session, method: Method) -> tuple[Session, Outcome]:
            began = time.process_time()
            twin = base.with_plan(method(base, work))
            return twin, outcome(name, twin, folder, count, time.process_time() - began)

        uncertain = BlockReconstruction(certain=False)
        rounded, layers = tried(session, LayerwiseRounding())
        _, blocks = tried(session, uncertain)
        learned, both = tried(rounded, uncertain)
        kept = is_certain(rounded, learned, work)
        print(f"{name}: {len(work.samples)} samples to learn from, {len(start.decibels)} to evaluate on")
        for label, found in (("calibrated", start), ("rounded", layers), ("reconstructed", blocks), ("both", both)):
            gains = f"{found.over(start)} over calibrated, {found.over(layers)} over rounded"
            figures = f"{found.decibels.mean():.2f} dB, {gains}, agreement {found.agreement:.2%}"
            print(f"    {label:14} {figures}, {found.seconds:.0f} s", flush=True)
        print(f"    behind rounding the step keeps {'what it learned' if kept else 'nothing'}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*CASES, []])
    parser.add_argument("--count", type=int, default=_COUNT, help="evaluation samples, at most those of the model")
    parser.add_argument("--samples", type=int, help="calibration samples to learn from")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.models or MODELS:
        compare(name, min(options.count, CASES[name].count), options.samples)


if __name__ == "__main__":
    main()
