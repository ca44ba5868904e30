"""The measure that searches are judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.analyze.quality import EXACT_DB, joined, measure
from engine.errors import Cancelled
from engine.ops.linear import Conv
from engine.plan.corrections import Correction
from engine.precision import Precision
from engine.session import Session


def test_it_is_what_the_analysis_says_of_the_outputs(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    found = measure(session, 4)
    assert found.output_db.mean == pytest.approx(session.analyze(4).output_sqnr_db.mean)
    assert found.loss == pytest.approx(-np.mean(found.per_sample_db) / 10)
    agreed = [
        session.run(sample.inputs)[name].argmax() == session.run_float(sample.inputs)[name].argmax()
        for sample in session.samples(4)
        for name in session.graph.outputs
    ]
    assert found.agreement == np.mean(agreed)


def test_a_model_in_float_is_exact_and_a_gain_is_paired(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    nodes = tuple(node.id for node in session.graph.nodes)
    exact = measure(session.with_plan(session.plan.mark(nodes, Precision.FLOAT)), 4)
    assert exact.per_sample_db == (EXACT_DB,) * 4 and exact.agreement == 1.0
    found = measure(session, 4)
    gain = exact.gain_over(found)
    assert gain.mean == pytest.approx(EXACT_DB - np.mean(found.per_sample_db))


def test_what_should_have_left_the_model_alone_counts_where_it_did_not(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    nodes = tuple(node.id for node in session.graph.nodes)
    session.set_plan(session.plan.mark(nodes, Precision.FLOAT))
    name = next(node.inputs[1] for node in session.graph.nodes if isinstance(node.op, Conv))
    halved = np.asarray(session.graph.constants[name].array, np.float32) / 2
    session.correct(Correction(kind="equalise", title="weights halved", same={name: halved}))
    assert max(measure(session, 2).per_sample_db) < 40.0


def test_it_stops(open_mobile: Callable[[], Session]) -> None:
    with pytest.raises(Cancelled):
        measure(open_mobile(), 4, lambda: True)


def test_plans_are_told_apart_in_front_of_a_softmax(softmax_project: Path, open_mobile: Callable[[], Session]) -> None:
    session, plain = Session.open(softmax_project), open_mobile()
    found, expected = measure(session, 4), measure(plain, 4)
    assert found.places == ("logits",) and not expected.places
    assert found.felt_db == pytest.approx(expected.per_sample_db) and found.loss == pytest.approx(expected.loss)
    assert np.abs(np.subtract(found.per_sample_db, found.felt_db)).min() > 1.0, "it is something else behind it"
    nodes = tuple(node.id for node in session.graph.nodes[:12])
    wide, plain_wide = (measure(item.with_plan(item.plan.mark(nodes, Precision.INT16)), 4) for item in (session, plain))
    assert wide.gain_over(found).mean == pytest.approx(plain_wide.gain_over(expected).mean)
    elsewhere = replace(found, felt=(), places=())
    behind = np.subtract(wide.per_sample_db, found.per_sample_db).mean()
    assert wide.gain_over(elsewhere).mean == pytest.approx(behind)


def test_samples_measured_one_by_one_are_the_same_together(softmax_project: Path) -> None:
    session = Session.open(softmax_project)
    every = measure(session, 3)
    assert joined([measure(session, (sample,)) for sample in session.samples(3)]) == every
