"""Rows: several variants of one sample in one walk over the float model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.analyze.rows import RowModel, Rows, stacking_of
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Gelu
from engine.ops.layout import Concat, Expand, Reshape, Transpose
from engine.ops.reduce import ReduceMean
from tests.engine.plan.graphs import Builder


def graph_of(batch: int) -> Graph:
    """A batch that moves to the second axis, a constant of the batch's size, a sum of two branches, a reshape."""
    build = Builder()
    x = build.input("x", (batch, 3, 4))
    turned = build.node("turned", Transpose((1, 0, 2)), x, shape=(3, batch, 4))
    bent = build.node("bent", Gelu(), turned, shape=(3, batch, 4))
    token = build.constant("token", np.full((1, batch, 4), 0.5))
    longer = build.node("longer", Concat(0), bent, token, shape=(4, batch, 4))
    back = build.node("back", Transpose((1, 0, 2)), longer, shape=(batch, 4, 4))
    flat = build.node("flat", Reshape((batch, 16)), back, shape=(batch, 16))
    other = build.node("other", Gelu(), x, shape=(batch, 3, 4))
    mean = build.node("mean", ReduceMean((1, 2), True), other, shape=(batch, 1, 1))
    spread = build.node("spread", Expand((batch, 1, 16)), mean, shape=(batch, 1, 16))
    low = build.node("low", Reshape((batch, 16)), spread, shape=(batch, 16))
    return_value = build.node("sum", Add(), flat, low, shape=(batch, 16))
    return build.build(return_value)


def test_the_batch_axis_is_found_and_what_names_its_size_goes_row_by_row() -> None:
    stacking = stacking_of(graph_of(1), graph_of(2))
    assert stacking is not None
    assert stacking.axis["turned"] == 1 and stacking.axis["flat"] == 0
    assert {"turned", "bent", "back", "mean", "sum"} <= stacking.whole
    assert not {"longer", "flat", "spread"} & stacking.whole


@pytest.mark.parametrize("batch", [1, 2])
def test_rows_are_what_the_float_model_computes_of_each(batch: int) -> None:
    graph = graph_of(batch)
    stacking = stacking_of(graph, graph_of(2 * batch))
    model = FloatModel(graph)
    rows = RowModel(model, stacking)
    everything = [value for node in graph.nodes for value in node.outputs]
    random = np.random.default_rng(0)
    inputs = [random.normal(size=(batch, 3, 4)).astype(np.float32) for _ in range(4)]
    reference = model.run({"x": inputs[0]}, keep=everything)
    expected = [model.run({"x": array}, keep=everything) for array in inputs[1:]]
    # Row 1 differs behind one branch alone, rows 0 and 2 behind both.
    changed: dict[str, Rows] = {}
    for value, numbers in (("turned", (0, 1, 2)), ("other", (0, 2))):
        for number in numbers:
            changed[value] = rows.joined(value, changed.get(value), number, expected[number][value])
    for node in graph.nodes[2:]:
        if node.id != "other" and any(value in changed for value in node.inputs):
            changed.update(rows.run(node, changed, reference))
    assert changed["mean"].numbers == (0, 2) and changed["sum"].numbers == (0, 1, 2)
    for number in (0, 2):
        torch.testing.assert_close(rows.row("sum", changed["sum"], number), expected[number]["sum"])
    mixed = expected[1]["flat"] + reference["low"]
    torch.testing.assert_close(rows.row("sum", changed["sum"], 1), mixed)


def test_a_model_that_mixes_its_rows_takes_them_one_by_one() -> None:
    def mixing(batch: int) -> Graph:
        build = Builder()
        x = build.input("x", (batch, 4))
        return build.build(build.node("mean", ReduceMean((0,), True), x, shape=(1, 4)))

    assert stacking_of(mixing(1), mixing(2)) is None
    assert stacking_of(graph_of(1), None) is None
