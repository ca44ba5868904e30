"""The adviser as a whole, on the demo: what it says can be done, and does what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from engine.advise.advisor import Advisor, Labelled, Options
from engine.advise.combine import Combiner, with_change
from engine.advise.remedies import PLACES_REMEDIES
from engine.advise.trials import COARSE_SAMPLES, Bench, best_of_kind
from engine.analyze.quality import EXACT_DB, measure
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
    return finished(spoilt(session), Options(places=1, with_model=False, samples=6, aim=Aim(min_db=25.0)))


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
    unseen = tuple(session.samples(6))[COARSE_SAMPLES:]
    before, after = (measure(session.with_plan(plan), unseen) for plan in (advisor.before, advisor.plans[mending.key]))
    assert mending.effect.gain_db == after.gain_over(before), "on samples that it was not chosen by"
    assert mending.effect.samples == 4
    assert (mending.effect.change_us, mending.effect.change_bytes) == (0.0, 0)
    change = mending.effect.agreement_change
    assert change is not None
    assert change.low < change.value < change.high
    assert advice.present_db == measure(session.with_plan(advisor.before), 6).output_db


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


def test_what_others_want_comes_first_and_the_work_goes_on_where_it_was(session: Session) -> None:
    """Each step of what is fitted is done once, however often something else comes between."""
    plain = finished(session, Options(nodes=(DEPTHWISE,), samples=2, with_verdict=False)).advice
    wanted = True

    def alternating() -> bool:
        nonlocal wanted
        wanted = not wanted
        return wanted

    options = Options(nodes=(DEPTHWISE,), samples=2, with_verdict=False)
    advisor = Advisor(session, options, is_wanted=alternating)
    turns = [stage.detail for stage in advisor.run() if stage.text == "fitting remedies for these places"]
    assert set(turns) == set(PLACES_REMEDIES)
    assert advisor.advice.trials == plain.trials
    assert advisor.advice.diagnoses[0].causes


def test_a_verdict_on_labelled_data(session: Session, samples: Path) -> None:
    data = Labelled(samples, samples=40)
    advice = finished(session, Options(nodes=(DEPTHWISE,), samples=6, data=data)).advice
    verdict = advice.verdict
    assert verdict is not None
    assert verdict.metric is Metric.TOP1
    found = session.evaluate(samples, samples=40)
    assert found.float_top1 is not None
    assert found.quantised_top1 is not None
    assert verdict.present.figure.value == pytest.approx(100.0 * (found.float_top1 - found.quantised_top1))
    assert found.lost is not None
    assert found.won is not None
    assert found.lost - found.won == round(40 * (found.float_top1 - found.quantised_top1))
    counted = [trial for trial in advice.trials if trial.effect.top1_change is not None]
    assert [trial.key for trial in counted] == [trial.key for trial in advice.trials if trial.is_offered]
    for trial in counted:
        assert trial.effect.top1_samples == 40
        change = trial.effect.top1_change
        assert change is not None
        assert change.low <= change.value <= change.high


def test_labels_that_do_not_fit_are_said_at_once(session: Session, tmp_path: Path) -> None:
    (sample,) = session.samples(1)
    path = tmp_path / "wrong.npz"
    ((name, array),) = sample.inputs.items()
    np.savez(path, allow_pickle=False, **{name: array, "labels": np.array([77])})
    advisor = Advisor(session, Options(samples=2, data=Labelled(path)))
    with pytest.raises(DataError, match="label"):
        next(advisor.run())


def test_where_nothing_is_lost_nothing_is_offered(tmp_path: Path) -> None:
    """Whole numbers within int8: the integers are the float model's values, and no plan can be better."""
    numbers = np.random.default_rng(3).integers(-127, 128, (8, 4, 6, 6)).astype(np.float32)
    numbers[:, 0, 0, 0] = 127.0
    np.savez(tmp_path / "numbers.npz", x=numbers)
    eye = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["made"], "conv"),
        onnx.helper.make_node("MaxPool", ["made"], ["y"], "pool", kernel_shape=[2, 2]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "exact",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, 6, 6])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4, 5, 5])],
        [onnx.numpy_helper.from_array(eye, "w")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "exact.onnx")
    session = Session.open(tmp_path / "exact.onnx")
    session.calibrate(tmp_path / "numbers.npz")
    session.set_plan(replace(session.plan, default_method="max"))
    advice = finished(session, Options(samples=8, with_verdict=False)).advice
    assert advice.present_db.mean == EXACT_DB
    assert not [trial.title for trial in advice.trials if trial.is_offered]
    assert advice.combination is None


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
