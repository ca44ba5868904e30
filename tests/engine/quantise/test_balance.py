"""Factors that make channels alike, against what the formulas say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.analyze.evaluator import Sample
from engine.graph.float_run import FloatModel
from engine.ops.elementwise import Relu
from engine.quantise.balance import Extrema, balanced, extrema_of, noise_share, rows_of, weight_peaks
from engine.quantise.channels import find_channels
from tests.engine.quantise.graphs import Net


def never() -> bool:
    return False


def two_layers(weights: list[float]) -> tuple[Net, str]:
    """Two convolutions of one tap, the second with one output that reads every channel by the given weight."""
    net = Net()
    middle = net.add(Relu(), net.conv(net.input(), len(weights), kernel=1))
    last = net.conv(middle, 1, kernel=1)
    array = np.array(weights, np.float32).reshape(1, -1, 1, 1)
    net.constants[net.nodes[-1].inputs[1]] = type(net.constants["c0"]).of(array)
    return net, f"{middle} {last}"


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_strength_moves_range_between_activation_and_weights(strength: float) -> None:
    net, names = two_layers([1.0, 0.25, 0.0625])
    middle, last = names.split()
    graph = net.build(last)
    channels = find_channels(graph)
    components = channels.components()
    labels = channels.of[middle].reshape(-1)
    high = np.zeros(channels.count)
    high[labels] = [1.0, 4.0, 0.5]
    extrema = Extrema(np.zeros(channels.count), high, np.zeros(channels.count))
    rows = [found for place in channels.places if place.is_read and (found := rows_of(graph, place)) is not None]
    factors = balanced(channels, rows, extrema, components, np.full(channels.count, strength))
    peaks, weights = (high * factors)[labels], weight_peaks(rows, factors)[labels]
    assert peaks.max() == pytest.approx(4.0)
    if strength == 0.0:
        np.testing.assert_allclose(weights, 1.0, rtol=1e-3)
    if strength == 1.0:
        np.testing.assert_allclose(peaks, 4.0, rtol=1e-3)
    if strength == 0.5:
        np.testing.assert_allclose(peaks / peaks.max(), weights, rtol=1e-2)
    left = balanced(channels, rows, extrema, components, np.full(channels.count, np.nan))
    np.testing.assert_array_equal(left, 1.0)


def test_extrema_are_those_of_every_channel() -> None:
    net = Net(3)
    middle = net.conv(net.input(), 5)
    graph = net.build(net.conv(net.add(Relu(), middle)))
    channels, model = find_channels(graph), FloatModel(graph)
    rng = np.random.default_rng(0)
    samples = [Sample.of({"x": rng.normal(size=(1, 4, 6, 6)).astype(np.float32)}) for _ in range(3)]
    found = extrema_of(model, channels, [middle], samples, never)
    values = np.concatenate([model.run(sample.inputs, keep=[middle])[middle].numpy() for sample in samples])
    labels = channels.of[middle].reshape(-1)
    np.testing.assert_allclose(found.low[labels], np.minimum(values.min(axis=(0, 2, 3)), 0), rtol=1e-6)
    np.testing.assert_allclose(found.high[labels], np.maximum(values.max(axis=(0, 2, 3)), 0), rtol=1e-6)


def test_the_share_of_noise_does_not_depend_on_a_channels_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(1, 3, 8, 8, generator=generator)
    noisy = exact + 0.1 * torch.randn(1, 3, 8, 8, generator=generator)
    scale = torch.tensor([1.0, 100.0, 0.01]).reshape(1, 3, 1, 1)
    assert noise_share(exact * scale, noisy * scale, 1) == pytest.approx(noise_share(exact, noisy, 1), rel=1e-4)
    assert noise_share(exact, exact, 1) == 0.0
    assert noise_share(exact * 0.0, exact * 0.0, 1) == 0.0
