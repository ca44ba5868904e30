"""The figures of the accuracy benchmark, on outputs whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import pages
from tests.benchmarks.scores import HeatMaps, OutputError, Pages, TopOne, figures_of


def _map(*boxes: tuple[int, int, int, int], value: float = 0.9) -> np.ndarray:
    found = np.zeros((60, 80), np.float32)
    for left, top, right, bottom in boxes:
        found[top:bottom, left:right] = value
    return found


def test_regions_of_a_map_are_grown_to_lines() -> None:
    (box,) = pages.boxes_of(_map((20, 20, 60, 30)))
    grown = 40 * 10 * 1.5 / 100
    assert box == (20 - grown, 20 - grown, 60 + grown, 30 + grown)


@pytest.mark.parametrize("unseen", [_map((20, 20, 60, 22)), _map((20, 20, 60, 30), value=0.5)])
def test_thin_and_doubtful_regions_are_no_lines(unseen: np.ndarray) -> None:
    assert pages.boxes_of(unseen) == []


def test_a_line_is_found_once() -> None:
    line = (10.0, 10.0, 50.0, 20.0)
    assert pages.matches([line, (11.0, 10.0, 50.0, 20.0), (60.0, 40.0, 70.0, 50.0)], [line]) == 1
    assert pages.overlap(line, (10.0, 10.0, 30.0, 20.0)) == 0.5


def test_hmean_counts_both_kinds_of_mistakes() -> None:
    score = Pages([[(14.0, 14.0, 66.0, 36.0)]])
    both = _map((20, 20, 60, 30))[None, None]
    more = _map((20, 20, 60, 30), (10, 45, 40, 55))[None, None]
    found = score.figures(score.numbers(both, more, 0))
    assert found["float Hmean"] == 1.0
    assert found["Hmean drop"] == pytest.approx(1 - 2 / 3)


def test_top_one_in_percent() -> None:
    score = TopOne(np.array([0, 1, 1, 0]))
    expected = np.eye(2)[[0, 1, 1, 1]]
    found = score.figures(score.numbers(expected, np.eye(2)[[0, 1, 0, 1]], 0))
    assert (found["float %"], found["integer %"], found["agreement %"]) == (75.0, 50.0, 75.0)


def test_decibels_are_of_all_samples_together() -> None:
    expected = np.array([[10.0, 0.0], [0.0, 10.0]])
    found = np.array([[11.0, 0.0], [0.0, 10.0]])
    numbers = OutputError().numbers(expected, found, 0)
    assert OutputError().figures(numbers)["SQNR dB"] == pytest.approx(10 * np.log10(200))


def test_interval_holds_the_value_and_narrows_with_samples() -> None:
    draw = np.random.default_rng(1)
    widths: list[float] = []
    for count in (20, 500):
        maps = draw.normal(size=(count, 64))
        numbers = HeatMaps().numbers(maps, maps + draw.normal(size=maps.shape) * 0.3, 0)
        figure = figures_of(HeatMaps(), numbers)[0]
        assert figure.low <= figure.value <= figure.high
        widths.append(figure.high - figure.low)
    assert widths[1] < widths[0] / 2
