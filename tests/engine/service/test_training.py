"""Training from the engine process: in the background of everything else, streamed, and stopped with what it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.plan.data import PlanData
from engine.service.messages import (
    AnyAnswer,
    Cancel,
    Done,
    Failed,
    Open,
    Opened,
    PlanResolved,
    TimingReady,
    Train,
    Trained,
    Training,
    UpdatePlan,
)
from engine.train.records import TrainOptions
from tests.engine.service.test_worker import Engine

OPTIONS = TrainOptions(batch=8, learning_rate=1e-4, distill=True)


@pytest.fixture(scope="module")
def running() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    assert engine.end() == (0, "")


@pytest.fixture
def engine(running: Engine, project: Path) -> Engine:
    running.ask(Open, Opened, path=str(project))
    return running


def own(answers: list[AnyAnswer], request: int) -> list[AnyAnswer]:
    return [answer for answer in answers if answer.id == request]


def test_the_curves_stream_in_and_the_plan_can_be_used(engine: Engine, samples: Path) -> None:
    request = engine.send(Train, revision=5, path=str(samples), split="calibration", samples=64, options=OPTIONS)
    answers = own(engine.until(request), request)
    last = answers[-1]
    assert isinstance(last, Trained) and last.revision == 5
    told = [answer.course for answer in answers if isinstance(answer, Training)]
    assert (told[-1].step, told[-1].steps) == (7, 7)
    assert [point for course in told for point in course.metrics] == list(last.report.metrics)
    assert [point.step for point in last.report.losses] == list(range(1, 8))
    if last.report.is_better:
        assert last.plan.corrections and last.plan.thresholds
    taken = engine.send(UpdatePlan, revision=6, plan=last.plan, samples=0)
    assert isinstance(engine.until(taken)[-1], Done)


def test_an_edit_is_answered_meanwhile_and_stopping_keeps_the_best(engine: Engine, samples: Path) -> None:
    options = TrainOptions(batch=8, epochs=1000, learning_rate=1e-4, distill=True)
    request = engine.send(Train, revision=1, path=str(samples), split="calibration", samples=64, options=options)
    while not isinstance(engine.answer(), Training):
        pass
    edit = engine.send(UpdatePlan, revision=2, plan=PlanData(default_method="max"), samples=0)
    answers = engine.until(edit)
    assert [type(answer) for answer in own(answers, edit)[:2]] == [PlanResolved, TimingReady]
    engine.send(Cancel, target_id=request)
    last = engine.until(request)[-1]
    assert isinstance(last, Trained)
    assert last.report.ending == "cancelled"
    assert last.plan.default_method == "mse"  # of the plan that was trained, not the later one


def test_data_that_does_not_fit_is_said(engine: Engine, samples: Path) -> None:
    request = engine.send(Train, revision=1, path=str(samples), split="training")
    last = engine.until(request)[-1]
    assert isinstance(last, Failed)
    assert "has no split 'training'; choose one of: calibration, evaluation" in last.message
