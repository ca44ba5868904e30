# pyright: reportUnknownMemberType=false
"""What a kernel reads at chosen places, times its weights, is what it writes there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.program.arithmetic import scaling_for
from engine.program.kernels import KERNEL
from engine.program.types import Convolution, FullyConnected, Output
from engine.quantise.places import MacOp, Shape, inputs_at, is_fittable, outputs_at, places_of

EXACT = Output("int16", -32767, 32767)


def _agrees(op: MacOp, x: torch.Tensor) -> None:
    (output,) = KERNEL[type(op)](op, [x])
    count = places_of(op, output)
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:7]
    inputs, wanted = inputs_at(op, x, tuple(output.shape), chosen), outputs_at(op, output, chosen)
    shape = Shape.of(op)
    weights = torch.from_numpy(np.array(op.weight)).view(shape.groups, shape.outputs, shape.weights).float()
    assert torch.equal(inputs @ weights.mT, wanted.float())


@settings(max_examples=40, deadline=None)
@given(data=st.data(), axes=st.integers(1, 2), groups=st.sampled_from((1, 2, 4)), seed=st.integers(0, 99))
def test_convolutions(data: st.DataObject, axes: int, groups: int, seed: int) -> None:
    sizes = st.tuples(*[st.integers(1, 3)] * axes)
    kernel, strides, dilations = (data.draw(sizes) for _ in range(3))
    pads = data.draw(st.tuples(*[st.integers(0, 2)] * (2 * axes)))
    generator = np.random.default_rng(seed)
    op = Convolution(
        weight=generator.integers(-9, 10, (4, 4 // groups, *kernel)).astype(np.int8),
        bias=np.zeros(4, np.int64),
        scaling=scaling_for(np.ones(4)),
        output=EXACT,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=groups,
    )
    x = generator.integers(-50, 51, (2, 4, *[8] * axes)).astype(np.int8)
    _agrees(op, torch.from_numpy(x))


def test_fully_connected() -> None:
    generator = np.random.default_rng(3)
    weight = generator.integers(-9, 10, (5, 6)).astype(np.int8)
    op = FullyConnected(weight, np.zeros(5, np.int64), scaling_for(np.ones(5)), EXACT)
    _agrees(op, torch.from_numpy(generator.integers(-50, 51, (2, 9, 6)).astype(np.int8)))


def test_transposed_ones_and_volumes_are_left_alone() -> None:
    weight = np.ones((2, 2, 3, 3), np.int8)
    one = (1, 1)
    op = Convolution(weight, np.zeros(2, np.int64), scaling_for(np.ones(2)), EXACT, one, (0,) * 4, one, 1)
    assert is_fittable(op)
    assert not is_fittable(replace(op, transposed=True))
    assert not is_fittable(replace(op, weight=weight[..., None]))


def test_rows_stay_within_their_bound() -> None:
    shape = Shape(groups=1152, outputs=1, weights=25)
    assert shape.rows(48, 49) * 48 * 1152 * 25 <= 1 << 24
    assert Shape(1, 64, 27).rows(48, 10**6) * 48 <= 8192 * 4
    assert Shape(1, 8, 8).rows(48, 5) == 5
