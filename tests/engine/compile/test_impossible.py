"""Targets that no model can be compiled for end in one line that names the kernel, and soon."""

from __future__ import annotations

from importlib import resources

import pytest

from engine.clock.estimate import estimate
from engine.compile.tiling import MOST_TILES
from engine.errors import CompileError
from engine.ops.elementwise import Relu
from engine.ops.linear import Linear
from engine.target.target import parse_target
from tests.engine.clock.graphs import GraphBuilder, resolution_of


def generic(old, new):
    text = (resources.files("resources") / "targets" / "generic-int8.toml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    return parse_target(text.replace(old, new).encode(), "mine.toml")


def layers(features=512):
    builder = GraphBuilder()
    builder.input("x", (1, 256, features))
    builder.node("relu", Relu(), ("x",), (1, 256, features))
    builder.constant("w", (features, features))
    builder.node("linear", Linear(), ("relu", "w"), (1, 256, features))
    return builder.build("linear")


@pytest.mark.parametrize(
    "figure", ['bandwidth = { value = 8.0, unit = "GB/s"', 'frequency = { value = 1.0, unit = "GHz"']
)
def test_a_rate_that_takes_more_than_an_hour(figure):
    target = generic(figure, figure.replace("8.0", "1e-13").replace("1.0", "1e-13"))
    graph = layers()
    with pytest.raises(CompileError, match="more than an hour on generic-int8; correct the rates") as caught:
        estimate(graph, resolution_of(graph), target)
    assert caught.value.node in graph.by_id


def test_a_memory_that_cuts_a_layer_into_too_many_tiles():
    target = generic("value = 1048576", "value = 5000")
    graph = layers(features=8192)
    with pytest.raises(CompileError, match=rf"more than {MOST_TILES:,}, on generic-int8; correct sram") as caught:
        estimate(graph, resolution_of(graph), target)
    assert caught.value.node == "linear"
