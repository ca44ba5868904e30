"""Sessions of the demo models for the export tests, calibrated once, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from engine.session import Session

MODELS = Path(__file__).resolve().parents[3] / "resources" / "models"
Marks = tuple[tuple[str, str], ...]
Arrays = Mapping[str, np.ndarray]


def opened(name: str, marks: Marks = ()) -> Session:
    """A demo model, calibrated on a few samples, with nodes marked."""
    session = Session.open(MODELS / f"{name}.onnx")
    base = _calibrated(name)
    session.calibration, session.data = base.calibration, base.data
    for pattern, precision in marks:
        session.mark(pattern, precision)
    return session


@cache
def _calibrated(name: str) -> Session:
    session = Session.open(MODELS / f"{name}.onnx")
    session.calibrate(MODELS / "fmnist_samples.npz", recipe=MODELS / "fmnist.toml", samples=32)
    return session


def stacked(session: Session, count: int) -> Arrays:
    """The first samples in one array an input, [count, ...]."""
    samples = [sample.inputs for sample in session.samples(count)]
    return {name: np.concatenate([sample[name] for sample in samples]) for name in session.graph.inputs}


def expected_outputs(session: Session, count: int) -> Arrays:
    """The session's own outputs for them, [count, ...]."""
    results = [session.run(sample.inputs) for sample in session.samples(count)]
    return {name: np.concatenate([result[name] for result in results]) for name in session.graph.outputs}


def same_bits(a: Arrays, b: Arrays) -> bool:
    """Same names, types, shapes and bits."""
    return a.keys() == b.keys() and all(
        (a[name].dtype, a[name].shape, a[name].tobytes()) == (b[name].dtype, b[name].shape, b[name].tobytes())
        for name in a
    )
