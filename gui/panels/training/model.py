"""The training panel without Qt: its form, the curves so far, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.plan.data import PlanData
from engine.train.records import (
    TOP_1,
    LossPoint,
    MetricPoint,
    TrainOptions,
    TrainProgress,
    TrainReport,
    drop_text,
    figure,
    with_bounds,
)

TITLE = "Train with the integer program in the loop"
NOTHING_YET = (
    "Every step runs the plan's own integers, so what is trained is what the chip computes. Weights, scales and "
    "thresholds are learned from labels, or from the float model's outputs; precisions stay."
)
STEP_LABEL = "training"
SMOOTHED = 20
"""Steps that a point of the smoothed loss is the mean of."""


@dataclass(frozen=True)
class TrainingForm:
    """What is asked for. ``samples`` 0 means all; without a ``split`` it is that of the name "training"."""

    data: str = ""
    split: str = ""
    samples: int = 0
    options: TrainOptions = field(default_factory=TrainOptions)

    @property
    def problem(self) -> str:
        """Why it cannot be used yet; "" when it can."""
        if not self.data:
            return "Choose training data: a folder of pictures or an .npz file"
        data = Path(self.data)
        if not data.exists():
            return f"There is no {self.data}"
        if data.is_file() and data.suffix.lower() != ".npz":
            return "Samples are a folder of pictures or an .npz file"
        return self.options.problem


@dataclass
class Run:
    """A run as far as it is known: the curves, and the report once it ended."""

    step: int = 0
    steps: int = 0
    metric: str = TOP_1
    losses: list[LossPoint] = field(default_factory=list[LossPoint])
    metrics: list[MetricPoint] = field(default_factory=list[MetricPoint])
    report: TrainReport | None = None
    plan: PlanData | None = None
    is_running: bool = True

    def take(self, course: TrainProgress) -> None:
        """Add the points of an answer."""
        self.step, self.steps, self.metric = course.step, course.steps, course.metric
        self.losses += course.losses
        self.metrics += course.metrics

    def end(self, report: TrainReport, plan: PlanData) -> None:
        """The run is over."""
        self.losses, self.metrics = list(report.losses), list(report.metrics)
        self.report, self.plan = report, plan
        self.step, self.steps, self.metric = report.steps, report.total_steps, report.metric
        self.is_running = False

    @property
    def smoothed(self) -> list[float]:
        """The mean loss of each step and those just before it."""
        values = [point.loss for point in self.losses]
        found: list[float] = []
        total = 0.0
        for place, value in enumerate(values):
            total += value - (values[place - SMOOTHED] if place >= SMOOTHED else 0.0)
            found.append(total / min(place + 1, SMOOTHED))
        return found

    @property
    def best(self) -> MetricPoint | None:
        """What would be kept now."""
        if self.report is not None:
            return self.report.best
        return max(self.metrics, key=lambda point: (point.metric, -point.loss), default=None)

    def figure(self, metric: float) -> str:
        """A metric as text."""
        return figure(self.metric, metric)

    def scaled(self, metric: float) -> float:
        """A metric as it is drawn: percent, or decibels."""
        return 100.0 * metric if self.metric == TOP_1 else metric

    @property
    def metric_title(self) -> str:
        return "top-1, %" if self.metric == TOP_1 else "output, dB"

    @property
    def bands(self) -> list[tuple[float, float, float, float]]:
        """Of each judgement that has an interval: step, metric, and how far that reaches below and above, as drawn."""
        found: list[tuple[float, float, float, float]] = []
        for point in self.metrics:
            if point.low is not None and point.high is not None:
                middle, low, high = map(self.scaled, (point.metric, point.low, point.high))
                found.append((float(point.step), middle, middle - low, high - middle))
        return found


def headline_of(run: Run | None) -> str:
    """The sentence above the curves."""
    if run is None:
        return TITLE
    if run.is_running:
        return f"Training: step {run.step:,} of {run.steps:,}" if run.steps else "Training begins"
    if run.report is None:
        return "Training did not begin"
    if run.report.ending == "diverged":
        return "Training diverged; the best so far is kept"
    if not run.report.is_better:
        return "Nothing became better; the plan stays as it is"
    how = "Trained" if run.report.ending == "finished" else "Stopped"
    return f"{how}: {run.figure(run.report.start.metric)} → {run.figure(run.report.best.metric)} on samples kept aside"


def details_of(run: Run | None, is_applied: bool) -> str:
    """The sentences below the headline."""
    if run is None:
        return NOTHING_YET
    if run.report is not None:
        return _report_details(run.report, run, is_applied)
    if run.best is None:
        return "The program before training is judged first." if run.is_running else ""
    start = run.metrics[0]
    text = f"{with_bounds(run.metric, start)} before training"
    if run.best.step:
        text += f", best so far {with_bounds(run.metric, run.best)} at step {run.best.step:,}"
    if run.best.drop is not None:
        text += f", {drop_text(run.best)}"
    return f"{text}. Work goes on meanwhile; stopping keeps the best."


def _report_details(report: TrainReport, run: Run, is_applied: bool) -> str:
    parts = [f"{report.text}."]
    if report.float_metric is not None:
        parts.append(f"The float model has {run.figure(report.float_metric)} there.")
    if report.is_better:
        parts.append("Applied." if is_applied else "Apply takes weights, scales and thresholds over, as one step.")
    return " ".join(part[0].upper() + part[1:] for part in parts)


def applied(present: PlanData, trained: PlanData) -> PlanData:
    """The present plan with what was learned; other edits since stay."""
    others = tuple(digest for digest in present.corrections if digest not in trained.corrections)
    thresholds = {**present.thresholds, **trained.thresholds}
    return msgspec.structs.replace(present, thresholds=thresholds, corrections=(*others, *trained.corrections))
