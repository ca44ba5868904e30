"""The measure that searches are judged by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.analyze.quality import EXACT_DB, measure
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
