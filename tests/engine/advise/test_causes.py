"""Causes in words: each with the numbers of what a sample shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.advise.causes import Evidence, causes_of, evidence_of, in_words, outliers
from engine.advise.remedies import Site
from engine.analyze.causes import attribute
from engine.precision import Precision
from engine.qtype import QType
from engine.quantise.causes import ChannelCauses
from engine.reports_advice import CauseKind
from engine.reports_analysis import Cause
from engine.session import Session

PROJECT = "/blocks.0/project/conv/Conv"


@pytest.fixture(scope="module")
def session(mobile_project: Path) -> Session:
    return Session.open(mobile_project)


def evidence(values: NDArray[np.float64], threshold: float = 1.0, in_scale: float | None = 0.05) -> Evidence:
    return Evidence(values, QType("int8", threshold / 127), in_scale)


def uniform(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).uniform(-1.0, 1.0, shape)


def text(cause: Cause, shown: Evidence) -> str:
    return in_words(cause, 0.5, shown).text


def test_every_cause_has_words() -> None:
    kinds = {in_words(cause, 0.5, evidence(uniform(1, 8, 4, 4))).kind for cause in Cause}
    assert len(kinds) == len(Cause)


def test_clipping_says_how_much() -> None:
    values = uniform(1, 10, 10, 10)
    values.reshape(-1)[:30] = 3.0
    assert text(Cause.CLIPPING, evidence(values)) == "clips 3.0 % of its values at ±1 (they reach 3)"
    assert text(Cause.CLIPPING, evidence(uniform(4, 4), 2.0)) == "clips what it reads"


def test_rounding_says_how_coarse() -> None:
    assert text(Cause.REQUANTISATION, evidence(uniform(64, 64))) == "rounding of its output to steps of 0.00787"
    small = text(Cause.REQUANTISATION, evidence(0.01 * uniform(64, 64)))
    assert small == "rounding of its output to steps of 0.00787; a typical value is 0.7 steps"
    assert text(Cause.INPUT, evidence(uniform(4, 4))) == "rounding of what it reads to steps of 0.05"
    assert text(Cause.INPUT, evidence(uniform(4, 4), in_scale=None)) == "rounding of what it reads"
    assert text(Cause.TABLE, evidence(uniform(4, 4))).startswith("its table: an entry every 0.05 of its input")


def test_single_values_that_set_the_range() -> None:
    values = 0.01 * uniform(64, 64)
    values[0, 0] = 1.0
    (cause,) = outliers(evidence(values))
    assert cause.kind is CauseKind.OUTLIERS
    assert cause.text.startswith("its range ±1 is ")
    assert outliers(evidence(uniform(64, 64))) == ()
    assert outliers(evidence(np.zeros((4, 4)))) == ()


def test_a_real_unit_has_causes_and_the_largest_comes_first(session: Session) -> None:
    place = Site(session, session.resolve().unit_of[PROJECT])
    (sample,) = session.samples(1)
    (attribution,) = attribute(session, [PROJECT], 1, lambda: False)
    causes = causes_of(place, sample, attribution, ChannelCauses(session, (sample,)))
    shares = [cause.share for cause in causes if cause.share is not None]
    assert shares
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1.0, abs=0.2)


def test_a_float_unit_has_none(session: Session) -> None:
    floating = session.with_plan(session.plan.mark((PROJECT,), Precision.FLOAT))
    (sample,) = session.samples(1)
    assert evidence_of(Site(floating, floating.resolve().unit_of[PROJECT]), sample) is None
