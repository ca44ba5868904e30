"""Normalisation by channels and groups, and scale and offset per channel, against the float operators."""

from __future__ import annotations

import numpy as np
import pytest

from engine.graph.graph import Graph
from engine.ops.base import Op
from engine.ops.elementwise import Relu
from engine.ops.reduce import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from engine.precision import Precision
from engine.program.types import Convolution, IntegerLayerNorm, Requantise
from tests.engine.plan.graphs import Builder

from .cases import compared, everywhere, inputs_of

DTYPES = ("int8", "int16")
RNG = np.random.default_rng(3)
LIMIT_STEPS = {"int8": 1.1, "int16": 12.0}


def per_channel(op: Op, shape: tuple[int, ...], *, clamped: bool = False, computed: bool = False) -> Graph:
    builder = Builder()
    channels = shape[1]
    parts = [RNG.uniform(0.3, 2, channels) * np.where(np.arange(channels) % 2, 1, -1), RNG.normal(0, 1, channels)]
    x = builder.input("x", shape)
    names = [
        builder.input(name, (channels,)) if computed else builder.constant(name, part)
        for name, part in zip(("w", "b"), parts, strict=True)
    ]
    result = builder.node("a" if clamped else "y", op, x, *names, shape=shape)
    if clamped:
        builder.node("y", Relu(), result, shape=shape)
    return builder.build("y")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 6, 7, 5), (1, 6, 40), (2, 6, 3, 4, 2)])
@pytest.mark.parametrize("op", [InstanceNorm(), GroupNorm(2), GroupNorm(1, 1e-3)], ids=["instance", "two", "one"])
def test_norms_of_channels(op: Op, shape: tuple[int, ...], dtype: str) -> None:
    graph = per_channel(op, shape)
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.steps() <= LIMIT_STEPS[dtype]
    assert any(isinstance(item.op, IntegerLayerNorm) for item in case.program.instructions)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clamped", [False, True])
@pytest.mark.parametrize("shape", [(4, 6), (2, 6, 9), (2, 6, 7, 5), (1, 6, 3, 4, 2), (1, 6, 2, 3, 2, 2)], ids=len)
def test_batch_norm_rounds_once(shape: tuple[int, ...], clamped: bool, dtype: str) -> None:
    graph = per_channel(BatchNorm(), shape, clamped=clamped)
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.steps() <= (0.51 if dtype == "int8" else 2.0)  # multipliers of 15 bits
    assert sum(isinstance(item.op, Convolution) for item in case.program.instructions) == 1


def test_very_long_int16_rows_lose_bits_and_do_not_overflow() -> None:
    shape = (1, 2, 300, 300)
    graph = per_channel(InstanceNorm(), shape)
    case = compared(graph, inputs_of(graph), everywhere(graph, "int16"))
    assert case.sqnr_db() > 70.0
    assert any(isinstance(item.op, Requantise) for item in case.program.instructions)
    builder = Builder()
    builder.node("y", LayerNorm(2), builder.input("x", (1, 300, 300)), shape=(1, 300, 300))
    plain = builder.build("y")
    assert compared(plain, inputs_of(plain), everywhere(plain, "int16")).sqnr_db() > 70.0


def test_computed_weights_stay_on_the_cpu() -> None:
    graph = per_channel(InstanceNorm(), (2, 6, 7, 5), computed=True)
    case = compared(graph, inputs_of(graph), {"y": Precision.INT8})
    assert case.program.types["y"].dtype == "float32"
