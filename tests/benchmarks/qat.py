"""Quantisation-aware training of swin_fmnist, all int8: how much of the drop it takes back, and in what time.

    python -m tests.benchmarks.qat [--data FOLDER] [--samples 20000] [--epochs 1] [--lr 3e-5] [--labels] [--threads 2]

Trains on balanced pictures of Fashion-MNIST's training set (``--data``: the published idx files, Debian's package
dataset-fashion-mnist by default), following the float model unless ``--labels`` asks for the cross-entropy. Test
pictures are not looked at before the end; then float model, the program before and after are measured on all 10,000.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from engine.analyze.proportions import paired_drop
from engine.reports import Evaluation
from engine.session import Session
from engine.train.records import TrainOptions, TrainProgress, TrainReport, drop_text, with_bounds
from engine.train.trainer import TRAINING_SPLIT, train
from resources.models.train.fmnist import DEFAULT_DATA_DIRECTORY, MODELS_DIRECTORY, balanced_subset, load

_SEED = 7
_LARGEST_DROP = 0.001
_LONGEST_S = 600.0


def write_pictures(path: Path, data: Path, count: int) -> None:
    """Write ``count`` training pictures and all test pictures, in splits "training" and "evaluation"."""
    pictures, test = load(data, "train"), load(data, "t10k")
    chosen = pictures.take(balanced_subset(pictures.labels, count, _SEED))
    np.savez(
        path,
        images=np.concatenate([chosen.images, test.images]),
        labels=np.concatenate([chosen.labels, test.labels]),
        split=np.repeat([TRAINING_SPLIT, "evaluation"], [len(chosen), len(test)]),
    )


def trained(session: Session, path: Path, options: TrainOptions) -> tuple[TrainReport, float]:
    """Train the session, which takes over the plan; returns the report and the seconds it took."""

    def tell(course: TrainProgress) -> None:
        for point in course.metrics:
            figures = ", ".join(filter(None, (with_bounds(course.metric, point), drop_text(point))))
            print(f"  step {point.step} of {course.steps}: top-1 {figures}, loss {point.loss:.3g}", flush=True)

    started = time.perf_counter()
    plan, report = train(session, path, options, observe=tell)
    session.set_plan(plan)
    return report, time.perf_counter() - started


def _line(name: str, found: Evaluation) -> str:
    assert found.float_top1 is not None and found.quantised_top1 is not None
    assert found.lost is not None and found.won is not None
    drop = paired_drop(found.lost, found.won, found.samples)
    points = f"{100 * drop.value:.2f} points (95 %: {100 * drop.low:.2f} to {100 * drop.high:.2f})"
    figures = f"drop {points}, agreement {found.agreement:.2%}, {found.output_sqnr_db:.1f} dB"
    return f"{name}: top-1 {found.quantised_top1:.2%} (float {found.float_top1:.2%}), {figures}"


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; ``argv``: the arguments without the program's name, the process's own where None."""
    parser = argparse.ArgumentParser(description="Train swin_fmnist with the integer program in the loop.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA_DIRECTORY, help="folder of the idx files")
    parser.add_argument("--samples", type=int, default=20_000, help="training pictures, balanced")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--lr", type=float, default=3e-5)
    parser.add_argument("--labels", action="store_true", help="train on labels instead of the float model's outputs")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    session = Session.open(MODELS_DIRECTORY / "swin_fmnist.qscope")
    options = TrainOptions(epochs=arguments.epochs, learning_rate=arguments.lr, distill=not arguments.labels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fmnist.npz"
        write_pictures(path, arguments.data, arguments.samples)
        before = session.evaluate(path, split="evaluation")
        report, seconds = trained(session, path, options)
        after = session.evaluate(path, split="evaluation")
    print(_line("before", before))
    print(_line("after", after))
    print(f"{report.text}; {seconds:.0f} s of {report.total_steps} steps with {arguments.threads} threads")
    assert after.float_top1 is not None and after.quantised_top1 is not None
    met = after.float_top1 - after.quantised_top1 <= _LARGEST_DROP + 1e-9 and seconds <= _LONGEST_S
    print(f"drop at most 0.1 points, at most 10 minutes: {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
