"""Distributions and tables say what the float model and the integer program compute."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from engine.analyze.distribution import BINS, channel_axis, distribution, histogram_edges
from engine.errors import Cancelled, DataError, PlanError
from engine.precision import Precision
from engine.session import Session

EXPAND = "/blocks.1/expand/conv/Conv"
GATE = "/blocks.1/se/gate/Sigmoid"


def test_histograms_hold_every_value(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    found = distribution(session, EXPAND, samples=3)
    elements = session.graph.types[found.value].element_count
    assert sum(found.float_counts) == sum(found.quantised_counts) == 3 * elements
    assert len(found.sqnr_db) == 3 and found.sample is None
    assert found.worst == int(np.argmin([value or np.inf for value in found.sqnr_db]))
    errors = {node.id: node for node in session.analyze(3).nodes}
    assert found.mean_db.mean == pytest.approx(errors[EXPAND].accumulated_db.mean, abs=0.01)
    assert found.mean_db.half_width == pytest.approx(errors[EXPAND].accumulated_db.half_width, abs=0.01)
    assert found.table is None


def test_one_sample_and_one_channel(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    found = distribution(session, EXPAND, samples=3, sample=2, channel=5)
    sample = list(session.samples(3))[2]
    values = session.evaluator.reference(sample)[found.value].double().numpy()[:, 5]
    assert sum(found.float_counts) == values.size
    assert found.channel_low[5] == pytest.approx(values.min())
    assert found.channel_high[5] == pytest.approx(values.max())
    assert len(found.channel_low) == 96
    assert len(found.sqnr_db) == 3, "the figures of all samples stay to choose from"


@pytest.mark.parametrize(("precision", "entries", "places"), [(Precision.INT8, 256, 255), (Precision.INT16, 513, 2048)])
def test_a_table_beside_its_function(
    open_mobile: Callable[[], Session], precision: Precision, entries: int, places: int
) -> None:
    session = open_mobile()
    session.mark("/blocks.1/se/expand/Conv", precision)
    session.mark(GATE, precision)
    table = distribution(session, GATE, samples=3).table
    assert table is not None
    assert (table.function, table.entries, len(table.x)) == ("Sigmoid", entries, places)
    x, exact, made = (np.array(values) for values in (table.x, table.exact, table.made))
    np.testing.assert_allclose(exact, 1.0 / (1.0 + np.exp(-x)), rtol=1e-12)
    largest = 127 if precision is Precision.INT8 else 32767
    within = exact <= largest * table.output_step
    least = 0.51 if precision is Precision.INT8 else 8.0
    assert within.sum() > len(x) // 2 and np.abs(made - exact)[within].max() <= least * table.output_step
    elements = 96 * 3
    assert sum(table.input_counts) == elements
    assert (table.output_db.mean or 0.0) > 20.0 and table.output_db.half_width is not None
    assert (table.entries_power.mean or 0.0) < (table.signal_power.mean or 0.0)


def test_channels_are_along_the_axis_of_the_nearest_layer(models: str) -> None:
    graph = Session.open(f"{models}/swin_fmnist.onnx").graph
    norm = graph.by_id["/layers.0/blocks.0/norm1/LayerNormalization"].outputs[0]
    patch = graph.by_id["/patch_embed/proj/Conv"].outputs[0]
    assert channel_axis(graph, norm) == 3
    assert channel_axis(graph, patch) == 1


def test_what_cannot_be_shown(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    with pytest.raises(PlanError, match="no node 'nowhere'"):
        distribution(session, "nowhere")
    with pytest.raises(DataError, match="no sample 9"):
        distribution(session, EXPAND, samples=2, sample=9)
    with pytest.raises(DataError, match="no channel 96"):
        distribution(session, EXPAND, samples=2, channel=96)
    with pytest.raises(Cancelled):
        distribution(session, EXPAND, cancelled=lambda: True)


@pytest.mark.parametrize("step", [0.11, 0.0443, 0.01, 1e-4])
@pytest.mark.parametrize(("low", "high"), [(0.0, 5.6), (-0.17, 8.1), (-3.0, 0.0)])
def test_every_bin_holds_as_many_levels(step: float, low: float, high: float) -> None:
    exact = np.array([low, high])
    levels = np.asarray(np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step, np.float64)
    edges = histogram_edges(exact, levels, step)
    assert edges[0] <= low and high <= edges[-1]
    assert len(edges) <= BINS + 3
    inner = np.histogram(levels, edges)[0][1:-1]
    assert set(inner.tolist()) <= {round((edges[1] - edges[0]) / step)}


def test_values_in_float_have_plain_bins() -> None:
    edges = histogram_edges(np.array([0.0, 2.0]), np.array([0.0, 2.0]), None)
    assert len(edges) == BINS + 1 and edges[-1] == 2.0
    assert histogram_edges(np.zeros(3), np.zeros(3), 0.1)[-1] == 1.0
