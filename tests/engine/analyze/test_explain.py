"""Errors by sample, output and channel, and where two runs part."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.analyze.explain import (
    NodeStory,
    channel_axis,
    channel_errors,
    output_errors,
    parting,
    worst_first,
)
from engine.errors import Cancelled, PlanError
from engine.precision import Precision
from engine.session import Session

OpenMobile = Callable[[], Session]


def never() -> bool:
    return False


@pytest.fixture
def session(open_mobile: OpenMobile) -> Session:
    return open_mobile()


def layers(session: Session) -> list[str]:
    return [node.id for node in session.graph.nodes if node.op.type_name == "Conv"]


def test_the_worst_sample_is_first() -> None:
    found = worst_first([30.0, 10.0, math.inf, 20.0, 10.0])
    assert [item.sample for item in found] == [1, 4, 3, 0, 2]
    assert found[-1].sqnr_db is None


def test_a_story_has_the_errors_of_the_analysis(session: Session) -> None:
    node = layers(session)[4]
    story = NodeStory(session, node)
    for sample in session.samples(3):
        story.add(sample, never)
    found = story.report()
    error = next(row for row in session.analyze(3).nodes if row.id == node)
    levels = [item.sqnr_db for item in found.samples if item.sqnr_db is not None]
    assert np.mean(levels) == pytest.approx(error.accumulated_db.mean, abs=1e-6)
    assert found.attribution.introduced_db.mean == pytest.approx(error.introduced_db.mean, abs=0.02)
    with pytest.raises(PlanError, match="no node 'ghost'"):
        NodeStory(session, "ghost")


def test_outputs_have_the_error_of_the_model(session: Session) -> None:
    (found,) = output_errors(session, 3, never)
    assert found.sqnr_db.mean == pytest.approx(session.analyze(3).output_sqnr_db.mean, abs=0.01)
    assert found.node == session.graph.nodes[-1].id or found.node in session.graph.by_id
    with pytest.raises(Cancelled):
        output_errors(session, 3, lambda: True)


def test_noise_of_channels_adds_up_to_the_nodes(session: Session) -> None:
    node = session.resolve().unit_of[layers(session)[4]].last
    found = channel_errors(session, node, 2, never)
    value = session.graph.by_id[node].outputs[0]
    assert len(found.sqnr_db) == session.graph.types[value].shape[1]
    sums = [session.evaluator.accumulated(session.program(), sample)[value] for sample in session.samples(2)]
    power = np.zeros(len(found.sqnr_db))
    for sample in session.samples(2):
        reference = session.evaluator.reference(sample)[value].double().numpy()
        power += (reference**2).sum(axis=(0, 2, 3))
    levels = np.array([math.inf if level is None else level for level in found.sqnr_db])
    noise = (power * 10.0 ** (-levels / 10.0)).sum()
    assert noise == pytest.approx(sum(item.error_squared for item in sums), rel=1e-3)


def test_channels_are_where_the_layout_has_them() -> None:
    assert [channel_axis(rank) for rank in range(6)] == [0, 0, 1, 2, 1, 1]


def test_two_plans_part_where_they_differ(session: Session) -> None:
    layer = layers(session)[5]
    changed = session.with_plan(session.plan.mark((layer,), Precision.INT16))
    found = parting(session, changed, 2, never)
    assert found.first == session.resolve().unit_of[layer].last
    before = [gap for gap in found.nodes if gap.between_db.mean is None]
    assert before and found.nodes[0] == before[0], "what comes before it is the same"
    assert all(gap.gain_db.mean == 0.0 for gap in before)
    same = parting(session, session.with_plan(session.plan), 2, never)
    assert same.first == same.largest == ""


def test_other_models_are_not_compared(session: Session, models: Path) -> None:
    other = Session.open(models / "swin_fmnist.onnx")
    with pytest.raises(PlanError, match="different models"):
        parting(session, other, 1, never)
