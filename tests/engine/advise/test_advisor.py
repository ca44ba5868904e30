"""The adviser as a whole, on the demo: what it says can be done, and does what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.advise.advisor import Advisor, Labelled, Options
from engine.advise.combine import Combiner, with_change
from engine.advise.trials import Bench, best_of_kind
from engine.analyze.quality import measure
from engine.errors import Cancelled, DataError, PlanError
from engine.precision import Precision
from engine.reports_advice import Aim, Answer, Metric
from engine.session import Session

OpenMobile = Callable[[], Session]

PROJECT = "/blocks.0/project/conv/Conv"
DEPTHWISE = "/blocks.0/depthwise/conv/Conv"


@pytest.fixture(scope="module")
def session(mobile_project: Path) -> Session:
    return Session.open(mobile_project)


def spoilt(session: Session) -> Session:
    """The session with a range that clips nearly all of one value: what a remedy must find and mend."""
    (value,) = session.graph.by_id[PROJECT].outputs
    return session.with_plan(session.plan.with_thresholds({value: 0.3}))


def finished(session: Session, options: Options) -> Advisor:
    advisor = Advisor(session, options)
    stages = list(advisor.run())
    assert all(0 <= stage.done <= max(stage.total, stage.done) and stage.text for stage in stages)
    return advisor


@pytest.fixture(scope="module")
def advisor(session: Session) -> Advisor:
    return finished(spoilt(session), Options(places=1, with_model=False, samples=3, aim=Aim(min_db=25.0)))


def test_the_spoilt_place_comes_first_with_its_cause(advisor: Advisor) -> None:
    first = advisor.advice.diagnoses[0]
    assert first.node == PROJECT
    assert first.share is not None
    assert first.share > 0.4
    assert first.causes[0].text.startswith("clips ")
    assert len(advisor.advice.diagnoses) == 1


def test_what_mends_it_is_offered_with_its_gain(advisor: Advisor, session: Session) -> None:
    advice = advisor.advice
    mending = next(t for t in advice.trials if (t.site, t.remedy) == (PROJECT, "range"))
    assert mending.is_offered
    assert mending.is_final
    before, after = (measure(session.with_plan(plan), 3) for plan in (advisor.before, advisor.plans[mending.key]))
    assert mending.effect.gain_db == after.gain_over(before)
    assert (mending.effect.change_us, mending.effect.change_bytes) == (0.0, 0)
    assert advice.present_db == before.output_db


def test_every_trial_has_a_plan_and_its_cost(advisor: Advisor, session: Session) -> None:
    advice, plans = advisor.advice, advisor.plans
    assert {trial.key for trial in advice.trials} | {0} == set(plans)
    assert len({(t.site, t.remedy) for t in advice.trials}) == len(advice.trials), "the best of its kind alone"
    float_trial = next(t for t in advice.trials if t.remedy == "float")
    present, changed = session.estimate(), session.with_plan(plans[float_trial.key]).estimate()
    assert float_trial.effect.change_us == pytest.approx(1e3 * (changed.latency_ms - present.latency_ms))
    assert float_trial.effect.change_us > 0.0


def test_the_combination_reaches_the_aim_and_costs_little(advisor: Advisor) -> None:
    combination, verdict = advisor.advice.combination, advisor.advice.verdict
    assert combination is not None
    assert verdict is not None
    assert combination.reaches
    assert combination.effect.gain_db.mean is not None
    assert combination.effect.gain_db.mean > 5.0
    assert PROJECT in combination.nodes
    assert verdict.answer is Answer.WITH_REMEDIES
    assert verdict.metric is Metric.SQNR
    assert verdict.samples == 8, "the verdict counts all calibration samples"


def test_nothing_of_the_session_changes(session: Session) -> None:
    plan = session.plan
    finished(session, Options(nodes=(DEPTHWISE,), samples=2, with_verdict=False))
    assert session.plan is plan


def test_one_node_is_looked_at_alone(session: Session) -> None:
    advice = finished(session, Options(nodes=(DEPTHWISE,), samples=2, with_verdict=False)).advice
    assert [diagnosis.node for diagnosis in advice.diagnoses] == [DEPTHWISE]
    assert {trial.site for trial in advice.trials} == {DEPTHWISE}
    assert advice.verdict is None


def test_advice_grows_and_can_be_stopped(session: Session) -> None:
    stop = False
    advisor = Advisor(session, Options(places=1, samples=3), lambda: stop)
    assert advisor.advice.trials == ()
    run = advisor.run()
    for stage in run:
        if stage.text == "trying remedies":
            break
    assert advisor.advice.diagnoses
    next(run)
    stop = True
    with pytest.raises(Cancelled):
        list(run)
    assert advisor.advice.trials


def test_what_others_want_comes_first_and_the_work_is_done_nevertheless(session: Session) -> None:
    wanted = iter([True, True])
    advisor = Advisor(
        session, Options(nodes=(DEPTHWISE,), samples=2, with_verdict=False), is_wanted=lambda: next(wanted, False)
    )
    longer = ("finding where the error comes from", "looking for causes")
    steps = sum(stage.text in longer for stage in advisor.run())
    assert steps == 2 + 1 + 2, "for each sample, for the node, for each interruption"
    (diagnosis,) = advisor.advice.diagnoses
    assert diagnosis.causes


def test_a_verdict_on_labelled_data(session: Session, samples: Path) -> None:
    data = Labelled(samples, samples=40)
    verdict = finished(session, Options(nodes=(DEPTHWISE,), samples=2, data=data)).advice.verdict
    assert verdict is not None
    assert verdict.metric is Metric.TOP1
    found = session.evaluate(samples, samples=40)
    assert found.float_top1 is not None
    assert found.quantised_top1 is not None
    assert verdict.present.figure.value == pytest.approx(100.0 * (found.float_top1 - found.quantised_top1))
    assert found.lost is not None
    assert found.won is not None
    assert found.lost - found.won == round(40 * (found.float_top1 - found.quantised_top1))


def test_what_cannot_be_advised_on(models: Path, session: Session) -> None:
    with pytest.raises(DataError, match="calibrate it with data first"):
        list(Advisor(Session.open(models / "mobile_fmnist.onnx"), Options()).run())
    with pytest.raises(PlanError, match="no node 'nowhere'"):
        list(Advisor(session, Options(nodes=("nowhere",))).run())


# Trials


def test_a_plan_that_changes_nothing_is_not_tried(session: Session) -> None:
    bench = Bench(session, tuple(session.samples(1)), lambda: False)
    same = session.plan.mark((PROJECT,), Precision.INT8)
    assert bench.trial("int8", "as it is", PROJECT, (PROJECT,), same) is None


def test_plans_that_compute_the_same_are_measured_once(session: Session) -> None:
    bench = Bench(session, tuple(session.samples(2)), lambda: False)
    wide = session.plan.mark((PROJECT,), Precision.INT16)
    first = bench.trial("int16", "one", PROJECT, (PROJECT,), wide)
    second = bench.trial("int16 inputs", "other", "reader", (PROJECT,), replace(wide, choices=dict(wide.choices)))
    assert first is not None
    assert second is not None
    assert first.key != second.key
    list(bench.measure_base())
    list(bench.run(first, 2))
    assert second.samples == 2
    assert list(bench.run(second, 2)) == []
    assert len(best_of_kind([first, second], lambda trial: (trial.samples, 0.0))) == 2
    assert bench.effect(first) == bench.effect(second)


def test_changes_join(session: Session) -> None:
    one = session.plan.mark((PROJECT,), Precision.INT16)
    other = session.plan.mark((DEPTHWISE,), Precision.INT16)
    both = with_change(session.plan, other, one)
    assert dict(both.choices) == {**one.choices, **other.choices}
    assert with_change(session.plan, session.plan, one) is one


def test_nothing_offered_is_no_combination(session: Session) -> None:
    bench = Bench(session, tuple(session.samples(2)), lambda: False)
    list(bench.measure_base())
    combiner = Combiner(bench, Aim(min_db=1.0))
    list(combiner.run([]))
    assert combiner.report() is None
