"""When a model is near enough to float: classes that noise is expected to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Cancelled
from engine.quantise.enough import Answers, Enough, has_classes
from engine.quantise.step import Work
from engine.session import Session


def _answers(margins: np.ndarray, energy: float, count: int) -> Answers:
    every = np.full(len(margins), energy)
    return Answers(every, every, count, margins)


def test_the_flips_that_are_predicted_are_those_of_random_noise() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 3, 10))
    largest = np.sort(logits, axis=-1)
    answers = _answers(largest[..., -1] - largest[..., -2], 30.0, 30)
    noise = 0.02
    deviation = np.sqrt(noise * 30.0 / 30)
    found = [
        ((logits + rng.normal(scale=deviation, size=logits.shape)).argmax(-1) != logits.argmax(-1)).any(-1).mean()
        for _ in range(200)
    ]
    assert answers.flips(noise) == pytest.approx(np.mean(found), rel=0.15)
    assert answers.flips(0.0) < 1e-6


def test_either_of_both_is_enough() -> None:
    sure, unsure = (_answers(np.full((4, 1), margin), 10.0, 10) for margin in (5.0, 0.1))
    noise = 0.01  # 20 dB
    assert sure.are_kept(noise, Enough(output_db=30.0, flips=0.01))
    assert not unsure.are_kept(noise, Enough(output_db=30.0, flips=0.01))
    assert unsure.are_kept(noise, Enough(output_db=19.9, flips=0.01))
    assert not _answers(np.zeros((4, 0)), 10.0, 10).are_kept(noise, Enough(output_db=30.0, flips=0.01))


def test_answers_are_the_float_models(open_mobile: Callable[[], Session], softmax_project: Path) -> None:
    session = open_mobile()
    work = Work(tuple(session.samples(3)))
    found = Answers.of(session, work)
    logits = [np.asarray(session.run_float(sample.inputs)["logits"], np.float64) for sample in work.samples]
    largest = [np.sort(rows[0]) for rows in logits]
    assert found.margins[:, 0] == pytest.approx([row[-1] - row[-2] for row in largest], rel=1e-5)
    assert found.energy == pytest.approx([np.square(rows).sum() for rows in logits], rel=1e-5)
    assert found.spread == pytest.approx([10 * rows.var() for rows in logits], rel=1e-5)
    behind = Answers.of(Session.open(softmax_project), work)
    assert behind.margins == pytest.approx(found.margins) and behind.count == found.count == 10
    with pytest.raises(Cancelled):
        Answers.of(session, Work(work.samples, cancelled=lambda: True))


def test_what_has_classes(open_mobile: Callable[[], Session], softmax_project: Path) -> None:
    assert has_classes(open_mobile(), "logits")
    session = Session.open(softmax_project)
    assert has_classes(session, "logits")
    assert not has_classes(session, "probabilities"), "three axes, and no softmax behind it"
    picture = next(iter(session.graph.inputs))
    assert not has_classes(session, picture)
