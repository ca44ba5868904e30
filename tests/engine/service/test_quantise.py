"""Presets from the engine process: in the background, streamed step by step, and stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.plan.data import PlanData
from engine.quantise.registry import PRESETS
from engine.service.messages import Cancel, Done, Failed, Open, Opened, Progress, Quantise, Quantised, UpdatePlan
from tests.engine.service.test_worker import Engine


@pytest.fixture(scope="module")
def running() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    assert engine.end() == (0, "")


@pytest.fixture
def engine(running: Engine, project: Path) -> Engine:
    running.ask(Open, Opened, path=str(project))
    return running


def test_steps_stream_in_and_the_plan_can_be_used(engine: Engine) -> None:
    answers = engine.until(engine.send(Quantise, revision=4, preset="balanced", samples=4))
    assert isinstance(answers[-1], Done)
    found = [answer for answer in answers if isinstance(answer, Quantised)]
    assert [len(item.progress.steps) for item in found] == list(range(len(PRESETS["balanced"]) + 1))
    assert all(item.revision == 4 for item in found)
    assert any(isinstance(answer, Progress) and answer.stage for answer in answers)
    last = found[-1]
    assert last.progress.is_complete and (last.progress.output_db.mean or 0) >= (last.progress.before_db.mean or 0)
    plan = last.plan
    applied = engine.until(engine.send(UpdatePlan, revision=5, plan=plan, samples=1))
    assert isinstance(applied[-1], Done), applied[-1]


def test_a_stop_ends_it(engine: Engine) -> None:
    request = engine.send(Quantise, revision=1, preset="balanced", samples=8)
    engine.send(Cancel, target_id=request)
    last = engine.until(request)[-1]
    assert isinstance(last, Failed) and last.cancelled


def test_an_unknown_preset_and_a_model_without_ranges(engine: Engine, models: Path) -> None:
    (last,) = engine.until(engine.send(Quantise, revision=1, preset="magic"))
    assert isinstance(last, Failed) and "no preset 'magic'" in last.message
    engine.ask(Open, Opened, path=str(models / "mobile_fmnist.onnx"))
    engine.until(engine.send(UpdatePlan, revision=2, plan=PlanData(), samples=0))
    (last,) = engine.until(engine.send(Quantise, revision=2, preset="fast"))[-1:]
    assert isinstance(last, Failed) and "no samples" in last.message and "\n" not in last.message
