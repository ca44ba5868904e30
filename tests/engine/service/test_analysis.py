"""Sensitivities and explanations from the engine process: coarse at once, refined, and given up for another plan."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import Cancelled
from engine.plan.data import PlanData
from engine.service.handlers_analysis import sense
from engine.service.inbox import Inbox
from engine.service.messages import AnyAnswer, Done, Explain, Explained, Failed, Open, Opened, Sense, Sensed, UpdatePlan
from engine.service.worker import Worker
from engine.session import Session
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
    running.until(running.send(UpdatePlan, revision=1, plan=PlanData(), samples=0))
    return running


def own(answers: list[AnyAnswer], request: int) -> list[AnyAnswer]:
    return [answer for answer in answers if answer.id == request]


def test_sensitivities_refine_until_done(engine: Engine) -> None:
    request = engine.send(Sense, revision=1, samples=3)
    answers = own(engine.until(request), request)
    assert isinstance(answers[-1], Done)
    sensed = [answer for answer in answers if isinstance(answer, Sensed)]
    assert [answer.sensitivities.samples for answer in sensed] == [1, 2, 3]
    assert [answer.final for answer in sensed] == [False, False, True]
    found = {row.id: row for row in sensed[-1].sensitivities.nodes}
    assert found[PROJECT].output_db.mean is not None and found[PROJECT].output_db.half_width is not None


def test_an_explanation_has_causes_and_the_worst_sample_first(engine: Engine) -> None:
    request = engine.send(Explain, revision=1, node=PROJECT, samples=4)
    explained = [answer for answer in own(engine.until(request), request) if isinstance(answer, Explained)]
    last = explained[-1].explanation
    assert [len(answer.explanation.samples) for answer in explained] == [1, 2, 4]
    assert sum(item.share.mean or 0.0 for item in last.attribution.causes) == pytest.approx(1.0, abs=1e-6)
    levels = [item.sqnr_db for item in last.samples if item.sqnr_db is not None]
    assert levels == sorted(levels)


def test_another_plan_ends_it(project: Path) -> None:
    worker = Worker(Inbox(), io.BytesIO())
    worker.session = Session.open(project)
    sense(worker, Sense(id=1, revision=1, samples=8))
    next(worker.background[1])
    worker.session.mark(PROJECT, "int16")
    with pytest.raises(Cancelled):
        next(worker.background[1])


def test_what_cannot_be_explained_is_said(engine: Engine) -> None:
    request = engine.send(Explain, revision=1, node="ghost")
    last = own(engine.until(request), request)[-1]
    assert isinstance(last, Failed) and "no node 'ghost'" in last.message
