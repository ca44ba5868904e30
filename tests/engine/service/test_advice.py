"""Advice on accuracy from the engine process: in the background of everything else, streamed, and stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.plan.data import PlanData
from engine.reports_advice import Aim
from engine.service.messages import (
    Advise,
    Advised,
    AnyAnswer,
    Cancel,
    Done,
    Failed,
    Open,
    Opened,
    PlanResolved,
    Progress,
    TimingReady,
    UpdatePlan,
)
from tests.engine.service.test_worker import Engine

PROJECT = "/blocks.0/project/conv/Conv"


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


def test_advice_streams_in_and_its_plans_can_be_used(engine: Engine) -> None:
    plan = PlanData(choices={PROJECT: "int16"})
    assert isinstance(engine.until(engine.send(UpdatePlan, revision=3, plan=plan, samples=0))[-1], Done)
    request = engine.send(Advise, revision=3, nodes=(PROJECT,), samples=2, aim=Aim(min_db=5.0))
    answers = own(engine.until(request), request)
    assert isinstance(answers[-1], Done)
    told = [answer for answer in answers if isinstance(answer, Progress)]
    stages = {answer.stage.partition(":")[0] for answer in told}
    assert {"measuring the present plan", "trying remedies", "fitting remedies for these places"} <= stages
    advised = [answer for answer in answers if isinstance(answer, Advised)]
    assert {answer.revision for answer in advised} == {3}
    last = advised[-1].advice
    assert last.verdict is None, "the rest of the model was not looked at"
    assert [diagnosis.node for diagnosis in last.diagnoses] == [PROJECT]
    plans = {key: plan for answer in advised for key, plan in answer.plans.items()}
    assert {trial.key for trial in last.trials} <= set(plans)
    float_trial = next(trial for trial in last.trials if trial.remedy == "float")
    assert plans[float_trial.key].choices == {PROJECT: "float"}
    # A plan that it offers is taken like any other.
    taken = engine.send(UpdatePlan, revision=4, plan=plans[float_trial.key], samples=0)
    assert isinstance(engine.until(taken)[-1], Done)


def test_an_edit_is_answered_while_advice_goes_on(engine: Engine) -> None:
    request = engine.send(Advise, revision=1, nodes=(PROJECT,), samples=4)
    while not isinstance(engine.answer(), Advised):
        pass
    edit = engine.send(UpdatePlan, revision=2, plan=PlanData(choices={PROJECT: "int16"}), samples=2)
    answers = engine.until(edit)
    assert [type(answer) for answer in own(answers, edit)[:2]] == [PlanResolved, TimingReady]
    if not any(isinstance(answer, Done) for answer in own(answers, request)):
        answers = engine.until(request)
    last = [answer for answer in own(answers, request) if isinstance(answer, Advised)][-1]
    assert last.revision == 1
    assert last.advice.trials


def test_advice_is_cancelled_by_request(engine: Engine) -> None:
    request = engine.send(Advise, revision=1, samples=8)
    engine.send(Cancel, target_id=request)
    last = engine.until(request)[-1]
    assert isinstance(last, Failed)
    assert last.cancelled


def test_another_model_ends_it(engine: Engine, project: Path) -> None:
    request = engine.send(Advise, revision=1, samples=8)
    opening = engine.send(Open, path=str(project))
    answers = engine.until(opening)
    (*_, last) = own(answers, request)
    assert isinstance(last, Failed)
    assert last.cancelled


def test_what_cannot_be_advised_on_is_said(engine: Engine, models: Path) -> None:
    engine.ask(Open, Opened, path=str(models / "mobile_fmnist.onnx"))
    failed = engine.ask(Advise, Failed, revision=1)
    assert "calibrate it with data first" in failed.message
    assert not failed.unexpected
