"""Promotion to int16: what a source's noise is, what budgets allow, and that it pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.analyze.evaluator import Sample
from engine.analyze.felt import felt_values
from engine.analyze.quality import measure
from engine.errors import Cancelled
from engine.precision import Precision
from engine.quantise.bias import BiasCorrection
from engine.quantise.promote import Budget, Replay, Source, promote, share_at_int16, sources, within
from engine.quantise.step import Work
from engine.session import Session


@pytest.fixture
def session(open_mobile: Callable[[], Session]) -> Session:
    return open_mobile()


def _work(session: Session, count: int = 1) -> Work:
    return Work(tuple(session.samples(count)))


def _at_int16(session: Session) -> int:
    return share_at_int16(session)[0]


def _operators(session: Session) -> int:
    return share_at_int16(session)[1]


@pytest.fixture(scope="module")
def measured(mobile_project: Path) -> tuple[Session, tuple[Sample, ...], list[Source], NDArray[np.float64]]:
    session = Session.open(mobile_project)
    samples = tuple(session.samples(2))
    return session, samples, *sources(session, samples, Work(samples))


Measured = tuple[Session, tuple[Sample, ...], list[Source], NDArray[np.float64]]


def test_noise_is_what_one_unit_in_int8_changes(measured: Measured) -> None:
    session, samples, found, floor = measured
    wide = session.with_plan(session.plan.mark(tuple(n for item in found for n in item.nodes), Precision.INT16))
    wide = wide.with_plan(BiasCorrection()(wide, Work(samples)))
    (value,) = felt_values(session.graph, wide.program().value_of)
    exact = session.evaluator.reference(samples[0])[value].double()
    signal = float(exact.square().sum())
    base = session.evaluator.value(wide.program(), samples[0], value).double()
    assert floor[0] == pytest.approx(float((base - exact).square().sum()) / signal, rel=1e-4)
    for source in sorted(found, key=lambda item: -item.noise[0])[:3]:
        back = wide.with_plan(wide.plan.mark(source.nodes, Precision.AUTO))
        other = session.evaluator.value(back.program(), samples[0], value).double()
        assert source.noise[0] == pytest.approx(float((other - base).square().sum()) / signal, rel=1e-4)
        assert source.noise[0] > 0


def test_noises_add_up(measured: Measured) -> None:
    """What is predicted for all units in int8 is what they measure together, within 3 dB."""
    session, samples, found, floor = measured
    predicted = floor + np.sum([source.noise for source in found], axis=0)
    (value,) = felt_values(session.graph, session.program().value_of)
    exact = [session.evaluator.reference(sample)[value].double() for sample in samples]
    errors = [
        session.evaluator.value(session.program(), sample, value).double() - wanted
        for sample, wanted in zip(samples, exact, strict=True)
    ]
    expected = sum(noise * float(wanted.square().sum()) for noise, wanted in zip(predicted, exact, strict=True))
    assert abs(10 * np.log10(expected / sum(float(error.square().sum()) for error in errors))) < 3.0


def test_replay_of_the_same_program_changes_nothing(session: Session) -> None:
    sample = next(iter(session.samples(1)))
    program = session.program()
    replay = Replay(program, sample, felt_values(session.graph, program.value_of))
    assert replay.change(program) == 0.0


def _with(measured: Measured, budget: Budget) -> Session:
    session, samples, found, floor = measured
    return session.with_plan(within(session, found, floor, Work(samples), budget))


def test_it_pays_within_the_budget(measured: Measured) -> None:
    session, samples, _, _ = measured
    few = _with(measured, Budget(share=0.1, latency=None))
    more = _with(measured, Budget(share=0.4, latency=None))
    assert 0 < _at_int16(few) <= 0.1 * _operators(session)
    assert _at_int16(few) < _at_int16(more) <= 0.4 * _operators(session)
    assert measure(more, samples).loss < measure(few, samples).loss < measure(session, samples).loss


def test_it_keeps_within_a_latency(measured: Measured) -> None:
    present = measured[0].estimate().latency_ms
    bounded = _with(measured, Budget(share=0.5, latency=1.002)).estimate().latency_ms
    free = _with(measured, Budget(share=0.5, latency=None)).estimate().latency_ms
    assert present < bounded <= 1.002 * present < free


def test_it_stops_at_the_target(measured: Measured) -> None:
    session, samples, found, floor = measured
    best = _with(measured, Budget(share=0.4, latency=None))
    before, after = (measure(item, samples).output_db.mean for item in (session, best))
    assert before is not None and after is not None
    target = (before + after) / 2
    stopped = _with(measured, Budget(share=0.4, latency=None, target_db=target))
    reached = measure(stopped, samples).output_db.mean
    assert reached is not None and target <= reached
    assert _at_int16(stopped) < _at_int16(best)
    reached_already = Budget(target_db=before - 1.0)
    assert within(session, found, floor, Work(samples), reached_already) is session.plan


def test_biases_are_fitted_to_the_new_precisions(measured: Measured) -> None:
    session, samples, found, floor = measured
    work = Work(samples)
    corrected = session.with_plan(BiasCorrection()(session, work))
    plan = within(corrected, found, floor, work, Budget(share=0.4, latency=None))
    assert len(plan.corrections) == 1
    assert plan.corrections != corrected.plan.corrections
    stale = session.with_plan(replace(plan, corrections=corrected.plan.corrections))
    assert measure(session.with_plan(plan), samples).loss < measure(stale, samples).loss


def test_marks_of_the_user_stay(session: Session) -> None:
    nodes = tuple(node.id for node in session.graph.nodes)
    session.set_plan(session.plan.mark(nodes[:-8], Precision.INT8))
    plan = promote(session, _work(session), Budget(share=0.2, latency=None))
    assert plan is not session.plan
    assert all(plan.requested(node) is Precision.INT8 for node in nodes[:-8])


def test_it_can_be_stopped(session: Session) -> None:
    samples = tuple(session.samples(1))
    with pytest.raises(Cancelled):
        promote(session, Work(samples, cancelled=lambda: True))
