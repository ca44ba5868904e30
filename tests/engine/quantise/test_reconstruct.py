"""Block reconstruction: what was learned is what the program has; it gains where there is something to gain, and keeps
nothing by chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.analyze.quality import measure
from engine.errors import Cancelled
from engine.ops.linear import Conv, Linear
from engine.plan.types import Plan
from engine.program.types import Convolution, FullyConnected
from engine.quantise import blocks
from engine.quantise.block_learner import Rates
from engine.quantise.reconstruct import BlockReconstruction
from engine.quantise.step import Work
from engine.session import Session

FEW = BlockReconstruction(iterations=6, batch=4, rates=Rates(0.2, 0.05, 0.01), certain=False)


def narrowed(session: Session, factor: float) -> Plan:
    """The plan with too small ranges of what the first residual blocks give."""
    found = blocks.blocks_of(session.graph, session.resolve(), session.program())
    types = session.program().types
    return session.plan.with_thresholds(
        {block.outputs[0]: factor * 127 * types[block.outputs[0]].scale for block in found[:3]}
    )


def test_the_integers_that_were_learned_are_in_the_program(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    before, plan = session.program(), session.plan
    told: list[tuple[int, int]] = []
    found = FEW(session, Work(tuple(session.samples(6)), lambda done, total: told.append((done, total))))
    assert session.plan is plan and session.program() is before
    assert told[-1][0] == told[-1][1] and [done for done, _ in told] == sorted(done for done, _ in told)

    (digest,) = found.corrections
    correction, program = session.corrections.get(digest), session.with_plan(found).program()
    nodes = session.graph.by_id
    seen = moved = 0
    for old, new in zip(before.instructions, program.instructions, strict=True):
        node = next((nodes[name] for name in new.nodes if isinstance(nodes[name].op, Conv | Linear)), None)
        if node is None or node.inputs[1] not in correction.weights:
            continue
        if isinstance(new.op, Convolution | FullyConnected) and isinstance(old.op, Convolution | FullyConnected):
            scales = correction.weight_scales[node.inputs[1]]
            learned = correction.weights[node.inputs[1]] / scales.reshape(-1, *(1,) * (new.op.weight.ndim - 1))
            np.testing.assert_allclose(learned, np.rint(learned), atol=1e-3)
            assert np.array_equal(new.op.weight, np.rint(learned))
            in_steps = correction.biases[node.id] / (scales * program.types[new.inputs[0]].scale)
            assert np.array_equal(new.op.bias, np.rint(in_steps))
            seen += 1
            moved += int((old.op.weight != new.op.weight).sum())
    assert seen >= 4 and moved > 100


def test_ranges_and_weights_are_learned_where_there_is_something_to_gain(models: Path) -> None:
    session = Session.open(models / "mobile_fmnist.qscope")
    samples = tuple(session.samples(28))
    tried = session.with_plan(narrowed(session, 0.4))
    found = BlockReconstruction(iterations=8, rates=Rates(0.01, 0.02, 0.15))(tried, Work(samples[:20]))
    assert len(found.corrections) == 1
    assert all(found.thresholds[name] > 1.3 * value for name, value in tried.plan.thresholds.items())
    gain = measure(tried.with_plan(found), samples[20:]).gain_over(measure(tried, samples[20:]))
    assert gain.mean is not None and gain.half_width is not None and gain.mean - gain.half_width > 3.0


def test_what_chance_picks_follows_from_the_seed(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    work, once = Work(tuple(session.samples(4))), replace(FEW, iterations=1)
    first = once(session, work)
    assert first.corrections and once(session, work) == first
    assert replace(once, seed=1)(session, work) != first
    assert replace(once, dropped=0.0)(session, work) != first


def test_nothing_is_kept_that_may_be_chance(open_mobile: Callable[[], Session]) -> None:
    """One sample judges: its gain has no interval."""
    session = open_mobile()
    work = Work(tuple(session.samples(6)))
    assert replace(FEW, iterations=1, certain=True)(session, work) is session.plan


def test_it_stops(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(0)
        return len(asked) > 9

    with pytest.raises(Cancelled):
        FEW(session, Work(tuple(session.samples(4)), cancelled=cancelled))
    assert len(asked) == 10 and not session.plan.corrections
