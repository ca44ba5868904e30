"""What calibration data cannot tell: too few samples, or samples that are all the same."""

from __future__ import annotations

from engine.analyze.errors import relative_half_width
from engine.calibrate.result import CalibrationResult
from engine.graph.graph import Graph

FEWEST = 4
"""Samples: with fewer, presets fit and judge on the same ones, and an interval is wider than what it is about."""


def doubts(calibration: CalibrationResult, graph: Graph) -> tuple[str, ...]:
    """A line for each reason to trust a calibration, and what is measured on its samples, less than it looks."""
    found = [] if calibration.samples >= FEWEST else [_few(calibration.samples)]
    for name in graph.inputs:
        known = calibration.ranges.get(name)
        if known is not None and known.min == known.max:
            where = "the only sample" if calibration.samples == 1 else f"all {calibration.samples} samples"
            reason = f"model input '{name}' is {known.min:g} throughout {where}: the ranges hold for nothing else"
            found.append(f"{reason}; check the calibration data")
    return tuple(found)


def _few(samples: int) -> str:
    width = relative_half_width(samples)
    if width is None:
        return "calibrated on 1 sample: errors have no interval, ranges are those of one sample; use 32 or more"
    spread = f"± {width:.1f} times what the samples differ by (one standard deviation)"
    return f"calibrated on {samples} samples: the 95 % interval of an error is {spread}; use 32 or more"
