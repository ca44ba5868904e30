"""Bias correction lowers the mean error of every layer that it touches, in the program itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import Cancelled
from engine.ops.linear import Conv, ConvTranspose, Linear
from engine.quantise.bias import SAMPLES, BiasCorrection
from engine.quantise.step import Work
from engine.session import Session


def mean_errors(session: Session, value: str, axis: int, count: int) -> NDArray[np.float64]:
    """Of each channel of a value, over samples."""
    others = tuple(at for at in range(len(session.graph.types[value].shape)) if at != axis)
    found = []
    for sample in session.samples(count):
        exact = session.evaluator.reference(sample)[value].double().numpy()
        made = session.evaluator.value(session.program(), sample, value).double().numpy()
        found.append((made - exact).mean(axis=others))
    return np.mean(found, axis=0)


def test_mean_errors_fall(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    plan = BiasCorrection()(session, Work(tuple(session.samples(8))))
    twin = session.with_plan(plan)
    correction = session.corrections.get(plan.corrections[0])
    assert len(correction.biases) > 20
    assert not correction.same and not correction.weights
    # Of the first layer nothing before it has changed: its means are brought nearer, channel by channel.
    resolution = session.resolve()
    layers = [node for node in session.graph.nodes if isinstance(node.op, Conv | ConvTranspose | Linear)]
    first = session.graph.by_id[resolution.unit_of[layers[0].id].last].outputs[0]
    before, after = mean_errors(session, first, 1, 8), mean_errors(twin, first, 1, 8)
    assert (np.abs(after) <= np.abs(before) + 1e-7).all()
    logits = session.graph.outputs[0]
    before, after = mean_errors(session, logits, 1, 8), mean_errors(twin, logits, 1, 8)
    assert np.abs(after).mean() < 0.5 * np.abs(before).mean()


def test_a_stop_and_progress(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    samples = tuple(session.samples(2))
    with pytest.raises(Cancelled):
        BiasCorrection()(session, Work(samples, cancelled=lambda: True))
    told: list[tuple[int, int]] = []
    BiasCorrection()(session, Work(samples, lambda done, total: told.append((done, total))))
    assert told[-1][0] == told[-1][1] == len(session.program().instructions)
    assert len(samples) <= SAMPLES
