"""Whether post-training quantisation is enough: what plans lose, with the uncertainty of the samples counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from engine.advise.combine import min_db_of
from engine.advise.statistics import samples_that_decide
from engine.analyze.proportions import paired_drop, wilson
from engine.analyze.quality import Quality
from engine.reports import Evaluation, Interval
from engine.reports_advice import Aim, Answer, Bounds, Metric, Standing, Verdict


@dataclass(frozen=True)
class Score:
    """What a plan loses on ``samples`` samples: its bounds as measured, and those that other numbers of samples would
    have at the same rates. Points of a metric, or decibels of output SQNR."""

    metric: Metric
    samples: int
    bounds: Bounds
    bounds_at: Callable[[int], Bounds]
    output_db: Interval


def score_of(quality: Quality, aim: Aim) -> Score:
    """Without labels: the part of predictions that are not the float model's, which bounds what top-1 can lose.

    Predictions of one sample (the characters of a line) are not independent: a sample counts once. An output that is no
    choice of classes, or an aim in decibels, goes by the output's SQNR.
    """
    count, output_db = len(quality.sums), quality.output_db
    if aim.min_db is not None or quality.agreement is None:
        return Score(Metric.SQNR, count, _decibels(output_db, count, count), _decibels_at(output_db, count), output_db)
    return _agreement(1.0 - quality.agreement, count, output_db)


def score_of_data(found: Evaluation, aim: Aim) -> Score:
    """On data of its own: with labels what top-1 loses, from the samples that only one of both models has right;
    without, as :func:`score_of`."""
    count, output_db = found.samples, Interval(found.output_sqnr_db)
    if aim.min_db is not None:
        return Score(Metric.SQNR, count, _decibels(output_db, count, count), _decibels_at(output_db, count), output_db)
    if found.lost is None or found.won is None:
        return _agreement(1.0 - found.agreement, count, output_db)
    lost, won = found.lost / count, found.won / count

    def at(size: int) -> Bounds:
        return _points(paired_drop(lost * size, won * size, size))

    return Score(Metric.TOP1, count, at(count), at, output_db)


def _agreement(lost: float, count: int, output_db: Interval) -> Score:
    def at(size: int) -> Bounds:
        return _points(wilson(lost * size, size))

    return Score(Metric.AGREEMENT, count, at(count), at, output_db)


def _points(share: Bounds) -> Bounds:
    return Bounds(100.0 * share.value, 100.0 * share.low, 100.0 * share.high)


def _decibels_at(output_db: Interval, count: int) -> Callable[[int], Bounds]:
    return lambda size: _decibels(output_db, count, size)


def _decibels(output_db: Interval, count: int, size: int) -> Bounds:
    """The mean's bounds if ``size`` samples spread as those ``count`` do; without any interval for one sample."""
    mean = output_db.mean if output_db.mean is not None else math.inf
    half = math.inf if output_db.half_width is None else output_db.half_width * math.sqrt(count / size)
    return Bounds(mean, mean - half, mean + half) if math.isfinite(mean) else Bounds(mean, mean, mean)


@dataclass(frozen=True)
class Scored:
    """A plan's score, and what it costs against the present one."""

    title: str
    score: Score
    change_us: float = 0.0
    change_bytes: int = 0

    @property
    def standing(self) -> Standing:
        return Standing(self.title, self.score.bounds, self.score.output_db, self.change_us, self.change_bytes)


def verdict_of(aim: Aim, present: Scored, best: Scored | None, floor: Scored | None, remedies: int) -> Verdict:
    """The answer: enough where the bounds of a plan lie within the aim, QAT needed where those of all lie beyond it,
    int16 everywhere included. Undecided where they do not exclude either.
    """
    answer = _answer(aim, present, best, floor)
    last = best or present
    if floor is not None and _is_beyond(aim, last.score):
        last = floor
    needed = _samples_needed(aim, last.score) if answer is Answer.UNDECIDED else None
    return Verdict(
        answer=answer,
        text=_sentence(aim, answer, present, best, floor, remedies, last, needed),
        metric=present.score.metric,
        aim=aim,
        samples=present.score.samples,
        present=present.standing,
        best=None if best is None else best.standing,
        floor=None if floor is None else floor.standing,
        samples_needed=needed,
    )


