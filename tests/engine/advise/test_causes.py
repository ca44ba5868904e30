"""Causes in words: each found where it was put, with its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.advise.causes import Evidence, causes_of, look_for
from engine.advise.remedies import Site
from engine.qtype import QType
from engine.reports_advice import CauseKind
from engine.session import Session

PROJECT = "/blocks.0/project/conv/Conv"


@pytest.fixture(scope="module")
def place(mobile_project: Path) -> Site:
    session = Session.open(mobile_project)
    return Site(session, session.resolve().unit_of[PROJECT])


def found(place: Site, values: NDArray[np.float64], threshold: float, before: float = 0.0) -> dict[CauseKind, str]:
    """What is found for values with a range, where ``before`` is the mean square that came in before the output."""
    scale = threshold / 127
    error = values - np.clip(np.rint(values / scale), -128, 127) * scale
    evidence = Evidence(place, values, QType("int8", scale), float(np.mean(error**2)) + before)
    return {cause.kind: cause.text for cause in look_for(evidence)}


def uniform(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).uniform(-1.0, 1.0, shape)


def test_plain_rounding_is_named_as_such(place: Site) -> None:
    assert found(place, uniform(1, 8, 16, 16), 1.0) == {
        CauseKind.REQUANTISATION: "rounding of its output to steps of 0.00787"
    }


def test_clipping_says_how_much(place: Site) -> None:
    values = uniform(1, 10, 10, 10)
    values.reshape(-1)[:30] = 3.0
    text = found(place, values, 1.0)[CauseKind.CLIPPING]
    assert text == "clips 3.0 % of its values at ±1 (they reach 3)"


def test_one_large_channel_is_named(place: Site) -> None:
    values = uniform(1, 8, 16, 16)
    values[:, 5] *= 40.0
    text = found(place, values, 40.0)[CauseKind.CHANNELS]
    assert text.startswith("channel 5 reaches 40× the median channel (±")
    assert text.endswith("half of the channels have 3 levels or fewer")
    assert CauseKind.CHANNELS in found(place, np.moveaxis(values, 1, 3).reshape(1, 256, 8), 40.0), "tokens, last axis"


def test_outliers_take_the_range(place: Site) -> None:
    values = 0.01 * uniform(1, 8, 64, 64)
    values[0, 0, 0, 0] = 1.0
    causes = found(place, values, 1.0)
    assert causes[CauseKind.OUTLIERS].startswith("its range ±1 is ")
    assert causes[CauseKind.REQUANTISATION].endswith("a typical value is 1.0 steps")


def test_what_the_output_does_not_explain_came_in_before(place: Site) -> None:
    causes = found(place, uniform(1, 8, 16, 16), 1.0, before=1e-3)
    assert causes[CauseKind.WEIGHTS] == "rounding of its weights and of what it reads"


def test_a_real_unit_has_causes_and_the_largest_comes_first(place: Site) -> None:
    (sample,) = place.session.samples(1)
    added = place.session.evaluator.introduced(place.session.program(), sample)[PROJECT]
    causes = causes_of(place, sample, added)
    shares = [cause.share or 0.0 for cause in causes]
    assert causes
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1.0, abs=0.15)
