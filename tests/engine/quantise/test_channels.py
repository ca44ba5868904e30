"""Channels: any factors leave the function as it is, and the factors reach as far as they can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.graph.float_run import run_float
from engine.graph.graph import Constant, Graph
from engine.ops.elementwise import Add, Clip, Gelu, Relu
from engine.ops.layout import Reshape
from engine.ops.reduce import LayerNorm
from engine.quantise.channels import Channels, find_channels
from tests.engine.quantise.graphs import Net, graphs


def rescaled(graph: Graph, channels: Channels, factors: NDArray[np.float64]) -> Graph:
    constants = {name: Constant.of(array) for name, array in channels.rescaled(graph, factors).items()}
    return replace(graph, constants={**graph.constants, **constants})


def random_factors(channels: Channels, seed: int, bits: float = 4.0) -> NDArray[np.float64]:
    factors = 2.0 ** np.random.default_rng(seed).uniform(-bits, bits, channels.count)
    factors[0] = 1.0
    return np.minimum(factors, channels.most)


def outputs(graph: Graph, seed: int = 0) -> NDArray[np.float32]:
    x = np.random.default_rng(seed).normal(size=graph.types["x"].shape).astype(np.float32)
    return next(iter(run_float(graph, {"x": x}).values())).numpy()


@settings(max_examples=50, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 1000))
def test_any_factors_leave_the_function_as_it_is(graph: Graph, seed: int) -> None:
    channels = find_channels(graph)
    changed = rescaled(graph, channels, random_factors(channels, seed))
    before, after = outputs(graph, seed), outputs(changed, seed)
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max() + 1e-7, rtol=0)


@settings(max_examples=15, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 1000))
def test_values_are_multiplied_by_the_factors_of_their_labels(graph: Graph, seed: int) -> None:
    channels = find_channels(graph)
    factors = random_factors(channels, seed)
    x = {"x": np.random.default_rng(seed).normal(size=graph.types["x"].shape).astype(np.float32)}
    values = [value for node in graph.nodes for value in node.outputs]
    before = run_float(graph, x, keep=values)
    after = run_float(rescaled(graph, channels, factors), x, keep=values)
    for value in values:
        expected = before[value].numpy() * (factors[channels.of[value]] if value in channels.of else 1.0)
        np.testing.assert_allclose(after[value].numpy(), expected, atol=1e-4 * np.abs(expected).max() + 1e-7, rtol=0)


def labels_of(graph: Graph, value: str) -> NDArray[np.int64]:
    return find_channels(graph).of.get(value, np.zeros(1, np.int64))


def test_every_channel_between_two_convolutions_is_free() -> None:
    net = Net()
    middle = net.add(Relu(), net.conv(net.input(), 5))
    found = labels_of(net.build(net.conv(middle)), middle)
    assert found.shape == (1, 5, 1, 1)
    assert len(np.unique(found)) == 5 and found.all()


def test_a_residual_sum_ties_what_it_adds() -> None:
    net = Net()
    trunk = net.conv(net.input())
    branch = net.conv(net.add(Relu(), net.conv(trunk)))
    total = net.add(Add(), trunk, branch)
    channels = find_channels(net.build(net.conv(total)))
    assert (channels.of[trunk] == channels.of[branch]).all()
    assert (channels.of[trunk] == channels.of[total]).all()
    assert len(set(channels.components().tolist())) == 3  # fixed, the trunk, inside the branch


def test_a_depthwise_convolution_parts_its_sides() -> None:
    net = Net()
    wide = net.conv(net.input())
    deep = net.conv(wide, groups=4)
    channels = find_channels(net.build(net.conv(deep)))
    assert not set(channels.of[wide].reshape(-1)) & set(channels.of[deep].reshape(-1))


def test_a_function_that_is_not_homogeneous_fixes_both_sides() -> None:
    net = Net()
    before = net.conv(net.input())
    after = net.add(Gelu(), before)
    channels = find_channels(net.build(net.conv(after)))
    assert before not in channels.of and after not in channels.of


def test_a_norm_is_free_behind_and_fixed_before() -> None:
    net = Net()
    tokens = net.add(Reshape((1, 36, 4)), net.conv(net.input()))
    normed = net.add(LayerNorm(1), tokens, net.constant(4), net.constant(4))
    channels = find_channels(net.build(net.linear(normed)))
    assert tokens not in channels.of
    assert channels.of[normed].shape == (1, 1, 4)


def test_a_clip_lets_factors_through_as_far_as_its_bound_is() -> None:
    net = Net()
    before = net.conv(net.input(), 3)
    clipped = net.add(Clip(0.0, 6.0), before)
    graph = net.build(net.conv(clipped))
    assert before not in find_channels(graph).of
    peaks = {before: np.array([1.0, 5.0, 0.25]).reshape(1, 3, 1, 1)}
    channels = find_channels(graph, peaks, margin=1.5)
    first, second, third = channels.of[clipped].reshape(-1).tolist()
    assert second == 0, "it comes nearer to the bound than the margin allows"
    np.testing.assert_allclose(channels.most[[first, third]], [4.0, 16.0])


def test_a_constant_with_two_readers_stays() -> None:
    net = Net()
    first = net.conv(net.input())
    second = net.conv(net.add(Relu(), first))
    graph = net.build(net.conv(net.add(Relu(), second)))
    shared = {node.id: node for node in graph.nodes}[first].inputs[1]
    nodes = tuple(
        replace(node, inputs=(node.inputs[0], shared, node.inputs[2])) if node.id == second else node
        for node in graph.nodes
    )
    assert shared in find_channels(graph).constants
    assert not find_channels(replace(graph, nodes=nodes)).constants
