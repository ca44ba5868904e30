"""What is asked of a training run, and what it answers: plain records, for files, the window and scripts."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.reports_advice import Bounds

TOP_1, OUTPUT_DB = "top-1", "output dB"
"""What a run is measured by: a fraction, or decibels."""

Optimiser = Literal["adam", "sgd"]
Schedule = Literal["cosine", "constant"]
Ending = Literal["finished", "cancelled", "diverged"]


class TrainOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to train.

    Attributes:
        epochs: Passes over the training samples.
        learning_rate: The largest step of weights and biases; it warms up over the first steps.
        batch: Samples a step.
        optimiser: ``adam``, or ``sgd`` with momentum 0.9.
        schedule: ``cosine`` falls to 0 at the end; ``constant`` does not.
        distill: Follow the float model's outputs even where there are labels. Without labels that is done anyway.
        scale_rate: Learning rate of scales and thresholds (of their logarithms), in terms of the weights'.
        holdout: Share of the samples kept aside, on which the best is chosen.
        evaluations: How often an epoch is judged on them.
        seed: Of the order of samples.
    """

    epochs: int = 1
    learning_rate: float = 3e-5
    batch: int = 32
    optimiser: Optimiser = "adam"
    schedule: Schedule = "cosine"
    distill: bool = False
    scale_rate: float = 10.0
    holdout: float = 0.1
    evaluations: int = 2
    seed: int = 0

    @property
    def problem(self) -> str:
        """What is wrong with the figures, in one line; "" if nothing is."""
        checks = (
            (self.epochs >= 1, f"{self.epochs} epochs, expected at least 1"),
            (0.0 < self.learning_rate < 10.0, f"learning rate {self.learning_rate:g}, expected more than 0, below 10"),
            (self.batch >= 1, f"batch of {self.batch}, expected at least 1"),
            (0.0 <= self.scale_rate <= 1e4, f"scale rate {self.scale_rate:g}, expected 0 to 10000"),
            (0.0 < self.holdout < 1.0, f"{self.holdout:g} of the samples held out, expected more than 0, less than 1"),
            (1 <= self.evaluations <= 1000, f"{self.evaluations} evaluations an epoch, expected 1 to 1000"),
        )
        return next((text for good, text in checks if not good), "")


class LossPoint(msgspec.Struct, frozen=True):
    """The loss of one step's batch."""

    step: int
    loss: float
    learning_rate: float


class MetricPoint(msgspec.Struct, frozen=True):
    """The integer program after ``step`` steps, on the samples kept aside.

    Attributes:
        metric: Better when larger.
        low, high: Its 95 % bounds; None where it has none.
        drop: What top-1 loses against the float model's on the same samples, a fraction; None without labels.
    """

    step: int
    metric: float
    loss: float
    low: float | None = None
    high: float | None = None
    drop: Bounds | None = None


class TrainProgress(msgspec.Struct, frozen=True):
    """How far a run is, with the points since the last report; ``metric`` as in :class:`TrainReport`."""

    step: int
    steps: int
    losses: tuple[LossPoint, ...] = ()
    metrics: tuple[MetricPoint, ...] = ()
    metric: str = TOP_1


class TrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run.

    Attributes:
        ending: ``finished``; ``cancelled`` or ``diverged``: the best so far was kept.
        text: One line that says what happened.
        metric: What was measured: ``top-1`` (a fraction) or ``output dB``.
        float_metric: The float model's, None where it is the measure itself.
        start, best: The program before training, and the best one (which is the one before where nothing was better).
        steps: Steps done, of ``total_steps``.
        samples, held_out: How many samples were trained on and kept aside.
        losses, metrics: The curves.
        compared: Held-out samples on which the plan's program gave the same bits as the trained module.
    """

    ending: Ending
    text: str
    metric: str
    float_metric: float | None
    start: MetricPoint
    best: MetricPoint
    steps: int
    total_steps: int
    samples: int
    held_out: int
    losses: tuple[LossPoint, ...]
    metrics: tuple[MetricPoint, ...]
    compared: int = 0

    @property
    def is_better(self) -> bool:
        """Whether training gave something that is better than what was there before."""
        return self.best.step > 0


def figure(metric: str, value: float) -> str:
    """A value of a metric as text."""
    return f"{value:.2%}" if metric == TOP_1 else f"{value:.1f} dB"


def with_bounds(metric: str, point: MetricPoint) -> str:
    """A point's metric with its 95 % interval, as text."""
    if point.low is None or point.high is None:
        return figure(metric, point.metric)
    if metric == TOP_1:
        return f"{point.metric:.2%} ({100 * point.low:.2f} to {100 * point.high:.2f})"
    return f"{point.metric:.1f} dB ({point.low:.1f} to {point.high:.1f})"


def drop_text(point: MetricPoint) -> str:
    """What top-1 loses against the float model on the same samples, with its 95 % interval; "" without labels."""
    drop = point.drop
    if drop is None:
        return ""
    return f"drop {100 * drop.value:.2f} points (95 %: {100 * drop.low:.2f} to {100 * drop.high:.2f})"
