"""A search finds what its rules promise: a front no worse than its heuristics, the same one for the same seed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.errors import CalibrationError, Cancelled, DataError, ExecutorError
from engine.plan.data import plan_of
from engine.session import Session
from engine.tune.bench import Bench
from engine.tune.executors import InProcess, Watch
from engine.tune.front import reachable_loss
from engine.tune.records import Measured, Trial, TunePoint, TuneReport, TuneSettings
from engine.tune.tune import Progress, tune

SAMPLES = 12
"""All that the small project has."""

SETTINGS = TuneSettings(trials=56, samples=4)


class Counting:
    """An executor that counts what it measures, and can break down."""

    def __init__(self, session: Session, breaks_after: int | None = None) -> None:
        self._inner = InProcess(Bench(session))
        self._breaks_after = breaks_after
        self.measured = 0

    def run(self, trials: Sequence[Trial], cancelled: Watch) -> Iterator[tuple[int, Measured]]:
        for found in self._inner.run(trials, cancelled):
            if self.measured == self._breaks_after:
                raise ExecutorError("all workers died")
            self.measured += 1
            yield found

    def close(self) -> None:
        self._inner.close()


@pytest.fixture(scope="module")
def heard() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def report(small_project: Path, heard: list[Progress]) -> TuneReport:
    return tune(Session.open(small_project), SETTINGS, listener=heard.append)


def shown(report: TuneReport) -> list[tuple[int, str, float, int, float | None]]:
    return [(p.number, p.origin, p.latency_ms, p.ddr_bytes, p.output_db.mean) for p in report.front]


def loss(point: TunePoint) -> float:
    assert point.output_db.mean is not None
    return -point.output_db.mean / 10.0


def test_no_heuristic_beats_the_front(report: TuneReport) -> None:
    front = [(loss(point), point.latency_ms, float(point.ddr_bytes)) for point in report.front]
    assert report.heuristics
    for point in report.heuristics:
        reached = reachable_loss(front, point.latency_ms, point.ddr_bytes)
        assert reached is not None and reached <= loss(point) + 1e-12, point.origin


def test_front_has_what_no_heuristic_reaches(report: TuneReport) -> None:
    heuristics = [(loss(point), point.latency_ms, float(point.ddr_bytes)) for point in report.heuristics]
    gains = [
        reached - loss(point)
        for point in report.front
        if (reached := reachable_loss(heuristics, point.latency_ms, point.ddr_bytes)) is not None
    ]
    assert max(gains) > 0.0


def test_points_are_confirmed_on_all_samples(report: TuneReport) -> None:
    assert {point.samples for point in report.front} == {SAMPLES}
    assert all(point.output_db.half_width is not None for point in report.front)


def test_points_are_what_their_plans_give(report: TuneReport, small_project: Path) -> None:
    session = Session.open(small_project)
    for point in (report.front[0], report.front[-1]):
        timing = session.with_plan(plan_of(point.plan)).estimate()
        assert (timing.latency_ms, timing.ddr_bytes) == (point.latency_ms, point.ddr_bytes)
        errors = session.with_plan(plan_of(point.plan)).analyze(SAMPLES)
        assert errors.output_sqnr_db.mean == pytest.approx(point.output_db.mean, abs=1e-3)


def test_every_measurement_is_heard_with_the_front_so_far(report: TuneReport, heard: list[Progress]) -> None:
    assert [item.point.number for item in heard] == list(range(report.measured))
    assert all((item.point.number in item.front) == item.is_on_front for item in heard)
    assert {point.number for point in report.front} <= set(heard[-1].front) | {p.number for p in report.heuristics}


def test_same_seed_same_search(report: TuneReport, small_project: Path) -> None:
    again = tune(Session.open(small_project), SETTINGS)
    assert shown(again) == shown(report)


def test_a_stopped_search_goes_on_where_it_was(report: TuneReport, small_project: Path, journal: Path) -> None:
    session = Session.open(small_project)
    counted = 0

    def stop(progress: Progress) -> None:
        nonlocal counted
        counted += 1

    first = tune(
        session, SETTINGS, journal=journal, listener=stop, cancelled=lambda: counted >= 24, executor=Counting(session)
    )
    assert first.ended == "stopped" and first.front and first.measured < report.measured
    executor = Counting(session)
    second = tune(session, SETTINGS, journal=journal, executor=executor)
    assert second.known >= 24
    assert shown(second) == shown(report)
    third = Counting(session)
    assert shown(tune(session, SETTINGS, journal=journal, executor=third)) == shown(report)
    assert third.measured == 0


def test_an_executor_that_breaks_down_leaves_what_was_measured(session: Session) -> None:
    report = tune(session, SETTINGS, executor=Counting(session, breaks_after=20))
    assert report.ended == "all workers died"
    assert 0 < report.measured <= 20 and report.front


def test_one_that_never_worked_is_an_error(session: Session) -> None:
    with pytest.raises(ExecutorError, match="all workers died"):
        tune(session, SETTINGS, executor=Counting(session, breaks_after=0))


def test_cancelled_before_anything(session: Session) -> None:
    with pytest.raises(Cancelled):
        tune(session, SETTINGS, cancelled=lambda: True)


def test_no_time_at_all_is_still_a_front(session: Session) -> None:
    report = tune(session, TuneSettings(minutes=0.0, samples=4))
    assert report.ended == "time"
    assert [point.origin for point in report.front] == ["project plan"]


def test_bound_on_latency(session: Session) -> None:
    bound = session.estimate().latency_ms
    report = tune(session, TuneSettings(trials=12, samples=4, max_latency_ms=bound))
    chosen = next(point for point in report.front if point.number == report.chosen)
    assert chosen.latency_ms <= bound
    assert loss(chosen) == min(loss(point) for point in report.front if point.latency_ms <= bound)


def test_bound_that_nothing_keeps(session: Session) -> None:
    report = tune(session, TuneSettings(trials=5, samples=4, max_latency_ms=1e-3))
    assert report.chosen is None and report.front
    assert report.verdict.startswith("no plan keeps the bounds: the fastest takes 0.")


def test_bound_on_the_drop_by_labels(session: Session, small_project: Path) -> None:
    data = small_project.with_name("labelled.npz")
    report = tune(session, TuneSettings(trials=5, samples=4, max_drop=100.0), data=data)
    assert report.chosen == report.front[0].number
    task = report.front[0].task
    assert task is not None and task.samples == SAMPLES and task.half_width > 0.0
    assert task.drop == pytest.approx(100.0 * (task.float_top1 - task.top1))


def test_bound_on_the_drop_without_labels_is_by_agreement(session: Session) -> None:
    report = tune(session, TuneSettings(trials=5, samples=4, max_drop=0.0))
    chosen = next((point for point in report.front if point.number == report.chosen), None)
    assert chosen is None or (chosen.task is not None and chosen.agreement == 1.0)


def test_data_without_labels_is_refused_before_the_search(session: Session, small_project: Path) -> None:
    data = small_project.with_name("plain.npz")
    measured: list[Progress] = []
    with pytest.raises(DataError, match="has no labels"):
        tune(session, TuneSettings(trials=20, samples=4, max_drop=1.0), data=data, listener=measured.append)
    assert not measured


def test_data_that_cannot_be_judged_by_cost_the_choice_alone(
    session: Session, small_project: Path, tmp_path: Path
) -> None:
    with np.load(small_project.with_name("labelled.npz")) as whole:
        pictures = whole["x"].copy()
        pictures[7, 0, 0, 0] = np.nan
        np.savez(tmp_path / "nan.npz", x=pictures, labels=whole["labels"])
    report = tune(session, TuneSettings(trials=6, samples=4, max_drop=1.0), data=tmp_path / "nan.npz")
    assert len(report.front) > 0
    assert report.chosen is None
    assert "no plan was chosen" in report.verdict and "sample 7 holds nan" in report.verdict


def test_samples_that_go_while_it_searches_end_it_with_what_was_found(small_project: Path, tmp_path: Path) -> None:
    for name in ("m.onnx", "small.qscope", "plain.npz"):
        shutil.copy(small_project.with_name(name), tmp_path)
    data = tmp_path / "plain.npz"
    settings = TuneSettings(trials=40, samples=4)
    session = Session.open(tmp_path / "small.qscope")
    report = tune(session, settings, listener=lambda _: data.unlink(missing_ok=True))
    assert str(data) in report.ended
    assert report.measured > 0 and len(report.front) > 0


def test_uncalibrated(models: Path) -> None:
    with pytest.raises(CalibrationError, match="plans can only be tried on samples"):
        tune(Session.open(models / "mobile_fmnist.onnx"), SETTINGS)


def test_the_sessions_plan_stays(session: Session) -> None:
    before = session.plan
    tune(session, TuneSettings(trials=3, samples=2))
    assert session.plan is before
