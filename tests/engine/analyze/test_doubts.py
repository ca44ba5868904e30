"""What is said of calibration data that tell little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.analyze.doubts import FEWEST
from engine.analyze.errors import interval_of, relative_half_width
from engine.session import Session


def _calibrated(models: Path, folder: Path, images: np.ndarray) -> Session:
    np.savez(folder / "data.npz", image=images)
    session = Session.open(models / "mobile_fmnist.onnx")
    session.calibrate(folder / "data.npz", quick=True)
    return session


def _pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 1, 28, 28)).astype(np.float32)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "calibrated on 1 sample: errors have no interval"),
        (2, "calibrated on 2 samples: the 95 % interval of an error is ± 9.0 times"),
        (3, "calibrated on 3 samples: the 95 % interval of an error is ± 2.5 times"),
    ],
)
def test_too_few_samples_are_told_with_their_interval(models: Path, tmp_path: Path, count: int, said: str) -> None:
    session = _calibrated(models, tmp_path, _pictures(count))
    (warning,) = session.warnings
    assert warning.startswith(said)
    (kept,) = Session.open(session.save(tmp_path / "few.qscope")).warnings
    assert kept == warning


def test_samples_that_are_all_the_same_are_told(models: Path, tmp_path: Path) -> None:
    (warning,) = _calibrated(models, tmp_path, np.full((FEWEST, 1, 28, 28), 0.5, np.float32)).warnings
    assert warning.startswith("model input 'image' is 0.5 throughout all 4 samples")


def test_there_is_nothing_to_say_of_good_data(models: Path, tmp_path: Path) -> None:
    assert _calibrated(models, tmp_path, _pictures(FEWEST)).warnings == ()


def test_the_width_is_that_of_intervals() -> None:
    values = [30.0, 31.0, 35.0]
    width = relative_half_width(len(values))
    assert width is not None
    assert interval_of(values).half_width == pytest.approx(width * np.std(values, ddof=1))
    assert relative_half_width(1) is None
