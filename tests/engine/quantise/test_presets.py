"""Presets keep the steps that gain on samples which these have not seen."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import pytest

from engine.errors import Cancelled, PlanError
from engine.plan.types import Plan
from engine.precision import Precision
from engine.quantise import presets
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
