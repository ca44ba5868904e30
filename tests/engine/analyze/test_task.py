"""The task metric on outputs of several forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.analyze.evaluator import Evaluator
from engine.analyze.task import TaskMetric
from engine.calibrate.data import Dataset, open_data
from engine.errors import Cancelled, DataError
from engine.graph.graph import Graph
from engine.ops.layout import Reshape
from engine.ops.reduce import ArgMax
from engine.reports import Evaluation
from tests.engine.plan.graphs import Builder
from tests.engine.program.lowering.cases import inputs_of, lowered

SCORES = np.array([[0.1, 0.9, 0.2], [0.8, 0.1, 0.3], [0.2, 0.3, 0.9], [0.9, 0.1, 0.2]], np.float32)


def graph_of(shape: tuple[int, ...]) -> Graph:
    builder = Builder()
    builder.node("y", Reshape(shape), builder.input("x", (1, 3)), shape=shape)
    return builder.build("y")


def dataset(folder: Path, graph: Graph, labels: list[int] | None) -> Dataset:
    if labels is None:
        np.savez(folder / "d.npz", x=SCORES)
    else:
        np.savez(folder / "d.npz", x=SCORES, labels=np.array(labels))
    return open_data(folder / "d.npz", graph_inputs={"x": graph.types["x"]})


def measured(graph: Graph, data: Dataset) -> Evaluation:
    metric = TaskMetric(data, graph)
    seen: list[tuple[int, int]] = []
    program = lowered(graph, inputs_of(graph, low=0.9, high=1.0))
    metric.run(Evaluator(graph), program, 1, lambda done, total: seen.append((done, total)), lambda: False)
    assert seen == [(index + 1, 4) for index in range(4)]
    return metric.report(0)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1), (1, 1, 3)])
def test_top1_of_scores(tmp_path: Path, shape: tuple[int, ...]) -> None:
    graph = graph_of(shape)
    found = measured(graph, dataset(tmp_path, graph, [1, 0, 0, 0]))
    assert (found.float_top1, found.quantised_top1, found.agreement, found.samples) == (0.75, 0.75, 1.0, 4)
    assert found.output_sqnr_db > 30.0


def test_agreement_without_labels(tmp_path: Path) -> None:
    graph = graph_of((1, 1, 3))
    found = measured(graph, dataset(tmp_path, graph, None))
    assert (found.float_top1, found.quantised_top1, found.agreement) == (None, None, 1.0)


def test_outputs_of_indices_are_predictions(tmp_path: Path) -> None:
    builder = Builder()
    builder.node("y", ArgMax(1, False), builder.input("x", (1, 3)), shape=(1,), dtype="int64")
    graph = builder.build("y")
    assert measured(graph, dataset(tmp_path, graph, None)).agreement == 1.0


@pytest.mark.parametrize(
    ("shape", "labels", "expected"),
    [
        ((1, 3), [0, 1, 2, 3], "label of .* is 3, the model has classes 0..2"),
        ((1, 3, 1, 1), [0, 0, 7, 0], "is 7, the model has classes 0..2"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, shape: tuple[int, ...], labels: list[int], expected: str) -> None:
    graph = graph_of(shape)
    with pytest.raises(DataError, match=expected):
        TaskMetric(dataset(tmp_path, graph, labels), graph)


def test_labels_need_one_score_a_class(tmp_path: Path) -> None:
    builder = Builder()
    builder.node("y", ArgMax(1, False), builder.input("x", (1, 3)), shape=(1,), dtype="int64")
    graph = builder.build("y")
    with pytest.raises(DataError, match=r"output 'y' int64\[1\] is not one score a class; leave the labels out"):
        TaskMetric(dataset(tmp_path, graph, [0, 0, 0, 0]), graph)


def test_cancelled(tmp_path: Path) -> None:
    graph = graph_of((1, 3))
    metric = TaskMetric(dataset(tmp_path, graph, None), graph)
    program = lowered(graph, inputs_of(graph))
    with pytest.raises(Cancelled):
        metric.run(Evaluator(graph), program, 1, None, lambda: True)
