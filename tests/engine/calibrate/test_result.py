"""Ranges as they are kept: thresholds and scales by method and level count."""

from __future__ import annotations

import msgspec
import pytest

from engine.calibrate.result import TensorRange, scale_of
from engine.errors import PlanError

RANGE = TensorRange(min=-4.0, max=3.0, percentile=2.5, mse=2.0, kl=1.5, mse16=3.9)


@pytest.mark.parametrize(
    ("method", "int8", "int16"),
    [("max", 4.0, 4.0), ("percentile", 2.5, 2.5), ("mse", 2.0, 3.9), ("kl", 1.5, 4.0)],
)
def test_threshold_by_method_and_levels(method: str, int8: float, int16: float) -> None:
    assert RANGE.threshold(method, 127) == int8
    assert RANGE.threshold(method, 32767) == int16
    assert RANGE.scale(method, 127) == int8 / 127


def test_unknown_method() -> None:
    with pytest.raises(PlanError, match="unknown calibration method 'magic'; choose one of: max, average, percentile"):
        RANGE.threshold("magic", 127)


@pytest.mark.parametrize("method", ["average", "p99.9", "p99.999", "table"])
def test_what_an_older_version_did_not_measure_is_asked_for_again(method: str) -> None:
    with pytest.raises(PlanError, match=f"the calibration has no ranges by '{method}'; calibrate again"):
        RANGE.threshold(method, 127)
    newer = msgspec.structs.replace(RANGE, average=2.1, p999=2.2, p99999=2.3, table=1.7)
    expected = {"average": 2.1, "p99.9": 2.2, "p99.999": 2.3, "table": 1.7}[method]
    assert newer.threshold(method, 127) == expected
    assert newer.threshold(method, 32767) == (3.9 if method == "table" else expected)


def test_scales_of_zero_and_tiny_ranges() -> None:
    zero = TensorRange(min=0.0, max=0.0, percentile=0.0, mse=0.0, kl=0.0, mse16=0.0)
    assert zero.scale("mse", 127) == 1 / 127
    assert scale_of(1e-44, 127) == 1 / 127
    assert scale_of(1e-30, 127) == 1e-30 / 127


@pytest.mark.parametrize("change", [{"min": 5.0}, {"mse": float("nan")}, {"max": float("inf")}, {"kl": -1.0}])
def test_impossible_ranges_are_refused(change: dict[str, float]) -> None:
    numbers = msgspec.structs.asdict(RANGE) | change
    with pytest.raises(ValueError, match=r"finite|exceed"):
        TensorRange(**numbers)
