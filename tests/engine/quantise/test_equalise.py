"""Hard models, which in float compute what the demo models compute, are recovered; nobody else is harmed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.analyze.quality import measure
from engine.errors import Cancelled
from engine.quantise.equalise import TRIAL_SAMPLES, Equalise
from engine.quantise.smooth import Smooth
from engine.quantise.step import Step, Work
from engine.session import Session
from tests.engine.quantise.hard import harden, planted_outliers, scaled_channels

Open = Callable[[str], Session]


@pytest.fixture(scope="module")
def open_hard(tmp_path_factory: pytest.TempPathFactory, models: Path, samples: Path, recipe: Path) -> Open:
    """Opens a hard model, calibrated on 16 samples."""
    folder = tmp_path_factory.mktemp("hard")
    projects: dict[str, Path] = {}
    kinds = {"mobile": scaled_channels(), "swin": planted_outliers()}

    def opened(name: str) -> Session:
        if name not in projects:
            path = harden(models / f"{name}_fmnist.onnx", folder / f"{name}.onnx", kinds[name])
            session = Session.open(path)
            session.calibrate(samples, recipe=recipe, samples=16)
            projects[name] = session.save(folder / f"{name}.qscope")
        return Session.open(projects[name])

    return opened


@pytest.mark.parametrize(("name", "step", "least_db"), [("mobile", Equalise(), 20.0), ("swin", Smooth(), 33.0)])
def test_a_hard_model_is_recovered(open_hard: Open, name: str, step: Step, least_db: float) -> None:
    session = open_hard(name)
    given = tuple(session.samples(16))
    plan = step(session, Work(given[:12]))
    assert session.plan.corrections == (), "a step leaves the session's plan as it is"
    (digest,) = plan.corrections
    before, after = measure(session, given[12:]), measure(session.with_plan(plan), given[12:])
    assert (before.output_db.mean or 0.0) < 14.0
    assert (after.output_db.mean or 0.0) > least_db
    correction = session.corrections.get(digest)
    assert correction.same and not correction.weights and correction.title
    twin, sample = session.with_plan(plan), given[0]
    for value, reference in session.run_float(sample.inputs).items():
        expected, found = (np.asarray(x, np.float64) for x in (reference, twin.run_float(sample.inputs)[value]))
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_ranges_are_those_of_the_changed_model(open_hard: Open) -> None:
    session = open_hard("mobile")
    plan = Equalise()(session, Work(tuple(session.samples(8))))
    twin = session.with_plan(plan)
    ranges = session.corrections.get(plan.corrections[0]).ranges
    value = max(ranges, key=lambda name: session.graph.types[name].element_count)
    tops = [twin.evaluator.model.run(s.inputs, keep=[value])[value].max().item() for s in session.samples()]
    assert ranges[value].max == pytest.approx(max(tops), rel=1e-5)


def test_a_stop(open_hard: Open) -> None:
    session = open_hard("mobile")
    with pytest.raises(Cancelled):
        Equalise()(session, Work(tuple(session.samples(4)), cancelled=lambda: True))


def test_there_is_nothing_to_fold_without_norms(open_hard: Open) -> None:
    session = open_hard("mobile")
    assert Smooth()(session, Work(tuple(session.samples(4)))) is session.plan


def test_places_that_cost_more_than_they_bring_are_left_out(open_hard: Open) -> None:
    session = open_hard("swin")
    given = tuple(session.samples(TRIAL_SAMPLES))
    plan = Equalise()(session, Work(given))
    every = measure(session, given).loss
    kept = measure(session.with_plan(plan), given).loss
    assert kept <= every, "attention's values meet queries and keys again behind a softmax"
    assert len(plan.corrections) <= 1, "what was tried is not kept"
