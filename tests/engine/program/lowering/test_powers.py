"""Powers and products by way of logarithms, against the float operators on the same inputs."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import GraphError
from engine.graph.graph import Graph
from engine.ops.elementwise import Pow
from engine.ops.reduce import ReduceProd
from tests.engine.plan.graphs import SHAPE, Builder

from .cases import compared, everywhere, inputs_of, lowered

DTYPES = ("int8", "int16")


def power(exponent: object) -> Graph:
    builder = Builder()
    builder.node("y", Pow(), builder.input("x"), builder.constant("k", np.asarray(exponent, np.float32)))
    return builder.build("y")


@pytest.mark.parametrize("dtype", DTYPES)
def test_power_of_positive_numbers(dtype: str) -> None:
    builder = Builder()
    builder.node("y", Pow(), builder.input("x"), builder.input("b"))
    graph = builder.build("y")
    feeds = inputs_of(graph, low=0.05, high=2.0)
    case = compared(graph, feeds, everywhere(graph, dtype))
    assert case.steps() <= 0.6 if dtype == "int8" else case.sqnr_db() > 65.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_constant_powers_keep_signs_and_zeros(dtype: str) -> None:
    graph = power(np.array([0, 1, 2, 3]).reshape(4, 1, 1))
    feeds = inputs_of(graph)
    feeds["x"].flat[::5] = 0.0
    case = compared(graph, feeds, everywhere(graph, dtype))
    assert case.steps() <= 0.6 if dtype == "int8" else case.sqnr_db() > 65.0
    assert (np.sign(case.values["y"])[:, 3] * np.sign(case.values["x"])[:, 3] >= 0).all()


def test_root_of_small_numbers() -> None:
    graph = power(np.full(SHAPE, 0.5))
    feeds = {"x": np.geomspace(1e-3, 2.0, 144).astype(np.float32).reshape(SHAPE)}
    feeds["x"].flat[:3] = 0.0
    case = compared(graph, feeds, everywhere(graph, "int16"))
    assert case.sqnr_db() > 65.0
    assert (case.values["y"].flat[:3] == 0.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_a_constant(dtype: str) -> None:
    builder = Builder()
    base = builder.constant("k", np.array([0.5, 1.0, 2.0, 3.0, 1.5, 1.1]))
    builder.node("y", Pow(), base, builder.input("x"))
    graph = builder.build("y")
    case = compared(graph, inputs_of(graph), everywhere(graph, dtype))
    assert case.steps() <= 0.6 if dtype == "int8" else case.sqnr_db() > 65.0


def test_computed_powers_of_a_negative_constant_are_refused() -> None:
    builder = Builder()
    builder.node("y", Pow(), builder.constant("k", np.array([-2.0] * 6)), builder.input("x"))
    graph = builder.build("y")
    feeds = {"x": np.ones(SHAPE, np.float32)}
    with pytest.raises(GraphError, match="node 'y': constant 'k' is raised to computed powers and not positive"):
        lowered(graph, feeds)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("axes", "keepdims"), [((1,), True), ((2, 3), False)])
def test_products(axes: tuple[int, ...], keepdims: bool, dtype: str) -> None:
    builder = Builder()
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(SHAPE) if keepdims or axis not in axes)
    builder.node("y", ReduceProd(axes, keepdims), builder.input("x"), shape=shape)
    graph = builder.build("y")
    feeds = inputs_of(graph, low=0.8, high=1.25)
    rng = np.random.default_rng(1)
    feeds["x"] *= rng.choice([-1.0, 1.0], SHAPE).astype(np.float32)
    feeds["x"][0, 0, 0, 0] = 0.0
    case = compared(graph, feeds, everywhere(graph, dtype))
    assert case.steps() <= 0.9 if dtype == "int8" else case.sqnr_db() > 50.0
    wanted = case.reference["y"]
    large = np.abs(wanted) > 0.1 * np.abs(wanted).max()
    np.testing.assert_array_equal(np.sign(case.values["y"][large]), np.sign(wanted[large]))
    assert case.values["y"].reshape(-1)[0] == 0.0
