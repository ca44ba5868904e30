"""Presets keep the steps that gain on samples which these have not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from engine.errors import Cancelled, PlanError
from engine.ops.linear import Linear
from engine.plan.corrections import Correction
from engine.plan.types import Plan
from engine.precision import Precision
from engine.quantise import presets
from engine.quantise.enough import Enough
from engine.quantise.promote import Budget, Promote, share_at_int16
from engine.quantise.step import Work
from engine.session import Session


class Marks:
    """A step that asks for one precision everywhere."""

    def __init__(self, precision: Precision) -> None:
        self.title = f"all in {precision}"
        self.precision = precision
        self.seen: tuple[object, ...] = ()

    def __call__(self, session: Session, work: Work) -> Plan:
        self.seen = work.samples
        return session.plan.mark(tuple(node.id for node in session.graph.nodes), self.precision)


def test_a_step_that_does_not_gain_is_dropped(
    open_mobile: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_mobile()
    plan = session.plan
    steps = {"wide": Marks(Precision.INT16), "narrow": Marks(Precision.INT8)}
    monkeypatch.setattr(presets, "STEPS", MappingProxyType(steps))
    monkeypatch.setattr(presets, "PRESETS", MappingProxyType({"both": ("wide", "narrow")}))
    told: list[tuple[int, int]] = []
    samples = tuple(session.samples(8))
    report = presets.quantise(session, "both", Work(samples, lambda done, total: told.append((done, total))))
    assert [(step.name, step.kept) for step in report.steps] == [("wide", True), ("narrow", False)]
    assert (report.steps[0].gain_db.mean or 0.0) > 5.0
    assert set(report.plan.choices.values()) == {Precision.INT16}
    assert session.plan is plan
    assert told == [(0, 200), (100, 200), (200, 200)]
    judged = set(samples) - set(steps["wide"].seen)
    assert [samples.index(sample) for sample in sorted(judged, key=samples.index)] == [3, 7]


def test_an_unknown_preset_and_a_stop(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    with pytest.raises(PlanError, match="no preset 'slow'"):
        presets.quantise(session, "slow", Work(tuple(session.samples(2))))
    with pytest.raises(Cancelled):
        presets.quantise(session, "fast", Work(tuple(session.samples(2)), cancelled=lambda: True))


def test_what_was_found_before_a_stop_is_kept(
    open_mobile: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_mobile()
    wide, narrow = Marks(Precision.INT16), Marks(Precision.INT8)
    monkeypatch.setattr(presets, "STEPS", MappingProxyType({"wide": wide, "narrow": narrow}))
    monkeypatch.setattr(presets, "PRESETS", MappingProxyType({"both": ("wide", "narrow")}))
    work = Work(tuple(session.samples(8)), cancelled=lambda: bool(narrow.seen))
    report = presets.quantise(session, "both", work)
    assert report.stopped and [step.name for step in report.steps] == ["wide"]
    assert set(report.plan.choices.values()) == {Precision.INT16}
    record = report.record()
    assert (record.fitted, record.judged, record.total, record.is_complete) == (6, 2, 2, False)
    assert record.output_db == report.steps[0].quality.output_db != record.before_db


def test_few_samples_fit_and_judge() -> None:
    few = (object(), object(), object())
    assert presets.split(few) == (few, few)  # type: ignore[arg-type]
    five = tuple(object() for _ in range(5))
    assert presets.split(five) == ((*five[:3], five[4]), (five[3],))  # type: ignore[arg-type]


class Shakes:
    """A step that shifts each logit a little, by chance: some samples gain, others lose."""

    title = "shaken logits"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, session: Session, work: Work) -> Plan:
        head = next(node for node in session.graph.nodes if isinstance(node.op, Linear))
        bias = np.asarray(session.graph.constants[head.inputs[2]].array, np.float64)
        step = session.program().types[head.outputs[0]].scale
        shifted = bias + np.random.default_rng(self.seed).normal(scale=0.1 * step, size=bias.shape)
        shaken = Correction(kind="bias", title=self.title, biases={head.id: shifted})
        return session.plan.with_correction(session.corrections.add(shaken))


def test_a_step_whose_gain_is_noise_is_dropped(softmax_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session.open(softmax_project)
    steps = {str(seed): Shakes(seed) for seed in range(6)}
    monkeypatch.setattr(presets, "STEPS", MappingProxyType(steps))
    monkeypatch.setattr(presets, "PRESETS", MappingProxyType({name: (name,) for name in steps}))
    samples = tuple(session.samples(8))
    monkeypatch.setattr(presets, "split", lambda samples: (samples, samples))
    found = [presets.quantise(session, name, Work(samples)).steps[0] for name in steps]
    lucky = [step for step in found if (step.gain_db.mean or 0.0) > 0.0]
    assert lucky, "some gain by chance"
    unsure = [step for step in lucky if (step.gain_db.mean or 0.0) < 0.4 * (step.gain_db.half_width or 0.0)]
    assert unsure and not any(step.kept for step in unsure)
    assert not any(step.kept for step in found if step not in lucky)


def test_what_is_a_real_gain() -> None:
    assert presets.is_real([1.0, 0.0, 2.0, 1.0]) and not presets.is_real([3.0, -2.0, 2.0, -1.0])
    assert not presets.is_real([0.0, 0.0]) and not presets.is_real([-1.0, -1.1])
    assert presets.is_real([0.5]) and not presets.is_real([-0.5]), "one sample has no error"


WIDE = Promote(Budget(share=0.5, latency=None), samples=2)


@pytest.mark.timeout(600)
def test_no_more_becomes_int16_than_the_user_allows(
    open_mobile: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_mobile()
    nodes = tuple(node.id for node in session.graph.nodes)
    session.set_plan(session.plan.mark(nodes[:2], Precision.INT8))
    monkeypatch.setattr(presets, "STEPS", MappingProxyType({"promote": WIDE}))
    monkeypatch.setattr(presets, "PRESETS", MappingProxyType({"only": ("promote",)}))
    samples = tuple(session.samples(2))
    none, some = (presets.quantise(session, "only", Work(samples, max_int16=share)) for share in (0.0, 0.3))
    wide, operators = share_at_int16(session.with_plan(some.plan))
    assert (some.at_int16, some.operators) == (wide, operators)
    assert none.plan == session.plan and none.at_int16 == 0 < wide <= 0.3 * operators
    assert all(some.plan.requested(node) is Precision.INT8 for node in nodes[:2])


def test_what_is_near_enough_to_float_stays_in_int8(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    step = Promote(Budget(share=0.5, latency=None, enough=Enough(20.0, 0.0)))
    assert step(session, Work(tuple(session.samples(2)))) is session.plan


@pytest.mark.timeout(600)
def test_the_best_preset_is_no_worse_than_the_ones_below_it(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    samples = tuple(session.samples(8))
    best = presets.quantise(session, "best", Work(samples))
    below = len(presets.PRESETS["balanced"])
    assert [step.name for step in best.steps[:below]] == list(presets.PRESETS["balanced"])
    gained = [step.gain_db.mean or 0.0 for step in best.steps if step.kept]
    assert all(gain > 0.0 for gain in gained)
    assert best.after.gain_over(best.before).mean == pytest.approx(sum(gained))
