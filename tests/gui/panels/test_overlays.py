"""Heat maps: which nodes have a value, and which end of the scale is the bad one."""

from __future__ import annotations

import numpy as np
import pytest

from gui.canvas.heat import positions
from gui.document.document import Document
from gui.document.overlay import Overlay
from gui.panels.heat_colours import HeatColours
from gui.panels.hierarchy.model import ModuleTree
from gui.panels.overlays import Heat, heat_of, worst_first
from gui.theme import BOUND_COLOURS
from tests.gui import samples


def position_of(document: Document, overlay: Overlay, node_id: str) -> float:
    heat = heat_of(document, overlay)
    assert heat.scale is not None
    return float(positions(np.array([heat.values[node_id]]), heat.scale)[0])


def test_lower_decibels_are_worse() -> None:
    document = samples.filled()
    assert position_of(document, Overlay.ACCUMULATED, "logits") > 0.95
    assert position_of(document, Overlay.ACCUMULATED, "/stem/Conv") < 0.1


def test_what_adds_nothing_stays_neutral_unless_it_is_fused() -> None:
    values = heat_of(samples.filled(), Overlay.INTRODUCED).values
    assert "/head/Reshape" not in values
    assert "logits" not in values
    assert values["/stem/Relu"] == values["/stem/Conv"]


def test_longer_is_worse_and_fused_nodes_show_their_units_time() -> None:
    document = samples.filled()
    values = heat_of(document, Overlay.LATENCY).values
    assert position_of(document, Overlay.LATENCY, "/head/fc/Gemm") == pytest.approx(1.0)
    assert values["/stem/Relu"] == values["/stem/Conv"] == 12.0
    assert "image" not in values, "the fixed cost of an inference would drown the rest"


def test_worst_first_follows_the_scale() -> None:
    document = samples.filled()
    assert worst_first(heat_of(document, Overlay.INTRODUCED))[0] == "/head/fc/Gemm"
    assert worst_first(heat_of(document, Overlay.LATENCY))[0] == "/head/fc/Gemm"


@pytest.mark.parametrize("overlay", list(Overlay))
def test_nothing_open_nothing_shown(overlay: Overlay) -> None:
    heat = heat_of(Document(), overlay)
    assert heat.scale is None
    assert HeatColours(heat).of(1.0) is None


def test_equal_values_make_a_usable_scale() -> None:
    document = samples.filled()
    document.measure(document.revision, samples.errors(better_by_db=500.0), is_final=True)
    heat = heat_of(document, Overlay.ACCUMULATED)
    assert heat.scale is not None
    assert heat.scale.minimum < heat.scale.maximum
    assert HeatColours(heat).of(heat.values["logits"]) is not None


def test_bounds_are_names_and_worst_is_what_takes_longest() -> None:
    document = samples.filled()
    heat = heat_of(document, Overlay.BOUND)
    assert heat.scale is not None
    names = {node_id: heat.scale.format(value) for node_id, value in heat.values.items()}
    assert names == {"/stem/Conv": "MAC", "/stem/Relu": "MAC", "/head/Reshape": "DMA", "/head/fc/Gemm": "MAC"}
    assert worst_first(heat)[:2] == ["/head/fc/Gemm", "/stem/Conv"]
    fills = [colours[0] for colours in map(HeatColours(heat).of, heat.values.values()) if colours]
    assert fills == [BOUND_COLOURS[key] for key in ("mac", "mac", "dma", "mac")]


def test_a_module_shows_what_most_of_its_time_goes_to() -> None:
    document = samples.filled()
    assert document.graph is not None
    tree = ModuleTree(document.graph.nodes)
    heat = heat_of(document, Overlay.BOUND)
    assert heat.scale is not None
    tree.show(heat)
    shown = {item.id: item.worst for item in tree.items}
    assert shown["stem"] == shown["head"] == 0.0, "MAC: 100 of 101.5 µs in the head"
    tree.show(with_slow_reshape(heat))
    assert {item.id: item.worst for item in tree.items}["head"] == 3.0, "DMA, once the Reshape takes longest"


def with_slow_reshape(heat: Heat) -> Heat:
    """The same bounds with the Reshape as what takes longest."""
    return Heat(heat.values, heat.scale, {**heat.weights, "/head/Reshape": 1000.0})
