"""The bytes of encoded weights."""

from __future__ import annotations

import numpy as np
import pytest

from engine.simulate.ethos.passes import FeatureMap, Part, Pass
from engine.simulate.ethos.weights import Statistics, encoded_bytes, statistics
from tests.engine.simulate.ethos.engines import U55, U85


def test_entropy_is_of_the_integers_of_each_channel() -> None:
    """Two channels of different scale have the same integers: 4 different ones, none of them 0."""
    row = np.array([127.0, -127.0, 64.0, -64.0])
    found = statistics(np.stack([row, row * 0.01]))
    assert (found.bits, found.zeros) == (pytest.approx(2.0), 0.0)


def test_zeros_are_counted_apart() -> None:
    found = statistics(np.array([[1.0, 0.0, 0.0, 0.0]]))
    assert (found.bits, found.zeros) == (0.0, 0.75)
    assert statistics(np.zeros((4, 4))).zeros == 1.0


def conv(outputs: int, depth: int) -> Pass:
    return Pass(Part.CONVOLUTION, FeatureMap(7, 7, depth), FeatureMap(7, 7, outputs))


def test_dense_weights_take_about_their_entropy() -> None:
    size = encoded_bytes(Statistics(7.15, 0.0), conv(1000, 1280), U55)
    assert size * 8 / (1000 * 1280) == pytest.approx(7.28, rel=0.03)


def test_padding_takes_less_than_weights_but_not_nothing() -> None:
    """96 input channels are padded to 128 on an Ethos-U85: Vela has 9.08 bits a weight, 7.82 on an Ethos-U55."""
    found = Statistics(7.49, 0.0)
    wide, narrow = (encoded_bytes(found, conv(96, 96), npu) * 8 / 96**2 for npu in (U85, U55))
    assert wide == pytest.approx(9.08, rel=0.03)
    assert narrow == pytest.approx(7.82, rel=0.03)


def test_weights_of_zeros_are_nearly_free() -> None:
    assert encoded_bytes(Statistics(0.0, 1.0), conv(256, 256), U55) < 256
