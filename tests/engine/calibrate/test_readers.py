"""Which functions read which values."""

from __future__ import annotations

import numpy as np

from engine.calibrate.readers import function_readers
from engine.ops.elementwise import Affine, Exp, Mul, Relu, Sigmoid, Tanh
from tests.engine.plan.graphs import Builder

X = np.linspace(-2, 2, 9)


def test_chains_other_readers_and_scaling() -> None:
    build = Builder()
    x = build.conv("conv", build.input("x"))
    product = build.node("product", Mul(), x, build.node("gate", Sigmoid(), x))
    chain = build.node("chain", Tanh(), build.node("inner", Exp(), product))
    build.node("scaled", Affine(2.0, 0.0), chain)
    readers = function_readers(build.build("scaled"))
    assert set(readers) == {"conv", "product", "inner"}
    (composed,) = readers["product"]
    np.testing.assert_allclose(composed(X), np.tanh(np.exp(X)), rtol=1e-12)
    gate, as_it_is = readers["conv"]
    np.testing.assert_array_equal(as_it_is(X), X)
    np.testing.assert_allclose(gate(X), 1 / (1 + np.exp(-X)), rtol=1e-12)


def test_a_clamp_that_its_producer_computes_is_no_function() -> None:
    build = Builder()
    conv = build.conv("conv", build.input("x"))
    build.node("out", Tanh(), build.node("relu", Relu(), conv))
    assert set(function_readers(build.build("out"))) == {"relu"}


def test_an_output_of_the_model_counts_as_it_is() -> None:
    build = Builder()
    conv = build.conv("conv", build.input("x"))
    build.node("gate", Sigmoid(), conv)
    functions = function_readers(build.build("conv", "gate"))["conv"]
    assert len(functions) == 2
    np.testing.assert_array_equal(functions[1](X), X)
