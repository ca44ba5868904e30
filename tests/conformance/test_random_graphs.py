"""A few random graphs in every form; ``make conformance`` takes 500."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.errors import ExportError
from engine.session import Session
from engine.verify.tosa_reference import reference_version
from tests.conformance import random_graphs
from tests.conformance.operators import OPERATORS
from tests.conformance.planned import Choices
from tests.conformance.random_models import random_model
from tests.conformance.reduced import reduced
from tests.conformance.truth import Refused, Verdict

GRAPHS = 12


def test_some_graphs_agree_in_every_form() -> None:
    tally = random_graphs.run(range(1000, 1000 + GRAPHS), tosa=bool(reference_version()))
    assert tally.failures == []
    assert tally.graphs + tally.refused.total() >= GRAPHS
    assert {"two threads", "batch", "layout", "compiled", "integer-onnx", "package"} <= set(tally.elements)
    assert any(line.startswith(f"{tally.graphs} graphs with a program") for line in random_graphs.table(tally))


@settings(max_examples=8, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(0, 2**16))
def test_graphs_that_hypothesis_chooses_agree(rng: random.Random, seed: int) -> None:
    model = random_model(seed, rng, most_nodes=6)
    _, verdict = random_graphs.examined(model, Choices.drawn(model), tosa=False)
    assert list(random_graphs.failures_of(seed, verdict)) == []


def test_every_operator_is_drawn() -> None:
    """Each of them fits somewhere, and what it adds is computed to ordinary numbers."""
    missing, seeds = set(OPERATORS), iter(range(400))
    while missing:
        missing -= set(random_model(next(seeds), most_nodes=20).operators)


def test_the_same_seed_is_the_same_graph() -> None:
    first, second = (random_model(7) for _ in range(2))
    assert first.proto.SerializeToString() == second.proto.SerializeToString()
    assert Choices.drawn(first) == Choices.drawn(second)


def test_differences_and_unnamed_refusals_are_failures() -> None:
    verdict = Verdict(
        refused=[Refused("tosa", ExportError("3 axes of 'x'", node="n")), Refused("qdq", ExportError("no"))]
    )
    verdict.compare("package", 1, {"v": np.zeros(3, np.int8)}, {"v": np.array([0, 1, 2], np.int8)})
    verdict.compare("package", 1, {"w": np.zeros(3, np.int8)}, {"w": np.zeros((1, 3), np.int8)})
    assert [item.elements for item in verdict.differences] == [2, 3]
    texts = [failure.text for failure in random_graphs.failures_of(5, verdict)]
    assert texts == ["2 elements of 'v' differ, sample 1", "refused without a node: no"]
    assert [refusal.reason for refusal in verdict.refused] == ["N axes of '…'", "no"]


def test_a_failing_graph_is_reduced_to_the_nodes_that_fail() -> None:
    """Fed with what reached them."""
    model = next(m for m in map(random_model, range(1000)) if len(m.proto.graph.node) > 8 and "Softmax" in m.operators)
    part = reduced(model, lambda part: "Softmax" in {node.op_type for node in part.proto.graph.node})
    assert [node.op_type for node in part.proto.graph.node] == ["Softmax"]
    _, verdict = random_graphs.examined(part, Choices("generic-int8", {}), tosa=False)
    assert verdict.elements["integer-onnx"] > 0
    assert list(random_graphs.failures_of(0, verdict)) == []


def test_a_reproducer_is_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_graphs, "REPRODUCERS", tmp_path)
    model = random_model(3, most_nodes=1)
    folder = random_graphs.save_reproducer(random_graphs.Failure(3, "two threads", ""), model, Choices.drawn(model))
    assert folder.name == "3-two-threads"
    assert Session.open(folder / "project.qscope").calibration is not None
