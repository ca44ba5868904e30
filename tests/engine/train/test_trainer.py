# pyright: reportUnknownMemberType=false
"""Training runs: they learn, stop, go on bit for bit, keep the best, and say what is wrong in one line."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch

from engine.errors import DataError, PlanError, ProjectError
from engine.session import Session
from engine.train import turns
from engine.train.records import TrainOptions, TrainProgress
from engine.train.trainer import train
from tests.engine.graph.onnx_models import build, node

CLASSES, WIDTH = 4, 12
OPTIONS = TrainOptions(epochs=4, batch=16, learning_rate=3e-3, holdout=0.25, seed=3)


def problem(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Points of a few clusters, and their numbers."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(CLASSES, WIDTH))
    labels = rng.integers(0, CLASSES, count)
    return (centres[labels] + rng.normal(scale=0.8, size=(count, WIDTH))).astype(np.float32), labels


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A calibrated classifier of the points with badly chosen thresholds, so that there is something to learn."""
    rng = np.random.default_rng(0)
    centres = np.random.default_rng(99).normal(size=(CLASSES, WIDTH)).astype(np.float32)
    mixing = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
    nodes = [
        node("MatMul", ["x", "w1"], ["a"]),
        node("Add", ["a", "b1"], ["b"]),
        node("LeakyRelu", ["b"], ["c"], alpha=0.5),
        node("MatMul", ["c", "w2"], ["y"]),
    ]
    constants = {"w1": mixing, "b1": np.zeros(WIDTH, np.float32), "w2": (mixing.T @ centres.T).astype(np.float32)}
    path = tmp_path / "points.onnx"
    onnx.save(build(nodes, {"x": ["batch", WIDTH]}, ["y"], constants), path)
    session = Session.open(path, target="generic-int8")
    x, _ = problem(32, 1)
    np.savez(tmp_path / "calibration.npz", x=x)
    session.calibrate(tmp_path / "calibration.npz")
    narrow = {value: 0.3 for item in session.graph.nodes for value in item.outputs if value in "ac"}
    session.set_plan(session.plan.with_thresholds(narrow))
    return session


def data(folder: Path, labelled: bool = True, count: int = 160, **more: Any) -> Path:
    x, labels = problem(count, 2)
    arrays: dict[str, Any] = {"x": x, **({"labels": labels} if labelled else {}), **more}
    np.savez(folder / "train.npz", **arrays)
    return folder / "train.npz"


