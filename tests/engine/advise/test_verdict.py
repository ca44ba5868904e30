"""The verdict: what follows from which bounds, and the sentence with the numbers."""

from __future__ import annotations

import pytest

from engine.advise.verdict import Score, Scored, score_of, score_of_data, verdict_of
from engine.analyze.metrics import ErrorSums
from engine.analyze.quality import Quality
from engine.reports import Evaluation
from engine.reports_advice import Aim, Answer, Metric

AIM = Aim(max_drop=0.5)


def agreeing(share: float, samples: int) -> Score:
    """Of so many samples that share agrees; an output of 20 dB, a little more or less."""
    sums = tuple(ErrorSums(1, 1.0 + 0.1 * (index % 2), 100.0, 100.0, 100.0, 1.0) for index in range(samples))
    return score_of(Quality(sums, share), AIM)


def labelled(lost: int, won: int, samples: int) -> Score:
    found = Evaluation(samples, 0.9, 0.9 - (lost - won) / samples, 0.95, 25.0, 0, lost, won)
    return score_of_data(found, AIM)


@pytest.mark.parametrize(
    ("present", "best", "expected"),
    [
        (labelled(1, 1, 5000), None, Answer.ENOUGH),
        (labelled(100, 10, 5000), labelled(1, 1, 5000), Answer.WITH_REMEDIES),
        (labelled(100, 10, 5000), labelled(90, 10, 5000), Answer.TRAIN),
        (labelled(100, 10, 5000), None, Answer.TRAIN),
        (labelled(1, 0, 100), labelled(0, 0, 100), Answer.UNDECIDED),
        (agreeing(1.0, 64), None, Answer.UNDECIDED),
        (agreeing(1.0, 800), None, Answer.ENOUGH),
        (agreeing(0.5, 64), None, Answer.TRAIN),
    ],
)
def test_the_answer_follows_from_the_bounds(present: Score, best: Score | None, expected: Answer) -> None:
    scored = None if best is None else Scored("best", best)
    verdict = verdict_of(AIM, Scored("present", present), scored, None, 2)
    assert verdict.answer is expected
    assert (verdict.samples_needed is not None) == (expected is Answer.UNDECIDED)


@pytest.mark.parametrize(
    ("floor", "expected"),
    [
        (labelled(1, 1, 5000), Answer.WITH_INT16),
        (labelled(90, 10, 5000), Answer.TRAIN),
        (labelled(0, 0, 100), Answer.UNDECIDED),
    ],
)
def test_what_int16_mends_needs_no_training(floor: Score, expected: Answer) -> None:
    lossy = Scored("present", labelled(100, 10, 5000))
    assert verdict_of(AIM, lossy, None, Scored("floor", floor), 0).answer is expected


def test_the_sentence_has_the_numbers() -> None:
    present, best = Scored("present", labelled(115, 12, 5000)), Scored("best", labelled(5, 5, 5000), 12.0, 4096)
    verdict = verdict_of(AIM, present, best, Scored("floor", labelled(1, 1, 5000)), 2)
    assert verdict.metric is Metric.TOP1
    assert verdict.text == (
        "The present plan loses 2.06 (1.62 to 2.50) points of top-1, with 2 remedies 0.00 (−0.14 to 0.14), with int16 "
        "everywhere 0.00 (−0.08 to 0.08); 0.5 are allowed. 5,000 samples."
    )
    assert verdict.best is not None
    assert (verdict.best.change_us, verdict.best.change_bytes) == (12.0, 4096)


def test_too_few_samples_say_how_many_would_do() -> None:
    verdict = verdict_of(AIM, Scored("present", agreeing(1.0, 64)), None, None, 0)
    assert verdict.text == (
        "The present plan loses 0.00 (0.00 to 5.66) points of agreement; 0.5 are allowed. 64 samples. So far PTQ looks "
        "enough; 765 samples at this rate would decide."
    )


def test_an_output_without_classes_goes_by_decibels() -> None:
    sums = tuple(ErrorSums(1, 1.0, level, 1.0, 1.0, 1.0) for level in (100.0, 110.0, 120.0))
    score = score_of(Quality(sums, None), Aim())
    assert score.metric is Metric.SQNR
    assert verdict_of(Aim(min_db=15.0), Scored("p", score), None, None, 0).answer is Answer.ENOUGH
    assert verdict_of(Aim(), Scored("p", score), None, None, 0).answer is Answer.TRAIN
    near = verdict_of(Aim(min_db=20.2), Scored("p", score), None, None, 0)
    assert near.answer is Answer.UNDECIDED
    assert near.samples_needed is not None
    assert near.samples_needed > 3
    asked = score_of(Quality(sums, 1.0), Aim(min_db=20.0))
    assert asked.metric is Metric.SQNR, "an aim in decibels is one, whatever the output is"


def test_one_sample_decides_nothing() -> None:
    score = score_of(Quality((ErrorSums(1, 1.0, 100.0, 1.0, 1.0, 1.0),), None), Aim())
    verdict = verdict_of(Aim(min_db=10.0), Scored("present", score), None, None, 0)
    assert verdict.answer is Answer.UNDECIDED
    assert verdict.samples_needed is None
