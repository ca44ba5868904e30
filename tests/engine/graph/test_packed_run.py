"""Packed convolutions compute what the plain float model computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.graph.float_run import FloatModel
from engine.graph.graph import Node
from engine.graph.load import load_model
from engine.graph.packed_run import PackedModel
from engine.ops.elementwise import Clip, Relu, Tanh
from engine.ops.linear import Conv
from tests.engine.plan.graphs import Builder


def visited(model: FloatModel, inputs: dict[str, np.ndarray], *, whole: bool) -> dict[str, torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}

    def visit(node: Node, outputs: tuple[torch.Tensor, ...]) -> None:
        seen.update((name, value.clone()) for name, value in zip(node.outputs, outputs, strict=False) if name)

    PackedModel(model).run(inputs, visit, whole=whole)
    return seen


def close(found: dict[str, torch.Tensor], model: FloatModel, inputs: dict[str, np.ndarray]) -> None:
    for name, expected in model.run(inputs, keep=list(found)).items():
        scale = float(expected.abs().max()) or 1.0
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("whole", [True, False])
def test_values_of_a_convolutional_model(models: Path, whole: bool) -> None:
    graph = load_model(models / "mobile_fmnist.onnx")
    model = FloatModel(graph)
    kind = graph.types[graph.inputs[0]]
    inputs = {graph.inputs[0]: np.random.default_rng(0).standard_normal(kind.shape).astype(np.float32)}
    found = visited(model, inputs, whole=whole)
    close(found, model, inputs)
    everything = {name for node in graph.nodes for name in node.outputs if name}
    assert (set(found) == everything) if whole else (set(found) < everything and set(graph.outputs) <= set(found))


@pytest.mark.parametrize("clamp", [Relu(), Clip(0.0, 6.0), Clip(-1.0, float("inf")), Clip(float("-inf"), 0.5), Tanh()])
def test_padding_groups_and_what_follows(clamp: Relu | Clip | Tanh) -> None:
    rng = np.random.default_rng(1)
    build = Builder()
    x = build.input("x")
    weight = build.constant("weight", rng.standard_normal((4, 1, 3, 3)) * 3)
    bias = build.constant("bias", rng.standard_normal(4))
    op = Conv((2, 2), (0, 0, 1, 1), (1, 1), groups=4)
    conv = build.node("conv", op, x, weight, bias, shape=(1, 4, 3, 3))
    build.node("clamped", clamp, conv, shape=(1, 4, 3, 3))
    graph = build.build("clamped")
    model, inputs = FloatModel(graph), {"x": rng.standard_normal((1, 4, 6, 6)).astype(np.float32)}
    merged = visited(model, inputs, whole=False)
    close(merged, model, inputs)
    assert ("conv" in merged) == isinstance(clamp, Tanh)
    close(visited(model, inputs, whole=True), model, inputs)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("pads", [(0, 0, 1, 1), (1, 2, 2, 1), (2, 0, 0, 0), (0, 3, 2, 0), (1, 1, 1, 1)])
def test_uneven_padding(pads: tuple[int, ...], dilations: tuple[int, int], groups: int) -> None:
    rng = np.random.default_rng(2)
    build = Builder()
    x = build.input("x")
    weight = build.constant("weight", rng.standard_normal((4, 4 // groups, 3, 2)))
    op = Conv((2, 1), pads, dilations, groups)
    whole = [size + sum(pads[axis::2]) - dilations[axis] * (2 - axis) for axis, size in enumerate((6, 6))]
    shape = (1, 4, (whole[0] - 1) // 2 + 1, whole[1])
    build.node("conv", op, x, weight, shape=shape)
    model, inputs = FloatModel(build.build("conv")), {"x": rng.standard_normal((1, 4, 6, 6)).astype(np.float32)}
    found = visited(model, inputs, whole=False)
    assert found["conv"].shape == shape
    close(found, model, inputs)


def test_a_convolution_that_others_read_is_seen() -> None:
    build = Builder()
    conv = build.conv("conv", build.input("x"))
    build.node("left", Relu(), conv)
    build.node("right", Tanh(), conv)
    graph = build.build("left", "right")
    inputs = {"x": np.ones((1, 4, 6, 6), np.float32)}
    assert set(visited(FloatModel(graph), inputs, whole=False)) == {"x", "conv", "left", "right"}