def test_it_learns_and_the_plan_has_the_bits(session: Session, tmp_path: Path) -> None:
    before = session.plan
    seen: list[TrainProgress] = []
    plan, report = train(session, data(tmp_path), OPTIONS, observe=seen.append)
    assert report.ending == "finished"
    assert report.steps == report.total_steps == 4 * (120 // 16)
    assert (report.samples, report.held_out) == (120, 40)
    assert report.metric == "top-1" and report.float_metric is not None
    assert report.best.metric > report.start.metric + 0.05
    assert report.best == max(report.metrics, key=lambda point: (point.metric, -point.loss))
    assert report.compared == 32
    assert [point for part in seen for point in part.losses] == list(report.losses)
    assert [point for part in seen for point in part.metrics] == list(report.metrics)
    assert session.plan is before
    session.set_plan(plan)
    found = session.evaluate(data(tmp_path))
    session.set_plan(before)
    was = session.evaluate(data(tmp_path))
    assert found.quantised_top1 is not None and was.quantised_top1 is not None
    assert found.quantised_top1 > was.quantised_top1


@pytest.mark.parametrize("labelled", [True, False])
def test_it_follows_the_float_model(session: Session, tmp_path: Path, labelled: bool) -> None:
    options = msgspec.structs.replace(OPTIONS, distill=labelled)
    _, report = train(session, data(tmp_path, labelled), options)
    assert report.best.step > 0
    assert report.best.loss < 0.7 * report.start.loss
    if labelled:
        assert report.best.loss == min(point.loss for point in report.metrics)
    else:
        assert report.metric == "output dB" and report.float_metric is None
        assert report.best.metric > report.start.metric + 0.5


def test_figures_have_their_intervals(session: Session, tmp_path: Path) -> None:
    """The drop against the float model is that of the pictures that only one of the two has right."""
    _, report = train(session, data(tmp_path), msgspec.structs.replace(OPTIONS, epochs=1))
    for point in report.metrics:
        assert point.low is not None and point.high is not None and point.drop is not None
        assert point.low < point.metric < point.high
        assert point.drop.low <= point.drop.value <= point.drop.high
        assert report.float_metric is not None
        assert point.drop.value == pytest.approx(report.float_metric - point.metric)
    assert report.metrics[0].drop is not None and report.metrics[0].drop.value > 0.0
    _, unlabelled = train(session, data(tmp_path, labelled=False), OPTIONS)
    start, best = unlabelled.start, unlabelled.best
    assert start.drop is None and start.low is not None and start.high is not None
    assert start.low < start.metric < start.high
    assert f"{start.metric:.1f} dB ({start.low:.1f} to {start.high:.1f}) → {best.metric:.1f} dB (" in unlabelled.text


def test_a_large_step_is_made_in_turns(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work gets its turn between parts of a batch; stopped there, the run goes on bit for bit."""
    path, checkpoint = data(tmp_path), tmp_path / "run.pt"
    options = msgspec.structs.replace(OPTIONS, epochs=1)
    once: list[TrainProgress] = []
    _, whole = train(session, path, options, observe=once.append)
    monkeypatch.setattr(turns, "TURN_ELEMENTS", 4 * turns.elements_of(session.graph))
    parts: list[TrainProgress] = []
    plan, report = train(session, path, options, observe=parts.append)
    assert [course.step for course in parts].count(3) == [course.step for course in once].count(3) + 3
    assert report.losses[0].loss == pytest.approx(whole.losses[0].loss, rel=1e-5)
    asked = iter(range(1000))
    _, stopped = train(session, path, options, checkpoint=checkpoint, cancelled=lambda: next(asked) == 13)
    assert stopped.ending == "cancelled"
    assert train(session, path, options, resume=checkpoint) == (plan, report)


def test_a_stopped_run_goes_on_bit_for_bit(session: Session, tmp_path: Path) -> None:
    path, checkpoint = data(tmp_path), tmp_path / "run.pt"
    options = msgspec.structs.replace(OPTIONS, epochs=2)
    whole_plan, whole = train(session, path, options)
    # In the first judgement, between two steps, and in the judgement after the fourth step.
    for asked_before, steps in ((1, 0), (5, 2), (9, 4)):
        asked = iter(range(1000))
        stop_at = asked_before
        _, part = train(session, path, options, checkpoint=checkpoint, cancelled=lambda: next(asked) == stop_at)  # noqa: B023
        assert (part.ending, part.steps) == ("cancelled", steps)
        assert f"stopped after {steps} of 14 steps" in part.text
        plan, rest = train(session, path, options, resume=checkpoint)
        assert rest == whole
        assert plan == whole_plan  # corrections are named by their content


def test_a_checkpoint_of_another_run_is_refused(session: Session, tmp_path: Path) -> None:
    path, checkpoint = data(tmp_path), tmp_path / "run.pt"
    train(session, path, msgspec.structs.replace(OPTIONS, epochs=1), checkpoint=checkpoint)
    with pytest.raises(PlanError, match="another run: it has epochs 1 instead of 4"):
        train(session, path, OPTIONS, resume=checkpoint)
    checkpoint.write_bytes(b"nothing")
    with pytest.raises(PlanError, match=r"run\.pt: is no checkpoint"):
        train(session, path, OPTIONS, resume=checkpoint)
    with pytest.raises(PlanError, match="No such file"):
        train(session, path, OPTIONS, resume=tmp_path / "absent.pt")


def test_a_checkpoint_is_of_one_way_to_choose_ranges(session: Session, tmp_path: Path) -> None:
    path, checkpoint, options = data(tmp_path), tmp_path / "run.pt", msgspec.structs.replace(OPTIONS, epochs=1)
    train(session, path, options, checkpoint=checkpoint)
    session.set_plan(dataclasses.replace(session.plan, default_method="max"))
    with pytest.raises(PlanError, match="another run: it has the plan"):
        train(session, path, options, resume=checkpoint)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_a_damaged_checkpoint_is_refused(session: Session, tmp_path: Path, share: float) -> None:
    path, checkpoint, options = data(tmp_path), tmp_path / "run.pt", msgspec.structs.replace(OPTIONS, epochs=1)
    train(session, path, options, checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    at = int(share * len(whole))
    for damaged in (whole[:at], whole[:at] + bytes(64) + whole[at + 64 :]):
        checkpoint.write_bytes(damaged)
        with pytest.raises(PlanError, match=r"run\.pt: is no checkpoint of a training run; it is damaged"):
            train(session, path, options, resume=checkpoint)


def test_an_exact_program_can_be_gone_on_with(session: Session, tmp_path: Path) -> None:
    """Without an error the metric is infinite, which JSON has no number for."""
    x, _ = problem(64, 2)
    np.savez(tmp_path / "zero.npz", x=np.zeros_like(x))
    checkpoint, options = tmp_path / "run.pt", msgspec.structs.replace(OPTIONS, epochs=1)
    _, whole = train(session, tmp_path / "zero.npz", options, checkpoint=checkpoint)
    assert whole.start.metric == math.inf
    _, again = train(session, tmp_path / "zero.npz", options, resume=checkpoint)
    assert again == whole


def test_a_checkpoint_that_cannot_be_written_is_said_before_the_first_step(session: Session, tmp_path: Path) -> None:
    seen: list[TrainProgress] = []
    with pytest.raises(ProjectError, match="cannot be written"):
        train(session, data(tmp_path), OPTIONS, checkpoint=tmp_path / "absent" / "run.pt", observe=seen.append)
    assert not any(course.losses for course in seen)


def test_a_checkpoint_that_cannot_be_written_later_costs_nothing_else(session: Session, tmp_path: Path) -> None:
    path, checkpoint, options = data(tmp_path), tmp_path / "run.pt", msgspec.structs.replace(OPTIONS, epochs=2)
    whole_plan, whole = train(session, path, options)

    def block(course: TrainProgress) -> None:
        if checkpoint.is_file():
            checkpoint.unlink()
            checkpoint.mkdir()

    plan, report = train(session, path, options, checkpoint=checkpoint, observe=block)
    assert plan == whole_plan
    assert report.best == whole.best
    assert "the last checkpoint is missing" in report.text and "run.pt" in report.text


def test_cancelled_before_the_first_step_it_keeps_the_program(session: Session, tmp_path: Path) -> None:
    plan, report = train(session, data(tmp_path), OPTIONS, cancelled=lambda: True)
    assert plan is session.plan
    assert report.ending == "cancelled" and not report.is_better
    assert "nothing was better" in report.text


def test_a_run_that_diverges_keeps_the_best_and_says_so(session: Session, tmp_path: Path) -> None:
    options = msgspec.structs.replace(OPTIONS, epochs=40, optimiser="sgd", learning_rate=9.0, scale_rate=100.0)
    plan, report = train(session, data(tmp_path), options)
    assert report.ending == "diverged"
    assert report.steps < report.total_steps
    assert "diverged: " in report.text and "smaller learning rate" in report.text
    assert report.best.metric >= report.start.metric
    session.set_plan(plan)
    session.program()


def test_a_run_that_collapsed_ends(session: Session, tmp_path: Path) -> None:
    """All points one class: a loss that is no multiple of the first any more, and never comes down."""
    options = msgspec.structs.replace(OPTIONS, epochs=12, learning_rate=9.0, scale_rate=0.0)
    plan, report = train(session, data(tmp_path), options)
    assert report.ending == "diverged" and report.steps < report.total_steps // 2
    assert "on samples kept aside rose from" in report.text and "smaller learning rate" in report.text
    assert min(point.loss for point in report.metrics[-4:]) > 2 * report.start.loss
    session.set_plan(plan)
    session.program()


def test_the_same_seed_is_the_same_run(session: Session, tmp_path: Path) -> None:
    path, options = data(tmp_path), msgspec.structs.replace(OPTIONS, epochs=1)
    first, second = (train(session, path, options) for _ in range(2))
    other = train(session, path, msgspec.structs.replace(options, seed=4))
    assert first == second
    assert other[1].losses != first[1].losses


Spoil = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: data(folder, labels=np.full(160, 4)), r"label of sample 0 is 4, the model has classes 0\.\.3"),
        (lambda folder: data(folder, labels=np.full(160, -1)), "label of sample 0 is -1"),
        (lambda folder: data(folder, labels=np.zeros(160)), "array 'labels' is float64"),
        (lambda folder: data(folder, x=np.full((160, WIDTH), np.nan, np.float32)), "sample 0 holds nan"),
        (lambda folder: data(folder, count=1), "holds 1, too few samples"),
        (lambda folder: data(folder, split=np.array(["a"] * 160)), "has no split 'training'; choose one of: a"),
        (lambda folder: folder / "absent.npz", "does not exist"),
    ],
)
def test_data_that_does_not_fit_is_one_line(session: Session, tmp_path: Path, spoil: Spoil, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        train(session, spoil(tmp_path), OPTIONS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "0 epochs"),
        ({"learning_rate": float("nan")}, "learning rate nan"),
        ({"batch": 0}, "batch of 0"),
        ({"holdout": 1.0}, "1 of the samples held out"),
        ({"evaluations": 0}, "0 evaluations"),
    ],
)
def test_options_that_make_no_sense_are_said(
    session: Session, tmp_path: Path, change: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        train(session, data(tmp_path), msgspec.structs.replace(OPTIONS, **change))


def test_a_device_that_is_not_there_is_said(session: Session, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="there is no device 'abacus'"):
        train(session, data(tmp_path), OPTIONS, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(PlanError, match=r"there is no device 'cuda' .*; train on cpu"):
            train(session, data(tmp_path), OPTIONS, device="cuda")