def _answer(aim: Aim, present: Scored, best: Scored | None, floor: Scored | None) -> Answer:
    if _is_within(aim, present.score):
        return Answer.ENOUGH
    if best is not None and _is_within(aim, best.score):
        return Answer.WITH_REMEDIES
    is_lost = _is_beyond(aim, (best or present).score)
    if is_lost and floor is not None and _is_within(aim, floor.score):
        return Answer.WITH_INT16
    if is_lost and (floor is None or _is_beyond(aim, floor.score)):
        return Answer.TRAIN
    return Answer.UNDECIDED


def _is_within(aim: Aim, score: Score) -> bool:
    if score.metric is Metric.SQNR:
        return score.bounds.low >= min_db_of(aim)
    return score.bounds.high <= aim.max_drop


def _is_beyond(aim: Aim, score: Score) -> bool:
    if score.metric is Metric.SQNR:
        return score.bounds.high < min_db_of(aim)
    return score.bounds.low > aim.max_drop


def _samples_needed(aim: Aim, score: Score) -> int | None:
    if score.metric is Metric.SQNR:
        if not math.isfinite(score.bounds.high):
            return None  # one sample has no spread to go by
        return samples_that_decide(lambda size: _negated(score.bounds_at(size)), -min_db_of(aim), score.samples)
    return samples_that_decide(score.bounds_at, aim.max_drop, score.samples)


def _negated(bounds: Bounds) -> Bounds:
    return Bounds(-bounds.value, -bounds.high, -bounds.low)


# Sentences


def _sentence(
    aim: Aim,
    answer: Answer,
    present: Scored,
    best: Scored | None,
    floor: Scored | None,
    remedies: int,
    last: Scored,
    needed: int | None,
) -> str:
    score = present.score
    others = [] if best is None else [f"with {_counted(remedies, 'remedy', 'remedies')} {_figure(best.score)}"]
    if floor is not None and answer is not Answer.ENOUGH:
        others.append(f"with int16 everywhere {_figure(floor.score)}")
    if score.metric is Metric.SQNR:
        present_text, wanted = f"reaches an output SQNR of {_figure(score)} dB", f"{min_db_of(aim):g} dB are wanted"
    else:
        present_text = f"loses {_figure(score)} points of {score.metric.value}"
        wanted = f"{aim.max_drop:g} {'is' if aim.max_drop == 1 else 'are'} allowed"
    text = ", ".join([f"The present plan {present_text}", *others])
    outlook = _outlook(aim, answer, last, needed)
    return f"{text}; {wanted}. {_counted(score.samples, 'sample', 'samples')}.{outlook}"


def _outlook(aim: Aim, answer: Answer, last: Scored, needed: int | None) -> str:
    if answer is not Answer.UNDECIDED:
        return ""
    score = last.score
    if score.metric is Metric.SQNR:
        leans = score.bounds.value >= min_db_of(aim)
    else:
        leans = score.bounds.value <= aim.max_drop
    so_far = " So far PTQ looks enough" if leans else " So far it looks as if QAT is needed"
    if needed is None:
        return f"{so_far}; no number of samples would decide at this rate."
    return f"{so_far}; {needed:,} samples at this rate would decide."


def _figure(score: Score) -> str:
    """The figure with its bounds."""
    bounds = score.bounds
    digits = 1 if score.metric is Metric.SQNR else 2
    value, low, high = (_number(value, digits) for value in (bounds.value, bounds.low, bounds.high))
    return f"{value} ({low} to {high})"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "?"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
