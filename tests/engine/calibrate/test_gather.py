"""Calibrating a real model: quickly, and in two goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.calibrate.result import CalibrationResult
from engine.errors import Cancelled
from engine.session import Session
from engine.threads import torch_threads


def test_a_quick_calibration_has_the_extrema_and_nearly_the_thresholds(
    models: Path, samples: Path, recipe: Path
) -> None:
    session = Session.open(models / "mobile_fmnist.onnx")
    full = session.calibrate(samples, recipe=recipe, samples=32).ranges
    quick = session.calibrate(samples, recipe=recipe, samples=32, quick=True).ranges
    assert set(quick) == set(full)
    made = [node.outputs[0] for node in session.graph.nodes if node.id in {u.last for u in session.resolve().units}]
    for value in made:
        assert quick[value].min == pytest.approx(full[value].min, rel=1e-4, abs=1e-6)
        assert quick[value].max == pytest.approx(full[value].max, rel=1e-4, abs=1e-6)
    ratios = [quick[value].mse / full[value].mse for value in made]
    assert np.abs(np.log(ratios)).max() < 0.2


@pytest.mark.parametrize("quick", [False, True])
def test_threads_change_nothing(models: Path, samples: Path, recipe: Path, quick: bool) -> None:
    found: list[CalibrationResult] = []
    for threads in (1, 2):
        with torch_threads(threads):
            session = Session.open(models / "mobile_fmnist.onnx")
            found.append(session.calibrate(samples, recipe=recipe, samples=160, quick=quick))
            assert torch.get_num_threads() == threads
    assert found[0] == found[1]


def test_a_stopped_calibration_goes_on_and_comes_to_the_same(models: Path, samples: Path, recipe: Path) -> None:
    session = Session.open(models / "mobile_fmnist.onnx")
    done: list[int] = []

    def calibrate(stop_after: int) -> None:
        session.calibrate(
            samples,
            recipe=recipe,
            samples=48,
            progress=lambda count, _: done.append(count),
            cancelled=lambda: len(done) == stop_after,
        )

    with pytest.raises(Cancelled):
        calibrate(stop_after=1)
    assert session.calibration is None
    calibrate(stop_after=0)
    assert len(done) == len(set(done)) and done[-1] == 48
    resumed = session.calibration
    fresh = Session.open(models / "mobile_fmnist.onnx").calibrate(samples, recipe=recipe, samples=48)
    assert resumed == fresh


def test_other_data_start_from_the_beginning(models: Path, samples: Path, recipe: Path) -> None:
    session = Session.open(models / "mobile_fmnist.onnx")
    done: list[int] = []
    with pytest.raises(Cancelled):
        session.calibrate(
            samples,
            recipe=recipe,
            samples=48,
            progress=lambda count, _: done.append(count),
            cancelled=lambda: len(done) == 1,
        )
    found = session.calibrate(samples, recipe=recipe, samples=16)
    assert found == Session.open(models / "mobile_fmnist.onnx").calibrate(samples, recipe=recipe, samples=16)
