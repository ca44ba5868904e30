"""Errors in one walk that keeps nothing: the same as those of an evaluator that keeps everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.analyze.errors import ErrorAnalysis
from engine.analyze.evaluator import Evaluator
from engine.analyze.metrics import ErrorSums
from engine.analyze.streaming import Stream
from engine.errors import Cancelled
from engine.precision import Precision
from engine.session import Session


def never() -> bool:
    return False


@pytest.fixture(params=["mobile_fmnist", "swin_fmnist"])
def session(request: pytest.FixtureRequest, models: Path, samples: Path, recipe: Path) -> Session:
    """A demo with nodes of every kind: int8, int16, on the CPU."""
    session = Session.open(models / f"{request.param}.onnx")
    session.calibrate(samples, recipe=recipe, samples=4)
    for index, node in enumerate(session.graph.nodes[::7]):
        session.mark(node.id, Precision.FLOAT if index % 2 else Precision.INT16)
    return session


def same(found: dict[str, ErrorSums], expected: dict[str, ErrorSums]) -> None:
    assert found.keys() == expected.keys()
    for name, sums in found.items():
        assert sums.sqnr_db == pytest.approx(expected[name].sqnr_db, abs=0.02), name


def test_a_walk_finds_what_an_evaluator_finds(session: Session) -> None:
    program, keeping = session.program(), Evaluator(session.graph)
    sample = next(session.samples(1))
    accumulated, introduced = Stream(session.evaluator, program).measure(sample, never)
    same(dict(accumulated), dict(keeping.accumulated(program, sample)))
    same(dict(introduced), dict(keeping.introduced(program, sample)))

    executed = session.evaluator.executed
    assert Stream(session.evaluator, program).measure(sample, never) == (accumulated, introduced)
    assert session.evaluator.executed == executed


def test_what_a_store_cannot_keep_is_streamed(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    small = Evaluator(session.graph, 1 << 20)
    assert not small.keeps(3) and session.evaluator.keeps(3)
    found = ErrorAnalysis(small, session.resolve(), session.program(), 3)
    for sample in session.samples(3):
        found.add(sample, never)
    expected = session.analyze(3)
    assert small._references.size_bytes == small._tensors.size_bytes == 0
    assert [node.id for node in found.report().nodes] == [node.id for node in expected.nodes]
    for node, other in zip(found.report().nodes, expected.nodes, strict=True):
        assert node.accumulated_db.mean == pytest.approx(other.accumulated_db.mean, abs=0.02), node.id
        assert node.introduced_db.mean == pytest.approx(other.introduced_db.mean, abs=0.02), node.id


def test_a_cancelled_walk_leaves_what_was_measured(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    analysis = ErrorAnalysis(Evaluator(session.graph, 1 << 20), session.resolve(), session.program(), 2)
    first, second = session.samples(2)
    analysis.add(first, never)
    report = analysis.report()
    asked = iter(range(1000))
    with pytest.raises(Cancelled):
        analysis.add(second, lambda: next(asked) > 10)
    assert analysis.report() == report
