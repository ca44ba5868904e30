"""The calibration dock without Qt: its texts, and the points of its curve."""

from __future__ import annotations

from dataclasses import dataclass

from engine.reports import Interval
from engine.reports_quantise import QuantiseProgress, StepResult
from gui.document.document import Document
from gui.panels import formats

FEW_SAMPLES = 8
"""With fewer to judge by, the intervals say little."""

DEFAULT_SAMPLES = 64
MOST_SAMPLES = 4096

PRESETS = (
    ("fast", "Fast", "The ranges as they were measured: seconds"),
    ("balanced", "Balanced", "Methods that cost little time: a minute or two on a small network"),
    ("best", "Best", "All methods, searches too: minutes"),
)
"""Name, title, and what it takes."""

COLUMNS = ("Step", "Output, dB", "Gain, dB", "")
START = "Before"
KEPT, DROPPED = "kept", "no gain"


@dataclass(frozen=True)
class Point:
    """One point of the curve: the output after a step in dB, with the ends of its interval."""

    label: str
    mean_db: float
    low_db: float
    high_db: float
    kept: bool
    tip: str


@dataclass(frozen=True)
class StepRow:
    """One line of the table."""

    texts: tuple[str, ...]
    kept: bool


def points_of(progress: QuantiseProgress) -> tuple[Point, ...]:
    """The output before the first step, and after every step that was run."""
    points = [_point(START, progress.before_db, kept=True)]
    points += [_point(step.title, step.output_db, kept=step.kept) for step in progress.steps]
    return tuple(point for point in points if point is not None)


def _point(label: str, interval: Interval, *, kept: bool) -> Point | None:
    if interval.mean is None:
        return None
    half = interval.half_width or 0.0
    tip = f"{label}: {formats.decibels(interval, unit='dB')}{'' if kept else ', not kept'}"
    return Point(label, interval.mean, interval.mean - half, interval.mean + half, kept, tip)


def rows_of(progress: QuantiseProgress) -> tuple[StepRow, ...]:
    """A row for every step that was run."""
    return tuple(_row(step) for step in progress.steps)


def _row(step: StepResult) -> StepRow:
    figures = formats.decibels(step.output_db), formats.decibels(step.gain_db)
    return StepRow((step.title, *figures, KEPT if step.kept else DROPPED), step.kept)


def data_text(document: Document) -> str:
    """What the model is calibrated on."""
    known = document.calibration
    if not document.is_open:
        return "No model is open"
    if not known.is_done:
        return "Not calibrated yet"
    return f"{known.samples:,} samples of {known.data}" if known.samples and known.data else known.data or "Calibrated"


def summary_of(progress: QuantiseProgress) -> str:
    """Before and after, and what that rests on."""
    before, after = (formats.decibels(it, unit="dB") for it in (progress.before_db, progress.output_db))
    agreement = "" if progress.agreement is None else f", {formats.percent(progress.agreement)} as float"
    parts = [f"Output {before} before, {after} now{agreement}."]
    if progress.total:
        stopped = ", stopped" if progress.stopped else ""
        parts.append(f"{len(progress.steps)} of {progress.total} steps{stopped}.")
    parts.append(f"Fitted on {progress.fitted} samples, judged on {progress.judged}.")
    return " ".join(parts)


def warning_of(progress: QuantiseProgress) -> str:
    """What to mistrust; "" for nothing."""
    if progress.judged >= FEW_SAMPLES:
        return ""
    half = progress.output_db.half_width
    width = "of one sample there is none" if half is None else f"it is ± {half:.1f} dB"
    return f"Few samples to judge by: mind the interval ({width})."


def why_not_apply(progress: QuantiseProgress | None, is_outdated: bool, is_same: bool) -> str:
    """Why the plan that was found cannot be applied; "" if it can."""
    if progress is None:
        return "Nothing was found yet"
    if is_outdated:
        return "The plan has changed since: run the preset again"
    return "It is the present plan" if is_same else ""
