"""Learned rounding: what was chosen is what the program has, and the outputs come closer to the float model's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.analyze.quality import measure
from engine.errors import Cancelled
from engine.ops.linear import Conv, Linear
from engine.program.types import Convolution, FullyConnected
from engine.quantise.rounding import LayerwiseRounding
from engine.quantise.step import Work
from engine.session import Session


def test_what_was_chosen_is_in_the_program_and_gains(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    before, plan = session.program(), session.plan
    samples = tuple(session.samples(8))
    told: list[tuple[int, int]] = []
    found = LayerwiseRounding()(session, Work(samples, lambda done, total: told.append((done, total))))
    assert session.plan is plan and session.program() is before
    assert told[0][0] == 1 and told[-1][0] == told[-1][1] == len(before.instructions)

    tried = session.with_plan(found)
    (digest,) = found.corrections
    correction = session.corrections.get(digest)
    macs = [node for node in session.graph.nodes if isinstance(node.op, Conv | Linear)]
    assert set(correction.weights) == set(correction.weight_scales) == {node.inputs[1] for node in macs}
    assert set(correction.biases) == {node.id for node in macs}
    program = tried.program()
    for instruction in program.instructions:
        if isinstance(instruction.op, Convolution | FullyConnected):
            node = next(node for node in macs if node.id in instruction.nodes)
            scales = correction.weight_scales[node.inputs[1]]
            chosen = correction.weights[node.inputs[1]] / scales.reshape(-1, *(1,) * (instruction.op.weight.ndim - 1))
            assert np.array_equal(instruction.op.weight, np.rint(chosen))
            in_steps = correction.biases[node.id] / (scales * program.types[instruction.inputs[0]].scale)
            assert np.array_equal(instruction.op.bias, np.rint(in_steps))
    assert (measure(tried, samples).gain_over(measure(session, samples)).mean or 0.0) > 1.0


def test_it_gives_the_same_each_time_also_on_top_of_itself(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    work = Work(tuple(session.samples(3)))
    first = LayerwiseRounding()(session, work)
    assert len(first.corrections) == 1
    assert LayerwiseRounding()(session, work) == first
    assert LayerwiseRounding()(session.with_plan(first), work) == first


def test_it_stops(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(0)
        return len(asked) > 4

    with pytest.raises(Cancelled):
        LayerwiseRounding()(session, Work(tuple(session.samples(2)), cancelled=cancelled))
    assert not session.plan.corrections
